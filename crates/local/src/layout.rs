//! An OCI image layout directory, as a store.

use std::fmt;
use std::fs::File;
use std::io::Write;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::BoxStream;
use futures_util::{StreamExt, stream};
use oci::{Descriptor, Digest, Manifest, MediaType, Repository, Selector, Tag};
use store::{ByteStream, Error as StoreError, Expected, Opened, Replaced, Store};

use crate::blocking;
use crate::catalog::{self, Catalog, named};
use crate::content::Extent;
use crate::error::Error;
use crate::folder::Folder;
use crate::index::{Found, Index};
use crate::partial::{self, Partial};
use crate::{content, make, sweep};

const INDEX: &str = "index.json";

/// The most that is read of `index.json`, in bytes.
const INDEX_LIMIT: u64 = 64 << 20;

/// A layout's directory. Clones share it.
///
/// Tags are the names of its entries (`org.opencontainers.image.ref.name`, and containerd's), whether they are written
/// as a tag or as a whole reference. A manifest that is put by its digest gets no entry, because most are children of an
/// index that follows; [`Layout::with_root`] says which one shall have one all the same.
#[derive(Clone, Debug)]
pub struct Layout {
    inner: Arc<Inner>,
    root: Option<Digest>,
    /// What that one is to be called.
    name: Option<String>,
}

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    /// Whether what is missing of it is made.
    creates: bool,
    /// Held once it is known to be a layout.
    folder: OnceLock<Folder>,
    /// `blobs`, held by whoever writes, so that nothing is collected meanwhile that an index is about to name.
    blobs: OnceLock<Folder>,
    /// Whether it has been made ready for being written to.
    ready: Mutex<bool>,
}

