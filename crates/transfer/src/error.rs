//! What can go wrong in a transfer.

use std::fmt;

use oci::{Digest, ManifestError, Platform, Tag};
use store::{Expected, Kind};

use crate::naming::Instead;

/// Why a transfer stopped. Nothing that is not whole has got a name then.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The source failed. The message says what was being done there.
    #[error(transparent)]
    Source(store::Error),
    /// The destination failed. The message says what was being done there.
    #[error(transparent)]
    Destination(store::Error),
    /// A blob broke on its way as often as it was tried.
    #[error("copying blob {blob}, given up after {attempts} attempts: {source}")]
    GaveUp {
        /// The blob.
        blob: Digest,
        /// How often it was begun.
        attempts: u32,
        /// What went wrong the last time.
        source: store::Error,
    },
    /// A manifest of the source cannot be understood.
    #[error("reading the graph of {reference}: {source}")]
    Manifest {
        /// The manifest, as a reference.
        reference: String,
        /// What is wrong with it.
        source: ManifestError,
    },
    /// The destination's tag exists and must not be overwritten.
    #[error("refusing to clobber existing tag {reference}@{digest}")]
    Clobber {
        /// The tag, as a reference.
        reference: String,
        /// What it names.
        digest: Digest,
    },
    /// The destination's tag names an index, and would name a single image.
    #[error("refusing to replace the index {reference}@{digest} by a single image")]
    ReplacesIndex {
        /// The tag, as a reference.
        reference: String,
        /// The index that it names.
        digest: Digest,
    },
    /// A name was to be written only where it stands for what was expected, and it does not.
    #[error(
        "{reference} {}; {}", Instead(*found, *expected),
        if *brought { "it was left as it is" } else { "nothing was written" }
    )]
    Unexpected {
        /// The name, as a reference.
        reference: String,
        /// What it stands for.
        found: Option<Digest>,
        /// What it should stand for.
        expected: Expected,
        /// Whether the blobs and manifests that it was to stand on are there by now, because it changed while they moved.
        brought: bool,
    },
    /// An index has no image for the platform that was asked for.
    #[error("no child with platform {platform} in index {reference}")]
    NoChild {
        /// The platform.
        platform: Box<Platform>,
        /// The index, as a reference.
        reference: String,
        /// The platforms that it has images for.
        offered: Vec<Platform>,
    },
    /// The source holds an index, but not all that it lists (a sparse index).
    #[error(
        "index {index} lists {child} ({platform}), which the source does not hold; \
         ask for a platform that is there (--platform), or fill the source first"
    )]
    MissingChild {
        /// The index, as a reference.
        index: String,
        /// The manifest that is missing.
        child: Digest,
        /// The platform that the index gives for it.
        platform: String,
    },
    /// The destination was named by a digest that the source's manifest does not have.
    #[error("cannot write {found} as {reference}: the digest differs")]
    WrongDigest {
        /// The destination, as a reference.
        reference: String,
        /// The digest of the source's manifest.
        found: Digest,
    },
    /// The graph is larger than the [`Limits`](crate::Limits) allow.
    #[error("the graph of {reference} is too large: it has more than {limit}")]
    TooLarge {
        /// The root, as a reference.
        reference: String,
        /// What there is too much of.
        limit: String,
    },
    /// A manifest was to be deleted, and more tags would go with it than was meant.
    #[error("refusing to delete {reference}: {}", Along(others))]
    SharedManifest {
        /// What was to be deleted, as a reference.
        reference: String,
        /// The manifest, which the place can delete only as a whole.
        digest: Digest,
        /// Its tags, but for the one that was to be deleted.
        others: Vec<Tag>,
    },
    /// A manifest was to be deleted, and it cannot be found out which tags would go with it.
    #[error("refusing to delete {reference}: which tags would go along cannot be found out: {source}")]
    UnknownTags {
        /// What was to be deleted, as a reference.
        reference: String,
        /// The manifest, which the place can delete only as a whole.
        digest: Digest,
        /// Why.
        source: store::Error,
    },
    /// One of many tags could not be copied.
    #[error("copying tag {tag}: {source}")]
    Tag {
        /// The tag.
        tag: Tag,
        /// Why.
        source: Box<Error>,
    },
}

impl Error {
    /// The store's error, if one failed.
    pub fn store(&self) -> Option<&store::Error> {
        match self {
            Self::Source(error) | Self::Destination(error) | Self::GaveUp { source: error, .. } => {
                Some(error)
            }
            Self::UnknownTags { source, .. } => Some(source),
            Self::Tag { source, .. } => source.store(),
            _ => None,
        }
    }

    /// What a caller can act on, if a store failed.
    pub fn kind(&self) -> Option<Kind> {
        self.store().map(store::Error::kind)
    }
}

/// How many tags go along, and the first few of them.
struct Along<'a>(&'a [Tag]);

impl fmt::Display for Along<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const FEW: usize = 5;
        let plural = if self.0.len() == 1 { "" } else { "s" };
        write!(f, "{} tag{plural} of the manifest would go along: ", self.0.len())?;
        let shown: Vec<&str> = self.0.iter().take(FEW).map(Tag::as_str).collect();
        f.write_str(&shown.join(", "))?;
        if self.0.len() > FEW { f.write_str(", …") } else { Ok(()) }
    }
}
