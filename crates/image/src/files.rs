//! Files of this machine as the content of a layer: in one order, with headers that depend on the files alone.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::{self, File, FileType};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use layer::{Item, Metadata, Owner, TarWriter, Time};

use crate::Created;

/// A file or a directory of this machine, and where it goes in the image.
#[derive(Clone, Debug)]
pub struct Files {
    /// The file; or the directory, whose content goes there.
    pub source: PathBuf,
    /// The path in the image, `/` at the start or not. What ends with `/`, and `/` itself, is a directory that a file goes into.
    pub target: String,
    /// User and group of all of it; root if nothing is said, whoever owns it here.
    pub owner: (u64, u64),
    /// Permissions of all files; directories get execution wherever there is reading. As they are here if nothing is said.
    pub mode: Option<u32>,
    /// The time of all of it; 1970 if nothing is said.
    pub time: Option<Created>,
}

/// Why files do not become a layer.
#[derive(Debug)]
pub(crate) enum FilesError {
    /// They could not be read.
    Input { path: String, source: io::Error },
    /// The archive could not be written.
    Output(io::Error),
    /// They are nothing that a layer has.
    Unfit(String),
}

impl Files {
    /// A file or directory as it is here, but owned by root and from 1970.
    pub fn new(source: impl Into<PathBuf>, target: impl Into<String>) -> Self {
        Self { source: source.into(), target: target.into(), owner: (0, 0), mode: None, time: None }
    }

    /// Writes the archive, all in the order of the names' bytes. The directories above are not in it: those that the image has
    /// keep their owners and permissions, and whoever unpacks makes the others.
    pub(crate) fn write(&self, out: impl Write) -> Result<(), FilesError> {
        let target = self.path()?;
        let mut tar = TarWriter::new(out);
        let found = fs::metadata(&self.source).map_err(|source| input(&self.source, source))?;
        let name = self.source.file_name().unwrap_or_default().as_bytes();
        let mut path = target;
        if !found.is_dir() && (self.target.ends_with('/') || path.is_empty()) {
            path = join(&path, name);
        }
        let mut links = HashMap::new();
        let mut rest = vec![(self.source.clone(), path, true)];
        while let Some((source, path, is_root)) = rest.pop() {
            // What was named is followed, what was found in it is not.
            let found = if is_root { fs::metadata(&source) } else { fs::symlink_metadata(&source) };
            let found = found.map_err(|error| input(&source, error))?;
            if found.is_dir() {
                if !path.is_empty() {
                    let metadata = self.metadata(found.mode(), true);
                    tar.begin(&path, &metadata, Item::Directory).map_err(FilesError::Output)?;
                }
                rest.extend(listed(&source)?.into_iter().map(|name| {
                    let below = join(&path, name.as_bytes());
                    (source.join(name), below, false)
                }));
                continue;
            }
            self.entry(&mut tar, &source, &path, &found, &mut links)?;
        }
        tar.finish().map(drop).map_err(FilesError::Output)
    }

    /// The path in the image, as archives have it.
    fn path(&self) -> Result<Vec<u8>, FilesError> {
        let mut path = Vec::new();
        for part in self.target.split('/').filter(|part| !part.is_empty() && *part != ".") {
            if part == ".." {
                return Err(FilesError::Unfit(format!("{:?} leads out of where it is", self.target)));
            }
            path = join(&path, part.as_bytes());
        }
        Ok(path)
    }

    fn entry(
        &self,
        tar: &mut TarWriter<impl Write>,
        source: &Path,
        path: &[u8],
        found: &fs::Metadata,
        links: &mut HashMap<(u64, u64), Vec<u8>>,
    ) -> Result<(), FilesError> {
        let kind: FileType = found.file_type();
        let metadata = self.metadata(found.mode(), false);
        if kind.is_symlink() {
            let target = fs::read_link(source).map_err(|error| input(source, error))?;
            let metadata = Metadata { mode: 0o777, ..metadata };
            return tar
                .begin(path, &metadata, Item::Symlink(target.as_os_str().as_bytes()))
                .map_err(FilesError::Output);
        }
        if found.nlink() > 1 {
            let known = links.entry((found.dev(), found.ino())).or_insert_with(|| path.to_vec());
            if *known != path {
                return tar.begin(path, &metadata, Item::HardLink(known)).map_err(FilesError::Output);
            }
        }
        if kind.is_fifo() {
            return tar.begin(path, &metadata, Item::Fifo).map_err(FilesError::Output);
        }
        if !kind.is_file() {
            let what = if kind.is_socket() { "a socket" } else { "a device" };
            return Err(FilesError::Unfit(format!("{} is {what}", source.display())));
        }
        let mut file = File::open(source).map_err(|error| input(source, error))?;
        tar.begin(path, &metadata, Item::File(found.len())).map_err(FilesError::Output)?;
        copy(&mut file, found.len(), tar, source)
    }

    fn metadata(&self, found: u32, directory: bool) -> Metadata {
        let mode = match self.mode {
            Some(mode) if directory => mode | (mode & 0o444) >> 2,
            Some(mode) => mode,
            None => found & 0o7777,
        };
        let (uid, gid) = self.owner;
        let mtime = Time::new(self.time.map_or(0, Created::seconds), 0);
        Metadata { owner: Owner { uid, gid, ..Owner::default() }.into(), mtime, ..Metadata::new(mode) }
    }
}

/// Copies a file's content: as much as its header says.
fn copy(file: &mut File, size: u64, tar: &mut impl Write, path: &Path) -> Result<(), FilesError> {
    let mut buffer = vec![0; 256 << 10];
    let mut rest = size;
    while rest > 0 {
        let length = usize::try_from(rest).unwrap_or(usize::MAX).min(buffer.len());
        let read = io::Read::read(file, &mut buffer[..length]).map_err(|error| input(path, error))?;
        if read == 0 {
            return Err(FilesError::Unfit(format!("{} became shorter while it was read", path.display())));
        }
        tar.write_all(&buffer[..read]).map_err(FilesError::Output)?;
        rest -= read as u64;
    }
    Ok(())
}

/// The names in a directory, the last first.
fn listed(directory: &Path) -> Result<Vec<std::ffi::OsString>, FilesError> {
    let failed = |error| input(directory, error);
    let mut names = Vec::new();
    for entry in fs::read_dir(directory).map_err(failed)? {
        names.push(entry.map_err(failed)?.file_name());
    }
    names.sort_by(|a, b| OsStr::cmp(b, a));
    Ok(names)
}

fn join(directory: &[u8], name: &[u8]) -> Vec<u8> {
    match directory {
        [] => name.to_vec(),
        _ => [directory, b"/", name].concat(),
    }
}

fn input(path: &Path, source: io::Error) -> FilesError {
    FilesError::Input { path: path.display().to_string(), source }
}
