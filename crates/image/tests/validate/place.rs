//! A place that holds whatever it is told to, right or wrong, and the validation of it.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use image::validate::{Finding, Report};
use image::{Error, Validation};
use oci::{Descriptor, Digest, Manifest, MediaType, Repository, Selector, Tag};
use serde_json::Value;
use store::{ByteStream, Kind, Opened, Silent, Store};
use testkit::images::{Blob, Graph};

/// Everything is kept under the digest that is claimed, unchecked; `latest` is the root.
#[derive(Clone, Debug, Default)]
pub(crate) struct Place(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    root: Option<Digest>,
    blobs: BTreeMap<Digest, Bytes>,
    manifests: BTreeMap<Digest, (MediaType, Bytes)>,
    /// Manifests are handed out although their digests are wrong.
    lies: bool,
    failing: Option<(Digest, Kind)>,
    /// Why the length of a blob cannot be told.
    mute: Option<Kind>,
    /// Blobs of another length are refused, as registries' are.
    strict: bool,
    log: Vec<String>,
}

impl Place {
    pub(crate) fn of(graph: &Graph) -> Self {
        let place = Self::default();
        let mut inner = place.0.lock().unwrap();
        graph.visit(&mut |graph| {
            for blob in &graph.blobs {
                inner.blobs.insert(digest(blob), blob.bytes.to_vec().into());
            }
            let content = (MediaType::new(&graph.manifest.media_type), graph.manifest.bytes.to_vec().into());
            inner.manifests.insert(digest(&graph.manifest), content);
        });
        inner.root = Some(digest(&graph.manifest));
        drop(inner);
        place
    }

    /// Takes away the blob, or the manifest, of this digest.
    pub(crate) fn without(self, digest: Digest) -> Self {
        let mut inner = self.0.lock().unwrap();
        assert!(inner.blobs.remove(&digest).is_some() | inner.manifests.remove(&digest).is_some());
        drop(inner);
        self
    }

    /// Keeps other bytes under a digest.
    pub(crate) fn with(self, digest: Digest, bytes: impl Into<Bytes>) -> Self {
        let mut inner = self.0.lock().unwrap();
        let bytes = bytes.into();
        if let Some((_, kept)) = inner.manifests.get_mut(&digest) {
            *kept = bytes;
        } else {
            *inner.blobs.get_mut(&digest).unwrap() = bytes;
        }
        drop(inner);
        self
    }

    /// Hands out manifests unchecked; `digest` leads to the root.
    pub(crate) fn lying(self, digest: Digest) -> Self {
        let mut inner = self.0.lock().unwrap();
        inner.lies = true;
        let root = inner.manifests[&inner.root.unwrap()].clone();
        inner.manifests.insert(digest, root);
        drop(inner);
        self
    }

    /// Fails where this is asked for.
    pub(crate) fn failing(self, digest: Digest, kind: Kind) -> Self {
        self.0.lock().unwrap().failing = Some((digest, kind));
        self
    }

    /// Cannot tell the length of a blob.
    pub(crate) fn mute(self, kind: Kind) -> Self {
        self.0.lock().unwrap().mute = Some(kind);
        self
    }

    /// Refuses blobs whose length is not that of their descriptor.
    pub(crate) fn strict(self) -> Self {
        self.0.lock().unwrap().strict = true;
        self
    }

    /// What has been read.
    pub(crate) fn log(&self) -> Vec<String> {
        self.0.lock().unwrap().log.clone()
    }

    fn ask(&self, line: String, digest: &Digest) -> Result<std::sync::MutexGuard<'_, Inner>, store::Error> {
        let mut inner = self.0.lock().unwrap();
        inner.log.push(line);
        match inner.failing.filter(|(failing, _)| failing == digest) {
            Some((_, kind)) => Err(store::Error::new(kind, "reading from a place", "it fails")),
            None => Ok(inner),
        }
    }
}

pub(crate) fn digest(blob: &Blob) -> Digest {
    blob.digest.parse().unwrap()
}

fn not_found() -> store::Error {
    store::Error::new(Kind::NotFound, "reading from a place", "there is none")
}

#[async_trait]
impl Store for Place {
    fn name(&self) -> String {
        "place".to_owned()
    }

    async fn resolve(&self, selector: &Selector) -> Result<Descriptor, store::Error> {
        Ok(self.manifest(selector).await?.descriptor())
    }

    async fn manifest(&self, selector: &Selector) -> Result<Manifest, store::Error> {
        let root = self.0.lock().unwrap().root.unwrap();
        let digest = match selector {
            Selector::Digest(digest) => *digest,
            Selector::Tag(tag) if *tag == Tag::latest() => root,
            Selector::Tag(_) => return Err(not_found()),
        };
        // Answers come in another order than questions.
        for _ in 0..digest.hex().as_bytes()[0] % 16 {
            tokio::task::yield_now().await;
        }
        let inner = self.ask(format!("manifest {digest}"), &digest)?;
        let (media_type, bytes) = inner.manifests.get(&digest).cloned().ok_or_else(not_found)?;
        let manifest = if inner.lies {
            Manifest::new(bytes, Some(media_type))
        } else {
            Manifest::verified(bytes, Some(media_type), digest)
        };
        manifest.map_err(|error| store::Error::manifest("reading from a place", error))
    }

