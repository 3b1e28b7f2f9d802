//! Indexes that others made, or the writers of testkit: what they say is what the layer has, and no bytes do harm.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::sync::Arc;

use layer::index::{Estargz, ZstdChunked, soci};
use layer::{
    Body, Decoder, Device, Entry, Error, Item, Kind, Limits, Metadata, Origin, Owner, Record, Records, Table,
    TarWriter, Time, Toc,
};
use oci::{Algorithm, Descriptor, MediaType};
use proptest::prelude::*;
use testkit::lazy::{self, Lazy};

fn descriptor(lazy: &Lazy) -> Descriptor {
    let mut descriptor = Descriptor::of(MediaType::OCI_LAYER_GZIP, Algorithm::Sha256, &lazy.blob);
    descriptor.annotations = lazy.annotations.clone();
    descriptor
}

/// The table that the index inside of a layer makes.
fn index(lazy: &Lazy, limits: Limits) -> Result<Toc, Error> {
    let layer = descriptor(lazy);
    let part = |range: std::ops::Range<u64>| {
        let [start, end] = [range.start, range.end].map(|at| usize::try_from(at).unwrap());
        &lazy.blob[start..end]
    };
    if let Some(index) = ZstdChunked::of(&layer) {
        return index.read(part(index.place.clone()), limits);
    }
    let index = Estargz::of(&layer).expect("it has an index");
    let place = index.place(part(layer.size.saturating_sub(Estargz::FOOTER)..layer.size))?;
    index.read(part(place.clone()), place, limits)
}

/// What a file holds, from the compressed bytes of the spans that it lies in.
fn content(toc: &Toc, layer: &[u8], body: &Body) -> Vec<u8> {
    let lead = if body.stored() == 0 { 0 } else { toc.lead() };
    let cover = toc.cover(body.offset - lead..body.offset + body.stored());
    let mut content = Vec::new();
    if body.stored() == 0 {
        return content;
    }
    let [start, end] = [cover.compressed.start, cover.compressed.end].map(|at| usize::try_from(at).unwrap());
    for span in cover.spans.clone() {
        let [start, end] =
            [toc.compressed(span).start, toc.compressed(span).end].map(|at| usize::try_from(at).unwrap());
        assert!(toc.proves(span, [&layer[start..end]]));
    }
    let mut inflated = toc.resume(cover.spans.start, &layer[start..end]).unwrap();
    std::io::copy(&mut (&mut inflated).take(cover.skip), &mut std::io::sink()).unwrap();
    let mut before = Vec::new();
    (&mut inflated).take(lead).read_to_end(&mut before).unwrap();
    assert!(toc.confirms(&before, body));
    inflated.take(body.stored()).read_to_end(&mut content).unwrap();
    content
}

/// The whole layer, inflated, and its own table.
fn whole(blob: &[u8]) -> (Vec<u8>, Table) {
    let mut inflated = Vec::new();
    let table = Table::scan(Decoder::new(blob).unwrap(), &mut inflated, Limits::default()).unwrap();
    (inflated, table)
}

/// An entry without what an index cannot know: where its content is, fractions of seconds, records that are no attributes.
fn known(entry: &Entry, is_exact: bool) -> Entry {
    let mut entry = entry.clone();
    if let Kind::File(body) = &mut entry.kind {
        body.offset = 0;
    }
    if !is_exact {
        entry.metadata.mtime = Time::new(entry.metadata.mtime.seconds(), 0);
        entry.metadata.records = Records::default();
    }
    entry
}

/// Each entry is that of the layer, and so is each content.
fn assert_same(toc: &Toc, blob: &[u8]) {
    let is_exact = toc.origin == Origin::Soci;
    let (inflated, table) = whole(blob);
    assert_eq!(toc.table.entries.len(), table.entries.len());
    for (one, other) in toc.table.entries.iter().zip(&table.entries) {
        assert_eq!(known(one, is_exact), known(other, is_exact), "{}", one.path.escape_ascii());
    }
    let mut files = 0;
    for (one, other) in toc.table.entries.iter().zip(&table.entries) {
        if let (Kind::File(body), Kind::File(there)) = (&one.kind, &other.kind) {
            let start = usize::try_from(there.offset).unwrap();
            let expected = &inflated[start..start + usize::try_from(there.stored()).unwrap()];
            assert!(content(toc, blob, body) == expected, "{}", one.path.escape_ascii());
            files += 1;
        }
    }
    assert!(files > 0 || table.entries.iter().all(|entry| !matches!(entry.kind, Kind::File(_))));
    assert_eq!(toc.size, blob.len() as u64);
    // Kept and read again.
    let mut file = tempfile::tempfile().unwrap();
    toc.write(&mut file).unwrap();
    assert_eq!(Toc::open(file).unwrap(), *toc);
}

