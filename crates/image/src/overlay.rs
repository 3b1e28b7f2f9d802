//! What is new of an image, over the places that have the rest.

use std::collections::HashMap;
use std::fs::File;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::{self, BoxStream, StreamExt};
use oci::{Descriptor, Digest, Manifest, Repository, Selector, Tag};
use store::{ByteStream, Error, Kind, Opened, Pace, Ranges, Store};

/// A place to read from: what was made here, and behind it other places, each with its content. Whoever copies out of it
/// moves what is new, and mounts the rest or finds it there.
#[derive(Debug)]
pub struct Overlay {
    /// The first is asked for all that is not known to be elsewhere.
    places: Vec<Arc<dyn Store>>,
    elsewhere: HashMap<Digest, usize>,
    manifests: HashMap<Digest, Manifest>,
    blobs: HashMap<Digest, Content>,
}

/// A new blob.
#[derive(Clone, Debug)]
enum Content {
    Bytes(Bytes),
    /// All of a file.
    File(Arc<File>),
}

impl Overlay {
    /// Nothing new yet.
    pub fn over(place: Arc<dyn Store>) -> Self {
        Self {
            places: vec![place],
            elsewhere: HashMap::new(),
            manifests: HashMap::new(),
            blobs: HashMap::new(),
        }
    }

    /// Adds a manifest.
    pub fn add_manifest(&mut self, manifest: Manifest) {
        self.manifests.insert(manifest.digest(), manifest);
    }

    /// Adds a blob.
    pub fn add_blob(&mut self, digest: Digest, content: Bytes) {
        self.blobs.insert(digest, Content::Bytes(content));
    }

    /// Adds a blob that is all of a file.
    pub fn add_file(&mut self, digest: Digest, file: Arc<File>) {
        self.blobs.insert(digest, Content::File(file));
    }

    /// Has blobs and manifests come from another place, unless they are known to be elsewhere.
    pub fn add_place(&mut self, place: Arc<dyn Store>, contents: impl IntoIterator<Item = Digest>) {
        let at = self.places.len();
        self.places.push(place);
        for digest in contents {
            self.elsewhere.entry(digest).or_insert(at);
        }
    }

    fn place(&self, digest: &Digest) -> &Arc<dyn Store> {
        &self.places[self.elsewhere.get(digest).copied().unwrap_or_default()]
    }

    fn read_only(doing: String) -> Error {
        Error::new(Kind::Unsupported, doing, "what is about to be written somewhere can only be read")
    }
}

#[async_trait]
impl Store for Overlay {
    fn name(&self) -> String {
        self.places[0].name()
    }

    async fn resolve(&self, selector: &Selector) -> Result<Descriptor, Error> {
        match selector {
            Selector::Digest(digest) => match self.manifests.get(digest) {
                Some(manifest) => Ok(manifest.descriptor()),
                None => self.place(digest).resolve(selector).await,
            },
            Selector::Tag(_) => self.places[0].resolve(selector).await,
        }
    }

    async fn prepare(&self) {
        self.places[0].prepare().await;
    }

    async fn expect_many(&self) {
        self.places[0].expect_many().await;
    }

    async fn manifest(&self, selector: &Selector) -> Result<Manifest, Error> {
        match selector {
            Selector::Digest(digest) => match self.manifests.get(digest) {
                Some(manifest) => Ok(manifest.clone()),
                None => self.place(digest).manifest(selector).await,
            },
            Selector::Tag(_) => self.places[0].manifest(selector).await,
        }
    }

    async fn put_manifest(&self, selector: &Selector, _: &Manifest) -> Result<(), Error> {
        Err(Self::read_only(format!("writing manifest {selector}")))
    }

    fn tags(&self) -> BoxStream<'_, Result<Vec<Tag>, Error>> {
        stream::empty().boxed()
    }

    async fn contains(&self, blob: &Descriptor) -> Result<bool, Error> {
        Ok(self.blobs.contains_key(&blob.digest) || self.place(&blob.digest).contains(blob).await?)
    }

    async fn resolve_blob(&self, digest: &Digest) -> Result<Descriptor, Error> {
        self.place(digest).resolve_blob(digest).await
    }

    async fn read(&self, blob: &Descriptor, range: Range<u64>) -> Result<ByteStream, Error> {
        match self.blobs.get(&blob.digest) {
            Some(Content::Bytes(bytes)) => {
                // A range lies within the blob, and the blob in memory.
                let at = |offset| usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
                let part = bytes.slice(at(range.start)..at(range.end));
                Ok(stream::once(std::future::ready(Ok(part))).boxed())
            }
            Some(Content::File(file)) => {
                let doing = format!("reading blob {}", blob.digest);
                Ok(store::file_pieces(Arc::clone(file), range, doing))
            }
            None => self.place(&blob.digest).read(blob, range).await,
        }
    }

    async fn file(&self, blob: &Descriptor) -> Option<Arc<File>> {
        match self.blobs.get(&blob.digest) {
            Some(Content::Bytes(_)) => None,
            Some(Content::File(file)) => Some(Arc::clone(file)),
            None => self.place(&blob.digest).file(blob).await,
        }
    }

    async fn doubt(&self, blob: &Descriptor) -> bool {
        !self.blobs.contains_key(&blob.digest) && self.place(&blob.digest).doubt(blob).await
    }

    fn ranges(&self) -> Ranges {
        self.places[0].ranges()
    }

    async fn write(&self, blob: &Descriptor, _: Option<&Repository>) -> Result<Opened, Error> {
        Err(Self::read_only(format!("writing blob {}", blob.digest)))
    }

    fn origin_of(&self, blob: &Descriptor) -> Option<&Repository> {
        let own = self.blobs.contains_key(&blob.digest);
        self.place(&blob.digest).origin_of(blob).filter(|_| !own)
    }

    fn is_new(&self, content: &Descriptor) -> bool {
        let digest = &content.digest;
        self.blobs.contains_key(digest) || self.manifests.contains_key(digest)
    }

    fn pace(&self) -> Option<&Arc<Pace>> {
        self.places[0].pace()
    }
}
