//! An archive that is being written. It is laid out before the first byte: every content has its place, so that several are
//! written at once; or, where the archive goes into a stream, its turn.

use std::collections::HashMap;
use std::fmt;
use std::fs::{File, Permissions};
use std::io::{self, Write};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use async_trait::async_trait;
use futures_util::stream::BoxStream;
use futures_util::{StreamExt, stream};
use layer::{Item, Metadata, tar_header};
use oci::{Descriptor, Digest, Manifest, Reference, Repository, Selector, Tag, View};
use store::{ByteStream, Error as StoreError, Kind, Opened, Store};
use tokio::task::spawn_blocking;

use super::docker::{self, MANIFEST};
use super::name::ArchiveFormat;
use super::streamed::{Stream, StreamWriter};
use crate::error::Error;
use crate::folder::Folder;
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
    _guard: Arc<Guard>,
}

/// Removes what has been begun when nobody goes on with it, though threads of its own may still be at it.
#[derive(Debug)]
struct Guard(Option<Arc<Target>>);

#[derive(Debug)]
struct Inner {
    /// What messages call it.
    label: String,
    format: ArchiveFormat,
    path: PathBuf,
    out: Out,
    state: Mutex<State>,
    /// Whether somebody is flushing what has been written.
    flushing: AtomicBool,
}

/// Where it goes.
#[derive(Debug)]
enum Out {
    /// Into a file.
    File(Arc<Target>),
    /// Into a stream.
    Stream(Stream),
}

/// A file, which is made with the first thing that is written, and gets its name in the end.
#[derive(Debug)]
struct Target {
    folder: Folder,
    temporary: String,
    name: String,
    /// That of the file that is replaced.
    permissions: Option<Permissions>,
    file: OnceLock<File>,
    finished: AtomicBool,
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
    /// Why what was written could not be flushed to the disk: that is told once only.
    unflushable: Option<io::Error>,
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
        let missing = || Error::archive(path, "it names no file");
        let name = path.file_name().ok_or_else(missing)?.to_string_lossy().into_owned();
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        Ok(Out::File(Arc::new(Target {
            folder: Folder::open(parent)?,
            // One name, so that a process that dies leaves one file at most, which the next one takes over.
            temporary: format!(".{name}.partial"),
            name,
            permissions: existing.map(|existing| existing.permissions()),
            file: OnceLock::new(),
            finished: AtomicBool::new(false),
        })))
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
            unflushable: None,
        };
        let guard = Guard(match &out {
            Out::File(target) => Some(Arc::clone(target)),
            Out::Stream(_) => None,
        });
        let path = path.to_owned();
        let inner =
            Inner { label, format, path, out, state: Mutex::new(state), flushing: AtomicBool::new(false) };
        Self { inner: inner.into(), root: None, _guard: guard.into() }
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

    async fn run<T: Send + 'static>(
        &self,
        doing: String,
        work: impl FnOnce(&Self) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, StoreError> {
        crate::catalog::run(self, doing, work).await
    }

    fn doing(&self, what: impl fmt::Display) -> String {
        format!("writing {what} to {self}")
    }

    fn absent(&self, what: impl fmt::Display) -> StoreError {
        StoreError::new(Kind::NotFound, format!("reading {what} from {self}"), "it is being written")
    }

    fn write_manifest(&self, selector: &Selector, manifest: &Manifest) -> Result<(), Error> {
        let digest = match selector {
            Selector::Digest(digest) => *digest,
            Selector::Tag(_) => manifest.digest(),
        };
        let manifest =
            Manifest::verified(manifest.raw().clone(), Some(manifest.media_type().clone()), digest)?;
        let descriptor = Descriptor { digest, ..manifest.descriptor() };
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
        let (mut files, missing, nothing) = {
            let state = inner.state();
            let failed = |error: serde_json::Error| Error::io(&*inner.path, error);
            let mut files = vec![("index.json", state.index.to_bytes().map_err(failed)?)];
            if let (ArchiveFormat::Docker, Some(image)) = (inner.format, &state.image) {
                files.push((MANIFEST, docker_list(image, state.docker_name.as_ref())?));
            }
            (files, state.slots.values().any(|slot| !slot.done), state.index.descriptors().next().is_none())
        };
        if missing {
            return Err(Error::archive(&*inner.path, "not all of it has come"));
        }
        if nothing {
            return Err(Error::archive(&*inner.path, "there is nothing to put into it"));
        }
        for (name, bytes) in files.drain(..) {
            inner.add_file(name, &bytes)?;
        }
        inner.end()
    }
}

/// `manifest.json`: what `docker load` goes by.
fn docker_list(image: &Manifest, name: Option<&Reference>) -> Result<Vec<u8>, Error> {
    let path = |digest: &Digest| blob_name(digest);
    let View::Image(image) = image.view()? else { return Ok(b"[]".to_vec()) };
    let layers: Vec<String> = image.layers.iter().map(|layer| path(&layer.digest)).collect();
    let list = serde_json::json!([{
        "Config": image.config.map(|config| path(&config.digest)),
        "RepoTags": name.map(|name| [docker::names(name).1]),
        "Layers": layers,
    }]);
    Ok(list.to_string().into_bytes())
}

