//! How a client behaves.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use store::{Observer, Silent};

use crate::{AllowedHost, Retries, Tls};

/// The settings of a [`Client`](crate::Client).
#[derive(Clone)]
#[non_exhaustive]
pub struct Options {
    /// Allows plain http for every registry, found out registry by registry, and any certificate (crane's `--insecure`).
    pub insecure: bool,
    /// Speaks plain http to every registry, also with credentials.
    pub plain_http: bool,
    /// Which certificates are trusted and shown.
    pub tls: Tls,
    /// Where registries may send us though it is private or link-local.
    pub allowed_hosts: Vec<AllowedHost>,
    /// What the client calls itself.
    pub user_agent: String,
    /// A body that moves nothing for so long is given up, and continued with another request.
    pub stall: Duration,
    /// The largest manifest that is read, in bytes.
    pub manifest_limit: u64,
    /// How often and how fast requests are repeated.
    pub retries: Retries,
    /// The most exchanges with one host at once. How many a host really takes is found out below that.
    pub jobs: usize,
    /// Where uploads are kept in mind that may go on after this process; a folder for this user alone, which is made where
    /// it is missing. Without it, or where it cannot be used, they go on within this process only.
    pub state: Option<PathBuf>,
    /// The directory where is kept what is to be remembered between runs (mode 0700; made where it is not there). One
    /// that is another user's, or that others may use, is left alone. `None` remembers nothing.
    pub memory: Option<PathBuf>,
    /// Hears of retries and of registries' warnings.
    pub observer: Arc<dyn Observer>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            insecure: false,
            plain_http: false,
            tls: Tls::default(),
            allowed_hosts: Vec::new(),
            user_agent: concat!("hoist/", env!("CARGO_PKG_VERSION")).to_owned(),
            stall: Duration::from_secs(30),
            manifest_limit: 4 << 20,
            retries: Retries::default(),
            jobs: 32,
            state: None,
            memory: None,
            observer: Arc::new(Silent),
        }
    }
}

impl std::fmt::Debug for Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Options")
            .field("insecure", &self.insecure)
            .field("plain_http", &self.plain_http)
            .field("tls", &self.tls)
            .field("allowed_hosts", &self.allowed_hosts)
            .field("user_agent", &self.user_agent)
            .field("stall", &self.stall)
            .field("manifest_limit", &self.manifest_limit)
            .field("retries", &self.retries)
            .field("jobs", &self.jobs)
            .field("state", &self.state)
            .field("memory", &self.memory)
            .finish_non_exhaustive()
    }
}
