//! Changing a file of credentials: everything else in it stays as it is written, and at every moment the file is whole.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, chown};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use zeroize::Zeroizing;

use crate::config_file::{read, unparsable};
use crate::document::{Document, NewEntry};
use crate::{DockerConfig, Error};

/// How often the lock is tried.
const LOCK_PAUSE: Duration = Duration::from_millis(10);

/// How many symbolic links in a row are followed; as many as by the kernel.
const MOST_LINKS: usize = 40;

/// What is to become of the entries under `auths`.
#[derive(Clone, Copy)]
pub(crate) enum Change<'a> {
    /// The entry of a key becomes this one, in its place, or behind the others.
    Set(&'a str, NewEntry<'a>),
    /// These keys go.
    Remove(&'a [String]),
}

/// Changes a file, or makes it, with its folder (mode 0700). Whoever else uses this function waits for at most `limit`.
///
/// The new content is written beside the file (mode 0600), brought to the disk, and renamed to it. Where the file is a
/// symbolic link, the link stays and its target is replaced.
pub(crate) async fn update(path: &Path, change: Change<'_>, limit: Duration) -> Result<(), Error> {
    let failed = |cause| Error::Write { path: path.to_owned(), cause: Arc::new(cause) };
    let target = target(path).map_err(failed)?;
    let folder = target.parent().ok_or_else(|| failed(ErrorKind::InvalidInput.into()))?;
    DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed)?;
    let _lock = Lock::take(&target, limit).await.map_err(|error| match error.kind() {
        ErrorKind::TimedOut => Error::Locked { path: path.to_owned(), lock: Lock::path(&target), limit },
        _ => failed(error),
    })?;
    let old = match read(&target) {
        Ok(old) => old,
        Err(error) if error.kind() == ErrorKind::NotFound => Zeroizing::default(),
        Err(cause) => return Err(Error::Read { path: path.to_owned(), cause: Arc::new(cause) }),
    };
    let Some(new) = changed(path, &old, change)? else { return Ok(()) };
    replace(&target, folder, &new).map_err(failed)
}

/// What the content of a file becomes; `None` if it is so already. `path` is for messages.
pub(crate) fn changed(
    path: &Path,
    old: &[u8],
    change: Change<'_>,
) -> Result<Option<Zeroizing<Vec<u8>>>, Error> {
    let failed =
        |error: serde_json::Error| Error::Write { path: path.to_owned(), cause: Arc::new(error.into()) };
    // What cannot be understood is not touched.
    DockerConfig::parse(path, old)?;
    let mut document = Document::parse(old).map_err(|error| unparsable(path, &error))?;
    let changed = match change {
        Change::Set(key, entry) => document.set(key, entry).map_err(failed)?,
        Change::Remove(keys) => document.remove(keys),
    };
    if !changed {
        return Ok(None);
    }
    let mut new = document.write().map_err(failed)?;
    if old.ends_with(b"\n") {
        new.push(b'\n');
    }
    Ok(Some(new))
}

/// What a chain of symbolic links leads to, whether it is there or not.
fn target(path: &Path) -> io::Result<PathBuf> {
    let mut target = path.to_owned();
    for _ in 0..MOST_LINKS {
        let Ok(link) = fs::read_link(&target) else { return Ok(target) };
        target = target.parent().unwrap_or(Path::new("")).join(link);
    }
    Err(io::Error::other("too many symbolic links"))
}

fn replace(target: &Path, folder: &Path, content: &[u8]) -> io::Result<()> {
    // Only its owner may read a temporary file, and it goes when it is not renamed.
    let mut draft = tempfile::Builder::new().prefix(".config.json.").tempfile_in(folder)?;
    draft.write_all(content)?;
    if let Ok(old) = fs::metadata(target) {
        let new = draft.as_file().metadata()?;
        if (old.uid(), old.gid()) != (new.uid(), new.gid()) {
            // Root that works for a user leaves the file to the user. Others are not asked to.
            let _ = chown(draft.path(), Some(old.uid()), Some(old.gid()));
        }
    }
    draft.as_file().sync_all()?;
    draft.persist(target).map_err(|error| error.error)?;
    // The rename reaches the disk with the folder. It has happened, so that this is for a power cut only.
    let _ = File::open(folder).and_then(|folder| folder.sync_all());
    Ok(())
}

/// The right to write a file: a lock on a file beside it, which is there as long as somebody writes. The kernel gives the
/// lock back when a program ends, however it ends.
struct Lock {
    path: PathBuf,
    _file: File,
}

impl Lock {
    fn path(target: &Path) -> PathBuf {
        let mut path = target.as_os_str().to_owned();
        path.push(".lock");
        path.into()
    }

    async fn take(target: &Path, limit: Duration) -> io::Result<Self> {
        let path = Self::path(target);
        let deadline = Instant::now() + limit;
        loop {
            let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path)?;
            match file.try_lock() {
                Ok(()) => {
                    // Who had it before has removed the file; a lock on what is no longer there keeps nobody out.
                    let (ours, there) = (file.metadata()?, fs::metadata(&path));
                    if there.is_ok_and(|there| (there.dev(), there.ino()) == (ours.dev(), ours.ino())) {
                        return Ok(Self { path, _file: file });
                    }
                }
                Err(TryLockError::WouldBlock) => {
                    if Instant::now() >= deadline {
                        return Err(ErrorKind::TimedOut.into());
                    }
                    tokio::time::sleep(LOCK_PAUSE).await;
                }
                Err(TryLockError::Error(error)) => return Err(error),
            }
        }
    }
}

impl Drop for Lock {
    /// Removes the file while the lock is held.
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_holds_the_lock_for_too_long_is_named() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("config.json");
        let held = Lock::take(&path, Duration::ZERO).await.unwrap();
        let key = ["h".to_owned()];
        let error = update(&path, Change::Remove(&key), Duration::from_millis(30)).await.unwrap_err();
        let text = error.to_string();
        assert!(text.ends_with("config.json.lock for 30ms"), "{text}");
        drop(held);
        update(&path, Change::Remove(&key), Duration::ZERO).await.unwrap();
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0, "neither lock nor file");
    }

    #[tokio::test]
    async fn a_lock_that_was_left_behind_holds_nobody() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("config.json");
        fs::write(Lock::path(&path), "").unwrap();
        drop(Lock::take(&path, Duration::ZERO).await.unwrap());
        assert!(!Lock::path(&path).exists());
    }
}
