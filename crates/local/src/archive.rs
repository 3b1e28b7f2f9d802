//! An archive of images that is there, as a store to read from: an OCI image layout in a tar file, or what `docker save`
//! writes.

mod docker;
mod laid;
mod name;
mod new;
mod spool;
mod streamed;
mod table;
mod target;

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::fs::File;
use std::io::BufRead;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::BoxStream;
use futures_util::{StreamExt, stream};
use oci::{Descriptor, Digest, Manifest, MediaType, Reference, Repository, Selector, Tag};
use store::{ByteStream, Error as StoreError, Kind, Opened, Store};

use crate::blocking;
use crate::catalog::{self, Catalog, named};
use crate::content::{self, Extent};
use crate::error::Error;
use crate::index::Index;
use crate::make;

pub(crate) use docker::names as docker_names;
pub use name::{ArchiveFormat, ArchiveName, ArchiveNameError, Wanted};
pub use new::NewArchive;
use table::Table;

/// The list of an OCI image layout, and its marker.
const INDEX: &str = "index.json";

/// The most that is read of `index.json` and `oci-layout`, in bytes.
const INDEX_LIMIT: u64 = 64 << 20;

/// An archive of images. Clones share it.
///
/// It is opened by one reading of its headers, and never unpacked. One that is compressed, or comes through a pipe, is kept
/// inflated in an unlinked temporary file, of 64 GiB at most, as long as it is open.
///
/// An archive that is an OCI image layout has manifests, whoever wrote it; newer versions of `docker save` write such ones.
/// For what older ones and others write, manifests of docker's schema 2 are made, with the layers as they are.
#[derive(Clone, Debug)]
pub struct Archive {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    /// What messages call it.
    label: String,
    path: PathBuf,
    table: Table,
    index: Arc<Index>,
    /// The manifests in the order of the archive's list.
    order: Vec<Digest>,
    /// Manifests that were made, and what they refer to.
    made: HashMap<Digest, Bytes>,
    blobs: HashMap<Digest, Extent>,
}

impl Archive {
    /// Opens an archive; `-` is standard input.
    ///
    /// # Errors
    /// [`Kind::NotFound`] if there is none, [`Kind::Invalid`] if it is none of this format, or not whole.
    pub async fn open(format: ArchiveFormat, path: impl AsRef<Path>) -> Result<Self, StoreError> {
        let path = path.as_ref().to_owned();
        let doing = format!("opening {}:{}", format.prefix(), path.display());
        let open = move || {
            let file = if path == Path::new("-") {
                spool::spool(std::io::stdin().lock(), &path)?
            } else {
                spool::open(&path)?
            };
            Self::read(format, file, &path)
        };
        blocking::run(doing, open).await
    }

    /// Opens what docker saves as it comes.
    pub(crate) async fn of_docker(
        reader: impl BufRead + Send + 'static,
        label: String,
    ) -> Result<Self, StoreError> {
        let (path, doing) = (PathBuf::from(&label), format!("opening {label}"));
        let open = move || {
            let file = spool::spool(reader, &path)?;
            let mut archive = Self::read(ArchiveFormat::Docker, file, &path)?;
            if let Some(inner) = Arc::get_mut(&mut archive.inner) {
                inner.label = label;
            }
            Ok(archive)
        };
        blocking::run(doing, open).await
    }

    fn read(format: ArchiveFormat, file: File, path: &Path) -> Result<Self, Error> {
        let table = Table::scan(file, path)?;
        let label = format!("{}:{}", format.prefix(), path.display());
        let inner = match (table.find(make::MARKER), table.find(INDEX)) {
            (Some(marker), Some(index)) => {
                make::check(&marker.whole(INDEX_LIMIT)?, &marker.path)?;
                let index = Index::parse(&index.whole(INDEX_LIMIT)?)
                    .map_err(|reason| Error::Index { path: index.path, reason })?;
                // An image with several names has several entries.
                let mut order: Vec<Digest> = index.descriptors().map(|entry| entry.digest).collect();
                let mut met = HashSet::new();
                order.retain(|digest| met.insert(*digest));
                if format == ArchiveFormat::Docker {
                    order = docker::order(&table, path, &index).unwrap_or(order);
                }
                let (made, blobs) = (HashMap::new(), HashMap::new());
                Inner { label, path: path.to_owned(), table, index: index.into(), order, made, blobs }
            }
            _ if format == ArchiveFormat::Oci => {
                let reason = if table.find(docker::MANIFEST).is_some() {
                    "it has no OCI image layout, but what `docker save` writes: docker-archive: reads it"
                } else {
                    "it has no OCI image layout: no oci-layout, or no index.json"
                };
                return Err(Error::archive(path, reason));
            }
            _ => {
                let listed = docker::list(&table, path)?;
                if listed.is_empty() {
                    return Err(Error::archive(path, "it has no image: no manifest.json, or an empty one"));
                }
                let made = docker::make(&table, path, &listed)?;
                Inner {
                    label,
                    path: path.to_owned(),
                    table,
                    index: made.index.into(),
                    order: made.order,
                    made: made.manifests,
                    blobs: made.blobs,
                }
            }
        };
        Ok(Self { inner: inner.into() })
    }

