//! `index append`, `index filter`, `index list`.

use serde_json::json;
use testkit::Cli;
use testkit::images::{self, Algorithm, Blob, Graph, Image};

use crate::edits::{OCI_INDEX, Registry, attested, layer, on_both, refused};
use crate::support::logged;

const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";

#[test]
fn append_makes_an_index_of_images() {
    on_both(|cli, registry| {
        registry.push(&images::single(), "web", "amd64");
        let arm = Image::new([layer("arm")]).platform("linux/arm64/v8").build();
        registry.push(&arm, "other", "arm64");
        registry.push(&images::artifact(), "web", "note");
        let [amd, arm64, note, out] =
            ["web:amd64", "other:arm64", "web:note", "web:out"].map(|name| registry.name(name));
        let descriptor = |graph: &Graph| graph.manifest.descriptor();
        let mut entries = [descriptor(&images::single()), descriptor(&arm), descriptor(&images::artifact())];
        entries[0]["platform"] = json!({"architecture": "amd64", "os": "linux"});
        entries[1]["platform"] = json!({"architecture": "arm64", "os": "linux", "variant": "v8"});
        entries[2]["artifactType"] = json!("application/vnd.example.note");
        for words in [
            &["index", "append", "-m", &amd, "-m", &arm64, "--manifest", &note, "-t", &out][..],
            &["index", "append", "-m", &format!("{amd},{arm64},{note}"), "--tag", &out],
        ] {
            let outcome = cli.hoist(words).run();
            let index = registry.changed(cli, &outcome, "web:out");
            assert_eq!(index.media_type, OCI_INDEX);
            assert_eq!(index.json, json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}));
            assert_eq!(logged(&outcome.stderr())[0], "base unspecified, using empty index");
        }
        // From another repository it came with all that it has.
        cli.hoist(["validate", &out, "--platform", "linux/arm64"]).run().success();
        let words = ["index", "append", "-m", &amd, "-t", &out, "--docker-empty-base"];
        assert_eq!(registry.changed(cli, &cli.hoist(words).run(), "web:out").media_type, DOCKER_LIST);
    });
}

#[test]
fn append_extends_what_is_written() {
    on_both(|cli, registry| {
        let inner = images::index([
            Image::new([layer("one")]).build(),
            Image::new([layer("s")]).platform("linux/s390x").build(),
        ]);
        registry.push(&inner, "inner", "1");
        let first = Image::new([layer("first")]).platform("linux/386").build();
        let text = format!(
            "{{\n \"manifests\": [\n  {{ \"digest\":\"{}\", \"size\":{}, \"mediaType\":\"{}\", \"x\":1.10 }}\n ],\n \"schemaVersion\": 2, \"mediaType\":\"{OCI_INDEX}\", \"own\": [1.0]\n}}",
            first.manifest.digest,
            first.manifest.bytes.len(),
            first.manifest.media_type,
        );
        let index = Graph {
            manifest: Blob::new(OCI_INDEX, text.as_bytes()),
            platform: None,
            children: vec![first],
            blobs: vec![],
        };
        registry.push(&index, "web", "1");
        let [name, out, more] = ["web:1", "web:out", "inner:1"].map(|name| registry.name(name));
        let entry = |at: usize| inner.json()["manifests"][at].to_string();
        let extended = |added: &str| text.replace("1.10 }\n ]", &format!("1.10 }},\n  {added}\n ]"));
        let run = |words: &[&str]| {
            let outcome = cli.hoist([&["index", "append", "-t", &out], words].concat()).run();
            (registry.changed(cli, &outcome, "web:out").text, outcome)
        };
        let both = format!("{},\n  {}", entry(0), entry(1));
        assert_eq!(run(&[&name, "-m", &more]).0, extended(&both));
        assert_eq!(run(&[&name, &more, "--flatten"]).0, extended(&both));
        let whole = inner.manifest.descriptor().to_string();
        assert_eq!(run(&[&name, &more, "--flatten=false"]).0, extended(&whole));
        assert_eq!(run(&[&name, &more, "--platform", "linux/s390x"]).0.matches("s390x").count(), 1);
        // Twice is once, and said.
        let (text, outcome) = run(&[&name, &more, &more, &name]);
        assert_eq!(text, extended(&both));
        let notes =
            logged(&outcome.stderr()).iter().filter(|line| line.ends_with("is listed already")).count();
        assert_eq!(notes, 3);
        // In place.
        let outcome = cli.hoist(["index", "append", &name, "-m", &more]).run();
        assert_eq!(registry.changed(cli, &outcome, "web:1").text, extended(&both));
    });
}

