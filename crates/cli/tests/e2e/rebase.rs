//! `rebase`: other layers below, and every own layer kept.

use serde_json::{Value, json};
use testkit::Cli;
use testkit::images::{self, Dialect, Graph, Image, Layer};

use crate::edits::{
    DOCKER_LAYER, DOCKER_MANIFEST, OCI_INDEX, OCI_LAYER, OCI_MANIFEST, Registry, layer, on_both, refused,
};
use crate::support::logged;

const BASE_NAME: &str = "org.opencontainers.image.base.name";
const BASE_DIGEST: &str = "org.opencontainers.image.base.digest";

fn old_base() -> Layer {
    Layer::new().directory("etc").file("etc/version", "1")
}

fn new_base() -> [Layer; 2] {
    [Layer::new().directory("etc").file("etc/version", "2"), Layer::new().file("etc/more", "3")]
}

/// Two layers on the old base.
fn app() -> Image {
    Image::new([old_base(), layer("one"), Layer::new().file("app/two", "two")])
}

/// The same image with another configuration.
fn reconfigured(graph: &Graph, change: impl Fn(&mut Value)) -> Graph {
    let mut config: Value = serde_json::from_slice(&graph.blobs[0].bytes).unwrap();
    change(&mut config);
    let mut graph = graph.clone();
    graph.blobs[0] = images::Blob::new(&graph.blobs[0].media_type, config.to_string().as_bytes());
    let mut manifest = graph.json();
    manifest["config"] = graph.blobs[0].descriptor();
    graph.manifest = images::Blob::new(&graph.manifest.media_type, manifest.to_string().as_bytes());
    graph
}

fn push(registry: &Registry) {
    registry.push(&Image::new([old_base()]).build(), "base", "1");
    registry.push(&Image::new(new_base()).build(), "base", "2");
    registry.push(&app().build(), "web", "1");
}

#[test]
fn by_flags() {
    on_both(|cli, registry| {
        push(registry);
        let [name, out, old, new] = ["web:1", "web:out", "base:1", "base:2"].map(|name| registry.name(name));
        let (app, base) = (registry.found("web:1"), registry.found("base:2"));
        let mut results = Vec::new();
        for words in [
            &["rebase", &name, "--old_base", &old, "--new_base", &new, "-t", &out][..],
            &["rebase", "--old-base", &old, "--new-base", &new, "--tag", &out, &name],
            &["rebase", "--original", &name, "--old_base", &old, "--new_base", &new, "--rebased", &out],
        ] {
            let outcome = cli.hoist(words).run();
            let found = registry.changed(cli, &outcome, "web:out");
            assert_eq!(logged(&outcome.stderr())[0], format!("pushing rebased image as {out}"));
            results.push(found.digest.clone());
            assert_eq!(
                found.layer_digests(),
                [&base.layer_digests()[..], &app.layer_digests()[1..]].concat()
            );
            assert_eq!(found.diff_ids(), [&base.diff_ids()[..], &app.diff_ids()[1..]].concat());
            assert_eq!(found.steps(), ["layer 1", "layer 2", "layer 2", "layer 3"]);
            assert_eq!(json!(found.annotations()), json!({BASE_NAME: new, BASE_DIGEST: base.digest}));
            let mut config = app.config();
            config["rootfs"] = found.config()["rootfs"].clone();
            config["history"] = found.config()["history"].clone();
            assert_eq!(found.config.unwrap(), config.to_string(), "all else stays as it is written");
        }
        assert!(results.iter().all(|digest| *digest == results[0]));
        for (file, content) in
            [("etc/version", "2"), ("etc/more", "3"), ("app/text", "one"), ("app/two", "two")]
        {
            let archive = cli.hoist(["export", &out]).run().stdout;
            assert_eq!(cli.peer("tar", ["xO", file]).stdin(archive).run().success(), content);
        }
        // Onto the base that it has: nothing but the annotations, then nothing at all.
        let words = ["rebase", &name, "--old_base", &old, "--new_base", &old];
        let first = registry.changed(cli, &cli.hoist(words).run(), "web:1");
        let again = cli.hoist(words).run();
        assert_eq!(registry.changed(cli, &again, "web:1").digest, first.digest);
        assert_eq!(logged(&again.stderr())[0], "rebasing was no-op");
    });
}

