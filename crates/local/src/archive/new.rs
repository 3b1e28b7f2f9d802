//! An archive that is being written. It is laid out before the first byte: every content has its place, so that several are
//! written at once; or, where the archive goes into a stream, its turn.

use std::collections::HashMap;
use std::fmt;
use std::fs::File;
use std::io::{self, Write};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use futures_util::stream::BoxStream;
use futures_util::{StreamExt, stream};
use layer::{Item, Metadata, tar_header};
use oci::{Descriptor, Digest, Manifest, Reference, Repository, Selector, Tag};
use store::{ByteStream, Error as StoreError, Kind, Opened, Store};
use tokio::task::spawn_blocking;

use super::docker::{self, MANIFEST};
use super::name::ArchiveFormat;
use super::streamed::{Stream, StreamWriter};
use super::target::{Guard, Target};
use crate::blocking;
use crate::catalog;
use crate::error::Error;
use crate::index::Index;
use crate::journal::Written;
use crate::make;
use crate::pieces::Pieces;
use crate::placer::{FilePlacer, Ground};

/// The unit that a tar file is made of, in bytes.
const BLOCK: u64 = 512;

/// So many new bytes are worth a flush to the disk.
const FLUSH: u64 = 32 << 20;

/// The zeros at its end.
const END: usize = 1024;

/// An archive that is being written, and appears as a whole with [`Store::finish`]. Dropped without that it leaves nothing, and
/// what had the name before keeps it.
///
/// It is an OCI image layout in a tar file, the same bytes for the same graph: blobs and manifests in the order in which they
/// were laid out, nothing of the machine or of the time. One for docker has a `manifest.json` besides, which `docker load` of any
/// version reads, and so all digests stay what they are; it takes one image, for one platform.
#[derive(Clone, Debug)]
pub struct NewArchive {
    inner: Arc<Inner>,
    root: Option<Digest>,
    _guard: Option<Arc<Guard>>,
}

#[derive(Debug)]
struct Inner {
    /// What messages call it.
    label: String,
    format: ArchiveFormat,
    path: PathBuf,
    out: Out,
    state: Mutex<State>,
    /// Held by whoever flushes to the disk. Why something could not be flushed: that is told once only.
    flushing: Mutex<Option<io::Error>>,
}

/// Where it goes.
#[derive(Debug)]
enum Out {
    /// Into a file.
    File(Arc<Target>),
    /// Into a stream.
    Stream(Stream),
}

#[derive(Debug)]
struct State {
    slots: HashMap<Digest, Slot>,
    /// Where the next header goes, in a file.
    end: u64,
    /// The directories that have an entry.
    folders: Vec<String>,
    /// How many bytes have come since the last flush.
    unflushed: u64,
    index: Index,
    /// The image that docker is to load, and what it is to call it.
    image: Option<Manifest>,
    docker_name: Option<Reference>,
}

/// The place of a content.
#[derive(Debug)]
struct Slot {
    /// Its first byte in the file.
    at: u64,
    size: u64,
    written: Pieces,
    /// Whether it is whole and right.
    done: bool,
}

impl NewArchive {
    /// An archive that is to be at `path`; a file that has that name is replaced in the end, and its mode stays. What is no
    /// file, but a pipe or a device, is written to as a [`stream`](Self::stream). Blocks for a moment.
    ///
    /// # Errors
    /// [`Kind::NotFound`] if there is no such directory.
    pub fn create(format: ArchiveFormat, path: impl AsRef<Path>) -> Result<Self, StoreError> {
        let path = path.as_ref();
        let label = format!("{}:{}", format.prefix(), path.display());
        let out = Self::out(path).map_err(|error| error.doing(format!("creating {label}")))?;
        Ok(Self::new(format, label, path, out))
    }

    fn out(path: &Path) -> Result<Out, Error> {
        let failed = |error| Error::io(path, error);
        let existing = path.metadata().ok();
        if existing.as_ref().is_some_and(std::fs::Metadata::is_dir) {
            return Err(Error::archive(path, "it is a directory"));
        }
        if existing.as_ref().is_some_and(|existing| !existing.is_file()) {
            let file = File::options().write(true).open(path).map_err(failed)?;
            return Ok(Out::Stream(Stream::new(Box::new(file))));
        }
        // A link keeps pointing where it points.
        let path = if existing.is_some() { &path.canonicalize().map_err(failed)? } else { path };
        Ok(Out::File(Arc::new(Target::new(path, existing.map(|existing| existing.permissions()))?)))
    }

