//! `append`: archives, directories and files on top of an image, or of nothing.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};

use serde_json::json;
use testkit::Cli;
use testkit::images::{self, Algorithm, Compression};

use crate::edits::{
    DOCKER_LAYER, DOCKER_MANIFEST, Found, OCI_INDEX, OCI_LAYER, OCI_MANIFEST, Registry, attested, layer,
    on_both, refused,
};
use crate::support::{as_root, logged};

const BASE_NAME: &str = "org.opencontainers.image.base.name";
const BASE_DIGEST: &str = "org.opencontainers.image.base.digest";

/// `hoist append -t demo/web:out`, and what comes of it.
#[track_caller]
fn append(cli: &Cli, registry: &Registry, words: &[&str]) -> Found {
    let out = registry.name("web:out");
    let outcome = cli.hoist([&["append", "-t", &out], words].concat()).run();
    registry.changed(cli, &outcome, "web:out")
}

/// The layer on top, as GNU tar lists it.
fn listed(cli: &Cli, registry: &Registry, found: &Found) -> Vec<String> {
    let top = registry.name(&format!("web@{}", found.layer_digests().last().unwrap()));
    let blob = cli.hoist(["blob", &top]).run();
    let list = ["--gzip", "-tv", "--numeric-owner", "--full-time"];
    let list = cli.peer("tar", list).stdin(blob.stdout).run().success();
    // Without the width of the size's column.
    list.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
}

#[test]
fn archives_are_kept_or_compressed() {
    on_both(|cli, registry| {
        registry.push(&images::single(), "web", "oci");
        registry.push(&images::docker_schema2(), "web", "docker");
        let kinds = [Compression::None, Compression::Gzip, Compression::Zstd]
            .map(|kind| layer("x").compression(kind));
        let files = ["l.tar", "l.tar.gz", "l.tar.zst"];
        for (file, layer) in files.iter().zip(&kinds) {
            fs::write(cli.work().join(file), layer.compressed()).unwrap();
        }
        let diff_id = Algorithm::Sha256.digest(&kinds[0].tar());
        let digests = kinds.each_ref().map(|layer| Algorithm::Sha256.digest(&layer.compressed()));
        for (base, prefix, ends) in
            [("oci", OCI_LAYER, ["", "+gzip", "+zstd"]), ("docker", DOCKER_LAYER, ["", ".gzip", ".zstd"])]
        {
            let base = registry.name(&format!("web:{base}"));
            for (how, kind) in [("none", 0), ("gzip", 1), ("gzip:9", 1), ("zstd", 2), ("zstd:19", 2)] {
                let words =
                    ["-b", &base, "-f", "l.tar,l.tar.gz", "--new_layer", "l.tar.zst", "--compression", how];
                let found = append(cli, registry, &words);
                let media_type = format!("{prefix}{}", ends[kind]);
                assert_eq!(found.layer_types()[2..], [&media_type, &media_type, &media_type], "{how}");
                assert_eq!(found.diff_ids()[2..], [&*diff_id; 3]);
                let same = found.layer_digests()[2..].to_vec();
                assert!(same[0] == same[1] && same[1] == same[2], "{same:?}");
                assert!(how != "none" || same[0] == digests[0]);
            }
            let found = append(cli, registry, &["-b", &base, "-f", "l.tar", "-f", "l.tar.gz,l.tar.zst"]);
            let types = [1, 1, 2].map(|kind| format!("{prefix}{}", ends[kind]));
            assert_eq!(found.layer_types()[2..], types);
            assert_eq!(found.layer_digests()[3..], digests[1..], "compressed bytes are kept as they are");
            assert_eq!(found.steps(), ["layer 1", "layer 2", "hoist append", "hoist append", "hoist append"]);
            assert_eq!(found.config()["history"][2], json!({"created_by": "hoist append"}));
        }
    });
}

#[test]
fn standard_input() {
    on_both(|cli, registry| {
        let out = registry.name("web:out");
        for kind in [Compression::None, Compression::Gzip, Compression::Zstd] {
            let layer = layer("piped").compression(kind);
            let outcome = cli.hoist(["append", "-f", "-", "-t", &out]).stdin(layer.compressed()).run();
            let found = registry.changed(cli, &outcome, "web:out");
            assert_eq!(found.diff_ids(), [Algorithm::Sha256.digest(&layer.tar())]);
            let kept = found.layer_digests()[0] == Algorithm::Sha256.digest(&layer.compressed());
            assert_eq!(kept, kind != Compression::None);
        }
    });
}

