//! A table of contents as bytes, for whoever keeps it.
//!
//! A magic word with the version, the length of the content, the content (postcard), the SHA-256 of all that, and the histories of spans,
//! whose hashes are in the content: they stay in the file until they are needed. Each path has only what differs from the one before it,
//! and names of owners stand once.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use oci::{Algorithm, Digest};
use serde::{Deserialize, Serialize};

use super::chunk::Chunk;
use super::window::Window;
use super::{ALL, Origin, Parts, Span, Start, Toc};
use crate::{
    Body, Compression, Device, Entry, Extent, Kind, Metadata, Owner, Record, Records, Sparse, Table, Time,
};

/// What the bytes begin with. Another layout has another number.
const MAGIC: &[u8; 8] = b"hoisttc2";

/// Number of bytes of the magic word and the length.
const HEAD: usize = 16;

/// What an entry takes, with a usual path, in bytes.
const ENTRY: usize = 80;

/// Number of bytes of the hash at the end.
const HASH: usize = 32;

/// Why bytes are no table of contents.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TocError {
    /// They are damaged, or cut short.
    #[error("the table of contents is damaged")]
    Damaged,
    /// Another version wrote them, or they are something else.
    #[error("the table of contents is of another version")]
    Version,
}

// The content is a head, the number of entries, the entries, and a tail: one entry at a time is in memory in this form.

#[derive(Serialize, Deserialize)]
struct Head {
    compression: u8,
    size: u64,
    inflated: u64,
    origin: u8,
    names: Vec<Vec<u8>>,
}

#[derive(Serialize, Deserialize)]
struct Tail {
    spans: Vec<Part>,
    chunks: Vec<Piece>,
}

#[derive(Serialize, Deserialize)]
struct Item {
    /// How many bytes of the last path it begins with, and what comes behind them.
    shared: u16,
    rest: Vec<u8>,
    what: What,
    mode: u32,
    uid: u64,
    gid: u64,
    /// Positions among the names.
    uname: u32,
    gname: u32,
    mtime: (i64, u32),
    xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    records: Vec<(Vec<u8>, Vec<u8>)>,
}

#[derive(Serialize, Deserialize)]
enum What {
    File { offset: u64, size: u64 },
    Sparse { offset: u64, stored: u64, size: u64, extents: Vec<(u64, u64)> },
    Directory,
    Symlink(Vec<u8>),
    HardLink(Vec<u8>),
    CharacterDevice(u32, u32),
    BlockDevice(u32, u32),
    Fifo,
}

#[derive(Serialize, Deserialize)]
struct Part {
    compressed: u64,
    inflated: u64,
    /// Bits, and length and hash of the history.
    within: Option<(u8, u32, [u8; 32])>,
    digest: [u8; 32],
}

/// A chunk begins where the one before it ends, or so many bytes behind that; or it has the same bytes.
#[derive(Serialize, Deserialize)]
struct Piece {
    gap: Option<u64>,
    compressed: u64,
    skip: u64,
    length: u64,
    digest: [u8; 32],
}

