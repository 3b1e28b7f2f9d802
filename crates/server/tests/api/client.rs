//! A registry of one test, and a client that sends exactly what it is told.

use std::net::SocketAddr;
use std::path::Path;

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use oci::{Algorithm, Digest};
use serde_json::Value;
use server::{Server, Storage};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

pub(crate) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// A registry that runs.
pub(crate) struct Registry {
    pub(crate) address: SocketAddr,
    stop: oneshot::Sender<()>,
    serving: JoinHandle<()>,
    directory: TempDir,
}

impl Registry {
    pub(crate) async fn start() -> Self {
        Self::start_in(tempfile::tempdir().unwrap()).await
    }

    pub(crate) async fn start_in(directory: TempDir) -> Self {
        let storage = Storage::open(directory.path()).unwrap();
        let server = Server::bind("127.0.0.1:0".parse().unwrap(), storage).await.unwrap();
        let address = server.local_addr();
        let (stop, stopped) = oneshot::channel();
        let serving = tokio::spawn(server.serve(async {
            let _ = stopped.await;
        }));
        Self { address, stop, serving, directory }
    }

    pub(crate) async fn stop(self) -> TempDir {
        self.stop.send(()).unwrap();
        self.serving.await.unwrap();
        self.directory
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// One request on a connection of its own.
    pub(crate) async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Reply {
        Client::connect(self.address).await.send(method, path, headers, body).await
    }

    pub(crate) async fn get(&self, path: &str) -> Reply {
        self.send("GET", path, &[], "").await
    }

    pub(crate) async fn begin(&self, name: &str) -> String {
        let reply = self.send("POST", &format!("/v2/{name}/blobs/uploads/"), &[], "").await;
        assert_eq!(reply.status, 202, "{reply:?}");
        reply.header("location").to_owned()
    }

    pub(crate) async fn push_blob(&self, name: &str, content: impl Into<Bytes>) -> Digest {
        let content = content.into();
        let digest = Algorithm::Sha256.digest(&content);
        let path = format!("/v2/{name}/blobs/uploads/?digest={digest}");
        let reply = self.send("POST", &path, &[], content).await;
        assert_eq!(reply.status, 201, "{reply:?}");
        digest
    }

    pub(crate) async fn put_manifest(
        &self,
        name: &str,
        reference: &str,
        media_type: &str,
        body: &str,
    ) -> Reply {
        let path = format!("/v2/{name}/manifests/{reference}");
        self.send("PUT", &path, &[("content-type", media_type)], body.to_owned()).await
    }

    /// Pushes an image of an empty configuration and one layer that holds `content`.
    pub(crate) async fn push_image(&self, name: &str, tag: &str, content: &str) -> Digest {
        self.push_blob(name, "{}").await;
        self.push_blob(name, content.to_owned()).await;
        let manifest = image(content);
        let reply = self.put_manifest(name, tag, MANIFEST, &manifest).await;
        assert_eq!(reply.status, 201, "{reply:?}");
        Algorithm::Sha256.digest(manifest.as_bytes())
    }
}

/// The manifest of an image with an empty configuration and one layer.
pub(crate) fn image(content: &str) -> String {
    format!(
        r#"{{"schemaVersion":2,"mediaType":"{MANIFEST}","config":{},"layers":[{}]}}"#,
        descriptor("application/vnd.oci.image.config.v1+json", "{}"),
        descriptor("application/vnd.oci.image.layer.v1.tar", content)
    )
}

pub(crate) fn descriptor(media_type: &str, content: &str) -> String {
    let digest = Algorithm::Sha256.digest(content.as_bytes());
    format!(r#"{{"mediaType":"{media_type}","digest":"{digest}","size":{}}}"#, content.len())
}

/// One connection.
pub(crate) struct Client(SendRequest<Full<Bytes>>);

impl Client {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        let (sender, connection) = handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        Self(sender)
    }

    pub(crate) async fn send(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Reply {
        let mut request = Request::builder().method(method).uri(path).header("host", "registry");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(body.into())).unwrap();
        self.0.ready().await.unwrap();
        let (parts, body) = self.0.send_request(request).await.unwrap().into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Reply { status: parts.status, headers: parts.headers, body }
    }
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Reply {
    /// A header that has to be there.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.try_header(name).unwrap_or_else(|| panic!("no {name} in {self:?}"))
    }

    pub(crate) fn try_header(&self, name: &str) -> Option<&str> {
        Some(self.headers.get(name)?.to_str().unwrap())
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// The code of an error, in the specification's form.
    pub(crate) fn code(&self) -> String {
        let document = self.json();
        let error = &document["errors"][0];
        assert!(error["message"].is_string() && error.get("detail").is_some(), "{document}");
        error["code"].as_str().unwrap().to_owned()
    }

    /// The strings of a list.
    pub(crate) fn list(&self, field: &str) -> Vec<String> {
        let document = self.json();
        document[field].as_array().unwrap().iter().map(|entry| entry.as_str().unwrap().to_owned()).collect()
    }

    /// Where the next page is.
    pub(crate) fn next(&self) -> Option<String> {
        let link = self.try_header("link")?;
        Some(link.strip_prefix('<').unwrap().strip_suffix(">; rel=\"next\"").unwrap().to_owned())
    }
}
