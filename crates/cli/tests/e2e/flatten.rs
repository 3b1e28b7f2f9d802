//! `flatten`: many layers become one, and the files stay what they are.

use std::fs;

use serde_json::{Value, json};
use testkit::Cli;
use testkit::images::{self, Image, Layer};

use crate::edits::{
    DOCKER_LAYER, DOCKER_MANIFEST, Found, OCI_INDEX, OCI_LAYER, OCI_MANIFEST, Registry, attested, layer,
    on_both, refused, written,
};

/// Base, and what was built on it: a file of the base is gone.
fn base() -> Layer {
    Layer::new().directory("etc").file("etc/motd", "welcome\n").file("etc/gone", "x")
}

fn built() -> Image {
    let upper = Layer::new().directory("etc").file("etc/.wh.gone", "").file("app", "1");
    Image::new([base(), upper, Layer::new().file("app", "2")])
}

/// The names in an image's file system, or in one layer of it.
fn names(cli: &Cli, archive: Vec<u8>) -> String {
    cli.peer("tar", ["t"]).stdin(archive).run().success()
}

fn layer_of(cli: &Cli, registry: &Registry, found: &Found, at: usize, unpack: &str) -> Vec<u8> {
    let blob = registry.name(&format!("web@{}", found.layer_digests()[at]));
    let blob = cli.hoist(["blob", &blob]).run();
    blob.success();
    if unpack.is_empty() { blob.stdout } else { cli.peer(unpack, ["-dc"]).stdin(blob.stdout).run().stdout }
}

#[test]
fn one_layer() {
    on_both(|cli, registry| {
        let graph = built().entrypoint(&["/app"]).build();
        registry.push(&graph, "web", "1");
        let name = registry.name("web:1");
        let out = registry.name("web:out");
        let export = |name: &str| cli.hoist(["export", name]).run();
        let before = export(&name);
        let flat = registry.changed(cli, &cli.hoist(["flatten", &name, "-t", &out]).run(), "web:out");
        assert_eq!(export(&out).stdout, before.stdout);
        assert_eq!(flat.layer_types(), [format!("{OCI_LAYER}+gzip")]);
        assert_eq!(names(cli, layer_of(cli, registry, &flat, 0, "gzip")), "app\netc/\netc/motd\n");
        let old: Value = serde_json::from_slice(&graph.blobs[0].bytes).unwrap();
        let mut expected = old.clone();
        expected["rootfs"]["diff_ids"] = json!(flat.diff_ids());
        expected["history"] = json!([{"created_by": "hoist flatten", "comment": old["history"].to_string()}]);
        assert_eq!(flat.config.as_ref().unwrap(), &expected.to_string(), "all else stays as it is written");
        // In place, and again: nothing is left to be done.
        assert_eq!(registry.changed(cli, &cli.hoist(["flatten", &name]).run(), "web:1").digest, flat.digest);
    });
}

#[test]
fn above_a_base() {
    on_both(|cli, registry| {
        registry.push(&built().build(), "web", "1");
        registry.push(&Image::new([base()]).build(), "base", "1");
        registry.push(&images::single(), "base", "other");
        let [name, out, base, other] =
            ["web:1", "web:out", "base:1", "base:other"].map(|name| registry.name(name));
        let words = ["flatten", &name, "--above", &base, "-t", &out];
        let flat = registry.changed(cli, &cli.hoist(words).run(), "web:out");
        let before = registry.found("web:1");
        assert_eq!((flat.layer_digests().len(), flat.layer_digests()[0]), (2, before.layer_digests()[0]));
        assert_eq!(names(cli, layer_of(cli, registry, &flat, 1, "gzip")), "etc/.wh.gone\napp\netc/\n");
        assert_eq!(flat.steps(), ["layer 1", "hoist flatten"]);
        let export = |name: &str| cli.hoist(["export", name]).run();
        assert_eq!(export(&out).stdout, export(&name).stdout);
        let words = ["flatten", &name, "--above", &other];
        refused(cli, registry, &words, "does not begin with the layers of base", "web:1");
        refused(
            cli,
            registry,
            &["flatten", &name, "--above", &registry.name("base:no")],
            "demo/base:no",
            "web:1",
        );
    });
}

