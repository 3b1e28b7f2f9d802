//! Images whose config or layers are wrong.

use base64::Engine as _;
use oci::{Algorithm, Digest};
use serde_json::json;
use store::Kind;
use testkit::images::{self, Compression, Entry, Graph, Image, Layer};

use crate::place::{
    Place, assert_found, digest, fast, lines, report, validate, validation, with_blob, with_config,
    with_manifest,
};

const GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

fn sha256(bytes: &[u8]) -> Digest {
    Algorithm::Sha256.digest(bytes)
}

/// An image of one layer.
fn of(layer: Layer) -> Graph {
    Image::new([layer]).build()
}

/// The only problem of an image, of its layer if nothing else is said.
async fn problem(graph: &Graph) -> String {
    let found = report(&Place::of(graph)).await;
    assert_eq!(found.findings.len(), 1, "{found:#?}");
    found.findings[0].problem.clone()
}

#[tokio::test]
async fn a_wrong_diff_id() {
    let wrong = sha256(b"something else");
    let graph =
        with_config(&images::single(), |config| config["rootfs"]["diff_ids"][1] = json!(wrong.to_string()));
    let right: serde_json::Value = serde_json::from_slice(&images::single().blobs[0].bytes).unwrap();
    let right = right["rootfs"]["diff_ids"][1].as_str().unwrap();
    let expected = format!("layer 2: uncompressed content is {right}, the config says {wrong}");
    assert_found(&report(&Place::of(&graph)).await, &[&expected], &[]);
    // That takes the layer's bytes.
    assert_found(&fast(&Place::of(&graph)).await, &[], &[]);
}

#[tokio::test]
async fn two_configs_that_differ_about_a_layer() {
    let wrong = sha256(b"something else");
    let good = images::single();
    let bad = with_config(&good, |config| {
        config["rootfs"]["diff_ids"][0] = json!(wrong.to_string());
        config["architecture"] = json!("arm64");
    });
    let bad = Graph { platform: Some("linux/arm64".to_owned()), ..bad };
    let place = Place::of(&images::index([good, bad]));
    let found = report(&place).await;
    assert_eq!(
        found.errors().map(|finding| finding.place.as_str()).collect::<Vec<_>>(),
        ["linux/arm64: layer 1"]
    );
}

#[tokio::test]
async fn counts_that_differ() {
    let single = images::single();
    for (ids, text) in [(1, "1 entries"), (3, "3 entries")] {
        let graph = with_config(&single, |config| {
            let id = config["rootfs"]["diff_ids"][0].clone();
            config["rootfs"]["diff_ids"].as_array_mut().unwrap().resize(ids, id);
        });
        let expected = format!("config: rootfs.diff_ids has {text}, the manifest has 2 layers");
        assert_found(&report(&Place::of(&graph)).await, &[&expected], &[]);
    }
    let graph = with_config(&single, |config| {
        config["history"] = json!([{"created_by": "a"}, {"empty_layer": true}]);
    });
    let note = "config: the history has 1 layers, the manifest 2";
    assert_found(&report(&Place::of(&graph)).await, &[], &[note]);
    let graph = with_config(&single, |config| config["history"] = json!([]));
    assert_found(&report(&Place::of(&graph)).await, &[], &[]);
}

#[tokio::test]
async fn configs_against_the_specification() {
    let single = images::single();
    let graph = with_config(&single, |config| config["rootfs"]["type"] = json!("tree"));
    assert_found(
        &report(&Place::of(&graph)).await,
        &["config: rootfs.type is \"tree\", not \"layers\""],
        &[],
    );
    for field in ["os", "architecture"] {
        let graph = with_config(&single, |config| {
            config.as_object_mut().unwrap().remove(field);
        });
        let note = "config: does not say which os and architecture it is for";
        assert_found(&report(&Place::of(&graph)).await, &[], &[note]);
    }
    let found = report(&Place::of(&with_blob(&single, 0, b"no JSON"))).await;
    assert!(lines(found.errors())[0].starts_with("config: is not a valid config: "), "{found:#?}");
    let found = report(&Place::of(&with_blob(&single, 0, &vec![b' '; (4 << 20) + 1]))).await;
    assert!(lines(found.errors())[0].contains("4194305 bytes, more than the 4194304"), "{found:#?}");
}

