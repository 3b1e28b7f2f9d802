//! What GNU tar writes is read, and what is written here GNU tar and Python read: real files, both ways.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use layer::{Device, Entry, Item, Kind, Metadata, Owner, Record, TarWriter, Time, merge, write_tar};
use tempfile::TempDir;

use crate::archive::{archive, content, flatten, scan};

/// A directory on a disk: in `/tmp` there may be a file system without extended attributes or holes.
fn directory() -> TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

fn run(command: &mut Command, input: &[u8]) -> (bool, Vec<u8>, String) {
    let command = command.env("LC_ALL", "C.UTF-8").env("TZ", "UTC");
    let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    let writer = std::thread::spawn(move || {
        // A program that stops early closes its end.
        let _ = stdin.write_all(&input);
    });
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    (output.status.success(), output.stdout, String::from_utf8_lossy(&output.stderr).into_owned())
}

/// Runs a program that must succeed and say nothing on standard error.
pub(crate) fn silent(command: &mut Command, input: &[u8]) -> Vec<u8> {
    let (success, stdout, stderr) = run(command, input);
    assert!(success && stderr.is_empty(), "{command:?}: {stderr}");
    stdout
}

fn mtime(path: &Path, seconds: u64, nanoseconds: u32) {
    let time = UNIX_EPOCH + Duration::new(seconds, nanoseconds);
    File::open(path).unwrap().set_modified(time).unwrap();
}

/// Files of every kind that needs no privilege; with long names if the format has them.
fn tree(root: &Path, long: bool) {
    let write = |name: &str, content: &[u8], mode| {
        fs::write(root.join(name), content).unwrap();
        fs::set_permissions(root.join(name), fs::Permissions::from_mode(mode)).unwrap();
    };
    fs::create_dir(root.join("d")).unwrap();
    write("d/empty", b"", 0o600);
    write("d/small", b"hello\n", 0o4755);
    write("d/block", &[b'b'; 512], 0o644);
    let large: Vec<u8> = (0..700_001_u32).map(|number| (number % 251).to_le_bytes()[0]).collect();
    write("large", &large, 0o644);
    for (name, parts, end) in [
        ("sparse", &[(0, 10_000), (100_000, 5_000), (1_000_000, 1)][..], 2_000_000),
        ("hole", &[], 300_000),
        ("data-last", &[(200_000, 4096)], 204_096),
        // More extents than a header of the old format has, and than a block after it.
        ("many", &[(0, 512); 0], 0),
    ] {
        let file = File::create(root.join(name)).unwrap();
        for (offset, length) in parts {
            file.write_all_at(&vec![b's'; *length], *offset).unwrap();
        }
        if name == "many" {
            for number in 0..60 {
                file.write_all_at(&[b'm'; 4096], number * 100_000).unwrap();
            }
        } else {
            file.set_len(end).unwrap();
        }
    }
    std::os::unix::fs::symlink("../large", root.join("d/link")).unwrap();
    fs::hard_link(root.join("d/small"), root.join("e-hard-link")).unwrap();
    assert!(Command::new("mkfifo").arg(root.join("fifo")).status().unwrap().success());
    if long {
        let path = format!("d/{}/{}", "p".repeat(120), "q".repeat(130));
        fs::create_dir_all(root.join(&path)).unwrap();
        write(&format!("{path}/{}", "n".repeat(200)), b"deep", 0o644);
        std::os::unix::fs::symlink("t".repeat(300), root.join("long-link")).unwrap();
        write("ümläut-日本", b"text", 0o644);
        fs::write(root.join(OsStr::from_bytes(b"raw-\xff\xfe")), b"bytes").unwrap();
        fs::write(root.join(OsStr::from_bytes(&[b"raw-\xff".repeat(30)].concat())), b"bytes").unwrap();
        fs::hard_link(root.join("ümläut-日本"), root.join("z-ümläut")).unwrap();
    }
    mtime(&root.join("large"), 1_600_000_000, 123_456_789);
    mtime(&root.join("d/small"), 1, 0);
    mtime(&root.join("d"), 1_700_000_000, 5);
}