impl Toc {
    /// Writes it as [`Toc::open`] reads it; about 60 to 100 bytes an entry, and 2 % of a layer in gzip.
    ///
    /// # Errors
    ///
    /// Those of `out`, and if a history could not be read back.
    pub fn write(&self, mut out: impl Write) -> io::Result<()> {
        let (spans, chunks) = match &self.parts {
            Parts::Spans(spans) => (&spans[..], &[][..]),
            Parts::Chunks(chunks) => (&[][..], &chunks[..]),
            // Such a table costs nothing, and is not kept.
            Parts::File => return Err(io::ErrorKind::Unsupported.into()),
        };
        let entries = &self.table.entries;
        let mut names = Names::default();
        for owner in entries.iter().map(|entry| &entry.metadata.owner) {
            names.add(&owner.uname);
            names.add(&owner.gname);
        }
        let head = Head {
            compression: code(self.compression),
            size: self.size,
            inflated: self.table.size,
            origin: origin_code(self.origin),
            names: std::mem::take(&mut names.list),
        };
        // About that many; growing would take as much again.
        let mut bytes = Vec::with_capacity(HEAD + ENTRY * entries.len());
        bytes.resize(HEAD, 0);
        let mut bytes = extend(bytes, &head)?;
        bytes = extend(bytes, &entries.len())?;
        let mut last: &[u8] = b"";
        for entry in entries {
            bytes = extend(bytes, &item(entry, &names, last))?;
            last = &entry.path;
        }
        let tail = Tail { spans: spans.iter().map(part).collect(), chunks: pieces(chunks) };
        let mut bytes = extend(bytes, &tail)?;
        let length = (bytes.len() - HEAD) as u64;
        bytes[..MAGIC.len()].copy_from_slice(MAGIC);
        bytes[MAGIC.len()..HEAD].copy_from_slice(&length.to_le_bytes());
        out.write_all(&bytes)?;
        if let Digest::Sha256(hash) = Algorithm::Sha256.digest(&bytes) {
            out.write_all(&hash)?;
        }
        for span in spans {
            if let Start::Within { window, .. } = &span.start {
                out.write_all(&window.bytes()?)?;
            }
        }
        out.flush()
    }

    /// Whether a file begins as one that [`Toc::write`] of this version wrote; whether it is whole is not looked at.
    pub fn is_one(file: &File) -> bool {
        let mut head = [0; HEAD];
        file.read_exact_at(&mut head, 0).is_ok() && head.starts_with(MAGIC)
    }

    /// What [`Toc::write`] wrote: all of a file. Histories of spans are read from it when they are needed.
    ///
    /// # Errors
    ///
    /// If it is damaged, or of another version.
    pub fn open(file: File) -> Result<Self, TocError> {
        let size = file.metadata().map_err(|_| TocError::Damaged)?.len();
        let mut head = [0; HEAD];
        file.read_exact_at(&mut head, 0).map_err(|_| TocError::Damaged)?;
        if !head.starts_with(MAGIC) {
            return Err(TocError::Version);
        }
        let (_, length) = head.split_last_chunk::<8>().ok_or(TocError::Damaged)?;
        let end = u64::from_le_bytes(*length).checked_add(HEAD as u64).filter(|end| *end < size);
        let end = end.and_then(|end| usize::try_from(end).ok()).ok_or(TocError::Damaged)?;
        let mut bytes = vec![0; end];
        let mut hash = [0; HASH];
        let read = file.read_exact_at(&mut bytes, 0).and_then(|()| file.read_exact_at(&mut hash, end as u64));
        read.map_err(|_| TocError::Damaged)?;
        if Algorithm::Sha256.digest(&bytes) != Digest::Sha256(hash) {
            return Err(TocError::Damaged);
        }
        toc(&bytes[HEAD..], &Arc::new(file), (end + HASH) as u64, size).ok_or(TocError::Damaged)
    }
}

#[derive(Default)]
struct Names<'a> {
    list: Vec<Vec<u8>>,
    positions: HashMap<&'a [u8], u32>,
}

impl<'a> Names<'a> {
    fn add(&mut self, name: &'a [u8]) {
        self.positions.entry(name).or_insert_with(|| {
            self.list.push(name.to_vec());
            u32::try_from(self.list.len() - 1).unwrap_or(u32::MAX)
        });
    }

    fn position(&self, name: &[u8]) -> u32 {
        self.positions.get(name).copied().unwrap_or(u32::MAX)
    }
}

fn extend(bytes: Vec<u8>, value: &impl Serialize) -> io::Result<Vec<u8>> {
    postcard::to_extend(value, bytes).map_err(io::Error::other)
}

fn take<'b, T: Deserialize<'b>>(bytes: &mut &'b [u8]) -> Option<T> {
    let (value, rest) = postcard::take_from_bytes(bytes).ok()?;
    *bytes = rest;
    Some(value)
}