#[tokio::test]
async fn blobs_that_are_missing_or_damaged() {
    let graph = images::single();
    for (at, place) in [(0, "config"), (1, "layer 1"), (2, "layer 2")] {
        let blob = &graph.blobs[at];
        let missing = format!("{place}: is missing");
        let without = Place::of(&graph).without(digest(blob));
        assert_found(&report(&without).await, &[&missing], &[]);
        assert_found(&fast(&without).await, &[&missing], &[]);

        let mut flipped = blob.bytes.to_vec();
        *flipped.last_mut().unwrap() ^= 1;
        let found = sha256(&flipped);
        let problem = format!("{place}: digest mismatch: expected {}, the content is {found}", blob.digest);
        assert_found(&report(&Place::of(&graph).with(digest(blob), flipped)).await, &[&problem], &[]);

        let (size, short) = (blob.bytes.len(), blob.bytes.len() - 1);
        let problem = format!("{place}: it has {short} bytes, the descriptor says {size}");
        let cut = Place::of(&graph).with(digest(blob), blob.bytes[..short].to_vec());
        assert_found(&report(&cut).await, &[&problem], &[]);
        if at > 0 {
            assert_found(&fast(&cut).await, &[&problem], &[]);
        }
    }
}

#[tokio::test]
async fn sizes_in_descriptors() {
    let graph = images::single();
    for (at, place) in [(0, "config"), (1, "layer 1")] {
        let size = graph.blobs[at].bytes.len();
        for said in [size - 1, size + 1, 0] {
            let wrong = with_manifest(&graph, |manifest| match at {
                0 => manifest["config"]["size"] = json!(said),
                _ => manifest["layers"][0]["size"] = json!(said),
            });
            let problem = format!("{place}: it has {size} bytes, the descriptor says {said}");
            assert_found(&report(&Place::of(&wrong)).await, &[&problem], &[]);
            assert_found(&report(&Place::of(&wrong).strict()).await, &[&problem], &[]);
        }
    }
}

#[tokio::test]
async fn a_place_that_cannot_tell_lengths() {
    let graph = images::single();
    for kind in [Kind::Unsupported, Kind::Other] {
        assert_found(&fast(&Place::of(&graph).mute(kind)).await, &[], &[]);
        let place = Place::of(&graph).mute(kind).without(digest(&graph.blobs[2]));
        assert_found(&fast(&place).await, &["layer 2: is missing"], &[]);
        // Then it does not show that the blob is what is wrong.
        let cut = Place::of(&graph).strict().mute(kind).with(digest(&graph.blobs[2]), &b"short"[..]);
        assert_eq!(validate(validation(&cut)).await.unwrap_err().kind(), Some(Kind::Other));
    }
}

#[tokio::test]
async fn embedded_data() {
    let graph = images::single();
    let embed = |at: usize, data: &str| {
        with_manifest(&graph, |manifest| match at {
            0 => manifest["config"]["data"] = json!(data),
            _ => manifest["layers"][0]["data"] = json!(data),
        })
    };
    for (at, place) in [(0, "config"), (1, "layer 1")] {
        let problem = format!("{place}: the embedded data is not what digest and size promise");
        assert_found(&report(&Place::of(&embed(at, "e30="))).await, &[&problem], &[]);
        let right = base64::engine::general_purpose::STANDARD.encode(&graph.blobs[at].bytes);
        assert_found(&report(&Place::of(&embed(at, &right))).await, &[], &[]);
    }
}

#[tokio::test]
async fn what_is_inside_against_the_media_type() {
    for (packed, said, text) in [
        (Compression::Zstd, GZIP, "the content is zstd, the media type says gzip"),
        (Compression::None, GZIP, "the content is not compressed, the media type says gzip"),
        (
            Compression::Gzip,
            "application/vnd.oci.image.layer.v1.tar+zstd",
            "the content is gzip, the media type says zstd",
        ),
        (
            Compression::Gzip,
            "application/vnd.oci.image.layer.v1.tar",
            "the content is gzip, the media type says not compressed",
        ),
    ] {
        let graph = of(Layer::new().file("a", "x").compression(packed));
        let graph = with_manifest(&graph, |manifest| manifest["layers"][0]["mediaType"] = json!(said));
        assert_eq!(problem(&graph).await, text);
    }
}

#[tokio::test]
async fn a_gzip_that_breaks_off() {
    let graph = images::single();
    let whole = &graph.blobs[2].bytes;
    let cut = problem(&with_blob(&graph, 2, &whole[..whole.len() - 9])).await;
    assert!(cut.contains("gzip stream is cut short"), "{cut}");
    let mut wrong = whole.to_vec();
    let at = wrong.len() - 6;
    wrong[at] ^= 1;
    let corrupt = problem(&with_blob(&graph, 2, &wrong)).await;
    assert!(corrupt.contains("corrupt gzip stream"), "{corrupt}");
    let tailed = problem(&with_blob(&graph, 2, &[whole, &b"tail"[..]].concat())).await;
    assert!(tailed.contains("gzip"), "{tailed}");
}

