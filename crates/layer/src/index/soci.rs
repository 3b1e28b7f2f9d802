//! SOCI (soci-snapshotter): a zTOC for each large layer, which a SOCI index lists, an OCI manifest of its own.
//!
//! An image's manifest names its SOCI index by an annotation (version 2), or the index names the image as its subject (version 1), which
//! anybody can do who may push to the repository.

use oci::{Descriptor, Digest};

use super::flat;
use super::invalid;
use super::listing::time;
use crate::limits::{Limits, Meter};
use crate::pax::{self, Extensions};
use crate::toc::{ALL, Parts, Span, Start, Windows};
use crate::{Body, Compression, Device, Entry, Error, Kind, Metadata, Origin, Table, Toc, path};

/// The annotation of an image's manifest that names its SOCI index, by its digest.
pub const INDEX_DIGEST: &str = "com.amazon.soci.index-digest";

/// The artifact type of an index that names an image as its subject.
pub const ARTIFACT_TYPE: &str = "application/vnd.amazon.soci.index.v1+json";

/// The annotation of a zTOC that says of which layer it is.
const LAYER_DIGEST: &str = "com.amazon.soci.image-layer-digest";

/// The most bytes that a zTOC may have that is read: enough for a layer of 6 GiB.
pub const MOST: u64 = 48 << 20;

/// How many bytes of history a point has.
const HISTORY: usize = 32 << 10;

/// The zTOC of a layer among the blobs of a SOCI index.
pub fn ztoc_of<'a>(blobs: &'a [Descriptor], layer: &Digest) -> Option<&'a Descriptor> {
    let layer = layer.to_string();
    blobs.iter().find(|blob| blob.annotations.get(LAYER_DIGEST) == Some(&layer))
}

/// The table of contents that a zTOC makes, of a layer of so many bytes.
///
/// # Errors
///
/// [`Error::Index`] if the bytes are no zTOC, or of another layer; [`Error::Limit`] and [`Error::TooMany`].
pub fn read(ztoc: &[u8], size: u64, limits: Limits) -> Result<Toc, Error> {
    parse(ztoc, size, limits).unwrap_or_else(|| Err(invalid("it is no zTOC, or damaged")))
}

/// `None` where something is not there that has to be.
fn parse(ztoc: &[u8], size: u64, limits: Limits) -> Option<Result<Toc, Error>> {
    // Fields have numbers, in the order of soci-snapshotter's `ztoc.fbs`.
    let root = flat::Table::root(ztoc)?;
    let (compressed, inflated) = (root.length(2)?, root.length(3)?);
    let (listed, compression) = (root.table(4)?, root.table(5)?);
    if compressed != size {
        return Some(Err(invalid("it is of another layer")));
    }
    // The number of a kind that is not written is 1, for gzip.
    let kind = match compression.number::<1>(0)?[0] {
        0 | 1 => Compression::Gzip,
        2 => Compression::None,
        _ => return Some(Err(invalid("it is of a layer in an unknown compression"))),
    };
    // Offsets may lead to the same place many times: what is looked at counts, not what there is.
    let mut meter = Meter::new(limits);
    let digests = compression.strings(2)?;
    if let Err(error) = meter.add(digests.len().saturating_mul(size_of::<Span>() + 32)) {
        return Some(Err(error));
    }
    let digests = digests.map(|text| match str::from_utf8(text?).ok()?.parse() {
        Ok(Digest::Sha256(hash)) => Some(hash),
        _ => None,
    });
    let digests = digests.collect::<Option<Vec<_>>>()?;
    let points = compression.bytes(3)?;
    let spans = match kind {
        Compression::Gzip => points_of_gzip(points, &digests, (size, inflated)),
        _ => points_of_tar(points, &digests, size),
    };
    let spans = match spans? {
        Ok(spans) => spans,
        Err(error) => return Some(Err(error)),
    };
    let mut entries = Vec::new();
    for listed in listed.tables(0)? {
        match entry(&listed?, &mut meter)? {
            Ok(entry) => entries.push(entry),
            Err(error) => return Some(Err(error)),
        }
    }
    let table = Table { entries, size: inflated };
    let checked = check(&table).map_err(invalid);
    let toc = Toc { table, compression: kind, size, origin: Origin::Soci, parts: Parts::Spans(spans) };
    Some(checked.map(|()| toc))
}

/// The number of points (4 bytes) and the usual span (8); then for each where it is, compressed (8) and inflated (8), the bits of the
/// byte before it (1), and its history. The first is left out in the first version: it is where the shortest header of gzip ends.
fn points_of_gzip(
    points: &[u8],
    digests: &[[u8; 32]],
    (size, inflated): (u64, u64),
) -> Option<Result<Vec<Span>, Error>> {
    const POINT: usize = 8 + 8 + 1 + HISTORY;
    let (count, points) = points.split_first_chunk()?;
    let count = usize::try_from(u32::from_le_bytes(*count)).ok()?;
    let points = points.get(8..)?;
    let first = match points.len() {
        length if Some(length) == count.checked_mul(POINT) => None,
        length if Some(length) == count.checked_sub(1)?.checked_mul(POINT) => Some((10, 0, 0, &[][..])),
        _ => return None,
    };
    let rest = points.chunks_exact(POINT).filter_map(|point| {
        let (at, point) = point.split_first_chunk()?;
        let (inflated, point) = point.split_first_chunk()?;
        let (bits, history) = point.split_first()?;
        Some((u64::from_le_bytes(*at), u64::from_le_bytes(*inflated), *bits, history))
    });
    if digests.len() != count {
        return None;
    }
    let mut windows = Windows::default();
    let mut spans: Vec<Span> = Vec::with_capacity(count);
    for ((at, from, bits, history), digest) in first.into_iter().chain(rest).zip(digests) {
        let compressed = at.checked_sub(u64::from(bits > 0))?;
        let is_behind = |last: &Span| last.compressed < compressed && last.inflated < from;
        let is_sound = spans.last().map_or(from == 0 && bits == 0, is_behind);
        if !is_sound || bits >= ALL || at >= size || from > inflated {
            return None;
        }
        let window = match windows.add(if from == 0 { &[] } else { history }) {
            Ok(window) => window,
            Err(error) => return Some(Err(super::failed(&error))),
        };
        let bits = if bits == 0 { ALL } else { bits };
        spans.push(Span {
            compressed,
            inflated: from,
            start: Start::Within { bits, window },
            digest: *digest,
        });
    }
    if spans.is_empty() { None } else { Some(Ok(spans)) }
}

