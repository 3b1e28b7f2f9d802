//! What is no image.

use serde_json::{Value, json};
use testkit::images::{self, Blob, Graph};

use crate::place::{Place, assert_found, digest, fast, report, with_manifest};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// An artifact of one file, whose media type may be anything.
fn artifact(media_type: &str) -> Graph {
    let config = Blob::new("application/vnd.oci.empty.v1+json", b"{}");
    let file = Blob::new(media_type, b"no archive at all");
    let manifest = json!({
        "schemaVersion": 2, "mediaType": MANIFEST, "artifactType": "application/vnd.example",
        "config": config.descriptor(), "layers": [file.descriptor()],
    });
    Graph::leaf(&manifest, vec![config, file])
}

#[tokio::test]
async fn files_of_any_kind() {
    // oras calls every file a tar unless told otherwise.
    for media_type in ["text/plain", "application/vnd.oci.image.layer.v1.tar"] {
        let graph = artifact(media_type);
        let found = report(&Place::of(&graph)).await;
        assert_found(&found, &[], &[]);
        assert!(found.images.is_empty());
        for (at, place) in [(0, "config"), (1, "layer 1")] {
            let blob = digest(&graph.blobs[at]);
            let missing = format!("{place}: is missing");
            assert_found(&report(&Place::of(&graph).without(blob)).await, &[&missing], &[]);
            assert_found(&fast(&Place::of(&graph).without(blob)).await, &[&missing], &[]);
            let damaged = vec![b'x'; graph.blobs[at].bytes.len()];
            let found = report(&Place::of(&graph).with(blob, damaged)).await;
            assert!(found.errors().next().unwrap().problem.starts_with("digest mismatch"), "{found:#?}");
        }
        let graph = with_manifest(&graph, |manifest| manifest["layers"][0]["data"] = json!("e30="));
        let problem = "layer 1: the embedded data is not what digest and size promise";
        assert_found(&report(&Place::of(&graph)).await, &[problem], &[]);
    }
}

#[tokio::test]
async fn the_early_artifact_manifest() {
    let blob = Blob::new("text/plain", b"text");
    let manifest = json!({
        "mediaType": "application/vnd.oci.artifact.manifest.v1+json",
        "artifactType": "application/vnd.example", "blobs": [blob.descriptor()],
    });
    let graph = Graph::leaf(&manifest, vec![blob]);
    assert_found(&report(&Place::of(&graph)).await, &[], &[]);
    let place = Place::of(&graph).without(digest(&graph.blobs[0]));
    assert_found(&report(&place).await, &["layer 1: is missing"], &[]);
}

/// A blob that is config and file at once, as in most artifacts without either.
#[tokio::test]
async fn an_empty_artifact_is_read_once() {
    let graph = with_manifest(&images::artifact(), |manifest| {
        manifest["layers"] = json!([manifest["config"]]);
    });
    let place = Place::of(&graph);
    assert_found(&report(&place).await, &[], &[]);
    assert_eq!(place.log().len(), 2);
}

/// Of nothing, nothing is read; it has to be there all the same.
#[tokio::test]
async fn a_file_without_content() {
    let file = Blob::new("text/plain", b"");
    let graph =
        with_manifest(&images::artifact(), |manifest| manifest["layers"] = json!([file.descriptor()]));
    let graph = Graph { blobs: [&graph.blobs[..], &[file]].concat(), ..graph };
    assert_found(&report(&Place::of(&graph)).await, &[], &[]);
    let place = Place::of(&graph).without(digest(&graph.blobs[1]));
    assert_found(&report(&place).await, &["layer 1: is missing"], &[]);
}

/// As `BuildKit` attaches them: images by their config, for no platform, of layers that are no archives.
#[tokio::test]
async fn attestations() {
    let statement = Blob::new("application/vnd.in-toto+json", b"{\"predicate\":{}}");
    let config = json!({
        "architecture": "unknown", "os": "unknown", "config": {},
        "rootfs": {"type": "layers", "diff_ids": [statement.digest]},
    });
    let config = Blob::new("application/vnd.oci.image.config.v1+json", config.to_string().as_bytes());
    let manifest = json!({
        "schemaVersion": 2, "mediaType": MANIFEST,
        "config": config.descriptor(), "layers": [statement.descriptor()],
    });
    let attestation = Graph {
        platform: Some("unknown/unknown".to_owned()),
        ..Graph::leaf(&manifest, vec![config, statement])
    };
    let graph = images::index([images::single(), attestation]);
    let found = report(&Place::of(&graph)).await;
    assert_found(&found, &[], &[]);
    assert_eq!(found.images, ["linux/amd64", "entry 2"]);
    let place = Place::of(&graph).without(digest(&graph.children[1].blobs[1]));
    assert_found(&report(&place).await, &["entry 2: layer 1: is missing"], &[]);
}

/// An image with something beside its layers, of which the config knows nothing.
#[tokio::test]
async fn an_image_with_more_than_layers() {
    let single = images::single();
    let extra = Blob::new("application/vnd.example.index", b"index");
    let graph = with_manifest(&single, |manifest| {
        let layers: &mut Vec<Value> = manifest["layers"].as_array_mut().unwrap();
        layers.insert(0, extra.descriptor());
    });
    let mut blobs = single.blobs.clone();
    blobs.push(extra);
    let found = report(&Place::of(&Graph { blobs, ..graph })).await;
    assert_found(&found, &[], &["config: the history has 2 layers, the manifest 3"]);
}
