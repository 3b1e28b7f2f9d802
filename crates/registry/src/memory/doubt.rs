//! What was remembered or guessed, and proves wrong: it costs one request, and is never an error.

use std::error::Error as StdError;
use std::sync::atomic::Ordering;

use http::StatusCode;
use http::header::WWW_AUTHENTICATE;
use reqwest::Response;
use url::Url;

use crate::host::{Authorization, Host};
use crate::trouble::Trouble;

impl Host {
    /// Looks at what came of a request, and forgets what misled it. Then the request is to begin again, at the URL that
    /// is returned, as if nothing had been remembered.
    pub(crate) async fn misled(
        &self,
        url: &Url,
        used: &Authorization,
        outcome: &Result<Response, Box<dyn StdError + Send + Sync>>,
    ) -> Option<Url> {
        if let Some(found) = self.found_base.get().filter(|_| self.is_misspelt(url)) {
            // Another request has found it out in the meantime.
            return Some(at(found, url));
        }
        if !self.is_own(url) {
            return None;
        }
        if self.guesses_scheme()
            && !outcome.as_ref().is_ok_and(is_registry)
            && let Some(again) = self.other_scheme(url).await
        {
            return Some(again);
        }
        match outcome {
            // Servers that want TLS answer plain http with a 400, if at all.
            Ok(response) if response.status() != StatusCode::BAD_REQUEST => {
                self.answered.store(true, Ordering::Relaxed);
                let refused = matches!(response.status(), StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN);
                (refused && self.doubts(used)).then(|| url.clone())
            }
            Err(error) if Trouble::of(error.as_ref()) == Some(Trouble::Timeout) => None,
            _ if self.answered.load(Ordering::Relaxed) => None,
            _ => self.other_scheme(url).await,
        }
    }

    /// The same URL by the scheme that the registry speaks, if it is not the one that was presumed.
    async fn other_scheme(&self, url: &Url) -> Option<Url> {
        self.presumed_scheme()?;
        let found = self.found_base.get_or_try_init(|| self.find_base()).await.ok()?;
        (found.origin() != url.origin()).then(|| at(found, url))
    }

    /// Whether the scheme is no more than a guess, if it is presumed at all.
    fn guesses_scheme(&self) -> bool {
        let is_settled = self.answered.load(Ordering::Relaxed) || self.found_base.initialized();
        !is_settled && self.notes.scheme().is_none()
    }

    /// The URL, where it was made of a base that was presumed wrongly.
    pub(crate) fn set_right(&self, url: Url) -> Url {
        match self.found_base.get().filter(|_| self.is_misspelt(&url)) {
            Some(found) => at(found, &url),
            None => url,
        }
    }

    /// Whether a URL was made of what was presumed, and another scheme has been found since.
    fn is_misspelt(&self, url: &Url) -> bool {
        !self.is_own(url) && self.base.get().is_some_and(|wrong| wrong.origin() == url.origin())
    }
}

/// Whether an answer is that of a registry, and not what stands before one that wants TLS: some answer plain http with a redirect, or
/// have no such page.
fn is_registry(response: &Response) -> bool {
    let headers = response.headers();
    response.status().is_success()
        || response.status() == StatusCode::UNAUTHORIZED && headers.contains_key(WWW_AUTHENTICATE)
        || headers.contains_key("docker-distribution-api-version")
}

/// The URL with another scheme, host and port.
fn at(base: &Url, url: &Url) -> Url {
    let mut moved = base.clone();
    moved.set_path(url.path());
    moved.set_query(url.query());
    moved
}
