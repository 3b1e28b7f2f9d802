//! Indexes of layers that others made: with one, the first look costs next to nothing; a wrong one does no harm.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};
use testkit::images::{Blob, Compression, Entry, Graph, Layer};
use testkit::lazy::{self, Lazy};
use testkit::{Cli, DockerRegistry, Relay};

use crate::edits::{Registry, on_both};
use crate::support::{noise, refused};

const GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
const ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const SOCI: &str = "application/vnd.amazon.soci.index.v1+json";

/// What a layer holds that is large, and has a small file in its middle.
fn archive() -> Vec<u8> {
    Layer::new()
        .directory("etc")
        .file("etc/motd", "hello\n")
        .file("noise", noise(2 << 20))
        .file("etc/between", "in the middle\n")
        .file("text", "many words, and again ".repeat(40_000))
        .entry(Entry { mode: 0o4755, content: b"#!/bin/sh\n".to_vec(), ..Entry::at("run") })
        .symbolic_link("link", "etc/motd")
        .hard_link("again", "run")
        .tar()
}

/// An image of one layer, whose descriptor and manifest have annotations.
fn image(media_type: &str, lazy: &Lazy, annotations: &BTreeMap<String, String>) -> Graph {
    let config = json!({
        "architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": ["sha256:00"]},
    });
    let config = Blob::new("application/vnd.oci.image.config.v1+json", config.to_string().as_bytes());
    let layer = Blob::new(media_type, &lazy.blob);
    let mut described = layer.descriptor();
    described["annotations"] = json!(lazy.annotations);
    let manifest = json!({
        "schemaVersion": 2, "mediaType": MANIFEST, "config": config.descriptor(), "layers": [described],
        "annotations": annotations,
    });
    Graph::leaf(&manifest, vec![config, layer])
}

fn plain(media_type: &str, lazy: &Lazy) -> Graph {
    image(media_type, lazy, &BTreeMap::new())
}

/// A file that another tool made, or bytes from what one made (`crates/layer/tests/foreign`).
fn foreign(name: &str) -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("../layer/tests/foreign").join(name)).unwrap()
}

/// A SOCI index of a layer; it may name an image as its subject.
fn soci(layer: &[u8], ztoc: &[u8], subject: Option<Value>) -> Graph {
    let config = Blob::new("application/vnd.oci.empty.v1+json", b"{}");
    let ztoc = Blob::new("application/octet-stream", ztoc);
    let mut described = ztoc.descriptor();
    described["annotations"] = json!({
        "com.amazon.soci.image-layer-digest": Blob::new(GZIP, layer).digest,
        "com.amazon.soci.image-layer-mediaType": GZIP,
    });
    let mut index = json!({
        "schemaVersion": 2, "mediaType": MANIFEST, "artifactType": SOCI, "config": config.descriptor(),
        "layers": [described],
    });
    if let Some(subject) = subject {
        index["subject"] = subject;
    }
    Graph::leaf(&index, vec![config, ztoc])
}

/// How many tables are kept.
fn kept_tables(cli: &Cli) -> usize {
    std::fs::read_dir(cli.home().join(".cache/hoist/tables")).unwrap().count()
}

/// docker-registry behind a relay that counts.
struct Counted {
    cli: Cli,
    relay: Relay,
    registry: DockerRegistry,
}

impl Counted {
    fn new() -> Self {
        let registry = DockerRegistry::plain();
        Self { cli: Cli::new(), relay: Relay::to(registry.address()), registry }
    }

    /// What a verb prints, and how many bytes came for it.
    fn ask(&self, verb: &str, name: &str, rest: &[&str]) -> (String, u64) {
        let before = self.relay.bytes_down();
        let name = format!("{}/{name}", self.relay.address());
        let printed = self.cli.hoist([verb, &name].iter().chain(rest)).run().success();
        (printed, self.relay.bytes_down() - before)
    }
}

