//! The list of entries that eStargz and zstd:chunked have in common (that of CRFS, in JSON).

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::io::{BufReader, Read};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use oci::Digest;
use serde::Deserialize;
use serde::de::{self, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::guard::Guard;
use super::invalid;
use crate::limits::{Limits, Meter};
use crate::toc::{Chunk, Parts};
use crate::{
    Body, Compression, Device, Entry, Error, Kind, Metadata, Origin, Record, Records, Table, Time, Toc, path,
};

/// What is read of a list at a time, in bytes.
const BUFFER: usize = 64 << 10;

/// What Go writes in JSON for a byte that is not UTF-8.
const REPLACED: char = '\u{fffd}';

/// One entry, as it is written. Chunks but the first of a file have entries of their own, behind that of the file.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Item {
    name: String,
    #[serde(rename = "type")]
    kind: String,
    size: u64,
    modtime: Option<String>,
    link_name: String,
    mode: i64,
    uid: u64,
    gid: u64,
    user_name: String,
    group_name: String,
    dev_major: u32,
    dev_minor: u32,
    /// In base64.
    xattrs: Option<BTreeMap<String, String>>,
    digest: String,
    offset: u64,
    inner_offset: u64,
    chunk_offset: u64,
    chunk_size: u64,
    chunk_digest: String,
}

/// Makes a table of contents of entries, one after the other.
pub(super) struct Listing {
    meter: Meter,
    entries: Vec<Entry>,
    files: Vec<File>,
    chunks: Vec<Part>,
    /// The file whose chunks are being listed.
    open: Option<Open>,
    /// Names of owners stand where they are others than the last of the same number.
    users: HashMap<u64, Box<[u8]>>,
    groups: HashMap<u64, Box<[u8]>>,
}

/// A file that has bytes.
struct File {
    /// Its position among the entries.
    entry: usize,
    /// Its chunks.
    first: usize,
    count: usize,
}

struct Open {
    file: File,
    size: u64,
    digest: String,
}

/// A chunk whose end is not known yet.
struct Part {
    start: u64,
    skip: u64,
    /// Its place in the file, and how many bytes it has there; 0 for all that is left.
    position: u64,
    length: u64,
    digest: Option<[u8; 32]>,
}

impl Listing {
    /// Reads all of a document.
    pub(super) fn read<R: Read>(reader: R, limits: Limits) -> Result<(Self, R), Error> {
        let meter = Meter::new(limits);
        let mut listing = Self {
            meter,
            entries: Vec::new(),
            files: Vec::new(),
            chunks: Vec::new(),
            open: None,
            users: HashMap::new(),
            groups: HashMap::new(),
        };
        let mut problem = None;
        let mut reader = BufReader::with_capacity(BUFFER, Guard::new(reader));
        let mut document = serde_json::Deserializer::from_reader(&mut reader);
        let document_seed = Document { listing: &mut listing, problem: &mut problem };
        let read = document_seed.deserialize(&mut document).and_then(|()| document.end());
        match (read, problem) {
            (_, Some(problem)) => return Err(problem),
            (Err(error), None) => return Err(invalid(error.to_string())),
            (Ok(()), None) => {}
        }
        listing.close()?;
        Ok((listing, reader.into_inner().into_inner()))
    }

    /// A file that no entry speaks of, of one chunk.
    pub(super) fn add(&mut self, entry: Entry, start: u64, skip: u64, digest: [u8; 32]) -> Result<(), Error> {
        self.meter.account(&entry)?;
        let file = File { entry: self.entries.len(), first: self.chunks.len(), count: 1 };
        self.chunks.push(Part { start, skip, position: 0, length: entry.size(), digest: Some(digest) });
        self.entries.push(entry);
        self.files.push(file);
        Ok(())
    }

