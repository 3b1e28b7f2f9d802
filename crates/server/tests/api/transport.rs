use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use oci::Algorithm;
use server::{Access, Server, Storage};
use tokio::net::TcpStream;
use tokio::sync::oneshot;

use crate::client::{Client, Registry};

#[tokio::test]
async fn base_and_methods() {
    let registry = Registry::start().await;
    for path in ["/v2/", "/v2"] {
        let reply = registry.get(path).await;
        assert_eq!(reply.status, 200);
        assert_eq!(reply.header("docker-distribution-api-version"), "registry/2.0");
    }
    let digest = Algorithm::Sha256.digest(b"");
    for (method, path, allow) in [
        ("POST", "/v2/", "GET, HEAD"),
        ("DELETE", "/v2/_catalog", "GET, HEAD"),
        ("PUT", "/v2/a/tags/list", "GET, HEAD"),
        ("POST", "/v2/a/manifests/v1", "GET, HEAD, PUT, DELETE"),
        ("PUT", &format!("/v2/a/blobs/{digest}"), "GET, HEAD, DELETE"),
        ("GET", "/v2/a/blobs/uploads/", "POST"),
        ("POST", "/v2/a/blobs/uploads/67e55044-10b1-426f-9247-bb680e5fe0c8", "GET, HEAD, PATCH, PUT, DELETE"),
        ("DELETE", &format!("/v2/a/referrers/{digest}"), "GET, HEAD"),
    ] {
        let reply = registry.send(method, path, &[], "").await;
        assert_eq!((reply.status.as_u16(), reply.header("allow")), (405, allow), "{method} {path}");
        assert_eq!(reply.code(), "UNSUPPORTED");
    }
    let long = registry.get(&format!("/v2/?{}", "x".repeat(9000))).await;
    assert_eq!(long.status, 414);
}

#[tokio::test]
async fn paths_that_want_out_touch_nothing() {
    let registry = Registry::start().await;
    for path in [
        "/v2/../../x/blobs/uploads/",
        "/v2/%2e%2e/%2e%2e/x/blobs/uploads/",
        "/v2/..%2f..%2fx/blobs/uploads/",
        "/v2/a/../../x/blobs/uploads/",
        "/v2//x/blobs/uploads/",
        "/v2/_uploads/blobs/uploads/",
        "/v2/a%00b/blobs/uploads/",
        "/v2/a%5c..%5cb/blobs/uploads/",
        "/v2/A/blobs/uploads/",
        "/v2/%252e%252e/blobs/uploads/",
    ] {
        let reply = registry.send("POST", path, &[], "").await;
        assert_eq!((reply.status.as_u16(), reply.code().as_str()), (400, "NAME_INVALID"), "{path}");
    }
    for tag in ["..%2f..%2fx", "%2e%2e", "..", ".x"] {
        let reply = registry.send("PUT", &format!("/v2/a/manifests/{tag}"), &[], r#"{"manifests":[]}"#).await;
        assert!(reply.status == 400 || reply.status == 404, "{tag}");
    }
    assert_eq!(std::fs::read_dir(registry.path().join("repositories")).unwrap().count(), 0);
    assert_eq!(std::fs::read_dir(registry.path().join("uploads")).unwrap().count(), 0);
}

#[tokio::test]
async fn http2_on_the_same_port() {
    let registry = Registry::start().await;
    let content = vec![3_u8; 700_000];
    let digest = Algorithm::Sha256.digest(&content);
    let stream = TcpStream::connect(registry.address).await.unwrap();
    let (mut sender, connection) =
        http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let mut send = async |method: &str, path: String, body: Vec<u8>| {
        let request = Request::builder()
            .method(method)
            .uri(format!("http://registry{path}"))
            .body(Full::new(Bytes::from(body)))
            .unwrap();
        sender.ready().await.unwrap();
        let (parts, body) = sender.send_request(request).await.unwrap().into_parts();
        (parts, body.collect().await.unwrap().to_bytes())
    };
    let (pushed, _) = send("POST", format!("/v2/a/blobs/uploads/?digest={digest}"), content.clone()).await;
    assert_eq!(pushed.status, 201);
    let (head, body) = send("HEAD", format!("/v2/a/blobs/{digest}"), vec![]).await;
    assert_eq!((head.status.as_u16(), body.len()), (200, 0));
    assert_eq!(head.headers["content-length"], "700000");
    let (_, body) = send("GET", format!("/v2/a/blobs/{digest}"), vec![]).await;
    assert_eq!(body, content);
}

#[tokio::test]
async fn requests_are_reported_when_they_are_over() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::bind("127.0.0.1:0".parse().unwrap(), Storage::open(directory.path()).unwrap());
    let server = server.await.unwrap();
    let address = server.local_addr();
    let seen: Arc<Mutex<Vec<Access>>> = Arc::default();
    let told = Arc::clone(&seen);
    let server = server.observe(move |access| told.lock().unwrap().push(access.clone()));
    let (stop, stopped) = oneshot::channel::<()>();
    let serving = tokio::spawn(server.serve(async {
        let _ = stopped.await;
    }));
    let mut client = Client::connect(address).await;
    let digest = Algorithm::Sha256.digest(b"content");
    client.send("POST", &format!("/v2/a/blobs/uploads/?digest={digest}"), &[], "content").await;
    client.send("GET", &format!("/v2/a/blobs/{digest}?ns=x"), &[("range", "bytes=0-2")], "").await;
    client.send("GET", "/v2/a/tags/list", &[], "").await;
    stop.send(()).unwrap();
    serving.await.unwrap();
    let seen = seen.lock().unwrap();
    let brief: Vec<_> =
        seen.iter().map(|access| (access.method.as_str(), access.status.as_u16(), access.received)).collect();
    assert_eq!(brief, [("POST", 201, 7), ("GET", 206, 0), ("GET", 404, 0)]);
    assert_eq!((seen[1].path.as_str(), seen[1].sent), (format!("/v2/a/blobs/{digest}?ns=x").as_str(), 3));
    assert_eq!(seen[2].error.as_ref().unwrap().0, "NAME_UNKNOWN");
    assert!(seen.iter().all(|access| !access.duration.is_zero()));
    // The storage is free again.
    Storage::open(directory.path()).unwrap();
}

#[tokio::test]
async fn an_end_waits_for_the_requests_under_way() {
    let registry = Registry::start().await;
    let content = vec![5_u8; 30_000_000];
    let digest = registry.push_blob("a", content.clone()).await;
    let stream = TcpStream::connect(registry.address).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let request =
        Request::get(format!("/v2/a/blobs/{digest}")).header("host", "x").body(String::new()).unwrap();
    let reply = sender.send_request(request).await.unwrap();
    let stopping = tokio::spawn(registry.stop());
    assert_eq!(reply.into_body().collect().await.unwrap().to_bytes(), content);
    drop(sender);
    stopping.await.unwrap();
}
