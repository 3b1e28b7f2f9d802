//! From the bytes of a tar archive to its entries.
//!
//! tar-core's parser is not used: it drops what `x` said when a `g` follows, takes the size of a sparse file of format 1.0
//! from the wrong header when both have one, and reads headers again for every block that it still needs.

use std::borrow::Cow;
use std::io::{Read, Write};

use crate::Error;
use crate::entry::{Body, Device, Entry, Extent, Kind, Metadata, Sparse};
use crate::error::quote;
use crate::header::{self, BLOCK, Header};
use crate::limits::{Limits, Meter};
use crate::pax::{Extensions, SparseRecords};
use crate::tee::Tee;
use crate::{path, sparse};

/// The most that an entry's extended headers, or the map of a sparse file, may have, in bytes.
const EXTENSION_LIMIT: u64 = 1 << 20;

/// A file of more bytes is not caught.
const CATCH: u64 = 1 << 20;

/// A file that was wanted, as it was passed in a layer. It is no more proven than the layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caught {
    /// Which it is: the entry that has this is the file.
    pub body: Body,
    /// The bytes that are stored of it; at most 1 MiB.
    pub stored: Vec<u8>,
}

/// Reads entry after entry.
pub(crate) struct Scanner<R, W> {
    bytes: Tee<R, W>,
    meter: Meter,
    /// The path of a file whose content is wanted, too.
    wanted: Option<Box<[u8]>>,
    caught: Option<Caught>,
}

/// What has been said about an entry before its own header.
#[derive(Default)]
struct Before {
    long_path: Option<Vec<u8>>,
    long_link: Option<Vec<u8>>,
    extensions: Option<Extensions>,
    /// Bytes of all these headers; zero when there were none.
    size: u64,
}

impl<R: Read, W: Write> Scanner<R, W> {
    pub(crate) fn new(reader: R, sink: W, limits: Limits) -> Self {
        Self { bytes: Tee::new(reader, sink), meter: Meter::new(limits), wanted: None, caught: None }
    }

    /// The same, and the last file at a path is caught unless it is large.
    pub(crate) fn wanting(self, path: &[u8]) -> Self {
        Self { wanted: Some(path.into()), ..self }
    }

    /// Reads what follows the archive; how many bytes there were in all, and what was caught.
    pub(crate) fn finish(mut self) -> Result<(u64, Option<Caught>), Error> {
        self.bytes.finish()?;
        Ok((self.bytes.offset(), self.caught))
    }

    /// The next entry; `None` at the end of the archive.
    pub(crate) fn entry(&mut self) -> Result<Option<Entry>, Error> {
        let mut before = Before::default();
        loop {
            let offset = self.bytes.offset();
            let wrong = |problem| archive(offset, problem);
            let Some(block) = self.block_or_end()? else {
                return if before.size == 0 {
                    Ok(None)
                } else {
                    Err(wrong("nothing follows an extended header"))
                };
            };
            let header = Header::parse(&block).map_err(wrong)?;
            match header.kind() {
                b'L' => before.long_path = Some(self.long_name(&header, &mut before.size)?),
                b'K' => before.long_link = Some(self.long_name(&header, &mut before.size)?),
                b'x' if before.extensions.is_some() => {
                    return Err(wrong("two extended headers for one entry"));
                }
                b'x' => {
                    let data = self.extension(&header, &mut before.size)?;
                    before.extensions = Some(Extensions::parse(&data).map_err(wrong)?);
                }
                b'g' if before.size > 0 => return Err(wrong("global header after an extended header")),
                b'g' => self.skip(header.size().map_err(wrong)?, "a global header")?,
                _ => {
                    let entry = self.item(&header, offset, before)?;
                    self.meter.account(&entry)?;
                    return Ok(Some(entry));
                }
            }
        }
    }

    /// The next block of headers; `None` at the end marker, or where the bytes end between blocks.
    fn block_or_end(&mut self) -> Result<Option<[u8; BLOCK]>, Error> {
        let offset = self.bytes.offset();
        match self.block()? {
            Some(first) if first == [0; BLOCK] => match self.block()? {
                Some(second) if second != [0; BLOCK] => Err(archive(offset, "a lone block of zeros")),
                _ => Ok(None),
            },
            other => Ok(other),
        }
    }

    fn block(&mut self) -> Result<Option<[u8; BLOCK]>, Error> {
        let mut block = [0; BLOCK];
        match self.bytes.read(&mut block)? {
            0 => Ok(None),
            BLOCK => Ok(Some(block)),
            _ => Err(self.cut("a block")),
        }
    }

    fn cut(&self, what: &str) -> Error {
        archive(self.bytes.offset(), format!("cut short inside {what}"))
    }

