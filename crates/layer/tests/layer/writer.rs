//! Archives that are written, and read back by us and by the `tar` crate.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::sync::Arc;

use layer::{Device, Entry, Extent, Item, Kind, Metadata, Owner, Record, Records, TarWriter, Time};
use proptest::prelude::*;

use crate::archive::{content, only, scan, single};

fn record(name: &[u8], value: &[u8]) -> Record {
    Record { name: name.into(), value: value.into() }
}

/// Names of every length and alphabet: where ustar ends and PAX begins.
fn path() -> impl Strategy<Value = Vec<u8>> {
    let name = prop_oneof![
        4 => "[a-z ._-]{0,30}x".prop_map(String::into_bytes),
        1 => "[a-zäöü日本]{1,40}".prop_map(String::into_bytes),
        1 => "[a-z]{90,160}".prop_map(String::into_bytes),
        1 => proptest::collection::vec(1..=255_u8, 1..40),
    ];
    proptest::collection::vec(name, 1..6).prop_map(|names| {
        let names: Vec<Vec<u8>> = names
            .into_iter()
            .map(|mut name| {
                name.retain(|byte| *byte != b'/');
                if name.is_empty() || name == b"." || name == b".." {
                    name = b"x".to_vec();
                }
                name
            })
            .collect();
        names.join(&b'/')
    })
}

fn records(names: &'static str) -> impl Strategy<Value = Records> {
    proptest::collection::btree_map(names, proptest::collection::vec(any::<u8>(), 1..100), 0..3).prop_map(
        |records: BTreeMap<String, Vec<u8>>| {
            records.iter().map(|(name, value)| record(name.as_bytes(), value)).collect()
        },
    )
}

fn metadata() -> impl Strategy<Value = Metadata> {
    let id = || prop_oneof![0..3000_u64, Just(0o777_7777), Just(0o1000_0000), 0..1_u64 << 62];
    let owner = || prop_oneof![Just(String::new()), "[a-z]{1,40}", "[äé]{1,20}"];
    let time =
        (prop_oneof![0..1_i64 << 34, -(1_i64 << 40)..1 << 40], prop_oneof![Just(0), 0..1_000_000_000_u32]);
    let records = (records("user\\.[a-z]{1,8}"), records("VENDOR\\.[a-z]{1,8}"));
    (0..0o10000_u32, id(), id(), owner(), owner(), time, records).prop_map(
        |(mode, uid, gid, uname, gname, (seconds, nanoseconds), (xattrs, records))| Metadata {
            mode,
            owner: Arc::new(Owner {
                uid,
                gid,
                uname: uname.into_bytes().into(),
                gname: gname.into_bytes().into(),
            }),
            mtime: Time::new(seconds, nanoseconds),
            xattrs,
            records,
        },
    )
}

#[derive(Clone, Debug)]
enum Thing {
    File(Vec<u8>),
    Sparse(Vec<(u64, Vec<u8>)>, u64),
    Directory,
    Symlink(Vec<u8>),
    HardLink(Vec<u8>),
    Device(u32, u32),
    Fifo,
}

fn thing() -> impl Strategy<Value = Thing> {
    let bytes = |most| proptest::collection::vec(any::<u8>(), 0..most);
    prop_oneof![
        4 => bytes(2000).prop_map(Thing::File),
        1 => (proptest::collection::vec((0..5000_u64, bytes(600)), 0..40), 0..5000_u64)
            .prop_map(|(extents, end)| Thing::Sparse(extents, end)),
        1 => Just(Thing::Directory),
        1 => path().prop_map(Thing::Symlink),
        1 => path().prop_map(Thing::HardLink),
        1 => (0..=u32::MAX, prop_oneof![0..300_u32, 0..=u32::MAX]).prop_map(|(major, minor)| Thing::Device(major, minor)),
        1 => Just(Thing::Fifo),
    ]
}

