//! Layers: tar archives with whatever a test wants in them.

use std::io::Write;

use flate2::GzBuilder;
use tar::{Builder, EntryType, Header};

/// How a layer is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// A bare tar.
    None,
    /// gzip, with nothing in its header that changes.
    Gzip,
    /// zstd.
    Zstd,
}

/// The time of every entry: 2025-01-01T00:00:00Z.
const TIME: u64 = 1_735_689_600;

/// A layer that grows entry by entry; paths are written as they are given, be they good or bad.
#[derive(Clone, Debug)]
pub struct Layer {
    archive: Vec<u8>,
    compression: Compression,
}

impl Layer {
    /// An empty layer, gzip unless told otherwise.
    pub fn new() -> Self {
        Self { archive: Vec::new(), compression: Compression::Gzip }
    }

    /// How it is packed.
    #[must_use]
    pub fn compression(mut self, compression: Compression) -> Self {
        self.compression = compression;
        self
    }

    /// A directory that everybody may read.
    #[must_use]
    pub fn directory(self, path: &str) -> Self {
        self.entry(Entry { kind: EntryType::Directory, mode: 0o755, ..Entry::at(&format!("{path}/")) })
    }

    /// A file that everybody may read. `.wh.NAME` hides a name below, `.wh..wh..opq` all of a directory below.
    #[must_use]
    pub fn file(self, path: &str, content: impl Into<Vec<u8>>) -> Self {
        self.entry(Entry { content: content.into(), ..Entry::at(path) })
    }

    /// A file that everybody may run.
    #[must_use]
    pub fn executable(self, path: &str, content: impl Into<Vec<u8>>) -> Self {
        self.entry(Entry { mode: 0o755, content: content.into(), ..Entry::at(path) })
    }

    /// A symbolic link.
    #[must_use]
    pub fn symbolic_link(self, path: &str, target: &str) -> Self {
        self.entry(Entry { kind: EntryType::Symlink, mode: 0o777, link: target.into(), ..Entry::at(path) })
    }

    /// A hard link.
    #[must_use]
    pub fn hard_link(self, path: &str, target: &str) -> Self {
        self.entry(Entry { kind: EntryType::Link, link: target.into(), ..Entry::at(path) })
    }

    /// Any entry.
    #[must_use]
    pub fn entry(mut self, entry: Entry) -> Self {
        entry.write(&mut self.archive);
        self
    }

    /// Bytes that are no tar, where an entry would be.
    #[must_use]
    pub fn garbage(mut self, bytes: &[u8]) -> Self {
        self.archive.extend_from_slice(bytes);
        self
    }

    /// The bare archive.
    pub fn tar(&self) -> Vec<u8> {
        // Two empty blocks end an archive.
        [self.archive.as_slice(), &[0; 1024]].concat()
    }

    /// The archive as it is packed.
    pub fn compressed(&self) -> Vec<u8> {
        let tar = self.tar();
        match self.compression {
            Compression::None => tar,
            Compression::Gzip => {
                let mut writer = GzBuilder::new().write(Vec::new(), flate2::Compression::default());
                writer.write_all(&tar).and_then(|()| writer.finish()).expect("writing to memory")
            }
            Compression::Zstd => zstd::encode_all(tar.as_slice(), 3).expect("writing to memory"),
        }
    }

    pub(super) fn compressed_with(&self) -> Compression {
        self.compression
    }
}

impl Default for Layer {
    fn default() -> Self {
        Self::new()
    }
}

/// An entry of an archive.
#[derive(Clone, Debug)]
pub struct Entry {
    /// What it is.
    pub kind: EntryType,
    /// Its path, as written.
    pub path: String,
    /// What a link points to, as written.
    pub link: String,
    /// Its permissions, with setuid, setgid and sticky.
    pub mode: u32,
    /// Its owner and group.
    pub owner: (u32, u32),
    /// A device's major and minor number.
    pub device: (u32, u32),
    /// Its extended attributes.
    pub attributes: Vec<(String, Vec<u8>)>,
    /// Its content.
    pub content: Vec<u8>,
}

impl Entry {
    /// An empty file of root's, 0644.
    pub fn at(path: &str) -> Self {
        Self {
            kind: EntryType::Regular,
            path: path.to_owned(),
            link: String::new(),
            mode: 0o644,
            owner: (0, 0),
            device: (0, 0),
            attributes: Vec::new(),
            content: Vec::new(),
        }
    }

    fn write(self, archive: &mut Vec<u8>) {
        let mut header = Header::new_ustar();
        header.set_entry_type(self.kind);
        header.set_mode(self.mode);
        header.set_uid(self.owner.0.into());
        header.set_gid(self.owner.1.into());
        header.set_mtime(TIME);
        header.set_size(self.content.len() as u64);
        header.set_device_major(self.device.0).expect("a ustar header");
        header.set_device_minor(self.device.1).expect("a ustar header");
        // Written raw, for the crate refuses the paths that an attacker would choose.
        let old = header.as_old_mut();
        let path_fits = put(&mut old.name, &self.path);
        let link_fits = put(&mut old.linkname, &self.link);
        header.set_cksum();

        let names =
            self.attributes.iter().map(|(name, value)| (format!("SCHILY.xattr.{name}"), value.as_slice()));
        let mut extensions: Vec<(String, &[u8])> = names.collect();
        if !path_fits {
            extensions.push(("path".to_owned(), self.path.as_bytes()));
        }
        if !link_fits {
            extensions.push(("linkpath".to_owned(), self.link.as_bytes()));
        }
        let mut builder = Builder::new(archive);
        let extensions = extensions.iter().map(|(name, value)| (name.as_str(), *value));
        builder.append_pax_extensions(extensions).expect("writing to memory");
        builder.append(&header, self.content.as_slice()).expect("writing to memory");
        // Without the end that the builder would write when it is dropped: more may follow.
        std::mem::forget(builder);
    }
}

/// Puts text into a field, as much as fits; whether all of it did, in ASCII.
fn put(field: &mut [u8], text: &str) -> bool {
    let length = text.len().min(field.len());
    field[..length].copy_from_slice(&text.as_bytes()[..length]);
    text.is_ascii() && length == text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tar_reads_what_is_written() {
        let long = "d/".repeat(80) + "\u{e9}";
        let attribute = ("user.note".to_owned(), b"v=1".to_vec());
        let layer = Layer::new()
            .directory("etc")
            .file("../escape", "x")
            .hard_link("b", "etc/a")
            .entry(Entry { attributes: vec![attribute], mode: 0o4755, ..Entry::at(&long) })
            .entry(Entry { kind: EntryType::Char, device: (1, 3), ..Entry::at("dev") });
        let tar = layer.tar();
        let mut archive = tar::Archive::new(tar.as_slice());
        let mut seen = Vec::new();
        for entry in archive.entries().unwrap() {
            let mut entry = entry.unwrap();
            if let Some(extensions) = entry.pax_extensions().unwrap() {
                let keys: Vec<_> =
                    extensions.map(|extension| extension.unwrap().key().unwrap().to_owned()).collect();
                assert_eq!(keys, ["SCHILY.xattr.user.note", "path"]);
            }
            seen.push(String::from_utf8(entry.path_bytes().into_owned()).unwrap());
        }
        assert_eq!(seen, ["etc/", "../escape", "b", long.as_str(), "dev"]);
    }
}
