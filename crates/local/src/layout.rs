//! An OCI image layout directory, as a store.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::Write;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::BoxStream;
use futures_util::{StreamExt, stream};
use oci::{Descriptor, Digest, Manifest, MediaType, Repository, Selector, Tag, View};
use serde::Deserialize;
use serde::de::IgnoredAny;
use store::{ByteStream, Error as StoreError, Kind, Opened, Store, of_type, referrers_by_tag};
use tokio::task::spawn_blocking;

use crate::error::Error;
use crate::folder::Folder;
use crate::index::{Found, Index};
use crate::partial::{self, Begun, Partial};
use crate::placer::LayoutPlacer;
use crate::{content, make, sweep};

const INDEX: &str = "index.json";

/// The most that is read of `index.json`, in bytes.
const INDEX_LIMIT: u64 = 64 << 20;

/// The most that is read of a manifest, in bytes: as of a registry.
const MANIFEST_LIMIT: u64 = 4 << 20;

/// How long is waited before the next look at a blob that another process is writing.
const PAUSE: Duration = Duration::from_millis(50);

/// A layout's directory. Clones share it.
///
/// Tags are the names of its entries (`org.opencontainers.image.ref.name`, and containerd's), whether they are written
/// as a tag or as a whole reference. A manifest that is put by its digest gets no entry, because most are children of an
/// index that follows; [`Layout::with_root`] says which one shall have one all the same.
#[derive(Clone, Debug)]
pub struct Layout {
    inner: Arc<Inner>,
    root: Option<Digest>,
}

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    /// Whether what is missing of it is made.
    creates: bool,
    /// Held once it is known to be a layout.
    folder: OnceLock<Folder>,
    /// Whether it has been made ready for being written to.
    ready: Mutex<bool>,
}

