//! Names that are written only where they stand for what is expected.

use std::fmt;
use std::str::FromStr;

use oci::{Descriptor, Digest, DigestError, Selector};

use crate::{Error, Kind, Store};

/// What a name has to stand for so that it may be written. Typed as a digest, or `none`.
///
/// ```
/// use store::Expected;
///
/// assert!("none".parse::<Expected>()?.is(None));
/// # Ok::<(), oci::DigestError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// There is no such name.
    Nothing,
    /// The manifest of this digest.
    Digest(Digest),
}

impl Expected {
    /// Whether it is so; `found` is what the name stands for.
    pub fn is(self, found: Option<Digest>) -> bool {
        match self {
            Self::Nothing => found.is_none(),
            Self::Digest(digest) => found == Some(digest),
        }
    }
}

impl FromStr for Expected {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        if text == "none" { Ok(Self::Nothing) } else { text.parse().map(Self::Digest) }
    }
}

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => f.write_str("none"),
            Self::Digest(digest) => digest.fmt(f),
        }
    }
}

/// What came of writing a name under a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replaced {
    /// It stands for the manifest now.
    Done,
    /// It stands for this still, which was not expected.
    Refused(Option<Digest>),
}

/// What a name stands for, if there is one. The question is asked as well as it can be: where there seems to be nothing, the
/// manifest itself is asked for, because some places know no other question.
///
/// # Errors
/// If it could not be found out; a refusal is not taken for absence.
pub async fn present<S: Store + ?Sized>(store: &S, selector: &Selector) -> Result<Option<Descriptor>, Error> {
    let found = match store.resolve(selector).await {
        Err(error) if error.kind() == Kind::NotFound => {
            store.manifest(selector).await.map(|manifest| manifest.descriptor())
        }
        outcome => outcome,
    };
    match found {
        Ok(descriptor) => Ok(Some(descriptor)),
        Err(error) if error.kind() == Kind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
