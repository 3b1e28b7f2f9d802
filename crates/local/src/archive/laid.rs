//! What lies where in an archive that is being written: every content has its place in the file, or its turn in the stream.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use layer::{Item, Metadata, tar_header};
use oci::{Descriptor, Digest, Manifest, Reference};
use tokio::task::spawn_blocking;

use super::docker;
use super::name::ArchiveFormat;
use super::streamed::Stream;
use super::target::Target;
use crate::error::Error;
use crate::index::Index;
use crate::journal::Written;
use crate::make;
use crate::pieces::Pieces;
use crate::placer::Ground;

/// The unit that a tar file is made of, in bytes.
const BLOCK: u64 = 512;

/// So many new bytes are worth a flush to the disk.
const FLUSH: u64 = 32 << 20;

/// The zeros at its end.
const END: usize = 1024;

#[derive(Debug)]
pub(super) struct Laid {
    /// What messages call it.
    pub(super) label: String,
    pub(super) format: ArchiveFormat,
    pub(super) naming: Naming,
    pub(super) path: PathBuf,
    pub(super) out: Out,
    pub(super) state: Mutex<State>,
    /// Held by whoever flushes to the disk. Why something could not be flushed: that is told once only.
    pub(super) flushing: Mutex<Option<io::Error>>,
}

/// Where it goes.
#[derive(Debug)]
pub(super) enum Out {
    /// Into a file.
    File(Arc<Target>),
    /// Into a stream.
    Stream(Stream),
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) slots: HashMap<Digest, Slot>,
    /// Where the next header goes, in a file.
    pub(super) end: u64,
    /// The directories that have an entry.
    pub(super) folders: Vec<String>,
    /// How many bytes have come since the last flush.
    pub(super) unflushed: u64,
    pub(super) index: Index,
    /// The image that docker is to load, and what it is to call it.
    pub(super) image: Option<Manifest>,
    pub(super) docker_name: Option<Reference>,
    /// The images of a tarball.
    pub(super) listed: Vec<Listed>,
}

impl State {
    /// What a content is called; `None` for one that is not in the archive.
    fn name(&self, naming: Naming, content: &Descriptor) -> Option<String> {
        let digest = &content.digest;
        match naming {
            Naming::Layout => Some(docker::blob_name(digest)),
            Naming::Tarball if self.listed.iter().any(|image| image.manifest == *digest) => None,
            Naming::Tarball if self.listed.iter().any(|image| image.config == *digest) => {
                Some(digest.to_string())
            }
            Naming::Tarball => Some(docker::layer_name(digest)),
        }
    }
}

/// How contents are called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Naming {
    /// As in an OCI image layout.
    Layout,
    /// As in crane's tarballs: no manifests, configs by their digests, layers at the root.
    Tarball,
}

/// An image of a tarball.
#[derive(Clone, Debug)]
pub(super) struct Listed {
    pub(super) manifest: Digest,
    /// What docker is to call it.
    pub(super) names: Vec<String>,
    pub(super) config: Digest,
    pub(super) layers: Vec<Digest>,
    /// The layers that are not to be distributed, by their diff IDs.
    pub(super) foreign: BTreeMap<Digest, Descriptor>,
    /// Whether all of it has been written.
    pub(super) done: bool,
}

/// The place of a content.
#[derive(Debug)]
pub(super) struct Slot {
    /// Its first byte in the file.
    pub(super) at: u64,
    pub(super) size: u64,
    pub(super) written: Pieces,
    /// Whether it is whole and right.
    pub(super) done: bool,
}

/// A file's header, which belongs to nobody and has no time.
fn header(name: &str, size: u64) -> Result<Vec<u8>, Error> {
    tar_header(name.as_bytes(), &Metadata::new(0o644), Item::File(size))
        .map_err(|error| Error::io(name, error))
}

pub(super) fn padded(size: u64) -> u64 {
    size.next_multiple_of(BLOCK)
}

/// What stands before the first content of all, and of a directory; `folders` are those that have an entry.
fn beginning(folders: &mut Vec<String>, algorithm: &str) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    if folders.is_empty() {
        bytes.extend(header(make::MARKER, make::CONTENT.len() as u64)?);
        bytes.extend(make::CONTENT.as_bytes());
        fill(&mut bytes);
    }
    for folder in ["blobs".to_owned(), format!("blobs/{algorithm}")] {
        if !folders.contains(&folder) {
            let entry = tar_header(folder.as_bytes(), &Metadata::new(0o755), Item::Directory);
            bytes.extend(entry.map_err(|error| Error::io(&*folder, error))?);
            folders.push(folder);
        }
    }
    Ok(bytes)
}

/// Fills the last block.
fn fill(bytes: &mut Vec<u8>) {
    let length = padded(bytes.len() as u64);
    bytes.resize(usize::try_from(length).unwrap_or(bytes.len()), 0);
}

impl Laid {
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        // What is half done when something panics is never finished.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The file that is written to.
    pub(super) fn file(&self) -> Result<&File, Error> {
        match &self.out {
            Out::File(target) => target.file(&self.path),
            Out::Stream(_) => Err(Error::archive(&*self.path, "it goes into a stream")),
        }
    }

