//! Manifests and indexes that are wrong.

use oci::Algorithm;
use serde_json::{Value, json};
use testkit::images::{self, Blob, Graph};
use transfer::Limits;

use crate::place::{
    Place, assert_found, digest, fast, report, validate, validation, with_config, with_manifest,
};

const OCI: &str = "application/vnd.oci.image.manifest.v1+json";
const DOCKER: &str = "application/vnd.docker.distribution.manifest.v2+json";

/// An index where one entry is changed, that of linux/arm64.
fn with_entry(edit: impl FnOnce(&mut Value)) -> Graph {
    with_manifest(&two(), |index| edit(&mut index["manifests"][1]))
}

fn two() -> Graph {
    let nested = images::nested_index();
    nested.children[0].clone()
}

#[tokio::test]
async fn a_missing_child() {
    let graph = two();
    let place = Place::of(&graph).without(digest(&graph.children[1].manifest));
    assert_found(&report(&place).await, &["linux/arm64: manifest: is missing"], &[]);
    assert_found(&fast(&place).await, &["linux/arm64: manifest: is missing"], &[]);
}

#[tokio::test]
async fn a_child_with_the_wrong_bytes() {
    let graph = two();
    let child = digest(&graph.children[1].manifest);
    let place = Place::of(&graph).with(child, &b"{}"[..]);
    let found = Algorithm::Sha256.digest(b"{}");
    let problem =
        format!("linux/arm64: manifest: digest mismatch: expected {child}, the manifest is {found}");
    assert_found(&report(&place).await, &[&problem], &[]);
}

/// A place that hands out the index itself as its child.
#[tokio::test]
async fn a_cycle() {
    let graph = two();
    let place = Place::of(&graph).lying(digest(&graph.children[1].manifest));
    let root = digest(&graph.manifest);
    let problem = format!("linux/arm64: manifest: digest mismatch: the content is {root}");
    assert_found(&report(&place).await, &[&problem], &[]);
}

#[tokio::test]
async fn entries_that_do_not_fit() {
    let size = two().children[1].manifest.bytes.len();
    for (graph, problem) in [
        (
            with_entry(|entry| entry["size"] = json!(size + 1)),
            format!("it has {size} bytes, the descriptor says {}", size + 1),
        ),
        (
            with_entry(|entry| entry["mediaType"] = json!(DOCKER)),
            format!("it is {OCI}, the descriptor says {DOCKER}"),
        ),
        (
            with_entry(|entry| entry["data"] = json!("e30=")),
            "the embedded data is not what digest and size promise".to_owned(),
        ),
        (
            with_entry(|entry| entry["platform"]["os"] = json!("windows")),
            "the index says windows/arm64, the config linux/arm64".to_owned(),
        ),
        (
            with_entry(|entry| entry["platform"]["architecture"] = json!("arm")),
            "the index says linux/arm, the config linux/arm64".to_owned(),
        ),
    ] {
        let found = report(&Place::of(&graph)).await;
        assert_eq!(found.errors().count(), 1, "{found:#?}");
        let finding = found.errors().next().unwrap();
        assert_eq!(
            (finding.problem.as_str(), finding.digest),
            (problem.as_str(), Some(digest(&graph.children[1].manifest)))
        );
    }
}

#[tokio::test]
async fn variants_and_versions() {
    let image = images::Image::new([]).platform("linux/arm/v7").build();
    let versioned = with_config(&image, |config| config["os.version"] = json!("10"));
    let index = |platform: Value| {
        let graph = images::index([versioned.clone()]);
        Place::of(&with_manifest(&graph, |index| index["manifests"][0]["platform"] = platform))
    };
    let platform = json!({"os": "linux", "architecture": "arm"});
    assert_found(&report(&index(platform.clone())).await, &[], &[]);
    let mut other = platform.clone();
    other["variant"] = json!("v6");
    let problem = "linux/arm/v6: manifest: the index says linux/arm/v6, the config linux/arm/v7:10";
    assert_found(&report(&index(other)).await, &[problem], &[]);
    let mut other = platform;
    other["os.version"] = json!("11");
    let problem = "linux/arm:11: manifest: the index says linux/arm:11, the config linux/arm/v7:10";
    assert_found(&report(&index(other)).await, &[problem], &[]);
}

