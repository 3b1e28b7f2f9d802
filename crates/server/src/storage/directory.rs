//! Directories, durably.

use std::fs::{self, DirEntry, File};
use std::io;
use std::path::Path;

use crate::error::{Doing, Error};

/// Makes the entries of a directory durable: renames and new files count only then.
pub(super) fn sync(path: &Path) -> Result<(), Error> {
    File::open(path)
        .and_then(|directory| directory.sync_all())
        .doing(|| format!("synchronise {}", path.display()))
}

/// Makes a directory and those above it, and each of them durable.
pub(super) fn create(path: &Path) -> Result<(), Error> {
    if path.is_dir() {
        return Ok(());
    }
    let Some(parent) = path.parent() else { return Ok(()) };
    create(parent)?;
    match fs::create_dir(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
    .doing(|| format!("create {}", path.display()))?;
    sync(parent)
}

/// Calls `each` with every entry and its name, until it says stop (`false`). A directory that is not there has none;
/// names that are not UTF-8 are not ours.
pub(super) fn entries(path: &Path, mut each: impl FnMut(&DirEntry, &str) -> bool) -> Result<(), Error> {
    let doing = || format!("list {}", path.display());
    let listing = match fs::read_dir(path) {
        Ok(listing) => listing,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error).doing(doing),
    };
    for entry in listing {
        let entry = entry.doing(doing)?;
        let name = entry.file_name();
        if name.to_str().is_some_and(|name| !each(&entry, name)) {
            break;
        }
    }
    Ok(())
}

/// Reads a file that may not be there.
pub(super) fn read(path: &Path) -> Result<Option<Vec<u8>>, Error> {
    match fs::read(path) {
        Ok(content) => Ok(Some(content)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).doing(|| format!("read {}", path.display())),
    }
}

/// Removes a file that may not be there, durably; tells whether it was.
pub(super) fn remove(path: &Path) -> Result<bool, Error> {
    match fs::remove_file(path) {
        Ok(()) => path.parent().map_or(Ok(true), |parent| sync(parent).map(|()| true)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error).doing(|| format!("remove {}", path.display())),
    }
}