    async fn put_manifest(&self, _: &Selector, _: &Manifest) -> Result<(), store::Error> {
        unreachable!("a validation writes nothing")
    }

    fn tags(&self) -> BoxStream<'_, Result<Vec<Tag>, store::Error>> {
        futures_util::stream::empty().boxed()
    }

    async fn contains(&self, blob: &Descriptor) -> Result<bool, store::Error> {
        let inner = self.ask(format!("contains {}", blob.digest), &blob.digest)?;
        Ok(inner.blobs.contains_key(&blob.digest))
    }

    async fn resolve_blob(&self, digest: &Digest) -> Result<Descriptor, store::Error> {
        let inner = self.ask(format!("resolve {digest}"), digest)?;
        if let Some(kind) = inner.mute {
            return Err(store::Error::new(kind, "reading from a place", "it cannot tell the length"));
        }
        let size = inner.blobs.get(digest).ok_or_else(not_found)?.len() as u64;
        Ok(Descriptor::new(MediaType::OCTET_STREAM, *digest, size))
    }

    async fn read(&self, blob: &Descriptor, range: Range<u64>) -> Result<ByteStream, store::Error> {
        if range.is_empty() {
            return Ok(futures_util::stream::empty().boxed());
        }
        let inner = self.ask(format!("read {}", blob.digest), &blob.digest)?;
        let content = inner.blobs.get(&blob.digest).cloned().ok_or_else(not_found)?;
        if inner.strict && content.len() as u64 != blob.size {
            return Err(store::Error::new(Kind::Other, "reading from a place", "another length"));
        }
        // In pieces, as from a network.
        let pieces: Vec<_> = content.chunks(100).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
        Ok(futures_util::stream::iter(pieces).boxed())
    }

    async fn write(&self, _: &Descriptor, _: Option<&Repository>) -> Result<Opened, store::Error> {
        unreachable!("a validation writes nothing")
    }
}

pub(crate) fn validation(place: &Place) -> Validation {
    Validation::new(Arc::new(place.clone()), Arc::new(Silent))
}

pub(crate) async fn validate(validation: Validation) -> Result<Report, Error> {
    image::validate(validation, &Tag::latest().into(), None).await
}

/// The report on a place that can be looked at.
pub(crate) async fn report(place: &Place) -> Report {
    validate(validation(place)).await.unwrap()
}

/// The same without the layers' bytes.
pub(crate) async fn fast(place: &Place) -> Report {
    validate(Validation { fast: true, ..validation(place) }).await.unwrap()
}

/// Where and what.
pub(crate) fn lines<'a>(findings: impl Iterator<Item = &'a Finding>) -> Vec<String> {
    findings.map(|finding| format!("{}: {}", finding.place, finding.problem)).collect()
}

/// Exactly these errors and notes come out, with and without the layers' bytes.
#[track_caller]
pub(crate) fn assert_found(report: &Report, errors: &[&str], notes: &[&str]) {
    assert_eq!(lines(report.errors()), errors);
    assert_eq!(lines(report.notes()), notes);
    assert_eq!(report.is_valid(), errors.is_empty());
}

/// The same image with another config; the manifest follows.
pub(crate) fn with_config(graph: &Graph, edit: impl FnOnce(&mut Value)) -> Graph {
    let mut config: Value = serde_json::from_slice(&graph.blobs[0].bytes).unwrap();
    edit(&mut config);
    with_blob(graph, 0, config.to_string().as_bytes())
}

/// The same image or artifact with other bytes for one of its blobs; the manifest follows.
pub(crate) fn with_blob(graph: &Graph, at: usize, bytes: &[u8]) -> Graph {
    let mut blobs = graph.blobs.clone();
    blobs[at] = Blob::new(&blobs[at].media_type, bytes);
    let descriptor = blobs[at].descriptor();
    let graph = with_manifest(graph, |manifest| match at {
        0 => manifest["config"] = descriptor,
        layer => manifest["layers"][layer - 1] = descriptor,
    });
    Graph { blobs, ..graph }
}

/// The same image or index with another manifest.
pub(crate) fn with_manifest(graph: &Graph, edit: impl FnOnce(&mut Value)) -> Graph {
    let mut manifest = graph.json();
    edit(&mut manifest);
    let manifest = Blob::new(&graph.manifest.media_type, manifest.to_string().as_bytes());
    Graph { manifest, ..graph.clone() }
}