impl Layout {
    /// Opens the layout in `path`. Blocks for a moment.
    ///
    /// # Errors
    /// [`Kind::NotFound`](store::Kind::NotFound) if there is none, [`Kind::Invalid`](store::Kind::Invalid) if it is none of version 1.0.0.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        let layout = Self::new(path.as_ref(), false);
        layout.folder().map_err(|error| error.doing(layout.doing("opening")))?;
        Ok(layout)
    }

    /// Opens the layout in `path` to write to; if there is none, it is made with the first thing that is written. Blocks
    /// for a moment.
    ///
    /// # Errors
    /// [`Kind::Other`](store::Kind::Other) if the directory has other content, [`Kind::Invalid`](store::Kind::Invalid) if it is a layout, but none of version
    /// 1.0.0.
    pub fn create(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        let layout = Self::new(path.as_ref(), true);
        let outcome = match layout.folder() {
            Err(Error::NoDirectory(_)) => Ok(()),
            Err(Error::NoLayout(path)) => {
                match Folder::open(&path).and_then(|folder| make::is_vacant(&folder)) {
                    Ok(true) => Ok(()),
                    Ok(false) => Err(Error::NotEmpty(path)),
                    Err(error) => Err(error),
                }
            }
            outcome => outcome.map(|_| ()),
        };
        outcome.map_err(|error| error.doing(layout.doing("opening")))?;
        Ok(layout)
    }

    fn new(path: &Path, creates: bool) -> Self {
        let inner = Inner {
            path: path.to_owned(),
            creates,
            folder: OnceLock::new(),
            blobs: OnceLock::new(),
            ready: Mutex::new(false),
        };
        Self { inner: Arc::new(inner), root: None, name: None }
    }

    /// The same layout, where the manifest of this digest gets an entry when it is put by its digest, without a name
    /// unless it has one, and counts as there only when it has an entry.
    #[must_use]
    pub fn with_root(self, digest: Digest) -> Self {
        Self { root: Some(digest), ..self }
    }

    /// The same layout, where the manifest of [`with_root`](Self::with_root) gets this name, which may be a whole reference, and
    /// takes the place of what had it.
    #[must_use]
    pub fn with_name(self, name: String) -> Self {
        Self { name: Some(name), ..self }
    }

    /// `index.json`, byte for byte: it is an index itself.
    ///
    /// # Errors
    /// [`Kind::Invalid`](store::Kind::Invalid) if there is none, or it is too large.
    pub fn index_json(&self) -> Result<Bytes, StoreError> {
        let read = || {
            let missing = || Error::Index { path: self.index_path(), reason: "it is missing".to_owned() };
            let mut file = self.folder()?.read(INDEX)?.ok_or_else(missing)?;
            content::whole(&mut file, &self.index_path(), INDEX_LIMIT)
        };
        read().map(Bytes::from).map_err(|error| error.doing(self.doing("looking into")))
    }

    /// The names that manifests have, as they are written: tags, and whole references.
    ///
    /// # Errors
    /// [`Kind::Invalid`](store::Kind::Invalid) if there is no list, or it is damaged.
    pub fn named_images(&self) -> Result<Vec<(String, Digest)>, StoreError> {
        let index = self.index().map_err(|error| error.doing(self.doing("looking into")))?;
        Ok(index.names().map(|(name, digest)| (name.to_owned(), digest)).collect())
    }

    /// What is meant when only the layout is named: its only manifest, or the only one that has a tag. Blocks for a
    /// moment.
    ///
    /// # Errors
    /// [`Kind::NotFound`](store::Kind::NotFound) if it has none, [`Kind::Other`](store::Kind::Other) if it has several.
    pub fn only(&self) -> Result<Selector, StoreError> {
        catalog::only(self).map_err(|error| error.doing(self.doing("looking into")))
    }

    fn doing(&self, doing: &str) -> String {
        format!("{doing} {self}")
    }

    /// The directory.
    pub(crate) fn folder(&self) -> Result<&Folder, Error> {
        if let Some(folder) = self.inner.folder.get() {
            return Ok(folder);
        }
        let folder = Folder::open(&self.inner.path)?;
        if !make::is_layout(&folder)? {
            return Err(Error::NoLayout(self.inner.path.clone()));
        }
        // Whoever asks what is there to write what is not relies on the answer.
        if self.inner.creates
            && let Some(blobs) = folder.folder("blobs")?
        {
            self.hold(blobs)?;
        }
        Ok(self.inner.folder.get_or_init(|| folder))
    }

    fn hold(&self, blobs: Folder) -> Result<(), Error> {
        if self.inner.blobs.get().is_none() {
            blobs.share()?;
            self.inner.blobs.get_or_init(|| blobs);
        }
        Ok(())
    }

    /// The directory, for reading from what may not have been made yet.
    fn made(&self) -> Result<Option<&Folder>, Error> {
        match self.folder() {
            Err(Error::NoDirectory(_) | Error::NoLayout(_)) => Ok(None),
            outcome => outcome.map(Some),
        }
    }

    /// The directory, ready for being written to.
    fn ready(&self) -> Result<&Folder, Error> {
        let mut ready = self.inner.ready.lock().unwrap_or_else(PoisonError::into_inner);
        if *ready {
            return self.folder();
        }
        if self.inner.folder.get().is_none() {
            make::layout(&self.inner.path)?;
        }
        let folder = self.folder()?;
        let blobs = folder.make("blobs")?;
        if folder.length(INDEX)?.is_none() {
            self.update(folder, |_| Ok(true))?;
        }
        sweep::old(&blobs, sweep::AGE)?;
        self.hold(blobs)?;
        *ready = true;
        Ok(folder)
    }

    /// Changes `index.json`, alone among all processes, unless `change` says that there is nothing to change.
    fn update(
        &self,
        folder: &Folder,
        change: impl FnOnce(&mut Index) -> Result<bool, Error>,
    ) -> Result<(), Error> {
        let _lock = folder.lock(make::MARKER, false, true)?;
        let mut index = read_index(folder)?.unwrap_or_else(Index::new);
        if !change(&mut index)? {
            return Ok(());
        }
        // Nobody else writes it while the lock is held.
        let new = format!(".{INDEX}.new");
        let failed = |error| Error::io(folder.path().join(&new), error);
        let bytes = index.to_bytes().map_err(|error| failed(error.into()))?;
        let Some(mut file) = folder.replace(&new)? else {
            return Err(Error::NoDirectory(self.inner.path.clone()));
        };
        if let Err(error) = file.write_all(&bytes).and_then(|()| file.sync_all()) {
            let _ = folder.remove(&new);
            return Err(failed(error));
        }
        folder.rename(&new, folder, INDEX)?;
        folder.sync()
    }

    /// The directory that a blob would lie in, if it is there.
    fn place(&self, digest: &Digest) -> Result<Option<Folder>, Error> {
        let Some(folder) = self.made()? else { return Ok(None) };
        let Some(blobs) = folder.folder("blobs")? else { return Ok(None) };
        blobs.folder(digest.algorithm().name())
    }

    /// Where a blob lies, in messages.
    fn path(&self, digest: &Digest) -> PathBuf {
        let place = self.inner.path.join("blobs").join(digest.algorithm().name());
        place.join(digest.hex())
    }

    fn length(&self, digest: &Digest) -> Result<Option<u64>, Error> {
        match self.place(digest)? {
            Some(place) => place.length(&digest.hex()),
            None => Ok(None),
        }
    }

    fn put(
        &self,
        selector: &Selector,
        manifest: &Manifest,
        expected: Option<Expected>,
    ) -> Result<Replaced, Error> {
        let manifest = catalog::checked(selector, manifest)?;
        if let Some(expected) = expected {
            // Before anything is written; what counts is what is found under the lock.
            let found = catalog::found(self, &*self.index()?, selector)?;
            if !expected.is(found) {
                return Ok(Replaced::Refused(found));
            }
        }
        let digest = manifest.digest();
        let folder = self.ready()?;
        let blobs = folder.make("blobs")?;
        let done = blobs.make(digest.algorithm().name())?;
        partial::put(&blobs, &done, &digest.hex(), (&digest, manifest.raw()), true)?;
        let descriptor = manifest.descriptor();
        let failed = |error: serde_json::Error| Error::io(folder.path().join(INDEX), error);
        match selector {
            Selector::Digest(digest) if self.root != Some(*digest) => return Ok(Replaced::Done),
            _ => {}
        }
        // What is named lies on the disk, with all below it.
        if let Some(blobs) = folder.folder("blobs")? {
            for algorithm in ["sha256", "sha512"] {
                blobs.folder(algorithm)?.map_or(Ok(()), |blobs| blobs.sync())?;
            }
            blobs.sync()?;
        }
        let mut replaced = Replaced::Done;
        self.update(folder, |index| {
            if let Some(expected) = expected {
                let found = catalog::found(self, index, selector)?;
                if !expected.is(found) {
                    replaced = Replaced::Refused(found);
                    return Ok(false);
                }
            }
            match selector {
                Selector::Tag(tag) => index.name(tag.as_str(), &descriptor).map_err(failed),
                Selector::Digest(_) => match &self.name {
                    Some(name) => index.name(name, &descriptor).map_err(failed),
                    None => index.add(&descriptor).map_err(failed),
                },
            }
        })?;
        Ok(replaced)
    }

    fn remove(&self, selector: &Selector) -> Result<(), Error> {
        let Some(folder) = self.made()? else {
            return Err(Error::NoDirectory(self.inner.path.clone()));
        };
        match selector {
            Selector::Tag(tag) => self.update(folder, |index| {
                let missing = || Error::NoTag { tag: tag.clone(), others: index.tags() };
                if index.find(tag) == Found::Nothing { Err(missing()) } else { Ok(index.remove_tag(tag)) }
            }),
            Selector::Digest(digest) => {
                if self.index()?.entry(digest).is_none() {
                    // A layer is nobody's to delete.
                    catalog::manifest(self, selector)?;
                }
                self.update(folder, |index| Ok(index.remove(digest)))?;
                self.place(digest)?.map_or(Ok(false), |place| place.remove(&digest.hex())).map(|_| ())
            }
        }
    }
}