#[test]
fn filter_keeps_platforms_and_what_is_about_them() {
    on_both(|cli, registry| {
        registry.push(&images::eight_platforms(), "web", "1");
        let (name, out) = (registry.name("web:1"), registry.name("web:out"));
        let run = |words: &[&str]| {
            let outcome = cli.hoist([&["index", "filter", "-t", &out], words].concat()).run();
            registry.changed(cli, &outcome, "web:out").json["manifests"].as_array().unwrap().clone()
        };
        let all = images::eight_platforms().json()["manifests"].as_array().unwrap().clone();
        assert_eq!(run(&[&name]), all);
        assert_eq!(run(&[&name, "--platform", "all"]), all);
        assert_eq!(run(&[&name, "--platform", "linux/arm64"]), all[3..4]);
        assert_eq!(
            run(&[&name, "--platform", "linux/s390x", "--platform", "linux/arm"]),
            [&all[1..3], &all[7..]].concat()
        );
        let outcome = cli.hoist(["index", "filter", &name, "--platform", "linux/386"]).run();
        assert_eq!(registry.changed(cli, &outcome, "web:1").json["manifests"], json!([all[4]]));

        registry.push(&attested(), "web", "2");
        let name = registry.name("web:2");
        let entries = attested().json()["manifests"].as_array().unwrap().clone();
        assert_eq!(run(&[&name, "--platform", "linux/amd64"]), [entries[0].clone(), entries[2].clone()]);
        assert_eq!(run(&[&name, "--platform", "linux/arm64"]), entries[1..2]);
        let outcome = cli.hoist(["index", "filter", &name, "--platform", "linux/s390x"]).run();
        assert!(
            outcome.failure(1).ends_with("hint: it has linux/amd64, linux/arm64, unknown/unknown\n"),
            "{outcome}"
        );
        refused(
            cli,
            registry,
            &["index", "filter", &name, "--platform", "linux/s390x"],
            "has no image for any of these platforms",
            "web:2",
        );
        // What is left out is not looked at.
        cli.hoist(["validate", &out]).run().success();
    });
}

#[test]
fn list() {
    on_both(|cli, registry| {
        registry.push(&images::nested_index(), "web", "1");
        registry.push(&images::docker_list(), "web", "2");
        let entry =
            |graph: &Graph, at: usize| graph.json()["manifests"][at]["digest"].as_str().unwrap().to_owned();
        let header = format!("{:<70} {:<20} Platform\n", "Digest", "MediaType");
        let nested = images::nested_index();
        let expected = format!(
            "{header}{} {OCI_INDEX} -\n{} application/vnd.oci.image.manifest.v1+json -\n",
            pad(&entry(&nested, 0)),
            pad(&entry(&nested, 1)),
        );
        assert_eq!(cli.hoist(["index", "list", &registry.name("web:1")]).run().success(), expected);
        let list = images::docker_list();
        let kind = "application/vnd.docker.distribution.manifest.v2+json";
        let expected = format!(
            "{header}{} {kind} linux/amd64\n{} {kind} linux/arm64\n",
            pad(&entry(&list, 0)),
            pad(&entry(&list, 1)),
        );
        let name = registry.name("web:2");
        assert_eq!(cli.hoist(["index", "list", &name]).run().success(), expected);
        let json = cli.hoist(["index", "list", &name, "--json"]).run().success();
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(json, list.json()["manifests"]);
        let first = cli.hoist(["index", "list", &name, "--jq", ".[0].digest"]).run().success();
        assert!(first.contains(&entry(&list, 0)), "{first}");
    });
}

fn pad(digest: &str) -> String {
    format!("{digest:<70}")
}

#[test]
fn between_registries() {
    let (docker, hoist) = (Registry::docker(), Registry::hoist());
    let cli = Cli::new();
    docker.push(&images::eight_platforms(), "web", "1");
    hoist.push(&Image::new([layer("one")]).build(), "one", "1");
    let (from, other, to) = (docker.name("web:1"), hoist.name("one:1"), hoist.name("copy:1"));
    let outcome = cli.hoist(["index", "append", &from, "-m", &other, "-t", &to]).run();
    let index = hoist.changed(&cli, &outcome, "copy:1");
    assert_eq!(index.json["manifests"].as_array().unwrap().len(), 9);
    cli.hoist(["validate", &to]).run().success();
    let outcome = cli.hoist(["index", "filter", &to, "--platform", "linux/386", "-t", "oci:images:1"]).run();
    let digest = cli.hoist(["digest", "oci:images:1"]).run().success();
    assert_eq!(outcome.success(), format!("oci:images@{digest}"));
    let manifest = cli.hoist(["manifest", "oci:images:1"]).run().stdout;
    assert_eq!(Algorithm::Sha256.digest(&manifest), digest.trim_end());
}

#[test]
fn what_is_wrong_is_said_and_nothing_done() {
    let (cli, registry) = (Cli::new(), Registry::docker());
    registry.push(&images::single(), "web", "one");
    registry.push(&images::eight_platforms(), "web", "1");
    let [one, name, missing] = ["web:one", "web:1", "web:no"].map(|name| registry.name(name));
    for (words, cause, tag) in [
        (
            &["append", "-m", &one][..],
            "there is neither an index to extend nor a name for a new one",
            "web:one",
        ),
        (&["append", &one, "-m", &name], "web:one is one image, not an index", "web:one"),
        (&["append", &name, "-m", &missing], "MANIFEST_UNKNOWN", "web:1"),
        (&["append", &name, "-m", "\"x"], "--manifest: a quote in", "web:1"),
        (&["append", &name, "--flatten=maybe"], "invalid value 'maybe'", "web:1"),
        (&["append", &name, "--manifst", &one], "unexpected argument '--manifst'", "web:1"),
        (&["append", &name, &one, "-t", "dir:/proc/no"], "/proc/no", "web:1"),
        (&["filter", &one], "web:one is one image, not an index", "web:one"),
        (&["filter"], "<INDEX>", "web:1"),
        (&["filter", &name, "--platform", "linux"], "could not parse platform", "web:1"),
        (&["list", &one], "web:one is one image, not an index", "web:one"),
        (&["liste", &name], "unrecognized subcommand 'liste'", "web:1"),
    ] {
        refused(&cli, &registry, &[&["index"], words].concat(), cause, tag);
    }
}
