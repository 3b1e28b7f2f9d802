//! Archives that lie, that are broken, or that other readers have fallen for.

use std::io::{self, ErrorKind, Read, Write};

use layer::{Error, Kind, Limits, Table};

use crate::archive::{archive, content, only, scan};

/// A ustar header, built here so that nothing keeps it from being wrong.
fn header(kind: u8, name: &[u8], size: u64) -> Vec<u8> {
    header_with(kind, name, format!("{size:011o}\0").as_bytes(), b"ustar\x0000")
}

fn header_with(kind: u8, name: &[u8], size: &[u8], magic: &[u8]) -> Vec<u8> {
    let mut block = vec![0; 512];
    let mut put = |offset: usize, bytes: &[u8]| block[offset..offset + bytes.len()].copy_from_slice(bytes);
    put(0, name);
    put(100, b"0000644\0");
    put(108, b"0000000\0");
    put(116, b"0000000\0");
    put(124, size);
    put(136, b"00000000000\0");
    put(148, b"        ");
    put(156, &[kind]);
    put(257, magic);
    checksum(&mut block);
    block
}

fn checksum(block: &mut [u8]) {
    block[148..156].fill(b' ');
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}

/// Content, filled up to whole blocks.
fn padded(content: &[u8]) -> Vec<u8> {
    let mut bytes = content.to_vec();
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    bytes
}

/// An extended header with its records.
fn extended(records: &[(&str, &str)]) -> Vec<u8> {
    let mut data = Vec::new();
    for (name, value) in records {
        let rest = name.len() + value.len() + 3;
        let length =
            (1..9).map(|digits| rest + digits).find(|length| length.to_string().len() + rest == *length);
        data.extend_from_slice(format!("{} {name}={value}\n", length.unwrap()).as_bytes());
    }
    [header(b'x', b"PaxHeaders/x", data.len() as u64), padded(&data)].concat()
}

fn long(kind: u8, name: &[u8]) -> Vec<u8> {
    let name = [name, b"\0"].concat();
    [
        header_with(kind, b"././@LongLink", format!("{:011o}\0", name.len()).as_bytes(), b"ustar  \0"),
        padded(&name),
    ]
    .concat()
}

fn end() -> Vec<u8> {
    vec![0; 1024]
}

fn paths(archive: &[u8]) -> Vec<String> {
    let table = scan(archive).unwrap();
    table.entries.iter().map(|entry| String::from_utf8_lossy(&entry.path).into_owned()).collect()
}

fn problem(archive: &[u8]) -> String {
    scan(archive).unwrap_err().to_string()
}

/// The size in an extended header is the entry's size whatever its own header says: readers that went by the other one took
/// content for entries (CVE-2025-62518; RUSTSEC-2026-0068 when the header's size is not zero).
#[test]
fn size_of_extended_header_against_size_of_header() {
    let inner = [header(b'0', b"smuggled", 0), end()].concat();
    for size in [0, 3, 512, 100_000] {
        let size_record = inner.len().to_string();
        let archive = [
            extended(&[("size", &size_record)]),
            header(b'0', b"outer", size),
            padded(&inner),
            header(b'0', b"after", 0),
            end(),
        ]
        .concat();
        let table = scan(&archive).unwrap();
        assert_eq!(paths(&archive), ["outer", "after"]);
        let Kind::File(body) = &table.entries[0].kind else { panic!("not a file") };
        assert!(content(&archive, body) == inner);
    }
}

/// An extended header speaks of the entry, not of a long name between them (GHSA-3cv2-h65g-fgmm, GHSA-3pv8-6f4r-ffg2).
#[test]
fn extended_header_before_a_long_name() {
    let name = b"n".repeat(120);
    for kind in [b'L', b'K'] {
        let archive = [
            extended(&[("size", "1024"), ("mtime", "7")]),
            long(kind, &name),
            header(b'0', b"short", 0),
            header(b'0', b"content, not an entry", 0),
            header(b'0', b"content, too", 0),
            header(b'0', b"after", 0),
            end(),
        ]
        .concat();
        let first = if kind == b'L' { String::from_utf8(name.clone()).unwrap() } else { "short".to_owned() };
        assert_eq!(paths(&archive), [first, "after".to_owned()]);
        assert_eq!(scan(&archive).unwrap().entries[0].metadata.mtime.seconds(), 7);
    }
}

