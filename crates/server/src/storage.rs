//! A registry on disk. The crate's documentation describes the format.
//!
//! Everything here is synchronous and may wait for the disk; the API calls it on blocking threads.

use std::fs::{self, File, TryLockError};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use oci::Digest;

use crate::error::{Doing, Error};
use crate::name::RepositoryName;

mod blobs;
mod catalog;
mod directory;
mod layout;
mod manifests;
mod referrers;
mod tags;
mod uploads;

pub(crate) use manifests::NewManifest;
pub(crate) use referrers::Referrer;
pub(crate) use uploads::Writer;

use directory::sync;
use layout::Layout;
use uploads::Sessions;

/// The first and only format.
const FORMAT: &str = "hoist-registry 1\n";

/// A registry's directory, held by this process alone. Clones share it; the last one gives it up.
#[derive(Clone, Debug)]
pub struct Storage(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    layout: Layout,
    sessions: Sessions,
    /// Held for writing while directories that several writers share are made: who sees one, sees a durable one.
    directories: RwLock<()>,
    /// By a hash of the repository's name: what a manifest refers to does not go away while it is being stored.
    repositories: [Mutex<()>; STRIPES],
    /// By a byte of the digest: a blob's directory changes as a whole.
    blobs: [Mutex<()>; STRIPES],
    lock: File,
}

/// How many locks stand for all repositories, and for all blobs.
const STRIPES: usize = 64;

impl Storage {
    /// Opens the registry in `path`, or begins one there; missing directories are made. Blocks.
    ///
    /// # Errors
    /// [`Error::Locked`] while another process has it open, [`Error::Format`] if it is not of this crate's making,
    /// [`Error::Io`] if the directory cannot be used.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        let root = std::path::absolute(path).doing(|| format!("open {}", path.display()))?;
        directory::create(&root)?;
        let (lock, clean) = acquire(&root)?;
        let layout = Layout::new(root);
        check_format(&layout)?;
        if !clean {
            // The last holder was killed: what it renamed may not have reached the disk, yet is about to be relied on.
            rustix::fs::syncfs(&lock)
                .map_err(io::Error::from)
                .doing(|| format!("synchronise {}", layout.root().display()))?;
        }
        remove_temporaries(&layout)?;
        for directory in layout.permanent() {
            fs::create_dir_all(&directory).doing(|| format!("create {}", directory.display()))?;
        }
        sync(layout.root())?;
        Ok(Self(Arc::new(Inner {
            layout,
            sessions: Sessions::default(),
            directories: RwLock::default(),
            repositories: [const { Mutex::new(()) }; STRIPES],
            blobs: [const { Mutex::new(()) }; STRIPES],
            lock,
        })))
    }

    /// The directory, absolute.
    pub fn path(&self) -> &Path {
        self.layout().root()
    }

    /// Runs something that may wait for the disk on a thread that may wait.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Self) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let storage = self.clone();
        tokio::task::spawn_blocking(move || work(&storage))
            .await
            .unwrap_or_else(|ended| Err(io::Error::other(ended)).doing(|| "finish what was begun".to_owned()))
    }

    fn layout(&self) -> &Layout {
        &self.0.layout
    }

    fn lock_repository(&self, name: &RepositoryName) -> MutexGuard<'_, ()> {
        let stripe =
            name.as_str().bytes().fold(0_usize, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
        lock(&self.0.repositories[stripe % STRIPES])
    }

    fn lock_blob(&self, digest: Digest) -> MutexGuard<'_, ()> {
        let first = match digest {
            Digest::Sha256([first, ..]) | Digest::Sha512([first, ..]) => first,
        };
        lock(&self.0.blobs[usize::from(first) % STRIPES])
    }

    /// Makes a directory and its parents, durably.
    fn ensure_directory(&self, path: &Path) -> Result<(), Error> {
        {
            let _making = self.0.directories.read().unwrap_or_else(PoisonError::into_inner);
            if path.is_dir() {
                return Ok(());
            }
        }
        let _making = self.0.directories.write().unwrap_or_else(PoisonError::into_inner);
        directory::create(path)
    }

    /// Puts a small file in place, whole and durably: a reader sees the old content or the new one, and a crash leaves
    /// one of them.
    fn write(&self, path: &Path, parts: &[&[u8]]) -> Result<(), Error> {
        let temporary = self.layout().temporary();
        let written = self.write_through(&temporary, path, parts);
        if written.is_err() {
            // What remains is removed when the storage is opened again, at the latest.
            let _ = fs::remove_file(&temporary);
        }
        written
    }

    fn write_through(&self, temporary: &Path, path: &Path, parts: &[&[u8]]) -> Result<(), Error> {
        let Some(parent) = path.parent() else { return Ok(()) };
        self.ensure_directory(parent)?;
        let doing = || format!("write {}", path.display());
        let mut file = File::create_new(temporary).doing(doing)?;
        for part in parts {
            file.write_all(part).doing(doing)?;
        }
        file.sync_all().doing(doing)?;
        fs::rename(temporary, path).doing(doing)?;
        sync(parent)
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // Everything that was acknowledged is on the disk; an empty lock file says so.
        let _ = self.lock.set_len(0);
    }
}

