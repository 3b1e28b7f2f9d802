//! Writing a blob: a session, then one request with all bytes (distribution specification, "Pushing a blob
//! monolithically", POST then PUT).

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::unfold;
use http::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, LOCATION};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use oci::{Descriptor, Repository};
use store::{Kind, Opened, Writer};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use url::Url;

use crate::error::Error;
use crate::exchange::{Request, status_error};
use crate::host::{Authorization, Host};
use crate::scope::Scope;
use crate::transport::Lane;

/// Pieces that may wait for the connection; with those of the reader, what a blob in flight holds in memory.
const PIECES: usize = 2;

/// How long a registry may take to keep a blob whose bytes it all has.
const COMMIT: Duration = Duration::from_mins(15);

/// The repository that is written to.
#[derive(Clone)]
pub(crate) struct Target {
    pub(crate) host: Arc<Host>,
    pub(crate) repository: String,
    pub(crate) scopes: Vec<Scope>,
}

impl Target {
    /// Opens a session, or has the blob mounted from `origin`. A mount that fails in whatever way is no error.
    pub(crate) async fn begin(
        &self,
        blob: &Descriptor,
        origin: Option<&Repository>,
    ) -> Result<Opened, Error> {
        if let Some(origin) = origin {
            let mut scopes = self.scopes.clone();
            Scope::join(&mut scopes, &[Scope::pull(origin.path())]);
            let query = format!("mount={}&from={}", blob.digest, origin.path());
            match self.open(Some(&query), &scopes).await {
                Ok((StatusCode::CREATED, _)) => return Ok(Opened::Mounted),
                Ok((_, session)) => return self.writer(session, blob),
                Err(error) => tracing::debug!(target: "hoist::http", "no mount: {error}"),
            }
        }
        let (_, session) = self.open(None, &self.scopes).await?;
        self.writer(session, blob)
    }

    async fn open(&self, query: Option<&str>, scopes: &[Scope]) -> Result<(StatusCode, Session), Error> {
        let mut url = self.host.url(&format!("{}/blobs/uploads/", self.repository)).await?;
        url.set_query(query);
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
        let answer = self.host.send(Request {
            method: Method::POST,
            url,
            headers,
            body: Bytes::new(),
            scopes,
            repository: &self.repository,
            lane: Lane::Api,
        });
        let answer = answer.await?;
        let location = answer.response.headers().get(LOCATION).and_then(|value| value.to_str().ok());
        let location = location.and_then(|text| answer.url.join(text).ok());
        Ok((answer.response.status(), Session { asked: answer.url, location }))
    }

    /// Sends the bytes as they come; the request runs beside the writer.
    fn writer(&self, session: Session, blob: &Descriptor) -> Result<Opened, Error> {
        let Some(mut url) = session.location else {
            let reason = "the answer has no Location to send the bytes to";
            return Err(Error::protocol(&Method::POST, &session.asked, reason));
        };
        url.query_pairs_mut().append_pair("digest", &blob.digest.to_string());
        let (sender, receiver) = mpsc::channel::<Bytes>(PIECES);
        let upload = Upload { target: self.clone(), url, blob: blob.clone() };
        let answer = tokio::spawn(upload.send(receiver));
        Ok(Opened::Writer(Box::new(RegistryWriter {
            sender: Some(sender),
            answer,
            doing: format!("writing blob {} to {}", blob.digest, self.repository),
            stall: self.host.shared.options.stall,
        })))
    }
}

struct Session {
    asked: Url,
    location: Option<Url>,
}

struct Upload {
    target: Target,
    url: Url,
    blob: Descriptor,
}

impl Upload {
    async fn send(self, receiver: mpsc::Receiver<Bytes>) -> Result<(), Error> {
        let Self { target, url, blob } = self;
        let host = &target.host;
        // Tokens that end soon are renewed here, before bytes flow that could not be sent twice.
        let authorization = if host.is_own(&url) {
            host.authorization(&url, &target.scopes, &target.repository).await?
        } else {
            Authorization::None
        };
        let pieces = unfold(receiver, |mut receiver| async move {
            receiver.recv().await.map(|bytes| (Ok::<_, std::io::Error>(bytes), receiver))
        });
        let mut request = host
            .shared
            .transport
            .client(Lane::Bulk)
            .put(url.clone())
            .header(CONTENT_TYPE, "application/octet-stream")
            .header(CONTENT_LENGTH, blob.size)
            .body(if blob.size == 0 { reqwest::Body::from("") } else { reqwest::Body::wrap_stream(pieces) });
        if let Some(value) = authorization.header() {
            request = request.header(AUTHORIZATION, value);
        }
        let network = |error| Error::network(&Method::PUT, &url, error, (1, Duration::ZERO));
        let response = host.exchange(Lane::Bulk, request.build().map_err(network)?).await.map_err(network)?;
        let status = response.status();
        if status.is_success() {
            return Ok(());
        }
        if status == StatusCode::UNAUTHORIZED {
            // The next attempt gets a new token.
            host.challenged(response.headers(), &authorization, &mut target.scopes.clone());
        }
        let authorized = !matches!(authorization, Authorization::None);
        Err(status_error(&Method::PUT, &url, response, authorized, (1, Duration::ZERO)).await)
    }
}

struct RegistryWriter {
    /// `None` once all bytes have been given.
    sender: Option<mpsc::Sender<Bytes>>,
    answer: JoinHandle<Result<(), Error>>,
    doing: String,
    stall: Duration,
}

impl RegistryWriter {
    /// The registry's word on the upload.
    async fn answer(&mut self, patience: Duration) -> Result<(), store::Error> {
        let interrupted = |source: String| store::Error::new(Kind::Interrupted, &self.doing, source);
        match tokio::time::timeout(patience, &mut self.answer).await {
            Ok(Ok(Ok(()))) => Ok(()),
            Ok(Ok(Err(error))) => Err(self.failed(error)),
            Ok(Err(error)) => Err(interrupted(format!("the upload stopped: {error}"))),
            Err(_) => Err(interrupted(format!("no answer for {} s", patience.as_secs()))),
        }
    }

    fn failed(&self, error: Error) -> store::Error {
        // A token that ended between the session's start and its bytes is renewed with the next attempt.
        let expired = error.status() == Some(StatusCode::UNAUTHORIZED)
            && matches!(&error, Error::Status(status) if status.authorized);
        let kind = if expired { Kind::Interrupted } else { error.kind() };
        store::Error::new(kind, &self.doing, error)
    }
}

impl Drop for RegistryWriter {
    fn drop(&mut self) {
        // A body that ends before its length cuts the connection, and the registry drops the session.
        self.answer.abort();
    }
}

#[async_trait]
impl Writer for RegistryWriter {
    async fn write(&mut self, bytes: Bytes) -> Result<(), store::Error> {
        let Some(sender) = &self.sender else { return Ok(()) };
        match tokio::time::timeout(self.stall, sender.send(bytes)).await {
            Ok(Ok(())) => Ok(()),
            // The registry has answered before it had all bytes, so it has something to say.
            Ok(Err(_)) => {
                self.sender = None;
                self.answer(self.stall).await?;
                let early = "the registry ended the upload before it had all bytes";
                Err(store::Error::new(Kind::Interrupted, &self.doing, early))
            }
            Err(_) => {
                let stalled = format!("the registry took nothing for {} s", self.stall.as_secs_f64());
                Err(store::Error::new(Kind::Interrupted, &self.doing, stalled))
            }
        }
    }

    async fn commit(mut self: Box<Self>) -> Result<(), store::Error> {
        self.sender = None;
        self.answer(COMMIT).await
    }
}