    fn item(&mut self, mut item: Item) -> Result<(), Error> {
        if [&item.name, &item.link_name].iter().any(|name| name.contains(REPLACED)) {
            return Err(invalid("a name is not UTF-8, and was lost"));
        }
        if item.kind == "chunk" {
            let Some(open) = &mut self.open else { return Err(invalid("a chunk of no file")) };
            open.file.count += 1;
            return self.part(&item);
        }
        self.close()?;
        let wrong = |problem: &str| invalid(format!("entry {:?}: {problem}", item.name));
        let path = path::confine(item.name.as_bytes()).map_err(wrong)?;
        let link = std::mem::take(&mut item.link_name);
        let device = Device { major: item.dev_major, minor: item.dev_minor };
        let kind = match item.kind.as_str() {
            "reg" => Kind::File(Body::whole(0, item.size)),
            "dir" => Kind::Directory,
            "symlink" if link.is_empty() || link.len() > path::PATH_MAX => {
                return Err(wrong("symbolic link without target, or with too long a one"));
            }
            "symlink" => Kind::Symlink(link.into_bytes().into()),
            "hardlink" => Kind::HardLink(path::confine_link(link.as_bytes()).map_err(wrong)?),
            "char" => Kind::CharacterDevice(device),
            "block" => Kind::BlockDevice(device),
            "fifo" => Kind::Fifo,
            other => return Err(wrong(&format!("unknown type {other:?}"))),
        };
        if path.is_empty() && kind != Kind::Directory {
            return Err(wrong("the root of a layer must be a directory"));
        }
        let has_bytes = matches!(kind, Kind::File(_)) && item.size > 0;
        let metadata = self.metadata(&item)?;
        let entry = Entry { path, kind, metadata };
        self.meter.account(&entry)?;
        if has_bytes {
            let file = File { entry: self.entries.len(), first: self.chunks.len(), count: 1 };
            self.part(&item)?;
            self.open = Some(Open { file, size: item.size, digest: item.digest });
        }
        self.entries.push(entry);
        Ok(())
    }

    fn part(&mut self, item: &Item) -> Result<(), Error> {
        self.meter.add(size_of::<Chunk>())?;
        let Item { offset: start, inner_offset: skip, chunk_offset: position, chunk_size: length, .. } =
            *item;
        let digest = if item.chunk_digest.is_empty() { None } else { Some(sha256(&item.chunk_digest)?) };
        self.chunks.push(Part { start, skip, position, length, digest });
        Ok(())
    }

    /// Ends the file whose chunks were listed: they have to be all of it.
    fn close(&mut self) -> Result<(), Error> {
        let Some(Open { file, size, digest }) = self.open.take() else { return Ok(()) };
        let chunks = &mut self.chunks[file.first..];
        let wrong = |problem| {
            let path = String::from_utf8_lossy(&self.entries[file.entry].path);
            invalid(format!("entry {path:?}: {problem}"))
        };
        let mut end = 0_u64;
        for index in 0..chunks.len() {
            let next = chunks.get(index + 1).map_or(size, |next| next.position);
            let chunk = &mut chunks[index];
            let rest = next.checked_sub(chunk.position).filter(|rest| *rest > 0);
            let rest = rest.ok_or_else(|| wrong("its chunks are not in order"))?;
            if chunk.position != end || chunk.length != 0 && chunk.length != rest {
                return Err(wrong("its chunks are not all of it"));
            }
            chunk.length = rest;
            end = next;
        }
        if let [only] = chunks
            && only.digest.is_none()
            && !digest.is_empty()
        {
            only.digest = Some(sha256(&digest)?);
        }
        self.files.push(file);
        Ok(())
    }

    fn metadata(&mut self, item: &Item) -> Result<Metadata, Error> {
        let mtime = item.modtime.as_deref().filter(|time| !time.is_empty());
        let xattrs = item.xattrs.iter().flatten().map(|(name, value)| {
            let value = STANDARD.decode(value).map_err(|_| invalid("an extended attribute is not base64"))?;
            Ok(Record { name: name.as_bytes().into(), value: value.into() })
        });
        let uname = named(&mut self.users, item.uid, item.user_name.as_bytes());
        let gname = named(&mut self.groups, item.gid, item.group_name.as_bytes());
        Ok(Metadata {
            // Twelve bits are left.
            mode: u32::try_from(item.mode & 0o7777).unwrap_or(0),
            owner: self.meter.owner((item.uid, item.gid), (uname, gname)),
            mtime: mtime.map_or(Ok(Time::default()), time)?,
            xattrs: xattrs.collect::<Result<_, Error>>()?,
            records: Records::default(),
        })
    }

