//! The file that an archive is written to before it has its name.

use std::fs::{File, Permissions};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use crate::error::Error;
use crate::folder::Folder;

/// A file, which is made with the first thing that is written, and gets its name in the end.
#[derive(Debug)]
pub(super) struct Target {
    folder: Folder,
    temporary: String,
    name: String,
    /// That of the file that is replaced.
    permissions: Option<Permissions>,
    file: OnceLock<File>,
    finished: AtomicBool,
}

impl Target {
    pub(super) fn new(path: &Path, permissions: Option<Permissions>) -> Result<Self, Error> {
        let missing = || Error::archive(path, "it names no file");
        let name = path.file_name().ok_or_else(missing)?.to_string_lossy().into_owned();
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        Ok(Self {
            folder: Folder::open(parent)?,
            // One name, so that a process that dies leaves one file at most, which the next one takes over.
            temporary: format!(".{name}.partial"),
            name,
            permissions,
            file: OnceLock::new(),
            finished: AtomicBool::new(false),
        })
    }

    /// The file. One process at a time has it.
    pub(super) fn file(&self, path: &Path) -> Result<&File, Error> {
        if let Some(file) = self.file.get() {
            return Ok(file);
        }
        let Some(new) = self.folder.lock(&self.temporary, true, false)? else {
            return Err(Error::archive(path, "another process is writing it"));
        };
        let failed = |error| Error::io(self.folder.path().join(&self.temporary), error);
        new.set_len(0).map_err(failed)?;
        if let Some(permissions) = &self.permissions {
            new.set_permissions(permissions.clone()).map_err(failed)?;
        }
        Ok(self.file.get_or_init(|| new))
    }

    /// Gives it its name.
    pub(super) fn finish(&self) -> Result<(), Error> {
        self.folder.rename(&self.temporary, &self.folder, &self.name)?;
        self.finished.store(true, Ordering::Relaxed);
        self.folder.sync()
    }
}

/// Removes what has been begun when nobody goes on with it, though threads of its own may still be at it.
#[derive(Debug)]
pub(super) struct Guard(pub(super) Arc<Target>);

impl Drop for Guard {
    fn drop(&mut self) {
        if self.0.file.get().is_some() && !self.0.finished.load(Ordering::Relaxed) {
            // What stays is taken over by whoever writes this archive next.
            let _ = self.0.folder.remove(&self.0.temporary);
        }
    }
}
