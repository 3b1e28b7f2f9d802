//! What lies where in a tar file: read once, header by header, without the contents between them.

use std::collections::HashMap;
use std::fs::File;
use std::io::Seek;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tar::EntryType;

use crate::content::Extent;
use crate::error::Error;

/// No sensible archive of images has more entries.
const MOST: usize = 1_000_000;

/// The longest name, with what else is said of an entry, in bytes; and the most of all of them.
const LONGEST: u64 = 1 << 20;
const NAMES: u64 = 64 << 20;

/// So many links are followed for one name.
const LINKS: usize = 16;

/// The files and links of a tar file by their names.
#[derive(Debug)]
pub(crate) struct Table {
    file: Arc<File>,
    path: PathBuf,
    members: HashMap<String, Member>,
}

#[derive(Debug)]
enum Member {
    /// A regular file: its first byte, and its length in bytes.
    File(u64, u64),
    /// Another name, or what is not in the archive.
    Link(Option<String>),
}

impl Table {
    /// Reads the headers of a tar file, which has to be whole. `path`: what messages call it.
    pub(crate) fn scan(file: File, path: &Path) -> Result<Self, Error> {
        let broken = |error: std::io::Error| match error.raw_os_error() {
            Some(_) => Error::io(path, error),
            None => Error::archive(path, format!("it is no tar archive, or damaged: {error}")),
        };
        let end = file.metadata().map_err(|error| Error::io(path, error))?.len();
        look(&file, path, &broken)?;
        let mut members = HashMap::new();
        let mut archive = tar::Archive::new(&file);
        for entry in archive.entries_with_seek().map_err(broken)? {
            let entry = entry.map_err(broken)?;
            let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
            let (at, length) = (entry.raw_file_position(), entry.size());
            let member = match entry.header().entry_type() {
                EntryType::Regular | EntryType::Continuous => {
                    if at.checked_add(length).is_none_or(|last| last > end) {
                        return Err(Error::archive(path, format!("it is cut off in the middle of {name}")));
                    }
                    Member::File(at, length)
                }
                kind @ (EntryType::Symlink | EntryType::Link) => {
                    let target = entry.link_name_bytes().unwrap_or_default();
                    let target = String::from_utf8_lossy(&target).into_owned();
                    // A symbolic link begins where it lies, a hard link at the root.
                    let base = if kind.is_symlink() {
                        name.rsplit_once('/').map_or("", |(folder, _)| folder)
                    } else {
                        ""
                    };
                    Member::Link(inside(base, &target))
                }
                _ => continue,
            };
            if let Some(name) = inside("", &name) {
                // As when it is unpacked, the last one stays.
                members.insert(name, member);
            }
        }
        Ok(Self { file: Arc::new(file), path: path.to_owned(), members })
    }

    /// The content of a file.
    pub(crate) fn find(&self, name: &str) -> Option<Extent> {
        let mut name = inside("", name)?;
        for _ in 0..LINKS {
            match self.members.get(&name)? {
                Member::File(at, length) => {
                    let path = self.path(&name);
                    return Some(Extent { file: Arc::clone(&self.file), path, at: *at, length: *length });
                }
                Member::Link(target) => name.clone_from(target.as_ref()?),
            }
        }
        None
    }

    /// What messages call a file.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }
}

/// Looks whether the entries are so many, or their names so long, that they would not be read in sensible memory.
fn look(file: &File, path: &Path, broken: &impl Fn(std::io::Error) -> Error) -> Result<(), Error> {
    let (mut entries, mut names) = (0, 0_u64);
    for entry in tar::Archive::new(file).entries_with_seek().map_err(broken)?.raw(true) {
        let entry = entry.map_err(broken)?;
        entries += 1;
        // What stands before an entry to say more of it is read as a whole.
        let kind = entry.header().entry_type();
        if kind.is_gnu_longname() || kind.is_gnu_longlink() || kind.is_pax_local_extensions() {
            names = names.saturating_add(entry.size());
            if entry.size() > LONGEST {
                return Err(Error::archive(
                    path,
                    format!("an entry has a name or attributes of {} bytes", entry.size()),
                ));
            }
        }
        if entries > MOST || names > NAMES {
            return Err(Error::archive(
                path,
                format!("it has more than {MOST} entries, or {NAMES} bytes of names"),
            ));
        }
    }
    let mut rewound = file;
    rewound.rewind().map_err(|error| Error::io(path, error))
}

