//! The entries as files: one each, for this user alone, locked by whoever uses it. A newer form of an entry is a line
//! behind the older ones: to make a file for it, ten times in a second and more, cost a tenth of a copy's processor time.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::LIFETIME;

/// Behind the name of a file that is being written.
const NEW: &str = ".new";

/// Nobody's file is so long, in bytes.
const LONGEST: u64 = 1 << 20;

/// A file that would be longer than this, in bytes, is made anew, with the newest line alone.
const LONG: u64 = 64 << 10;

/// A folder of entries.
#[derive(Debug)]
pub(crate) struct Folder(PathBuf);

/// The right to a file: the system frees it when the process ends, however that ends.
pub(super) struct Lock {
    file: File,
    /// In bytes.
    length: u64,
}

impl Lock {
    /// Writes a line where the last one ended, in one piece; on a line of its own also if that one is torn.
    fn append(&mut self, line: &[u8]) -> io::Result<()> {
        let piece = [b"\n", line].concat();
        self.file.write_all(&piece)?;
        self.length += piece.len() as u64;
        Ok(())
    }
}

/// How a file is opened to write to it.
fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).mode(0o600);
    options
}

/// What is there under a name.
pub(super) enum Found {
    Nothing,
    /// Somebody else's.
    Busy,
    /// A file that is locked now, and its content.
    Entry(Lock, Vec<u8>),
}

impl Folder {
    /// Makes the folder, or makes sure that it is this user's; removes what is too old.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(path)?;
        let metadata = fs::metadata(path)?;
        let own = metadata.uid() == rustix::process::geteuid().as_raw();
        if !own || metadata.mode() & 0o022 != 0 {
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, "others may write to it"));
        }
        let folder = Self(path.to_owned());
        folder.clean(LIFETIME)?;
        Ok(folder)
    }

    /// Removes files that nobody uses and nobody has for so long.
    pub(super) fn clean(&self, lifetime: Duration) -> io::Result<()> {
        for file in fs::read_dir(&self.0)? {
            let file = file?;
            let name = file.file_name();
            let name = name.to_string_lossy();
            let key = name.trim_end_matches(NEW);
            let ours = key.len() == 64 && key.bytes().all(|byte| byte.is_ascii_hexdigit());
            let modified = file.metadata().and_then(|metadata| metadata.modified());
            let age = modified.ok().and_then(|modified| SystemTime::now().duration_since(modified).ok());
            if ours
                && age.is_some_and(|age| age >= lifetime)
                && let Found::Entry(lock, _) = self.find(&name)
            {
                self.remove(&name, lock);
            }
        }
        Ok(())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn new_path(&self, name: &str) -> PathBuf {
        self.path(&format!("{name}{NEW}"))
    }

    /// What a process left that was killed while it put a new file in the place of another.
    fn remove_new(&self, name: &str) {
        // Most often there is none.
        let _ = fs::remove_file(self.new_path(name));
    }

    /// Locks a file and reads it.
    pub(super) fn find(&self, name: &str) -> Found {
        let path = self.path(name);
        loop {
            let file = match options().read(true).open(&path) {
                Ok(file) => file,
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Found::Nothing,
                Err(_) => return Found::Busy,
            };
            // Without locks, as on some network file systems, nothing is anybody's.
            if file.try_lock().is_err() {
                return Found::Busy;
            }
            // Whoever had it may have put another in its place before we had the lock.
            let same = |one: &fs::Metadata, other: &fs::Metadata| {
                (one.dev(), one.ino()) == (other.dev(), other.ino())
            };
            match (file.metadata(), fs::metadata(&path)) {
                (Ok(locked), Ok(there)) if same(&locked, &there) => {
                    let mut bytes = Vec::new();
                    return match (&file).take(LONGEST).read_to_end(&mut bytes) {
                        Ok(_) => Found::Entry(Lock { file, length: bytes.len() as u64 }, bytes),
                        Err(_) => Found::Busy,
                    };
                }
                (Err(_), _) => return Found::Busy,
                _ => {}
            }
        }
    }

    /// Adds a line to a file. Not synchronised: what a power cut tears is dropped, as is what a full disk does.
    pub(super) fn write(&self, name: &str, lock: &mut Lock, line: &[u8]) -> io::Result<()> {
        if lock.length + (line.len() as u64) < LONG {
            return lock.append(line);
        }
        let replaced = self.replace(name, line);
        if replaced.is_err() {
            self.remove_new(name);
        }
        // The older one is held until the new one has its place.
        *lock = replaced?;
        Ok(())
    }

    /// Makes a file that is not there; `None` if it is.
    pub(super) fn create(&self, name: &str) -> io::Result<Option<Lock>> {
        let file = match options().create_new(true).open(self.path(name)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(None),
            Err(error) => return Err(error),
        };
        match file.try_lock() {
            Ok(()) => Ok(Some(Lock { file, length: 0 })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    /// Puts a file of one line in the place of a longer one, at once or not at all.
    fn replace(&self, name: &str, line: &[u8]) -> io::Result<Lock> {
        let path = self.new_path(name);
        let file = options().create(true).truncate(true).open(&path)?;
        // Only who holds the entry writes this file, so nobody can be in the way.
        file.lock()?;
        let mut new = Lock { file, length: 0 };
        new.append(line)?;
        fs::rename(path, self.path(name))?;
        Ok(new)
    }

    /// Removes a file.
    pub(super) fn remove(&self, name: &str, lock: Lock) {
        self.remove_new(name);
        if let Err(error) = fs::remove_file(self.path(name)) {
            tracing::debug!(target: "hoist::journal", "an entry stays: {error}");
        }
        drop(lock);
    }
}