    /// Passes over content and what fills its last block.
    fn skip(&mut self, size: u64, what: &str) -> Result<(), Error> {
        let padded = size.checked_next_multiple_of(BLOCK as u64).unwrap_or(u64::MAX);
        if self.bytes.skip(padded)? { Ok(()) } else { Err(self.cut(what)) }
    }

    /// Passes over the content of a file, and catches it where it is wanted.
    fn content(&mut self, path: &[u8], body: &Body, what: &str) -> Result<(), Error> {
        if self.wanted.as_deref() != Some(path) {
            return self.skip(body.stored(), what);
        }
        self.caught = None;
        if body.stored() > CATCH {
            return self.skip(body.stored(), what);
        }
        // It is not long.
        let mut stored = vec![0; usize::try_from(body.stored()).unwrap_or_default()];
        if self.bytes.read(&mut stored)? < stored.len() {
            return Err(self.cut(what));
        }
        self.caught = Some(Caught { body: body.clone(), stored });
        let rest = body.stored().next_multiple_of(BLOCK as u64) - body.stored();
        if self.bytes.skip(rest)? { Ok(()) } else { Err(self.cut(what)) }
    }

    /// The content of an extended header. `sum` is what those of this entry have had so far.
    ///
    /// Its size is that of its own header: a PAX `size` before it speaks of the entry.
    fn extension(&mut self, header: &Header<'_>, sum: &mut u64) -> Result<Vec<u8>, Error> {
        let offset = self.bytes.offset();
        let size = header.size().map_err(|problem| archive(offset, problem))?;
        *sum = sum.saturating_add(size).saturating_add(BLOCK as u64);
        if *sum > EXTENSION_LIMIT {
            return Err(archive(offset, "extended headers of more than 1 MiB"));
        }
        let padded = usize::try_from(size.next_multiple_of(BLOCK as u64)).unwrap_or(0);
        let mut data = vec![0; padded];
        if self.bytes.read(&mut data)? < padded {
            return Err(self.cut("an extended header"));
        }
        data.truncate(usize::try_from(size).unwrap_or(0));
        Ok(data)
    }

    fn long_name(&mut self, header: &Header<'_>, sum: &mut u64) -> Result<Vec<u8>, Error> {
        let mut name = self.extension(header, sum)?;
        name.truncate(name.iter().position(|byte| *byte == 0).unwrap_or(name.len()));
        Ok(name)
    }

    /// The entry of a header that stands for one, past its content.
    fn item(&mut self, header: &Header<'_>, offset: u64, before: Before) -> Result<Entry, Error> {
        let wrong = |problem| archive(offset, problem);
        let mut extensions = before.extensions.unwrap_or_default();
        let sparse = std::mem::take(&mut extensions.sparse);
        let long_path = one(before.long_path, extensions.path.take()).map_err(wrong)?;
        let long_link = one(before.long_link, extensions.link.take()).map_err(wrong)?;
        let raw = sparse.name.clone().or(long_path).unwrap_or_else(|| header.path());
        let link = long_link.unwrap_or_else(|| header.link().to_vec());
        let stored = extensions.size.map_or_else(|| header.size(), Ok).map_err(wrong)?;
        let refused = |problem: &'static str| Error::Entry { path: quote(&raw), problem: problem.into() };

        let path = path::confine(&raw).map_err(refused)?;
        let kind = match header.kind() {
            // How v7 writes a directory.
            0 if raw.ends_with(b"/") => {
                self.skip(stored, "a directory")?;
                Kind::Directory
            }
            0 | b'0' | b'7' | b'S' => {
                let body = self.body(header, stored, &sparse).map_err(|problem| match problem {
                    Problem::Bytes(error) => error,
                    Problem::Map(problem) => refused(problem),
                })?;
                self.content(&path, &body, &format!("the content of {}", quote(&raw)))?;
                Kind::File(body)
            }
            _ if !sparse.is_empty() => return Err(refused("sparse map of an entry that is no file")),
            b'1' => Kind::HardLink(path::confine_link(&link).map_err(refused)?),
            b'2' if link.is_empty() => return Err(refused("symbolic link has no target")),
            b'2' if link.len() > path::PATH_MAX => {
                return Err(refused("symbolic link target is longer than 4095 bytes"));
            }
            b'2' => Kind::Symlink(link.into()),
            b'3' => Kind::CharacterDevice(device(header).map_err(refused)?),
            b'4' => Kind::BlockDevice(device(header).map_err(refused)?),
            b'5' => Kind::Directory,
            b'6' => Kind::Fifo,
            other => {
                let problem = format!("entry of unknown type {:?}", char::from(other));
                return Err(Error::Entry { path: quote(&raw), problem: problem.into() });
            }
        };
        if path.is_empty() && kind != Kind::Directory {
            return Err(refused("the root of a layer must be a directory"));
        }
        let uid = extensions.uid.map_or_else(|| header.uid(), Ok).map_err(wrong)?;
        let gid = extensions.gid.map_or_else(|| header.gid(), Ok).map_err(wrong)?;
        let uname = extensions.uname.as_deref().unwrap_or(header.uname());
        let gname = extensions.gname.as_deref().unwrap_or(header.gname());
        let metadata = Metadata {
            mode: header.mode().map_err(wrong)?,
            owner: self.meter.owner((uid, gid), (uname, gname)),
            mtime: extensions.mtime.map_or_else(|| header.mtime(), Ok).map_err(wrong)?,
            xattrs: extensions.xattrs,
            records: extensions.records,
        };
        Ok(Entry { path, kind, metadata })
    }

