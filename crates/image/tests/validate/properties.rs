//! Generated graphs: all of them pass, and none that is damaged does.

use oci::Digest;
use proptest::prelude::*;
use testkit::images::{self, Algorithm, Compression, Dialect, Graph, Image, Layer};

use crate::place::{Place, digest, lines, report};

fn layer() -> impl Strategy<Value = Layer> {
    let packed = prop_oneof![Just(Compression::None), Just(Compression::Gzip), Just(Compression::Zstd)];
    let files = prop::collection::btree_map("[a-z]{1,4}", prop::collection::vec(any::<u8>(), 0..2000), 0..5);
    (packed, files).prop_map(|(packed, files)| {
        files
            .into_iter()
            .fold(Layer::new(), |layer, (path, content)| layer.file(&path, content))
            .compression(packed)
    })
}

fn image(platform: &'static str) -> impl Strategy<Value = Graph> {
    let dialect = prop_oneof![Just(Dialect::Oci), Just(Dialect::Docker)];
    let algorithm = prop_oneof![4 => Just(Algorithm::Sha256), 1 => Just(Algorithm::Sha512)];
    (prop::collection::vec(layer(), 0..4), dialect, algorithm).prop_map(
        move |(layers, dialect, algorithm)| {
            Image::new(layers).dialect(dialect).algorithm(algorithm).platform(platform).build()
        },
    )
}

fn graph() -> impl Strategy<Value = Graph> {
    let leaf = prop_oneof![
        4 => prop::sample::select(&images::EIGHT_PLATFORMS[..]).prop_flat_map(image),
        1 => Just(images::artifact()),
    ];
    leaf.prop_recursive(2, 12, 4, |inner| prop::collection::vec(inner, 0..4).prop_map(images::index))
}

/// Everything that is stored, the root aside.
fn parts(graph: &Graph) -> Vec<(Digest, Vec<u8>)> {
    let mut parts = Vec::new();
    graph.visit(&mut |graph| {
        let content = graph.blobs.iter().chain([&graph.manifest]);
        parts.extend(content.map(|blob| (digest(blob), blob.bytes.to_vec())));
    });
    parts.pop();
    parts
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().build().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn what_is_right_passes(graph in graph()) {
        let found = runtime().block_on(report(&Place::of(&graph)));
        prop_assert_eq!(lines(found.findings.iter()), Vec::<String>::new());
    }

    #[test]
    fn what_is_damaged_fails(graph in graph(), part in any::<prop::sample::Index>(), at in any::<prop::sample::Index>(), cut in any::<bool>()) {
        let parts = parts(&graph);
        prop_assume!(!parts.is_empty());
        let (digest, mut bytes) = part.get(&parts).clone();
        let place = Place::of(&graph);
        prop_assert!(!runtime().block_on(report(&place.clone().without(digest))).is_valid());
        let place = Place::of(&graph);
        if cut {
            bytes.pop();
        } else {
            let at = at.index(bytes.len());
            bytes[at] ^= 1;
        }
        prop_assert!(!runtime().block_on(report(&place.with(digest, bytes))).is_valid());
    }
}