#[test]
fn the_first_look_costs_next_to_nothing() {
    let counted = Counted::new();
    let tar = archive();
    for (name, graph, origin) in [
        ("estargz:1", plain(GZIP, &lazy::estargz(&tar, 64 << 10, 0)), "eStargz"),
        ("shared:1", plain(GZIP, &lazy::estargz(&tar, 64 << 10, 1000)), "eStargz"),
        ("chunked:1", plain(ZSTD, &lazy::zstd_chunked(&tar, 64 << 10, false)), "zstd:chunked"),
        ("old:1", plain(ZSTD, &lazy::zstd_chunked(&tar, 64 << 10, true)), "zstd:chunked"),
    ] {
        let (repository, tag) = name.split_once(':').unwrap();
        counted.registry.push(&graph, repository, tag);
        let (motd, bytes) = counted.ask("cat", name, &["/link"]);
        assert!(motd == "hello\n" && bytes < 60_000, "{name}: {bytes}");
        let (files, bytes) = counted.ask("files", name, &["--long"]);
        assert!(bytes < 5000, "{name}: {bytes}");
        assert_eq!(counted.ask("cat", name, &["/etc/between", "/again"]).0, "in the middle\n#!/bin/sh\n");
        // As the layer itself has it.
        let (own, bytes) = counted.ask("files", name, &["--long", "--no-index"]);
        assert!(files == own && bytes > 2 << 20, "{name}: {bytes}\n{files}{own}");
        counted.ask("extract", name, &["/", repository]);
        counted.ask("extract", name, &["/", &format!("{repository}-own"), "--no-index"]);
        counted.cli.shell(&format!("diff -r {repository} {repository}-own")).run().success();
        let toc = counted.ask("toc", name, &[]).0;
        assert!(toc.ends_with(&format!("  of {origin}\n")), "{toc}");
        assert_eq!(counted.ask("toc", name, &["--jq", ".[0].origin"]).0, format!("{origin}\n"));
        let found = counted.ask("grep", name, &["--count", "again"]).0;
        assert_eq!(found, counted.ask("grep", name, &["--count", "again", "--no-index"]).0, "{name}");
    }
}

#[test]
fn layers_of_other_tools() {
    on_both(|cli, registry| {
        for (name, blob, annotations, media_type) in [
            ("estargz", "estargz.tar.gz", "estargz.annotations.json", GZIP),
            ("chunked", "zstd-chunked.tar.zst", "zstd-chunked.annotations.json", ZSTD),
        ] {
            let annotations = serde_json::from_slice(&foreign(annotations)).unwrap();
            registry.push(&plain(media_type, &Lazy { blob: foreign(blob), annotations }), name, "1");
            let name = registry.name(&format!("{name}:1"));
            let files = cli.hoist(["files", &name]).run().success();
            assert_eq!(files, cli.hoist(["files", &name, "--no-index"]).run().success());
            assert!(cli.hoist(["toc", &name]).run().success().contains("  of "), "it was read");
            // As a program of its own unpacks it.
            let export = cli.shell(&format!("hoist export {name} - | tar xO usr/share/words.txt")).run();
            let words = cli.hoist(["find", &name, "--type", "f", "--size", "+100k"]).run().success();
            for path in words.lines() {
                let one = cli.hoist(["cat", &name, path]).run();
                one.success();
                let other = cli.shell(&format!("hoist export {name} - | tar xO {}", &path[1..])).run();
                other.success();
                assert!(one.stdout == other.stdout && one.stdout.len() > 100_000, "{path}");
            }
            assert_eq!(words.lines().count(), 1, "{words}{export}");
        }
    });
}

#[test]
fn soci_indexes_are_believed_as_far_as_they_are_bound() {
    let counted = Counted::new();
    let (layer, ztoc) = (foreign("soci.tar.gz"), foreign("soci.ztoc"));
    let lazy = Lazy { blob: layer.clone(), annotations: BTreeMap::new() };
    // The manifest names the index.
    let index = soci(&layer, &ztoc, None);
    counted.registry.push(&index, "bound", "index");
    let named = ("com.amazon.soci.index-digest".to_owned(), index.manifest.digest.clone());
    counted.registry.push(&image(GZIP, &lazy, &BTreeMap::from([named.clone()])), "bound", "1");
    let origin = ["--jq", ".[0].origin"];
    assert_eq!(counted.ask("toc", "bound:1", &origin).0, "SOCI\n");
    let files = counted.ask("files", "bound:1", &["--long"]).0;
    assert_eq!(files, counted.ask("files", "bound:1", &["--long", "--no-index"]).0);
    let path = files
        .lines()
        .find_map(|line| Some(line.split_once(" /")?.1).filter(|path| path.ends_with("os-release")));
    let path = format!("/{}", path.unwrap());
    let (text, bytes) = counted.ask("cat", "bound:1", &[&path]);
    assert!(bytes < layer.len() as u64 / 2, "{bytes}");
    assert_eq!(text, counted.ask("cat", "bound:1", &[&path, "--no-index"]).0);

    // The index names the image: who believes it has to say so.
    let subject = image(GZIP, &lazy, &BTreeMap::new());
    counted.registry.push(&subject, "referred", "1");
    let referrer = soci(&layer, &foreign("soci-v1.ztoc"), Some(subject.manifest.descriptor()));
    counted.registry.push(&referrer, "referred", &subject.manifest.digest.replace(':', "-"));
    let fallback = json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [{
            "mediaType": MANIFEST, "digest": referrer.manifest.digest, "size": referrer.manifest.bytes.len(),
            "artifactType": SOCI,
        }],
    });
    let tag = subject.manifest.digest.replace(':', "-");
    counted.registry.push(&Graph::leaf(&fallback, Vec::new()), "referred", &tag);
    assert_eq!(counted.ask("toc", "referred:1", &["--jq", ".[0].origin", "--trust-referrers"]).0, "SOCI\n");
    assert_eq!(counted.ask("toc", "referred:1", &origin).0, "hoist\n");

    // A zTOC of another layer is not used.
    let other = Lazy { blob: lazy::estargz(&archive(), 1 << 20, 0).blob, annotations: BTreeMap::new() };
    let index = soci(&other.blob, &ztoc, None);
    counted.registry.push(&index, "other", "index");
    let named = ("com.amazon.soci.index-digest".to_owned(), index.manifest.digest.clone());
    counted.registry.push(&image(GZIP, &other, &BTreeMap::from([named])), "other", "1");
    let name = format!("{}/other:1", counted.relay.address());
    let outcome = counted.cli.hoist(["cat", &name, "/etc/motd"]).run();
    assert_eq!(outcome.success(), "hello\n");
    assert!(outcome.stderr().contains("is not used: it is of another layer"), "{outcome}");
}

