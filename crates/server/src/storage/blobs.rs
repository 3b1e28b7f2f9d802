//! Blobs: one directory for each, shared by the repositories that have it.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use oci::Digest;

use super::directory::{entries, remove, sync};
use super::layout::{CONTENT, member};
use super::{Doing, Error, RepositoryName, Storage};

impl Storage {
    /// Whether a repository has a blob.
    pub(crate) fn has_blob(&self, name: &RepositoryName, digest: Digest) -> bool {
        let directory = self.layout().blob(digest);
        directory.join(member(name)).exists() && directory.join(CONTENT).exists()
    }

    /// Opens a blob that a repository has; also its length in bytes.
    pub(crate) fn open_blob(
        &self,
        name: &RepositoryName,
        digest: Digest,
    ) -> Result<Option<(File, u64)>, Error> {
        let directory = self.layout().blob(digest);
        if !directory.join(member(name)).exists() {
            return Ok(None);
        }
        let doing = || format!("read blob {digest}");
        match File::open(directory.join(CONTENT)) {
            Ok(file) => {
                let length = file.metadata().doing(doing)?.len();
                Ok(Some((file, length)))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).doing(doing),
        }
    }

    /// Gives a blob to `name` that `from` has, or any repository if `from` is not given; false if it has not.
    pub(crate) fn mount_blob(
        &self,
        name: &RepositoryName,
        digest: Digest,
        from: Option<&RepositoryName>,
    ) -> Result<bool, Error> {
        let _blob = self.lock_blob(digest);
        let directory = self.layout().blob(digest);
        let there = match from {
            _ if self.has_blob(name, digest) => true,
            Some(from) => self.has_blob(from, digest),
            None => directory.join(CONTENT).exists() && has_members(&directory)?,
        };
        if there {
            add_member(&directory, name, digest)?;
        }
        Ok(there)
    }

    /// Takes a blob from a repository; false if it has not got it. The content goes with its last repository.
    pub(crate) fn delete_blob(&self, name: &RepositoryName, digest: Digest) -> Result<bool, Error> {
        let _repository = self.lock_repository(name);
        let _blob = self.lock_blob(digest);
        let directory = self.layout().blob(digest);
        if !self.has_blob(name, digest) || !remove(&directory.join(member(name)))? {
            return Ok(false);
        }
        if !has_members(&directory)? {
            fs::remove_dir_all(&directory).doing(|| format!("remove blob {digest}"))?;
        }
        Ok(true)
    }

    /// Makes the directory of an upload a blob: `upload` holds the content, already durable, and the membership of
    /// `name`. A blob that is there gets the new content all the same: had the old file been damaged, it is whole now.
    pub(super) fn publish_blob(
        &self,
        name: &RepositoryName,
        digest: Digest,
        upload: &Path,
    ) -> Result<(), Error> {
        let doing = || format!("store blob {digest}");
        let directory = self.layout().blob(digest);
        let Some(parent) = directory.parent() else { return Ok(()) };
        self.ensure_directory(parent)?;
        sync(upload)?;
        let _blob = self.lock_blob(digest);
        match fs::rename(upload, &directory) {
            Ok(()) => return sync(parent),
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::AlreadyExists
                ) => {}
            Err(error) => return Err(error).doing(doing),
        }
        fs::rename(upload.join(CONTENT), directory.join(CONTENT)).doing(doing)?;
        sync(&directory)?;
        add_member(&directory, name, digest)?;
        fs::remove_dir_all(upload).doing(doing)
    }
}

fn add_member(directory: &Path, name: &RepositoryName, digest: Digest) -> Result<(), Error> {
    match File::create_new(directory.join(member(name))) {
        Ok(_) => sync(directory),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error).doing(|| format!("give blob {digest} to {name}")),
    }
}

fn has_members(directory: &Path) -> Result<bool, Error> {
    let mut found = false;
    entries(directory, |_, file| {
        found = file != CONTENT;
        !found
    })?;
    Ok(found)
}
