//! One entry of a layer: where it stands, what it is, what is known about it.

use std::fmt;
use std::ops::Deref;
use std::slice;
use std::sync::Arc;

use crate::path;

/// One entry of a layer's tar archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Path from the root, cleaned: no leading, trailing or doubled `/`, no `.` and no `..`. Empty for the root itself. Bytes,
    /// as tar names need not be UTF-8.
    pub path: Box<[u8]>,
    /// What the entry is.
    pub kind: Kind,
    /// Mode, owner, time and attributes.
    pub metadata: Metadata,
}

/// What an entry is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File(Body),
    /// A directory.
    Directory,
    /// A symbolic link with its target, verbatim: it is resolved inside the root when the image runs.
    Symlink(Box<[u8]>),
    /// A hard link with the path of its target, cleaned, from the root.
    HardLink(Box<[u8]>),
    /// A character device.
    CharacterDevice(Device),
    /// A block device.
    BlockDevice(Device),
    /// A named pipe.
    Fifo,
}

/// Where the content of a file lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Body {
    /// Position of the first stored byte in the inflated layer.
    pub offset: u64,
    /// Number of bytes of the file.
    pub size: u64,
    /// What is stored of a sparse file. `None` for a file that is stored whole.
    pub sparse: Option<Box<Sparse>>,
}

/// What is stored of a file that has holes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sparse {
    /// Number of bytes that are stored.
    pub stored: u64,
    /// Where they belong: ascending, apart, within the file's size, together `stored` bytes long. What lies between is zeros.
    pub extents: Box<[Extent]>,
}

impl Body {
    /// A file of `size` bytes that is stored whole, from `offset` on.
    pub fn whole(offset: u64, size: u64) -> Self {
        Self { offset, size, sparse: None }
    }

    /// Number of bytes that are stored; not the file's size when it is sparse.
    pub fn stored(&self) -> u64 {
        self.sparse.as_ref().map_or(self.size, |sparse| sparse.stored)
    }

    /// The extents of a sparse file.
    pub fn extents(&self) -> Option<&[Extent]> {
        self.sparse.as_ref().map(|sparse| &*sparse.extents)
    }
}

/// A run of stored bytes in a sparse file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Position in the file.
    pub offset: u64,
    /// Length in bytes.
    pub length: u64,
}

/// The numbers of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Device {
    /// Major number.
    pub major: u32,
    /// Minor number.
    pub minor: u32,
}

/// A point in time, as an offset from 1970-01-01 00:00 UTC.
// In words of 32 bits, for an entry is smaller by one with them.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time {
    high: i32,
    low: u32,
    nanoseconds: u32,
}

impl Time {
    /// So many whole seconds, rounded down and negative before 1970, and nanoseconds after them, below 1 000 000 000.
    pub fn new(seconds: i64, nanoseconds: u32) -> Self {
        let [a, b, c, d, low @ ..] = seconds.to_be_bytes();
        Self { high: i32::from_be_bytes([a, b, c, d]), low: u32::from_be_bytes(low), nanoseconds }
    }

    /// Whole seconds, rounded down; negative before 1970.
    pub fn seconds(self) -> i64 {
        i64::from(self.high) << 32 | i64::from(self.low)
    }

    /// Nanoseconds after [`seconds`](Self::seconds), below 1 000 000 000.
    pub fn nanoseconds(self) -> u32 {
        self.nanoseconds
    }
}

impl fmt::Debug for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} s and {} ns", self.seconds(), self.nanoseconds())
    }
}

/// What an archive tells about an entry besides its content.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metadata {
    /// Permissions with set-user-ID, set-group-ID and sticky bits (`0o7777`).
    pub mode: u32,
    /// Owner and group. Shared between entries.
    pub owner: Arc<Owner>,
    /// Time of the last change of the content.
    pub mtime: Time,
    /// Extended attributes, name and value, in the order of the archive (`SCHILY.xattr.` and `LIBARCHIVE.xattr.` records).
    pub xattrs: Records,
    /// Other PAX records (`atime`, `SCHILY.acl.access`, vendors' own …), verbatim, in the order of the archive.
    pub records: Records,
}

/// Whom an entry belongs to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Owner {
    /// The user.
    pub uid: u64,
    /// The group.
    pub gid: u64,
    /// Name of the user; empty when there is none.
    pub uname: Box<[u8]>,
    /// Name of the group; empty when there is none.
    pub gname: Box<[u8]>,
}