#[test]
fn nothing_below() {
    on_both(|cli, registry| {
        fs::write(cli.work().join("l.tar"), layer("x").tar()).unwrap();
        let found = append(cli, registry, &["-f", "l.tar"]);
        assert_eq!(
            (found.media_type.as_str(), found.layer_types()),
            (DOCKER_MANIFEST, vec![&*format!("{DOCKER_LAYER}.gzip")])
        );
        let config = format!(
            r#"{{"architecture":"amd64","os":"linux","config":{{}},"rootfs":{{"type":"layers","diff_ids":["{}"]}},"history":[{{"created_by":"hoist append"}}]}}"#,
            Algorithm::Sha256.digest(&layer("x").tar())
        );
        assert_eq!(found.config.as_ref().unwrap(), &config);
        let found =
            append(cli, registry, &["-f", "l.tar", "--oci-empty-base", "--platform", "linux/arm64/v8"]);
        assert_eq!(found.media_type, OCI_MANIFEST);
        assert_eq!(found.config()["variant"], "v8");
        let out = registry.name("web:out");
        let outcome = cli.hoist(["append", "-f", "l.tar", "-t", &out]).run();
        assert_eq!(logged(&outcome.stderr())[0], "base unspecified, using empty image");
    });
}

#[test]
fn an_index_below() {
    on_both(|cli, registry| {
        registry.push(&attested(), "web", "1");
        fs::write(cli.work().join("l.tar"), layer("x").tar()).unwrap();
        let base = registry.name("web:1");
        for (words, architecture) in [(&[][..], "amd64"), (&["--platform", "linux/arm64"], "arm64")] {
            let found = append(cli, registry, &[&["-f", "l.tar", "-b", &base], words].concat());
            assert_eq!(
                (found.config()["architecture"].as_str(), found.diff_ids().len()),
                (Some(architecture), 2)
            );
        }
        // Under its own name an index stays one.
        let words = ["append", "-f", "l.tar", "-b", &base, "-t", &base];
        refused(cli, registry, &words, "refusing to replace the index", "web:1");
        let outcome = cli.hoist(words).args(["--platform", "all"]).run();
        let index = registry.changed(cli, &outcome, "web:1");
        let note = format!(
            "dropped attestation {}, which is about other layers",
            attested().children[2].manifest.digest
        );
        assert!(logged(&outcome.stderr()).contains(&note), "{outcome}");
        assert_eq!(index.media_type, OCI_INDEX);
        let children = registry.children("web", &index);
        assert_eq!(children.iter().map(|child| child.diff_ids().len()).collect::<Vec<_>>(), [2, 2]);
        let outcome = cli.hoist(words).arg("--replace-index").run();
        assert_eq!(registry.changed(cli, &outcome, "web:1").diff_ids().len(), 3);
    });
}

#[test]
fn what_it_is_built_on() {
    on_both(|cli, registry| {
        registry.push(&images::single(), "base", "1");
        registry.push(&images::eight_platforms(), "base", "all");
        fs::write(cli.work().join("l.tar"), layer("x").tar()).unwrap();
        let digest = images::single().manifest.digest;
        let words = ["-f", "l.tar", "--set-base-image-annotations", "-b"];
        let name = registry.name("base:1");
        let found = append(cli, registry, &[&words[..], &[&name]].concat());
        assert_eq!(json!(found.annotations()), json!({BASE_DIGEST: digest, BASE_NAME: name}));
        // A digest is no name.
        let name = registry.name(&format!("base@{digest}"));
        let found = append(cli, registry, &[&words[..], &[&name]].concat());
        assert_eq!(json!(found.annotations()), json!({BASE_DIGEST: digest}));
        let name = registry.name("base:all");
        let found = append(cli, registry, &[&words[..], &[&name]].concat());
        let amd64 = &images::eight_platforms().children[0].manifest.digest;
        assert_eq!(json!(found.annotations()), json!({BASE_DIGEST: amd64, BASE_NAME: name}));
    });
}

