//! Indexes of layers that others have made: with one of them the first look costs no full read.
//!
//! An index is as good as what binds it to a layer. eStargz and zstd:chunked layers have their own inside, and the layer's descriptor
//! has its digest: [`Estargz::of`] and [`ZstdChunked::of`] say where it lies, and [`Estargz::read`] and [`ZstdChunked::read`] make a
//! table of contents of it, by which every content is proven. A [`zTOC`](soci) is a blob of its own, which some manifest names; its
//! table proves compressed bytes.
//!
//! What an index says of names, modes and owners is what its maker said: nobody has seen the layer's own headers.

mod estargz;
mod flat;
mod guard;
mod listing;
pub mod soci;
mod zstd_chunked;

use std::borrow::Cow;
use std::io::{self, Read};

use oci::{Digest, Hasher};

pub use estargz::Estargz;
pub use zstd_chunked::ZstdChunked;

use crate::Error;

/// What is wrong with an index.
fn invalid(problem: impl Into<Cow<'static, str>>) -> Error {
    Error::Index { problem: problem.into() }
}

/// What is wrong with an index where reading it failed.
fn failed(error: &io::Error) -> Error {
    invalid(error.to_string())
}

/// A reader that hashes what it gives.
struct Hashing<R> {
    reader: R,
    hasher: Hasher,
}

impl<R: Read> Hashing<R> {
    fn new(reader: R, digest: &Digest) -> Self {
        Self { reader, hasher: digest.algorithm().hasher() }
    }

    /// Reads to the end; whether it all had this digest.
    fn proves(mut self, digest: &Digest) -> io::Result<bool> {
        io::copy(&mut self, &mut io::sink())?;
        Ok(self.hasher.finish() == *digest)
    }
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let count = self.reader.read(out)?;
        self.hasher.update(&out[..count]);
        Ok(count)
    }
}

/// The table that a list of entries makes, of a layer that is this long.
#[cfg(any(test, fuzzing))]
pub(crate) fn of_list(list: &[u8], limits: crate::Limits) -> Option<crate::Toc> {
    let (listing, _) = listing::Listing::read(list, limits).ok()?;
    let size = list.len() as u64;
    let format = (crate::Compression::Gzip, crate::Origin::Estargz);
    listing.finish(format, (size, size), None).ok()
}