/// Version (4 bytes), bytes of a span (8) and of the archive (8).
fn points_of_tar(points: &[u8], digests: &[[u8; 32]], size: u64) -> Option<Result<Vec<Span>, Error>> {
    let (span, rest) = points.get(4..)?.split_first_chunk()?;
    let span = u64::from_le_bytes(*span);
    if rest != size.to_le_bytes() || span == 0 || size.div_ceil(span) != digests.len() as u64 {
        return None;
    }
    let spans = (0..).zip(digests).map(|(number, digest)| {
        // Below the size.
        let at = number * span;
        Span { compressed: at, inflated: at, start: Start::Afresh, digest: *digest }
    });
    Some(Ok(spans.collect()))
}

fn entry(listed: &flat::Table<'_>, meter: &mut Meter) -> Option<Result<Entry, Error>> {
    let (name, kind, link) = (listed.bytes(0)?, listed.bytes(1)?, listed.bytes(4)?);
    let (offset, size) = (listed.length(2)?, listed.length(3)?);
    let (uname, gname, mtime) = (listed.bytes(8)?, listed.bytes(9)?, listed.bytes(10)?);
    let texts = [name, link, uname, gname, mtime].iter().map(|text| text.len()).sum::<usize>();
    if let Err(error) = meter.add(texts) {
        return Some(Err(error));
    }
    let mut records = Vec::new();
    for record in listed.tables(13)? {
        let record = record?;
        let (name, value) = (record.bytes(0)?, record.bytes(1)?);
        if let Err(error) = meter.add(name.len() + value.len() + 1) {
            return Some(Err(error));
        }
        pax::push(&mut records, name, value);
    }
    let device = || {
        let [major, minor] = [listed.length(11)?, listed.length(12)?];
        Some(Device { major: u32::try_from(major).ok()?, minor: u32::try_from(minor).ok()? })
    };
    let path = match path::confine(name) {
        Ok(path) => path,
        Err(problem) => return Some(Err(wrong(name, problem))),
    };
    let kind = match kind {
        b"reg" => Kind::File(Body::whole(offset, size)),
        b"dir" => Kind::Directory,
        b"symlink" if link.is_empty() || link.len() > path::PATH_MAX => {
            return Some(Err(wrong(name, "symbolic link without target, or with too long a one")));
        }
        b"symlink" => Kind::Symlink(link.into()),
        b"hardlink" => match path::confine_link(link) {
            Ok(target) => Kind::HardLink(target),
            Err(problem) => return Some(Err(wrong(name, problem))),
        },
        b"char" => Kind::CharacterDevice(device()?),
        b"block" => Kind::BlockDevice(device()?),
        b"fifo" => Kind::Fifo,
        _ => return Some(Err(wrong(name, "unknown type"))),
    };
    if path.is_empty() && kind != Kind::Directory {
        return Some(Err(wrong(name, "the root of a layer must be a directory")));
    }
    let extensions = match Extensions::parse(&records) {
        Ok(extensions) if extensions.sparse.is_empty() => extensions,
        // It does not say where the extents are.
        Ok(_) => return Some(Err(wrong(name, "it is sparse"))),
        Err(problem) => return Some(Err(wrong(name, problem))),
    };
    let mtime = match str::from_utf8(mtime).ok()? {
        "" => Ok(crate::Time::default()),
        text => time(text),
    };
    let (uid, gid) = (u32::from_le_bytes(listed.number(6)?), u32::from_le_bytes(listed.number(7)?));
    let metadata = Metadata {
        mode: u32::try_from(i64::from_le_bytes(listed.number(5)?) & 0o7777).ok()?,
        owner: meter.owner((uid.into(), gid.into()), (uname, gname)),
        mtime: match mtime {
            Ok(mtime) => mtime,
            Err(error) => return Some(Err(error)),
        },
        xattrs: extensions.xattrs,
        records: extensions.records,
    };
    let entry = Entry { path, kind, metadata };
    Some(meter.account(&entry).map(|()| entry))
}

/// Contents lie behind each other, each behind a header.
fn check(table: &Table) -> Result<(), &'static str> {
    const BLOCK: u64 = crate::header::BLOCK as u64;
    let mut end = 0_u64;
    for entry in &table.entries {
        let Kind::File(body) = &entry.kind else { continue };
        let after = body.offset.checked_add(body.stored()).filter(|after| *after <= table.size);
        let (Some(after), true) = (after, body.offset >= end.saturating_add(BLOCK)) else {
            return Err("contents lie within each other, or outside of the layer");
        };
        end = after.next_multiple_of(BLOCK);
    }
    Ok(())
}

fn wrong(name: &[u8], problem: &str) -> Error {
    invalid(format!("entry {}: {problem}", crate::error::quote(name)))
}

#[cfg(test)]
mod tests;
