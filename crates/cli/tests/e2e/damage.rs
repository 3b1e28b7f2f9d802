//! Content that is not what it says, or means harm.

use std::fs;

use serde_json::json;
use testkit::images::{Blob, Entry, EntryType, Graph, Image, Layer};
use testkit::{Answer, Cli, FaultRegistry, HoistServer, Route, images};

use crate::support::{assert_empty, refused, refused_export, refused_midway, serving};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const WEB: &str = "demo/web";

/// A registry with the single image, where these blobs are answered wrongly.
fn with_wrong_blob(blob: &Blob, answer: Answer) -> (FaultRegistry, String) {
    let registry = FaultRegistry::start();
    registry.put(WEB, "1", &images::single());
    registry.on(Route::get(&format!("/v2/demo/web/blobs/{}", blob.digest)), answer);
    let name = format!("{}/demo/web:1", registry.address());
    (registry, name)
}

/// An export fails in all its ways, and the reading `tar` with it.
#[track_caller]
fn export_refuses(cli: &Cli, name: &str, cause: &str) {
    refused(cli, &cli.hoist(["export", name, "out.tar"]).run(), cause);
    assert_empty(&cli.work());
    refused_export(cli, &cli.hoist(["export", name]).run(), cause);
    let line = format!("hoist export {name} - | tar x; echo ${{PIPESTATUS[0]}} ${{PIPESTATUS[1]}}");
    let codes = cli.shell(&line).run().success();
    let (export, tar) = codes.trim_end().split_once(' ').unwrap();
    assert_eq!(export, "1");
    assert_ne!(tar, "0", "tar noticed nothing");
    assert_empty(&cli.work());
}

#[test]
fn a_layer_with_the_wrong_bytes() {
    let cli = Cli::new();
    let layer = &images::single().blobs[2];
    let (_registry, name) = with_wrong_blob(layer, Answer::stored().corrupt());
    export_refuses(&cli, &name, "digest");
    let blob = name.replace(":1", &format!("@{}", layer.digest));
    let outcome = cli.hoist(["blob", &blob]).run();
    refused_midway(&cli, &outcome, &layer.digest);
    assert!(outcome.stdout.len() < layer.bytes.len(), "the last bytes are held back");
    let server = HoistServer::start();
    let to = format!("{}/demo/web:1", server.address());
    refused(&cli, &cli.hoist(["cp", &name, &to]).run(), &layer.digest);
    assert_eq!(server.client().get("/v2/demo/web/manifests/1").status, 404);
    assert_eq!(server.client().get(&format!("/v2/demo/web/blobs/{}", layer.digest)).status, 404);
}

#[test]
fn a_config_with_the_wrong_bytes() {
    let cli = Cli::new();
    let config = &images::single().blobs[0];
    let (_registry, name) = with_wrong_blob(config, Answer::stored().corrupt());
    refused(&cli, &cli.hoist(["config", &name]).run(), "digest");
    let server = HoistServer::start();
    let to = format!("{}/demo/web:1", server.address());
    refused(&cli, &cli.hoist(["cp", &name, &to]).run(), &config.digest);
    assert_eq!(server.client().get("/v2/demo/web/manifests/1").status, 404);
}

#[test]
fn a_manifest_with_the_wrong_bytes() {
    let cli = Cli::new();
    let registry = FaultRegistry::start();
    let graph = images::eight_platforms();
    registry.put(WEB, "1", &graph);
    let child = &graph.children[0].manifest;
    let wrong = images::single().manifest;
    registry.put_manifest(WEB, &child.digest, MANIFEST, &[&*wrong.bytes, b" "].concat());
    let name = format!("{}/demo/web:1", registry.address());
    let by_digest = name.replace(":1", &format!("@{}", child.digest));
    refused(&cli, &cli.hoist(["manifest", &by_digest]).run(), "digest");
    refused(&cli, &cli.hoist(["config", &name]).run(), "digest");
    export_refuses(&cli, &name, "digest");
    let server = HoistServer::start();
    let to = format!("{}/demo/web:1", server.address());
    refused(&cli, &cli.hoist(["cp", &name, &to]).run(), "digest");
    assert_eq!(server.client().get("/v2/demo/web/manifests/1").status, 404);
}

#[test]
fn a_wrong_content_length() {
    let cli = Cli::new();
    let layer = &images::single().blobs[2];
    let length = layer.bytes.len() as u64;
    for claimed in [length - 1, length + 1, length + (1 << 40)] {
        let (_registry, name) =
            with_wrong_blob(layer, Answer::stored().claim_length(claimed).ignore_ranges());
        export_refuses(&cli, &name, &layer.digest);
    }
    let registry = FaultRegistry::start();
    registry.put(WEB, "1", &images::single());
    registry.on(Route::get("/v2/demo/web/manifests/1"), Answer::stored().claim_length(1 << 40));
    let name = format!("{}/demo/web:1", registry.address());
    refused(&cli, &cli.hoist(["manifest", &name]).run(), "/v2/demo/web/manifests/1");
}