/// Writes an entry; what must be read back: kind (as text), content.
fn write(tar: &mut TarWriter<Vec<u8>>, path: &[u8], metadata: &Metadata, thing: &Thing) -> Vec<u8> {
    let device = |major, minor| Item::CharacterDevice(Device { major, minor });
    let (item, stored, content) = match thing {
        Thing::File(content) => (Item::File(content.len() as u64), content.clone(), content.clone()),
        Thing::Sparse(parts, end) => {
            let (mut extents, mut stored, mut content) = (Vec::new(), Vec::new(), Vec::new());
            for (hole, part) in parts {
                content.resize(content.len() + usize::try_from(*hole).unwrap(), 0);
                extents.push(Extent { offset: content.len() as u64, length: part.len() as u64 });
                content.extend_from_slice(part);
                stored.extend_from_slice(part);
            }
            content.resize(content.len() + usize::try_from(*end).unwrap(), 0);
            let item = Item::Sparse { size: content.len() as u64, extents: &extents };
            tar.begin(path, metadata, item).unwrap();
            tar.write_all(&stored).unwrap();
            return content;
        }
        Thing::Directory => (Item::Directory, vec![], vec![]),
        Thing::Symlink(target) => (Item::Symlink(target), vec![], vec![]),
        Thing::HardLink(target) => (Item::HardLink(target), vec![], vec![]),
        Thing::Device(major, minor) => (device(*major, *minor), vec![], vec![]),
        Thing::Fifo => (Item::Fifo, vec![], vec![]),
    };
    tar.begin(path, metadata, item).unwrap();
    tar.write_all(&stored).unwrap();
    content
}

fn check(entry: &Entry, thing: &Thing, archive: &[u8], expected: &[u8]) {
    match (&entry.kind, thing) {
        (Kind::File(body), Thing::File(_) | Thing::Sparse(..)) => {
            assert_eq!(body.sparse.is_some(), matches!(thing, Thing::Sparse(..)));
            assert_eq!(body.size, expected.len() as u64);
            assert!(content(archive, body) == expected);
        }
        (Kind::Directory, Thing::Directory) | (Kind::Fifo, Thing::Fifo) => {}
        (Kind::Symlink(found), Thing::Symlink(target)) | (Kind::HardLink(found), Thing::HardLink(target)) => {
            assert_eq!(**found, **target);
        }
        (Kind::CharacterDevice(device), Thing::Device(major, minor)) => {
            assert_eq!((device.major, device.minor), (*major, *minor));
        }
        _ => panic!("{:?} is not {thing:?}", entry.kind),
    }
}

proptest! {
    #[test]
    fn whatever_is_written_is_read_back(
        entries in proptest::collection::vec((path(), metadata(), thing()), 0..6),
    ) {
        let mut tar = TarWriter::new(Vec::new());
        let contents: Vec<_> =
            entries.iter().map(|(path, metadata, thing)| write(&mut tar, path, metadata, thing)).collect();
        let archive = tar.finish().unwrap();
        let table = scan(&archive).unwrap();
        prop_assert_eq!(table.entries.len(), entries.len());
        for ((entry, (path, metadata, thing)), content) in table.entries.iter().zip(&entries).zip(&contents) {
            prop_assert_eq!(&*entry.path, &**path);
            prop_assert_eq!(&entry.metadata, metadata);
            check(entry, thing, &archive, content);
        }
    }

    /// The `tar` crate finds the same entries at the same places. (Of sparse files it knows GNU's old format only, and it takes
    /// a line feed in a path for the end of the record.)
    #[test]
    fn the_tar_crate_agrees(
        entries in proptest::collection::vec((path(), metadata(), thing()), 0..6),
    ) {
        let mut tar = TarWriter::new(Vec::new());
        for (path, metadata, thing) in &entries {
            let plain = |text: &[u8]| !text.contains(&b'\n');
            let known = match thing {
                Thing::Sparse(..) => false,
                Thing::Symlink(target) | Thing::HardLink(target) => plain(target),
                _ => true,
            };
            if known && plain(path) {
                write(&mut tar, path, metadata, thing);
            }
        }
        let archive = tar.finish().unwrap();
        let table = scan(&archive).unwrap();
        let mut other = tar::Archive::new(&archive[..]);
        let mut count = 0;
        for (mut theirs, ours) in other.entries().unwrap().map(Result::unwrap).zip(&table.entries) {
            count += 1;
            let path = theirs.path_bytes().into_owned();
            prop_assert_eq!(path.strip_suffix(b"/").unwrap_or(&path), &*ours.path);
            prop_assert_eq!(theirs.header().mode().unwrap(), ours.metadata.mode);
            prop_assert_eq!(theirs.size(), ours.size());
            match &ours.kind {
                Kind::File(body) => {
                    prop_assert_eq!(theirs.raw_file_position(), body.offset);
                    let mut bytes = Vec::new();
                    theirs.read_to_end(&mut bytes).unwrap();
                    prop_assert!(bytes == content(&archive, body));
                }
                Kind::Symlink(target) | Kind::HardLink(target) => {
                    prop_assert_eq!(&*theirs.link_name_bytes().unwrap(), &**target);
                }
                _ => {}
            }
        }
        prop_assert_eq!(count, table.entries.len());
    }
}

