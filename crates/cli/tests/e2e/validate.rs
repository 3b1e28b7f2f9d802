//! Whether an image is whole and right: on real registries, and beside crane.

use std::collections::BTreeSet;
use std::fs;

use serde_json::{Value, json};
use testkit::images::{Blob, Graph, Image, Layer};
use testkit::{Answer, Cli, DockerRegistry, FaultRegistry, Outcome, Route, images};

use crate::support::{kinds, refused, serving};

/// Changes the bytes that docker-registry keeps of a blob or manifest.
fn damage(registry: &DockerRegistry, digest: &str, change: impl FnOnce(&mut Vec<u8>)) {
    let hex = digest.strip_prefix("sha256:").unwrap();
    let blobs = registry.storage().join("docker/registry/v2/blobs/sha256");
    let path = blobs.join(&hex[..2]).join(hex).join("data");
    let mut bytes = fs::read(&path).unwrap();
    change(&mut bytes);
    fs::write(path, bytes).unwrap();
}

fn flip(bytes: &mut [u8]) {
    *bytes.last_mut().unwrap() ^= 1;
}

/// The lines of a failed validation, whose standard error has one line with the cause.
#[track_caller]
fn failed(outcome: &Outcome) -> Vec<String> {
    let text = outcome.failure(1);
    assert_eq!(text.lines().filter(|line| line.starts_with("Error: ")).count(), 1, "{outcome}");
    outcome.stdout().lines().map(str::to_owned).collect()
}

#[test]
fn every_kind_on_every_registry() {
    let cli = Cli::new();
    let registry = DockerRegistry::plain();
    // Layers with two entries for one path are against the specification.
    for (kind, graph) in kinds().into_iter().filter(|(kind, _)| *kind != "whiteouts") {
        registry.push(&graph, "demo/web", kind);
        let server = serving(&graph, "demo/web", kind);
        for address in [registry.address(), server.address()] {
            let name = format!("{address}/demo/web:{kind}");
            for arguments in [&["validate", &name][..], &["validate", "--fast", "--remote", &name]] {
                let outcome = cli.hoist(arguments).run();
                assert_eq!(outcome.success(), format!("PASS: {name}\n"));
                let platforms = graph.children.len() > 1;
                assert_eq!(outcome.stderr().is_empty(), !platforms, "{outcome}");
            }
        }
    }
}

#[test]
fn what_was_checked() {
    let cli = Cli::new();
    let server = serving(&images::eight_platforms(), "demo/web", "1");
    let name = format!("{}/demo/web:1", server.address());
    let outcome = cli.hoist(["validate", &name]).run();
    outcome.success();
    let expected = format!("read: {}\n", images::EIGHT_PLATFORMS.join(", "));
    let stderr = outcome.stderr();
    assert!(stderr.starts_with("checked 9 manifests, 17 blobs, ") && stderr.ends_with(&expected), "{stderr}");
    // One request for each manifest and blob, whoever shares it.
    let paths: Vec<String> = server
        .accesses()
        .iter()
        .filter(|access| access.method == "GET")
        .map(|access| access.path.clone())
        .collect();
    assert_eq!(paths.len(), server.accesses().len() - pushed(&server));
    let different: BTreeSet<&String> = paths.iter().collect();
    assert_eq!((paths.len(), different.len()), (26, 26), "{paths:#?}");

    let outcome = cli.hoist(["validate", "--platform", "linux/arm64", &name]).run();
    assert_eq!((outcome.success(), outcome.stderr()), (format!("PASS: {name}\n"), String::new()));
    refused(
        &cli,
        &cli.hoist(["validate", "--platform=linux/riscv64", &name]).run(),
        "no child with platform",
    );
}

/// How many requests the push of the test took.
fn pushed(server: &testkit::HoistServer) -> usize {
    server.accesses().iter().filter(|access| access.method == "POST" || access.method == "PUT").count()
}

