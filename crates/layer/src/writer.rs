//! Writes a tar archive: ustar headers, and PAX extended headers where ustar cannot say it.
//!
//! Headers are laid out by tar-core. Its builder of entries is not used: it has no times before 1970 and no fractions of seconds,
//! wants names of attributes in UTF-8, and makes two vectors a header.

use std::io::{self, BufWriter, ErrorKind, Read, Write};

use tar_core::{EntryType, Header};

use crate::entry::{Device, Extent, Metadata, Owner};
use crate::header::BLOCK;
use crate::tee::BUFFER;
use crate::{pax, sparse};

/// What an entry of a new archive is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Item<'a> {
    /// A regular file of so many bytes, which must be written next.
    File(u64),
    /// A sparse file (PAX format 1.0). The bytes of all extents must be written next, one after another.
    Sparse {
        /// Number of bytes of the file.
        size: u64,
        /// The extents, ascending and apart.
        extents: &'a [Extent],
    },
    /// A directory.
    Directory,
    /// A symbolic link and its target.
    Symlink(&'a [u8]),
    /// A hard link and the path of its target.
    HardLink(&'a [u8]),
    /// A character device.
    CharacterDevice(Device),
    /// A block device.
    BlockDevice(Device),
    /// A named pipe.
    Fifo,
}

/// Writes a tar archive, the same bytes for the same entries.
///
/// [`begin`](Self::begin) an entry, [`write`](Write::write) its content, and [`finish`](Self::finish) after the last. Small writes are
/// gathered. GNU tar, bsdtar, Go and Python read what comes out.
///
/// ```
/// use layer::{Item, Metadata, TarWriter};
///
/// let mut tar = TarWriter::new(Vec::new());
/// tar.begin(b"etc", &Metadata::new(0o755), Item::Directory)?;
/// tar.file(b"etc/motd", &Metadata::new(0o644), 6, &b"hello\n"[..])?;
/// let archive = tar.finish()?;
/// assert_eq!(archive.len() % 512, 0);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct TarWriter<W: Write> {
    out: BufWriter<W>,
    /// Bytes of content that the present entry still wants.
    rest: u64,
    /// Zeros that fill the last block of the content.
    padding: usize,
}

impl<W: Write> TarWriter<W> {
    /// An archive without entries.
    pub fn new(out: W) -> Self {
        Self { out: BufWriter::with_capacity(BUFFER, out), rest: 0, padding: 0 }
    }

    /// Begins an entry. `path` is written as it is; a directory's gets its `/`, an empty one becomes `./`.
    ///
    /// # Errors
    ///
    /// `InvalidInput` when the content of the entry before is not complete, a text has a NUL byte, a link has no target, or a
    /// sparse map is wrong; else what the output says.
    pub fn begin(&mut self, path: &[u8], metadata: &Metadata, item: Item<'_>) -> io::Result<()> {
        self.end()?;
        write_header(&mut self.out, path, metadata, item)?;
        self.rest = match item {
            Item::File(size) => size,
            Item::Sparse { extents, .. } => extents.iter().map(|extent| extent.length).sum(),
            _ => 0,
        };
        self.padding = padding(self.rest);
        Ok(())
    }

    /// A whole file: `size` bytes of `content`, and an error if there are fewer.
    ///
    /// # Errors
    ///
    /// As for [`begin`](Self::begin); `UnexpectedEof` when the content is too short, or what its reader says.
    pub fn file(
        &mut self,
        path: &[u8],
        metadata: &Metadata,
        size: u64,
        content: impl Read,
    ) -> io::Result<()> {
        self.begin(path, metadata, Item::File(size))?;
        let copied = io::copy(&mut content.take(size), &mut self.out)?;
        if copied < size {
            return Err(io::Error::new(ErrorKind::UnexpectedEof, "content is shorter than its file"));
        }
        self.rest = 0;
        Ok(())
    }

    /// Writes the end marker, two blocks of zeros, and gives the output back, flushed.
    ///
    /// # Errors
    ///
    /// `InvalidInput` when the last content is not complete; else what the output says.
    pub fn finish(mut self) -> io::Result<W> {
        self.end()?;
        self.out.write_all(&[0; 2 * BLOCK])?;
        self.out.into_inner().map_err(io::IntoInnerError::into_error)
    }

    /// Ends the content of an entry.
    fn end(&mut self) -> io::Result<()> {
        if self.rest > 0 {
            return Err(io::Error::new(
                ErrorKind::InvalidInput,
                "content of the entry before is not complete",
            ));
        }
        self.out.write_all(&[0; BLOCK][..std::mem::take(&mut self.padding)])
    }
}