    /// The `index.json` of an OCI image layout, byte for byte: it is an index itself. `None` if the archive is no layout.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn index_json(&self) -> Result<Option<Bytes>, StoreError> {
        let index = self.inner.table.find(make::MARKER).and_then(|_| self.inner.table.find(INDEX));
        let read = index.map(|index| index.whole(INDEX_LIMIT).map(Bytes::from)).transpose();
        read.map_err(|error| error.doing(format!("looking into {self}")))
    }

    /// The names that images have, as they are written: tags, and whole references.
    pub fn named_images(&self) -> Vec<(String, Digest)> {
        self.inner.index.names().map(|(name, digest)| (name.to_owned(), digest)).collect()
    }

    /// What a person means in it.
    ///
    /// # Errors
    /// [`Kind::NotFound`] if it is not there, with the names of what is; [`Kind::Other`] if nothing was said and there are
    /// several.
    pub fn find(&self, wanted: Option<&Wanted>) -> Result<Selector, StoreError> {
        let found = match wanted {
            None => catalog::only(self),
            Some(Wanted::Selector(selector)) => Ok(selector.clone()),
            Some(Wanted::Position(position)) => {
                let (at, count) = (usize::try_from(*position).unwrap_or(usize::MAX), self.inner.order.len());
                let missing =
                    || Error::archive(&*self.inner.path, format!("it has {count} images, counted from 0"));
                self.inner.order.get(at).map(|digest| (*digest).into()).ok_or_else(missing)
            }
            Some(Wanted::Name(name)) => self.find_name(name),
        };
        found.map_err(|error| error.doing(format!("looking into {self}")))
    }

    /// The image of a name: however much of it docker leaves out, or a tag that only one image has.
    fn find_name(&self, wanted: &str) -> Result<Selector, Error> {
        let full = |name: &str| name.parse::<Reference>().ok().map(|reference| reference.to_string());
        let index = &self.inner.index;
        let same = |name: &str| name == wanted || full(name).is_some_and(|name| Some(name) == full(wanted));
        if let Some((_, digest)) = index.names().find(|(name, _)| same(name)) {
            return Ok(digest.into());
        }
        if let Ok(tag) = Tag::new(wanted)
            && index.tags().contains(&tag)
        {
            return Ok(tag.into());
        }
        let others = index.names().map(|(name, _)| name.to_owned()).collect();
        Err(Error::NoImage { wanted: wanted.to_owned(), others })
    }

    /// The names of its images as they are written there, in order.
    pub fn names(&self) -> Vec<String> {
        self.inner.index.names().map(|(name, _)| name.to_owned()).collect()
    }

    fn unchanging<T>(&self, doing: &str) -> Result<T, StoreError> {
        Err(StoreError::new(Kind::Unsupported, format!("{doing} {self}"), "an archive is written as a whole"))
    }
}

impl fmt::Display for Archive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.inner.label)
    }
}

impl Catalog for Archive {
    fn kept(&self, digest: &Digest) -> Option<&Bytes> {
        self.inner.made.get(digest)
    }

    fn index(&self) -> Result<Arc<Index>, Error> {
        Ok(Arc::clone(&self.inner.index))
    }

    fn index_path(&self) -> PathBuf {
        self.inner.table.path(INDEX)
    }

    fn blob(&self, digest: &Digest) -> Result<Extent, Error> {
        if let Some(content) = self.inner.blobs.get(digest) {
            return Ok(content.clone());
        }
        let name = docker::blob_name(digest);
        self.inner.table.find(&name).ok_or_else(|| Error::NoBlob(self.inner.table.path(&name)))
    }
}

#[async_trait]
impl Store for Archive {
    fn name(&self) -> String {
        self.to_string()
    }

    async fn resolve(&self, selector: &Selector) -> Result<Descriptor, StoreError> {
        Ok(self.manifest(selector).await?.descriptor())
    }

    async fn manifest(&self, selector: &Selector) -> Result<Manifest, StoreError> {
        let asked = selector.clone();
        let doing = format!("reading manifest {}", named(self, selector));
        blocking::with(self, doing, move |archive| catalog::manifest(archive, &asked)).await
    }

    async fn put_manifest(&self, _: &Selector, _: &Manifest) -> Result<(), StoreError> {
        self.unchanging("writing to")
    }

    fn referrers<'a>(
        &'a self,
        subject: &'a Digest,
        artifact_type: Option<&'a str>,
    ) -> BoxStream<'a, Result<Vec<Descriptor>, StoreError>> {
        stream::once(catalog::referrers(self, subject, artifact_type)).boxed()
    }

    fn tags(&self) -> BoxStream<'_, Result<Vec<Tag>, StoreError>> {
        stream::once(std::future::ready(Ok(self.inner.index.tags()))).boxed()
    }

    async fn contains(&self, blob: &Descriptor) -> Result<bool, StoreError> {
        Ok(self.blob(&blob.digest).is_ok_and(|content| content.length == blob.size))
    }

    async fn resolve_blob(&self, digest: &Digest) -> Result<Descriptor, StoreError> {
        let content =
            self.blob(digest).map_err(|error| error.doing(format!("looking for blob {digest} in {self}")))?;
        Ok(Descriptor::new(MediaType::OCTET_STREAM, *digest, content.length))
    }

    async fn read(&self, blob: &Descriptor, range: Range<u64>) -> Result<ByteStream, StoreError> {
        content::read(self.blob(&blob.digest), blob, range)
    }

    async fn write(&self, _: &Descriptor, _: Option<&Repository>) -> Result<Opened, StoreError> {
        self.unchanging("writing to")
    }
}