/// What a tree has, by path: kind and mode, link target or content, time, and for files with several names the first.
type Tree = BTreeMap<Vec<u8>, (u32, Vec<u8>, (i64, i64), Vec<u8>)>;

fn walk(root: &Path) -> Tree {
    let mut tree = Tree::new();
    let mut directories = vec![root.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            let stat = path.symlink_metadata().unwrap();
            let name = path.strip_prefix(root).unwrap().as_os_str().as_bytes().to_vec();
            let content = if stat.is_symlink() {
                fs::read_link(&path).unwrap().as_os_str().as_bytes().to_vec()
            } else if stat.is_file() {
                fs::read(&path).unwrap()
            } else {
                vec![]
            };
            if stat.is_dir() {
                directories.push(path);
            }
            let inode =
                if stat.nlink() > 1 && !stat.is_dir() { stat.ino().to_string().into_bytes() } else { vec![] };
            tree.insert(name, (stat.mode(), content, (stat.mtime(), stat.mtime_nsec()), inode));
        }
    }
    // From numbers of inodes, which differ, to the first of the names.
    let mut first = BTreeMap::new();
    for (name, node) in &mut tree {
        if !node.3.is_empty() {
            node.3.clone_from(first.entry(node.3.clone()).or_insert_with(|| name.clone()));
        }
    }
    tree
}

/// What an archive has, in the same words.
fn read(archive: &[u8]) -> Tree {
    let table = scan(archive).unwrap();
    let archives = [archive.to_vec()];
    let tables = [table];
    let merged = merge(&tables).unwrap();
    let linked: Vec<usize> = merged.nodes.iter().filter_map(layer::Node::link).collect();
    let mut tree = Tree::new();
    for (index, node) in merged.nodes.iter().enumerate() {
        let (bits, content) = match &node.entry.kind {
            Kind::File(body) => (0o100_000, content(&archives[0], body)),
            Kind::Directory => (0o40_000, vec![]),
            Kind::Symlink(target) => (0o120_000, target.to_vec()),
            Kind::Fifo => (0o10_000, vec![]),
            other => panic!("{other:?}"),
        };
        let first = match node.link() {
            Some(first) => merged.nodes[first].path().to_vec(),
            None if linked.contains(&index) => node.path().to_vec(),
            None => vec![],
        };
        let Metadata { mode, mtime, .. } = &node.entry.metadata;
        let time = (mtime.seconds(), i64::from(mtime.nanoseconds()));
        if !node.path().is_empty() {
            tree.insert(node.path().to_vec(), (bits | mode, content, time, first));
        }
    }
    tree
}

fn whole_seconds(mut tree: Tree) -> Tree {
    for node in tree.values_mut() {
        node.2.1 = 0;
    }
    tree
}

fn compare(what: &str, found: &Tree, expected: &Tree) {
    let names = |tree: &Tree| tree.keys().map(|name| name.escape_ascii().to_string()).collect::<Vec<_>>();
    assert_eq!(names(found), names(expected), "{what}");
    for (name, node) in expected {
        assert!(found[name] == *node, "{what}: {}", name.escape_ascii());
    }
}

