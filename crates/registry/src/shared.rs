//! What all hosts of a client have in common.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use auth::Keychain;
use http::HeaderMap;
use store::Event;
use url::Url;

use crate::journal::Journal;
use crate::memory::Memory;
use crate::transport::{Transport, is_loopback};
use crate::{Error, Options, redact, warning};

pub(crate) struct Shared {
    pub(crate) options: Options,
    pub(crate) keychain: Keychain,
    pub(crate) transport: Transport,
    /// The uploads that may go on; opened by the first.
    journal: OnceLock<Arc<Journal>>,
    pub(crate) memory: Option<Memory>,
    /// Warnings that were told already.
    warned: Mutex<BTreeSet<String>>,
}

impl Shared {
    pub(crate) fn new(options: Options, keychain: Keychain) -> Self {
        let transport = Transport::new(&options, keychain.http_headers());
        let memory = Memory::new(&options, keychain.http_headers());
        Self { options, keychain, transport, memory, journal: OnceLock::new(), warned: Mutex::default() }
    }

    /// Credentials travel over https, over http only to this machine itself or where the user said so.
    pub(crate) fn may_carry_credentials(&self, url: &Url) -> Result<(), Error> {
        let told = self.options.insecure || self.options.plain_http;
        if url.scheme() == "https" || is_loopback(url) || told {
            Ok(())
        } else {
            Err(Error::InTheClear { url: redact::url(url) })
        }
    }

    /// Tells the warnings of an answer, each once a client.
    pub(crate) fn warn(&self, headers: &HeaderMap) {
        for value in headers.get_all(http::header::WARNING) {
            let Some(text) = value.to_str().ok().and_then(warning::text) else { continue };
            let mut warned = self.warned.lock().unwrap_or_else(PoisonError::into_inner);
            if warned.insert(text.clone()) {
                self.options.observer.event(&Event::Warned(&text));
            }
        }
    }

    /// The uploads that may go on.
    pub(crate) fn journal(&self) -> &Arc<Journal> {
        self.journal.get_or_init(|| Arc::new(Journal::open(self.options.state.as_deref())))
    }

    /// Tells that something is tried again.
    pub(crate) fn tell(&self, reason: &str, wait: Duration) {
        self.options.observer.event(&Event::Retried { reason, wait });
    }

    /// Tells that something is tried again, and waits.
    pub(crate) async fn wait(&self, error: &Error, wait: Duration) {
        self.tell(&error.to_string(), wait);
        tokio::time::sleep(wait).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_over_http_stay_on_this_machine() {
        let may = |insecure, url: &str| {
            let may = |options| {
                let shared = Shared::new(options, Keychain::default());
                shared.may_carry_credentials(&Url::parse(url).unwrap()).is_ok()
            };
            let plain_http = may(Options { plain_http: insecure, ..Options::default() });
            assert_eq!(may(Options { insecure, ..Options::default() }), plain_http, "{url}");
            plain_http
        };
        for yes in [
            "https://h/",
            "http://localhost:5000/",
            "http://a.localhost/",
            "http://127.9.9.9/",
            "http://[::1]:1/",
        ] {
            assert!(may(false, yes), "{yes}");
        }
        for no in ["http://h/", "http://10.0.0.1:5000/", "http://localhost.example.com/", "http://[fe80::1]/"]
        {
            assert!(!may(false, no), "{no}");
            assert!(may(true, no), "{no}");
        }
    }
}
