//! What can go wrong in a place on this machine.

use std::io;
use std::path::PathBuf;

use oci::{Digest, ManifestError, Tag, VerifyError};
use store::Kind;

/// What can go wrong in a place on this machine.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file system refused.
    #[error("{}: {source}", path.display())]
    Io {
        /// What it was about.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A part of the layout is a link: it could lead anywhere.
    #[error("{} is a symbolic link, which nothing in a layout may be", .0.display())]
    Link(PathBuf),
    /// A part of the layout is a pipe, a device or the like.
    #[error("{} is no regular file", .0.display())]
    NoFile(PathBuf),
    /// There is nothing, or nothing that is a directory.
    #[error("there is no directory {}", .0.display())]
    NoDirectory(PathBuf),
    /// There is no such file.
    #[error("there is no file {}", .0.display())]
    NoArchive(PathBuf),
    /// There is no docker daemon that answers.
    #[error("no docker daemon answers at {}: {source}", socket.display())]
    Daemon {
        /// Where it would listen.
        socket: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A file is no archive of images, or a damaged one.
    #[error("{}: {reason}", path.display())]
    Archive {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// No image of an archive has the name.
    #[error("it has no image {wanted}{}", but_names(.others))]
    NoImage {
        /// The name.
        wanted: String,
        /// Those that it has.
        others: Vec<String>,
    },
    /// The directory has no `oci-layout`.
    #[error("{} is no OCI image layout: it has no file oci-layout", .0.display())]
    NoLayout(PathBuf),
    /// A directory with other content, where a layout was to be made.
    #[error("{} is not empty, and no OCI image layout: nothing was written", .0.display())]
    NotEmpty(PathBuf),
    /// The directory has other content, where an image was to be put.
    #[error("{} is not empty, and no directory of an image: nothing was written", .0.display())]
    NoImageDirectory(PathBuf),
    /// The directory has other content, where a cache was to be.
    #[error("{} is not empty, and no cache of hoist (it has no CACHEDIR.TAG): what is long unused in a cache is removed", .0.display())]
    NoCache(PathBuf),
    /// A blob that is not what its name says.
    #[error("{} is damaged: its content has the digest {found}", path.display())]
    Altered {
        /// The file.
        path: PathBuf,
        /// What its name should be.
        found: Digest,
    },
    /// Somebody else is at it.
    #[error("another process is writing to {}", .0.display())]
    Busy(PathBuf),
    /// The file `oci-layout` is not what it has to be.
    #[error("{}: {reason}", path.display())]
    Version {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// `index.json` cannot be read.
    #[error("{} is not valid: {reason}", path.display())]
    Index {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A file is larger than such a file may be.
    #[error("{} has {size} bytes, more than the {limit} that are read", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its length in bytes.
        size: u64,
        /// The most that is read, in bytes.
        limit: u64,
    },
    /// No entry has the tag.
    #[error("it has no tag {tag}{}", but(.others))]
    NoTag {
        /// The tag.
        tag: Tag,
        /// Those that it has.
        others: Vec<Tag>,
    },
    /// Several manifests have the tag.
    #[error("{count} manifests have the tag {tag}; a digest tells which")]
    Ambiguous {
        /// The tag.
        tag: Tag,
        /// How many there are.
        count: usize,
    },
    /// Nothing says which manifest is meant.
    #[error("{}", which(.tags, *.entries))]
    Which {
        /// The tags there are.
        tags: Vec<Tag>,
        /// How many entries there are.
        entries: usize,
    },
    /// There is no such blob.
    #[error("it has no blob {}", .0.display())]
    NoBlob(PathBuf),
    /// The blob is there, but it is no manifest.
    #[error("{} is no manifest", .0.display())]
    NoManifest(PathBuf),
    /// A file that is shorter or longer than its descriptor says.
    #[error("{} has {found} bytes, not the {expected} of its descriptor", path.display())]
    Length {
        /// The file.
        path: PathBuf,
        /// Its length in bytes.
        found: u64,
        /// What the descriptor says.
        expected: u64,
    },
    /// A manifest that is not what was asked for, or is broken.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// What an earlier attempt left behind was wrong; it is gone.
    #[error("what an earlier attempt had left of it was damaged, and has been removed")]
    Damaged,
    /// Content that is not what was announced.
    #[error(transparent)]
    Verify(#[from] VerifyError),
}

/// How many tags are named at most.
const NAMED: usize = 10;

fn list(names: &[impl ToString]) -> String {
    let text = names.iter().take(NAMED).map(ToString::to_string).collect::<Vec<_>>().join(", ");
    match names.len() {
        0..=NAMED => text,
        count => format!("{text} and {} more", count - NAMED),
    }
}

fn but_names(names: &[String]) -> String {
    if names.is_empty() { String::new() } else { format!(", but {}", list(names)) }
}

fn but(tags: &[Tag]) -> String {
    if tags.is_empty() { String::new() } else { format!(", but {}", list(tags)) }
}

fn which(tags: &[Tag], entries: usize) -> String {
    match (entries, tags) {
        (0, _) => "it is empty".to_owned(),
        (_, []) => format!("it has {entries} manifests, none with a tag; a digest tells which is meant"),
        _ => format!("it has several manifests; say which tag is meant: {}", list(tags)),
    }
}

impl Error {
    pub(crate) fn io(path: impl Into<PathBuf>, source: impl Into<io::Error>) -> Self {
        Self::Io { path: path.into(), source: source.into() }
    }

    pub(crate) fn archive(path: impl Into<PathBuf>, reason: impl Into<String>) -> Self {
        Self::Archive { path: path.into(), reason: reason.into() }
    }

    /// What a caller can act on.
    pub fn kind(&self) -> Kind {
        match self {
            Self::NoDirectory(_)
            | Self::NoArchive(_)
            | Self::NoImage { .. }
            | Self::NoLayout(_)
            | Self::NoTag { .. }
            | Self::NoBlob(_)
            | Self::NoManifest(_)
            | Self::Which { entries: 0, .. } => Kind::NotFound,
            Self::Damaged => Kind::Interrupted,
            Self::Io { .. }
            | Self::Daemon { .. }
            | Self::NotEmpty(_)
            | Self::NoImageDirectory(_)
            | Self::NoCache(_)
            | Self::Busy(_)
            | Self::Ambiguous { .. }
            | Self::Which { .. } => Kind::Other,
            Self::Link(_)
            | Self::Archive { .. }
            | Self::NoFile(_)
            | Self::Altered { .. }
            | Self::Version { .. }
            | Self::Index { .. }
            | Self::TooLarge { .. }
            | Self::Length { .. }
            | Self::Manifest(_)
            | Self::Verify(_) => Kind::Invalid,
        }
    }

    /// As an error of a store.
    pub(crate) fn doing(self, doing: impl Into<String>) -> store::Error {
        match self {
            // Whoever asks who is to blame looks for it.
            Self::Verify(error) => store::Error::verify(doing, error),
            error => store::Error::new(error.kind(), doing, error),
        }
    }
}