/// A name below the archive's root in its plain form; `None` if it leads out.
fn inside(base: &str, name: &str) -> Option<String> {
    let mut parts: Vec<&str> = Vec::new();
    let base = if name.starts_with('/') { "" } else { base };
    for part in base.split('/').chain(name.split('/')) {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use layer::{Item, Metadata, TarWriter};

    use super::*;

    fn scan(bytes: &[u8]) -> Result<Table, Error> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        file.rewind().unwrap();
        Table::scan(file, Path::new("a.tar"))
    }

    fn archive() -> Vec<u8> {
        let mut tar = TarWriter::new(Vec::new());
        let metadata = Metadata::new(0o644);
        tar.begin(b"dir", &metadata, Item::Directory).unwrap();
        tar.file(b"./dir/one", &metadata, 3, &b"one"[..]).unwrap();
        tar.file(b"dir/one", &metadata, 5, &b"other"[..]).unwrap();
        tar.begin(b"dir/symbolic", &metadata, Item::Symlink(b"../dir/./hard")).unwrap();
        tar.begin(b"dir/hard", &metadata, Item::HardLink(b"dir/one")).unwrap();
        tar.begin(b"dir/out", &metadata, Item::Symlink(b"../../etc/passwd")).unwrap();
        tar.begin(b"dir/round", &metadata, Item::Symlink(b"round")).unwrap();
        tar.file(b"../up", &metadata, 2, &b"up"[..]).unwrap();
        let long = format!("{}end", "long/".repeat(60));
        tar.file(long.as_bytes(), &metadata, 4, &b"long"[..]).unwrap();
        tar.finish().unwrap()
    }

    #[test]
    fn names_and_links() {
        let table = scan(&archive()).unwrap();
        let text =
            |name: &str| table.find(name).map(|extent| String::from_utf8(extent.whole(10).unwrap()).unwrap());
        for name in ["dir/one", "./dir//one", "dir/symbolic", "dir/hard"] {
            assert_eq!(text(name).as_deref(), Some("other"), "{name}");
        }
        assert_eq!(text(&format!("{}end", "long/".repeat(60))).as_deref(), Some("long"));
        for name in ["dir", "dir/out", "dir/round", "up", "../up", "etc/passwd", ""] {
            assert_eq!(text(name), None, "{name}");
        }
    }

    #[test]
    fn what_would_fill_the_memory() {
        for kind in [EntryType::GNULongName, EntryType::GNULongLink, EntryType::XHeader] {
            let mut header = tar::Header::new_gnu();
            header.set_path("x").unwrap();
            header.set_entry_type(kind);
            header.set_size(3 << 30);
            header.set_cksum();
            let reason = scan(header.as_bytes()).unwrap_err().to_string();
            assert!(reason.contains("has a name or attributes of 3221225472 bytes"), "{reason}");
        }
    }

    #[test]
    fn what_is_cut_off() {
        let whole = archive();
        let inside_long = whole.windows(4).rposition(|window| window == b"long").unwrap() + 2;
        let reason = scan(&whole[..inside_long]).unwrap_err().to_string();
        assert!(reason.contains("a.tar") && reason.contains("cut off"), "{reason}");
        for bytes in [&whole[..700], b"no archive at all", &[b'!'; 1024]] {
            let reason = scan(bytes).unwrap_err().to_string();
            assert!(reason.contains("no tar archive") || reason.contains("cut off"), "{reason}");
        }
    }
}