/// All that stands before the content of an entry: for whoever lays an archive out and writes the contents in their places.
/// The content is followed by zeros up to a multiple of 512 bytes, and the last one by 1024 zeros.
///
/// # Errors
///
/// `InvalidInput` when a text has a NUL byte, a link has no target, or a sparse map is wrong.
pub fn tar_header(path: &[u8], metadata: &Metadata, item: Item<'_>) -> io::Result<Vec<u8>> {
    let mut header = Vec::new();
    write_header(&mut header, path, metadata, item)?;
    Ok(header)
}

fn write_header(out: &mut impl Write, path: &[u8], metadata: &Metadata, item: Item<'_>) -> io::Result<()> {
    let (header, extended, map) = Draft::new(path, metadata, item)?.finish(metadata)?;
    if !extended.is_empty() {
        let mut before = Header::new_ustar();
        set(&mut before.as_ustar_mut().name, &extended_name(path));
        before.set_mode_small(0o644);
        before.set_size(extended.len() as u64).map_err(invalid)?;
        // Fields of zeros, not empty ones: some readers want digits.
        before.set_uid(0).and_then(|()| before.set_gid(0)).map_err(invalid)?;
        before.set_mtime_small(0);
        before.set_entry_type(EntryType::XHeader);
        before.set_checksum();
        out.write_all(before.as_bytes())?;
        out.write_all(&extended)?;
        out.write_all(&[0; BLOCK][..padding(extended.len() as u64)])?;
    }
    out.write_all(header.as_bytes())?;
    out.write_all(&map)
}

