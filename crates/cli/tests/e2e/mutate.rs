//! `mutate`: one thing changes, and all else stays as it is written.

use std::fs;

use serde_json::json;
use testkit::images::{self, Algorithm, Blob, Graph, Layer};
use testkit::{Cli, DockerRegistry, Relay};

use crate::edits::{
    DOCKER_LAYER, DOCKER_MANIFEST, OCI_INDEX, OCI_LAYER, OCI_MANIFEST, Registry, attested, fill, layer,
    on_both, refused, written,
};

/// White space, escapes, numbers and members that no program would write so.
const CONFIG: &str = r#" {
  "os": "linux", "architecture": "amd64", "version": 1.10, "big": 12345678901234567890123, "word": "\u0061\/",
  "config": {"Env": ["PATH=/bin", "B=2", "B=3"], "Entrypoint": ["/entry"], "Cmd": ["one"], "Labels": {"keep": "yes", "drop": "no"}, "User": "u", "Healthcheck": {"Test": ["NONE"], "StartInterval": 5000000000}, "ExposedPorts": {"1/tcp": {}}, "x": 1E0},
  "rootfs": {"type":"layers","diff_ids":["DIFF_ID"]},
  "history" : [ {"created_by":"a", "x":0.10} ], "moby.buildkit.x": "y" }
"#;
const MANIFEST: &str = r#"{ "schemaVersion":2, "mediaType" : "application/vnd.oci.image.manifest.v1+json",
 "artifactType": "application/vnd.example", "unknown": [1.0],
 "config": {"mediaType":"application/vnd.oci.image.config.v1+json","size":CONFIG_SIZE,"digest":"CONFIG", "x": 1.50},
 "layers": [{"mediaType":"application/vnd.oci.image.layer.v1.tar+gzip","size":LAYER_SIZE,"digest":"LAYER"}],
 "subject": {"mediaType":"application/vnd.oci.image.manifest.v1+json","size":7,"digest":"sha256:0123456789012345678901234567890123456789012345678901234567890123"},
 "annotations": {"a": "1"}
}"#;

fn odd() -> Graph {
    written(&layer("odd"), CONFIG, MANIFEST)
}

