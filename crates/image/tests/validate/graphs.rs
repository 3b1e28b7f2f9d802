//! What is right, how it is read, and a place that fails.

use std::collections::BTreeSet;
use std::num::NonZeroUsize;

use image::Error;
use oci::{Algorithm, Platform, Tag};
use store::Kind;
use testkit::images::{self, Layer};

use crate::place::{Place, assert_found, digest, fast, report, validate, validation, with_blob};

#[tokio::test]
async fn every_kind_passes() {
    for graph in [
        images::single(),
        images::eight_platforms(),
        images::docker_schema2(),
        images::docker_list(),
        images::zstd(),
        images::artifact(),
        images::nested_index(),
        images::sha512(),
        images::large(300_000),
    ] {
        let place = Place::of(&graph);
        assert_found(&report(&place).await, &[], &[]);
        assert_found(&fast(&place).await, &[], &[]);
    }
}

#[tokio::test]
async fn shared_parts_are_read_once() {
    let graph = images::eight_platforms();
    let place = Place::of(&graph);
    let found = report(&place).await;
    let log = place.log();
    let different: BTreeSet<&String> = log.iter().collect();
    assert_eq!(different.len(), log.len(), "{log:#?}");
    // Eight images of a config and a layer each, and a layer that all share.
    assert_eq!((found.manifests, found.blobs, log.len()), (9, 17, 26));
    assert_eq!(found.digest, Some(digest(&graph.manifest)));
    assert_eq!(found.images, images::EIGHT_PLATFORMS);
    let mut sizes = std::collections::BTreeMap::new();
    graph.visit(&mut |graph| {
        let parts = graph.blobs.iter().chain([&graph.manifest]);
        sizes.extend(parts.map(|blob| (blob.digest.clone(), blob.bytes.len() as u64)));
    });
    assert_eq!(found.bytes, sizes.values().sum::<u64>());
}

#[tokio::test]
async fn fast_reads_no_layers() {
    let graph = images::eight_platforms();
    let place = Place::of(&graph);
    assert_eq!(fast(&place).await.blobs, 17);
    let (read, asked): (Vec<_>, Vec<_>) = place
        .log()
        .into_iter()
        .filter(|line| !line.starts_with("manifest"))
        .partition(|line| line.starts_with("read"));
    assert_eq!((read.len(), asked.len()), (8, 9));
}

#[tokio::test]
async fn one_platform_alone() {
    let graph = images::eight_platforms();
    let bad = with_blob(&graph.children[3], 2, b"no gzip");
    let mut children = graph.children.clone();
    children[3] = bad;
    let place = Place::of(&images::index(children));
    let select = async |platform: &str| {
        let platform: Platform = platform.parse().unwrap();
        image::validate(validation(&place), &Tag::latest().into(), Some(&platform)).await
    };
    let found = select("linux/amd64").await.unwrap();
    assert!(found.is_valid());
    assert_eq!((found.manifests, found.images), (1, vec!["image".to_owned()]));
    assert!(!select("linux/arm64").await.unwrap().is_valid());
    assert!(!report(&place).await.is_valid());
    let missing = select("linux/riscv64").await.unwrap_err();
    assert!(matches!(missing, Error::Select(transfer::Error::NoChild { .. })), "{missing}");
}

#[tokio::test]
async fn several_gzip_members_are_one_layer() {
    let layer = Layer::new().file("a", "content");
    let (tar, single) = (layer.tar(), images::Image::new([layer]).build());
    let (first, second) = tar.split_at(700);
    let mut members = Vec::new();
    for part in [first, second] {
        let mut gzip = layer::Encoder::new(Vec::new(), layer::Encoding::GZIP, NonZeroUsize::MIN).unwrap();
        std::io::Write::write_all(&mut gzip, part).unwrap();
        members.extend(gzip.finish().unwrap());
    }
    assert_found(&report(&Place::of(&with_blob(&single, 1, &members))).await, &[], &[]);
}

#[tokio::test]
async fn a_place_that_fails_is_no_finding() {
    let graph = images::eight_platforms();
    let child = &graph.children[2];
    for part in [&graph.manifest, &child.manifest, &child.blobs[0], &child.blobs[2]] {
        for kind in [Kind::Interrupted, Kind::Unreachable, Kind::Denied, Kind::Other] {
            let place = Place::of(&graph).failing(digest(part), kind);
            for fast in [false, true] {
                let error = validate(image::Validation { fast, ..validation(&place) }).await.unwrap_err();
                assert_eq!(error.kind(), Some(kind));
            }
        }
    }
    let nothing =
        image::validate(validation(&Place::of(&graph)), &Tag::new("no").unwrap().into(), None).await;
    assert_eq!(nothing.unwrap_err().kind(), Some(Kind::NotFound));
}

#[tokio::test]
async fn a_root_that_cannot_be_read() {
    let graph = images::single();
    let root = digest(&graph.manifest);
    let place = Place::of(&graph).with(root, &b"{}"[..]);
    let found = report(&place).await;
    let problem = format!(
        "manifest: digest mismatch: expected {root}, the manifest is {}",
        Algorithm::Sha256.digest(b"{}")
    );
    assert_found(&found, &[&problem], &[]);
    assert_eq!(found.digest, None);
    let amd64 = Platform::linux_amd64();
    let selected = image::validate(validation(&place), &Tag::latest().into(), Some(&amd64)).await.unwrap();
    assert_found(&selected, &[&problem], &[]);
}
