//! skopeo's `dir:`, as a store: one image in a directory, its manifest as `manifest.json`, the manifests of its platforms as
//! `<hex>.manifest.json`, its blobs as `<hex>` (containers-transports(5), "dir").

use std::fmt;
use std::fs::File;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::BoxStream;
use futures_util::{StreamExt, stream};
use oci::{Algorithm, Descriptor, Digest, Manifest, MediaType, Repository, Selector, Tag};
use store::{ByteStream, Error as StoreError, Opened, Store};

use crate::blocking;
use crate::catalog::{self, named};
use crate::content::{self, Extent};
use crate::error::Error;
use crate::folder::Folder;
use crate::partial::{self, Partial};
use crate::sweep;

/// The image's own manifest.
const MANIFEST: &str = "manifest.json";

/// Tells what the directory is.
const VERSION: &str = "version";
const VERSION_BEGINNING: &str = "Directory Transport Version: ";
const VERSION_CONTENT: &str = "Directory Transport Version: 1.1\n";

/// The most that is read of a manifest, in bytes: as of a registry.
const MANIFEST_LIMIT: u64 = 4 << 20;

/// A directory with one image. Clones share it.
///
/// It knows no tags: whatever tag is asked for or put is the one image. A manifest that is put by its digest is that of a
/// platform, unless [`Directory::with_root`] says that it is the image's own.
#[derive(Clone, Debug)]
pub struct Directory {
    inner: Arc<Inner>,
    root: Option<Digest>,
}

#[derive(Debug)]
struct Inner {
    path: PathBuf,
}

impl Directory {
    /// Opens a directory to read from. Blocks for a moment.
    ///
    /// # Errors
    /// [`Kind::NotFound`](store::Kind::NotFound) if there is none, or no `manifest.json` in it.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        let directory = Self::new(path.as_ref());
        let look = || {
            let folder = Folder::open(path.as_ref())?;
            let missing = || Error::NoManifest(path.as_ref().join(MANIFEST));
            folder.length(MANIFEST)?.map(|_| ()).ok_or_else(missing)
        };
        look().map_err(|error| error.doing(format!("opening {directory}")))?;
        Ok(directory)
    }

    /// Opens a directory to write to; it is made with the first thing that is written. Blocks for a moment.
    ///
    /// # Errors
    /// [`Kind::Other`](store::Kind::Other) if it has other content.
    pub fn create(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        let directory = Self::new(path.as_ref());
        let look = || match Folder::open(path.as_ref()) {
            Err(Error::NoDirectory(_)) => Ok(()),
            folder => check(&folder?),
        };
        look().map_err(|error| error.doing(format!("opening {directory}")))?;
        Ok(directory)
    }

    /// The one image. Blocks for a moment.
    ///
    /// # Errors
    /// [`Kind::Invalid`](store::Kind::Invalid) if its manifest is none.
    pub fn only(&self) -> Result<Selector, StoreError> {
        let manifest = self.manifest_of(&Tag::latest().into());
        Ok(manifest.map_err(|error| error.doing(format!("looking into {self}")))?.digest().into())
    }

    fn new(path: &Path) -> Self {
        Self { inner: Inner { path: path.to_owned() }.into(), root: None }
    }

    /// The same directory, where the manifest of this digest is the image's own when it is put by its digest.
    #[must_use]
    pub fn with_root(self, digest: Digest) -> Self {
        Self { root: Some(digest), ..self }
    }

    fn folder(&self) -> Result<Folder, Error> {
        Folder::open(&self.inner.path)
    }

    /// The directory, ready for being written to.
    fn ready(&self) -> Result<Folder, Error> {
        let path = &self.inner.path;
        std::fs::create_dir_all(path).map_err(|error| Error::io(path, error))?;
        let folder = self.folder()?;
        check(&folder)?;
        let version = Algorithm::Sha256.digest(VERSION_CONTENT.as_bytes());
        partial::put(&folder, &folder, VERSION, (&version, VERSION_CONTENT.as_bytes()), true)?;
        Ok(folder)
    }

    fn content(&self, name: &str) -> Result<Option<Extent>, Error> {
        let path = self.inner.path.join(name);
        let folder = match self.folder() {
            Err(Error::NoDirectory(_)) => return Ok(None),
            folder => folder?,
        };
        folder.read(name)?.map(|file| Extent::of(file, path)).transpose()
    }

    fn blob(&self, digest: &Digest) -> Result<Extent, Error> {
        let missing = || Error::NoBlob(self.inner.path.join(digest.hex()));
        self.content(&digest.hex())?.ok_or_else(missing)
    }

    fn manifest_of(&self, selector: &Selector) -> Result<Manifest, Error> {
        let missing = |name: &str| Error::NoManifest(self.inner.path.join(name));
        let own = self.content(MANIFEST)?.map(|content| content.whole(MANIFEST_LIMIT)).transpose()?;
        match (selector, own) {
            (Selector::Tag(_), Some(own)) => Ok(Manifest::new(own.into(), None)?),
            (Selector::Tag(_), None) => Err(missing(MANIFEST)),
            // Where another is to be the image's own, this one does not stay there.
            (Selector::Digest(digest), Some(own))
                if self.root.is_none_or(|root| root == *digest)
                    && digest.algorithm().digest(&own) == *digest =>
            {
                Ok(Manifest::verified(own.into(), None, *digest)?)
            }
            (Selector::Digest(digest), _) => {
                let name = manifest_name(digest);
                let content = self.content(&name)?.ok_or_else(|| missing(&name))?;
                // The image's own has to stand at its place.
                if self.root == Some(*digest) {
                    return Err(missing(MANIFEST));
                }
                Ok(Manifest::verified(Bytes::from(content.whole(MANIFEST_LIMIT)?), None, *digest)?)
            }
        }
    }

    fn put(&self, selector: &Selector, manifest: &Manifest) -> Result<(), Error> {
        let manifest = catalog::checked(selector, manifest)?;
        let digest = manifest.digest();
        let name = match selector {
            Selector::Digest(digest) if self.root != Some(*digest) => manifest_name(digest),
            _ => MANIFEST.to_owned(),
        };
        let folder = self.ready()?;
        folder.sync()?;
        partial::put(&folder, &folder, &name, (&digest, manifest.raw()), true)?;
        folder.sync()
    }
}