#[test]
fn compressions_times_and_processors() {
    on_both(|cli, registry| {
        registry.push(&Image::new([base(), layer("x")]).dialect(images::Dialect::Docker).build(), "web", "1");
        let (name, out) = (registry.name("web:1"), registry.name("web:out"));
        let mut diff_ids = Vec::new();
        for (how, end, unpack) in [("gzip:1", ".gzip", "gzip"), ("zstd:9", ".zstd", "zstd"), ("none", "", "")]
        {
            let words = ["flatten", &name, "-t", &out, "--compression", how, "--created", "1650093051"];
            let flat = registry.changed(cli, &cli.hoist(words).run(), "web:out");
            assert_eq!(
                (flat.media_type.as_str(), flat.layer_types()),
                (DOCKER_MANIFEST, vec![&*format!("{DOCKER_LAYER}{end}")])
            );
            assert_eq!(flat.config()["created"], "2022-04-16T07:10:51Z");
            assert_eq!(flat.config()["history"][0]["created"], "2022-04-16T07:10:51Z");
            assert_eq!(
                names(cli, layer_of(cli, registry, &flat, 0, unpack)),
                "app/\napp/text\netc/\netc/gone\netc/motd\n"
            );
            let line = format!("taskset -c 0 hoist flatten {name} -t {out} --compression {how}");
            let alone = cli.shell(&line).env("SOURCE_DATE_EPOCH", "1650093051").run();
            assert_eq!(registry.changed(cli, &alone, "web:out").digest, flat.digest);
            diff_ids.push(flat.diff_ids());
        }
        assert!(diff_ids[0] == diff_ids[1] && diff_ids[1] == diff_ids[2]);
    });
}

#[test]
fn an_index_stays_one() {
    on_both(|cli, registry| {
        registry.push(&attested(), "web", "1");
        let (name, out) = (registry.name("web:1"), registry.name("web:out"));
        let index = registry.changed(cli, &cli.hoist(["flatten", &name, "-t", &out]).run(), "web:out");
        let children = registry.children("web", &index);
        assert!(children[..2].iter().all(|child| child.steps() == ["hoist flatten"]));
        let entries = &index.json["manifests"];
        assert_eq!(entries[2]["annotations"]["vnd.docker.reference.digest"], entries[0]["digest"]);
        let words = ["flatten", &name, "-t", &out, "--platform", "linux/arm64"];
        let one = registry.changed(cli, &cli.hoist(words).run(), "web:out");
        assert_eq!((one.media_type.as_str(), &one.json["manifests"][1]), (OCI_INDEX, &entries[1]));
        assert_eq!(one.json["manifests"][0]["digest"], attested().children[0].manifest.digest);
        registry.push(&images::single(), "web", "single");
        let words = ["flatten", &registry.name("web:single"), "-t", &name];
        refused(cli, registry, &words, "refusing to replace the index", "web:1");
        let outcome = cli.hoist(words).arg("--replace-index").run();
        assert_eq!(registry.changed(cli, &outcome, "web:1").media_type, OCI_MANIFEST);
    });
}

#[test]
fn what_is_wrong_is_said_and_nothing_done() {
    let (cli, registry) = (Cli::new(), Registry::docker());
    registry.push(&images::single(), "web", "1");
    registry.push(&images::artifact(), "web", "note");
    registry.push(&images::eight_platforms(), "web", "all");
    let manifest = r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/vnd.oci.image.config.v1+json","size":CONFIG_SIZE,"digest":"CONFIG"},"layers":[{"mediaType":"application/vnd.oci.image.layer.v1.tar+gzip","size":LAYER_SIZE,"digest":"LAYER"}]}"#;
    let one = r#"{"os":"linux","architecture":"amd64","rootfs":{"type":"layers","diff_ids":["DIFF_ID"]}}"#;
    let garbage = Layer::new().garbage(&[7; 2000]);
    registry.push(&written(&garbage, one, manifest), "web", "garbage");
    registry.push(&written(&layer("x"), &one.replace("\"DIFF_ID\"", ""), manifest), "web", "fewer");
    registry.push(
        &written(&layer("x"), one, &manifest.replace("\"layers\":[", "\"layers\":[],\"other\":[")),
        "web",
        "more",
    );
    let name = |tag: &str| registry.name(&format!("web:{tag}"));
    for (tag, words, cause) in [
        ("note", &[][..], "is an artifact without an image's config"),
        ("garbage", &[], "layer sha256:"),
        ("fewer", &[], "has another number of layers than its config"),
        ("more", &[], "has another number of layers than its config"),
        ("1", &["--spool-limit", "100"], "need more than the 100 bytes"),
        ("1", &["--spool-limit", "much"], "invalid value 'much'"),
        ("1", &["--abov", "x"], "unexpected argument '--abov'"),
        ("all", &["--platform", "linux/riscv64"], "no child with platform linux/riscv64"),
    ] {
        let image = name(tag);
        let outcome = [&["flatten", &image], words].concat();
        refused(&cli, &registry, &outcome, cause, &format!("web:{tag}"));
    }
    // Without a history none is invented.
    registry.push(&written(&layer("x"), one, manifest), "web", "bare");
    let flat = registry.changed(&cli, &cli.hoist(["flatten", &name("bare")]).run(), "web:bare");
    assert_eq!(flat.config()["history"], Value::Null);
    fs::write(cli.work().join("file"), "").unwrap();
    refused(&cli, &registry, &["flatten", &name("1"), "-t", "oci:file/x:1"], "file/x", "web:1");
}