    /// Where the content of a file lies, after the map that some sparse files have before it.
    fn body(
        &mut self,
        header: &Header<'_>,
        mut stored: u64,
        sparse: &SparseRecords,
    ) -> Result<Body, Problem> {
        let map = match (header.kind(), sparse.major, sparse.minor, &sparse.map) {
            (b'S', None, None, None) => Some(self.gnu_map(header)?),
            (b'S', ..) => return Err(Problem::Map("sparse file in two formats")),
            (_, Some(1), Some(0), None) => {
                let map = self.pax_map(&mut stored)?;
                Some((sparse.size.ok_or(Problem::Map("sparse file without size"))?, map))
            }
            (_, None, None, Some(map)) | (_, Some(0), Some(0 | 1), Some(map)) => {
                Some((sparse.size.unwrap_or(stored), map.clone()))
            }
            _ if sparse.is_empty() => None,
            _ => return Err(Problem::Map("sparse file of unknown format")),
        };
        let offset = self.bytes.offset();
        let Some((size, extents)) = map else {
            return Ok(Body::whole(offset, stored));
        };
        sparse::check(&extents, stored, size).map_err(Problem::Map)?;
        Ok(Body { offset, size, sparse: Some(Box::new(Sparse { stored, extents: extents.into() })) })
    }

    /// Size and map of an old GNU sparse file: in its header, and in blocks after it.
    fn gnu_map(&mut self, header: &Header<'_>) -> Result<(u64, Vec<Extent>), Problem> {
        let (size, mut extents, mut more) = header.sparse().map_err(Problem::Map)?;
        let mut length = 0;
        while more {
            length += BLOCK as u64;
            if length > EXTENSION_LIMIT {
                return Err(Problem::Map("sparse map of more than 1 MiB"));
            }
            let block = self.block()?.ok_or_else(|| self.cut("a sparse map"))?;
            more = header::sparse_block(&block, &mut extents).map_err(Problem::Map)?;
        }
        Ok((size, extents))
    }

    /// The map of a sparse file of PAX format 1.0, which is a part of what is stored.
    fn pax_map(&mut self, stored: &mut u64) -> Result<Vec<Extent>, Problem> {
        let mut text = Vec::new();
        let mut lines = 0;
        loop {
            *stored = stored.checked_sub(BLOCK as u64).ok_or(Problem::Map("sparse map exceeds its file"))?;
            if text.len() as u64 >= EXTENSION_LIMIT {
                return Err(Problem::Map("sparse map of more than 1 MiB"));
            }
            let block = self.block()?.ok_or_else(|| self.cut("a sparse map"))?;
            text.extend_from_slice(&block);
            lines += block.split(|byte| *byte == b'\n').count() as u64 - 1;
            let first = text.first_chunk().unwrap_or(&block);
            if lines >= sparse::map_lines(first).map_err(Problem::Map)? {
                return sparse::parse_map(&text).map_err(Problem::Map);
            }
        }
    }
}

/// Why a body is none.
enum Problem {
    Bytes(Error),
    Map(&'static str),
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        Self::Bytes(error)
    }
}

fn archive(offset: u64, problem: impl Into<Cow<'static, str>>) -> Error {
    Error::Archive { offset, problem: problem.into() }
}

/// What GNU's and POSIX's way of telling a long text agree upon. Where they do not, Go and GNU tar prefer different ones.
fn one(gnu: Option<Vec<u8>>, pax: Option<Vec<u8>>) -> Result<Option<Vec<u8>>, &'static str> {
    match (gnu, pax) {
        (Some(gnu), Some(pax)) if gnu != pax => Err("two different names for one entry"),
        (gnu, pax) => Ok(pax.or(gnu)),
    }
}

fn device(header: &Header<'_>) -> Result<Device, &'static str> {
    let (major, minor) = header.device()?;
    Ok(Device { major, minor })
}
