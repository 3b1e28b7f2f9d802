//! In what two entries are different, as far as their headers tell.

use std::fmt;

use layer::{Entry, Kind, Metadata, Record};

/// What can be different in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Aspect {
    /// What it is: file, directory, symbolic link …
    Type,
    /// Permissions, setuid, setgid, sticky.
    Mode,
    /// User or group, by number.
    Owner,
    /// Number of bytes.
    Size,
    /// Where a link leads.
    Target,
    /// The numbers of a device.
    Device,
    /// The bytes of a file.
    Content,
    /// Extended attributes or access control lists.
    Attributes,
    /// Time of the last change.
    Time,
}

/// Some of them.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Aspects(u16);

impl Aspects {
    /// Whether there is none.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether it is among them.
    pub fn contains(self, aspect: Aspect) -> bool {
        self.0 & aspect.bit() != 0
    }

    /// Each of them, in the order of [`Aspect`].
    pub fn iter(self) -> impl Iterator<Item = Aspect> {
        Aspect::ALL.into_iter().filter(move |aspect| self.contains(*aspect))
    }

    pub(super) fn insert(&mut self, aspect: Aspect) {
        self.0 |= aspect.bit();
    }
}

impl fmt::Debug for Aspects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

impl Aspect {
    const ALL: [Self; 9] = [
        Self::Type,
        Self::Mode,
        Self::Owner,
        Self::Size,
        Self::Target,
        Self::Device,
        Self::Content,
        Self::Attributes,
        Self::Time,
    ];

    fn bit(self) -> u16 {
        1 << self as u16
    }

    /// In one word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Type => "type",
            Self::Mode => "mode",
            Self::Owner => "owner",
            Self::Size => "size",
            Self::Target => "target",
            Self::Device => "device",
            Self::Content => "content",
            Self::Attributes => "attributes",
            Self::Time => "time",
        }
    }
}

/// In what entries are different; contents of equal length are for others to compare.
pub(super) fn aspects(old: &Entry, new: &Entry, ignores_times: bool) -> Aspects {
    let mut found = Aspects::default();
    let (was, is) = (&old.metadata, &new.metadata);
    match (&old.kind, &new.kind) {
        (Kind::File(old), Kind::File(new)) if old.size != new.size => {
            found.insert(Aspect::Size);
            found.insert(Aspect::Content);
        }
        (Kind::Symlink(old), Kind::Symlink(new)) | (Kind::HardLink(old), Kind::HardLink(new))
            if old != new =>
        {
            found.insert(Aspect::Target);
        }
        (Kind::CharacterDevice(old), Kind::CharacterDevice(new))
        | (Kind::BlockDevice(old), Kind::BlockDevice(new))
            if old != new =>
        {
            found.insert(Aspect::Device);
        }
        (old, new) if std::mem::discriminant(old) != std::mem::discriminant(new) => {
            found.insert(Aspect::Type);
        }
        _ => {}
    }
    // No system goes by the permissions of a symbolic link.
    let is_link = matches!(new.kind, Kind::Symlink(_)) && !found.contains(Aspect::Type);
    let more = [
        (Aspect::Mode, was.mode != is.mode && !is_link),
        (Aspect::Owner, (was.owner.uid, was.owner.gid) != (is.owner.uid, is.owner.gid)),
        (Aspect::Attributes, attributes(was) != attributes(is)),
        (Aspect::Time, was.mtime != is.mtime && !ignores_times),
    ];
    more.into_iter().filter(|(_, differs)| *differs).for_each(|(aspect, _)| found.insert(aspect));
    found
}

/// Extended attributes and access control lists, in an order of their own.
fn attributes(metadata: &Metadata) -> Vec<&Record> {
    let lists = metadata.records.iter().filter(|record| record.name.starts_with(b"SCHILY.acl."));
    let mut all: Vec<&Record> = metadata.xattrs.iter().chain(lists).collect();
    all.sort_by_key(|record| &record.name);
    all
}

#[cfg(test)]
mod tests {
    use layer::{Body, Time};

    use super::*;

    fn entry(kind: Kind, mode: u32) -> Entry {
        Entry { path: b"x"[..].into(), kind, metadata: Metadata::new(mode) }
    }

    fn list(old: &Entry, new: &Entry, ignores_times: bool) -> Vec<Aspect> {
        aspects(old, new, ignores_times).iter().collect()
    }

    fn file(size: u64) -> Kind {
        Kind::File(Body::whole(0, size))
    }

    #[test]
    fn headers_are_compared() {
        let link = |target: &str| Kind::Symlink(target.as_bytes().into());
        for (old, new, expected) in [
            (entry(file(1), 0o644), entry(file(1), 0o644), &[][..]),
            (entry(file(1), 0o644), entry(file(2), 0o755), &[Aspect::Mode, Aspect::Size, Aspect::Content]),
            (entry(link("a"), 0o777), entry(link("a"), 0o644), &[]),
            (entry(link("a"), 0o777), entry(link("b"), 0o777), &[Aspect::Target]),
            (entry(link("a"), 0o777), entry(Kind::Directory, 0o755), &[Aspect::Type, Aspect::Mode]),
        ] {
            assert_eq!(list(&old, &new, false), expected, "{old:?} {new:?}");
        }
        let old = entry(file(1), 0o644);
        let mut new = old.clone();
        new.metadata.mtime = Time::new(1, 0);
        assert_eq!(list(&old, &new, false), [Aspect::Time]);
        assert_eq!(list(&old, &new, true), []);
        let record = |name: &str| Record { name: name.as_bytes().into(), value: b"v"[..].into() };
        new.metadata.xattrs = ["b", "a"].map(record).into_iter().collect();
        let mut same = new.clone();
        same.metadata.xattrs = ["a", "b"].map(record).into_iter().collect();
        assert_eq!(list(&old, &new, true), [Aspect::Attributes]);
        assert_eq!(list(&same, &new, true), []);
    }
}