#[test]
fn each_flag_changes_one_thing_in_the_configuration() {
    let cases: &[(&[&str], &str, &str)] = &[
        (&[], "", ""),
        (&["--label", "keep=yes"], "", ""),
        (&["-l", "a=b"], r#""drop": "no"}"#, r#""drop": "no", "a": "b"}"#),
        (&["--label", "keep="], r#""keep": "yes""#, r#""keep": """#),
        (&["--label", "drop-"], r#", "drop": "no""#, ""),
        (&["--label", "keep-"], r#""keep": "yes", "#, ""),
        (&["--label", "none-"], "", ""),
        (
            &["-l", "keep=1,drop=2", "-l", "c=d,e"],
            r#""keep": "yes", "drop": "no""#,
            r#""keep": "1", "drop": "2", "c": "d,e""#,
        ),
        (&["-e", "PATH=/a:/b"], "PATH=/bin", "PATH=/a:/b"),
        (&["--env", "B=4"], r#""B=2", "B=3""#, r#""B=4""#),
        (&["--env", "B-"], r#", "B=2", "B=3""#, ""),
        (&["--env", "N=x,y=z", "--env", "E="], r#""B=3"]"#, r#""B=3", "N=x,y=z", "E="]"#),
        (&["--entrypoint", "/x,a b"], r#"["/entry"]"#, r#"["/x","a b"]"#),
        (&["--entrypoint", "/x", "--entrypoint", "-y"], r#"["/entry"]"#, r#"["/x","-y"]"#),
        (&["--entrypoint", ""], r#""Entrypoint": ["/entry"], "#, ""),
        (&["--cmd", r#""a,b",c"#], r#"["one"]"#, r#"["a,b","c"]"#),
        (&["--cmd", ""], r#""Cmd": ["one"], "#, ""),
        (&["-u", "1000:0"], r#""User": "u""#, r#""User": "1000:0""#),
        (&["--user", ""], r#""User": "u""#, r#""User": """#),
        (&["-w", "/srv"], r#""x": 1E0}"#, r#""x": 1E0, "WorkingDir": "/srv"}"#),
        (&["--exposed-ports", "80/tcp,81/udp"], r#"{"1/tcp": {}}"#, r#"{"80/tcp":{},"81/udp":{}}"#),
        (&["--exposed-ports", ""], r#""ExposedPorts": {"1/tcp": {}}, "#, ""),
        (&["--set-platform", "linux/arm64"], r#""amd64""#, r#""arm64""#),
        (
            &["--set-platform", "windows/amd64:10.0.17763.1"],
            "\"linux\", \"architecture\": \"amd64\"",
            "\"windows\", \"architecture\": \"amd64\"",
        ),
        (&["--created", "0"], "", ""),
    ];
    on_both(|cli, registry| {
        let graph = odd();
        registry.push(&graph, "web", "1");
        let before = String::from_utf8(graph.blobs[0].bytes.to_vec()).unwrap();
        for (flags, from, to) in cases {
            let (name, out) = (registry.name("web:1"), registry.name("web:out"));
            let outcome = cli.hoist([&["mutate", &name, "-t", &out], *flags].concat()).run();
            let found = registry.changed(cli, &outcome, &out);
            assert!(from.is_empty() || before.contains(from), "{from}");
            let mut expected = if from.is_empty() { before.clone() } else { before.replacen(from, to, 1) };
            // What is new stands behind all others.
            for (flag, member) in [
                ("windows", r#", "os.version": "10.0.17763.1""#),
                ("0", r#", "created": "1970-01-01T00:00:00Z""#),
            ] {
                if flags.iter().any(|word| word.starts_with(flag)) {
                    expected = expected.replace(r#""y" }"#, &format!("\"y\"{member} }}"));
                }
            }
            assert_eq!(found.config.as_ref().unwrap(), &expected, "{flags:?}");
            let config = Blob::new("", expected.as_bytes());
            assert_eq!(found.text, fill(MANIFEST, &config, &graph.blobs[1]), "{flags:?}");
            assert_eq!(found.media_type, OCI_MANIFEST);
        }
        assert_eq!(registry.found("web:1").digest, graph.manifest.digest, "the image itself stays");
    });
}

#[test]
fn annotations_are_the_manifests_own() {
    on_both(|cli, registry| {
        let graph = odd();
        registry.push(&graph, "web", "1");
        let before = String::from_utf8(graph.manifest.bytes.to_vec()).unwrap();
        let name = registry.name("web:1");
        for (words, annotations) in [
            (vec!["-a", "a=2"], r#"{"a": "2"}"#),
            (vec!["--annotation", "b=,c=\u{e9}"], "{\"a\": \"1\",\"b\": \"\",\"c\": \"\u{e9}\"}"),
            (vec!["--annotation", "a-"], "{}"),
            (vec!["-a", "a-", "-a", "b=c=d"], r#"{"b": "c=d"}"#),
        ] {
            registry.push(&graph, "web", "1");
            let outcome = cli.hoist([vec!["mutate", &name], words].concat()).run();
            // Without -t the tag itself.
            let found = registry.changed(cli, &outcome, "web:1");
            let squeeze = |text: &str| text.replace(' ', "");
            let expected = before.replace(r#"{"a": "1"}"#, annotations);
            assert_eq!(squeeze(&found.text), squeeze(&expected));
            assert_eq!(found.config.unwrap().as_bytes(), &*graph.blobs[0].bytes);
        }
    });
}

#[test]
fn where_the_result_goes() {
    on_both(|cli, registry| {
        registry.push(&images::single(), "web", "1");
        let digest = images::single().manifest.digest;
        let (name, copy) = (registry.name("web:1"), registry.name("copy"));
        let label = ["-l", "a=b"];
        let run = |words: &[&str]| cli.hoist([&["mutate"], words, &label].concat()).run();
        let first = registry.changed(cli, &run(&[&name, "-t", &format!("{copy}:v")]), "copy:v");
        // By its digest: no tag moves.
        let by_digest = registry.name(&format!("web@{digest}"));
        let there = format!("web@{}", first.digest);
        assert!(registry.look(&there).is_none());
        registry.changed(cli, &run(&[&by_digest]), &there);
        assert_eq!(registry.found("web:1").digest, digest);
        let there = format!("elsewhere@{}", first.digest);
        registry.changed(cli, &run(&[&name, "--repo", &registry.name("elsewhere")]), &there);
        registry.changed(cli, &run(&[&name, "--tag", &registry.name("elsewhere:t")]), "elsewhere:t");
        registry.changed(cli, &run(&[&name]), "web:1");
        assert_eq!(registry.found("web:1").digest, first.digest);
        // And to and from places on this machine.
        let outcome = run(&[&name, "-t", "oci:images:v"]);
        assert_eq!(outcome.success(), format!("oci:images@{}\n", first.digest));
        cli.hoist(["validate", "oci:images:v"]).run().success();
        let outcome = cli.hoist(["mutate", "oci:images:v", "--label", "a-", "--label", "c=d"]).run();
        let digest = cli.hoist(["digest", "oci:images:v"]).run().success();
        assert_eq!(outcome.success(), format!("oci:images@{digest}"));
    });
}

#[test]
fn a_file_for_docker() {
    let (cli, registry) = (Cli::new(), Registry::docker());
    registry.push(&images::eight_platforms(), "web", "1");
    registry.push(&images::single(), "web", "2");
    let by_digest = format!("web@{}", images::single().manifest.digest);
    let other = registry.name("other:v");
    let names = |rest: &str| registry.name(rest);
    for (image, more, tag, architecture) in [
        ("web:1", &[][..], names("web:1"), "amd64"),
        ("web:1", &["--platform", "linux/arm64"], names("web:1"), "arm64"),
        ("web:2", &["-t", &other], other.clone(), "amd64"),
        (&by_digest, &[], names("web:i-was-a-digest"), "amd64"),
    ] {
        let name = registry.name(image);
        for file in ["o.tar", "with:colon.tar"] {
            let words = ["mutate", &name, "-l", "a=b", "-o", file];
            let outcome = cli.hoist([&words[..], more].concat()).run();
            assert_eq!(outcome.success(), "", "crane prints nothing then");
            let path = cli.work().join(file);
            let extract = |name: &str| {
                cli.peer("tar", ["xO", "-f", &path.display().to_string(), "--force-local", name])
                    .run()
                    .success()
            };
            let list: serde_json::Value = serde_json::from_str(&extract("manifest.json")).unwrap();
            assert_eq!(list[0]["RepoTags"], json!([tag]));
            let config: serde_json::Value =
                serde_json::from_str(&extract(list[0]["Config"].as_str().unwrap())).unwrap();
            assert_eq!(config["architecture"], architecture);
            assert_eq!(config["config"]["Labels"], json!({"a": "b"}));
            fs::remove_file(path).unwrap();
        }
    }
    // The same as a place, where a platform has to be said.
    let all = registry.name("web:1");
    let words = ["mutate", &all, "-l", "a=b", "-t", "docker-archive:p.tar:app:1"];
    assert!(cli.hoist(words).run().failure(1).contains("say which with --platform"));
    cli.hoist(words).args(["--platform", "linux/386"]).run().success();
    let config = cli.hoist(["config", "docker-archive:p.tar", "--jq", ".architecture"]).run().success();
    assert_eq!(config, "386\n");
    let piped = cli.hoist(["mutate", &registry.name("web:2"), "-o", "-"]).run();
    cli.peer("tar", ["t"]).stdin(piped.stdout).run().success();
    assert_eq!(registry.found("web:1").digest, images::eight_platforms().manifest.digest);
}

#[test]
fn an_index_changes_with_all_its_images() {
    on_both(|cli, registry| {
        let graph = attested();
        registry.push(&graph, "web", "1");
        let name = registry.name("web:1");
        let words = ["mutate", &name, "-l", "l=1", "-a", "n=2", "--env", "E=3"];
        let index = registry.changed(cli, &cli.hoist(words).run(), "web:1");
        assert_eq!((index.media_type.as_str(), &index.json["annotations"]), (OCI_INDEX, &json!({"n": "2"})));
        let children = registry.children("web", &index);
        for child in &children[..2] {
            assert_eq!(child.json["annotations"], json!({"n": "2"}));
            assert_eq!(child.config()["config"]["Labels"], json!({"l": "1"}));
            assert_eq!(child.config()["config"]["Env"], json!(["PATH=/bin", "E=3"]));
        }
        // What is said about an image follows it, for its files are what they were.
        let entries = &index.json["manifests"];
        assert_eq!(children[2].digest, graph.children[2].manifest.digest);
        assert_eq!(entries[2]["annotations"]["vnd.docker.reference.digest"], entries[0]["digest"]);
        assert_eq!(entries[1]["platform"], json!({"architecture": "arm64", "os": "linux"}));

        // One platform of it, and what it says about itself.
        let words =
            ["mutate", &name, "--platform", "linux/arm64", "--set-platform", "linux/arm64/v9", "-a", "m=1"];
        let again = registry.changed(cli, &cli.hoist(words).run(), "web:1");
        assert_eq!(again.json["annotations"], json!({"n": "2"}), "the index is not that image");
        let platform = json!({"architecture": "arm64", "os": "linux", "variant": "v9"});
        assert_eq!(again.json["manifests"][1]["platform"], platform);
        assert_eq!(again.json["manifests"][0], entries[0]);
        assert_eq!(registry.children("web", &again)[1].annotations()["m"], "1");

        // Docker's own types stay, and other artifacts are left alone.
        registry.push(&images::docker_list(), "web", "docker");
        let words = ["mutate", &registry.name("web:docker"), "-l", "a=b"];
        let list = registry.changed(cli, &cli.hoist(words).run(), "web:docker");
        assert!(registry.children("web", &list).iter().all(|child| child.media_type == DOCKER_MANIFEST));
        registry.push(&images::nested_index(), "web", "nested");
        let words = ["mutate", &registry.name("web:nested"), "-l", "a=b"];
        let nested = registry.changed(cli, &cli.hoist(words).run(), "web:nested");
        assert_eq!(nested.json["manifests"][1]["digest"], images::artifact().manifest.digest);
        let inner =
            registry.found(&format!("web@{}", nested.json["manifests"][0]["digest"].as_str().unwrap()));
        assert_eq!(registry.children("web", &inner)[1].config()["config"]["Labels"], json!({"a": "b"}));
    });
}

#[test]
fn artifacts_stay_artifacts() {
    on_both(|cli, registry| {
        registry.push(&images::artifact(), "notes", "1");
        let name = registry.name("notes:1");
        let found = registry.changed(cli, &cli.hoist(["mutate", &name, "-a", "a=b"]).run(), "notes:1");
        let before = String::from_utf8(images::artifact().manifest.bytes.to_vec()).unwrap();
        assert_eq!(found.text, before.replace("below\"}", "below\",\"a\":\"b\"}"));
        assert_eq!(found.config.as_deref(), Some("{}"));
        let cause = "is an artifact without an image's config";
        refused(cli, registry, &["mutate", &name, "-l", "a=b"], cause, "notes:1");
        // A file of an artifact is a layer too.
        fs::write(cli.work().join("l.tar"), layer("x").tar()).unwrap();
        let found =
            registry.changed(cli, &cli.hoist(["mutate", &name, "--append", "l.tar"]).run(), "notes:1");
        assert_eq!(found.layer_types(), [format!("{OCI_LAYER}+gzip")]);
    });
}

#[test]
fn layers_and_times() {
    on_both(|cli, registry| {
        registry.push(&images::docker_schema2(), "web", "1");
        let [one, two] = ["one", "two"].map(layer);
        fs::write(cli.work().join("1.tar"), one.tar()).unwrap();
        fs::write(cli.work().join("2.tar.gz"), two.compressed()).unwrap();
        let (name, out) = (registry.name("web:1"), registry.name("web:2"));
        let words = ["mutate", &name, "-t", &out, "--append", "1.tar,2.tar.gz"];
        let plain = registry.changed(cli, &cli.hoist(words).run(), "web:2");
        let ids = [&one, &two].map(|layer| Algorithm::Sha256.digest(&layer.tar()));
        assert_eq!(plain.diff_ids()[2..], ids);
        assert_eq!(
            plain.layer_types()[2..],
            [format!("{DOCKER_LAYER}.gzip"), format!("{DOCKER_LAYER}.gzip")]
        );
        assert_eq!(plain.layer_digests()[3], Algorithm::Sha256.digest(&two.compressed()), "kept as it was");
        assert_eq!(plain.config()["created"], "2025-01-01T00:00:00Z");
        assert_eq!(plain.config()["history"][2], json!({"created_by": "hoist mutate --append"}));
        let words = [&words[..], &["--compression", "zstd:5", "--created", "2022-04-16T07:10:51Z"]].concat();
        let packed = registry.changed(cli, &cli.hoist(&words).run(), "web:2");
        assert_eq!(packed.diff_ids(), plain.diff_ids());
        assert_eq!(
            packed.layer_types()[2..],
            [format!("{DOCKER_LAYER}.zstd"), format!("{DOCKER_LAYER}.zstd")]
        );
        assert_eq!(packed.config()["created"], "2022-04-16T07:10:51Z");
        assert_eq!(packed.config()["history"][3]["created"], "2022-04-16T07:10:51Z");
        // The same from the environment, which a flag overrules; and on one processor.
        let words = &words[..words.len() - 2];
        let environment = cli.hoist(words).env("SOURCE_DATE_EPOCH", "1650093051").run();
        assert_eq!(registry.changed(cli, &environment, "web:2").digest, packed.digest);
        let line = format!("taskset -c 0 hoist {} --created 1650093051", words.join(" "));
        let alone = cli.shell(&line).env("SOURCE_DATE_EPOCH", "7").run();
        assert_eq!(registry.changed(cli, &alone, "web:2").digest, packed.digest);
    });
}

#[test]
fn variables_of_windows_have_no_case() {
    let (cli, registry) = (Cli::new(), Registry::docker());
    let config = CONFIG.replace(r#""linux""#, r#""windows""#).replace("\"B=2\", \"B=3\"", "\"foo=1\"");
    registry.push(&written(&layer("windows"), &config, MANIFEST), "web", "1");
    let name = registry.name("web:1");
    let words = ["mutate", &name, "-e", "FOO=2", "-e", "Path=C:", "-e", "new=3"];
    let found = registry.changed(&cli, &cli.hoist(words).run(), "web:1");
    assert_eq!(found.config()["config"]["Env"], json!(["PATH=C:", "foo=2", "NEW=3"]));
}

#[test]
fn few_requests() {
    let registry = DockerRegistry::plain();
    registry.push(&images::single(), "demo/web", "1");
    let relay = Relay::to(registry.address());
    let name = format!("{}/demo/web:1", relay.address());
    for label in ["a=1", "a=2"] {
        let before = relay.requests().len();
        Cli::new().hoist(["mutate", &name, "-l", label]).run().success();
        let lines: Vec<String> =
            relay.requests()[before..].iter().map(|one| format!("{} {}", one.method, one.path)).collect();
        assert!(lines.len() <= 5, "{lines:#?}");
    }
}

#[test]
fn a_single_image_spares_an_index() {
    on_both(|cli, registry| {
        registry.push(&images::single(), "web", "one");
        registry.push(&images::eight_platforms(), "web", "all");
        let (one, all) = (registry.name("web:one"), registry.name("web:all"));
        let words = ["mutate", &one, "-l", "a=b", "-t", &all];
        refused(cli, registry, &words, "refusing to replace the index", "web:all");
        let outcome = cli.hoist(words).arg("--replace-index").run();
        assert_eq!(registry.changed(cli, &outcome, "web:all").media_type, OCI_MANIFEST);
    });
}

#[test]
fn what_is_wrong_is_said_and_nothing_done() {
    let (cli, registry) = (Cli::new(), Registry::docker());
    registry.push(&images::single(), "web", "1");
    registry.push(&images::eight_platforms(), "web", "all");
    for (tag, config) in
        [("text", "this is no JSON"), ("twice", r#"{"os":"linux","os":"linux"}"#), ("list", "[]")]
    {
        registry.push(&written(&Layer::new(), config, MANIFEST), "web", tag);
    }
    fs::write(cli.work().join("text"), "x".repeat(1000)).unwrap();
    let [one, all, text, twice, list] =
        ["1", "all", "text", "twice", "list"].map(|tag| registry.name(&format!("web:{tag}")));
    for (words, cause, tag) in [
        (vec![&one[..], "--label", "a"], r#"--label: "a" is no KEY=VALUE; KEY- takes a key away"#, "web:1"),
        (vec![&one, "--label", "=a"], r#"--label: "=a" has no key"#, "web:1"),
        (vec![&one, "--annotation", "a"], r#"--annotation: "a" is no KEY=VALUE"#, "web:1"),
        (vec![&one, "--env", "a"], r#"--env: "a" is no KEY=VALUE"#, "web:1"),
        (vec![&one, "--cmd", "\"a"], "--cmd: a quote in", "web:1"),
        (vec![&one, "--set-platform", "linux"], "could not parse platform", "web:1"),
        (vec![&one, "--created", "yesterday"], "\"yesterday\" is no time", "web:1"),
        (vec![&one, "--compression", "xz"], "could not parse compression", "web:1"),
        (vec![&one, "--append", "missing.tar"], "reading missing.tar: No such file", "web:1"),
        (vec![&one, "--append", "text"], "text is no layer", "web:1"),
        (vec![&one, "--repo", &text, "-t", &text], "cannot be used with", "web:1"),
        (vec![&one, "--tagg", "x"], "unexpected argument '--tagg'", "web:1"),
        (vec![&all, "--set-platform", "linux/arm64"], "has 8 images", "web:all"),
        (
            vec![&all, "-l", "a=b", "--platform", "linux/riscv64"],
            "no child with platform linux/riscv64",
            "web:all",
        ),
        (vec![&text, "-l", "a=b"], "cannot be edited: expected", "web:text"),
        (vec![&twice, "-l", "a=b"], "stands there twice", "web:twice"),
        (vec![&list, "-l", "a=b"], "cannot be edited", "web:list"),
        (vec![&one, "-l", "a=b", "-o", "no/such.tar"], "there is no directory no", "web:1"),
        (vec![&one, "-t", "oci:text/images:1"], "text/images", "web:1"),
        (vec![&one, "-t", "dir:text/image"], "text/image", "web:1"),
        (vec!["docker-archive:missing.tar", "-l", "a=b"], "missing.tar", "web:1"),
    ] {
        refused(&cli, &registry, &[vec!["mutate"], words].concat(), cause, tag);
    }
    let near = cli.hoist(["mutate", "--tagg", "x", &one]).run();
    assert!(near.failure(1).contains("hint: a similar argument exists: '--tag'"), "{near}");
    let epoch = cli.hoist(["mutate", &one, "-l", "a=b"]).env("SOURCE_DATE_EPOCH", "soon").run();
    assert!(epoch.failure(1).contains("Error: SOURCE_DATE_EPOCH: \"soon\" is no time"), "{epoch}");
}
