//! Layers with an index inside, from the archives that they hold.
//!
//! [`estargz`] and [`zstd_chunked`] write what the specifications of the formats say (stargz-snapshotter's `docs/estargz.md`,
//! containers/storage's `containers-storage-zstd-chunked.md`), so that any archive can be had in them. Layers that the formats' own
//! tools made are beside the tests of `hoist-layer`.

use std::collections::BTreeMap;
use std::io::Write;
use std::ops::Range;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::write::GzEncoder;
use flate2::{Compression, GzBuilder};
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use tar::{Archive, EntryType};

use crate::images::Algorithm;

/// A block of an archive, in bytes.
const BLOCK: usize = 512;

/// A layer, and what its descriptor says of the index.
#[derive(Clone, Debug)]
pub struct Lazy {
    /// The layer, compressed.
    pub blob: Vec<u8>,
    /// The descriptor's annotations.
    pub annotations: BTreeMap<String, String>,
}

/// One entry of an archive: what an index says of it, and where its content is.
struct Item {
    listed: Map<String, Value>,
    content: Range<usize>,
}

/// An eStargz layer whose contents are cut into chunks of so many bytes. Contents that are smaller than `shared` bytes lie in one member
/// with those before them, as far as these are small too.
pub fn estargz(tar: &[u8], chunk: usize, shared: usize) -> Lazy {
    let items = items(tar);
    let (mut blob, mut member, mut listed) = (Vec::new(), Vec::new(), Vec::new());
    let mut at = 0;
    for Item { listed: mut entry, content } in items {
        member.extend_from_slice(&tar[at..content.start]);
        at = content.end;
        if content.is_empty() {
            listed.push(Value::Object(entry));
            continue;
        }
        entry.insert("digest".into(), sha256(&tar[content.clone()]).into());
        if content.len() < shared {
            entry.insert("offset".into(), blob.len().into());
            entry.insert("innerOffset".into(), member.len().into());
            entry.insert("chunkDigest".into(), sha256(&tar[content.clone()]).into());
            member.extend_from_slice(&tar[content]);
            listed.push(Value::Object(entry));
            continue;
        }
        blob.extend(gzip(&member));
        member.clear();
        let name = entry["name"].clone();
        for (number, part) in tar[content.clone()].chunks(chunk).enumerate() {
            let mut entry = match number {
                0 => entry.clone(),
                _ => Map::from_iter([("name".into(), name.clone()), ("type".into(), "chunk".into())]),
            };
            entry.insert("offset".into(), blob.len().into());
            entry.insert("chunkOffset".into(), (number * chunk).into());
            // That of the last is left out.
            let is_last = number * chunk + part.len() == content.len();
            entry.insert("chunkSize".into(), if is_last { 0 } else { part.len() }.into());
            entry.insert("chunkDigest".into(), sha256(part).into());
            listed.push(Value::Object(entry));
            blob.extend(gzip(part));
        }
    }
    // What fills the last block; the archive ends behind the list.
    member.extend_from_slice(&tar[at..at.next_multiple_of(BLOCK)]);
    blob.extend(gzip(&member));
    let list = serde_json::to_vec_pretty(&json!({"version": 1, "entries": listed})).expect("JSON");
    let place = blob.len();
    blob.extend(gzip(&list_file(&list)));
    let extra = [b"SG\x16\0".to_vec(), format!("{place:016x}STARGZ").into_bytes()].concat();
    let footer = GzBuilder::new().extra(extra).write(Vec::new(), Compression::none());
    blob.extend(footer.finish().expect("memory does not fail"));
    let annotations =
        BTreeMap::from([("containerd.io/snapshot/stargz/toc.digest".to_owned(), sha256(&list))]);
    Lazy { blob, annotations }
}