/// Makes sure that an image may be put into a directory: it is empty but for what has been begun, or has one already.
fn check(folder: &Folder) -> Result<(), Error> {
    // Another process, or task, may have made it one since.
    if has_version(folder)? || is_vacant(folder)? || has_version(folder)? {
        return Ok(());
    }
    Err(Error::NoImageDirectory(folder.path().to_owned()))
}

fn is_vacant(folder: &Folder) -> Result<bool, Error> {
    Ok(folder.names()?.iter().all(|name| name == partial::FOLDER))
}

fn has_version(folder: &Folder) -> Result<bool, Error> {
    let Some(mut file) = folder.read(VERSION)? else { return Ok(false) };
    let version = content::whole(&mut file, &folder.path().join(VERSION), MANIFEST_LIMIT)?;
    Ok(version.starts_with(VERSION_BEGINNING.as_bytes()))
}

fn manifest_name(digest: &Digest) -> String {
    format!("{}.{MANIFEST}", digest.hex())
}

impl fmt::Display for Directory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "dir:{}", self.inner.path.display())
    }
}

#[async_trait]
impl Store for Directory {
    fn name(&self) -> String {
        self.to_string()
    }

    async fn resolve(&self, selector: &Selector) -> Result<Descriptor, StoreError> {
        Ok(self.manifest(selector).await?.descriptor())
    }

    async fn manifest(&self, selector: &Selector) -> Result<Manifest, StoreError> {
        let asked = selector.clone();
        let doing = format!("reading manifest {}", named(self, selector));
        blocking::with(self, doing, move |directory| directory.manifest_of(&asked)).await
    }

    async fn put_manifest(&self, selector: &Selector, manifest: &Manifest) -> Result<(), StoreError> {
        let (asked, manifest) = (selector.clone(), manifest.clone());
        let doing = format!("writing manifest {}", named(self, selector));
        blocking::with(self, doing, move |directory| directory.put(&asked, &manifest)).await
    }

    fn tags(&self) -> BoxStream<'_, Result<Vec<Tag>, StoreError>> {
        stream::once(std::future::ready(Ok(Vec::new()))).boxed()
    }

    async fn contains(&self, blob: &Descriptor) -> Result<bool, StoreError> {
        let content = self.content(&blob.digest.hex());
        let content =
            content.map_err(|error| error.doing(format!("looking for blob {} in {self}", blob.digest)))?;
        Ok(content.is_some_and(|content| content.length == blob.size))
    }

    async fn resolve_blob(&self, digest: &Digest) -> Result<Descriptor, StoreError> {
        let content =
            self.blob(digest).map_err(|error| error.doing(format!("looking for blob {digest} in {self}")))?;
        Ok(Descriptor::new(MediaType::OCTET_STREAM, *digest, content.length))
    }

    async fn read(&self, blob: &Descriptor, range: Range<u64>) -> Result<ByteStream, StoreError> {
        content::read(self.blob(&blob.digest), blob, range)
    }

    async fn file(&self, blob: &Descriptor) -> Option<Arc<File>> {
        content::file(self.blob(&blob.digest), blob)
    }

    async fn write(&self, blob: &Descriptor, _: Option<&Repository>) -> Result<Opened, StoreError> {
        let doing = format!("writing blob {} to {self}", blob.digest);
        let open = |directory: &Self, blob: &Descriptor| {
            let folder = directory.ready()?;
            sweep::old(&folder, sweep::AGE)?;
            Partial::begin(folder, directory.folder()?, blob, true)
        };
        partial::write(self, doing, blob, open).await
    }

    async fn kept(&self, blob: &Descriptor) -> u64 {
        // It is but a hope.
        self.folder().and_then(|folder| partial::kept(&folder, blob)).unwrap_or_default()
    }
}
