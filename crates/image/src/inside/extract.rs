//! Files and directories of an image, written to this machine.

use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File, FileTimes, Permissions};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use layer::{Body, Kind, Metadata, Node, Table, Time, Toc};
use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, UTIME_OMIT};

use super::{Inside, Spot, Wanted, expand};
use crate::Error;

/// What an extraction has made, and what it has not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extracted {
    /// Regular files, hard links among them.
    pub files: usize,
    /// Their bytes.
    pub bytes: u64,
    /// Directories.
    pub directories: usize,
    /// Symbolic links.
    pub links: usize,
    /// Devices and pipes, which are left out.
    pub left_out: usize,
}

/// Files of a layer whose contents are to come. There may be millions, so they are where their table is.
struct Pending {
    toc: Arc<Toc>,
    files: Vec<Listed>,
}

/// A file of a layer's table.
struct Listed {
    entry: u32,
    /// Its path, if it is not the entry's own.
    #[expect(clippy::box_collection, reason = "a slice's length would be a second word")]
    path: Option<Box<Vec<u8>>>,
}

/// What a file or directory gets at the end.
#[derive(Clone, Copy)]
struct Finish {
    mode: u32,
    mtime: Time,
}

impl Inside {
    /// Writes what is at `path` (clean, without symbolic links) of the merged file system of these tables, bottom first, and all below
    /// it, to `to`, which must not be there yet. Modes but for set-user-ID, set-group-ID and sticky bits, and times, are kept; owners
    /// are not; devices and pipes are left out. Nothing is written through a link: directories are those that this makes.
    ///
    /// `to` is whole when this returns; after an error it is for the caller to remove.
    ///
    /// # Errors
    /// [`Error::Merge`], [`Error::Extract`], and those of [`read`](Self::read).
    pub async fn extract(&self, tocs: &[Arc<Toc>], path: &[u8], to: &Path) -> Result<Extracted, Error> {
        let tables: Vec<&Table> = tocs.iter().map(|toc| &toc.table).collect();
        let merged = layer::merge(&tables).map_err(Error::Merge)?;
        let mut extracted = Extracted::default();
        let mut pending: Vec<Pending> =
            tocs.iter().map(|toc| Pending { toc: Arc::clone(toc), files: Vec::new() }).collect();
        // The first of several names, and the others, which follow when it has its content.
        let mut firsts: HashMap<usize, PathBuf> = HashMap::new();
        let mut hard: Vec<(PathBuf, PathBuf)> = Vec::new();
        let nodes = merged.below(path);
        let linked: HashSet<usize> = nodes.iter().filter_map(Node::link).collect();
        let offset = nodes.first().map_or(0, |first| merged.at(first.path()).unwrap_or(0));
        if nodes.first().is_none_or(|first| *first.path() != *path) {
            make_unnamed(to)?;
        }
        for (index, node) in nodes.iter().enumerate() {
            let own = destination(to, relative(path, node.path()));
            // A directory that no layer names has its children made for it.
            if let Some(parent) = own.parent().filter(|_| own != to) {
                make_parents(parent, to)?;
            }
            let place = node.link().unwrap_or(index + offset);
            match &node.entry.kind {
                Kind::Directory => {
                    make_directory(&own)?;
                    extracted.directories += 1;
                }
                Kind::Symlink(target) => {
                    let made = make_link(target, &own, node.entry.metadata.mtime);
                    made.map_err(|error| failed(&own, error))?;
                    extracted.links += 1;
                }
                Kind::File(body) => {
                    extracted.files += 1;
                    if let Some(first) = firsts.get(&place) {
                        hard.push((first.clone(), own));
                        continue;
                    }
                    if linked.contains(&place) {
                        firsts.insert(place, own);
                    }
                    extracted.bytes += body.size;
                    pending[node.layer()].add(node);
                }
                _ => extracted.left_out += 1,
            }
        }
        for (layer, files) in pending.into_iter().enumerate() {
            self.write(layer, files, path, to).await?;
        }
        for (first, other) in hard {
            fs::hard_link(&first, &other).map_err(|error| failed(&other, error))?;
        }
        // From the deepest on: a directory's time is that of its last change.
        for node in nodes.iter().rev().filter(|node| node.entry.kind == Kind::Directory) {
            let own = &destination(to, relative(path, node.path()));
            let directory = File::open(own).map_err(|error| failed(own, error))?;
            Finish::of(&node.entry.metadata).finish(&directory).map_err(|error| failed(own, error))?;
        }
        Ok(extracted)
    }

    /// The same for one file, of whose layer alone the table is needed.
    ///
    /// # Errors
    /// [`Error::NotAFile`], [`Error::Extract`], and those of [`read`](Self::read).
    pub async fn extract_file(&self, spot: &Spot, to: &Path) -> Result<Extracted, Error> {
        let (Kind::File(body), Some(layer)) = (&spot.entry.kind, spot.layer) else {
            return Err(Error::NotAFile(String::from_utf8_lossy(&spot.path).into_owned()));
        };
        let (to, own, end) = (to.to_owned(), body.clone(), Finish::of(&spot.entry.metadata));
        self.read(layer, Arc::new(body.clone()), move |_, stored| write(&to, &own, stored, end)).await?;
        Ok(Extracted { files: 1, bytes: body.size, ..Extracted::default() })
    }