#[test]
fn directories_and_files() {
    let (cli, registry) = (Cli::new(), Registry::docker());
    let site = cli.work().join("site");
    fs::create_dir_all(site.join("sub")).unwrap();
    for (path, text, mode) in [("b", "bb", 0o640), ("a", "a", 0o755), ("sub/c", "ccc", 0o600)] {
        fs::write(site.join(path), text).unwrap();
        fs::set_permissions(site.join(path), fs::Permissions::from_mode(mode)).unwrap();
    }
    fs::set_permissions(site.join("sub"), fs::Permissions::from_mode(0o750)).unwrap();
    symlink("a", site.join("l")).unwrap();
    fs::hard_link(site.join("b"), site.join("z")).unwrap();
    let plain = append(&cli, &registry, &["-f", "site"]);
    let expected = [
        "-rwxr-xr-x 0/0 1 1970-01-01 00:00:00 a",
        "-rw-r----- 0/0 2 1970-01-01 00:00:00 b",
        "lrwxrwxrwx 0/0 0 1970-01-01 00:00:00 l -> a",
        "drwxr-x--- 0/0 0 1970-01-01 00:00:00 sub/",
        "-rw------- 0/0 3 1970-01-01 00:00:00 sub/c",
        "hrw-r----- 0/0 0 1970-01-01 00:00:00 z link to b",
    ];
    assert_eq!(listed(&cli, &registry, &plain), expected);
    // The same whenever and by whomever it is made, and on however many processors.
    fs::write(site.join("a"), "a").unwrap();
    assert_eq!(append(&cli, &registry, &["--add", "site"]).digest, plain.digest);
    let out = registry.name("web:out");
    let alone = cli.shell(&format!("taskset -c 0 hoist append -f site -t {out}")).run();
    assert_eq!(registry.changed(&cli, &alone, "web:out").digest, plain.digest);

    let words = [
        "--add",
        "site/sub:/srv/www",
        "--chown",
        "33:44",
        "--mode",
        "640",
        "--created",
        "2022-04-16T07:10:51Z",
    ];
    let found = append(&cli, &registry, &words);
    let expected = [
        "drwxr-x--- 33/44 0 2022-04-16 07:10:51 srv/www/",
        "-rw-r----- 33/44 3 2022-04-16 07:10:51 srv/www/c",
    ];
    // Not `srv/`, which the image may have with an owner of its own.
    assert_eq!(listed(&cli, &registry, &found), expected);
    assert_eq!(found.config()["created"], "2022-04-16T07:10:51Z");
    let words = ["append", "--add", "site/sub:/srv/www", "--chown", "33:44", "--mode", "0640", "-t", &out];
    let outcome = cli.hoist(words).env("SOURCE_DATE_EPOCH", "1650093051").run();
    assert_eq!(registry.changed(&cli, &outcome, "web:out").digest, found.digest);

    for (word, path) in [("site/a:/x", "x"), ("site/a:bin/", "bin/a"), ("site/a", "a"), ("site/a:/", "a")] {
        let found = append(&cli, &registry, &["--add", word, "--chown", "5"]);
        let lines = listed(&cli, &registry, &found);
        assert_eq!(*lines.last().unwrap(), format!("-rwxr-xr-x 5/5 1 1970-01-01 00:00:00 {path}"), "{word}");
    }
    // Archives first, then files, each a layer.
    fs::write(cli.work().join("l.tar"), layer("x").tar()).unwrap();
    let found = append(&cli, &registry, &["--add", "site/a:/x", "--add", "site/b:/y", "-f", "l.tar"]);
    assert_eq!(found.diff_ids().len(), 3);
    assert_eq!(found.diff_ids()[0], Algorithm::Sha256.digest(&layer("x").tar()));
    assert!(fs::metadata(site.join("b")).unwrap().nlink() == 2, "what was read is left alone");
}

#[test]
fn others_read_it() {
    let (cli, registry) = (Cli::new(), Registry::docker());
    registry.push(&images::single(), "web", "1");
    fs::create_dir(cli.work().join("site")).unwrap();
    fs::write(cli.work().join("site/page"), "hello").unwrap();
    let base = registry.name("web:1");
    for how in ["gzip", "zstd", "none"] {
        let found = append(&cli, &registry, &["-b", &base, "--add", "site:/srv", "--compression", how]);
        let name = format!("docker://{}", registry.name("web:out"));
        let inspect = cli.peer("skopeo", ["inspect", "--tls-verify=false", &name]).run().success();
        let inspect: serde_json::Value = serde_json::from_str(&inspect).unwrap();
        assert_eq!(inspect["Digest"], *found.digest);
        assert_eq!(inspect["Layers"], json!(found.layer_digests()));
        let layout = format!("oci:layout:{how}");
        let copy =
            ["--insecure-policy", "copy", "--preserve-digests", "--src-tls-verify=false", &name, &layout];
        cli.peer("skopeo", copy).run().success();
        assert_eq!(cli.hoist(["digest", &layout]).run().success().trim_end(), found.digest);
        let (image, bundle) = (format!("layout:{how}"), format!("bundle-{how}"));
        as_root(&cli, "umoci", ["unpack", "--image", &image, &bundle]).run().success();
        let root = cli.work().join(&bundle).join("rootfs");
        assert_eq!(fs::read_to_string(root.join("srv/page")).unwrap(), "hello");
        assert_eq!(fs::read_to_string(root.join("etc/motd")).unwrap(), "welcome\n");
        cli.hoist(["validate", &registry.name("web:out")]).run().success();
    }
}