impl Layout {
    /// Opens the layout in `path`. Blocks for a moment.
    ///
    /// # Errors
    /// [`Kind::NotFound`] if there is none, [`Kind::Invalid`] if it is none of version 1.0.0.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        let layout = Self::new(path.as_ref(), false);
        layout.folder().map_err(|error| error.doing(layout.doing("opening")))?;
        Ok(layout)
    }

    /// Opens the layout in `path` to write to; if there is none, it is made with the first thing that is written. Blocks
    /// for a moment.
    ///
    /// # Errors
    /// [`Kind::Other`] if the directory has other content, [`Kind::Invalid`] if it is a layout, but none of version
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
        let inner =
            Inner { path: path.to_owned(), creates, folder: OnceLock::new(), ready: Mutex::new(false) };
        Self { inner: Arc::new(inner), root: None }
    }

    /// The same layout, where the manifest of this digest gets an entry when it is put by its digest, without a name
    /// unless it has one, and counts as there only when it has an entry.
    #[must_use]
    pub fn with_root(self, digest: Digest) -> Self {
        Self { root: Some(digest), ..self }
    }

    /// What is meant when only the layout is named: its only manifest, or the only one that has a tag. Blocks for a
    /// moment.
    ///
    /// # Errors
    /// [`Kind::NotFound`] if it has none, [`Kind::Other`] if it has several.
    pub fn only(&self) -> Result<Selector, StoreError> {
        let only = || {
            let index = self.index()?;
            let only = index.only().map(|(descriptor, tag)| match tag {
                Some(tag) => Selector::Tag(tag),
                None => Selector::Digest(descriptor.digest),
            });
            only.map_err(|entries| Error::Which { tags: index.tags(), entries })
        };
        only().map_err(|error| error.doing(self.doing("looking into")))
    }

    fn doing(&self, doing: &str) -> String {
        format!("{doing} {self}")
    }

    /// The directory.
    fn folder(&self) -> Result<&Folder, Error> {
        if let Some(folder) = self.inner.folder.get() {
            return Ok(folder);
        }
        let folder = Folder::open(&self.inner.path)?;
        if !make::is_layout(&folder)? {
            return Err(Error::NoLayout(self.inner.path.clone()));
        }
        Ok(self.inner.folder.get_or_init(|| folder))
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
        folder.make("blobs")?;
        if folder.length(INDEX)?.is_none() {
            self.update(folder, |_| Ok(true))?;
        }
        sweep::old(folder)?;
        *ready = true;
        Ok(folder)
    }

    fn index(&self) -> Result<Index, Error> {
        let Some(folder) = self.made()? else { return Ok(Index::new()) };
        match read_index(folder)? {
            Some(index) => Ok(index),
            // Another process is making it at this moment, or has died over it.
            None if self.inner.creates => Ok(Index::new()),
            None => Err(Error::Index { path: folder.path().join(INDEX), reason: "it is missing".to_owned() }),
        }
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

    fn blob(&self, digest: &Digest) -> Result<File, Error> {
        let file = match self.place(digest)? {
            Some(place) => place.read(&digest.hex())?,
            None => None,
        };
        file.ok_or_else(|| Error::NoBlob(self.path(digest)))
    }

    fn length(&self, digest: &Digest) -> Result<Option<u64>, Error> {
        match self.place(digest)? {
            Some(place) => place.length(&digest.hex()),
            None => Ok(None),
        }
    }

    fn read_manifest(&self, selector: &Selector) -> Result<Manifest, Error> {
        let index = self.index()?;
        let digest = match selector {
            Selector::Digest(digest) => digest,
            Selector::Tag(tag) => &self.tagged(&index, tag)?.digest,
        };
        let entry = index.entry(digest);
        if entry.is_none() && self.root == Some(*digest) {
            return Err(Error::NoManifest(self.path(digest)));
        }
        let mut file = self.blob(digest)?;
        let bytes = match content::whole(&mut file, &self.path(digest), MANIFEST_LIMIT) {
            // A layer, most likely.
            Err(Error::TooLarge { path, .. }) if entry.is_none() => return Err(Error::NoManifest(path)),
            bytes => bytes?,
        };
        if entry.is_none() && !is_manifest(&bytes) {
            return Err(Error::NoManifest(self.path(digest)));
        }
        let media_type = entry.map(|entry| entry.media_type.clone());
        Ok(Manifest::verified(Bytes::from(bytes), media_type, *digest)?)
    }

    fn tagged<'a>(&self, index: &'a Index, tag: &Tag) -> Result<&'a Descriptor, Error> {
        match index.find(tag) {
            Found::One(descriptor) => Ok(descriptor),
            Found::Nothing => Err(Error::NoTag { tag: tag.clone(), others: index.tags() }),
            Found::Several(count) => Err(Error::Ambiguous { tag: tag.clone(), count }),
            Found::Broken(reason) => Err(Error::Index {
                path: self.inner.path.join(INDEX),
                reason: format!("the entry of tag {tag}: {reason}"),
            }),
        }
    }

    fn put(&self, selector: &Selector, manifest: &Manifest) -> Result<(), Error> {
        let digest = match selector {
            Selector::Digest(digest) => *digest,
            Selector::Tag(_) => manifest.digest(),
        };
        let manifest =
            Manifest::verified(manifest.raw().clone(), Some(manifest.media_type().clone()), digest)?;
        let folder = self.ready()?;
        partial::put(folder, &digest, manifest.raw())?;
        let descriptor = manifest.descriptor();
        let failed = |error: serde_json::Error| Error::io(folder.path().join(INDEX), error);
        match selector {
            Selector::Digest(digest) if self.root != Some(*digest) => return Ok(()),
            _ => {}
        }
        // What is named lies on the disk, with all below it.
        if let Some(blobs) = folder.folder("blobs")? {
            for algorithm in ["sha256", "sha512"] {
                blobs.folder(algorithm)?.map_or(Ok(()), |blobs| blobs.sync())?;
            }
            blobs.sync()?;
        }
        self.update(folder, |index| match selector {
            Selector::Tag(tag) => index.name(tag, &descriptor).map_err(failed),
            Selector::Digest(_) => index.add(&descriptor).map_err(failed),
        })
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
                    self.read_manifest(selector)?;
                }
                self.update(folder, |index| Ok(index.remove(digest)))?;
                self.place(digest)?.map_or(Ok(false), |place| place.remove(&digest.hex())).map(|_| ())
            }
        }
    }

    /// The entries whose subject is `subject`, with what a list of referrers tells of each (distribution specification,
    /// "Listing Referrers").
    fn entries_about(&self, subject: &Digest) -> Result<Vec<Descriptor>, Error> {
        let mut about = Vec::new();
        for entry in self.index()?.descriptors() {
            let manifest = match self.read_manifest(&entry.digest.into()) {
                Ok(manifest) => manifest,
                // What is missing or damaged refers to nothing.
                Err(error) if matches!(error.kind(), Kind::NotFound | Kind::Invalid) => continue,
                Err(error) => return Err(error),
            };
            let (of, artifact_type, annotations) = match manifest.view() {
                Ok(View::Image(image)) => {
                    let config = image.config.map(|config| config.media_type.to_string());
                    (image.subject, image.artifact_type.or(config), image.annotations)
                }
                Ok(View::Index(index)) => (index.subject, None, index.annotations),
                Err(_) => continue,
            };
            if of.is_some_and(|of| of.digest == *subject) {
                about.push(Descriptor { artifact_type, annotations, ..manifest.descriptor() });
            }
        }
        Ok(about)
    }

    /// Those of the entries and those of the fallback tag.
    async fn all_about(
        &self,
        subject: &Digest,
        artifact_type: Option<&str>,
    ) -> Result<Vec<Descriptor>, StoreError> {
        let mut all: BTreeMap<Digest, Descriptor> = BTreeMap::new();
        let of = *subject;
        let doing = format!("listing what refers to {self}@{subject}");
        let entries = self.run(doing, move |layout| layout.entries_about(&of)).await?;
        for referrer in entries.into_iter().chain(referrers_by_tag(self, subject, None).await?) {
            all.entry(referrer.digest).or_insert(referrer);
        }
        Ok(of_type(all.into_values().collect(), artifact_type))
    }

    /// Does something on a thread that may wait for the disk.
    async fn run<T: Send + 'static>(
        &self,
        doing: String,
        work: impl FnOnce(&Self) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, StoreError> {
        let layout = self.clone();
        let done = spawn_blocking(move || work(&layout)).await;
        done.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
            .map_err(|error| error.doing(doing))
    }

    fn named(&self, selector: &Selector) -> String {
        match selector {
            Selector::Tag(tag) => format!("{self}:{tag}"),
            Selector::Digest(digest) => format!("{self}@{digest}"),
        }
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

/// Whether a blob that no index lists is a manifest: it says so, or has the field that all manifests have. An image's
/// configuration has neither.
fn is_manifest(bytes: &[u8]) -> bool {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Outline {
        media_type: Option<String>,
        schema_version: Option<IgnoredAny>,
    }
    serde_json::from_slice(bytes).is_ok_and(|Outline { media_type, schema_version }| {
        media_type.map_or(schema_version.is_some(), |text| MediaType::new(&text).is_manifest())
    })
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
        let doing = format!("reading manifest {}", self.named(selector));
        self.run(doing, move |layout| layout.read_manifest(&asked)).await
    }

    async fn put_manifest(&self, selector: &Selector, manifest: &Manifest) -> Result<(), StoreError> {
        let (asked, manifest) = (selector.clone(), manifest.clone());
        let doing = format!("writing manifest {}", self.named(selector));
        self.run(doing, move |layout| layout.put(&asked, &manifest)).await
    }

    async fn delete(&self, selector: &Selector) -> Result<(), StoreError> {
        let asked = selector.clone();
        let doing = format!("deleting {}", self.named(selector));
        self.run(doing, move |layout| layout.remove(&asked)).await
    }

    fn referrers<'a>(
        &'a self,
        subject: &'a Digest,
        artifact_type: Option<&'a str>,
    ) -> BoxStream<'a, Result<Vec<Descriptor>, StoreError>> {
        stream::once(self.all_about(subject, artifact_type)).boxed()
    }

    fn tags(&self) -> BoxStream<'_, Result<Vec<Tag>, StoreError>> {
        let doing = self.doing("listing the tags of");
        let tags = self.run(doing, |layout| Ok(layout.index()?.tags()));
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
        let open = || {
            let (file, path) = (self.blob(&blob.digest)?, self.path(&blob.digest));
            let found = file.metadata().map_err(|error| Error::io(&path, error))?.len();
            if found == blob.size {
                return Ok((file, path));
            }
            Err(Error::Length { path, found, expected: blob.size })
        };
        let (file, path) = open().map_err(|error| error.doing(format!("reading blob {}", blob.digest)))?;
        Ok(content::stream(file, path, blob, range.start..range.end.min(blob.size)))
    }

    async fn write(&self, blob: &Descriptor, _: Option<&Repository>) -> Result<Opened, StoreError> {
        let doing = format!("writing blob {} to {self}", blob.digest);
        loop {
            let wanted = blob.clone();
            let begun =
                self.run(doing.clone(), move |layout| Partial::begin(layout.ready()?, &wanted)).await?;
            match begun {
                (Begun::Existed, _) => return Ok(Opened::Existed),
                (Begun::Busy, _) => tokio::time::sleep(PAUSE).await,
                (Begun::Partial(partial), written) => {
                    let placer = LayoutPlacer::new(doing.clone(), blob, *partial, written.all);
                    let placer = placer.map_err(|error| error.doing(doing))?;
                    return Ok(Opened::Placer(Box::new(placer)));
                }
            }
        }
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