/// Files, and what is between them, of which the numbers decide.
fn archive(parts: &[(u8, u16)]) -> Vec<u8> {
    let mut tar = TarWriter::new(Vec::new());
    for (number, (kind, length)) in parts.iter().enumerate() {
        let path = format!("directory-{}/entry-{number}", number % 3);
        let metadata = Metadata {
            owner: Arc::new(Owner {
                uid: u64::from(*length),
                uname: if kind % 2 == 0 { b"alice"[..].into() } else { b""[..].into() },
                ..Owner::default()
            }),
            mtime: Time::new(1_700_000_000 + i64::from(*length), 0),
            xattrs: (kind % 5 == 0)
                .then(|| Record { name: b"user.note"[..].into(), value: b"\x01\xff"[..].into() })
                .into_iter()
                .collect(),
            ..Metadata::new(0o4000 | 0o755)
        };
        let item = match kind % 8 {
            0 => Item::Directory,
            1 => Item::Symlink(b"../else where"),
            2 => Item::Fifo,
            3 => Item::CharacterDevice(Device { major: 1, minor: 3 }),
            _ => Item::File(u64::from(*length)),
        };
        tar.begin(path.as_bytes(), &metadata, item).unwrap();
        if kind % 8 > 3 {
            let content = (0..*length).map(|at| {
                if kind % 8 == 4 { 0 } else { (at.wrapping_mul(u16::from(*kind)) >> 3).to_le_bytes()[0] }
            });
            tar.write_all(&content.collect::<Vec<_>>()).unwrap();
        }
    }
    tar.finish().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn an_index_says_what_the_layer_has(
        parts in prop::collection::vec(any::<(u8, u16)>(), 0..12),
        chunk in 100..20_000_usize,
        shared in prop::sample::select(vec![0, 5000, 50_000]),
    ) {
        let tar = archive(&parts);
        for lazy in [
            lazy::estargz(&tar, chunk, shared),
            lazy::zstd_chunked(&tar, chunk, false),
            lazy::zstd_chunked(&tar, chunk, true),
        ] {
            assert_same(&index(&lazy, Limits::default()).unwrap(), &lazy.blob);
        }
    }

    /// Whatever a list says, it is refused, or each content is what it says or an error.
    #[test]
    fn lies_are_found_out(
        parts in prop::collection::vec(any::<(u8, u16)>(), 1..6),
        lies in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), any::<i64>(), 0..4_u8), 1..4),
    ) {
        let tar = archive(&parts);
        let lazy = lying(&lazy::zstd_chunked(&tar, 3000, false), &lies);
        let Ok(toc) = index(&lazy, Limits::default()) else { return Ok(()) };
        for entry in &toc.table.entries {
            let Kind::File(body) = &entry.kind else { continue };
            let cover = toc.cover(body.offset..body.offset.saturating_add(body.stored()));
            if cover.spans.is_empty() {
                continue;
            }
            let [start, end] = [cover.compressed.start, cover.compressed.end].map(|at| usize::try_from(at).unwrap());
            prop_assert!(start <= end && end <= lazy.blob.len());
            let mut read = Vec::new();
            let inflated = toc.resume(cover.spans.start, &lazy.blob[start..end]).unwrap();
            if inflated.take(body.stored()).read_to_end(&mut read).is_ok() && !read.is_empty() {
                let is_there = tar.windows(read.len().min(64)).any(|part| read.starts_with(part));
                prop_assert!(is_there, "bytes of nowhere");
            }
        }
    }

    #[test]
    fn no_bytes_do_harm(bytes in prop::collection::vec(any::<u8>(), 0..600), size in 0..2000_u64) {
        let _ = soci::read(&bytes, size, Limits::default());
        let digest = Algorithm::Sha256.digest(&bytes);
        let lazy = Lazy {
            blob: bytes,
            annotations: BTreeMap::from([("containerd.io/snapshot/stargz/toc.digest".to_owned(), digest.to_string())]),
        };
        prop_assert!(index(&lazy, Limits::default()).is_err());
    }
}

