//! A store with a cache before it.

use std::fs::File;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use futures_util::stream::BoxStream;
use oci::{Descriptor, Digest, Manifest, Repository, Selector, Tag};
use store::{ByteStream, Error as StoreError, Expected, Opened, Pace, Ranges, Replaced, Store};

use super::Cache;
use crate::content;

/// A store whose blobs, and manifests by digest, come out of a cache where that has them, and go into it where it has not.
/// What a tag stands for, and whether something is there, is always asked.
#[derive(Debug)]
pub struct Cached {
    cache: Cache,
    store: Arc<dyn Store>,
}

impl Cached {
    pub(super) fn new(cache: Cache, store: Arc<dyn Store>) -> Self {
        Self { cache, store }
    }
}

#[async_trait]
impl Store for Cached {
    fn name(&self) -> String {
        self.store.name()
    }

    async fn resolve(&self, selector: &Selector) -> Result<Descriptor, StoreError> {
        self.store.resolve(selector).await
    }

    async fn prepare(&self) {
        self.store.prepare().await;
    }

    async fn expect_many(&self) {
        self.store.expect_many().await;
    }

    async fn manifest(&self, selector: &Selector) -> Result<Manifest, StoreError> {
        if let Selector::Digest(digest) = selector
            && let Some(manifest) = self.cache.manifest(digest)
        {
            return Ok(manifest);
        }
        let manifest = self.store.manifest(selector).await?;
        self.cache.keep(&manifest).await;
        Ok(manifest)
    }

    async fn put_manifest(&self, selector: &Selector, manifest: &Manifest) -> Result<(), StoreError> {
        self.store.put_manifest(selector, manifest).await
    }

    async fn replace_manifest(
        &self,
        selector: &Selector,
        manifest: &Manifest,
        expected: Expected,
    ) -> Result<Replaced, StoreError> {
        self.store.replace_manifest(selector, manifest, expected).await
    }

    async fn delete(&self, selector: &Selector) -> Result<(), StoreError> {
        self.store.delete(selector).await
    }

    fn referrers<'a>(
        &'a self,
        subject: &'a Digest,
        artifact_type: Option<&'a str>,
    ) -> BoxStream<'a, Result<Vec<Descriptor>, StoreError>> {
        self.store.referrers(subject, artifact_type)
    }

    async fn list_referrer(&self, manifest: &Manifest) -> Result<Option<Tag>, StoreError> {
        self.store.list_referrer(manifest).await
    }

    async fn unlist_referrer(&self, manifest: &Manifest) -> Result<bool, StoreError> {
        self.store.unlist_referrer(manifest).await
    }

    fn counts_manifests(&self) -> bool {
        self.store.counts_manifests()
    }

    fn tags(&self) -> BoxStream<'_, Result<Vec<Tag>, StoreError>> {
        self.store.tags()
    }

    async fn contains(&self, blob: &Descriptor) -> Result<bool, StoreError> {
        self.store.contains(blob).await
    }

    async fn resolve_blob(&self, digest: &Digest) -> Result<Descriptor, StoreError> {
        self.store.resolve_blob(digest).await
    }

    async fn read(&self, blob: &Descriptor, range: Range<u64>) -> Result<ByteStream, StoreError> {
        if let Some(found) = self.cache.proven(blob).await {
            return content::read(Ok(found), blob, range);
        }
        let Some(fill) = self.cache.fill(blob).await else { return self.store.read(blob, range).await };
        if fill.is_full() {
            // Whoever wrote it could not complete it.
            fill.settle().await;
            if let Some(found) = self.cache.proven(blob).await {
                return content::read(Ok(found), blob, range);
            }
        }
        let start = range.start;
        let stream = self.store.read(blob, range).await?;
        Ok(Cache::tee(stream, start, fill))
    }

    async fn file(&self, blob: &Descriptor) -> Option<Arc<File>> {
        self.cache.give(blob)
    }

    async fn doubt(&self, blob: &Descriptor) -> bool {
        self.cache.doubt(&blob.digest)
    }

    fn ranges(&self) -> Ranges {
        self.store.ranges()
    }

    async fn write(&self, blob: &Descriptor, origin: Option<&Repository>) -> Result<Opened, StoreError> {
        self.store.write(blob, origin).await
    }

    async fn lay_out(&self, contents: &[Descriptor]) -> Result<(), StoreError> {
        self.store.lay_out(contents).await
    }

    fn in_order(&self) -> bool {
        self.store.in_order()
    }

    async fn finish(&self) -> Result<(), StoreError> {
        self.store.finish().await
    }

    async fn kept(&self, blob: &Descriptor) -> u64 {
        self.store.kept(blob).await
    }

    fn origin(&self) -> Option<&Repository> {
        self.store.origin()
    }

    fn origin_of(&self, blob: &Descriptor) -> Option<&Repository> {
        self.store.origin_of(blob)
    }

    fn is_new(&self, blob: &Descriptor) -> bool {
        self.store.is_new(blob)
    }

    fn seen(&self, blob: &Descriptor) -> Option<Repository> {
        self.store.seen(blob)
    }

    fn pace(&self) -> Option<&Arc<Pace>> {
        self.store.pace()
    }
}