#[test]
fn damage_on_the_disk() {
    let cli = Cli::new();
    let registry = DockerRegistry::plain();
    let graph = images::eight_platforms();
    registry.push(&graph, "demo/web", "1");
    let name = format!("{}/demo/web:1", registry.address());
    let shared = &graph.children[0].blobs[1];
    let config = &graph.children[4].blobs[0];
    let manifest = &graph.children[6].manifest;
    damage(&registry, &shared.digest, |bytes| flip(bytes));
    damage(&registry, &config.digest, |bytes| bytes.truncate(bytes.len() - 1));
    damage(&registry, &manifest.digest, |bytes| bytes.push(b' '));
    let outcome = cli.hoist(["validate", &name]).run();
    let lines = failed(&outcome);
    assert_eq!(lines.len(), 3, "{outcome}");
    let first = format!(
        "FAIL: {name}: linux/amd64: layer 1 {0}: digest mismatch: expected {0}, the content is ",
        shared.digest
    );
    assert!(lines[0].starts_with(&first), "{outcome}");
    assert!(lines[0].contains("(also linux/arm/v5: layer 1, "), "{outcome}");
    let size = config.bytes.len();
    let second =
        format!("linux/386: config {}: it has {} bytes, the descriptor says {size}", config.digest, size - 1);
    assert_eq!(lines[1], second);
    assert!(
        lines[2].starts_with(&format!("linux/ppc64le: manifest {}: digest mismatch", manifest.digest)),
        "{outcome}"
    );
    assert!(outcome.stderr().contains(&format!("Error: {name} is not valid, for 3 reasons")), "{outcome}");
    // Without the layers' bytes the first one does not show.
    assert_eq!(failed(&cli.hoist(["validate", "--fast", &name]).run()).len(), 2);
    // The other platforms are as good as their shared layer.
    let arm = cli.hoist(["validate", "--fast", "--platform=linux/arm64", &name]).run();
    assert_eq!(arm.success(), format!("PASS: {name}\n"));
}

#[test]
fn as_json() {
    let cli = Cli::new();
    let registry = DockerRegistry::plain();
    let graph = images::single();
    registry.push(&graph, "demo/web", "1");
    let name = format!("{}/demo/web:1", registry.address());
    let document = |outcome: &Outcome| serde_json::from_slice::<Value>(&outcome.stdout).unwrap();
    let outcome = cli.hoist(["validate", "--json", &name]).run();
    outcome.success();
    let bytes: usize = graph.blobs.iter().chain([&graph.manifest]).map(|blob| blob.bytes.len()).sum();
    let expected = json!({
        "reference": name, "valid": true, "fast": false, "digest": graph.manifest.digest,
        "manifests": 1, "blobs": 3, "bytes": bytes, "images": ["image"], "findings": [],
    });
    assert_eq!(document(&outcome), expected);
    let layer = &graph.blobs[2];
    damage(&registry, &layer.digest, |bytes| bytes.push(0));
    let outcome = cli.hoist(["validate", "--json", "--fast", &name]).run();
    let size = layer.bytes.len();
    let finding = json!({
        "severity": "error", "where": "layer 2", "digest": layer.digest,
        "problem": format!("it has {} bytes, the descriptor says {size}", size + 1), "also": [],
    });
    assert!(outcome.failure(1).starts_with("Error: "), "{outcome}");
    let found = document(&outcome);
    assert_eq!(
        (&found["valid"], &found["fast"], &found["findings"]),
        (&json!(false), &json!(true), &json!([finding]))
    );
}

/// An image with something that only a note tells, and texts from outside that would steer a terminal.
#[test]
fn notes_and_texts_from_outside() {
    let cli = Cli::new();
    let registry = FaultRegistry::start();
    registry.put("demo/web", "old", &images::schema1());
    let name = format!("{}/demo/web:old", registry.address());
    let outcome = cli.hoist(["validate", &name]).run();
    assert_eq!(outcome.success(), format!("PASS: {name}\n"));
    let note = format!(
        "note: manifest {}: is a docker schema 1 image, which is not checked inside\n",
        images::schema1().manifest.digest
    );
    assert_eq!(outcome.stderr(), note);

    let mut manifest = images::single().json();
    manifest["mediaType"] = json!("application/\u{1b}[2J\nPASS: x");
    registry.put_manifest(
        "demo/web",
        "new",
        "application/vnd.oci.image.manifest.v1+json",
        manifest.to_string().as_bytes(),
    );
    let outcome = cli.hoist(["validate", &format!("{}/demo/web:new", registry.address())]).run();
    let lines = failed(&outcome);
    assert!(lines[0].contains("application/\\u{1b}[2J\\nPASS: x"), "{outcome}");
    assert!(!outcome.stdout.contains(&0x1b));
}