/// The same image for two platforms: each entry is compared.
#[tokio::test]
async fn one_manifest_for_two_entries() {
    let graph = with_entry(|entry| entry["platform"]["variant"] = json!("v8"));
    let graph = with_manifest(&graph, |index| {
        let mut again = index["manifests"][1].clone();
        again["platform"]["architecture"] = json!("amd64");
        index["manifests"].as_array_mut().unwrap().push(again);
    });
    let problem = "linux/amd64/v8: manifest: the index says linux/amd64/v8, the config linux/arm64";
    assert_found(&report(&Place::of(&graph)).await, &[problem], &[]);
}

#[tokio::test]
async fn manifests_against_the_specification() {
    let single = images::single();
    let remove = |field: &str| {
        with_manifest(&single, |manifest| {
            manifest.as_object_mut().unwrap().remove(field);
        })
    };
    for (graph, problem) in [
        (remove("schemaVersion"), "schemaVersion is null, not 2".to_owned()),
        (
            with_manifest(&single, |manifest| manifest["schemaVersion"] = json!(1)),
            "schemaVersion is 1, not 2".to_owned(),
        ),
        (
            with_manifest(&single, |manifest| manifest["mediaType"] = json!(DOCKER)),
            format!("it is sent as {OCI}, its mediaType is {DOCKER}"),
        ),
        (remove("layers"), "the required field \"layers\" is missing".to_owned()),
        (remove("config"), "the required field \"config\" is missing".to_owned()),
        (
            with_manifest(&two(), |index| {
                index.as_object_mut().unwrap().remove("manifests");
            }),
            "the required field \"manifests\" is missing".to_owned(),
        ),
    ] {
        let found = report(&Place::of(&graph)).await;
        let problems: Vec<&str> = found
            .errors()
            .filter(|finding| finding.place == "manifest")
            .map(|finding| finding.problem.as_str())
            .collect();
        assert_eq!(problems, [problem]);
    }
    // A media type is not required, and Go's null is an empty list.
    assert_found(&report(&Place::of(&remove("mediaType"))).await, &[], &[]);
    let empty = with_manifest(&two(), |index| index["manifests"] = Value::Null);
    assert_found(&report(&Place::of(&empty)).await, &[], &[]);
    let unreadable = with_manifest(&single, |manifest| manifest["layers"] = json!(7));
    let found = report(&Place::of(&unreadable)).await;
    assert!(found.errors().next().unwrap().problem.contains("not valid"), "{found:#?}");
    for field in ["mediaType", "digest", "size"] {
        let graph = with_manifest(&single, |manifest| {
            manifest["layers"][0].as_object_mut().unwrap().remove(field);
        });
        let found = report(&Place::of(&graph)).await;
        let problem = &found.errors().next().unwrap().problem;
        assert!(problem.contains(&format!("missing field `{field}`")), "{problem}");
    }
}

#[tokio::test]
async fn what_is_not_looked_into() {
    let schema1 = "manifest: is a docker schema 1 image, which is not checked inside";
    assert_found(&report(&Place::of(&images::schema1())).await, &[], &[schema1]);
    let own = json!({"mediaType": "application/vnd.example.own+json", "layers": 7});
    let note = "manifest: is of type application/vnd.example.own+json, which is not checked inside";
    assert_found(&report(&Place::of(&Graph::leaf(&own, Vec::new()))).await, &[], &[note]);
}

/// Entries that are no manifests, as in `BuildKit`'s caches.
#[tokio::test]
async fn an_index_of_blobs() {
    let blobs = [Blob::new("application/vnd.example.cache", b"cache"), Blob::new("text/plain", b"text")];
    let index = json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": blobs.iter().map(Blob::descriptor).collect::<Vec<_>>(),
    });
    let graph = Graph::leaf(&index, blobs.to_vec());
    let found = report(&Place::of(&graph)).await;
    assert_found(&found, &[], &[]);
    assert_eq!((found.manifests, found.blobs), (1, 2));
    let place = Place::of(&graph).without(digest(&blobs[1]));
    assert_found(&report(&place).await, &["entry 2: manifest: is missing"], &[]);
}

#[tokio::test]
async fn graphs_that_are_too_large() {
    let place = Place::of(&images::nested_index());
    let limited = async |limits| validate(image::Validation { limits, ..validation(&place) }).await.unwrap();
    let limits = Limits::default();
    assert!(limited(Limits { depth: 3, manifests: 5, ..limits }).await.is_valid());
    for (limits, what) in [
        (Limits { depth: 2, ..limits }, "levels"),
        (Limits { manifests: 4, ..limits }, "manifests"),
        (Limits { bytes: 1500, ..limits }, "bytes of manifests"),
    ] {
        let problem = format!("manifest: there are more {what} below it than are looked at");
        assert_found(&limited(limits).await, &[&problem], &[]);
    }
}
