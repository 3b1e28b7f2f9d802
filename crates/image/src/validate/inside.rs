//! What is inside a layer: its compression, the digest of its inflated bytes, its archive.

use std::collections::{BTreeSet, HashSet};
use std::io::{self, Write};

use layer::{Compression, Decoder, Limits, Table};
use oci::{Algorithm, Digest, Hasher, MediaType};

use super::report::{Findings, Spot};
use crate::error::causes;
use crate::feed::Feed;

/// How a layer's media type says that it is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Packing(Compression);

impl Packing {
    /// Nothing for what is no layer, and for what a layer can be besides a tar, such as encrypted.
    pub(super) fn of(media_type: &MediaType) -> Option<Self> {
        let rest = [
            "application/vnd.oci.image.layer.v1.tar",
            "application/vnd.oci.image.layer.nondistributable.v1.tar",
            "application/vnd.docker.image.rootfs.diff.tar",
            "application/vnd.docker.image.rootfs.foreign.diff.tar",
        ]
        .into_iter()
        .find_map(|prefix| media_type.as_str().strip_prefix(prefix))?;
        Some(Self(match rest {
            "" => Compression::None,
            "+gzip" | ".gzip" => Compression::Gzip,
            "+zstd" | ".zstd" => Compression::Zstd,
            _ => return None,
        }))
    }
}

/// What a layer holds.
pub(super) struct Inside {
    compression: Compression,
    /// The inflated layer's digests, one an algorithm, if it could be inflated to its end.
    digests: Result<Vec<Digest>, String>,
    archive: Archive,
}

/// What was made of the inflated bytes.
enum Archive {
    Good,
    Bad(String),
    /// Too many entries to look at all of them.
    Large,
}

impl Inside {
    /// Compares a layer with what one of its uses expects.
    pub(super) fn judge(
        &self,
        packing: Packing,
        diff_id: Option<Digest>,
        spot: &Spot,
        findings: &mut Findings,
    ) {
        if self.compression != packing.0 {
            let name = |compression| match compression {
                Compression::None => "not compressed",
                Compression::Gzip => "gzip",
                Compression::Zstd => "zstd",
            };
            let (found, said) = (name(self.compression), name(packing.0));
            findings.error(spot, format!("the content is {found}, the media type says {said}"));
        }
        match (&self.digests, diff_id) {
            (Err(problem), _) => return findings.error(spot, problem),
            (Ok(digests), Some(diff_id)) if !digests.contains(&diff_id) => {
                let found = digests.iter().find(|digest| digest.algorithm() == diff_id.algorithm());
                let found = found.map(ToString::to_string).unwrap_or_default();
                findings.error(spot, format!("uncompressed content is {found}, the config says {diff_id}"));
            }
            _ => {}
        }
        match &self.archive {
            Archive::Good => {}
            Archive::Bad(problem) => findings.error(spot, problem),
            Archive::Large => {
                findings.note(spot, "it has more entries than are looked at; its digests are right");
            }
        }
    }
}

/// Inflates a layer to its end, and reads its archive on the way. Blocks.
pub(super) fn look(feed: Feed, algorithms: &BTreeSet<Algorithm>, limit: u64, table: Limits) -> Inside {
    let mut decoder = match Decoder::new(feed) {
        Ok(decoder) => decoder,
        Err(error) => {
            let (compression, archive) = (Compression::None, Archive::Good);
            return Inside { compression, digests: Err(error.to_string()), archive };
        }
    };
    let compression = decoder.compression();
    let hashers = algorithms.iter().map(|algorithm| algorithm.hasher()).collect();
    let mut content = Content { hashers, room: limit, is_too_large: false };
    let (archive, rest) = match Table::scan(&mut decoder, &mut content, table) {
        Ok(table) => (repeated(&table).map_or(Archive::Good, Archive::Bad), Ok(())),
        Err(error @ (layer::Error::Read { .. } | layer::Error::Keep { .. })) => {
            (Archive::Good, Err(causes(&error)))
        }
        Err(error) => {
            // What cannot be read has a digest all the same.
            let rest = io::copy(&mut decoder, &mut content).map(drop).map_err(|error| error.to_string());
            let is_large = matches!(error, layer::Error::Limit { .. });
            (if is_large { Archive::Large } else { Archive::Bad(causes(&error)) }, rest)
        }
    };
    let digests = match rest {
        Ok(()) => Ok(content.hashers.into_iter().map(Hasher::finish).collect()),
        Err(_) if content.is_too_large => Err(format!("it inflates to more than {limit} bytes; given up")),
        Err(problem) => Err(problem),
    };
    Inside { compression, digests, archive }
}

/// The first path that comes twice, which layer.md forbids: tools differ in which entry they take.
fn repeated(table: &Table) -> Option<String> {
    let mut met = HashSet::with_capacity(table.entries.len());
    let twice = table.entries.iter().find(|entry| !met.insert(&entry.path))?;
    Some(format!("the archive has two entries for {:?}", String::from_utf8_lossy(&twice.path)))
}

/// Hashes inflated bytes, up to a bound.
struct Content {
    hashers: Vec<Hasher>,
    room: u64,
    is_too_large: bool,
}

impl Write for Content {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(room) = self.room.checked_sub(bytes.len() as u64) else {
            self.is_too_large = true;
            return Err(io::ErrorKind::FileTooLarge.into());
        };
        self.room = room;
        for hasher in &mut self.hashers {
            hasher.update(bytes);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packings() {
        for (media_type, expected) in [
            ("application/vnd.oci.image.layer.v1.tar", Some(Compression::None)),
            ("application/vnd.oci.image.layer.v1.tar+gzip", Some(Compression::Gzip)),
            ("application/vnd.oci.image.layer.v1.tar+zstd", Some(Compression::Zstd)),
            ("application/vnd.oci.image.layer.nondistributable.v1.tar+gzip", Some(Compression::Gzip)),
            ("application/vnd.docker.image.rootfs.diff.tar", Some(Compression::None)),
            ("application/vnd.docker.image.rootfs.diff.tar.gzip", Some(Compression::Gzip)),
            ("application/vnd.docker.image.rootfs.diff.tar.zstd", Some(Compression::Zstd)),
            ("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", Some(Compression::Gzip)),
            ("application/vnd.oci.image.layer.v1.tar+gzip+encrypted", None),
            ("application/vnd.in-toto+json", None),
        ] {
            assert_eq!(Packing::of(&MediaType::new(media_type)), expected.map(Packing), "{media_type}");
        }
    }
}
