//! Images built and exported, in a store in memory.

#![expect(clippy::unwrap_used, reason = "a test fails where something is not as it should be")]

use std::io::{self, Read, Write};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use image::{Blob, Content, Error, Export, File, Layer};
use oci::{Manifest, MediaType, Platform, Selector, Tag};
use serde_json::json;
use store::{MemoryStore, Silent, Store};

/// An output that can be looked at afterwards.
#[derive(Clone, Default)]
struct Output(Arc<Mutex<Vec<u8>>>);

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn file<'a>(path: &'a str, content: &'a str) -> File<'a> {
    File { path, mode: 0o644, content: Content::File(content.as_bytes()) }
}

async fn export(store: &MemoryStore, manifest: &Manifest, spool_limit: u64) -> (Result<(), Error>, Vec<u8>) {
    let export = Export {
        store: Arc::new(store.clone()),
        observer: Arc::new(Silent),
        spool_folder: std::env::temp_dir(),
        spool_limit,
    };
    let output = Output::default();
    let outcome = image::export(export, manifest, Box::new(output.clone())).await;
    let written = output.0.lock().unwrap().clone();
    (outcome, written)
}

fn names(archive: &[u8]) -> Vec<(String, String)> {
    let mut archive = tar::Archive::new(archive);
    let read = |entry: io::Result<tar::Entry<'_, &[u8]>>| {
        let mut entry = entry.unwrap();
        let mut content = String::new();
        entry.read_to_string(&mut content).unwrap();
        (entry.path().unwrap().display().to_string(), content)
    };
    archive.entries().unwrap().map(read).collect()
}

async fn pushed(store: &MemoryStore, layers: &[&Layer]) -> Manifest {
    let image = image::push(store, &Platform::linux_amd64(), layers, &json!({})).await.unwrap();
    store.manifest(&Selector::Digest(image.digest)).await.unwrap()
}

#[tokio::test]
async fn layers_are_merged_also_when_one_comes_twice() {
    let store = MemoryStore::new("memory");
    let base = Layer::new(&[file("a", "old"), file("b", "kept")]).unwrap();
    let middle = Layer::new(&[file(".wh.a", ""), file("c", "new")]).unwrap();
    let manifest = pushed(&store, &[&base, &middle, &base]).await;
    let (outcome, archive) = export(&store, &manifest, u64::MAX).await;
    outcome.unwrap();
    let expected = [("a", "old"), ("b", "kept"), ("c", "new")];
    assert_eq!(names(&archive), expected.map(|(name, content)| (name.to_owned(), content.to_owned())));
}

#[tokio::test]
async fn equal_files_make_an_equal_image() {
    let stores = [MemoryStore::new("one"), MemoryStore::new("other")];
    let mut digests = Vec::new();
    for store in &stores {
        let layer = Layer::new(&[file("a", "x")]).unwrap();
        let image = image::push(store, &Platform::linux_amd64(), &[&layer], &json!({})).await.unwrap();
        let tag = Selector::Tag(Tag::latest());
        digests.push(image::push_index(store, &[image], &tag).await.unwrap().digest());
    }
    assert_eq!(digests[0], digests[1]);
}

#[tokio::test]
async fn nothing_of_a_damaged_layer_is_written() {
    let store = MemoryStore::new("memory");
    let layer = Layer::new(&[file("a", "content")]).unwrap();
    let manifest = pushed(&store, &[&layer]).await;
    // The same bytes but one, under the digest of the right ones.
    let mut wrong = layer.blob.content.to_vec();
    *wrong.last_mut().unwrap() ^= 1;
    let damaged = Damaged { inner: store.clone(), digest: layer.blob.descriptor.digest, wrong: wrong.into() };
    let output = Output::default();
    let export = Export {
        store: Arc::new(damaged),
        observer: Arc::new(Silent),
        spool_folder: std::env::temp_dir(),
        spool_limit: u64::MAX,
    };
    let error = image::export(export, &manifest, Box::new(output.clone())).await.unwrap_err();
    assert!(error.to_string().contains("digest mismatch"), "{error}");
    assert!(output.0.lock().unwrap().is_empty());
}

