//! A directory that nobody else can read or write, and small files in it that are whole at every moment.

use std::fs::{DirBuilder, File, TryLockError};
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, Stat};
use rustix::process::geteuid;

/// How long others may be writing. What would have been remembered is not worth more.
const PATIENCE: Duration = Duration::from_millis(500);

/// How often the lock is tried.
const PAUSE: Duration = Duration::from_millis(5);

/// The file that is locked while another is replaced.
const LOCK: &str = "lock";

/// What is being written, or was by a program that was killed.
pub(super) const DRAFT: &str = "draft";

/// No file is larger, in bytes.
const LARGEST: u64 = 2 << 20;

/// What only its owner may read or write.
const PRIVATE: Mode = Mode::RUSR.union(Mode::WUSR);

pub(super) struct Directory(OwnedFd);

impl Directory {
    /// Opens it, if it is a directory (no link to one) of ours that is closed to everybody else.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let folder = rustix::fs::openat(CWD, path, flags, Mode::empty())?;
        check_owner(&rustix::fs::fstat(&folder)?)?;
        Ok(Self(folder))
    }

    /// The same, made if it is not there.
    pub(super) fn create(path: &Path) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(path)?;
        Self::open(path)
    }

    /// The content of a file; `None` if it is not there.
    pub(super) fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        let mut file = match self.open_file(name, OFlags::RDONLY) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            outcome => outcome?,
        };
        if file.metadata()?.len() > LARGEST {
            return Err(io::Error::other(format!("{name} is too large")));
        }
        let mut content = Vec::new();
        file.read_to_end(&mut content)?;
        Ok(Some(content))
    }

    fn open_file(&self, name: &str, how: OFlags) -> io::Result<File> {
        // A pipe of that name must not hold us up.
        let flags = how | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let file = rustix::fs::openat(&self.0, name, flags, PRIVATE)?;
        let stat = rustix::fs::fstat(&file)?;
        check_owner(&stat)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(io::Error::other(format!("{name} is no file")));
        }
        Ok(file.into())
    }

    /// The right to write, for one at a time. The kernel takes it back when a program ends, however it ends.
    pub(super) fn lock(&self) -> io::Result<Locked<'_>> {
        let file = self.open_file(LOCK, OFlags::RDWR | OFlags::CREATE)?;
        let deadline = Instant::now() + PATIENCE;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Locked { directory: self, _file: file }),
                Err(TryLockError::WouldBlock) if Instant::now() < deadline => std::thread::sleep(PAUSE),
                Err(TryLockError::WouldBlock) => return Err(ErrorKind::TimedOut.into()),
                Err(TryLockError::Error(error)) => return Err(error),
            }
        }
    }
}

/// A directory that nobody else writes to now.
pub(super) struct Locked<'a> {
    directory: &'a Directory,
    _file: File,
}

impl Locked<'_> {
    pub(super) fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        self.directory.read(name)
    }

    /// Gives a file new content, all at once. It need not outlive a power cut.
    pub(super) fn replace(&self, name: &str, content: &[u8]) -> io::Result<()> {
        self.remove(DRAFT)?;
        let mut draft = self.directory.open_file(DRAFT, OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL)?;
        draft.write_all(content)?;
        let folder = &self.directory.0;
        Ok(rustix::fs::renameat(folder, DRAFT, folder, name)?)
    }

    /// Takes a file away, if it is there.
    pub(super) fn remove(&self, name: &str) -> io::Result<()> {
        match rustix::fs::unlinkat(&self.directory.0, name, AtFlags::empty()) {
            Err(rustix::io::Errno::NOENT) => Ok(()),
            outcome => Ok(outcome?),
        }
    }

    /// Takes the oldest files with this ending away, so that at most `most` stay.
    pub(super) fn prune(&self, ending: &str, most: usize) -> io::Result<()> {
        let mut found = Vec::new();
        for entry in Dir::read_from(&self.directory.0)? {
            let name = entry?.file_name().to_owned();
            if !name.to_bytes().ends_with(ending.as_bytes()) {
                continue;
            }
            let stat = rustix::fs::statat(&self.directory.0, &name, AtFlags::SYMLINK_NOFOLLOW)?;
            found.push(((stat.st_mtime, stat.st_mtime_nsec), name));
        }
        found.sort_unstable();
        for (_, name) in found.iter().take(found.len().saturating_sub(most)) {
            rustix::fs::unlinkat(&self.directory.0, name, AtFlags::empty())?;
        }
        Ok(())
    }
}

/// What others own, or may look into, is not for secrets, and not to be believed.
fn check_owner(stat: &Stat) -> io::Result<()> {
    if stat.st_uid != geteuid().as_raw() {
        return Err(io::Error::other(format!("it belongs to user {}", stat.st_uid)));
    }
    if stat.st_mode & 0o077 != 0 {
        return Err(io::Error::other(format!("others may use it (mode {:o})", stat.st_mode & 0o7777)));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn mode(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn files_are_whole_and_ours_alone() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("a/b");
        let directory = Directory::create(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
        assert_eq!(directory.read("x").unwrap(), None);
        let locked = directory.lock().unwrap();
        locked.replace("x", b"one").unwrap();
        // What a program left that was killed while it wrote.
        fs::write(path.join("draft"), "torn").unwrap();
        locked.replace("x", b"two").unwrap();
        assert_eq!(locked.read("x").unwrap().unwrap(), b"two");
        assert_eq!(fs::metadata(path.join("x")).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(!path.join("draft").exists());
        assert_eq!(directory.lock().err().unwrap().kind(), ErrorKind::TimedOut);
        locked.remove("x").unwrap();
        locked.remove("x").unwrap();
        drop(locked);
        directory.lock().unwrap();
    }

    #[test]
    fn what_others_may_touch_is_refused() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("d");
        let directory = Directory::create(&path).unwrap();
        symlink(&path, root.path().join("link")).unwrap();
        assert!(Directory::open(&root.path().join("link")).is_err());
        for bad in [0o755, 0o770, 0o701] {
            mode(&path, bad);
            assert!(Directory::open(&path).is_err(), "{bad:o}");
        }
        mode(&path, 0o700);
        fs::write(path.join("open"), "").unwrap();
        mode(&path.join("open"), 0o640);
        fs::write(path.join("target"), "").unwrap();
        mode(&path.join("target"), 0o600);
        symlink("target", path.join("link")).unwrap();
        fs::write(path.join("huge"), vec![0; (LARGEST + 1).try_into().unwrap()]).unwrap();
        mode(&path.join("huge"), 0o600);
        DirBuilder::new().mode(0o700).create(path.join("folder")).unwrap();
        for bad in ["open", "link", "huge", "folder"] {
            assert!(directory.read(bad).is_err(), "{bad}");
        }
        assert_eq!(directory.read("target").unwrap().unwrap(), b"");
    }

    #[test]
    fn the_oldest_make_room() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("d");
        let directory = Directory::create(&path).unwrap();
        for (age, name) in [(3, "a.x"), (1, "b.x"), (2, "c.x"), (9, "d.y")] {
            let file = File::create(path.join(name)).unwrap();
            file.set_modified(std::time::SystemTime::now() - Duration::from_secs(age)).unwrap();
        }
        directory.lock().unwrap().prune(".x", 2).unwrap();
        let left = ["a.x", "b.x", "c.x", "d.y"].map(|name| path.join(name).exists());
        assert_eq!(left, [false, true, true, true]);
    }
}