    /// Begins an archive that goes into a stream, one content after another. What has been written cannot be taken back: a
    /// stream that ends without an end is to be thrown away. `label`: what messages call it.
    pub fn stream(format: ArchiveFormat, label: impl Into<String>, out: Box<dyn Write + Send>) -> Self {
        Self::new(format, label.into(), Path::new("-"), Out::Stream(Stream::new(out)))
    }

    fn new(format: ArchiveFormat, label: String, path: &Path, out: Out) -> Self {
        let state = State {
            slots: HashMap::new(),
            end: 0,
            folders: Vec::new(),
            unflushed: 0,
            index: Index::new(),
            image: None,
            docker_name: None,
        };
        let guard = match &out {
            Out::File(target) => Some(Arc::new(Guard(Arc::clone(target)))),
            Out::Stream(_) => None,
        };
        let path = path.to_owned();
        let inner = Inner { label, format, path, out, state: Mutex::new(state), flushing: Mutex::default() };
        Self { inner: inner.into(), root: None, _guard: guard }
    }

    /// The same archive, where the manifest of this digest gets an entry when it is put by its digest.
    #[must_use]
    pub fn with_root(self, digest: Digest) -> Self {
        Self { root: Some(digest), ..self }
    }

    /// The same archive, where docker is to call the image so; without a tag it is `latest`.
    #[must_use]
    pub fn with_docker_name(self, name: &Reference) -> Self {
        self.inner.state().docker_name = Some(name.clone());
        self
    }

    fn doing(&self, what: impl fmt::Display) -> String {
        format!("writing {what} to {self}")
    }

    fn absent(&self, what: impl fmt::Display) -> StoreError {
        StoreError::new(Kind::NotFound, format!("reading {what} from {self}"), "it is being written")
    }

    fn write_manifest(&self, selector: &Selector, manifest: &Manifest) -> Result<(), Error> {
        let manifest = catalog::checked(selector, manifest)?;
        let (digest, descriptor) = (manifest.digest(), manifest.descriptor());
        self.inner.place(std::slice::from_ref(&descriptor))?;
        self.inner.write_whole(&descriptor, manifest.raw())?;
        let failed = |error: serde_json::Error| Error::io(&*self.inner.path, error);
        let mut state = self.inner.state();
        match (selector, state.docker_name.clone()) {
            (Selector::Digest(_), _) if self.root != Some(digest) => return Ok(()),
            (_, Some(name)) => {
                state.index.name_in_full(&docker::names(&name).0, &descriptor).map_err(failed)?;
            }
            (Selector::Tag(tag), None) => state.index.name(tag, &descriptor).map(drop).map_err(failed)?,
            (Selector::Digest(_), None) => state.index.add(&descriptor).map(drop).map_err(failed)?,
        }
        state.image = Some(manifest);
        Ok(())
    }

    fn complete(&self) -> Result<(), Error> {
        let inner = &self.inner;
        let (files, missing, nothing) = {
            let state = inner.state();
            let failed = |error: serde_json::Error| Error::io(&*inner.path, error);
            let mut files = vec![("index.json", state.index.to_bytes().map_err(failed)?)];
            if let (ArchiveFormat::Docker, Some(image)) = (inner.format, &state.image) {
                files.push((MANIFEST, docker::list_of(image, state.docker_name.as_ref())?));
            }
            (files, state.slots.values().any(|slot| !slot.done), state.index.descriptors().next().is_none())
        };
        if missing {
            return Err(Error::archive(&*inner.path, "not all of it has come"));
        }
        if nothing {
            return Err(Error::archive(&*inner.path, "there is nothing to put into it"));
        }
        for (name, bytes) in files {
            inner.add_file(name, &bytes)?;
        }
        inner.end()
    }
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

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        // What is half done when something panics is never finished.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The file that is written to.
    fn file(&self) -> Result<&File, Error> {
        match &self.out {
            Out::File(target) => target.file(&self.path),
            Out::Stream(_) => Err(Error::archive(&*self.path, "it goes into a stream")),
        }
    }

