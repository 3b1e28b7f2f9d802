//! A session at a registry: opened, found again, given up.

use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderName, LOCATION};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use oci::Digest;
use tokio::time::timeout;
use url::Url;

use super::{Target, progress};
use crate::error::Error;
use crate::exchange::{Answer, Request};
use crate::link;
use crate::retry::is_passing;
use crate::scope::Scope;
use crate::transport::Lane;

/// How long is waited for a registry to drop a session that is given up.
const FAREWELL: Duration = Duration::from_secs(2);

/// The shortest chunk that a registry takes, but for the last one ("Pushing a blob in chunks").
const CHUNK_MIN_LENGTH: HeaderName = HeaderName::from_static("oci-chunk-min-length");

/// What bytes of a blob are called.
pub(super) const OCTETS: HeaderValue = HeaderValue::from_static("application/octet-stream");

/// An open session.
#[derive(Clone)]
pub(super) struct Session {
    /// Where the next bytes go; a secret.
    pub(super) location: Url,
    /// The shortest chunk that the registry wants, in bytes.
    pub(super) least: Option<u64>,
}

impl Session {
    /// Where the blob is ended.
    pub(super) fn end(&self, digest: &Digest) -> Url {
        let mut url = self.location.clone();
        url.query_pairs_mut().append_pair("digest", &digest.to_string());
        url
    }
}

impl Target {
    /// Asks for a session, with a query and a body for whoever can do without one. The inner result is the session.
    pub(super) async fn post(
        &self,
        query: Option<&str>,
        scopes: &[Scope],
        body: Bytes,
    ) -> Result<(StatusCode, Result<Session, Error>), Error> {
        let mut url = self.host.url(&format!("{}/blobs/uploads/", self.repository.path())).await?;
        url.set_query(query);
        let answer = self.request(Method::POST, url, scopes, body).await?;
        let headers = answer.response.headers();
        let missing = || {
            let reason = "the answer has no Location to send the bytes to";
            Error::protocol(&Method::POST, &answer.url, reason)
        };
        let location = location(&Method::POST, &answer.url, headers);
        let session = location.and_then(|location| location.ok_or_else(missing));
        let least = least(headers);
        Ok((answer.response.status(), session.map(|location| Session { location, least })))
    }

    /// Sends a request of which all bytes are at hand.
    pub(super) async fn request(
        &self,
        method: Method,
        url: Url,
        scopes: &[Scope],
        body: Bytes,
    ) -> Result<Answer, Error> {
        let mut headers = HeaderMap::new();
        if !matches!(method, Method::GET | Method::DELETE) {
            headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
        }
        if !body.is_empty() {
            headers.insert(CONTENT_TYPE, OCTETS);
        }
        let repository = self.repository.path();
        let request = Request { method, url, headers, body, scopes, repository, lane: Lane::Api };
        self.host.send(request).await
    }

    /// Looks for a session that was opened before: it, and how many bytes it has. `None` if it is gone, or nothing that
    /// can be gone on with.
    pub(super) async fn find(&self, location: &str) -> Result<Option<(Session, u64)>, Error> {
        // An address that was kept has its scheme; what would be presumed may be another.
        let registry = self.host.asked_base().await?;
        let Ok(url) = Url::parse(location) else { return Ok(None) };
        if registry.scheme() == "https" && url.scheme() != "https" {
            return Ok(None);
        }
        let answer = match self.request(Method::GET, url.clone(), &self.scopes, Bytes::new()).await {
            Ok(answer) => answer,
            Err(error) if error.status().is_some_and(|status| !is_passing(status)) => {
                tracing::debug!(target: "hoist::http", "a session is gone: {error}");
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        let headers = answer.response.headers();
        let Some(kept) = progress::kept(headers) else { return Ok(None) };
        let location = self::location(&Method::GET, &answer.url, headers)?.unwrap_or(url);
        Ok(Some((Session { location, least: least(headers) }, kept)))
    }

    /// Asks the registry to drop a session; one that cannot be told keeps it until it expires there.
    pub(super) async fn cancel(&self, location: Url) {
        let cancel = self.request(Method::DELETE, location, &self.scopes, Bytes::new());
        match timeout(FAREWELL, cancel).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => tracing::debug!(target: "hoist::http", "the session stays: {error}"),
            Err(_) => tracing::debug!(target: "hoist::http", "the session stays: no answer in time"),
        }
    }
}

/// The shortest chunk that an answer asks for.
fn least(headers: &HeaderMap) -> Option<u64> {
    headers.get(CHUNK_MIN_LENGTH)?.to_str().ok()?.trim().parse().ok()
}

/// Where an answer says that the session is: as it is reached from here, and not out of https.
pub(crate) fn location(method: &Method, asked: &Url, headers: &HeaderMap) -> Result<Option<Url>, Error> {
    let location = headers.get(LOCATION).and_then(|value| value.to_str().ok());
    let Some(location) = location.and_then(|text| asked.join(text).ok()) else { return Ok(None) };
    let location = link::as_reached(asked, location);
    let (from, to) = (asked.scheme(), location.scheme());
    if to == "https" || (to == "http" && from == "http") {
        return Ok(Some(location));
    }
    Err(Error::protocol(method, asked, format!("the upload would go from {from} to {to}, which is refused")))
}