fn blob_name(digest: &Digest) -> String {
    format!("blobs/{}/{}", digest.algorithm().name(), digest.hex())
}

/// A file's header, which belongs to nobody and has no time.
fn header(name: &str, size: u64) -> Result<Vec<u8>, Error> {
    tar_header(name.as_bytes(), &Metadata::new(0o644), Item::File(size))
        .map_err(|error| Error::io(name, error))
}

pub(super) fn padded(size: u64) -> u64 {
    size.next_multiple_of(BLOCK)
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
            let mut headers = Self::beginning(&mut folders, Some(content.digest.algorithm().name()))?;
            headers.extend(header(&blob_name(&content.digest), content.size)?);
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

    /// What stands before the first content of a directory.
    fn beginning(folders: &mut Vec<String>, algorithm: Option<&str>) -> Result<Vec<u8>, Error> {
        let mut bytes = Vec::new();
        if folders.is_empty() {
            bytes.extend(header(make::MARKER, make::CONTENT.len() as u64)?);
            bytes.extend(make::CONTENT.as_bytes());
            let length = bytes.len() as u64;
            bytes.resize(usize::try_from(padded(length)).unwrap_or(bytes.len()), 0);
            folders.push(String::new());
        }
        for folder in algorithm.into_iter().flat_map(|name| ["blobs".to_owned(), format!("blobs/{name}")]) {
            if !folders.contains(&folder) {
                let entry = tar_header(folder.as_bytes(), &Metadata::new(0o755), Item::Directory);
                bytes.extend(entry.map_err(|error| Error::io(&*folder, error))?);
                folders.push(folder);
            }
        }
        Ok(bytes)
    }

    /// Begins to flush to the disk what has come, when it is enough, so that little is left for the end.
    fn flush_ahead(self: &Arc<Self>, new: u64) {
        let due = {
            let mut state = self.state();
            state.unflushed += new;
            state.unflushed >= FLUSH
        };
        if !due || self.flushing.swap(true, Ordering::Relaxed) {
            return;
        }
        self.state().unflushed = 0;
        let archive = Arc::clone(self);
        spawn_blocking(move || {
            if let Err(error) = archive.file().map_or(Ok(()), File::sync_data) {
                archive.state().unflushable = Some(error);
            }
            archive.flushing.store(false, Ordering::Relaxed);
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
        let mut bytes = Self::beginning(&mut state.folders, None)?;
        bytes.extend(header(name, content.len() as u64)?);
        bytes.extend(content);
        let length = padded(bytes.len() as u64);
        bytes.resize(usize::try_from(length).unwrap_or(bytes.len()), 0);
        match &self.out {
            Out::File(_) => self.file()?.write_all_at(&bytes, state.end).map_err(failed)?,
            Out::Stream(stream) => stream.write_all(&bytes).map_err(failed)?,
        }
        state.end += length;
        Ok(())
    }

    /// Ends the archive, and gives it its name.
    fn end(&self) -> Result<(), Error> {
        let failed = |error| Error::io(&*self.path, error);
        let end = self.state().end + END as u64;
        match &self.out {
            Out::File(target) => {
                let file = self.file()?;
                if let Some(error) = self.state().unflushable.take() {
                    return Err(failed(error));
                }
                file.set_len(end).and_then(|()| file.sync_all()).map_err(failed)?;
                target.folder.rename(&target.temporary, &target.folder, &target.name)?;
                target.finished.store(true, Ordering::Relaxed);
                target.folder.sync()
            }
            Out::Stream(stream) => stream.end(&[0; END]).map_err(failed),
        }
    }
}

impl Target {
    /// The file. One process at a time has it.
    fn file(&self, path: &Path) -> Result<&File, Error> {
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
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(target) = &self.0
            && target.file.get().is_some()
            && !target.finished.load(Ordering::Relaxed)
        {
            // What stays is taken over by whoever writes this archive next.
            let _ = target.folder.remove(&target.temporary);
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
        self.run(doing, move |archive| archive.write_manifest(&asked, &manifest)).await
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
        self.run(self.doing("headers"), move |archive| archive.inner.place(&contents)).await
    }

    fn in_order(&self) -> bool {
        matches!(self.inner.out, Out::Stream(_))
    }

    async fn finish(&self) -> Result<(), StoreError> {
        self.run(self.doing("the end"), Self::complete).await
    }

    async fn write(&self, blob: &Descriptor, _: Option<&Repository>) -> Result<Opened, StoreError> {
        let doing = self.doing(format_args!("blob {}", blob.digest));
        self.inner.place(std::slice::from_ref(blob)).map_err(|error| error.doing(&*doing))?;
        let (at, size, written, done) = {
            let state = self.inner.state();
            // It has just been placed.
            let slot = &state.slots[&blob.digest];
            (slot.at, slot.size, slot.written.clone(), slot.done)
        };
        if done {
            return Ok(Opened::Existed);
        }
        if size != blob.size {
            let error = Error::Length { path: self.inner.path.clone(), found: size, expected: blob.size };
            return Err(error.doing(doing));
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
                let place = Place { archive: Arc::clone(&self.inner), digest: blob.digest };
                let done = move || place.archive.done(&place.digest);
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