    /// Gives contents their places, or their turns, unless they have them.
    fn place(&self, contents: &[Descriptor]) -> Result<(), Error> {
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
            let mut folders = state.folders.clone();
            let mut headers = beginning(&mut folders, content.digest.algorithm().name())?;
            headers.extend(header(&docker::blob_name(&content.digest), content.size)?);
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
    fn flush_ahead(self: &Arc<Self>, new: u64) {
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
    fn write_whole(&self, content: &Descriptor, bytes: &[u8]) -> Result<(), Error> {
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
    fn done(&self, digest: &Digest) {
        if let Some(slot) = self.state().slots.get_mut(digest) {
            slot.done = true;
        }
    }

    /// Adds a file behind all others.
    fn add_file(&self, name: &str, content: &[u8]) -> Result<(), Error> {
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
    fn end(&self) -> Result<(), Error> {
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
struct Place {
    archive: Arc<Inner>,
    digest: Digest,
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

impl fmt::Display for NewArchive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.inner.label)
    }
}

#[async_trait]
impl Store for NewArchive {
    fn name(&self) -> String {
        self.to_string()
    }

    async fn resolve(&self, selector: &Selector) -> Result<Descriptor, StoreError> {
        Err(self.absent(selector))
    }

    async fn manifest(&self, selector: &Selector) -> Result<Manifest, StoreError> {
        Err(self.absent(selector))
    }

    async fn put_manifest(&self, selector: &Selector, manifest: &Manifest) -> Result<(), StoreError> {
        let doing = self.doing(format_args!("manifest {selector}"));
        if let Out::Stream(stream) = &self.inner.out {
            let digest = manifest.digest();
            self.inner.place(&[manifest.descriptor()]).map_err(|error| error.doing(&*doing))?;
            stream.turn(&digest).await;
        }
        let (asked, manifest) = (selector.clone(), manifest.clone());
        blocking::with(self, doing, move |archive| archive.write_manifest(&asked, &manifest)).await
    }

    fn tags(&self) -> BoxStream<'_, Result<Vec<Tag>, StoreError>> {
        stream::once(std::future::ready(Ok(Vec::new()))).boxed()
    }

    async fn contains(&self, blob: &Descriptor) -> Result<bool, StoreError> {
        Ok(self.inner.state().slots.get(&blob.digest).is_some_and(|slot| slot.done && slot.size == blob.size))
    }

    async fn read(&self, blob: &Descriptor, _: Range<u64>) -> Result<ByteStream, StoreError> {
        Err(self.absent(format_args!("blob {}", blob.digest)))
    }

    async fn lay_out(&self, contents: &[Descriptor]) -> Result<(), StoreError> {
        if let (ArchiveFormat::Docker, Some(root)) = (self.inner.format, contents.last())
            && !root.media_type.is_image()
        {
            let reason = "docker loads one platform, and this is an index: say which with --platform";
            return Err(StoreError::new(Kind::Unsupported, self.doing(root.digest), reason));
        }
        let contents = contents.to_vec();
        blocking::with(self, self.doing("headers"), move |archive| archive.inner.place(&contents)).await
    }

    fn in_order(&self) -> bool {
        matches!(self.inner.out, Out::Stream(_))
    }

    async fn finish(&self) -> Result<(), StoreError> {
        blocking::with(self, self.doing("the end"), Self::complete).await
    }

    async fn write(&self, blob: &Descriptor, _: Option<&Repository>) -> Result<Opened, StoreError> {
        let doing = self.doing(format_args!("blob {}", blob.digest));
        self.inner.place(std::slice::from_ref(blob)).map_err(|error| error.doing(&*doing))?;
        let (at, written, done) = {
            let state = self.inner.state();
            // It has just been placed.
            let slot = &state.slots[&blob.digest];
            (slot.at, slot.written.clone(), slot.done)
        };
        if done {
            return Ok(Opened::Existed);
        }
        match &self.inner.out {
            Out::File(_) => {
                let file = self.inner.file().map_err(|error| error.doing(&*doing))?;
                let place = Box::new(Place { archive: Arc::clone(&self.inner), digest: blob.digest });
                let placer = FilePlacer::new(doing.clone(), blob, (file, at), place, written);
                Ok(Opened::Placer(Box::new(placer.map_err(|error| error.doing(doing))?)))
            }
            Out::Stream(stream) => {
                stream.turn(&blob.digest).await;
                let (archive, digest) = (Arc::clone(&self.inner), blob.digest);
                let done = move || archive.done(&digest);
                Ok(Opened::Writer(Box::new(StreamWriter::new(stream.clone(), blob, doing, Box::new(done)))))
            }
        }
    }

    async fn kept(&self, blob: &Descriptor) -> u64 {
        match &self.inner.out {
            Out::Stream(stream) => stream.kept(&blob.digest),
            Out::File(_) => self.inner.state().slots.get(&blob.digest).map_or(0, |slot| slot.written.bytes()),
        }
    }
}
