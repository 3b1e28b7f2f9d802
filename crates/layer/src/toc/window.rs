//! What deflate may refer back to, kept small.

use std::fmt;
use std::io;

/// The most that deflate refers back to, in bytes.
pub(super) const WINDOW: usize = 32 << 10;

/// Half a second for a thousand of them; higher levels save no tenth.
const LEVEL: i32 = 3;

/// At most 32 KiB of inflated bytes, compressed.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Window(Box<[u8]>);

impl Window {
    pub(super) fn new(history: &[u8]) -> io::Result<Self> {
        zstd::bulk::compress(history, LEVEL).map(|bytes| Self(bytes.into()))
    }

    /// What is behind, at most 32 KiB.
    pub(super) fn history(&self) -> io::Result<Vec<u8>> {
        zstd::bulk::decompress(&self.0, WINDOW)
    }

    /// Compressed.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// What [`bytes`](Self::bytes) gave.
    pub(super) fn from_bytes(bytes: Vec<u8>) -> Self {
        Self(bytes.into())
    }

    /// Number of bytes, compressed.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

impl fmt::Debug for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Window").field(&self.0.len()).finish()
    }
}