#[test]
fn formats_of_gnu_tar_both_ways() {
    let directory = directory();
    let (short, long) = (directory.path().join("short"), directory.path().join("long"));
    fs::create_dir(&short).unwrap();
    tree(&short, false);
    fs::create_dir(&long).unwrap();
    tree(&long, true);
    for (root, options) in [
        (&short, &["--format=v7"][..]),
        (&short, &["--format=ustar"]),
        (&long, &["--format=oldgnu"]),
        (&long, &["--format=oldgnu", "-S"]),
        (&long, &["--format=gnu"]),
        (&long, &["--format=gnu", "-S"]),
        (&long, &["--format=pax"]),
        (&long, &["--format=pax", "-S", "--sparse-version=0.0"]),
        (&long, &["--format=pax", "-S", "--sparse-version=0.1"]),
        (&long, &["--format=pax", "-S", "--sparse-version=1.0"]),
    ] {
        let what = options.join(" ");
        let mut expected = walk(root);
        if options[0] == "--format=v7" {
            // GNU tar leaves out what the format has no word for.
            expected.remove(&b"fifo"[..]);
        }
        let (_, archive, complaint) = run(
            Command::new("tar")
                .args(options)
                .args(["--exclude-backups", "-cf", "-", "-C"])
                .arg(root)
                .arg("."),
            b"",
        );
        assert!(complaint.is_empty() || options[0] == "--format=v7", "{what}: {complaint}");
        let exact = options[0] == "--format=pax";
        if !exact {
            expected = whole_seconds(expected);
        }
        compare(&what, &read(&archive), &expected);
        if options.contains(&"-S") {
            let sparse = |entry: &&Entry| matches!(&entry.kind, Kind::File(body) if body.sparse.is_some());
            assert!(scan(&archive).unwrap().entries.iter().filter(sparse).count() >= 4, "{what}");
        }

        // What we make of it, GNU tar unpacks to the same files.
        let flat = flatten(&[archive]);
        compare(&what, &read(&flat), &expected);
        let unpacked = directory.path().join("unpacked");
        fs::create_dir(&unpacked).unwrap();
        silent(Command::new("tar").args(["-xpf", "-", "-C"]).arg(&unpacked), &flat);
        let mut found = walk(&unpacked);
        if !exact {
            found = whole_seconds(found);
        }
        compare(&what, &found, &expected);
        fs::remove_dir_all(&unpacked).unwrap();
    }
}

/// What the `tar` crate finds in GNU tar's archives. (It does not know PAX's sparse files.)
#[test]
fn the_tar_crate_agrees_about_gnu_archives() {
    let directory = directory();
    tree(directory.path(), true);
    for options in [&["--format=oldgnu", "-S"][..], &["--format=gnu"], &["--format=pax"]] {
        let archive = silent(
            Command::new("tar").args(options).args(["-cf", "-", "-C"]).arg(directory.path()).arg("."),
            b"",
        );
        let table = scan(&archive).unwrap();
        let mut other = tar::Archive::new(&archive[..]);
        let theirs: Vec<_> = other
            .entries()
            .unwrap()
            .map(Result::unwrap)
            .map(|mut entry| {
                let mut bytes = Vec::new();
                std::io::Read::read_to_end(&mut entry, &mut bytes).unwrap();
                let header = entry.header().clone();
                let path = entry.path_bytes().into_owned();
                let link = entry.link_name_bytes().map(std::borrow::Cow::into_owned);
                (
                    path,
                    link,
                    header.mode().unwrap() & 0o7777,
                    header.uid().unwrap(),
                    header.mtime().unwrap(),
                    bytes,
                )
            })
            .collect();
        assert_eq!(theirs.len(), table.entries.len(), "{options:?}");
        for (ours, (path, link, mode, uid, seconds, bytes)) in table.entries.iter().zip(theirs) {
            let path = path.strip_prefix(b"./").unwrap_or(&path);
            assert_eq!(path.strip_suffix(b"/").unwrap_or(path), &*ours.path);
            assert_eq!((mode, uid), (ours.metadata.mode, ours.metadata.owner.uid));
            assert_eq!(i64::try_from(seconds), Ok(ours.metadata.mtime.seconds()));
            match (&ours.kind, link) {
                (Kind::Symlink(target), Some(link)) => assert_eq!(**target, *link),
                (Kind::HardLink(target), Some(link)) => assert_eq!(**target, link[2..]),
                (_, None) => {}
                other => panic!("{other:?}"),
            }
            if let Kind::File(body) = &ours.kind {
                assert!(content(&archive, body) == bytes, "{}", path.escape_ascii());
            }
        }
    }
}

fn record(name: &str, value: &[u8]) -> Record {
    Record { name: name.as_bytes().into(), value: value.into() }
}