impl Catalog for Layout {
    fn index(&self) -> Result<Arc<Index>, Error> {
        let Some(folder) = self.made()? else { return Ok(Index::new().into()) };
        match read_index(folder)? {
            Some(index) => Ok(index.into()),
            // Another process is making it at this moment, or has died over it.
            None if self.inner.creates => Ok(Index::new().into()),
            None => Err(Error::Index { path: self.index_path(), reason: "it is missing".to_owned() }),
        }
    }

    fn index_path(&self) -> PathBuf {
        self.inner.path.join(INDEX)
    }

    fn blob(&self, digest: &Digest) -> Result<Extent, Error> {
        let file = match self.place(digest)? {
            Some(place) => place.read(&digest.hex())?,
            None => None,
        };
        let path = self.path(digest);
        Extent::of(file.ok_or_else(|| Error::NoBlob(path.clone()))?, path)
    }

    fn root(&self) -> Option<Digest> {
        self.root
    }
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "oci:{}", self.inner.path.display())
    }
}

fn read_index(folder: &Folder) -> Result<Option<Index>, Error> {
    let path = folder.path().join(INDEX);
    let Some(mut file) = folder.read(INDEX)? else { return Ok(None) };
    let bytes = content::whole(&mut file, &path, INDEX_LIMIT)?;
    Index::parse(&bytes).map(Some).map_err(|reason| Error::Index { path, reason })
}

