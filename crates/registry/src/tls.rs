//! Which certificates are trusted, and which are shown.

mod config;
mod folder;
mod pem;

use std::path::PathBuf;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;

pub(crate) use config::{config, probe};
pub(crate) use folder::{HostFolders, authority};
pub use pem::{Identity, TlsError, read_certificates};

/// The TLS settings of a [`Client`](crate::Client).
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Tls {
    /// Believes every certificate. Nobody on the way is kept from reading and changing everything.
    pub skip_verify: bool,
    /// Authorities that are trusted besides the system's ([`read_certificates`]).
    pub roots: Vec<CertificateDer<'static>>,
    /// The client's own certificate. It is shown to registries' own hosts alone, not to where they send us.
    pub identity: Option<Arc<Identity>>,
    /// Folders that hold a folder for each host (`HOST` or `HOST:PORT`) with authorities (`*.crt`) and client certificates
    /// (`NAME.cert` and `NAME.key`): docker's and podman's `certs.d` (docker's documentation, "Verify repository client
    /// with certificates"; containers-certs.d(5)). All that have one for a host count.
    pub host_folders: Vec<PathBuf>,
}