#[tokio::test]
async fn temporary_space_is_bounded() {
    let store = MemoryStore::new("memory");
    let layer = Layer::new(&[file("zeros", &"0".repeat(100_000))]).unwrap();
    let manifest = pushed(&store, &[&layer]).await;
    let (outcome, archive) = export(&store, &manifest, 50_000).await;
    assert!(matches!(outcome, Err(Error::SpoolLimit(50_000))), "{outcome:?}");
    assert!(archive.is_empty());
    export(&store, &manifest, 200_000).await.0.unwrap();
}

#[tokio::test]
async fn an_artifact_of_one_file_is_that_file() {
    let store = MemoryStore::new("memory");
    let content = store.insert(Bytes::from_static(b"plain text"), MediaType::new("text/plain"));
    let config = store.insert(Bytes::from_static(b"{}"), MediaType::OCI_EMPTY);
    let document = json!({ "schemaVersion": 2, "config": config, "layers": [content] });
    let manifest = Manifest::new(document.to_string().into(), None).unwrap();
    let (outcome, written) = export(&store, &manifest, u64::MAX).await;
    outcome.unwrap();
    assert_eq!(written, b"plain text");
    assert_eq!(image::config(&store, &manifest).await.unwrap(), "{}");
}

#[tokio::test]
async fn an_index_is_no_image() {
    let store = MemoryStore::new("memory");
    let index = Manifest::new(Bytes::from_static(b"{\"manifests\":[]}"), None).unwrap();
    let (outcome, _) = export(&store, &index, u64::MAX).await;
    assert!(matches!(outcome, Err(Error::NotAnImage(_))));
    assert!(matches!(image::config(&store, &index).await, Err(Error::NoConfig(_))));
}

#[tokio::test]
async fn blobs_are_pushed_once() {
    let store = MemoryStore::new("memory");
    let layer = Layer::new(&[file("a", "x")]).unwrap();
    let blob: &Blob = &layer.blob;
    blob.push(&store).await.unwrap();
    blob.push(&store).await.unwrap();
    assert!(store.contains(&blob.descriptor).await.unwrap());
}

/// A store that gives wrong bytes for one blob.
#[derive(Debug)]
struct Damaged {
    inner: MemoryStore,
    digest: oci::Digest,
    wrong: Bytes,
}

#[async_trait::async_trait]
impl Store for Damaged {
    fn name(&self) -> String {
        self.inner.name()
    }

    async fn resolve(&self, selector: &Selector) -> Result<oci::Descriptor, store::Error> {
        self.inner.resolve(selector).await
    }

    async fn manifest(&self, selector: &Selector) -> Result<Manifest, store::Error> {
        self.inner.manifest(selector).await
    }

    async fn put_manifest(&self, selector: &Selector, manifest: &Manifest) -> Result<(), store::Error> {
        self.inner.put_manifest(selector, manifest).await
    }

    fn tags(&self) -> futures_util::stream::BoxStream<'_, Result<Vec<Tag>, store::Error>> {
        self.inner.tags()
    }

    async fn contains(&self, blob: &oci::Descriptor) -> Result<bool, store::Error> {
        self.inner.contains(blob).await
    }

    async fn read(
        &self,
        blob: &oci::Descriptor,
        range: std::ops::Range<u64>,
    ) -> Result<store::ByteStream, store::Error> {
        if blob.digest != self.digest {
            return self.inner.read(blob, range).await;
        }
        let wrong = self.wrong.clone();
        Ok(Box::pin(futures_util::stream::once(async move { Ok(wrong) })))
    }

    async fn write(
        &self,
        blob: &oci::Descriptor,
        origin: Option<&oci::Repository>,
    ) -> Result<store::Opened, store::Error> {
        self.inner.write(blob, origin).await
    }
}