#[tokio::test]
async fn archives_that_cannot_be_read() {
    let garbage = problem(&of(Layer::new().garbage(&[b'x'; 2048]))).await;
    assert!(garbage.starts_with("invalid tar archive: "), "{garbage}");
    let escape = problem(&of(Layer::new().file("../escape", "x"))).await;
    assert_eq!(escape, "entry \"../escape\": path has a `..` component");
    let twice = problem(&of(Layer::new().file("a", "x").file("./a", "y"))).await;
    assert_eq!(twice, "the archive has two entries for \"a\"");
    // What cannot be read has a digest all the same, also behind the place where it could not be read.
    let graph = of(Layer::new().garbage(&vec![b'x'; 600_000]));
    let wrong =
        with_config(&graph, |config| config["rootfs"]["diff_ids"][0] = json!(sha256(b"").to_string()));
    let found = report(&Place::of(&wrong)).await;
    let right = sha256(&Layer::new().garbage(&vec![b'x'; 600_000]).tar());
    assert_eq!(found.errors().count(), 2, "{found:#?}");
    assert!(found.errors().next().unwrap().problem.contains(&right.to_string()), "{found:#?}");
}

#[tokio::test]
async fn bombs_are_refused() {
    let graph = of(Layer::new().file("zeros", vec![0; 3 << 20]));
    let place = Place::of(&graph);
    let limited = async |inflated_limit| {
        validate(image::Validation { inflated_limit, ..validation(&place) }).await.unwrap()
    };
    let problem = "layer 1: it inflates to more than 1048576 bytes; given up";
    assert_found(&limited(1 << 20).await, &[problem], &[]);
    assert_found(&limited(4 << 20).await, &[], &[]);
    // Also behind the end of the archive, and where there is none.
    let graph = of(Layer::new().garbage(&vec![b'x'; 3 << 20]));
    let place = Place::of(&graph);
    let found = validate(image::Validation { inflated_limit: 1 << 20, ..validation(&place) }).await.unwrap();
    assert_found(&found, &[problem], &[]);
}

#[tokio::test]
async fn tables_are_bounded() {
    let files = (0..1000).fold(Layer::new(), |layer, n| layer.entry(Entry::at(&n.to_string())));
    let place = Place::of(&of(files));
    let found = validate(image::Validation { table_limit: 50_000, ..validation(&place) }).await.unwrap();
    assert_found(&found, &[], &["layer 1: it has more entries than are looked at; its digests are right"]);
    assert_found(&report(&place).await, &[], &[]);
}

#[tokio::test]
async fn what_platforms_share_is_told_once() {
    let graph = images::eight_platforms();
    let place = Place::of(&graph).without(digest(&graph.children[0].blobs[1]));
    let found = report(&place).await;
    assert_found(&found, &["linux/amd64: layer 1: is missing"], &[]);
    let also: Vec<String> =
        images::EIGHT_PLATFORMS[1..].iter().map(|platform| format!("{platform}: layer 1")).collect();
    assert_eq!(found.findings[0].also, also);
}

#[tokio::test]
async fn everything_is_found() {
    let graph = images::eight_platforms();
    let (first, last) = (&graph.children[0], &graph.children[7]);
    let place = Place::of(&graph)
        .without(digest(&first.blobs[2]))
        .without(digest(&last.blobs[0]))
        .without(digest(&graph.children[4].manifest));
    let expected = [
        "linux/amd64: layer 2: is missing",
        "linux/386: manifest: is missing",
        "linux/s390x: config: is missing",
    ];
    assert_found(&report(&place).await, &expected, &[]);
}

#[tokio::test]
async fn layers_that_may_not_be_distributed() {
    let foreign = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip";
    let graph =
        with_manifest(&images::single(), |manifest| manifest["layers"][0]["mediaType"] = json!(foreign));
    assert_found(&report(&Place::of(&graph)).await, &[], &[]);
    let place = Place::of(&graph).without(digest(&graph.blobs[1]));
    let note = "layer 1: is not here: its owner does not allow it to be distributed";
    assert_found(&report(&place).await, &[], &[note]);
    assert_found(&fast(&place).await, &[], &[note]);
    // What is there is checked.
    let place = Place::of(&graph).with(digest(&graph.blobs[1]), vec![0; graph.blobs[1].bytes.len()]);
    assert!(!report(&place).await.is_valid());
}

#[tokio::test]
async fn layers_that_are_not_looked_into() {
    let encrypted = "application/vnd.oci.image.layer.v1.tar+gzip+encrypted";
    let graph = with_blob(&images::single(), 1, b"secret");
    let graph = with_manifest(&graph, |manifest| manifest["layers"][0]["mediaType"] = json!(encrypted));
    let note = format!("layer 1: of a layer of type {encrypted} only the digest is checked");
    assert_found(&report(&Place::of(&graph)).await, &[], &[&note]);
    let place = Place::of(&graph).with(digest(&graph.blobs[1]), &b"SECRET"[..]);
    assert!(!report(&place).await.is_valid());
}
