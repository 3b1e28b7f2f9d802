//! A blob's bytes as one stream, however often the connection has to be made anew.

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt};
use http::header::{CONTENT_RANGE, RANGE};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use oci::Descriptor;
use store::ByteStream;
use url::Url;

use crate::content_range;
use crate::error::Error;
use crate::exchange::{Answer, Request, stalled};
use crate::host::Host;
use crate::scope::Scope;
use crate::transport::Lane;

/// Reads one blob.
pub(crate) struct Reading {
    pub(crate) host: Arc<Host>,
    pub(crate) url: Url,
    pub(crate) scopes: Vec<Scope>,
    pub(crate) repository: String,
    pub(crate) blob: Descriptor,
    /// The next byte that is wanted, and the end.
    pub(crate) range: Range<u64>,
}

type Body = BoxStream<'static, reqwest::Result<Bytes>>;

impl Reading {
    /// Asks for the bytes, and returns their stream once the answer has begun.
    pub(crate) async fn begin(self) -> Result<ByteStream, Error> {
        if self.range.is_empty() {
            return Ok(futures_util::stream::empty().boxed());
        }
        let body = self.open().await?;
        let doing = format!("reading blob {}", self.blob.digest);
        Ok(futures_util::stream::try_unfold((self, body), |(mut reading, mut body)| async move {
            let bytes = reading.next(&mut body).await?;
            Ok(bytes.map(|bytes| (bytes, (reading, body))))
        })
        .map_err(move |error: Error| error.doing(&doing))
        .boxed())
    }

    /// The next piece; mends the stream where it broke.
    async fn next(&mut self, body: &mut Body) -> Result<Option<Bytes>, Error> {
        let shared = Arc::clone(&self.host.shared);
        let started = Instant::now();
        let mut waits = shared.options.retries.schedule();
        let mut attempts = 1;
        while !self.range.is_empty() {
            let broken = match tokio::time::timeout(shared.options.stall, body.next()).await {
                Ok(Some(Ok(mut bytes))) => {
                    let most = usize::try_from(self.range.end - self.range.start).unwrap_or(usize::MAX);
                    // More than the whole blob is a lie about its size; the verifier sees one byte of it. Behind the
                    // end of a part comes the rest, where a registry knows no ranges.
                    let lie = usize::from(self.range.end == self.blob.size);
                    bytes.truncate(most.saturating_add(lie));
                    self.range.start = (self.range.start + bytes.len() as u64).min(self.range.end);
                    return Ok(Some(bytes));
                }
                Ok(Some(Err(error))) => self.broken(error.without_url(), (attempts, started)),
                Ok(None) => self.broken(ended_early(), (attempts, started)),
                Err(_) => self.broken(stalled(shared.options.stall), (attempts, started)),
            };
            // A body that breaks off is mended whatever the reason that the network gives.
            let Some(wait) = waits.next() else { return Err(broken) };
            shared.wait(&broken, if attempts == 1 { Duration::ZERO } else { wait }).await;
            attempts += 1;
            match self.open().await {
                Ok(opened) => *body = opened,
                // The range cannot be had any more: what broke the stream is the better explanation.
                Err(error) if error.status() == Some(StatusCode::RANGE_NOT_SATISFIABLE) => {
                    return Err(broken);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    fn broken(
        &self,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
        (attempts, started): (usize, Instant),
    ) -> Error {
        let at = format!("after {} of {} bytes", self.range.start, self.blob.size);
        let source =
            std::io::Error::new(std::io::ErrorKind::UnexpectedEof, Broken { at, source: source.into() });
        Error::network(&Method::GET, &self.url, source, (attempts, started.elapsed()))
    }

    /// Asks for the rest of the range.
    async fn open(&self) -> Result<Body, Error> {
        let whole = self.range == (0..self.blob.size);
        let mut headers = HeaderMap::new();
        if !whole {
            let range = format!("bytes={}-{}", self.range.start, self.range.end - 1);
            // Digits and punctuation make a header value.
            headers.insert(RANGE, HeaderValue::from_str(&range).expect("a range is plain ASCII"));
        }
        let (redirects, blob) = (&self.host.redirects, &self.blob.digest);
        // Whoever asks for the whole is the first, or does not trust what it was told.
        let elsewhere = if whole { None } else { redirects.get(&self.repository, blob) };
        let request = Request {
            method: Method::GET,
            url: self.url.clone(),
            headers,
            body: Bytes::new(),
            scopes: &self.scopes,
            repository: &self.repository,
            lane: Lane::Bulk,
        };
        let answer = self.host.send_to(elsewhere, request).await?;
        redirects.put(&self.repository, blob, answer.elsewhere.clone());
        self.check(answer, whole)
    }

    /// Makes sure that the answer is what was asked for, and leaves out what was not.
    fn check(&self, Answer { response, url, .. }: Answer, whole: bool) -> Result<Body, Error> {
        let status = response.status();
        let length = response.content_length();
        let protocol = |reason: String| Err(Error::protocol(&Method::GET, &url, reason));
        let mut skip = 0;
        if !whole && status.is_success() {
            self.host.sends_parts(status == StatusCode::PARTIAL_CONTENT);
        }
        if status == StatusCode::PARTIAL_CONTENT {
            let start = response.headers().get(CONTENT_RANGE).and_then(|value| value.to_str().ok());
            let start = start.and_then(content_range::start);
            if start != Some(self.range.start) {
                return protocol(format!("asked for bytes from {}, got {start:?}", self.range.start));
            }
        } else if status == StatusCode::OK {
            if let Some(length) = length.filter(|&length| length != self.blob.size) {
                let size = self.blob.size;
                return protocol(format!("the registry sends {length} bytes, the descriptor says {size}"));
            }
            // A registry that knows no ranges sends everything.
            skip = if whole { 0 } else { self.range.start };
        } else {
            return protocol(format!("unexpected status code {status}"));
        }
        let stream = response.bytes_stream().boxed();
        Ok(if skip == 0 { stream } else { leave_out(stream, skip) })
    }
}

/// Drops the first `skip` bytes.
fn leave_out(stream: Body, skip: u64) -> Body {
    let mut left = skip;
    stream
        .try_filter_map(move |mut bytes| {
            let drop = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
            left -= drop as u64;
            let rest = bytes.split_off(drop);
            std::future::ready(Ok((!rest.is_empty()).then_some(rest)))
        })
        .boxed()
}

fn ended_early() -> std::io::Error {
    std::io::Error::new(std::io::ErrorKind::UnexpectedEof, "the connection ended")
}

/// A body that broke off, and where.
#[derive(Debug, thiserror::Error)]
#[error("the body broke off {at}")]
struct Broken {
    at: String,
    source: Box<dyn std::error::Error + Send + Sync>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_beginning_is_left_out() {
        let pieces = ["abc", "de", "f"].map(|piece| Ok(Bytes::from_static(piece.as_bytes())));
        let stream = leave_out(futures_util::stream::iter(pieces).boxed(), 4);
        let rest: Vec<Bytes> = stream.try_collect().await.unwrap();
        assert_eq!(rest.concat(), b"ef");
    }
}