/// A registry that fails is no image that is wrong.
#[test]
fn a_place_that_fails() {
    let cli = Cli::new();
    refused(&cli, &cli.hoist(["validate", "localhost:1/demo/web"]).run(), "refused");
    let registry = FaultRegistry::start();
    registry.put("demo/web", "1", &images::single());
    registry.on(Route::get("/v2/demo/web/blobs/*"), Answer::status(403));
    let name = format!("{}/demo/web:1", registry.address());
    refused(&cli, &cli.hoist(["validate", &name]).run(), "403");
    refused(&cli, &cli.hoist(["validate", &name.replace(":1", ":2")]).run(), "MANIFEST_UNKNOWN");
    for wrong in [&["validate"][..], &["validate", "--fast"], &["validate", &name, "--remote", &name]] {
        refused(&cli, &cli.hoist(wrong).run(), "");
    }
}

/// The verdict: the word that standard output begins with, what it speaks of, and the exit code.
fn verdict(outcome: &Outcome) -> (String, Option<i32>) {
    let stdout = outcome.stdout();
    let words: Vec<&str> = stdout.split(' ').take(2).map(str::trim_end).collect();
    (words.join(" "), outcome.status.code())
}

#[test]
fn crane_says_the_same() {
    let cli = Cli::new();
    let registry = DockerRegistry::plain();
    let push = |graph: &Graph, tag: &str| {
        registry.push(graph, "demo/web", tag);
        format!("{}/demo/web:{tag}", registry.address())
    };
    let both = |arguments: &[&str]| {
        let arguments: Vec<&str> = ["validate"].iter().chain(arguments).copied().collect();
        [cli.peer("crane", &arguments).run(), cli.hoist_as("crane", &arguments).run()]
    };
    let assert_same = |word: &str, arguments: &[&str]| {
        let [crane, hoist] = both(arguments);
        assert!(crane.stdout().starts_with(word), "{crane}");
        assert_eq!(verdict(&crane), (verdict(&hoist)), "{crane}\n{hoist}");
        if word == "PASS" {
            assert_eq!(crane.stdout, hoist.stdout);
        }
    };
    let (single, eight) = (push(&images::single(), "single"), push(&images::eight_platforms(), "eight"));
    for name in
        [&single, &eight, &push(&images::docker_schema2(), "docker"), &push(&images::docker_list(), "list")]
    {
        assert_same("PASS", &["--remote", name]);
        assert_same("PASS", &["--fast", "--remote", name]);
        assert_same("PASS", &["--platform=linux/amd64", "--remote", name]);
    }
    // Here crane cannot follow.
    for (tag, graph) in
        [("zstd", images::zstd()), ("artifact", images::artifact()), ("nested", images::nested_index())]
    {
        let name = push(&graph, tag);
        let [crane, hoist] = both(&["--remote", &name]);
        assert_eq!(crane.status.code(), Some(1), "crane has learned it: {crane}");
        assert_eq!(hoist.success(), format!("PASS: {name}\n"));
    }

    // Each of these on a registry of its own, for what is damaged stays so.
    let config = |edit: &dyn Fn(&mut Value)| {
        let graph = images::single();
        let mut config: Value = serde_json::from_slice(&graph.blobs[0].bytes).unwrap();
        edit(&mut config);
        let config = Blob::new(&graph.blobs[0].media_type, config.to_string().as_bytes());
        let mut manifest = graph.json();
        manifest["config"] = config.descriptor();
        Graph::leaf(&manifest, [&[config], &graph.blobs[1..]].concat())
    };
    let other = images::single().blobs[1].digest.clone();
    for (tag, graph) in [
        ("diff-id", config(&|config| config["rootfs"]["diff_ids"][1] = json!(other))),
        ("type", config(&|config| config["rootfs"]["type"] = json!("tree"))),
        ("twice", Image::new([Layer::new().file("a", "x").file("a", "y")]).build()),
        ("garbage", Image::new([Layer::new().garbage(&[b'x'; 2048])]).build()),
    ] {
        assert_same("FAIL", &["--remote", &push(&graph, tag)]);
    }
    let amd64 = images::single();
    let marked = Graph { platform: Some("linux/arm64".to_owned()), ..amd64.clone() };
    assert_same("FAIL", &["--remote", &push(&images::index([marked]), "platform")]);
    damage(&registry, &amd64.blobs[2].digest, |bytes| flip(bytes));
    assert_same("FAIL", &["--remote", &single]);
    assert_same("FAIL", &["--remote", &eight]);
    assert_same("PASS", &["--fast", "--remote", &single]);
}