    /// The table of contents of a layer of so many bytes, whose contents end at `end`, and which is said to inflate to so many.
    pub(super) fn finish(
        mut self,
        (compression, origin): (Compression, Origin),
        (end, size): (u64, u64),
        inflated: Option<u64>,
    ) -> Result<Toc, Error> {
        // Mostly they are in order.
        self.files.sort_by_key(|file| (self.chunks[file.first].start, self.chunks[file.first].skip));
        let mut chunks: Vec<Chunk> = Vec::with_capacity(self.chunks.len());
        let mut sum = 0_u64;
        for File { entry, first, count } in self.files {
            if let Kind::File(body) = &mut self.entries[entry].kind {
                body.offset = sum;
            }
            for part in &self.chunks[first..first + count] {
                let digest = part.digest.ok_or_else(|| invalid("a file has no digest"))?;
                let fits = chunks.last().is_none_or(|last| {
                    let start = last.compressed.start;
                    part.start > start || part.start == start && part.skip >= last.skip + last.length
                });
                let after = part.skip.checked_add(part.length).and(sum.checked_add(part.length));
                let (true, true, Some(after)) = (fits, part.start < end, after) else {
                    return Err(invalid("contents lie within each other, or outside of the layer"));
                };
                chunks.push(Chunk {
                    compressed: part.start..end,
                    skip: part.skip,
                    inflated: sum,
                    length: part.length,
                    digest,
                });
                sum = after;
            }
        }
        let mut next = end;
        let mut following = end;
        for chunk in chunks.iter_mut().rev() {
            if chunk.compressed.start != following {
                (next, following) = (following, chunk.compressed.start);
            }
            chunk.compressed.end = next;
        }
        let table = Table { entries: self.entries, size: inflated.unwrap_or(sum) };
        Ok(Toc { table, compression, size, origin, parts: Parts::Chunks(chunks) })
    }
}

fn named<'n>(names: &'n mut HashMap<u64, Box<[u8]>>, id: u64, name: &'n [u8]) -> &'n [u8] {
    if name.is_empty() {
        return names.get(&id).map_or(name, |known| &**known);
    }
    if names.get(&id).is_none_or(|known| **known != *name) {
        names.insert(id, name.into());
    }
    name
}

/// A time as RFC 3339 has it.
pub(super) fn time(text: &str) -> Result<Time, Error> {
    let time: Timestamp = text.parse().map_err(|_| invalid(format!("{text:?} is no time")))?;
    let nanoseconds = time.as_nanosecond();
    let seconds = nanoseconds.div_euclid(1_000_000_000);
    let rest = nanoseconds.rem_euclid(1_000_000_000);
    // What a calendar has fits, and so does what is left of a second.
    Ok(Time::new(i64::try_from(seconds).unwrap_or(0), u32::try_from(rest).unwrap_or(0)))
}

fn sha256(text: &str) -> Result<[u8; 32], Error> {
    match text.parse() {
        Ok(Digest::Sha256(hash)) => Ok(hash),
        _ => Err(invalid(format!("{text:?} is no SHA-256"))),
    }
}

/// The document, and its list of entries, of which each goes into the listing as soon as it has been read.
struct Document<'a> {
    listing: &'a mut Listing,
    problem: &'a mut Option<Error>,
}

struct Entries<'a, 'b>(&'a mut Document<'b>);

impl<'de> DeserializeSeed<'de> for Document<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Document<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a table of contents")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        let (mut version, mut has_entries) = (None, false);
        while let Some(name) = map.next_key::<String>()? {
            match name.as_str() {
                "version" => version = Some(map.next_value::<u64>()?),
                "entries" if !has_entries => {
                    map.next_value_seed(Entries(&mut self))?;
                    has_entries = true;
                }
                "entries" => return Err(de::Error::custom("two lists of entries")),
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        match version {
            Some(1) if has_entries => Ok(()),
            Some(1) => Err(de::Error::custom("no list of entries")),
            _ => Err(de::Error::custom("a version that is not 1")),
        }
    }
}

impl<'de> DeserializeSeed<'de> for Entries<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Entries<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of entries")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while let Some(item) = list.next_element()? {
            if let Err(problem) = self.0.listing.item(item) {
                *self.0.problem = Some(problem);
                return Err(de::Error::custom("an entry"));
            }
        }
        Ok(())
    }
}
