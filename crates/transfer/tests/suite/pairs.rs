//! Generated graphs through all pairs of places on this machine: nothing changes.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use local::{Archive, ArchiveFormat, Directory, Layout, NewArchive};
use oci::{Algorithm, Digest, Manifest, MediaType, Selector};
use proptest::prelude::*;
use store::{MemoryStore, Silent, Store, collect};
use transfer::{Graph, Options, Transfer, Walk};

use crate::images::{describe, index, put, tag};

/// One manifest: an image or artifact of so many layers, or an index of some that were made before it.
#[derive(Clone, Debug)]
struct Shape {
    is_index: bool,
    /// Of the layers, the lengths; of an index, the children.
    parts: Vec<prop::sample::Index>,
    types: [MediaType; 2],
}

fn shapes() -> impl Strategy<Value = Vec<Shape>> {
    let types = prop_oneof![
        Just([MediaType::OCI_CONFIG, MediaType::OCI_LAYER]),
        Just([MediaType::OCI_CONFIG, MediaType::new("application/vnd.oci.image.layer.v1.tar+zstd")]),
        Just([MediaType::DOCKER_CONFIG, MediaType::DOCKER_LAYER]),
        Just([
            MediaType::new("application/vnd.cncf.helm.config.v1+json"),
            MediaType::new("application/vnd.cncf.helm.chart.content.v1.tar+gzip")
        ]),
    ];
    let parts = prop::collection::vec(any::<prop::sample::Index>(), 0..5);
    let shape =
        (any::<bool>(), parts, types).prop_map(|(is_index, parts, types)| Shape { is_index, parts, types });
    prop::collection::vec(shape, 1..7)
}

/// Builds the graph; the last manifest is the root.
async fn build(store: &MemoryStore, shapes: &[Shape]) -> Manifest {
    let mut manifests: Vec<Manifest> = Vec::new();
    for (n, Shape { is_index, parts, types: [config, layer] }) in shapes.iter().enumerate() {
        let made = if *is_index && !manifests.is_empty() {
            let children: Vec<_> = parts.iter().map(|part| ("", part.get(&manifests))).collect();
            index(store, &children).await
        } else {
            // Some are the same in several images, one is empty.
            let insert = |part: &prop::sample::Index| {
                let (length, fill) = (part.index(90) * 37, u8::try_from(part.index(7)).unwrap());
                describe(&store.insert(vec![fill; length].into(), layer.clone()))
            };
            let layers: Vec<_> = parts.iter().map(insert).collect();
            let config = store.insert(Bytes::from(format!(r#"{{"n":{n}}}"#)), config.clone());
            let docker = *layer == MediaType::DOCKER_LAYER;
            let own = if docker { MediaType::DOCKER_MANIFEST } else { MediaType::OCI_MANIFEST };
            let (config, layers) = (describe(&config), layers.join(","));
            let json = format!(
                r#"{{"schemaVersion":2,"mediaType":"{own}","config":{config},"layers":[{layers}],"annotations":{{"n":"{n}"}}}}"#
            );
            put(store, json).await
        };
        manifests.push(made);
    }
    manifests.pop().unwrap()
}

/// Kinds of places.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Layout,
    Archive,
    Docker,
    Directory,
}

const KINDS: [Kind; 4] = [Kind::Layout, Kind::Archive, Kind::Docker, Kind::Directory];

impl Kind {
    /// Whether it can have the graph: docker takes one image.
    fn takes(self, root: &Manifest) -> bool {
        let config = || match root.view() {
            Ok(oci::View::Image(image)) => image.config,
            _ => None,
        };
        let types = [MediaType::OCI_CONFIG, MediaType::DOCKER_CONFIG];
        self != Self::Docker || config().is_some_and(|config| types.contains(&config.media_type))
    }

    /// A new one, and what the root is called there.
    fn create(self, path: &Path, root: &Manifest) -> (Arc<dyn Store>, Selector) {
        match self {
            Self::Layout => (Arc::new(Layout::create(path).unwrap()), tag("1")),
            Self::Archive => (Arc::new(NewArchive::create(ArchiveFormat::Oci, path).unwrap()), tag("1")),
            Self::Docker => (Arc::new(NewArchive::create(ArchiveFormat::Docker, path).unwrap()), tag("1")),
            Self::Directory => {
                let directory = Directory::create(path).unwrap().with_root(root.digest());
                (Arc::new(directory), root.digest().into())
            }
        }
    }

    /// One that is there, and what its only entry is called.
    async fn open(self, path: &Path) -> (Arc<dyn Store>, Selector) {
        match self {
            Self::Layout => {
                let layout = Layout::open(path).unwrap();
                let only = layout.only().unwrap();
                (Arc::new(layout), only)
            }
            Self::Archive | Self::Docker => {
                let format = if self == Self::Docker { ArchiveFormat::Docker } else { ArchiveFormat::Oci };
                let archive = Archive::open(format, path).await.unwrap();
                let only = archive.find(None).unwrap();
                (Arc::new(archive), only)
            }
            Self::Directory => {
                let directory = Directory::open(path).unwrap();
                let only = directory.only().unwrap();
                (Arc::new(directory), only)
            }
        }
    }
}

async fn copy(source: (Arc<dyn Store>, Selector), destination: (Arc<dyn Store>, Selector)) {
    let transfer = Transfer::new(source.0, destination.0, Options::default(), Arc::new(Silent));
    transfer.copy(&source.1, &destination.1).await.unwrap();
    transfer.finish().await.unwrap();
}

/// All that is in a graph, with the bytes.
async fn contents(store: &Arc<dyn Store>, root: &Selector) -> Vec<(Digest, Bytes)> {
    let root = store.manifest(root).await.unwrap();
    let graph = Graph::walk(&**store, root, &Walk::default()).await.unwrap();
    let mut all = Vec::new();
    for node in graph.manifests.values() {
        all.push((node.manifest.digest(), node.manifest.raw().clone()));
        for blob in &node.blobs {
            let bytes = collect(store.read(blob, 0..blob.size).await.unwrap(), blob, u64::MAX).await.unwrap();
            assert_eq!(Algorithm::Sha256.digest(&bytes), blob.digest);
            all.push((blob.digest, bytes));
        }
    }
    all.sort();
    all.dedup();
    all
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn every_pair_of_places_keeps_a_graph(shapes in shapes()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let directory = tempfile::tempdir().unwrap();
            let memory = MemoryStore::new("memory");
            let root = build(&memory, &shapes).await;
            let made: (Arc<dyn Store>, Selector) = (Arc::new(memory), root.digest().into());
            let expected = contents(&made.0, &made.1).await;
            for from in KINDS.into_iter().filter(|kind| kind.takes(&root)) {
                let first = directory.path().join(format!("{from:?}"));
                copy(made.clone(), from.create(&first, &root)).await;
                for to in KINDS.into_iter().filter(|kind| kind.takes(&root)) {
                    let second = directory.path().join(format!("{from:?} {to:?}"));
                    copy(from.open(&first).await, to.create(&second, &root)).await;
                    let (store, only) = to.open(&second).await;
                    let found = store.manifest(&only).await.unwrap();
                    prop_assert_eq!(found.digest(), root.digest(), "{:?} {:?}", from, to);
                    prop_assert!(contents(&store, &only).await == expected, "{:?} {:?}", from, to);
                }
            }
            Ok(())
        })?;
    }
}
