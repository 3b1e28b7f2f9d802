//! What can go wrong on the way to a credential.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// An error of the keychain. No text here holds anything of a secret. It is cheap to clone: everybody who waited for
/// the same helper gets it.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// A file of credentials is there but cannot be read.
    #[error("reading credentials from {}: {cause}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        cause: Arc<io::Error>,
    },
    /// A file of credentials is not the JSON that it should be.
    #[error("reading credentials from {}: line {line}, column {column}: {problem}", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The column in bytes, from 1; 0 in front of a line's first.
        column: usize,
        /// What is wrong there.
        problem: &'static str,
    },
    /// The entry that answers for a registry is broken.
    #[error("reading credentials from {}: entry {key:?}: {problem}", path.display())]
    Entry {
        /// The file.
        path: PathBuf,
        /// The entry's key under `auths`.
        key: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A credential helper is not on the search path.
    #[error("asking for credentials of {server}: docker-credential-{name}, named in {}, is not on the search path", path.display())]
    HelperMissing {
        /// The helper, without `docker-credential-`.
        name: String,
        /// What it would have been asked for.
        server: String,
        /// The file that names it.
        path: PathBuf,
    },
    /// A credential helper did not answer in time and was stopped.
    #[error(
        "asking docker-credential-{name} for credentials of {server}: no answer within {limit:?}{}",
        said(message)
    )]
    HelperTimeout {
        /// The helper, without `docker-credential-`.
        name: String,
        /// What it was asked for.
        server: String,
        /// How long it had.
        limit: Duration,
        /// The first line of its standard error; empty if there was none.
        message: String,
    },
    /// A credential helper failed, or its answer is of no use.
    #[error("asking docker-credential-{name} for credentials of {server}: {problem}{}", said(message))]
    HelperFailed {
        /// The helper, without `docker-credential-`.
        name: String,
        /// What it was asked for.
        server: String,
        /// How it failed.
        problem: String,
        /// The first line of its standard error; empty if there was none.
        message: String,
    },
}

/// A helper's own words, behind what we say of it.
fn said(message: &str) -> String {
    if message.is_empty() { String::new() } else { format!(" (it says: {message})") }
}
