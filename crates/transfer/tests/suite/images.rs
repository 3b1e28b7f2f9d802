//! Images and indexes for the tests, and a run to copy them.

use std::sync::Arc;

use bytes::Bytes;
use oci::{Descriptor, Manifest, MediaType, Selector, Tag};
use store::{MemoryStore, Store};
use transfer::{Options, Transfer};

use crate::place::{Lines, Place};

pub(crate) fn tag(text: &str) -> Selector {
    Tag::new(text).unwrap().into()
}

pub(crate) fn describe(blob: &Descriptor) -> String {
    format!(r#"{{"mediaType":"{}","digest":"{}","size":{}}}"#, blob.media_type, blob.digest, blob.size)
}

pub(crate) async fn put(store: &MemoryStore, json: String) -> Manifest {
    let manifest = Manifest::new(Bytes::from(json), None).unwrap();
    store.put_manifest(&manifest.digest().into(), &manifest).await.unwrap();
    manifest
}

/// An image of which each layer has the given content; its config is made of its name.
pub(crate) async fn image(store: &MemoryStore, name: &str, layers: &[&str]) -> Manifest {
    let config = store.insert(Bytes::from(format!("{{\"name\":\"{name}\"}}")), MediaType::OCI_CONFIG);
    let layers: Vec<_> = layers
        .iter()
        .map(|content| describe(&store.insert(Bytes::from((*content).to_owned()), MediaType::OCI_LAYER)))
        .collect();
    let json = format!(
        r#"{{"schemaVersion":2, "mediaType":"{}","config":{},"layers":[{}]}}"#,
        MediaType::OCI_MANIFEST,
        describe(&config),
        layers.join(",")
    );
    put(store, json).await
}

/// An index of manifests, each for a platform or for none.
pub(crate) async fn index(store: &MemoryStore, children: &[(&str, &Manifest)]) -> Manifest {
    let entries: Vec<_> = children
        .iter()
        .map(|(platform, child)| {
            let entry = describe(&child.descriptor());
            let Some((os, architecture)) = platform.split_once('/') else { return entry };
            let entry = entry.trim_end_matches('}');
            format!(r#"{entry},"platform":{{"os":"{os}","architecture":"{architecture}"}}}}"#)
        })
        .collect();
    let json = format!(
        r#"{{"schemaVersion":2,"mediaType":"{}","manifests":[{}]}}"#,
        MediaType::OCI_INDEX,
        entries.join(",")
    );
    put(store, json).await
}

/// Two platforms that share a layer, as `latest`: five blobs, three manifests.
pub(crate) async fn two_platforms(store: &MemoryStore) -> [Manifest; 3] {
    let amd64 = image(store, "amd64", &["shared layer", "for amd64"]).await;
    let arm64 = image(store, "arm64", &["shared layer", "for arm64!"]).await;
    let both = index(store, &[("linux/amd64", &amd64), ("linux/arm64", &arm64)]).await;
    store.put_manifest(&tag("latest"), &both).await.unwrap();
    [both, amd64, arm64]
}

/// A run and what it reported.
pub(crate) fn run(source: &Arc<Place>, destination: &Arc<Place>, options: Options) -> (Transfer, Arc<Lines>) {
    let lines = Arc::new(Lines::default());
    let (source, destination) = (Arc::clone(source), Arc::clone(destination));
    let observer = Arc::clone(&lines);
    (Transfer::new(source, destination, options, observer), lines)
}