    /// The contents of files of a layer, below `top` in the image and `to` here.
    async fn write(&self, layer: usize, mut pending: Pending, top: &[u8], to: &Path) -> Result<(), Error> {
        if pending.files.is_empty() {
            return Ok(());
        }
        let Pending { toc, files } = &mut pending;
        files.sort_unstable_by_key(|file| file.body(toc).offset);
        let pending = Arc::new(pending);
        let (bodies, top, to) = (Arc::clone(&pending), top.to_owned(), to.to_owned());
        self.read(layer, bodies, move |index, stored| {
            let (path, body, end) = pending.file(index);
            write(&destination(&to, relative(&top, path)), body, stored, end)
        })
        .await
    }
}

/// Writes one file.
fn write(path: &Path, body: &Body, stored: &mut dyn Read, end: Finish) -> Result<(), Error> {
    // It may be there from an attempt that went wrong.
    let _ = fs::remove_file(path);
    let file = File::options().write(true).create_new(true).mode(0o600).open(path);
    let mut file = file.map_err(|error| failed(path, error))?;
    expand(body, stored, &mut file).map_err(|error| failed(path, error))?;
    end.finish(&file).map_err(|error| failed(path, error))
}

impl Pending {
    /// Notes a file of what this table and others were merged to.
    fn add(&mut self, node: &Node<'_>) {
        let path = (*node.path() != *node.entry.path).then(|| Box::new(node.path().to_vec()));
        // The entry is one of the table's.
        self.files.extend(self.toc.table.position(node.entry).map(|entry| Listed { entry, path }));
    }

    /// Path in the image, content, and what it gets when it is there.
    fn file(&self, index: usize) -> (&[u8], &Body, Finish) {
        let file = &self.files[index];
        let entry = &self.toc.table.entries[file.entry as usize];
        let path = file.path.as_ref().map_or(&*entry.path, |path| path);
        (path, file.body(&self.toc), Finish::of(&entry.metadata))
    }
}

impl Wanted for Pending {
    fn count(&self) -> usize {
        self.files.len()
    }

    fn get(&self, index: usize) -> &Body {
        self.files[index].body(&self.toc)
    }
}

impl Listed {
    fn body<'a>(&self, toc: &'a Toc) -> &'a Body {
        toc.table.body(self.entry).unwrap_or_else(|| unreachable!("only files are noted"))
    }
}

/// A path as it is below `top`.
fn relative<'p>(top: &[u8], path: &'p [u8]) -> &'p [u8] {
    let rest = path.get(top.len()..).unwrap_or_default();
    rest.strip_prefix(b"/").unwrap_or(rest)
}

/// Where such a path goes.
fn destination(to: &Path, rest: &[u8]) -> PathBuf {
    if rest.is_empty() { to.to_owned() } else { to.join(OsStr::from_bytes(rest)) }
}

fn make_directory(path: &Path) -> Result<(), Error> {
    DirBuilder::new().mode(0o700).create(path).map_err(|error| failed(path, error))
}

/// Directories without entries, between `to` and a path.
fn make_parents(path: &Path, to: &Path) -> Result<(), Error> {
    if path == to || path.symlink_metadata().is_ok() {
        return Ok(());
    }
    if let Some(parent) = path.parent() {
        make_parents(parent, to)?;
    }
    make_unnamed(path)
}

/// A directory that no layer names.
fn make_unnamed(path: &Path) -> Result<(), Error> {
    make_directory(path)?;
    fs::set_permissions(path, Permissions::from_mode(0o755)).map_err(|error| failed(path, error))
}

/// A symbolic link, with its time.
fn make_link(target: &[u8], path: &Path, time: Time) -> io::Result<()> {
    symlink(OsStr::from_bytes(target), path)?;
    let seconds = Timespec { tv_sec: time.seconds(), tv_nsec: time.nanoseconds().into() };
    let omit = Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT };
    let times = Timestamps { last_access: omit, last_modification: seconds };
    // Not every file system keeps it.
    let _ = rustix::fs::utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW);
    Ok(())
}

impl Finish {
    fn of(metadata: &Metadata) -> Self {
        Self { mode: metadata.mode, mtime: metadata.mtime }
    }

    /// Mode and time.
    fn finish(self, file: &File) -> io::Result<()> {
        file.set_times(FileTimes::new().set_modified(system_time(self.mtime)))?;
        file.set_permissions(Permissions::from_mode(self.mode & 0o777))
    }
}

fn system_time(time: Time) -> SystemTime {
    let nanoseconds = Duration::from_nanos(time.nanoseconds().into());
    let whole = Duration::from_secs(time.seconds().unsigned_abs());
    let whole = if time.seconds() < 0 {
        SystemTime::UNIX_EPOCH.checked_sub(whole)
    } else {
        SystemTime::UNIX_EPOCH.checked_add(whole)
    };
    // What no clock has is as old as can be.
    whole.and_then(|whole| whole.checked_add(nanoseconds)).unwrap_or(SystemTime::UNIX_EPOCH)
}

fn failed(path: &Path, source: io::Error) -> Error {
    Error::Extract { path: path.to_owned(), source }
}