#[async_trait]
impl Store for Layout {
    fn name(&self) -> String {
        self.to_string()
    }

    async fn resolve(&self, selector: &Selector) -> Result<Descriptor, StoreError> {
        Ok(self.manifest(selector).await?.descriptor())
    }

    async fn manifest(&self, selector: &Selector) -> Result<Manifest, StoreError> {
        let asked = selector.clone();
        let doing = format!("reading manifest {}", named(self, selector));
        blocking::with(self, doing, move |layout| catalog::manifest(layout, &asked)).await
    }

    async fn put_manifest(&self, selector: &Selector, manifest: &Manifest) -> Result<(), StoreError> {
        let (asked, manifest) = (selector.clone(), manifest.clone());
        let doing = format!("writing manifest {}", named(self, selector));
        blocking::with(self, doing, move |layout| layout.put(&asked, &manifest, None)).await.map(|_| ())
    }

    async fn replace_manifest(
        &self,
        selector: &Selector,
        manifest: &Manifest,
        expected: Expected,
    ) -> Result<Replaced, StoreError> {
        let (asked, manifest) = (selector.clone(), manifest.clone());
        let doing = format!("writing manifest {}", named(self, selector));
        blocking::with(self, doing, move |layout| layout.put(&asked, &manifest, Some(expected))).await
    }

    async fn delete(&self, selector: &Selector) -> Result<(), StoreError> {
        let asked = selector.clone();
        let doing = format!("deleting {}", named(self, selector));
        blocking::with(self, doing, move |layout| layout.remove(&asked)).await
    }

    fn referrers<'a>(
        &'a self,
        subject: &'a Digest,
        artifact_type: Option<&'a str>,
    ) -> BoxStream<'a, Result<Vec<Descriptor>, StoreError>> {
        stream::once(catalog::referrers(self, subject, artifact_type)).boxed()
    }

    fn tags(&self) -> BoxStream<'_, Result<Vec<Tag>, StoreError>> {
        let doing = self.doing("listing the tags of");
        let tags = blocking::with(self, doing, |layout| Ok(layout.index()?.tags()));
        stream::once(tags).boxed()
    }

    async fn contains(&self, blob: &Descriptor) -> Result<bool, StoreError> {
        match self.length(&blob.digest) {
            Ok(length) => Ok(length == Some(blob.size)),
            Err(error) => Err(error.doing(format!("looking for blob {} in {self}", blob.digest))),
        }
    }

    async fn resolve_blob(&self, digest: &Digest) -> Result<Descriptor, StoreError> {
        let length = self.length(digest).and_then(|length| length.ok_or(Error::NoBlob(self.path(digest))));
        let length = length.map_err(|error| error.doing(format!("looking for blob {digest} in {self}")))?;
        Ok(Descriptor::new(MediaType::OCTET_STREAM, *digest, length))
    }

    async fn read(&self, blob: &Descriptor, range: Range<u64>) -> Result<ByteStream, StoreError> {
        content::read(self.blob(&blob.digest), blob, range)
    }

    async fn file(&self, blob: &Descriptor) -> Option<Arc<File>> {
        content::file(self.blob(&blob.digest), blob)
    }

    async fn write(&self, blob: &Descriptor, _: Option<&Repository>) -> Result<Opened, StoreError> {
        let doing = format!("writing blob {} to {self}", blob.digest);
        let open = |layout: &Self, blob: &Descriptor| {
            let blobs = layout.ready()?.make("blobs")?;
            let done = blobs.make(blob.digest.algorithm().name())?;
            Partial::begin(blobs, done, blob, true)
        };
        partial::write(self, doing, blob, open).await
    }

    async fn kept(&self, blob: &Descriptor) -> u64 {
        let kept = || match self.made()?.map(|folder| folder.folder("blobs")).transpose()?.flatten() {
            Some(blobs) => partial::kept(&blobs, blob),
            None => Ok(0),
        };
        // It is but a hope.
        kept().unwrap_or_default()
    }
}
