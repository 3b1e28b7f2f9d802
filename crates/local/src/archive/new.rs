//! An archive that is being written. It is laid out before the first byte: every content has its place, so that several are
//! written at once; or, where the archive goes into a stream, its turn.

use std::collections::HashMap;
use std::fmt;
use std::fs::File;
use std::io::Write;
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use futures_util::stream::BoxStream;
use futures_util::{StreamExt, stream};
use oci::{Descriptor, Digest, Manifest, Reference, Repository, Selector, Tag};
use store::{ByteStream, Error as StoreError, Kind, Opened, Store};

use super::docker::{self, MANIFEST};
use super::laid::{Laid, Listed, Naming, Out, Place, State};
use super::name::ArchiveFormat;
use super::streamed::{Stream, StreamWriter};
use super::target::{Guard, Target};
use crate::blocking;
use crate::catalog;
use crate::error::Error;
use crate::index::Index;
use crate::placer::FilePlacer;

/// An archive that is being written, and appears as a whole with [`Store::finish`]. Dropped without that it leaves nothing, and
/// what had the name before keeps it.
///
/// It is an OCI image layout in a tar file, the same bytes for the same graph: blobs and manifests in the order in which they
/// were laid out, nothing of the machine or of the time. One for docker has a `manifest.json` besides, which `docker load` of any
/// version reads, and so all digests stay what they are; it takes one image, for one platform.
#[derive(Clone, Debug)]
pub struct NewArchive {
    inner: Arc<Laid>,
    root: Option<Digest>,
    _guard: Option<Arc<Guard>>,
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
        Ok(Self::new((format, Naming::Layout), label, path, out))
    }

    /// The same as [`create`](Self::create), for one that has no layout, but files as crane's tarballs have them: for docker,
    /// and for whoever unpacks such ones. It takes several images, each [added](Self::with_image) before it is copied; their
    /// manifests are not in it.
    ///
    /// # Errors
    /// [`Kind::NotFound`] if there is no such directory.
    pub fn tarball(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        let path = path.as_ref();
        let label = path.display().to_string();
        let out = Self::out(path).map_err(|error| error.doing(format!("creating {label}")))?;
        Ok(Self::new((ArchiveFormat::Docker, Naming::Tarball), label, path, out))
    }

    /// A [`tarball`](Self::tarball) that goes into a stream.
    pub fn tarball_stream(label: impl Into<String>, out: Box<dyn Write + Send>) -> Self {
        let kind = (ArchiveFormat::Docker, Naming::Tarball);
        Self::new(kind, label.into(), Path::new("-"), Out::Stream(Stream::new(out)))
    }

    /// Adds an image to a [`tarball`](Self::tarball), and what docker is to call it, such as `nginx:1.25`. `diff_ids`: those of
    /// its config, by which docker finds the layers that are not to be distributed; of no use if it has none.
    ///
    /// # Errors
    /// [`Kind::Invalid`] if it is no image for one platform.
    pub fn with_image(self, image: &Manifest, name: String, diff_ids: &[Digest]) -> Result<Self, StoreError> {
        let doing = || self.doing(image.digest());
        let parts = docker::parts(image).map_err(|error| error.doing(doing()))?;
        let mut state = self.inner.state();
        match state.listed.iter_mut().find(|listed| listed.manifest == image.digest()) {
            Some(listed) if listed.names.contains(&name) => {}
            Some(listed) => listed.names.push(name),
            None => {
                let (config, layers) = parts;
                let manifest = image.digest();
                let foreign =
                    layers.iter().zip(diff_ids).filter(|(layer, _)| layer.media_type.is_nondistributable());
                let foreign = foreign.map(|(layer, diff_id)| (*diff_id, layer.clone())).collect();
                let layers = layers.iter().map(|layer| layer.digest).collect();
                state.listed.push(Listed {
                    manifest,
                    names: vec![name],
                    config,
                    layers,
                    foreign,
                    done: false,
                });
            }
        }
        drop(state);
        Ok(self)
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
        let kind = (format, Naming::Layout);
        Self::new(kind, label.into(), Path::new("-"), Out::Stream(Stream::new(out)))
    }

    fn new((format, naming): (ArchiveFormat, Naming), label: String, path: &Path, out: Out) -> Self {
        let state = State {
            slots: HashMap::new(),
            end: 0,
            folders: Vec::new(),
            unflushed: 0,
            index: Index::new(),
            image: None,
            docker_name: None,
            listed: Vec::new(),
        };
        let guard = match &out {
            Out::File(target) => Some(Arc::new(Guard(Arc::clone(target)))),
            Out::Stream(_) => None,
        };
        let path = path.to_owned();
        let inner =
            Laid { label, format, naming, path, out, state: Mutex::new(state), flushing: Mutex::default() };
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
        if self.inner.naming == Naming::Tarball {
            let mut state = self.inner.state();
            let listed = state.listed.iter_mut().find(|listed| listed.manifest == digest);
            listed.map(|listed| listed.done = true).ok_or_else(|| {
                Error::archive(&*self.inner.path, "a manifest that is no image of it does not go into it")
            })?;
            return Ok(());
        }
        self.inner.place(std::slice::from_ref(&descriptor))?;
        self.inner.write_whole(&descriptor, manifest.raw())?;
        let failed = |error: serde_json::Error| Error::io(&*self.inner.path, error);
        let mut state = self.inner.state();
        match (selector, state.docker_name.clone()) {
            (Selector::Digest(_), _) if self.root != Some(digest) => return Ok(()),
            (_, Some(name)) => {
                state.index.name_in_full(&docker::names(&name).0, &descriptor).map_err(failed)?;
            }
            (Selector::Tag(tag), None) => {
                state.index.name(tag.as_str(), &descriptor).map(drop).map_err(failed)?;
            }
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
            let mut files = Vec::new();
            if inner.naming == Naming::Layout {
                files.push(("index.json", state.index.to_bytes().map_err(failed)?));
            } else {
                files.push((MANIFEST, docker::list_of_tarball(&state.listed)));
            }
            if let (ArchiveFormat::Docker, Some(image)) = (inner.format, &state.image) {
                files.push((MANIFEST, docker::list_of(image, state.docker_name.as_ref())?));
            }
            let missing =
                state.slots.values().any(|slot| !slot.done) || state.listed.iter().any(|listed| !listed.done);
            let nothing = state.index.descriptors().next().is_none() && state.listed.is_empty();
            (files, missing, nothing)
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
        if let (Out::Stream(stream), Naming::Layout) = (&self.inner.out, self.inner.naming) {
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
