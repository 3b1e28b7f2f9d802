//! What can go wrong in a place.

use std::error::Error as StdError;
use std::fmt;

use oci::{ManifestError, VerifyError};

/// What a caller can act on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// It is not there.
    NotFound,
    /// The place wants credentials, or others.
    Unauthorized,
    /// The credentials do not allow it.
    Denied,
    /// The place asks for patience, and retries did not help.
    TooManyRequests,
    /// The place cannot do this.
    Unsupported,
    /// The content is not what it should be: a wrong digest, a broken manifest, too many bytes.
    Invalid,
    /// The place could not be reached at all: an unknown name, a refused port, a certificate that is not trusted.
    Unreachable,
    /// It broke on the way; trying again may help.
    Interrupted,
    /// Anything else.
    Other,
}

/// An error of a store: what was being done, to what, and the cause.
#[derive(Debug)]
pub struct Error {
    kind: Kind,
    doing: String,
    source: Box<dyn StdError + Send + Sync>,
}

impl Error {
    /// An error of `kind` that came up while `doing` something ("fetching manifest localhost:5000/nginx:1.25").
    pub fn new(
        kind: Kind,
        doing: impl Into<String>,
        source: impl Into<Box<dyn StdError + Send + Sync>>,
    ) -> Self {
        Self { kind, doing: doing.into(), source: source.into() }
    }

    /// Content that is not what its descriptor promised.
    pub fn verify(doing: impl Into<String>, source: VerifyError) -> Self {
        Self::new(Kind::Invalid, doing, source)
    }

    /// A document that is not the manifest it should be.
    pub fn manifest(doing: impl Into<String>, source: ManifestError) -> Self {
        Self::new(Kind::Invalid, doing, source)
    }

    /// The cause alone, for whoever says by other words what was being done.
    pub fn cause(&self) -> &(dyn StdError + Send + Sync + 'static) {
        &*self.source
    }

    /// What a caller can act on.
    pub fn kind(&self) -> Kind {
        self.kind
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.doing, self.source)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        // The message holds the cause's already; whoever walks the chain goes on behind it.
        self.source.source()
    }
}