#[test]
fn a_file_for_docker() {
    let (cli, registry) = (Cli::new(), Registry::docker());
    fs::write(cli.work().join("l.tar"), layer("x").tar()).unwrap();
    let outcome = cli.hoist(["append", "-f", "l.tar", "-t", "app", "-o", "o.tar"]).run();
    assert_eq!(outcome.success(), "");
    let list = cli.peer("tar", ["xOf", "o.tar", "manifest.json"]).run().success();
    assert!(list.contains(r#""RepoTags":["app:latest"]"#), "{list}");
    cli.peer("crane", ["push", "o.tar", &registry.name("web:pushed")]).run().success();
    assert_eq!(registry.found("web:pushed").diff_ids(), [Algorithm::Sha256.digest(&layer("x").tar())]);
}

#[test]
fn what_is_wrong_is_said_and_nothing_done() {
    let (cli, registry) = (Cli::new(), Registry::docker());
    registry.push(&images::single(), "web", "1");
    let put = |name: &str, bytes: &[u8]| fs::write(cli.work().join(name), bytes).unwrap();
    let whole = layer(&"0123456789".repeat(1000));
    put("l.tar", &whole.tar());
    put("empty", b"");
    put("text", &b"this is no archive. ".repeat(100));
    put("cut.tar", &whole.tar()[..3000]);
    put("cut.tar.gz", &whole.compressed()[..40]);
    let zstd = whole.clone().compression(Compression::Zstd).compressed();
    put("cut.tar.zst", &zstd[..zstd.len() - 5]);
    fs::create_dir(cli.work().join("odd")).unwrap();
    let socket = std::os::unix::net::UnixListener::bind(cli.work().join("odd/socket")).unwrap();
    let name = registry.name("web:1");
    for (words, cause) in [
        (&["-f", "empty"][..], "empty is empty, which is no layer"),
        (&["-f", "text"], "text is no layer"),
        (&["-f", "cut.tar"], "cut.tar is no layer"),
        (&["-f", "cut.tar.gz"], "reading cut.tar.gz: gzip stream is cut short"),
        (&["-f", "cut.tar.zst"], "reading cut.tar.zst: "),
        (&["-f", "cut.tar.zst", "--compression", "gzip"], "reading cut.tar.zst: "),
        (&["-f", "-"], "standard input is empty"),
        (&["-f", "missing"], "reading missing: No such file"),
        (&["-f", "odd"], "odd/socket is a socket"),
        (&["--add", "missing:/x"], "reading missing: No such file"),
        (&["--add", "l.tar:/../x"], "leads out of where it is"),
        (&["-f", "l.tar", "-b", "127.0.0.1:1/nothing"], "127.0.0.1:1"),
        (&["-f", "l.tar", "--chown", "www"], "write it in numbers"),
        (&["-f", "l.tar", "--mode", "999"], "write it in octal"),
        (&["-f", "l.tar", "--compression", "gzip:12"], "gzip's levels are 1 to 9"),
        (&["-f", "l.tar", "--oci-empty-base", "-b", "x"], "cannot be used with"),
        (&["-f", "l.tar", "-o", "no/such.tar"], "there is no directory no"),
        (&["-f", "\"l.tar"], "--new_layer: a quote in"),
        (&[], "required arguments were not provided"),
    ] {
        refused(&cli, &registry, &[&["append", "-t", &name], words].concat(), cause, "web:1");
    }
    refused(&cli, &registry, &["append", "-f", "l.tar"], "--new_tag", "web:1");
    refused(&cli, &registry, &["append", "-f", "l.tar", "-t", "UPPER"], "could not parse reference", "web:1");
    let near = cli.hoist(["append", "--new_layr", "l.tar", "-t", &name]).run();
    assert!(near.failure(1).contains("'--new_layer'"), "{near}");
    drop(socket);
}