/// One of everything, large numbers included.
fn everything() -> Vec<u8> {
    let metadata = Metadata {
        mode: 0o6755,
        owner: Arc::new(Owner {
            uid: 3_000_000_000,
            gid: 12,
            uname: "größe".as_bytes().into(),
            gname: (*b"users").into(),
        }),
        mtime: Time::new(-2, 0),
        xattrs: [record("user.binary", b"\0\x01=\n\xff"), record("user.text", b"value")]
            .into_iter()
            .collect(),
        records: [record("VENDOR.note", b"kept")].into_iter().collect(),
    };
    let mut tar = TarWriter::new(Vec::new());
    tar.begin(b"dev", &Metadata::new(0o1777), Item::Directory).unwrap();
    tar.begin(b"dev/char", &Metadata::new(0o620), Item::CharacterDevice(Device { major: 5, minor: 300_000 }))
        .unwrap();
    tar.begin(b"dev/block", &Metadata::new(0o660), Item::BlockDevice(Device { major: 259, minor: 1 }))
        .unwrap();
    tar.begin(b"dev/fifo", &Metadata::new(0o600), Item::Fifo).unwrap();
    tar.file("fïle".as_bytes(), &metadata, 5, &b"hello"[..]).unwrap();
    tar.begin(b"hard", &Metadata::new(0o644), Item::HardLink("fïle".as_bytes())).unwrap();
    let target = "ü/".repeat(100);
    tar.begin(b"soft", &Metadata::new(0o777), Item::Symlink(target.as_bytes())).unwrap();
    tar.finish().unwrap()
}

#[test]
fn python_reads_everything() {
    const SCRIPT: &str = r"
import io, sys, tarfile
for m in tarfile.open(fileobj=io.BytesIO(sys.stdin.buffer.read())):
    x = {k: v for k, v in m.pax_headers.items() if k.startswith('SCHILY') or k.startswith('VENDOR')}
    x = {k: v.encode('utf-8', 'surrogateescape') for k, v in x.items()}
    print(m.name, m.type.decode(), oct(m.mode), m.uid, m.gid, m.uname, m.gname, m.mtime, m.size, m.linkname[:8], m.devmajor, m.devminor, x)
";
    let printed = silent(Command::new("python3").args(["-c", SCRIPT]), &flatten(&[everything()]));
    let expected = "\
dev 5 0o1777 0 0   0 0  0 0 {}
dev/block 4 0o660 0 0   0 0  259 1 {}
dev/char 3 0o620 0 0   0 0  5 300000 {}
dev/fifo 6 0o600 0 0   0 0  0 0 {}
fïle 0 0o6755 3000000000 12 größe users -2.0 5  0 0 {'SCHILY.xattr.user.binary': b'\\x00\\x01=\\n\\xff', 'SCHILY.xattr.user.text': b'value', 'VENDOR.note': b'kept'}
hard 1 0o6755 3000000000 12 größe users -2.0 0 fïle 0 0 {'SCHILY.xattr.user.binary': b'\\x00\\x01=\\n\\xff', 'SCHILY.xattr.user.text': b'value', 'VENDOR.note': b'kept'}
soft 2 0o777 0 0   0 0 ü/ü/ü/ü/ 0 0 {}
";
    assert_eq!(String::from_utf8(printed).unwrap(), expected);
}

#[test]
fn gnu_tar_lists_everything() {
    let listed = run(
        Command::new("tar").args(["--xattrs", "--numeric-owner", "--full-time", "-tvvf", "-"]),
        &flatten(&[everything()]),
    );
    let listed = String::from_utf8(listed.1).unwrap();
    let columns: Vec<String> =
        listed.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    let expected = [
        "drwxrwxrwt 0/0 0 1970-01-01 00:00:00 dev/",
        "brw-rw---- 0/0 259,1 1970-01-01 00:00:00 dev/block",
        "crw--w---- 0/0 5,300000 1970-01-01 00:00:00 dev/char",
        "prw------- 0/0 0 1970-01-01 00:00:00 dev/fifo",
        "-rwsr-sr-x* 3000000000/12 5 1969-12-31 23:59:58 fïle",
        "x: 5 user.binary",
        "x: 5 user.text",
    ];
    for line in expected {
        assert!(columns.iter().any(|column| column == line), "{line} is not in\n{listed}");
    }
}