/// The same layer with a list in which numbers are others, bound as it is.
fn lying(lazy: &Lazy, lies: &[(prop::sample::Index, prop::sample::Index, i64, u8)]) -> Lazy {
    const FIELDS: [&str; 6] = ["offset", "endOffset", "size", "chunkOffset", "chunkSize", "mode"];
    with_list(lazy, |list| {
        let Some(entries) = list["entries"].as_array_mut().filter(|entries| !entries.is_empty()) else {
            return;
        };
        for (entry, field, value, how) in lies {
            let entry = entry.index(entries.len());
            let field = &mut entries[entry][FIELDS[field.index(FIELDS.len())]];
            let old = field.as_i64().unwrap_or(0);
            *field = match how {
                0 => *value,
                1 => old.wrapping_add(value % 64),
                2 => 0,
                _ => i64::MAX,
            }
            .into();
        }
    })
}

/// The same zstd:chunked layer with another list at its end.
fn with_list(lazy: &Lazy, change: impl FnOnce(&mut serde_json::Value)) -> Lazy {
    let prefix = "io.github.containers.zstd-chunked";
    let position = &lazy.annotations[&format!("{prefix}.manifest-position")];
    let numbers: Vec<usize> = position.split(':').map(|number| number.parse().unwrap()).collect();
    let list = zstd::bulk::decompress(&lazy.blob[numbers[0]..numbers[0] + numbers[1]], numbers[2]).unwrap();
    let mut list = serde_json::from_slice(&list).unwrap();
    change(&mut list);
    let list = serde_json::to_vec(&list).unwrap();
    let compressed = zstd::bulk::compress(&list, 3).unwrap();
    // Where the old list was: contents before it are where they were.
    let blob = [&lazy.blob[..numbers[0]], &compressed].concat();
    let annotations = BTreeMap::from([
        (format!("{prefix}.manifest-checksum"), Algorithm::Sha256.digest(&compressed).to_string()),
        (
            format!("{prefix}.manifest-position"),
            format!("{}:{}:{}:1", numbers[0], compressed.len(), list.len()),
        ),
    ]);
    Lazy { blob, annotations }
}

/// A file of `tests/foreign`, whose `README.md` says which tool made it.
fn foreign(name: &str) -> Vec<u8> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/foreign");
    std::fs::read(folder.join(name)).unwrap()
}

/// What the formats' own tools made.
#[test]
fn layers_of_other_tools() {
    for (name, annotations) in [
        ("estargz.tar.gz", "estargz.annotations.json"),
        ("zstd-chunked.tar.zst", "zstd-chunked.annotations.json"),
    ] {
        let lazy =
            Lazy { blob: foreign(name), annotations: serde_json::from_slice(&foreign(annotations)).unwrap() };
        let mut toc = index(&lazy, Limits::default()).unwrap();
        assert!(toc.table.entries.len() >= 60 && toc.spans() > 30, "{name}: {}", toc.spans());
        // eStargz rounds to the next second, and cannot say that somebody has no name who had one before; zstd:chunked has no names.
        let (_, table) = whole(&lazy.blob);
        for (one, other) in toc.table.entries.iter_mut().zip(&table.entries) {
            let (one, other) = (&mut one.metadata, &other.metadata);
            assert!((0..=1).contains(&(one.mtime.seconds() - other.mtime.seconds())), "{:?}", other.mtime);
            one.mtime = other.mtime;
            if toc.origin == Origin::ZstdChunked || other.owner.uname.is_empty() {
                let Owner { uid, gid, .. } = *one.owner;
                one.owner = Arc::new(Owner { uid, gid, ..Owner::clone(&other.owner) });
            }
        }
        assert_same(&toc, &lazy.blob);
    }
    let layer = foreign("soci.tar.gz");
    for name in ["soci.ztoc", "soci-v1.ztoc"] {
        let toc = soci::read(&foreign(name), layer.len() as u64, Limits::default()).unwrap();
        assert_eq!(toc.spans(), 4);
        assert_same(&toc, &layer);
    }
    let layer = foreign("layer.tar");
    let toc = soci::read(&foreign("plain.ztoc"), layer.len() as u64, Limits::default()).unwrap();
    assert_same(&toc, &layer);
}

/// What makes a list one that cannot be.
type Lie = fn(&mut serde_json::Value);

