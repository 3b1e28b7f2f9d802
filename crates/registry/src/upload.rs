//! Writing a blob: a session, then one request with all bytes (distribution specification, "Pushing a blob
//! monolithically", POST then PUT).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::unfold;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, LOCATION};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use oci::{Descriptor, Repository};
use store::{Error as StoreError, Kind, Opened, Writer};
use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinHandle};
use tokio::time::timeout;
use url::Url;

use crate::error::Error;
use crate::exchange::{Answer, Request, status_error};
use crate::host::{Authorization, Host};
use crate::link;
use crate::retry::{is_dropped, is_passing};
use crate::scope::Scope;
use crate::transport::Lane;

/// Pieces that may wait for the connection; with those of the reader, what a blob in flight holds in memory.
const PIECES: usize = 4;

/// The longest piece that the connection gets, in bytes: on a slow line, taking one shows that something moves.
const PIECE: usize = 256 << 10;

/// How long is waited for a registry to drop a session that is given up.
const FAREWELL: Duration = Duration::from_secs(2);

/// How long a registry may take to keep a blob whose bytes it all has.
const COMMIT: Duration = Duration::from_mins(15);

/// The repository that is written to.
#[derive(Clone)]
pub(crate) struct Target {
    pub(crate) host: Arc<Host>,
    pub(crate) repository: String,
    pub(crate) scopes: Vec<Scope>,
    /// Whether a mount was met with an error here. Each more would cost a request, or all attempts of one.
    pub(crate) mounts_fail: Arc<AtomicBool>,
}

