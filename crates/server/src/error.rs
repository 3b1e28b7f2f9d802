//! What can go wrong outside of a request.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Why a server cannot open its storage, bind its address, or do what a request asked for.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another process serves this storage.
    #[error(
        "{} is in use by another server{}; a storage directory has one server at a time",
        path.display(),
        holder.map(|pid| format!(" (process {pid})")).unwrap_or_default()
    )]
    Locked {
        /// The storage's directory.
        path: PathBuf,
        /// The other process, if it left its number.
        holder: Option<u32>,
    },
    /// The directory was written by a version that this one does not know.
    #[error("{} holds a registry in the unknown format {found:?}", path.display())]
    Format {
        /// The storage's directory.
        path: PathBuf,
        /// What it calls its format.
        found: String,
    },
    /// The address cannot be listened on.
    #[error("cannot listen on {address}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// The system's reason.
        source: io::Error,
    },
    /// A file operation failed.
    #[error("cannot {doing}")]
    Io {
        /// What was being done, to which file.
        doing: String,
        /// The system's reason.
        source: io::Error,
    },
}

/// Says what was being done when the system refused.
pub(crate) trait Doing<T> {
    fn doing(self, doing: impl FnOnce() -> String) -> Result<T, Error>;
}

impl<T> Doing<T> for io::Result<T> {
    fn doing(self, doing: impl FnOnce() -> String) -> Result<T, Error> {
        self.map_err(|source| Error::Io { doing: doing(), source })
    }
}