/// Writes the content of the entry that was begun last.
impl<W: Write> Write for TarWriter<W> {
    fn write(&mut self, content: &[u8]) -> io::Result<usize> {
        if content.len() as u64 > self.rest {
            return Err(io::Error::new(ErrorKind::InvalidInput, "content is longer than its file"));
        }
        let written = self.out.write(content)?;
        self.rest -= written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// A header in the making, with what did not fit into it.
struct Draft {
    header: Header,
    extended: Vec<u8>,
    map: Vec<u8>,
}

impl Draft {
    /// Kind, names, size: what depends upon the item.
    fn new(path: &[u8], metadata: &Metadata, item: Item<'_>) -> io::Result<Self> {
        let texts = [path, &*metadata.owner.uname, &*metadata.owner.gname];
        if texts.iter().any(|text| text.contains(&0)) {
            return Err(invalid("NUL in a name"));
        }
        let mut this = Self { header: Header::new_ustar(), extended: Vec::new(), map: Vec::new() };
        let (kind, size) = match item {
            Item::File(size) => (EntryType::Regular, size),
            Item::Sparse { size, extents } => (EntryType::Regular, this.sparse(path, size, extents)?),
            Item::Directory => (EntryType::Directory, 0),
            Item::Symlink(target) => (EntryType::Symlink, this.link(target)?),
            Item::HardLink(target) => (EntryType::Link, this.link(target)?),
            Item::CharacterDevice(device) => (EntryType::Char, this.device(device)),
            Item::BlockDevice(device) => (EntryType::Block, this.device(device)),
            Item::Fifo => (EntryType::Fifo, 0),
        };
        match item {
            Item::Sparse { .. } => {}
            Item::Directory if path.is_empty() => this.path(b"./"),
            Item::Directory => this.path(&[path, b"/"].concat()),
            _ if path.is_empty() => return Err(invalid("entry without a path")),
            _ => this.path(path),
        }
        this.header.set_entry_type(kind);
        if this.header.set_size(size).is_err() {
            this.header.set_size_small(0);
            this.record(b"size", size.to_string().as_bytes());
        }
        Ok(this)
    }

    /// Owner, time and attributes.
    fn finish(mut self, metadata: &Metadata) -> io::Result<(Header, Vec<u8>, Vec<u8>)> {
        let Owner { uid, gid, uname, gname } = &*metadata.owner;
        self.header.set_mode(metadata.mode & 0o7777).map_err(invalid)?;
        if self.header.set_uid(*uid).is_err() {
            self.header.set_uid(0).map_err(invalid)?;
            self.record(b"uid", uid.to_string().as_bytes());
        }
        if self.header.set_gid(*gid).is_err() {
            self.header.set_gid(0).map_err(invalid)?;
            self.record(b"gid", gid.to_string().as_bytes());
        }
        let seconds = u64::try_from(metadata.mtime.seconds());
        let fits = seconds.is_ok_and(|seconds| self.header.set_mtime(seconds).is_ok());
        if !fits {
            self.header.set_mtime_small(0);
        }
        if !fits || metadata.mtime.nanoseconds() != 0 {
            self.record(b"mtime", pax::time_text(metadata.mtime).as_bytes());
        }
        self.owner(b"uname", uname, |header| &mut header.as_ustar_mut().uname);
        self.owner(b"gname", gname, |header| &mut header.as_ustar_mut().gname);
        for xattr in &metadata.xattrs {
            self.record(&[b"SCHILY.xattr.", &*xattr.name].concat(), &xattr.value);
        }
        for record in &metadata.records {
            self.record(&record.name, &record.value);
        }
        self.header.set_checksum();
        Ok((self.header, self.extended, self.map))
    }

    fn record(&mut self, name: &[u8], value: &[u8]) {
        pax::push(&mut self.extended, name, value);
    }

    /// A path: in the name field, in name and prefix, or in a record.
    ///
    /// ustar has ASCII only. Other names get a record, which means UTF-8; names that are not UTF-8 stay raw where they
    /// fit, and nobody has to guess.
    fn path(&mut self, path: &[u8]) {
        let plain = path.is_ascii() || std::str::from_utf8(path).is_err();
        let ustar = self.header.as_ustar_mut();
        if !(plain && path.len() <= ustar.name.len()) {
            if let Some((prefix, name)) = split(path).filter(|_| plain) {
                set(&mut ustar.prefix, prefix);
                set(&mut ustar.name, name);
                return;
            }
            pax::push(&mut self.extended, b"path", path);
        }
        set(&mut ustar.name, path);
    }

    /// A link's target; its size is nothing.
    fn link(&mut self, target: &[u8]) -> io::Result<u64> {
        if target.is_empty() || target.contains(&0) {
            return Err(invalid("link without a target, or with NUL in it"));
        }
        let ustar = self.header.as_ustar_mut();
        let plain = target.is_ascii() || std::str::from_utf8(target).is_err();
        if !plain || target.len() > ustar.linkname.len() {
            pax::push(&mut self.extended, b"linkpath", target);
        }
        set(&mut ustar.linkname, target);
        Ok(0)
    }

    fn owner(&mut self, key: &[u8], name: &[u8], field: impl Fn(&mut Header) -> &mut [u8; 32]) {
        // The field ends in NUL, a path's need not.
        if name.is_ascii() && name.len() < 32 {
            set(field(&mut self.header), name);
        } else {
            self.record(key, name);
        }
    }

    fn device(&mut self, device: Device) -> u64 {
        if self.header.set_device(device.major, device.minor).is_err() {
            // Base-256, GNU's extension that all readers know: PAX has no record for it.
            let ustar = self.header.as_ustar_mut();
            for (field, number) in
                [(&mut ustar.dev_major, device.major), (&mut ustar.dev_minor, device.minor)]
            {
                *field = u64::from(number).to_be_bytes();
                field[0] = 0x80;
            }
        }
        0
    }

    /// The map of a sparse file and the records that tell of it; the size of what is stored, map included.
    fn sparse(&mut self, path: &[u8], size: u64, extents: &[Extent]) -> io::Result<u64> {
        let stored = extents.iter().try_fold(0_u64, |sum, extent| sum.checked_add(extent.length));
        let stored = stored.ok_or_else(|| invalid("sparse map is wrong"))?;
        sparse::check(extents, stored, size).map_err(invalid)?;
        self.record(b"GNU.sparse.major", b"1");
        self.record(b"GNU.sparse.minor", b"0");
        self.record(b"GNU.sparse.name", path);
        self.record(b"GNU.sparse.realsize", size.to_string().as_bytes());
        set(&mut self.header.as_ustar_mut().name, &[b"GNUSparseFile.0/", last(path)].concat());
        self.map = sparse::map(extents, size);
        Ok(stored.saturating_add(self.map.len() as u64))
    }
}

/// Puts a text into a field: as much as fits.
fn set(field: &mut [u8], text: &[u8]) {
    let length = text.len().min(field.len());
    field[..length].copy_from_slice(&text[..length]);
    field[length..].fill(0);
}

/// Splits a path that is too long for the name field at the last slash that lets both parts fit.
fn split(path: &[u8]) -> Option<(&[u8], &[u8])> {
    // A slash at the end, a directory's, stays with the name.
    let end = path.len().checked_sub(1)?.min(156);
    let slash = path[..end].iter().rposition(|byte| *byte == b'/')?;
    let (prefix, name) = (&path[..slash], &path[slash + 1..]);
    (!prefix.is_empty() && prefix.len() <= 155 && name.len() <= 100).then_some((prefix, name))
}

/// The name of an extended header, for readers that do not know them.
fn extended_name(path: &[u8]) -> Vec<u8> {
    [b"PaxHeaders.0/", last(path)].concat()
}

fn last(path: &[u8]) -> &[u8] {
    path.rsplit(|byte| *byte == b'/').next().unwrap_or_default()
}

fn padding(length: u64) -> usize {
    // Less than a block.
    usize::try_from(length.wrapping_neg() % BLOCK as u64).unwrap_or(0)
}

fn invalid(problem: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(ErrorKind::InvalidInput, problem)
}