/// A zstd:chunked layer whose contents are cut into chunks of so many bytes; with the annotations of the first images, if `is_old`.
pub fn zstd_chunked(tar: &[u8], chunk: usize, is_old: bool) -> Lazy {
    let (mut blob, mut listed) = (Vec::new(), Vec::new());
    let mut at = 0;
    for Item { listed: mut entry, content } in items(tar) {
        let before = &tar[at..content.start];
        at = content.end;
        blob.extend(zstd(before));
        if content.is_empty() {
            listed.push(Value::Object(entry));
            continue;
        }
        entry.insert("digest".into(), sha256(&tar[content.clone()]).into());
        let name = entry["name"].clone();
        let parts: Vec<&[u8]> = tar[content].chunks(chunk).collect();
        let first = listed.len();
        for (number, part) in parts.iter().enumerate() {
            let mut entry = match number {
                0 => entry.clone(),
                _ => Map::from_iter([("name".into(), name.clone()), ("type".into(), "chunk".into())]),
            };
            entry.insert("offset".into(), blob.len().into());
            if parts.len() > 1 {
                entry.insert("chunkOffset".into(), (number * chunk).into());
                entry.insert("chunkSize".into(), part.len().into());
                entry.insert("chunkDigest".into(), sha256(part).into());
            }
            if part.iter().all(|byte| *byte == 0) {
                entry.insert("chunkType".into(), "zeros".into());
            }
            listed.push(Value::Object(entry));
            blob.extend(zstd(part));
        }
        listed[first]["endOffset"] = blob.len().into();
    }
    blob.extend(zstd(&tar[at..]));
    let list = serde_json::to_vec(&json!({"version": 1, "entries": listed})).expect("JSON");
    let compressed = zstd(&list);
    skippable(&mut blob, &[]);
    let place = blob.len() + 8;
    skippable(&mut blob, &compressed);
    let mut footer = Vec::new();
    for number in [place, compressed.len(), list.len(), 1, 0, 0, 0] {
        footer.extend((number as u64).to_le_bytes());
    }
    footer.extend(b"GNUlInUx");
    skippable(&mut blob, &footer);
    let prefix = if is_old { "io.containers.zstd-chunked" } else { "io.github.containers.zstd-chunked" };
    let position = format!("{place}:{}:{}:1", compressed.len(), list.len());
    let annotations = BTreeMap::from([
        (format!("{prefix}.manifest-checksum"), sha256(&compressed)),
        (format!("{prefix}.manifest-position"), position),
    ]);
    Lazy { blob, annotations }
}

/// The entries of an archive in the words that both formats have.
fn items(tar: &[u8]) -> Vec<Item> {
    let mut archive = Archive::new(tar);
    let entries = archive.entries().expect("an archive");
    let item = |entry: std::io::Result<tar::Entry<'_, &[u8]>>| {
        let mut entry = entry.expect("an archive");
        let start = usize::try_from(entry.raw_file_position()).expect("it is in memory");
        let header = entry.header().clone();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let kind = match header.entry_type() {
            EntryType::Directory => "dir",
            EntryType::Symlink => "symlink",
            EntryType::Link => "hardlink",
            EntryType::Char => "char",
            EntryType::Block => "block",
            EntryType::Fifo => "fifo",
            _ => "reg",
        };
        let size = if kind == "reg" { usize::try_from(entry.size()).expect("it is in memory") } else { 0 };
        let seconds = header.mtime().ok().and_then(|time| i64::try_from(time).ok()).expect("a time");
        let time = Timestamp::from_second(seconds).expect("a time");
        let mut listed = Map::new();
        let mut add = |name: &str, value: Value| drop(listed.insert(name.to_owned(), value));
        add("name", text(&entry.path_bytes()).into());
        add("type", kind.into());
        add("size", size.into());
        add("mode", header.mode().expect("a mode").into());
        add("uid", header.uid().expect("an owner").into());
        add("gid", header.gid().expect("a group").into());
        add("modtime", time.to_string().into());
        for (name, value) in [("userName", header.username_bytes()), ("groupName", header.groupname_bytes())]
        {
            value
                .filter(|value| !value.is_empty())
                .into_iter()
                .for_each(|value| add(name, text(value).into()));
        }
        if let Some(link) = entry.link_name_bytes() {
            add("linkName", text(&link).into());
        }
        if ["char", "block"].contains(&kind) {
            add("devMajor", header.device_major().expect("a number").into());
            add("devMinor", header.device_minor().expect("a number").into());
        }
        let mut xattrs = Map::new();
        for record in entry.pax_extensions().expect("records").into_iter().flatten() {
            let record = record.expect("a record");
            if let Some(name) = record.key().expect("text").strip_prefix("SCHILY.xattr.") {
                xattrs.insert(name.to_owned(), STANDARD.encode(record.value_bytes()).into());
            }
        }
        if !xattrs.is_empty() {
            add("xattrs", xattrs.into());
        }
        Item { listed, content: start..start + size }
    };
    entries.map(item).collect()
}

/// The last file of an eStargz archive, and the archive's end.
fn list_file(list: &[u8]) -> Vec<u8> {
    let mut header = tar::Header::new_ustar();
    header.set_path("stargz.index.json").expect("a short path");
    header.set_size(list.len() as u64);
    header.set_mode(0o444);
    header.set_cksum();
    let mut bytes = header.as_bytes().to_vec();
    bytes.extend_from_slice(list);
    bytes.resize(bytes.len().next_multiple_of(BLOCK) + 2 * BLOCK, 0);
    bytes
}

fn sha256(bytes: &[u8]) -> String {
    Algorithm::Sha256.digest(bytes)
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).and_then(|()| encoder.finish()).expect("memory does not fail")
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::bulk::compress(bytes, 3).expect("memory does not fail")
}

fn skippable(blob: &mut Vec<u8>, bytes: &[u8]) {
    blob.extend(0x184d_2a50_u32.to_le_bytes());
    blob.extend(u32::try_from(bytes.len()).expect("a short frame").to_le_bytes());
    blob.extend_from_slice(bytes);
}