#[test]
fn what_an_index_says_wrongly_is_not_printed() {
    on_both(|cli, registry| {
        let tar = archive();
        // A content is other than the index says.
        let mut lazy = lazy::zstd_chunked(&tar, 64 << 10, false);
        let at = lazy.blob.windows(64).position(|part| part == &noise(64)[..]).unwrap();
        lazy.blob[at] ^= 1;
        registry.push(&plain(ZSTD, &lazy), "lies", "1");
        let name = registry.name("lies:1");
        assert_eq!(cli.hoist(["cat", &name, "/etc/motd"]).run().success(), "hello\n");
        let said = refused(
            cli,
            &cli.hoist(["cat", &name, "/noise"]).run(),
            "is not what its zstd:chunked index says",
        );
        assert!(said.contains("hint: --no-index reads the layer itself"), "{said}");
        refused(
            cli,
            &cli.hoist(["extract", &name, "/noise", "noise"]).run(),
            "is not what its zstd:chunked index says",
        );
        // The table that it made is forgotten.
        assert_eq!(kept_tables(cli), 0);
        let own = cli.hoist(["cat", &name, "/noise", "--no-index"]).run();
        own.success();
        assert!(own.stdout.len() == 2 << 20 && own.stdout[1..] == noise(2 << 20)[1..]);
        // The same layer in an image that binds no index to it: what the other one said is not believed here.
        lazy.annotations.clear();
        registry.push(&plain(ZSTD, &lazy), "lies", "2");
        let name = registry.name("lies:2");
        assert_eq!(cli.hoist(["cat", &name, "/noise"]).run().stdout, own.stdout);
        assert_eq!(cli.hoist(["toc", &name, "--jq", ".[0].origin"]).run().success(), "hoist\n");

        // An index that is not there, is another one, or lists more than is wanted.
        let good = lazy::estargz(&tar, 64 << 10, 0);
        for (tag, digest) in [("3", Blob::new("", b"another").digest), ("4", "nonsense".to_owned())] {
            let mut lazy = good.clone();
            lazy.annotations.values_mut().for_each(|value| value.clone_from(&digest));
            registry.push(&plain(GZIP, &lazy), "lies", tag);
            let outcome = cli.hoist(["cat", &registry.name(&format!("lies:{tag}")), "/etc/motd"]).run();
            assert_eq!(outcome.success(), "hello\n");
            let told = outcome.stderr().matches("is not used: it is not that of").count();
            assert_eq!(told, usize::from(tag == "3"), "{outcome}");
            // Two images that share the layer, and what is told of it.
            cli.hoist(["cache", "clear", "tables"]).run().success();
            let [below, above] =
                [tag.to_owned(), format!("{tag}-more")].map(|tag| registry.name(&format!("lies:{tag}")));
            std::fs::create_dir_all(cli.work().join("more")).unwrap();
            std::fs::write(cli.work().join("more/file"), "more\n").unwrap();
            cli.hoist(["append", "-b", &below, "-f", "more", "-t", &above]).run().success();
            let outcome = cli.hoist(["diff", &below, &above, "--files-only", "/"]).run();
            assert!(outcome.success().contains("/file"), "{outcome}");
            assert_eq!(outcome.stderr().matches("is not used").count(), told, "{outcome}");
            cli.hoist(["cache", "clear", "tables"]).run().success();
        }
        registry.push(&plain(GZIP, &good), "lies", "5");
        let name = registry.name("lies:5");
        let many = cli.hoist(["files", &name, "--max-entries", "5"]).run();
        let said = refused(cli, &many, "the layer has more than 5 entries");
        assert!(said.contains("hint: --max-entries allows more"), "{said}");
        assert_eq!(cli.hoist(["files", &name, "--max-entries", "9"]).run().success().lines().count(), 9);
        // A table that is kept is no way around it.
        refused(
            cli,
            &cli.hoist(["files", &name, "--max-entries", "5"]).run(),
            "the layer has more than 5 entries",
        );
    });
}