#[test]
fn by_annotations() {
    on_both(|cli, registry| {
        push(registry);
        let [name, moving] = ["web:1", "base:latest"].map(|name| registry.name(name));
        registry.push(&Image::new([old_base()]).build(), "base", "latest");
        let hint = "hint: say it with --old_base and --new_base";
        let outcome = cli.hoist(["rebase", &name]).run();
        assert!(outcome.failure(1).contains(hint), "{outcome}");
        refused(cli, registry, &["rebase", &name], "web:1 does not say what it is built on", "web:1");
        // What append writes down is enough.
        std::fs::write(cli.work().join("l.tar"), layer("x").tar()).unwrap();
        let words = ["append", "-f", "l.tar", "-b", &moving, "-t", &name, "--set-base-image-annotations"];
        cli.hoist(words).run().success();
        registry.push(&Image::new(new_base()).build(), "base", "latest");
        let words = ["rebase", &name, "--created", "2022-04-16T07:10:51Z"];
        let found = registry.changed(cli, &cli.hoist(words).run(), "web:1");
        assert_eq!(found.steps(), ["layer 1", "layer 2", "hoist append"]);
        assert_eq!(found.config()["created"], "2022-04-16T07:10:51Z");
        assert_eq!(
            json!(found.annotations()),
            json!({BASE_DIGEST: registry.found("base:latest").digest, BASE_NAME: moving})
        );
        // One of both given, and the time of the environment.
        let back = ["rebase", &name, "--new_base", &registry.name("base:1")];
        let outcome = cli.hoist(back).env("SOURCE_DATE_EPOCH", "0").run();
        let found = registry.changed(cli, &outcome, "web:1");
        assert_eq!(found.steps(), ["layer 1", "hoist append"]);
        assert_eq!(found.config()["created"], "1970-01-01T00:00:00Z");
    });
}

#[test]
fn own_layers_are_kept_whatever_the_history_tells() {
    on_both(|cli, registry| {
        push(registry);
        let [name, out, old, new] = ["web:1", "web:out", "base:1", "base:2"].map(|name| registry.name(name));
        let step = |by: &str, empty: bool| {
            if empty { json!({"created_by": by, "empty_layer": true}) } else { json!({"created_by": by}) }
        };
        let told =
            |steps: &[(&str, bool)]| steps.iter().map(|(by, empty)| step(by, *empty)).collect::<Value>();
        let cases = [
            // The app's history, and what becomes of it.
            (Value::Null, vec![]),
            (
                told(&[("other words", false), ("env", true), ("one", false), ("cmd", true), ("two", false)]),
                vec!["layer 1", "layer 2", "env", "one", "cmd", "two"],
            ),
            (
                told(&[("arg", true), ("base", false), ("one", false), ("two", false), ("label", true)]),
                vec!["layer 1", "layer 2", "one", "two", "label"],
            ),
        ];
        for (history, expected) in cases {
            let graph = reconfigured(&app().build(), |config| match &history {
                Value::Null => drop(config.as_object_mut().unwrap().remove("history")),
                history => config["history"] = history.clone(),
            });
            registry.push(&graph, "web", "1");
            let words = ["rebase", &name, "--old_base", &old, "--new_base", &new, "-t", &out];
            let found = registry.changed(cli, &cli.hoist(words).run(), "web:out");
            assert_eq!(found.layer_digests().len(), 4);
            assert_eq!(found.layer_digests()[2..], registry.found("web:1").layer_digests()[1..]);
            assert_eq!(found.steps(), expected);
        }
    });
}

#[test]
fn types_stay_and_compressions_do_not_matter() {
    on_both(|cli, registry| {
        push(registry);
        registry.push(&app().dialect(Dialect::Docker).build(), "web", "docker");
        registry.push(
            &Image::new([old_base().compression(images::Compression::Zstd)]).build(),
            "base",
            "zstd",
        );
        let (name, out) = (registry.name("web:docker"), registry.name("web:out"));
        // The old base is compressed otherwise, and of other types.
        let [old, new] = ["base:zstd", "base:2"].map(|name| registry.name(name));
        let words = ["rebase", &name, "--old_base", &old, "--new_base", &new, "-t", &out];
        let found = registry.changed(cli, &cli.hoist(words).run(), "web:out");
        assert_eq!(found.media_type, DOCKER_MANIFEST);
        assert_eq!(found.layer_types(), [&*format!("{DOCKER_LAYER}.gzip"); 4]);
        cli.hoist(["validate", &out]).run().success();
        let words = ["rebase", &registry.name("web:1"), "--old_base", &old, "--new_base", &old, "-t", &out];
        let found = registry.changed(cli, &cli.hoist(words).run(), "web:out");
        assert_eq!(found.media_type, OCI_MANIFEST);
        assert_eq!(found.layer_types()[0], format!("{OCI_LAYER}+zstd"));
    });
}