#[test]
fn a_list_that_cannot_be_is_refused() {
    let lazy = lazy::zstd_chunked(&archive(&[(5, 900), (6, 400), (1, 0)]), 300, false);
    let refused = |change: &dyn Fn(&mut serde_json::Value)| {
        let lazy = with_list(&lazy, |list| change(list));
        index(&lazy, Limits::default()).unwrap_err().to_string()
    };
    let lies: [(Lie, &str); 16] = [
        (|list| list["version"] = 2.into(), "version"),
        (|list| list["entries"] = "none".into(), "list of entries"),
        (|list| list["entries"][0]["name"] = "../../etc/passwd".into(), "`..`"),
        (|list| list["entries"][0]["name"] = "a\u{fffd}".into(), "not UTF-8"),
        (|list| list["entries"][0]["name"] = "x".repeat(5000).into(), "4095"),
        (|list| list["entries"][0]["name"] = "x".repeat(2 << 20).into(), "1 MiB"),
        (|list| list["entries"][0]["type"] = "door".into(), "unknown type"),
        (|list| list["entries"][0]["type"] = "chunk".into(), "chunk of no file"),
        (|list| list["entries"][0]["size"] = 1.into(), "chunks"),
        (|list| list["entries"][0]["size"] = (-1).into(), "-1"),
        (|list| list["entries"][0]["offset"] = (1_u64 << 40).into(), "outside"),
        (|list| list["entries"][1]["offset"] = 0.into(), "within each other"),
        (|list| list["entries"][1]["chunkDigest"] = "sha256:12".into(), "SHA-256"),
        (|list| list["entries"][1]["chunkDigest"] = "".into(), "no digest"),
        (|list| list["entries"][0]["modtime"] = "yesterday".into(), "no time"),
        (|list| list["entries"][0]["xattrs"] = serde_json::json!({"a": "#"}), "base64"),
    ];
    for (change, problem) in lies {
        let error = refused(&change);
        assert!(error.contains(problem), "{problem}: {error}");
        assert!(error.lines().count() == 1 && error.len() < 6000, "{error}");
    }
    // Of another layer, or damaged.
    let mut damaged = lazy.clone();
    let last = damaged.blob.len() - 100;
    damaged.blob[last] ^= 1;
    let place = ZstdChunked::of(&descriptor(&lazy)).unwrap().place;
    damaged.blob[usize::try_from(place.start).unwrap() + 9] ^= 1;
    index(&damaged, Limits::default()).unwrap_err();
    let few = Limits { entries: 2, ..Limits::default() };
    assert!(matches!(index(&lazy, few), Err(Error::TooMany { limit: 2 })));
    let little = Limits { memory: 200, ..Limits::default() };
    assert!(matches!(index(&lazy, little), Err(Error::Limit { limit: 200 })));
}

#[test]
fn damaged_contents_are_errors() {
    for lazy in [
        lazy::estargz(&archive(&[(5, 9000)]), 4000, 0),
        lazy::zstd_chunked(&archive(&[(5, 9000)]), 4000, false),
    ] {
        let toc = index(&lazy, Limits::default()).unwrap();
        let Kind::File(body) = &toc.table.entries[0].kind else { panic!("a file") };
        let cover = toc.cover(body.offset..body.offset + body.stored());
        let [start, end] =
            [cover.compressed.start, cover.compressed.end].map(|at| usize::try_from(at).unwrap());
        // Other content, whole: what the decompressor finds right.
        let other = match toc.origin {
            Origin::Estargz => lazy::estargz(&archive(&[(5, 9000), (7, 9000)]), 4000, 0),
            _ => lazy::zstd_chunked(&archive(&[(5, 9000), (7, 9000)]), 4000, false),
        };
        let theirs = index(&other, Limits::default()).unwrap();
        let Kind::File(second) = &theirs.table.entries[1].kind else { panic!("a file") };
        let from = usize::try_from(theirs.cover(second.offset..second.offset + 1).compressed.start).unwrap();
        let mut read = Vec::new();
        let error = toc.resume(cover.spans.start, &other.blob[from..]).unwrap().read_to_end(&mut read);
        assert_eq!((error.unwrap_err().kind(), read.len()), (std::io::ErrorKind::InvalidData, 0));
        let cut = &lazy.blob[start..end - (end - start) / 2];
        assert!(toc.resume(cover.spans.start, cut).unwrap().read_to_end(&mut read).is_err());
    }
}