/// The locks guard no data of their own, so a panic while one was held leaves nothing half-done in memory.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Takes the lock; tells whether the last holder gave it up in order.
fn acquire(root: &Path) -> Result<(File, bool), Error> {
    let path = root.join("lock");
    let doing = || format!("lock {}", path.display());
    let mut file =
        File::options().create(true).truncate(false).read(true).write(true).open(&path).doing(doing)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let holder = fs::read_to_string(&path).ok().and_then(|text| text.trim().parse().ok());
            return Err(Error::Locked { path: root.to_owned(), holder });
        }
        Err(TryLockError::Error(source)) => return Err(Error::Io { doing: doing(), source }),
    }
    let clean = file.metadata().doing(doing)?.len() == 0;
    file.set_len(0).doing(doing)?;
    writeln!(file, "{}", std::process::id()).doing(doing)?;
    Ok((file, clean))
}

fn check_format(layout: &Layout) -> Result<(), Error> {
    let path = layout.format();
    match fs::read_to_string(&path) {
        Ok(found) if found == FORMAT => Ok(()),
        Ok(found) => Err(Error::Format {
            path: layout.root().to_owned(),
            found: found.trim().chars().take(80).collect(),
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let doing = || format!("write {}", path.display());
            let new = path.with_extension("new");
            let mut file = File::create(&new).doing(doing)?;
            file.write_all(FORMAT.as_bytes()).doing(doing)?;
            file.sync_all().doing(doing)?;
            fs::rename(&new, &path).doing(doing)
        }
        Err(source) => Err(Error::Io { doing: format!("read {}", path.display()), source }),
    }
}

/// Files that were being written when the last holder ended.
fn remove_temporaries(layout: &Layout) -> Result<(), Error> {
    let path: PathBuf = layout.temporaries();
    match fs::remove_dir_all(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
    .doing(|| format!("empty {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_holder_at_a_time() {
        let directory = tempfile::tempdir().unwrap();
        let first = Storage::open(directory.path()).unwrap();
        let refused = Storage::open(directory.path()).unwrap_err();
        assert!(
            matches!(refused, Error::Locked { holder: Some(pid), .. } if pid == std::process::id()),
            "{refused}"
        );
        assert!(refused.to_string().contains("in use by another server"), "{refused}");
        let clone = first.clone();
        drop(first);
        assert!(Storage::open(directory.path()).is_err());
        drop(clone);
        Storage::open(directory.path()).unwrap();
    }

    #[test]
    fn unknown_formats_are_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("format"), "hoist-registry 2\n").unwrap();
        assert!(
            matches!(Storage::open(directory.path()), Err(Error::Format { found, .. }) if found == "hoist-registry 2")
        );
        assert!(!directory.path().join("blobs").exists());
    }

    #[test]
    fn what_a_killed_server_left_is_cleared() {
        let directory = tempfile::tempdir().unwrap();
        drop(Storage::open(directory.path()).unwrap());
        fs::write(directory.path().join("tmp/left"), "half").unwrap();
        fs::write(directory.path().join("lock"), "1\n").unwrap();
        let storage = Storage::open(directory.path()).unwrap();
        assert_eq!(fs::read_dir(storage.path().join("tmp")).unwrap().count(), 0);
    }
}