/// A chunk that is too long to be held until it is proven is looked through, but nothing is told of it before.
#[test]
fn long_chunks_are_told_of_when_they_are_proven() {
    let registry = Registry::docker();
    let cli = Cli::new();
    let noise = noise(9 << 20);
    let long = [b"a needle\n".as_slice(), &noise].concat();
    let mut lazy = lazy::zstd_chunked(&Layer::new().file("long", long).tar(), 16 << 20, false);
    registry.push(&plain(ZSTD, &lazy), "long", "1");
    let listed =
        cli.hoist(["grep", "--files-with-matches", "--text", &registry.name("long:1"), "a needle"]).run();
    assert_eq!(listed.success(), "/long\n");
    let at = lazy.blob.windows(64).position(|part| part == &noise[5 << 20..][..64]).unwrap();
    lazy.blob[at] ^= 1;
    registry.push(&plain(ZSTD, &lazy), "long", "2");
    let listed =
        cli.hoist(["grep", "--files-with-matches", "--text", &registry.name("long:2"), "a needle"]).run();
    refused(&cli, &listed, "is not what its zstd:chunked index says");
}

/// Some writers of zstd:chunked name the digest of an eStargz list besides, which is none.
#[test]
fn of_two_indexes_the_one_of_zstd_is_read() {
    let registry = Registry::docker();
    let cli = Cli::new();
    let mut lazy = lazy::zstd_chunked(&archive(), 64 << 10, false);
    let stargz = lazy::estargz(&archive(), 64 << 10, 0).annotations;
    lazy.annotations.extend(stargz);
    registry.push(&plain(ZSTD, &lazy), "two", "1");
    let outcome = cli.hoist(["toc", &registry.name("two:1"), "--jq", ".[0].origin"]).run();
    assert_eq!((outcome.success(), outcome.stderr()), ("zstd:chunked\n".to_owned(), String::new()));
}

/// A table that another version kept does not stand in the way of an index.
#[test]
fn a_table_of_another_version_hides_no_index() {
    let counted = Counted::new();
    let lazy = lazy::estargz(&archive(), 64 << 10, 0);
    let graph = plain(GZIP, &lazy);
    counted.registry.push(&graph, "old", "1");
    let tables = counted.cli.home().join(".cache/hoist/tables");
    std::fs::create_dir_all(&tables).unwrap();
    let layer = Blob::new(GZIP, &lazy.blob).digest.replace(':', "-");
    std::fs::write(tables.join(layer), "another version, of a hundred bytes or more".repeat(4)).unwrap();
    let (origin, bytes) = counted.ask("toc", "old:1", &["--jq", ".[0].origin"]);
    assert!(origin == "eStargz\n" && bytes < 60_000, "{origin}{bytes}");
}

/// One frame of zstd cannot be read in parts: it is fetched once, and kept.
#[test]
fn a_layer_that_has_no_parts_is_kept() {
    let counted = Counted::new();
    let layer = Layer::new().file("noise", noise(2 << 20)).file("small", "small\n");
    let blob = layer.compression(Compression::Zstd).compressed();
    counted.registry.push(&plain(ZSTD, &Lazy { blob, annotations: BTreeMap::new() }), "frame", "1");
    let (small, bytes) = counted.ask("cat", "frame:1", &["/small"]);
    assert!(small == "small\n" && bytes > 2 << 20);
    let (small, bytes) = counted.ask("cat", "frame:1", &["/small"]);
    assert!(small == "small\n" && bytes < 10_000, "{bytes}");
    assert!(counted.cli.hoist(["cache", "ls"]).run().success().contains("blobs         1"));
    let (_, bytes) = counted.ask("cat", "frame:1", &["/small", "--no-cache"]);
    assert!(bytes > 2 << 20, "{bytes}");
}