#[test]
fn each_platform_on_its_base() {
    on_both(|cli, registry| {
        let platforms = ["linux/amd64", "linux/arm64"];
        let each = |layers: &dyn Fn(&str) -> Vec<Layer>| {
            images::index(platforms.map(|platform| Image::new(layers(platform)).platform(platform).build()))
        };
        registry.push(&each(&|_| vec![old_base()]), "base", "1");
        registry.push(&each(&|platform| vec![layer(platform)]), "base", "2");
        registry.push(&each(&|_| vec![old_base(), layer("app")]), "web", "1");
        registry.push(&Image::new(new_base()).build(), "base", "amd64");
        let [name, out, old, new] = ["web:1", "web:out", "base:1", "base:2"].map(|name| registry.name(name));
        let words = ["rebase", &name, "--old_base", &old, "--new_base", &new, "-t", &out];
        let index = registry.changed(cli, &cli.hoist(words).run(), "web:out");
        assert_eq!(index.media_type, OCI_INDEX);
        let bases = registry.children("base", &registry.found("base:2"));
        for (child, base) in registry.children("web", &index).iter().zip(&bases) {
            assert_eq!(child.diff_ids()[0], base.diff_ids()[0]);
            assert_eq!(child.annotations()[BASE_DIGEST], base.digest);
        }
        let outcome = cli.hoist(words).args(["--platform", "linux/arm64"]).run();
        let one = registry.changed(cli, &outcome, "web:out");
        assert_eq!(one.json["manifests"][1], index.json["manifests"][1]);
        assert_eq!(one.json["manifests"][0], registry.found("web:1").json["manifests"][0]);
        let words = ["rebase", &name, "--old_base", &old, "--new_base", &registry.name("base:amd64")];
        refused(cli, registry, &words, "is for linux/arm64, and the new base for linux/amd64", "web:1");
        // A single image spares the index.
        registry.push(&app().build(), "web", "single");
        let words =
            ["rebase", &registry.name("web:single"), "--old_base", &old, "--new_base", &new, "-t", &name];
        refused(cli, registry, &words, "refusing to replace the index", "web:1");
        let outcome = cli.hoist(words).arg("--replace-index").run();
        assert_eq!(registry.changed(cli, &outcome, "web:1").media_type, OCI_MANIFEST);
    });
}

#[test]
fn what_is_wrong_is_said_and_nothing_done() {
    let (cli, registry) = (Cli::new(), Registry::docker());
    push(&registry);
    registry.push(&images::artifact(), "web", "note");
    let [name, old, new, note] = ["web:1", "base:1", "base:2", "web:note"].map(|name| registry.name(name));
    let missing = registry.name("base:no");
    for (words, cause) in [
        (&[&name[..], "--old_base", &new, "--new_base", &old][..], "does not begin with the layers of base"),
        (&[&name, "--old_base", &old, "--new_base", &missing], "MANIFEST_UNKNOWN"),
        (&[&name, "--old_base", &missing, "--new_base", &new], "MANIFEST_UNKNOWN"),
        (&[&name, "--old_base", &old, "--new_base", &note], "is an artifact without an image's config"),
        (&[&name, "--old_base", &old], "does not say what it is built on"),
        (&[&note, "--old_base", &old, "--new_base", &new], "is an artifact without an image's config"),
        (&[], "required arguments were not provided: <IMAGE>"),
        (&[&name, "--new_bas", &new], "unexpected argument '--new_bas'"),
        (&[&name, "--original", &name], "cannot be used with"),
    ] {
        refused(&cli, &registry, &[&["rebase"], words].concat(), cause, "web:1");
    }
}
