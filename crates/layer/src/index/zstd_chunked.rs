//! zstd:chunked (containers/storage, `containers-storage-zstd-chunked.md`): a frame for each content, and a list of all in a frame that
//! readers skip.

use std::io::{BufReader, Read};
use std::ops::Range;

use oci::{Descriptor, Digest};

use super::listing::Listing;
use super::{Hashing, failed, invalid};
use crate::{Compression, Error, Limits, Origin, Toc};

/// What the annotations of a layer begin with, now and in the first images.
const PREFIXES: [&str; 2] = ["io.github.containers.zstd-chunked", "io.containers.zstd-chunked"];

/// The only kind of list that there is.
const KIND: u64 = 1;

/// The index of a zstd:chunked layer, which the layer's descriptor binds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ZstdChunked {
    /// Digest of the list as it lies in the layer, compressed.
    pub digest: Digest,
    /// Where in the layer it lies.
    pub place: Range<u64>,
    /// Number of its inflated bytes.
    length: u64,
    size: u64,
}

impl ZstdChunked {
    /// The index that a layer's descriptor speaks of, if it can be there.
    pub fn of(layer: &Descriptor) -> Option<Self> {
        PREFIXES.iter().find_map(|prefix| {
            let get = |name| layer.annotations.get(&format!("{prefix}.{name}"));
            let digest = get("manifest-checksum")?.parse().ok()?;
            let numbers = get("manifest-position")?.split(':').map(|number| number.parse().ok());
            let numbers = numbers.collect::<Option<Vec<u64>>>()?;
            let [start, compressed, length, KIND] = numbers[..] else { return None };
            let end = start.checked_add(compressed).filter(|end| *end <= layer.size)?;
            Some(Self { digest, place: start..end, length, size: layer.size })
        })
    }

    /// The table of contents that the list makes, whose bytes are those at [`place`](Self::place).
    ///
    /// # Errors
    ///
    /// [`Error::Index`] if the bytes are not those of the digest, or say what no layer can have; [`Error::Limit`] and
    /// [`Error::TooMany`].
    pub fn read(&self, bytes: impl Read, limits: Limits) -> Result<Toc, Error> {
        let compressed = bytes.take(self.place.end - self.place.start);
        let compressed = BufReader::new(Hashing::new(compressed, &self.digest));
        let list = zstd::stream::read::Decoder::with_buffer(compressed).map_err(|error| failed(&error))?;
        let (listing, list) = Listing::read(list.take(self.length), limits)?;
        let compressed = list.into_inner().finish().into_inner();
        if !compressed.proves(&self.digest).map_err(|error| failed(&error))? {
            return Err(invalid(format!("it is not that of {}", self.digest)));
        }
        listing.finish((Compression::Zstd, Origin::ZstdChunked), (self.place.start, self.size), None)
    }
}
