//! eStargz (stargz-snapshotter, `docs/estargz.md`): a gzip member for each content, and a list of all in the last file of the archive.

use std::io::{BufReader, Read};
use std::ops::Range;

use oci::{Descriptor, Digest};

use super::listing::Listing;
use super::{Hashing, failed, invalid};
use crate::header::{BLOCK, Header};
use crate::{Body, Compression, Decoder, Entry, Error, Kind, Limits, Metadata, Origin, Owner, Toc, path};

/// The annotation of a layer that has the digest of the list.
const DIGEST: &str = "containerd.io/snapshot/stargz/toc.digest";

/// The annotation that has the number of inflated bytes.
const INFLATED: &str = "io.containers.estargz.uncompressed-size";

/// The name of the file that has the list.
const NAME: &[u8] = b"stargz.index.json";

/// The mark at the end of the footer's extra field.
const MARK: &[u8] = b"STARGZ";

/// The longest part of a list that is read at a time, in bytes.
const BUFFER: usize = 64 << 10;

/// The index of an eStargz layer, which the layer's descriptor binds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Estargz {
    /// Digest of the list.
    pub digest: Digest,
    size: u64,
    inflated: Option<u64>,
}

impl Estargz {
    /// Number of bytes at the end of the layer that say where the list is.
    pub const FOOTER: u64 = 51;

    /// The index that a layer's descriptor speaks of.
    pub fn of(layer: &Descriptor) -> Option<Self> {
        let digest = layer.annotations.get(DIGEST)?.parse().ok()?;
        let inflated = layer.annotations.get(INFLATED).and_then(|size| size.parse().ok());
        Some(Self { digest, size: layer.size, inflated })
    }

    /// Where in the layer the list lies, as the last [`FOOTER`](Self::FOOTER) bytes say: an empty member of gzip with an extra field.
    ///
    /// # Errors
    ///
    /// [`Error::Index`] if they say nothing, or a place that is not in the layer.
    pub fn place(&self, footer: &[u8]) -> Result<Range<u64>, Error> {
        let end = self.size.checked_sub(Self::FOOTER);
        let start = offset(footer).zip(end).filter(|(start, end)| start < end);
        start.map(|(start, end)| start..end).ok_or_else(|| invalid("the footer names no place in the layer"))
    }

    /// The table of contents that the list makes, whose bytes are those at `place`.
    ///
    /// # Errors
    ///
    /// [`Error::Index`] if the bytes are not those of the digest, or say what no layer can have; [`Error::Limit`] and
    /// [`Error::TooMany`].
    pub fn read(&self, bytes: impl Read, place: Range<u64>, limits: Limits) -> Result<Toc, Error> {
        let compressed = bytes.take(place.end - place.start);
        let mut tar =
            Decoder::new(BufReader::with_capacity(BUFFER, compressed)).map_err(|error| failed(&error))?;
        let mut block = [0; BLOCK];
        tar.read_exact(&mut block).map_err(|error| failed(&error))?;
        let entry = entry(&block).map_err(invalid)?;
        let size = entry.size();
        let list = Hashing::new(tar.take(size), &self.digest);
        let (mut listing, list) = Listing::read(list, limits)?;
        let Digest::Sha256(hash) = self.digest else { return Err(invalid("it is not of a SHA-256")) };
        if !list.proves(&self.digest).map_err(|error| failed(&error))? {
            return Err(invalid(format!("it is not that of {}", self.digest)));
        }
        listing.add(entry, place.start, BLOCK as u64, hash)?;
        listing.finish((Compression::Gzip, Origin::Estargz), (place.end, self.size), self.inflated)
    }
}

/// The place of the list from an empty member of gzip with 26 bytes of extra field: `SG`, the length, 16 digits, `STARGZ`.
fn offset(footer: &[u8]) -> Option<u64> {
    let footer: &[u8; 51] = footer.try_into().ok()?;
    let extra = footer.strip_prefix(&[0x1f, 0x8b, 8, 4])?.get(6..)?;
    let digits =
        extra.strip_prefix(&[26, 0, b'S', b'G', 22, 0])?.get(..16 + MARK.len())?.strip_suffix(MARK)?;
    u64::from_str_radix(str::from_utf8(digits).ok()?, 16).ok()
}

/// The file that has the list, which is not in the list itself.
fn entry(block: &[u8; BLOCK]) -> Result<Entry, &'static str> {
    let header = Header::parse(block)?;
    if header.path() != NAME || !matches!(header.kind(), 0 | b'0') {
        return Err("there is no list");
    }
    let size = header.size()?;
    Ok(Entry {
        path: path::confine(NAME)?,
        kind: Kind::File(Body::whole(0, size)),
        metadata: Metadata {
            mode: header.mode()?,
            owner: Owner { uid: header.uid()?, gid: header.gid()?, ..Owner::default() }.into(),
            mtime: header.mtime()?,
            ..Metadata::default()
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn footers() {
        let footer = |digits: &str| {
            let mut footer = vec![0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 255, 26, 0, b'S', b'G', 22, 0];
            footer.extend(digits.bytes());
            footer.extend(b"STARGZ\x01\0\0\xff\xff\0\0\0\0\0\0\0\0");
            footer
        };
        assert_eq!(offset(&footer("00000000000004d2")), Some(1234));
        for wrong in ["0000000000000+d2", "00000000000004g2", "4d2"] {
            assert_eq!(offset(&footer(wrong)), None, "{wrong}");
        }
        assert_eq!(offset(&footer("00000000000004d2")[1..]), None);
    }
}
