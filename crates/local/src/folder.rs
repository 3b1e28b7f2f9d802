//! A directory of a layout, and files in it. Nothing below the layout's own directory is reached through a link, so
//! nothing leads out of it; and nothing but regular files is opened, so nothing blocks.

use std::ffi::CStr;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rustix::fs::{AtFlags, Dir, FileType, FlockOperation, Mode, OFlags, Stat};
use rustix::io::Errno;

use crate::error::Error;

/// What every file may be before the process's mask and the directory's rules take away from it.
const MODE: Mode = Mode::from_raw_mode(0o666);

/// A directory that is held open.
#[derive(Debug)]
pub(crate) struct Folder {
    handle: OwnedFd,
    path: PathBuf,
}

impl Folder {
    /// The layout's own directory: the user names it, so it may be a link.
    pub(crate) fn open(path: &Path) -> Result<Self, Error> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        match rustix::fs::open(path, flags, Mode::empty()) {
            Ok(handle) => Ok(Self { handle, path: path.to_owned() }),
            Err(Errno::NOENT) => Err(Error::NoDirectory(path.to_owned())),
            Err(error) => Err(Error::io(path, error)),
        }
    }

    /// The same directory, held once more.
    pub(crate) fn again(&self) -> Result<Self, Error> {
        let handle = self.handle.try_clone().map_err(|error| Error::io(&self.path, error))?;
        Ok(Self { handle, path: self.path.clone() })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// A directory in this one, if it is there.
    pub(crate) fn folder(&self, name: &str) -> Result<Option<Self>, Error> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match rustix::fs::openat(&self.handle, name, flags, Mode::empty()) {
            Ok(handle) => Ok(Some(Self { handle, path: self.path.join(name) })),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(self.refusal(name, error)),
        }
    }

    /// A directory in this one; made if it is not there.
    pub(crate) fn make(&self, name: &str) -> Result<Self, Error> {
        loop {
            match rustix::fs::mkdirat(&self.handle, name, Mode::from_raw_mode(0o777)) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(error) => return Err(self.refusal(name, error)),
            }
            // Another process may have taken an empty one away in between.
            if let Some(folder) = self.folder(name)? {
                return Ok(folder);
            }
        }
    }

    /// A file to read, if it is there.
    pub(crate) fn read(&self, name: &str) -> Result<Option<File>, Error> {
        self.file(name, OFlags::RDONLY)
    }

    /// A file to write; made if it is not there. `None` if this directory itself is gone.
    pub(crate) fn write(&self, name: &str) -> Result<Option<File>, Error> {
        self.file(name, OFlags::RDWR | OFlags::CREATE)
    }

    /// A new file in the place of an old one. `None` if this directory itself is gone.
    pub(crate) fn replace(&self, name: &str) -> Result<Option<File>, Error> {
        self.file(name, OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC)
    }

    fn file(&self, name: &str, flags: OFlags) -> Result<Option<File>, Error> {
        // What is no regular file must not block while it is opened.
        let flags = flags | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = match rustix::fs::openat(&self.handle, name, flags, MODE) {
            Ok(handle) => File::from(handle),
            Err(Errno::NOENT) => return Ok(None),
            Err(error) => return Err(self.refusal(name, error)),
        };
        let is_file = file.metadata().map_err(|error| Error::io(self.path.join(name), error))?.is_file();
        if is_file { Ok(Some(file)) } else { Err(Error::NoFile(self.path.join(name))) }
    }

    /// Opens and locks a file that processes take turns with. While another holds it the answer is `None`, if it is not
    /// waited for. The lock is that of the file that has the name: it lasts until the file is closed.
    pub(crate) fn lock(&self, name: &str, create: bool, wait: bool) -> Result<Option<File>, Error> {
        let operation =
            if wait { FlockOperation::LockExclusive } else { FlockOperation::NonBlockingLockExclusive };
        loop {
            let opened = if create { self.write(name) } else { self.file(name, OFlags::RDWR) };
            let file = match opened {
                // Whoever may write in the directory may not be allowed to write this file.
                Err(Error::Io { source, .. })
                    if source.kind() == io::ErrorKind::PermissionDenied && !create =>
                {
                    self.read(name)?
                }
                opened => opened?,
            };
            let Some(file) = file else { return Err(Error::io(self.path.join(name), Errno::NOENT)) };
            match rustix::fs::flock(&file, operation) {
                Ok(()) => {}
                Err(Errno::WOULDBLOCK) => return Ok(None),
                Err(Errno::INTR) => continue,
                Err(error) => return Err(Error::io(self.path.join(name), error)),
            }
            if self.is_named(&file, name)? {
                return Ok(Some(file));
            }
        }
    }

    /// Holds the directory itself, together with others who do, as long as this value lives; waits for whoever has claimed it.
    /// Where the file system has no locks nobody can claim it either.
    pub(crate) fn share(&self) -> Result<(), Error> {
        loop {
            match rustix::fs::flock(&self.handle, FlockOperation::LockShared) {
                Ok(()) | Err(Errno::NOLCK | Errno::OPNOTSUPP) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(error) => return Err(Error::io(&self.path, error)),
            }
        }
    }

    /// Holds the directory itself alone, unless somebody holds it already.
    pub(crate) fn claim(&self) -> Result<bool, Error> {
        match rustix::fs::flock(&self.handle, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(true),
            Err(Errno::WOULDBLOCK) => Ok(false),
            Err(error) => Err(Error::io(&self.path, error)),
        }
    }

    /// Whether a file still has its name.
    fn is_named(&self, file: &File, name: &str) -> Result<bool, Error> {
        let own = rustix::fs::fstat(file).map_err(|error| Error::io(self.path.join(name), error))?;
        let named = self.stat(name)?;
        Ok(named.is_some_and(|named| (named.st_dev, named.st_ino) == (own.st_dev, own.st_ino)))
    }

    /// The length of a regular file in bytes, if it is there.
    pub(crate) fn length(&self, name: &str) -> Result<Option<u64>, Error> {
        let Some(stat) = self.stat(name)? else { return Ok(None) };
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => Ok(Some(u64::try_from(stat.st_size).unwrap_or_default())),
            FileType::Symlink => Err(Error::Link(self.path.join(name))),
            _ => Err(Error::NoFile(self.path.join(name))),
        }
    }

    /// How many bytes of the disk a file has, if it is there.
    pub(crate) fn occupied(&self, name: &str) -> Result<Option<u64>, Error> {
        Ok(self.stat(name)?.map(|stat| u64::try_from(stat.st_blocks).unwrap_or_default() * 512))
    }

    /// When a file was last written, if it is there.
    pub(crate) fn changed(&self, name: &str) -> Result<Option<SystemTime>, Error> {
        let changed = self.stat(name)?.map(|stat| {
            let seconds = u64::try_from(stat.st_mtime).unwrap_or_default();
            let nanoseconds = u32::try_from(stat.st_mtime_nsec).unwrap_or_default();
            SystemTime::UNIX_EPOCH + std::time::Duration::new(seconds, nanoseconds)
        });
        Ok(changed)
    }

    fn stat(&self, name: &str) -> Result<Option<Stat>, Error> {
        match rustix::fs::statat(&self.handle, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(stat)),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(Error::io(self.path.join(name), error)),
        }
    }

    /// Gives a file another name, in the place of whatever has it.
    pub(crate) fn rename(&self, from: &str, folder: &Self, to: &str) -> Result<(), Error> {
        rustix::fs::renameat(&self.handle, from, &folder.handle, to)
            .map_err(|error| Error::io(folder.path.join(to), error))
    }

    /// Gives a file another name unless that is taken already; the old name goes in any case.
    pub(crate) fn settle(&self, from: &str, to: &str) -> Result<(), Error> {
        match rustix::fs::linkat(&self.handle, from, &self.handle, to, AtFlags::empty()) {
            Ok(()) | Err(Errno::EXIST) => self.remove(from).map(|_| ()),
            // Some file systems have no hard links.
            Err(_) => self.rename(from, self, to),
        }
    }

    /// Removes a file; whether it was there.
    pub(crate) fn remove(&self, name: &str) -> Result<bool, Error> {
        match rustix::fs::unlinkat(&self.handle, name, AtFlags::empty()) {
            Ok(()) => Ok(true),
            Err(Errno::NOENT) => Ok(false),
            Err(error) => Err(Error::io(self.path.join(name), error)),
        }
    }

    /// Removes a directory in this one if it is empty.
    pub(crate) fn tidy(&self, name: &str) {
        // What is in use stays; that is no error.
        let _ = rustix::fs::unlinkat(&self.handle, name, AtFlags::REMOVEDIR);
    }

    /// What lies in the directory.
    pub(crate) fn names(&self) -> Result<Vec<String>, Error> {
        let failed = |error: Errno| Error::io(&self.path, error);
        let is_name = |name: &CStr| ![c".", c".."].contains(&name);
        let mut names = Vec::new();
        for entry in Dir::read_from(&self.handle).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            if is_name(entry.file_name()) {
                names.push(entry.file_name().to_string_lossy().into_owned());
            }
        }
        Ok(names)
    }

    /// Flushes the names in this directory to the disk.
    pub(crate) fn sync(&self) -> Result<(), Error> {
        match rustix::fs::fsync(&self.handle) {
            // Some file systems have no such thing.
            Ok(()) | Err(Errno::INVAL) => Ok(()),
            Err(error) => Err(Error::io(&self.path, error)),
        }
    }

    /// Why something could not be opened: links are told as such.
    fn refusal(&self, name: &str, error: Errno) -> Error {
        let path = self.path.join(name);
        let is_link = || {
            let stat = self.stat(name).ok().flatten();
            stat.is_some_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Symlink)
        };
        match error {
            Errno::LOOP | Errno::NOTDIR if is_link() => Error::Link(path),
            // What a pipe without a reader, and a directory, answer.
            Errno::NXIO | Errno::ISDIR => Error::NoFile(path),
            error => Error::io(path, error),
        }
    }
}
