//! Questions and manifests wait for their turn with a host, as blobs do.

use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use futures_util::stream::BoxStream;
use oci::{Descriptor, Digest, Manifest, Repository, Selector, Tag};
use store::{ByteStream, Error, Expected, Opened, Replaced, Slot, Store};

/// A store whose short exchanges take a slot of the host's pace each. Not for whoever holds a slot: two who hold one and
/// want another would wait for each other.
#[derive(Clone, Debug)]
pub(crate) struct Paced(pub(crate) Arc<dyn Store>);

impl Paced {
    async fn slot(&self) -> Option<Slot> {
        match self.0.pace() {
            Some(pace) => Some(pace.acquire(1).await),
            None => None,
        }
    }
}

#[async_trait]
impl Store for Paced {
    fn name(&self) -> String {
        self.0.name()
    }

    async fn resolve(&self, selector: &Selector) -> Result<Descriptor, Error> {
        let _slot = self.slot().await;
        self.0.resolve(selector).await
    }

    async fn manifest(&self, selector: &Selector) -> Result<Manifest, Error> {
        let _slot = self.slot().await;
        self.0.manifest(selector).await
    }

    async fn put_manifest(&self, selector: &Selector, manifest: &Manifest) -> Result<(), Error> {
        let _slot = self.slot().await;
        self.0.put_manifest(selector, manifest).await
    }

    async fn replace_manifest(
        &self,
        selector: &Selector,
        manifest: &Manifest,
        expected: Expected,
    ) -> Result<Replaced, Error> {
        let _slot = self.slot().await;
        self.0.replace_manifest(selector, manifest, expected).await
    }

    fn tags(&self) -> BoxStream<'_, Result<Vec<Tag>, Error>> {
        self.0.tags()
    }

    async fn contains(&self, blob: &Descriptor) -> Result<bool, Error> {
        let _slot = self.slot().await;
        self.0.contains(blob).await
    }

    async fn resolve_blob(&self, digest: &Digest) -> Result<Descriptor, Error> {
        let _slot = self.slot().await;
        self.0.resolve_blob(digest).await
    }

    async fn read(&self, blob: &Descriptor, range: Range<u64>) -> Result<ByteStream, Error> {
        self.0.read(blob, range).await
    }

    async fn write(&self, blob: &Descriptor, origin: Option<&Repository>) -> Result<Opened, Error> {
        self.0.write(blob, origin).await
    }

    fn origin(&self) -> Option<&Repository> {
        self.0.origin()
    }

    fn origin_of(&self, blob: &Descriptor) -> Option<&Repository> {
        self.0.origin_of(blob)
    }

    fn is_new(&self, content: &Descriptor) -> bool {
        self.0.is_new(content)
    }
}