impl Target {
    /// Opens a session, or has the blob mounted from `origin`. A mount that fails in whatever way is no error.
    pub(crate) async fn begin(
        &self,
        blob: &Descriptor,
        origin: Option<&Repository>,
    ) -> Result<Opened, Error> {
        if let Some(origin) = origin.filter(|_| !self.mounts_fail.load(Ordering::Relaxed)) {
            let mut scopes = self.scopes.clone();
            Scope::join(&mut scopes, &[Scope::pull(origin.path())]);
            let query = format!("mount={}&from={}", blob.digest, origin.path());
            match self.open(Some(&query), &scopes).await {
                Ok((StatusCode::CREATED, _)) => return Ok(Opened::Mounted),
                Ok((_, session)) => return self.writer(session, blob),
                Err(error) => {
                    tracing::debug!(target: "hoist::http", "no mounts from here on: {error}");
                    self.mounts_fail.store(true, Ordering::Relaxed);
                }
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
        let location = location(&Method::POST, &answer)?;
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
        let upload = Upload { target: self.clone(), url: url.clone(), blob: blob.clone() };
        Ok(Opened::Writer(Box::new(RegistryWriter {
            sender,
            answer: Some(tokio::spawn(upload.send(receiver))),
            held: Bytes::new(),
            left: blob.size,
            blob: blob.clone(),
            doing: format!("writing blob {} to {}", blob.digest, self.repository),
            stall: self.host.shared.options.stall,
            target: self.clone(),
            url,
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
    async fn send(self, mut receiver: mpsc::Receiver<Bytes>) -> Result<(), Error> {
        let Self { target, url, blob } = self;
        let host = &target.host;
        // The writer may still be dropped, and then nothing is to be kept: an empty blob would be, at once.
        let Some(first) = receiver.recv().await else { return Ok(()) };
        let own = host.is_own(&url);
        // Tokens that end soon are renewed here, before bytes flow that could not be sent twice.
        let authorization = if own {
            host.authorization(&url, &target.scopes, &target.repository).await?
        } else {
            Authorization::Unasked
        };
        let pieces = unfold((Some(first), receiver), |(first, mut receiver)| async move {
            let piece = match first {
                Some(first) => first,
                None => receiver.recv().await?,
            };
            Some((Ok::<_, std::io::Error>(piece), (None, receiver)))
        });
        let mut headers = host.own_headers(&url, &authorization);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
        headers.insert(CONTENT_LENGTH, HeaderValue::from(blob.size));
        let body = if blob.size == 0 { reqwest::Body::from("") } else { reqwest::Body::wrap_stream(pieces) };
        let started = Instant::now();
        let network = |error: Box<dyn std::error::Error + Send + Sync>| {
            Error::network(&Method::PUT, &url, error, (1, started.elapsed()))
        };
        // These bytes cannot be sent twice here.
        let client = if host.drops.load(Ordering::Relaxed) {
            host.shared.transport.fresh(Lane::Bulk, &url, host.sender(&url))?
        } else {
            host.shared.transport.client(Lane::Bulk, &url, host.sender(&url))?
        };
        let request = client
            .put(url.clone())
            .headers(headers)
            .body(body)
            .build()
            .map_err(|error| network(error.into()))?;
        let response = host.exchange(&client, request).await.map_err(|error| {
            host.drops.fetch_or(is_dropped(error.as_ref()), Ordering::Relaxed);
            network(error)
        })?;
        let status = response.status();
        if status.is_success() {
            return Ok(());
        }
        // The next attempt gets a new token. What another host asks for is nothing to learn from.
        if status == StatusCode::UNAUTHORIZED && own {
            host.challenged(response.headers(), &authorization, &mut target.scopes.clone(), true);
        }
        let authorized = authorization.header().is_some();
        let error = status_error(&Method::PUT, &url, response, authorized, (1, started.elapsed())).await;
        Err(error.under(&authorization, &target.scopes))
    }
}

/// Where a session goes on, by an answer's `Location`.
pub(crate) fn location(method: &Method, answer: &Answer) -> Result<Option<Url>, Error> {
    let location = answer.response.headers().get(LOCATION).and_then(|value| value.to_str().ok());
    let location = location.and_then(|text| answer.url.join(text).ok());
    let location = location.map(|location| link::as_reached(&answer.url, location));
    if let Some(location) = location.as_ref().filter(|location| !may_lead(&answer.url, location)) {
        let (from, to) = (answer.url.scheme(), location.scheme());
        let reason = format!("the upload would go from {from} to {to}, which is refused");
        return Err(Error::protocol(method, &answer.url, reason));
    }
    Ok(location)
}

/// Whether the bytes may go where the session's start says: not out of https.
fn may_lead(from: &Url, to: &Url) -> bool {
    to.scheme() == "https" || (to.scheme() == "http" && from.scheme() == "http")
}

struct RegistryWriter {
    sender: mpsc::Sender<Bytes>,
    /// `None` once it has been given.
    answer: Option<JoinHandle<Result<(), Error>>>,
    /// The last piece so far. It goes with the next or with the commit, so that a registry never has all bytes of a blob
    /// that is not committed.
    held: Bytes,
    /// How many bytes are to come.
    left: u64,
    blob: Descriptor,
    doing: String,
    stall: Duration,
    target: Target,
    /// Where the session is, with the digest that ends it.
    url: Url,
}

impl RegistryWriter {
    /// Passes a piece on; the registry may answer before it had all bytes, and then has something to say.
    async fn pass(&mut self, piece: Bytes) -> Result<(), StoreError> {
        let Some(answer) = &mut self.answer else {
            return Err(self.interrupted("the upload has ended already"));
        };
        let outcome = tokio::select! {
            biased;
            outcome = answer => outcome,
            sent = timeout(self.stall, self.sender.send(piece)) => match sent {
                Ok(Ok(())) => return Ok(()),
                // Nobody takes pieces any more, so the answer is about to come.
                Ok(Err(_)) => return self.answered(self.stall).await.and_then(|()| Err(self.early())),
                Err(_) => {
                    let stall = self.stall.as_secs_f64();
                    return Err(self.interrupted(format!("the registry took nothing for {stall} s")));
                }
            },
        };
        self.answer = None;
        self.judge(outcome).and_then(|()| Err(self.early()))
    }

    /// The registry's word on the upload.
    async fn answered(&mut self, patience: Duration) -> Result<(), StoreError> {
        let Some(mut answer) = self.answer.take() else {
            return Err(self.interrupted("the upload has ended already"));
        };
        if let Ok(outcome) = timeout(patience, &mut answer).await {
            return self.judge(outcome);
        }
        answer.abort();
        Err(self.interrupted(format!("no answer for {} s", patience.as_secs_f64())))
    }

    fn judge(&self, outcome: Result<Result<(), Error>, JoinError>) -> Result<(), StoreError> {
        match outcome {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(self.failed(error)),
            Err(error) => Err(self.interrupted(format!("the upload stopped: {error}"))),
        }
    }

    fn failed(&self, error: Error) -> StoreError {
        let kind = match &error {
            // A token that ended between the session's start and its bytes is renewed with the next attempt.
            Error::Status(answer) if answer.status == StatusCode::UNAUTHORIZED && answer.authorized => {
                Kind::Interrupted
            }
            // The bytes are gone, so it is not tried again here.
            Error::Status(answer) if is_passing(answer.status) => Kind::Interrupted,
            error => error.kind(),
        };
        StoreError::new(kind, &self.doing, error)
    }

    fn early(&self) -> StoreError {
        self.interrupted("the registry ended the upload before it had all bytes")
    }

    fn interrupted(&self, reason: impl Into<String>) -> StoreError {
        StoreError::new(Kind::Interrupted, &self.doing, reason.into())
    }
}

impl Drop for RegistryWriter {
    fn drop(&mut self) {
        // A body that ends before its length cuts the connection, and the registry drops the session.
        if let Some(answer) = &self.answer {
            answer.abort();
        }
    }
}

#[async_trait]
impl Writer for RegistryWriter {
    async fn write(&mut self, mut bytes: Bytes) -> Result<(), StoreError> {
        let Some(left) = self.left.checked_sub(bytes.len() as u64) else {
            let reason = format!("there are more than the {} bytes that the blob has", self.blob.size);
            return Err(StoreError::new(Kind::Invalid, &self.doing, reason));
        };
        self.left = left;
        while !bytes.is_empty() {
            let piece = bytes.split_to(bytes.len().min(PIECE));
            let before = std::mem::replace(&mut self.held, piece);
            if !before.is_empty() {
                self.pass(before).await?;
            }
        }
        Ok(())
    }

    async fn commit(mut self: Box<Self>) -> Result<(), StoreError> {
        if self.left > 0 {
            let (size, got) = (self.blob.size, self.blob.size - self.left);
            let reason = format!("the content ended after {got} of {size} bytes");
            return Err(StoreError::new(Kind::Invalid, &self.doing, reason));
        }
        let last = std::mem::take(&mut self.held);
        self.pass(last).await?;
        self.answered(COMMIT).await
    }

    async fn abandon(mut self: Box<Self>) {
        if let Some(answer) = self.answer.take() {
            answer.abort();
        }
        let cancel = self.target.host.send(Request {
            method: Method::DELETE,
            url: self.url.clone(),
            headers: HeaderMap::new(),
            body: Bytes::new(),
            scopes: &self.target.scopes,
            repository: &self.target.repository,
            lane: Lane::Api,
        });
        match timeout(FAREWELL, cancel).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => tracing::debug!(target: "hoist::http", "the session stays: {error}"),
            Err(_) => tracing::debug!(target: "hoist::http", "the session stays: no answer in time"),
        }
    }
}