/// Records in their order. Few entries have any, so that none takes no more than a word.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Records(
    #[expect(clippy::box_collection, reason = "a slice's length would be a second word")]
    Option<Box<Vec<Record>>>,
);

impl Deref for Records {
    type Target = [Record];

    fn deref(&self) -> &[Record] {
        self.0.as_deref().map_or(&[], Vec::as_slice)
    }
}

impl FromIterator<Record> for Records {
    fn from_iter<I: IntoIterator<Item = Record>>(records: I) -> Self {
        let mut records: Vec<Record> = records.into_iter().collect();
        records.shrink_to_fit();
        Self((!records.is_empty()).then(|| Box::new(records)))
    }
}

impl<'a> IntoIterator for &'a Records {
    type Item = &'a Record;
    type IntoIter = slice::Iter<'a, Record>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// A name and its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The name; not empty, without `=` and NUL.
    pub name: Box<[u8]>,
    /// The value, any bytes.
    pub value: Box<[u8]>,
}

impl Metadata {
    /// Metadata of a file that belongs to root, from 1970: what a reproducible layer has.
    pub fn new(mode: u32) -> Self {
        Self { mode, ..Self::default() }
    }
}

/// What an entry with a reserved name means (OCI image specification, `layer.md`, "Whiteouts").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whiteout<'a> {
    /// `.wh.NAME`: hides what lower layers have under this name, in the directory of the entry. Empty, `.` and `..` name
    /// nothing that can be hidden; a merge refuses them.
    Hide(&'a [u8]),
    /// `.wh..wh..opq`: hides whatever lower layers have in the directory of the entry.
    Opaque,
    /// Other names that begin with `.wh..wh.`: bookkeeping of AUFS, which is no part of the file system.
    Bookkeeping,
}

impl<'a> Whiteout<'a> {
    /// What a file of this name means; `None` for an ordinary name.
    pub fn of(name: &'a [u8]) -> Option<Self> {
        match name.strip_prefix(b".wh.")? {
            b".wh..opq" => Some(Self::Opaque),
            rest if rest.starts_with(b".wh.") => Some(Self::Bookkeeping),
            hidden => Some(Self::Hide(hidden)),
        }
    }
}

impl Entry {
    /// The directory that the entry stands in (empty for the root), and its name.
    pub fn split(&self) -> (&[u8], &[u8]) {
        path::split(&self.path)
    }

    /// What the entry hides, if its name is a reserved one.
    pub fn whiteout(&self) -> Option<Whiteout<'_>> {
        Whiteout::of(self.split().1)
    }

    /// Number of bytes of a regular file, zero for anything else.
    pub fn size(&self) -> u64 {
        match &self.kind {
            Kind::File(body) => body.size,
            _ => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A table has one for each entry of a layer.
    #[test]
    fn entries_are_small() {
        assert_eq!(size_of::<Entry>(), 88);
    }

    #[test]
    fn times_keep_their_order() {
        let times = [
            (i64::MIN, 0),
            (-(1 << 32) - 1, 7),
            (-(1 << 32), 0),
            (-1, 0),
            (-1, 999_999_999),
            (0, 0),
            (u32::MAX.into(), 1),
            (1 << 32, 0),
            (i64::MAX, 0),
        ];
        let made = times.map(|(seconds, nanoseconds)| Time::new(seconds, nanoseconds));
        assert!(made.is_sorted());
        assert_eq!(made.map(|time| (time.seconds(), time.nanoseconds())), times);
    }

    #[test]
    fn whiteouts() {
        let cases: [(&[u8], Option<Whiteout>); 8] = [
            (b"a", None),
            (b".wha", None),
            (b"a.wh.b", None),
            (b".wh.a", Some(Whiteout::Hide(b"a"))),
            (b".wh.", Some(Whiteout::Hide(b""))),
            (b".wh..wh..opq", Some(Whiteout::Opaque)),
            (b".wh..wh.aufs", Some(Whiteout::Bookkeeping)),
            (b".wh..wh.plnk", Some(Whiteout::Bookkeeping)),
        ];
        for (name, meaning) in cases {
            assert_eq!(Whiteout::of(name), meaning, "{}", name.escape_ascii());
        }
    }
}