#[test]
fn manifests_that_cannot_be_read() {
    let cli = Cli::new();
    let both = json!({
        "schemaVersion": 2, "mediaType": MANIFEST, "manifests": [],
        "config": images::single().blobs[0].descriptor(), "layers": [],
    });
    for (bytes, cause) in [
        (b"this is no JSON".to_vec(), "not valid"),
        (b"<html>500</html>".to_vec(), "not valid"),
        (Vec::new(), "not valid"),
        (both.to_string().into_bytes(), "both layers and manifests"),
        (b"{\"schemaVersion\":2,\"layers\":7}".to_vec(), "not valid"),
    ] {
        let registry = FaultRegistry::start();
        registry.put_manifest(WEB, "1", MANIFEST, &bytes);
        let name = format!("{}/demo/web:1", registry.address());
        let server = HoistServer::start();
        let to = format!("{}/demo/web:1", server.address());
        refused(&cli, &cli.hoist(["config", &name]).run(), cause);
        refused(&cli, &cli.hoist(["cp", &name, &to]).run(), cause);
        export_refuses(&cli, &name, cause);
        assert_eq!(server.client().get("/v2/demo/web/manifests/1").status, 404);
    }
}

#[test]
fn a_manifest_of_100_mib() {
    let cli = Cli::new();
    let registry = FaultRegistry::start();
    let body = Answer::status(200).header("Content-Type", MANIFEST).filler(100 << 20);
    registry.on(Route::get("/v2/demo/web/manifests/1"), body.clone());
    registry.on(Route::get("/v2/demo/web/manifests/2"), body.no_length());
    for tag in ["1", "2"] {
        let name = format!("{}/demo/web:{tag}", registry.address());
        for verb in ["manifest", "config"] {
            refused(&cli, &cli.hoist([verb, &name]).run(), "more than 4194304 bytes");
        }
        refused(&cli, &cli.hoist(["cp", &name, "localhost:1/x"]).run(), "");
    }
}

/// An image of this layer.
fn image(layer: Layer) -> Graph {
    Image::new([Layer::new().directory("etc").file("etc/passwd", "root"), layer]).build()
}

#[test]
fn archives_that_mean_harm() {
    let cli = Cli::new();
    let server = HoistServer::start();
    let link = |path: &str, target: &str| Layer::new().hard_link(path, target);
    for (tag, layer, cause) in [
        ("up", Layer::new().file("../escape", "x"), "escape"),
        ("middle", Layer::new().file("etc/../../escape", "x"), "escape"),
        ("link", link("etc/shadow", "../../etc/shadow"), "etc/shadow"),
        ("missing", link("etc/shadow", "etc/not-there"), "etc/shadow"),
        (
            "through",
            Layer::new().symbolic_link("out", "/tmp").file("out/escape", "x").hard_link("h", "out/../../x"),
            "",
        ),
        ("tar", Layer::new().garbage(&[b'x'; 2048]), "tar"),
        (
            "huge",
            Layer::new().entry(Entry { kind: EntryType::Regular, ..Entry::at("x") }).garbage(&[0xff; 512]),
            "",
        ),
    ] {
        server.push(&image(layer), WEB, tag);
        export_refuses(&cli, &format!("{}/demo/web:{tag}", server.address()), cause);
    }
}

#[test]
fn absolute_paths_stay_inside() {
    let cli = Cli::new();
    let layer = Layer::new()
        .file("/etc/absolute", "inside")
        .hard_link("/etc/again", "/etc/absolute")
        .file("./etc/dot", "inside");
    let server = serving(&image(layer), WEB, "1");
    let line = format!("hoist export {}/demo/web:1 - | tar x", server.address());
    let outcome = cli.shell(&line).run();
    assert_eq!((outcome.success(), outcome.stderr()), (String::new(), String::new()));
    for path in ["etc/absolute", "etc/again", "etc/dot"] {
        assert_eq!(fs::read_to_string(cli.work().join(path)).unwrap(), "inside");
    }
}

#[test]
fn links_lead_nowhere_outside() {
    let cli = Cli::new();
    let outside = cli.home().join("outside");
    fs::create_dir(&outside).unwrap();
    let below =
        Layer::new().symbolic_link("out", outside.to_str().unwrap()).symbolic_link("up", "../outside");
    let above = Layer::new().file("out/escape", "x").file("up/escape", "x");
    let server = serving(&Image::new([below, above]).build(), WEB, "1");
    // As root `tar` would follow what the archive told it to.
    let line = format!("hoist export {}/demo/web:1 - | tar x", server.address());
    let outcome = cli.shell(&line).run();
    assert_eq!((outcome.success(), outcome.stderr()), (String::new(), String::new()));
    assert_empty(&outside);
}

#[test]
fn a_gzip_that_breaks_off() {
    let cli = Cli::new();
    let whole = Layer::new().file("noise", (0..=255).cycle().take(100_000).collect::<Vec<u8>>()).compressed();
    let server = HoistServer::start();
    for (tag, bytes) in [
        ("half", &whole[..whole.len() / 2]),
        ("no-trailer", &whole[..whole.len() - 4]),
        ("head", &whole[..5]),
    ] {
        let config = &images::single().blobs[0];
        let layer = Blob::new("application/vnd.oci.image.layer.v1.tar+gzip", bytes);
        let manifest = json!({
            "schemaVersion": 2, "mediaType": MANIFEST,
            "config": config.descriptor(), "layers": [layer.descriptor()],
        });
        let digest = layer.digest.clone();
        server.push(&Graph::leaf(&manifest, vec![config.clone(), layer]), WEB, tag);
        export_refuses(&cli, &format!("{}/demo/web:{tag}", server.address()), &digest);
    }
}
