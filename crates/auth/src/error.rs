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
    /// Nothing says where docker's file is, so there is no place to keep credentials.
    #[error("keeping credentials of {server}: there is no place for them")]
    NoPlace {
        /// Whose credentials they are.
        server: String,
    },
    /// A file of credentials cannot be written. It is as it was.
    #[error("writing credentials to {}: {cause}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        cause: Arc<io::Error>,
    },
    /// Other programs were writing a file of credentials for too long. It is as they left it.
    #[error("writing credentials to {}: another program has held {} for {limit:?}", path.display(), lock.display())]
    Locked {
        /// The file.
        path: PathBuf,
        /// The lock beside it.
        lock: PathBuf,
        /// How long it was waited for.
        limit: Duration,
    },
    /// There is no way to write such a credential down.
    #[error("keeping credentials of {server}: {problem}")]
    Unstorable {
        /// Whose credentials they are.
        server: String,
        /// Why there is none.
        problem: &'static str,
    },
    /// A credential helper is not on the search path.
    #[error("{}: docker-credential-{name}, named in {}, is not on the search path", action.of(server), path.display())]
    HelperMissing {
        /// The helper, without `docker-credential-`.
        name: String,
        /// What it would have had to do.
        action: Action,
        /// For what.
        server: String,
        /// The file that names it.
        path: PathBuf,
    },
    /// A credential helper did not answer in time and was stopped.
    #[error("{}: no answer within {limit:?}{}", action.by(name, server), said(message))]
    HelperTimeout {
        /// The helper, without `docker-credential-`.
        name: String,
        /// What it had to do.
        action: Action,
        /// For what.
        server: String,
        /// How long it had.
        limit: Duration,
        /// The first line of its complaint; empty if there was none.
        message: String,
    },
    /// A credential helper failed, or its answer is of no use.
    #[error("{}: {problem}{}", action.by(name, server), said(message))]
    HelperFailed {
        /// The helper, without `docker-credential-`.
        name: String,
        /// What it had to do.
        action: Action,
        /// For what.
        server: String,
        /// How it failed.
        problem: String,
        /// The first line of its complaint; empty if there was none.
        message: String,
    },
}

/// What a credential helper is for (docker's protocol).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Give credentials.
    Get,
    /// Keep credentials.
    Store,
    /// Forget credentials.
    Erase,
}

impl Action {
    /// The word of the protocol.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Store => "store",
            Self::Erase => "erase",
        }
    }

    /// What is being done.
    fn of(self, server: &str) -> String {
        match self {
            Self::Get => format!("asking for credentials of {server}"),
            Self::Store => format!("keeping credentials of {server}"),
            Self::Erase => format!("erasing credentials of {server}"),
        }
    }

    /// What is being done by a helper.
    fn by(self, name: &str, server: &str) -> String {
        match self {
            Self::Get => format!("asking docker-credential-{name} for credentials of {server}"),
            Self::Store => format!("keeping credentials of {server} in docker-credential-{name}"),
            Self::Erase => format!("erasing credentials of {server} in docker-credential-{name}"),
        }
    }
}

/// A helper's own words, behind what we say of it.
fn said(message: &str) -> String {
    if message.is_empty() { String::new() } else { format!(" (it says: {message})") }
}