/// Entries that are not files have no content, whatever their size says: as Go's reader and Python's have it.
#[test]
fn sizes_of_entries_without_content() {
    for kind in [b'1', b'2', b'3', b'4', b'5', b'6'] {
        let mut block = header(kind, b"first", 512);
        block[157..163].copy_from_slice(b"target");
        checksum(&mut block);
        let archive = [block, header(b'0', b"second", 0), end()].concat();
        assert_eq!(paths(&archive), ["first", "second"], "{}", char::from(kind));
    }
}

/// A link that is overwritten by a file does not give the file's content away to where it led (RUSTSEC-2018-0002): nothing is
/// ever written through a link here, and the merge replaces links.
#[test]
fn links_are_overwritten_not_followed() {
    let layers = [archive(&["target=old", "link->target", "hard=>target", "link=new", "hard=newer"])];
    let tables = [scan(&layers[0]).unwrap()];
    let merged = layer::merge(&tables).unwrap();
    assert_eq!(crate::archive::listing(&merged, &layers), ["hard=newer", "link=new", "target=old"]);
}

#[test]
fn paths_that_escape() {
    for path in ["../a", "a/../b", "..", "a/.."] {
        let archive = [header(b'0', path.as_bytes(), 0), end()].concat();
        assert_eq!(problem(&archive), format!("entry {path:?}: path has a `..` component"));
        let archive = [extended(&[("path", path)]), header(b'0', b"good", 0), end()].concat();
        assert!(matches!(scan(&archive), Err(Error::Entry { .. })));
        let archive = [long(b'L', path.as_bytes()), header(b'0', b"good", 0), end()].concat();
        assert!(matches!(scan(&archive), Err(Error::Entry { .. })));
    }
    let link = |kind: u8, target: &[u8]| {
        let mut block = header(kind, b"link", 0);
        block[157..157 + target.len()].copy_from_slice(target);
        checksum(&mut block);
        [block, end()].concat()
    };
    for target in [&b"../a"[..], b"a/../../b", b"/../a"] {
        assert_eq!(problem(&link(b'1', target)), r#"entry "link": hard link target escapes the root"#);
    }
    assert_eq!(problem(&link(b'1', b"")), r#"entry "link": hard link has no target"#);
    assert_eq!(problem(&link(b'2', b"")), r#"entry "link": symbolic link has no target"#);
    // Where a symbolic link leads is for the one to see who follows it.
    for target in [&b"/etc/passwd"[..], b"../../../etc/passwd", b"//./x/"] {
        assert_eq!(only(&link(b'2', target)).kind, Kind::Symlink(target.into()));
    }
    assert_eq!(only(&link(b'1', b"/usr//bin/x")).kind, Kind::HardLink((*b"usr/bin/x").into()));
    assert_eq!(
        problem(&[header(b'2', b"./", 0), end()].concat()),
        r#"entry "./": symbolic link has no target"#
    );
    assert_eq!(
        problem(&[header(b'0', b"./", 0), end()].concat()),
        r#"entry "./": the root of a layer must be a directory"#
    );
}

#[test]
fn what_tools_read_differently_is_refused() {
    let entry = header(b'0', b"a", 0);
    for (bytes, expected) in [
        (
            [long(b'L', b"one"), extended(&[("path", "two")]), entry.clone()].concat(),
            "invalid tar archive: two different names for one entry at byte 2048",
        ),
        (
            [extended(&[("mtime", "1")]), extended(&[("mtime", "2")]), entry.clone()].concat(),
            "invalid tar archive: two extended headers for one entry at byte 1024",
        ),
        (
            [extended(&[("size", "1")]), header(b'g', b"g", 0), entry.clone()].concat(),
            "invalid tar archive: global header after an extended header at byte 1024",
        ),
        ([vec![0; 512], entry.clone()].concat(), "invalid tar archive: a lone block of zeros at byte 0"),
        (
            [extended(&[("size", "1")]), end()].concat(),
            "invalid tar archive: nothing follows an extended header at byte 1024",
        ),
        (extended(&[("size", "1")]), "invalid tar archive: nothing follows an extended header at byte 1024"),
        (header(b'V', b"label", 0), r#"entry "label": entry of unknown type 'V'"#),
        (
            header_with(b'0', b"a", b"\x80\0\x01\0\0\0\0\0\0\0\0\x05", b"ustar  \0"),
            "invalid tar archive: malformed size in a tar header at byte 0",
        ),
        (
            header_with(b'0', b"a", b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", b"ustar  \0"),
            "invalid tar archive: malformed size in a tar header at byte 0",
        ),
        (
            header_with(b'0', b"a", b"0000000008\0", b"ustar\x0000"),
            "invalid tar archive: malformed size in a tar header at byte 0",
        ),
        (
            header_with(b'3', b"a", b"00000000000\0", b""),
            r#"entry "a": device without numbers (the header is of the v7 format)"#,
        ),
    ] {
        assert_eq!(problem(&bytes), expected);
    }
    // Two that say the same are no harm; a global header changes nothing.
    assert_eq!(paths(&[long(b'L', b"one"), extended(&[("path", "one")]), entry.clone()].concat()), ["one"]);
    let global = {
        let mut block = extended(&[("path", "x"), ("size", "99"), ("uid", "7")]);
        block[156] = b'g';
        checksum(&mut block[..512]);
        block
    };
    assert_eq!(paths(&[global, entry].concat()), ["a"]);
}

#[test]
fn not_an_archive() {
    assert_eq!(
        problem(&[b'x'; 1024]),
        "invalid tar archive: not a tar header (its checksum is wrong) at byte 0"
    );
    assert_eq!(problem(b"short"), "invalid tar archive: cut short inside a block at byte 5");
    assert_eq!(paths(b""), [""; 0]);
}

/// Wherever an archive is cut, it is noticed, but between entries: there GNU tar sees an end, too.
#[test]
fn archives_that_are_cut_short() {
    let long = "n".repeat(150);
    let whole = archive(&["d/", "d/file=content", &format!("d/{long}=x"), "last=y"]);
    let entries = scan(&whole).unwrap().entries;
    // Headers of: d/, d/file, the long name (an extended header with two blocks of its own), last; end, end.
    let between = [0, 512, 1536, 3584, 4608, 5120];
    assert_eq!(whole.len(), 5632);
    for length in 0..whole.len() {
        let result = scan(&whole[..length]);
        if between.contains(&length) {
            assert_eq!(
                result.unwrap().entries,
                entries[..between.iter().position(|at| *at == length).unwrap().min(4)]
            );
        } else {
            let error = result.unwrap_err().to_string();
            assert!(error.contains("cut short") || error.contains("nothing follows"), "{length}: {error}");
        }
    }
}

#[test]
fn what_follows_the_end_is_kept_and_ignored() {
    let mut bytes = archive(&["a=1"]);
    bytes.extend_from_slice(&[0; 8192]);
    bytes.extend_from_slice(b"garbage");
    assert_eq!(paths(&bytes), ["a"]);
}

#[test]
fn old_headers() {
    // v7: no magic; a directory is a file with a slash.
    let v7 = [
        header_with(0, b"dir/", b"00000000000\0", b""),
        header_with(0, b"file", b"          3 ", b""),
        padded(b"abc"),
    ]
    .concat();
    let table = scan(&v7).unwrap();
    assert_eq!(table.entries[0].kind, Kind::Directory);
    assert_eq!(table.entries[1].size(), 3);
    // Checksums of signed bytes.
    let mut block = header(b'0', b"\xe4\xf6", 0);
    block[148..156].fill(b' ');
    let sum: i32 = block.iter().map(|byte| i32::from(byte.cast_signed())).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    assert_eq!(*only(&block).path, *b"\xe4\xf6");
    // ustar's prefix, and star's, which is shorter.
    let mut block = header(b'0', b"name", 0);
    block[345..476].fill(b'p');
    checksum(&mut block);
    let long = format!("{}/name", "p".repeat(131));
    assert_eq!(paths(&block), [&long[..]]);
    block[476..500].copy_from_slice(b"00000000001 00000000002 ");
    block[508..512].copy_from_slice(b"tar\0");
    checksum(&mut block);
    assert_eq!(paths(&block), [&long[..]]);
    // GNU's has times where ustar has the prefix.
    let mut block = header_with(b'0', b"name", b"00000000000\0", b"ustar  \0");
    block[345..357].copy_from_slice(b"00000000001\0");
    checksum(&mut block);
    assert_eq!(paths(&block), ["name"]);
}

#[test]
fn sparse_maps_that_lie() {
    let sparse = |records: &[(&str, &str)], content: &[u8]| {
        [extended(records), header(b'0', b"s", content.len() as u64), padded(content)].concat()
    };
    let one = ("GNU.sparse.major", "1");
    let zero = ("GNU.sparse.minor", "0");
    for (bytes, expected) in [
        (
            sparse(&[("GNU.sparse.map", "0,5"), ("GNU.sparse.size", "9")], b"1234"),
            "sparse map does not fit what is stored",
        ),
        (
            sparse(&[("GNU.sparse.map", "5,4"), ("GNU.sparse.size", "8")], b"1234"),
            "sparse map exceeds its file",
        ),
        (
            sparse(&[("GNU.sparse.map", "4,2,0,2"), ("GNU.sparse.size", "8")], b"1234"),
            "sparse map is not in order",
        ),
        (sparse(&[("GNU.sparse.name", "other")], b"1234"), "sparse file of unknown format"),
        (sparse(&[("GNU.sparse.major", "2"), zero], b"1234"), "sparse file of unknown format"),
        (sparse(&[one, zero], &[b'x'; 512]), "malformed sparse map"),
        (sparse(&[one, zero], b"0\n"), "sparse map exceeds its file"),
        (sparse(&[one, zero], &padded(b"0\n")), "sparse file without size"),
        (
            sparse(&[one, zero, ("GNU.sparse.realsize", "9")], &padded(b"9999999\n0\n1\n")),
            "sparse map exceeds its file",
        ),
        (
            sparse(&[one, zero, ("GNU.sparse.realsize", "9")], &padded(b"1\n0\n5\n")),
            "sparse map does not fit what is stored",
        ),
    ] {
        assert_eq!(problem(&bytes).split_once(": ").unwrap().1, expected);
    }
    let directory = [extended(&[("GNU.sparse.name", "x")]), header(b'5', b"d", 0)].concat();
    assert_eq!(problem(&directory), r#"entry "x": sparse map of an entry that is no file"#);
    // The size of format 1.0 counts its map, also when it stands in the extended header (tar-core takes the other one).
    let body = [padded(b"1\n2\n3\n"), b"abc".to_vec()].concat();
    let records = [one, zero, ("GNU.sparse.realsize", "7"), ("GNU.sparse.name", "real"), ("size", "515")];
    let bytes =
        [extended(&records), header(b'0', b"s", 0), padded(&body), header(b'0', b"after", 0)].concat();
    assert_eq!(paths(&bytes), ["real", "after"]);
    let Kind::File(body) = &scan(&bytes).unwrap().entries[0].kind else { panic!("not a file") };
    assert_eq!(content(&bytes, body), b"\0\0abc\0\0");
}

#[test]
fn limits() {
    // Extended headers: 1 MiB in all.
    let value = "v".repeat(600_000);
    let once = extended(&[("comment", &value)]);
    assert!(scan(&[once.clone(), header(b'0', b"a", 0)].concat()).is_ok());
    let with_name = [once, long(b'L', &b"n".repeat(600_000)), header(b'0', b"a", 0)].concat();
    assert!(problem(&with_name).contains("extended headers of more than 1 MiB"));
    let endless = [header(b'x', b"x", 1 << 40), header(b'0', b"a", 0)].concat();
    assert!(problem(&endless).contains("extended headers of more than 1 MiB"));
    let chain = long(b'L', b"name").repeat(3000);
    assert!(problem(&chain).contains("extended headers of more than 1 MiB"));
    // Paths.
    let archive = [extended(&[("path", &"p/".repeat(3000))]), header(b'0', b"a", 0)].concat();
    assert!(problem(&archive).ends_with("path is longer than 4095 bytes"));
    // The table: entries, and what they have. The reader is endless; the memory is not.
    for record in [vec![], extended(&[("comment", &"v".repeat(5000))])] {
        let entry = [record, header(b'0', b"a", 0)].concat();
        let endless = Endless { bytes: &entry, at: 0 };
        let limit = 100_000;
        let error =
            Table::scan(endless, io::sink(), Limits { memory: limit, ..Limits::default() }).unwrap_err();
        assert!(matches!(error, Error::Limit { limit: 100_000 }), "{error}");
    }
}

/// The same bytes again and again.
struct Endless<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Read for Endless<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let count = (&self.bytes[self.at..]).read(out)?;
        self.at = (self.at + count) % self.bytes.len();
        Ok(count)
    }
}

#[test]
fn readers_and_sinks_that_fail() {
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(ErrorKind::ConnectionReset.into())
        }
    }
    struct Full(usize);
    impl Write for Full {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 = self.0.checked_sub(bytes.len()).ok_or(ErrorKind::StorageFull)?;
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let bytes = archive(&["a=1"]);
    let cut = bytes[..700].chain(Broken);
    let error = Table::scan(cut, io::sink(), Limits::default()).unwrap_err();
    assert!(
        matches!(&error, Error::Read { offset: 700, source } if source.kind() == ErrorKind::ConnectionReset),
        "{error:?}"
    );
    let error = Table::scan(&bytes[..], Full(100), Limits::default()).unwrap_err();
    assert!(
        matches!(&error, Error::Keep { offset: 0, source } if source.kind() == ErrorKind::StorageFull),
        "{error:?}"
    );
}