fn item(entry: &Entry, names: &Names<'_>, last: &[u8]) -> Item {
    let shared = entry.path.iter().zip(last).take_while(|(one, other)| one == other).count();
    let Metadata { mode, ref owner, mtime, ref xattrs, ref records } = entry.metadata;
    let pairs = |records: &[Record]| {
        records.iter().map(|record| (record.name.to_vec(), record.value.to_vec())).collect()
    };
    Item {
        // Paths are shorter than 4 KiB.
        shared: u16::try_from(shared).unwrap_or_default(),
        rest: entry.path[shared..].to_vec(),
        what: what(&entry.kind),
        mode,
        uid: owner.uid,
        gid: owner.gid,
        uname: names.position(&owner.uname),
        gname: names.position(&owner.gname),
        mtime: (mtime.seconds(), mtime.nanoseconds()),
        xattrs: pairs(xattrs),
        records: pairs(records),
    }
}

fn what(kind: &Kind) -> What {
    match kind {
        Kind::File(Body { offset, size, sparse: Some(sparse) }) => What::Sparse {
            offset: *offset,
            stored: sparse.stored,
            size: *size,
            extents: sparse.extents.iter().map(|extent| (extent.offset, extent.length)).collect(),
        },
        Kind::File(body) => What::File { offset: body.offset, size: body.size },
        Kind::Directory => What::Directory,
        Kind::Symlink(target) => What::Symlink(target.to_vec()),
        Kind::HardLink(target) => What::HardLink(target.to_vec()),
        Kind::CharacterDevice(device) => What::CharacterDevice(device.major, device.minor),
        Kind::BlockDevice(device) => What::BlockDevice(device.major, device.minor),
        Kind::Fifo => What::Fifo,
    }
}

fn part(span: &Span) -> Part {
    Part {
        compressed: span.compressed,
        inflated: span.inflated,
        within: match &span.start {
            Start::Afresh => None,
            Start::Within { bits, window } => Some((*bits, window.len(), window.hash())),
        },
        digest: span.digest,
    }
}

/// The histories lie in `file` from `at` to its end.
fn toc(mut bytes: &[u8], file: &Arc<File>, mut at: u64, size: u64) -> Option<Toc> {
    let head: Head = take(&mut bytes)?;
    let mut owners = Owners { names: &head.names, known: HashMap::new() };
    let count: usize = take(&mut bytes)?;
    // Each has a byte at least.
    let mut entries = Vec::with_capacity(count.min(bytes.len()));
    let mut path = Vec::new();
    for _ in 0..count {
        let item: Item = take(&mut bytes)?;
        path.truncate(item.shared.into());
        path.extend(&item.rest);
        entries.push(Entry {
            path: path.as_slice().into(),
            kind: kind(item.what),
            metadata: Metadata {
                mode: item.mode,
                owner: owners.get((item.uid, item.gid, item.uname, item.gname))?,
                mtime: Time::new(item.mtime.0, item.mtime.1),
                xattrs: records(item.xattrs),
                records: records(item.records),
            },
        });
    }
    let tail: Tail = take(&mut bytes).filter(|_| bytes.is_empty())?;
    let origin = origin(head.origin)?;
    let parts = match origin {
        Origin::Layer | Origin::Soci => {
            let is_sound = |part: &Part| part.within.is_none_or(|(bits, ..)| bits <= ALL);
            if !tail.spans.iter().all(is_sound) {
                return None;
            }
            Parts::Spans(tail.spans.iter().map(|part| span(part, file, &mut at)).collect())
        }
        Origin::Estargz | Origin::ZstdChunked => Parts::Chunks(chunks(tail.chunks)?),
    };
    if at != size {
        return None;
    }
    Some(Toc {
        table: Table { entries, size: head.inflated },
        compression: compression(head.compression)?,
        size: head.size,
        origin,
        parts,
    })
}