/// Extended attributes from a file to an archive, through us, to a file.
#[test]
fn extended_attributes() {
    let directory = directory();
    let (from, to) = (directory.path().join("from"), directory.path().join("to"));
    fs::create_dir(&from).unwrap();
    fs::create_dir(&to).unwrap();
    fs::write(from.join("file"), b"content").unwrap();
    let set = |path: &Path, name: &str, value: &[u8]| {
        rustix::fs::setxattr(path, name, value, rustix::fs::XattrFlags::empty()).unwrap();
    };
    let get = |path: &Path, name: &str| {
        let mut value = vec![0; 100];
        let length = rustix::fs::getxattr(path, name, &mut value[..]).unwrap();
        value.truncate(length);
        value
    };
    set(&from.join("file"), "user.binary", b"\0=\n\xff");
    set(&from, "user.directory", b"yes");
    let archive = silent(Command::new("tar").args(["--xattrs", "-cf", "-", "-C"]).arg(&from).arg("."), b"");
    let table = scan(&archive).unwrap();
    let file = table.entries.iter().find(|entry| *entry.path == *b"file").unwrap();
    assert_eq!(*file.metadata.xattrs, [record("user.binary", b"\0=\n\xff")]);
    silent(Command::new("tar").args(["--xattrs", "-xf", "-", "-C"]).arg(&to), &flatten(&[archive]));
    assert_eq!(get(&to.join("file"), "user.binary"), b"\0=\n\xff");
    assert_eq!(get(&to, "user.directory"), b"yes");
}

/// Layers by the words of the specification, unpacked by GNU tar from their merge: parents are there before children, links
/// lead to something, nothing is said.
#[test]
fn a_merge_unpacks_in_silence() {
    let layers = [
        archive(&[
            "usr/",
            "usr/bin/",
            "usr/bin/a=OLD",
            "usr/bin/b=>usr/bin/a",
            "bin->usr/bin",
            "etc/",
            "etc/x=1",
        ]),
        archive(&["bin/c=2", "usr/bin/a=NEW", "etc/.wh.x", "etc/y=3"]),
        archive(&["usr/bin/.wh.a", "etc/.wh..wh..opq", "etc/z=>usr/bin/b"]),
    ];
    let directory = directory();
    silent(Command::new("tar").args(["-xf", "-", "-C"]).arg(directory.path()), &flatten(&layers));
    let tree = walk(directory.path());
    let names: Vec<_> = tree.keys().map(|name| String::from_utf8_lossy(name).into_owned()).collect();
    assert_eq!(names, ["bin", "etc", "etc/z", "usr", "usr/bin", "usr/bin/b", "usr/bin/c"]);
    assert_eq!(tree[&b"usr/bin/b"[..]].1, b"OLD");
    assert_eq!(tree[&b"etc/z"[..]].3, b"etc/z");
}

/// The same layers give the same bytes, from memory and from files.
#[test]
fn bodies_in_files() {
    let layers = [archive(&["a=1", "b/c=2"]), archive(&["b/d=3"])];
    let tables: Vec<_> = layers.iter().map(|layer| scan(layer).unwrap()).collect();
    let merged = merge(&tables).unwrap();
    let files: Vec<File> = layers
        .iter()
        .map(|layer| {
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(layer).unwrap();
            file
        })
        .collect();
    assert_eq!(write_tar(&merged, &files[..], Vec::new()).unwrap(), flatten(&layers));
    // A layer that is not all there.
    files[1].set_len(512).unwrap();
    let error = write_tar(&merged, &files[..], std::io::sink()).unwrap_err();
    assert!(matches!(&error, layer::Error::Body { layer: 1, path, .. } if path == "\"b/d\""), "{error:?}");
}
