//! What can go wrong with a layer.

use std::borrow::Cow;
use std::io;

/// Why a layer could not be read, merged or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The inflated bytes of a layer ended in an error: `InvalidData` and `UnexpectedEof` come from the compression, anything
    /// else from the reader below it.
    #[error("reading the layer at inflated byte {offset}")]
    Read {
        /// Position in the inflated layer.
        offset: u64,
        /// What the reader said.
        #[source]
        source: io::Error,
    },
    /// The sink that keeps the inflated bytes refused them (a full disk, a spool at its bound).
    #[error("keeping the inflated layer at byte {offset}")]
    Keep {
        /// Position in the inflated layer.
        offset: u64,
        /// What the sink said.
        #[source]
        source: io::Error,
    },
    /// The inflated bytes are not a tar archive, or are cut short.
    #[error("invalid tar archive: {problem} at byte {offset}")]
    Archive {
        /// Position in the inflated layer of the block that is wrong.
        offset: u64,
        /// What is wrong with it.
        problem: Cow<'static, str>,
    },
    /// An entry that no root file system may hold: a path that escapes, a link without target, and the like.
    #[error("entry {path}: {problem}")]
    Entry {
        /// The entry's path as the archive has it, quoted and escaped.
        path: String,
        /// What is wrong with it.
        problem: Cow<'static, str>,
    },
    /// The table of contents outgrew [`Limits::memory`](crate::Limits::memory).
    #[error("the layer's table of contents needs more than {limit} bytes of memory")]
    Limit {
        /// The limit, in bytes.
        limit: usize,
    },
    /// The layer has more entries than [`Limits::entries`](crate::Limits::entries).
    #[error("the layer has more than {limit} entries")]
    TooMany {
        /// The limit.
        limit: usize,
    },
    /// An index that somebody else made of the layer cannot be used.
    #[error("the layer's index: {problem}")]
    Index {
        /// What is wrong with it.
        problem: Cow<'static, str>,
    },
    /// Layers that do not fit together: a hard link to nothing, a loop of symbolic links.
    #[error("layer {layer}, entry {path}: {problem}")]
    Merge {
        /// Index of the layer, from the bottom, from zero.
        layer: usize,
        /// The entry's path, quoted and escaped.
        path: String,
        /// What is wrong with it.
        problem: Cow<'static, str>,
    },
    /// The kept bytes of a file could not be read back.
    #[error("reading the content of {path} from layer {layer}")]
    Body {
        /// Index of the layer, from the bottom, from zero.
        layer: usize,
        /// The file's path in the merged file system, quoted and escaped.
        path: String,
        /// What the reader said.
        #[source]
        source: io::Error,
    },
    /// The archive could not be written out.
    #[error("writing the archive")]
    Output(#[source] io::Error),
}

/// A path for people: quoted, control characters escaped, bytes that are not UTF-8 replaced.
pub(crate) fn quote(path: &[u8]) -> String {
    format!("{:?}", String::from_utf8_lossy(path))
}
