//! A store in memory, for tests and for what is built on the way.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use oci::{Descriptor, Digest, Manifest, Repository, Selector, Tag, Verifier};

use crate::{ByteStream, Error, Kind, Opened, Store, Writer};

/// Holds everything in memory. Clones share the content.
#[derive(Clone, Debug)]
pub struct MemoryStore {
    name: String,
    content: Arc<Mutex<Content>>,
}

#[derive(Debug, Default)]
struct Content {
    blobs: BTreeMap<Digest, Bytes>,
    manifests: BTreeMap<Digest, Manifest>,
    tags: BTreeMap<Tag, Digest>,
}

impl MemoryStore {
    /// An empty store that messages call `name`.
    pub fn new(name: &str) -> Self {
        Self { name: name.to_owned(), content: Arc::default() }
    }

    /// Puts a blob in at once.
    pub fn insert(&self, content: Bytes, media_type: oci::MediaType) -> Descriptor {
        let blob = Descriptor::of(media_type, oci::Algorithm::Sha256, &content);
        self.lock().blobs.insert(blob.digest, content);
        blob
    }

    fn lock(&self) -> MutexGuard<'_, Content> {
        // The content is whole at every moment, so a panic elsewhere does not spoil it.
        self.content.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn missing(&self, what: &str) -> Error {
        Error::new(Kind::NotFound, format!("reading {what} of {}", self.name), "not found")
    }
}

#[async_trait]
impl Store for MemoryStore {
    fn name(&self) -> String {
        self.name.clone()
    }

    async fn resolve(&self, selector: &Selector) -> Result<Descriptor, Error> {
        Ok(self.manifest(selector).await?.descriptor())
    }

    async fn manifest(&self, selector: &Selector) -> Result<Manifest, Error> {
        let content = self.lock();
        let digest = match selector {
            Selector::Digest(digest) => Some(digest),
            Selector::Tag(tag) => content.tags.get(tag),
        };
        let manifest = digest.and_then(|digest| content.manifests.get(digest)).cloned();
        manifest.ok_or_else(|| self.missing(&format!("manifest {selector}")))
    }

    async fn put_manifest(&self, selector: &Selector, manifest: &Manifest) -> Result<(), Error> {
        let mut content = self.lock();
        if let Selector::Tag(tag) = selector {
            content.tags.insert(tag.clone(), manifest.digest());
        }
        content.manifests.insert(manifest.digest(), manifest.clone());
        Ok(())
    }

    async fn delete(&self, selector: &Selector) -> Result<(), Error> {
        let mut content = self.lock();
        let found = match selector {
            Selector::Tag(tag) => content.tags.remove(tag).is_some(),
            Selector::Digest(digest) => {
                content.tags.retain(|_, named| named != digest);
                content.manifests.remove(digest).is_some()
            }
        };
        let doing = || format!("deleting {selector} from {}", self.name);
        found.then_some(()).ok_or_else(|| Error::new(Kind::NotFound, doing(), "not found"))
    }

    fn tags(&self) -> BoxStream<'_, Result<Vec<Tag>, Error>> {
        let tags = self.lock().tags.keys().cloned().collect();
        futures_util::stream::once(std::future::ready(Ok(tags))).boxed()
    }

    async fn contains(&self, blob: &Descriptor) -> Result<bool, Error> {
        Ok(self.lock().blobs.contains_key(&blob.digest))
    }

    async fn resolve_blob(&self, digest: &Digest) -> Result<Descriptor, Error> {
        let size = self.lock().blobs.get(digest).map(|content| content.len() as u64);
        let size = size.ok_or_else(|| self.missing(&format!("blob {digest}")))?;
        Ok(Descriptor::new(oci::MediaType::OCTET_STREAM, *digest, size))
    }

    async fn read(&self, blob: &Descriptor, range: Range<u64>) -> Result<ByteStream, Error> {
        let content = self.lock().blobs.get(&blob.digest).cloned();
        let content = content.ok_or_else(|| self.missing(&format!("blob {}", blob.digest)))?;
        let clamp = |at: u64| usize::try_from(at).unwrap_or(usize::MAX).min(content.len());
        let bytes = content.slice(clamp(range.start)..clamp(range.end).max(clamp(range.start)));
        Ok(futures_util::stream::once(std::future::ready(Ok(bytes))).boxed())
    }

    async fn write(&self, blob: &Descriptor, _: Option<&Repository>) -> Result<Opened, Error> {
        Ok(Opened::Writer(Box::new(MemoryWriter {
            store: self.clone(),
            verifier: Verifier::new(blob),
            digest: blob.digest,
            content: BytesMut::new(),
        })))
    }
}

struct MemoryWriter {
    store: MemoryStore,
    verifier: Verifier,
    digest: Digest,
    content: BytesMut,
}

impl MemoryWriter {
    fn fail(&self, error: oci::VerifyError) -> Error {
        Error::verify(format!("writing blob {} to {}", self.digest, self.store.name), error)
    }
}

#[async_trait]
impl Writer for MemoryWriter {
    async fn write(&mut self, bytes: Bytes) -> Result<(), Error> {
        self.verifier.update(&bytes).map_err(|error| self.fail(error))?;
        self.content.extend_from_slice(&bytes);
        Ok(())
    }

    async fn commit(self: Box<Self>) -> Result<(), Error> {
        self.verifier.clone().finish().map_err(|error| self.fail(error))?;
        let Self { store, digest, content, .. } = *self;
        store.lock().blobs.insert(digest, content.freeze());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn behaves_as_a_store() {
        let store = MemoryStore::new("memory");
        crate::conformance::run(&store).now_or_never().unwrap();
    }
}