#[test]
fn plain_entries_have_plain_headers() {
    let long = [&b"p".repeat(120)[..], b"/", &b"n".repeat(100)].concat();
    for path in [&b"usr/bin/true"[..], &long, b"raw\xff\xfe"] {
        let archive = single(path, &Metadata::new(0o755), Item::File(0), b"");
        assert_eq!(archive.len(), 3 * 512, "{}", path.escape_ascii());
        assert_eq!(*only(&archive).path, *path);
    }
    let umlauts = ["ä".repeat(50), "x".repeat(50)].join("/");
    for path in
        ["ä".as_bytes(), umlauts.as_bytes(), &b"x".repeat(101), &[&b"p".repeat(156)[..], b"/n"].concat()]
    {
        let archive = single(path, &Metadata::new(0o755), Item::File(0), b"");
        assert_eq!(archive.len(), 5 * 512, "{}", path.escape_ascii());
        assert_eq!(*only(&archive).path, *path);
    }
    // A directory of 100 bytes has 101 with its slash.
    let directory = [&b"d".repeat(50)[..], b"/", &b"e".repeat(49)].concat();
    assert_eq!(*only(&single(&directory, &Metadata::new(0o755), Item::Directory, b"")).path, *directory);
    let root = single(b"", &Metadata::new(0o755), Item::Directory, b"");
    assert!(root.starts_with(b"./\0"));
}

#[test]
fn large_files_and_large_numbers() {
    // Only headers: the content would be 9 GiB.
    let size = 9 << 30;
    let mut tar = TarWriter::new(Vec::new());
    tar.begin(b"large", &Metadata::new(0o644), Item::File(size)).unwrap();
    assert_eq!(tar.finish().unwrap_err().kind(), std::io::ErrorKind::InvalidInput);

    let extents = [Extent { offset: size, length: 3 }];
    let archive =
        single(b"holes", &Metadata::new(0o644), Item::Sparse { size: size + 3, extents: &extents }, b"end");
    let Kind::File(body) = only(&archive).kind else { panic!("not a file") };
    assert_eq!((body.size, body.stored(), body.extents()), (size + 3, 3, Some(&extents[..])));
}

#[test]
fn content_must_have_the_size_that_was_told() {
    let metadata = Metadata::new(0o644);
    let mut tar = TarWriter::new(Vec::new());
    tar.begin(b"a", &metadata, Item::File(3)).unwrap();
    tar.write_all(b"ab").unwrap();
    assert!(tar.begin(b"b", &metadata, Item::File(0)).is_err());
    assert!(tar.write_all(b"cd").is_err());
    tar.write_all(b"c").unwrap();
    assert!(tar.write_all(b"d").is_err());
    assert!(tar.file(b"b", &metadata, 5, &b"1234"[..]).is_err());
}

#[test]
fn what_tar_cannot_say_is_refused() {
    let extents = [Extent { offset: 5, length: 5 }, Extent { offset: 0, length: 5 }];
    for (path, item) in [
        (&b""[..], Item::File(0)),
        (b"a\0b", Item::Directory),
        (b"a", Item::Symlink(b"")),
        (b"a", Item::HardLink(b"x\0y")),
        (b"a", Item::Sparse { size: 20, extents: &extents }),
    ] {
        let error = TarWriter::new(Vec::new()).begin(path, &Metadata::new(0), item).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput, "{item:?}");
    }
}
