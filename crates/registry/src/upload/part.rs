//! One request with bytes of a blob, which are sent as they come; the request runs beside the writer.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::stream::unfold;
use http::header::{CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, RANGE};
use http::{HeaderValue, Method, StatusCode};
use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinHandle};
use tokio::time::timeout;
use url::Url;

use super::session::{self, OCTETS};
use super::{Target, progress};
use crate::error::Error;
use crate::exchange::{asked_patience, status_error};
use crate::host::Authorization;
use crate::retry::is_dropped;
use crate::transport::Lane;

/// Pieces that may wait for the connection; with those of the reader, what a blob in flight holds in memory.
const PIECES: usize = 1;

/// In bytes. To make way for the connection after a shorter piece costs more than the connection gains by it.
const LONG: u64 = 256 << 10;

/// How long a registry may take to keep bytes that it all has.
const KEEPING: Duration = Duration::from_mins(15);

/// What a request is to be.
pub(super) struct Sending {
    pub(super) target: Target,
    pub(super) method: Method,
    /// A secret.
    pub(super) url: Url,
    /// Where in the blob its bytes begin, if that is to be said.
    pub(super) from: Option<u64>,
    /// How many bytes there will be.
    pub(super) length: u64,
}

/// What a good answer says.
pub(super) struct Accepted {
    /// Where the next bytes go.
    pub(super) location: Option<Url>,
    /// How many bytes of the blob the registry has, if it says so.
    pub(super) kept: Option<u64>,
}

/// Why a request did not come to a good end.
pub(super) enum Broken {
    /// The registry says why, or the network.
    Answer(Error),
    /// What a person has to know.
    Reason(String),
}

/// A request that runs.
pub(super) struct Part {
    sender: mpsc::Sender<Bytes>,
    answer: JoinHandle<Result<Accepted, Error>>,
    /// How many bytes are to come.
    left: u64,
    stall: Duration,
}

impl Part {
    pub(super) fn begin(sending: Sending) -> Self {
        let (sender, receiver) = mpsc::channel(PIECES);
        let (left, stall) = (sending.length, sending.target.host.shared.options.stall);
        Self { sender, answer: tokio::spawn(sending.send(receiver)), left, stall }
    }

    /// How many bytes are to come.
    pub(super) fn left(&self) -> u64 {
        self.left
    }

    /// Passes a piece on; the registry may answer before it had all bytes, and then has something to say.
    pub(super) async fn push(&mut self, piece: Bytes) -> Result<(), Broken> {
        let length = piece.len() as u64;
        // An answer that has come is read before more is written: a registry that refuses the rest hangs up, and then
        // writing fails before anybody has read why.
        tokio::task::yield_now().await;
        let outcome = tokio::select! {
            biased;
            outcome = &mut self.answer => outcome,
            sent = timeout(self.stall, self.sender.send(piece)) => match sent {
                Ok(Ok(())) => {
                    self.left -= length;
                    if length >= LONG {
                        // It goes out now, and not when the next has been hashed.
                        tokio::task::yield_now().await;
                    }
                    return Ok(());
                }
                // Nobody takes pieces any more, so the answer is about to come.
                Ok(Err(_)) => match timeout(self.stall, &mut self.answer).await {
                    Ok(outcome) => outcome,
                    Err(_) => return Err(silent(self.stall)),
                },
                Err(_) => {
                    let stall = self.stall.as_secs_f64();
                    return Err(Broken::Reason(format!("the registry took nothing for {stall} s")));
                }
            },
        };
        judge(outcome)?;
        Err(Broken::Reason("the registry ended the upload before it had all bytes".to_owned()))
    }

    /// The registry's word, after the last byte.
    pub(super) async fn answer(mut self) -> Result<Accepted, Broken> {
        match timeout(KEEPING, &mut self.answer).await {
            Ok(outcome) => judge(outcome),
            Err(_) => Err(silent(KEEPING)),
        }
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        // A body that ends before its length cuts the connection.
        self.answer.abort();
    }
}

fn judge(outcome: Result<Result<Accepted, Error>, JoinError>) -> Result<Accepted, Broken> {
    outcome.map_err(|error| Broken::Reason(format!("the upload stopped: {error}")))?.map_err(Broken::Answer)
}

fn silent(patience: Duration) -> Broken {
    Broken::Reason(format!("no answer for {} s", patience.as_secs_f64()))
}

impl Sending {
    async fn send(self, mut receiver: mpsc::Receiver<Bytes>) -> Result<Accepted, Error> {
        let Self { target, method, url, from, length } = self;
        let host = &target.host;
        let nothing = Accepted { location: None, kept: None };
        // The writer may still be dropped, and then nothing is to be kept: an empty blob would be, at once.
        let Some(first) = receiver.recv().await else { return Ok(nothing) };
        let own = host.is_own(&url);
        // Tokens that end soon are renewed here, before bytes flow that could not be sent twice.
        let authorization = if own {
            host.authorization(&url, &target.scopes, target.repository.path()).await?
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
        headers.insert(CONTENT_TYPE, OCTETS);
        headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
        if let Some(from) = from {
            // "Pushing a blob in chunks": not as HTTP has it, without a unit.
            let range = format!("{from}-{}", from + length.saturating_sub(1));
            headers
                .insert(CONTENT_RANGE, HeaderValue::from_str(&range).expect("digits and a dash are ASCII"));
        }
        let body = if length == 0 { reqwest::Body::from("") } else { reqwest::Body::wrap_stream(pieces) };
        let started = Instant::now();
        let network = |error: Box<dyn std::error::Error + Send + Sync>| {
            Error::network(&method, &url, error, (1, started.elapsed()))
        };
        // These bytes cannot be sent twice here.
        let client = if host.drops.load(Ordering::Relaxed) {
            host.shared.transport.fresh(Lane::Bulk, &url, host.sender(&url))?
        } else {
            host.shared.transport.client(Lane::Bulk, &url, host.sender(&url))?
        };
        let request = client
            .request(method.clone(), url.clone())
            .headers(headers)
            .body(body)
            .build()
            .map_err(|error| network(error.into()))?;
        let response = host.exchange(&client, request).await.map_err(|error| {
            host.pace.failed();
            host.drops.fetch_or(is_dropped(error.as_ref()), Ordering::Relaxed);
            network(error)
        })?;
        let status = response.status();
        if own {
            host.judge(status, asked_patience(response.headers()));
        }
        if status.is_success() {
            let headers = response.headers();
            let kept = headers.contains_key(RANGE).then(|| progress::kept(headers)).flatten();
            // What was made is elsewhere than its session; nobody goes there.
            let location = match method {
                Method::PATCH => session::location(&method, &url, headers)?,
                _ => None,
            };
            return Ok(Accepted { location, kept });
        }
        // The next attempt gets a new token. What another host asks for is nothing to learn from.
        if status == StatusCode::UNAUTHORIZED && own {
            host.challenged(response.headers(), &authorization, &mut target.scopes.clone(), true);
        }
        let authorized = authorization.header().is_some();
        let error = status_error(&method, &url, response, authorized, (1, started.elapsed())).await;
        Err(error.under(&authorization, &target.scopes))
    }
}