fn pieces(chunks: &[Chunk]) -> Vec<Piece> {
    let mut last = 0..0;
    let piece = |chunk: &Chunk| {
        let Chunk { compressed, skip, length, digest, .. } = chunk;
        let gap = (*compressed != last).then(|| compressed.start - last.end);
        last = compressed.clone();
        Piece {
            gap,
            compressed: compressed.end - compressed.start,
            skip: *skip,
            length: *length,
            digest: *digest,
        }
    };
    chunks.iter().map(piece).collect()
}

fn chunks(pieces: Vec<Piece>) -> Option<Vec<Chunk>> {
    let mut chunks = Vec::with_capacity(pieces.len());
    let (mut last, mut inflated) = (0..0, 0_u64);
    for Piece { gap, compressed, skip, length, digest } in pieces {
        if let Some(gap) = gap {
            let start = u64::checked_add(last.end, gap)?;
            last = start..start.checked_add(compressed)?;
        }
        chunks.push(Chunk { compressed: last.clone(), skip, inflated, length, digest });
        inflated = inflated.checked_add(length)?;
    }
    Some(chunks)
}

fn kind(what: What) -> Kind {
    match what {
        What::File { offset, size } => Kind::File(Body::whole(offset, size)),
        What::Sparse { offset, stored, size, extents } => {
            let extents = extents.into_iter().map(|(offset, length)| Extent { offset, length });
            let sparse = Sparse { stored, extents: extents.collect() };
            Kind::File(Body { offset, size, sparse: Some(Box::new(sparse)) })
        }
        What::Directory => Kind::Directory,
        What::Symlink(target) => Kind::Symlink(target.into()),
        What::HardLink(target) => Kind::HardLink(target.into()),
        What::CharacterDevice(major, minor) => Kind::CharacterDevice(Device { major, minor }),
        What::BlockDevice(major, minor) => Kind::BlockDevice(Device { major, minor }),
        What::Fifo => Kind::Fifo,
    }
}

/// One copy of every owner.
struct Owners<'a> {
    names: &'a [Vec<u8>],
    known: HashMap<(u64, u64, u32, u32), Arc<Owner>>,
}

impl Owners<'_> {
    /// By user, group, and the positions of their names.
    fn get(&mut self, key: (u64, u64, u32, u32)) -> Option<Arc<Owner>> {
        if let Some(owner) = self.known.get(&key) {
            return Some(Arc::clone(owner));
        }
        let name = |position: u32| Some(self.names.get(usize::try_from(position).ok()?)?.as_slice().into());
        let (uid, gid, uname, gname) = key;
        let owner = Arc::new(Owner { uid, gid, uname: name(uname)?, gname: name(gname)? });
        self.known.insert(key, Arc::clone(&owner));
        Some(owner)
    }
}

fn records(pairs: Vec<(Vec<u8>, Vec<u8>)>) -> Records {
    pairs.into_iter().map(|(name, value)| Record { name: name.into(), value: value.into() }).collect()
}

fn span(part: &Part, file: &Arc<File>, at: &mut u64) -> Span {
    let start = match part.within {
        None => Start::Afresh,
        Some((bits, length, hash)) => {
            let window = Window::at(file, *at, length, hash);
            *at = at.saturating_add(length.into());
            Start::Within { bits, window }
        }
    };
    Span { compressed: part.compressed, inflated: part.inflated, start, digest: part.digest }
}

fn code(compression: Compression) -> u8 {
    match compression {
        Compression::None => 0,
        Compression::Gzip => 1,
        Compression::Zstd => 2,
    }
}

fn origin_code(origin: Origin) -> u8 {
    match origin {
        Origin::Layer => 0,
        Origin::Estargz => 1,
        Origin::ZstdChunked => 2,
        Origin::Soci => 3,
    }
}

fn origin(code: u8) -> Option<Origin> {
    [Origin::Layer, Origin::Estargz, Origin::ZstdChunked, Origin::Soci].get(usize::from(code)).copied()
}

fn compression(code: u8) -> Option<Compression> {
    match code {
        0 => Some(Compression::None),
        1 => Some(Compression::Gzip),
        2 => Some(Compression::Zstd),
        _ => None,
    }
}
