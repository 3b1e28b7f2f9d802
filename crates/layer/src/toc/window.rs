//! What deflate may refer back to, kept small, and out of memory where there is much of it.

use std::fmt;
use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use oci::{Algorithm, Digest};
use zstd::bulk::Compressor;
use zstd::zstd_safe::compress_bound;

/// The most that deflate refers back to, in bytes.
pub(super) const WINDOW: usize = 32 << 10;

/// Half a second for a thousand of them; higher levels save no tenth.
const LEVEL: i32 = 3;

/// So many bytes of one layer's windows stay in memory; the others wait in a temporary file.
const HELD: u64 = 1 << 20;

/// At most 32 KiB of inflated bytes, compressed.
#[derive(Clone)]
pub(crate) struct Window {
    place: Place,
    length: u32,
    hash: [u8; 32],
}

#[derive(Clone)]
enum Place {
    Held(Arc<[u8]>),
    /// In a file, from this byte on.
    File(Arc<File>, u64),
}

impl Window {
    /// One that lies in a file, from this byte on.
    pub(super) fn at(file: &Arc<File>, offset: u64, length: u32, hash: [u8; 32]) -> Self {
        Self { place: Place::File(Arc::clone(file), offset), length, hash }
    }

    /// What is behind, at most 32 KiB.
    pub(crate) fn history(&self) -> io::Result<Vec<u8>> {
        zstd::bulk::decompress(&self.bytes()?, WINDOW)
    }

    /// Compressed, and right.
    pub(super) fn bytes(&self) -> io::Result<Vec<u8>> {
        let bytes = match &self.place {
            Place::Held(bytes) => return Ok(bytes.to_vec()),
            Place::File(file, offset) => {
                let mut bytes = vec![0; usize::try_from(self.length).unwrap_or(usize::MAX).min(2 * WINDOW)];
                file.read_exact_at(&mut bytes, *offset)?;
                bytes
            }
        };
        if hash(&bytes) == self.hash {
            Ok(bytes)
        } else {
            Err(io::Error::new(ErrorKind::InvalidData, "the history of a span is damaged"))
        }
    }

    /// Number of bytes, compressed.
    pub(super) fn len(&self) -> u32 {
        self.length
    }

    /// SHA-256 of the compressed bytes.
    pub(super) fn hash(&self) -> [u8; 32] {
        self.hash
    }
}

impl PartialEq for Window {
    fn eq(&self, other: &Self) -> bool {
        (self.length, self.hash) == (other.length, other.hash)
    }
}

impl Eq for Window {}

impl fmt::Debug for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Window").field(&self.length).finish()
    }
}

/// The windows of a layer that is being read.
#[derive(Default)]
pub(crate) struct Windows {
    /// What compresses them, and to where: made once.
    compressor: Option<Compressor<'static>>,
    compressed: Vec<u8>,
    /// Bytes of all so far.
    size: u64,
    count: u64,
    /// Where those are that are too many, and how many bytes it has.
    file: Option<(Arc<File>, u64)>,
}

impl Windows {
    /// Bytes of all so far, compressed.
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// What the next one will take, as far as those so far tell.
    pub(super) fn usual(&self) -> u64 {
        self.size.checked_div(self.count).unwrap_or(WINDOW as u64 / 2)
    }

    pub(crate) fn add(&mut self, history: &[u8]) -> io::Result<Window> {
        let compressor = match &mut self.compressor {
            Some(compressor) => compressor,
            none => none.insert(Compressor::new(LEVEL)?),
        };
        self.compressed.clear();
        self.compressed.reserve(compress_bound(WINDOW));
        compressor.compress_to_buffer(history, &mut self.compressed)?;
        let bytes = &self.compressed;
        // A little more than 32 KiB at most.
        let (length, hash) = (u32::try_from(bytes.len()).unwrap_or(u32::MAX), hash(bytes));
        self.size += u64::from(length);
        self.count += 1;
        if self.size <= HELD {
            return Ok(Window { place: Place::Held(bytes.as_slice().into()), length, hash });
        }
        let (file, end) = match &mut self.file {
            Some(file) => file,
            none => none.insert((Arc::new(tempfile::tempfile()?), 0)),
        };
        (&**file).write_all(bytes)?;
        let window = Window::at(file, *end, length, hash);
        *end += u64::from(length);
        Ok(window)
    }
}

fn hash(bytes: &[u8]) -> [u8; 32] {
    match Algorithm::Sha256.digest(bytes) {
        Digest::Sha256(hash) => hash,
        Digest::Sha512(_) => unreachable!("SHA-256 was asked for"),
    }
}
