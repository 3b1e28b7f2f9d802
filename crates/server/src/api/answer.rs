//! Answers in the making.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, ETAG, HeaderName, LINK, LOCATION};
use http::{HeaderMap, HeaderValue, StatusCode};
use oci::Digest;

use crate::body::Content;

/// Names the content of an answer (distribution specification, "Pulling manifests").
pub(super) const CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");

/// Old docker clients take a server without it for a version 1 registry.
const API_VERSION: HeaderName = HeaderName::from_static("docker-distribution-api-version");

/// Status, headers and content.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) content: Content,
}

impl Answer {
    /// An answer without content.
    pub(super) fn new(status: StatusCode) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert(API_VERSION, HeaderValue::from_static("registry/2.0"));
        Self { status, headers, content: Content::Bytes(Bytes::new()) }
    }

    pub(super) fn json(status: StatusCode, document: impl Into<Bytes>) -> Self {
        Self::new(status).content("application/json", Content::Bytes(document.into()))
    }

    pub(super) fn content(mut self, media_type: &str, content: Content) -> Self {
        self.content = content;
        self.header(CONTENT_TYPE, media_type)
    }

    /// Sets a header. Values are made of parsed parts, so none has characters that a header may not have; one that had
    /// would be left out.
    pub(super) fn header(mut self, name: HeaderName, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.append(name, value);
        }
        self
    }

    /// Names the content by its digest, also as a validator for caches.
    pub(super) fn digest(self, digest: Digest) -> Self {
        self.header(CONTENT_DIGEST, &digest.to_string()).header(ETAG, &etag(digest))
    }

    /// Where the thing made is found. Relative to the host: the server does not know its names.
    pub(super) fn location(self, path: &str) -> Self {
        self.header(LOCATION, path)
    }

    /// Where the next page is found (RFC 5988).
    pub(super) fn next_page(self, path: &str) -> Self {
        self.header(LINK, &format!("<{path}>; rel=\"next\""))
    }
}

/// A digest as a strong entity tag.
pub(super) fn etag(digest: Digest) -> String {
    format!("\"{digest}\"")
}