    /// Gives contents their places, or their turns, unless they have them.
    pub(super) fn place(&self, contents: &[Descriptor]) -> Result<(), Error> {
        let mut state = self.state();
        for content in contents {
            if let Some(slot) = state.slots.get(&content.digest) {
                if slot.size == content.size {
                    continue;
                }
                let (digest, one, other) = (content.digest, slot.size, content.size);
                let reason = format!("manifests disagree on the length of {digest}: {one} and {other} bytes");
                return Err(Error::archive(&*self.path, reason));
            }
            let Some(name) = state.name(self.naming, content) else { continue };
            let mut folders = state.folders.clone();
            let mut headers = match self.naming {
                Naming::Layout => beginning(&mut folders, content.digest.algorithm().name())?,
                Naming::Tarball => Vec::new(),
            };
            headers.extend(header(&name, content.size)?);
            let at = state.end.saturating_add(headers.len() as u64);
            let end = content.size.checked_next_multiple_of(BLOCK).and_then(|size| at.checked_add(size));
            let Some(end) = end.filter(|end| i64::try_from(*end).is_ok()) else {
                return Err(Error::archive(&*self.path, "the content is longer than a file can be"));
            };
            match &self.out {
                Out::File(_) => {
                    let written = self.file()?.write_all_at(&headers, state.end);
                    written.map_err(|error| Error::io(&*self.path, error))?;
                }
                Out::Stream(stream) => stream.place(content.digest, headers),
            }
            state.folders = folders;
            state.end = end;
            let slot = Slot { at, size: content.size, written: Pieces::default(), done: false };
            state.slots.insert(content.digest, slot);
        }
        Ok(())
    }

    /// Begins to flush to the disk what has come, when it is enough, so that little is left for the end.
    pub(super) fn flush_ahead(self: &Arc<Self>, new: u64) {
        {
            let mut state = self.state();
            state.unflushed += new;
            if state.unflushed < FLUSH {
                return;
            }
            state.unflushed = 0;
        }
        let archive = Arc::clone(self);
        spawn_blocking(move || {
            if let Ok(mut failed) = archive.flushing.try_lock()
                && let Err(error) = archive.file().map_or(Ok(()), File::sync_data)
            {
                *failed = Some(error);
            }
        });
    }

    /// Writes a small content in its place, or when it is its turn.
    pub(super) fn write_whole(&self, content: &Descriptor, bytes: &[u8]) -> Result<(), Error> {
        let failed = |error| Error::io(&*self.path, error);
        let at = self.state().slots.get(&content.digest).map_or(0, |slot| slot.at);
        match &self.out {
            Out::File(_) => self.file()?.write_all_at(bytes, at).map_err(failed)?,
            Out::Stream(stream) => stream.write_whole(&content.digest, bytes).map_err(failed)?,
        }
        self.done(&content.digest);
        Ok(())
    }

    /// A content is whole and right.
    pub(super) fn done(&self, digest: &Digest) {
        if let Some(slot) = self.state().slots.get_mut(digest) {
            slot.done = true;
        }
    }

    /// Adds a file behind all others.
    pub(super) fn add_file(&self, name: &str, content: &[u8]) -> Result<(), Error> {
        let failed = |error| Error::io(&*self.path, error);
        let mut state = self.state();
        let mut bytes = header(name, content.len() as u64)?;
        bytes.extend(content);
        fill(&mut bytes);
        match &self.out {
            Out::File(_) => self.file()?.write_all_at(&bytes, state.end).map_err(failed)?,
            Out::Stream(stream) => stream.write_all(&bytes).map_err(failed)?,
        }
        state.end += bytes.len() as u64;
        Ok(())
    }

    /// Ends the archive, and gives it its name.
    pub(super) fn end(&self) -> Result<(), Error> {
        let failed = |error| Error::io(&*self.path, error);
        let end = self.state().end + END as u64;
        match &self.out {
            Out::File(target) => {
                let file = self.file()?;
                let mut unflushed = self.flushing.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some(error) = unflushed.take() {
                    return Err(failed(error));
                }
                file.set_len(end).and_then(|()| file.sync_all()).map_err(failed)?;
                target.finish()
            }
            Out::Stream(stream) => stream.end(&[0; END]).map_err(failed),
        }
    }
}

/// The place of a blob in the file.
pub(super) struct Place {
    pub(super) archive: Arc<Laid>,
    pub(super) digest: Digest,
}

impl Place {
    fn slot<T>(&self, change: impl FnOnce(&mut Slot) -> T) -> Option<T> {
        self.archive.state().slots.get_mut(&self.digest).map(change)
    }
}

impl Ground for Place {
    fn path(&self) -> PathBuf {
        self.archive.path.clone()
    }

    fn save(&mut self, new: &Pieces) -> Result<(), Error> {
        self.slot(|slot| new.iter().for_each(|piece| slot.written.insert(piece.clone())));
        self.archive.flush_ahead(new.bytes());
        Ok(())
    }

    fn rewrite(&mut self, written: &Written) -> Result<Option<Arc<File>>, Error> {
        self.slot(|slot| slot.written = written.all.clone());
        Ok(None)
    }

    fn survives(&self) -> bool {
        false
    }

    fn finish(&mut self) -> Result<(), Error> {
        self.slot(|slot| slot.done = true);
        Ok(())
    }

    fn remove(&mut self) -> Result<(), Error> {
        self.slot(|slot| slot.written = Pieces::default());
        Ok(())
    }
}
