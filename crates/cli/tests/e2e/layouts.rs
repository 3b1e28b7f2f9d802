//! OCI layout directories: what hoist and its peers make of each other's, several writers, and deaths midway.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use testkit::images::{self, Graph};
use testkit::{Answer, Cli, DockerRegistry, FaultRegistry, HoistServer, Route};

use crate::support::{as_root, is_root, kinds, logged, refused, serving, until};

const MIB: usize = 1 << 20;

/// Everything of an image is in a layout, byte for byte.
#[track_caller]
fn assert_holds(layout: &Path, graph: &Graph) {
    graph.visit(&mut |graph| {
        for blob in graph.blobs.iter().chain([&graph.manifest]) {
            let path = layout.join("blobs").join(blob.digest.replace(':', "/"));
            assert!(fs::read(&path).unwrap() == *blob.bytes, "{}", path.display());
        }
    });
    assert!(!layout.join("blobs/.partial").exists(), "nothing is left behind");
}

fn entries(layout: &Path) -> Vec<Value> {
    let index: Value = serde_json::from_slice(&fs::read(layout.join("index.json")).unwrap()).unwrap();
    index["manifests"].as_array().unwrap().clone()
}

#[test]
fn there_and_back() {
    let (docker, cli) = (DockerRegistry::plain(), Cli::new());
    let layout = cli.work().join("images");
    for (kind, graph) in kinds().into_iter().chain([("sha512", images::sha512())]) {
        graph.write_layout(&cli.work().join("made"), kind);
        let (made, here) = (format!("oci:made:{kind}"), format!("oci:images:{kind}"));
        // docker-registry 2.8 knows no sha512.
        if kind == "sha512" {
            assert_eq!(cli.hoist(["cp", &made, &here]).run().success(), "");
        } else {
            let [there, back] =
                ["there", "back"].map(|name| format!("{}/demo/{name}:{kind}", docker.address()));
            for [from, to] in [[&made, &there], [&there, &here], [&here, &back]] {
                assert_eq!(cli.hoist(["cp", from, to]).run().success(), "");
            }
            assert_eq!(cli.hoist(["digest", &back]).run().success().trim_end(), graph.manifest.digest);
        }
        assert_holds(&layout, &graph);
        assert_eq!(cli.hoist(["digest", &here]).run().success().trim_end(), graph.manifest.digest);
        assert_eq!(cli.hoist(["manifest", &here]).run().success().as_bytes(), &*graph.manifest.bytes);
        // One has a layer that is odd on purpose.
        if kind != "whiteouts" {
            cli.hoist(["validate", &here]).run().success();
        }
        let again = cli.hoist(["cp", &made, &here]).run();
        again.success();
        let line = format!("existing manifest: {kind}@{}", graph.manifest.digest);
        assert_eq!(logged(&again.stderr()).last(), Some(&line));
    }
    let tags = cli.hoist(["ls", "oci:images"]).run().success();
    let kinds = kinds().into_iter().map(|(kind, _)| kind).chain(["sha512"]);
    assert!(tags.lines().eq(kinds), "{tags}");
}

#[test]
fn all_tags() {
    let (server, cli) = (HoistServer::start(), Cli::new());
    for (kind, graph) in kinds() {
        server.push(&graph, "demo/web", kind);
    }
    let repository = format!("{}/demo/web", server.address());
    cli.hoist(["cp", "--all-tags", &repository, "oci:all"]).run().success();
    for (_, graph) in kinds() {
        assert_holds(&cli.work().join("all"), &graph);
    }
    let back = format!("{}/demo/back", server.address());
    cli.hoist(["cp", "--all-tags", "oci:all", &back]).run().success();
    for (kind, graph) in kinds() {
        let digest = cli.hoist(["digest", &format!("{back}:{kind}")]).run().success();
        assert_eq!(digest.trim_end(), graph.manifest.digest);
    }
}

#[test]
fn names() {
    let cli = Cli::new();
    let graph = images::eight_platforms();
    let server = serving(&graph, "demo/web", "1.0");
    let name = format!("{}/demo/web", server.address());
    let tagged = |layout: &str| {
        let named = |entry: &Value| {
            entry["annotations"]["org.opencontainers.image.ref.name"].as_str().unwrap_or("-").to_owned()
        };
        entries(&cli.work().join(layout)).iter().map(named).collect::<Vec<_>>().join(" ")
    };
    let digest = &graph.manifest.digest;
    let child = &graph.children[0].manifest.digest;
    // The source's tag, or none.
    for (from, to, tags) in [
        (format!("{name}:1.0"), "oci:a".to_owned(), "1.0"),
        (format!("{name}:1.0@{digest}"), "oci:b".to_owned(), "1.0"),
        (format!("{name}@{digest}"), "oci:c".to_owned(), "-"),
        ("oci:a".to_owned(), "oci:d".to_owned(), "1.0"),
        ("oci:c".to_owned(), "oci:e".to_owned(), "-"),
        (format!("oci:a@{child}"), "oci:a".to_owned(), "1.0 -"),
        (format!("{name}:1.0"), format!("oci:f@{digest}"), "-"),
        ("oci:a:1.0".to_owned(), "oci:a:2.0".to_owned(), "1.0 - 2.0"),
        ("oci:a:1.0".to_owned(), "oci:dir:with/colon:x".to_owned(), "x"),
    ] {
        cli.hoist(["cp", &from, &to]).run().success();
        let layout = to.strip_prefix("oci:").unwrap();
        let layout = layout.split('@').next().unwrap().trim_end_matches(":2.0").trim_end_matches(":x");
        assert_eq!(tagged(layout), tags, "{from} {to}");
    }
    let from = format!("{name}@{digest}");
    cli.hoist(["cp", "--platform", "linux/arm64", &from, "oci:one"]).run().success();
    assert_eq!(tagged("one"), "-");
    assert!(cli.hoist(["config", "oci:one"]).run().success().contains("arm64"));
    // Changes in the layout.
    cli.hoist(["tag", "oci:a:1.0", "3.0"]).run().success();
    let deleted = cli.hoist(["delete", "oci:a:2.0"]).run();
    deleted.success();
    assert_eq!(logged(&deleted.stderr()), ["deleted tag oci:a:2.0; its manifest stays"]);
    assert_eq!(cli.hoist(["ls", "--full-ref", "oci:a"]).run().success(), "oci:a:1.0\noci:a:3.0\n");
    assert_eq!(cli.hoist(["digest", "--full-ref", "oci:a:3.0"]).run().success(), format!("oci:a@{digest}\n"));
    assert_eq!(cli.hoist(["manifest", "oci:c"]).run().success().as_bytes(), &*graph.manifest.bytes);
    let layer = &graph.children[0].blobs[0];
    assert_eq!(cli.hoist(["blob", &format!("oci:a@{}", layer.digest)]).run().stdout, *layer.bytes);
    cli.hoist(["export", "oci:a:1.0", "out.tar"]).run().success();
    cli.hoist_as("crane", ["digest", "oci:a"]).run().failure(1);
}

#[test]
fn what_peers_write_and_read() {
    let cli = Cli::new();
    let graph = images::eight_platforms();
    let docker = DockerRegistry::plain();
    docker.push(&graph, "demo/web", "1");
    let name = format!("{}/demo/web:1", docker.address());
    let skopeo = |from: &str, to: &str| {
        let skopeo =
            ["--insecure-policy", "copy", "--all", "--src-tls-verify=false", "--dest-tls-verify=false"];
        cli.peer("skopeo", skopeo).args([from, to]).run().success()
    };
    let digest = |name: &str| cli.hoist(["digest", name]).run().success().trim_end().to_owned();

    cli.hoist(["cp", &name, "oci:hoist:1"]).run().success();
    let at = |repository: &str| format!("{}/{repository}:1", docker.address());
    skopeo("oci:hoist:1", &format!("docker://{}", at("skopeo")));
    cli.peer("crane", ["push", "--index", "hoist", &at("crane")]).run().success();
    let oras = ["cp", "--from-oci-layout", "--to-plain-http", "hoist:1"];
    cli.peer("oras", oras).arg(at("oras")).run().success();
    for repository in ["skopeo", "oras"] {
        assert_eq!(digest(&at(repository)), graph.manifest.digest, "{repository}");
    }
    // crane pushes index.json itself as the index.
    let pushed: Value = serde_json::from_str(&cli.hoist(["manifest", &at("crane")]).run().success()).unwrap();
    assert_eq!(pushed["manifests"][0]["digest"], *graph.manifest.digest);
    assert_eq!(cli.peer("umoci", ["list", "--layout", "hoist"]).run().success(), "1\n");

    skopeo(&format!("docker://{name}"), "oci:skopeo:1");
    cli.peer("oras", ["cp", "--from-plain-http", "--to-oci-layout", &name, "oras:1"]).run().success();
    cli.peer("crane", ["pull", "--format=oci", &name, "crane"]).run().success();
    for written in ["oci:skopeo:1", "oci:oras:1", "oci:crane"] {
        assert_eq!(digest(written), graph.manifest.digest, "{written}");
        cli.hoist(["validate", written]).run().success();
        let back = at(&format!("back/{}", &written[4..8]));
        cli.hoist(["cp", written, &back]).run().success();
        assert_eq!(digest(&back), graph.manifest.digest);
    }
    // One layout, in turn; umoci tags no index.
    images::single().write_layout(&cli.work().join("turns"), "1");
    cli.peer("umoci", ["tag", "--image", "turns:1", "2"]).run().success();
    cli.hoist(["cp", "oci:hoist:1", "oci:turns:3"]).run().success();
    skopeo("oci:turns:1", "oci:turns:4");
    cli.hoist(["tag", "oci:turns:4", "5"]).run().success();
    assert_eq!(cli.hoist(["ls", "--sort", "name", "oci:turns"]).run().success(), "1\n2\n3\n4\n5\n");
    cli.peer("umoci", ["gc", "--layout", "turns"]).run().success();
    for tag in ["2", "3", "5"] {
        cli.hoist(["validate", &format!("oci:turns:{tag}")]).run().success();
    }
}

#[test]
fn ten_writers() {
    let (server, cli) = (HoistServer::start(), Cli::new());
    let kinds = kinds();
    let names: Vec<String> = (0..10).map(|writer| format!("w{writer}")).collect();
    for (at, name) in names.iter().enumerate() {
        server.push(&kinds[at % kinds.len()].1, "demo/web", name);
    }
    let writers: Vec<_> = names
        .iter()
        .map(|name| cli.hoist(["cp", &format!("{}/demo/web:{name}", server.address()), "oci:shared"]).start())
        .collect();
    for writer in writers {
        writer.wait().success();
    }
    let layout = cli.work().join("shared");
    assert_eq!(entries(&layout).len(), 10);
    for (at, name) in names.iter().enumerate() {
        assert_holds(&layout, &kinds[at % kinds.len()].1);
        let digest = cli.hoist(["digest", &format!("oci:shared:{name}")]).run().success();
        assert_eq!(digest.trim_end(), kinds[at % kinds.len()].1.manifest.digest);
    }
}

/// The only journal in a layout, once it tells of some pieces.
fn journal(layout: &Path) -> Option<PathBuf> {
    let names = fs::read_dir(layout.join("blobs/.partial")).ok()?;
    let mut journals = names.filter_map(|entry| Some(entry.ok()?.path()));
    let journal = journals.find(|path| path.extension().is_some_and(|end| end == "parts"))?;
    (fs::metadata(&journal).ok()?.len() > 100).then_some(journal)
}

#[test]
fn killed_midway() {
    let cli = Cli::new();
    let graph = images::large(12 * MIB);
    let layer = &graph.blobs[1];
    let registry = FaultRegistry::start();
    registry.put("demo/web", "1", &graph);
    let blob = format!("/v2/demo/web/blobs/{}", layer.digest);
    registry.on(Route::get(&blob).times(1), Answer::stored().silent_after(6 * MIB as u64));
    let name = format!("{}/demo/web:1", registry.address());
    let layout = cli.work().join("images");

    let first = cli.hoist(["cp", &name, "oci:images"]).start();
    until("pieces are in the journal", || journal(&layout).is_some());
    // As by kill -9.
    drop(first);
    assert_eq!(entries(&layout), [] as [Value; 0]);
    assert!(!layout.join("blobs").join(layer.digest.replace(':', "/")).exists());
    let kept = cli.hoist(["cp", "--dry-run", "--json", &name, "oci:images"]).run().success();
    let kept = serde_json::from_str::<Value>(&kept).unwrap()["kept"].as_u64().unwrap();
    assert!(kept >= MIB as u64, "{kept} bytes were kept");

    let before = registry.requests().len();
    let second = cli.hoist(["cp", &name, "oci:images"]).run();
    second.success();
    assert!(second.stderr().contains(" resuming at "), "{second}");
    let requests = registry.requests();
    let ranges: Vec<_> = requests[before..]
        .iter()
        .filter(|request| request.method == "GET" && request.path == blob)
        .map(|request| request.header("range").expect("only what is missing is asked for").to_owned())
        .collect();
    assert!(!ranges.is_empty());
    assert_holds(&layout, &graph);
    cli.hoist(["validate", "oci:images"]).run().success();
}

#[test]
fn a_full_disk() {
    let cli = Cli::new();
    let graph = images::large(2 * MIB);
    let server = serving(&graph, "demo/web", "1");
    let name = format!("{}/demo/web:1", server.address());
    let small = cli.work().join("small");
    fs::create_dir(&small).unwrap();
    let small = small.to_str().unwrap();
    let mount = |options: &str| {
        as_root(&cli, "mount", ["-t", "tmpfs", "-o", options, "tmpfs", small]).run().success();
    };
    mount("size=1m,mode=1777");
    let full = cli.hoist(["cp", &name, "oci:small/images"]).run();
    refused(&cli, &full, "No space left on device");
    let layout = Path::new(small).join("images");
    assert_eq!(entries(&layout), [] as [Value; 0]);
    assert!(!layout.join("blobs").join(graph.blobs[1].digest.replace(':', "/")).exists());
    mount_again(&cli, small);
    cli.hoist(["cp", &name, "oci:small/images"]).run().success();
    assert_holds(&layout, &graph);
    as_root(&cli, "umount", [small]).run().success();
}

/// Makes a small file system larger.
fn mount_again(cli: &Cli, path: &str) {
    as_root(cli, "mount", ["-o", "remount,size=8m", path]).run().success();
}

#[test]
fn where_nothing_may_be_written() {
    let cli = Cli::new();
    let graph = images::single();
    let server = serving(&graph, "demo/web", "1");
    let name = format!("{}/demo/web:1", server.address());
    graph.write_layout(&cli.work().join("images"), "1");
    as_root(&cli, "chmod", ["-R", "a-w", cli.work().join("images").to_str().unwrap()]).run().success();
    if is_root() {
        as_root(&cli, "chown", ["-R", "root:root", cli.work().join("images").to_str().unwrap()])
            .run()
            .success();
    }
    for arguments in
        [["cp", &name, "oci:images:2"], ["tag", "oci:images:1", "2"], ["cp", &name, "oci:/proc/images"]]
    {
        let outcome = cli.hoist(arguments).without_rights().run();
        let text = refused(&cli, &outcome, "oci:");
        assert!(text.contains("ermission denied") || text.contains("No such file"), "{text}");
    }
    let read = cli.hoist(["validate", "oci:images:1"]).without_rights().run();
    assert_eq!(read.success(), "PASS: oci:images:1\n");
    as_root(&cli, "chmod", ["-R", "u+w", cli.work().join("images").to_str().unwrap()]).run().success();
}

#[test]
fn what_cannot_be() {
    let cli = Cli::new();
    let graph = images::single();
    let server = serving(&graph, "demo/web", "1");
    let name = format!("{}/demo/web:1", server.address());
    fs::create_dir(cli.work().join("photos")).unwrap();
    fs::write(cli.work().join("photos/one.jpg"), "").unwrap();
    graph.write_layout(&cli.work().join("images"), "1");
    images::artifact().write_layout(&cli.work().join("images"), "2");
    for (arguments, cause) in [
        (vec!["cp", &name, "oci:photos"], "photos is not empty, and no OCI image layout"),
        (vec!["cp", &name, "oci:photos/one.jpg"], "Not a directory"),
        (vec!["cp", &name, "oci:"], "it names no directory"),
        (vec!["cp", "oci:nowhere", "oci:images"], "there is no directory nowhere"),
        (vec!["cp", &format!("{name}x"), "oci:new"], "MANIFEST_UNKNOWN"),
        (vec!["cp", "--all-tags", "oci:images:1", "oci:new"], "names one image"),
        (vec!["manifest", "oci:images"], "say which tag is meant: 1, 2"),
        (vec!["manifest", "oci:images:3"], "it has no tag 3, but 1, 2"),
        (vec!["manifest", "oci:photos"], "no OCI image layout"),
        (vec!["ls", "oci:images:1"], "names one image, not a layout"),
        (vec!["blob", "oci:images"], "a blob is named by its digest"),
        (vec!["delete", "oci:images"], "does not say what to delete"),
        (vec!["digest", "oci:images@sha256:00"], "64 hexadecimal characters"),
    ] {
        refused(&cli, &cli.hoist(arguments).run(), cause);
    }
    assert!(!cli.work().join("new").exists() && !cli.work().join("nowhere").exists());
    assert_eq!(fs::read_dir(cli.work().join("photos")).unwrap().count(), 1);
}

#[test]
fn a_wrong_blob_is_never_completed() {
    let cli = Cli::new();
    let graph = images::large(6 * MIB);
    let registry = FaultRegistry::start();
    registry.put("demo/web", "1", &graph);
    let blob = format!("/v2/demo/web/blobs/{}", graph.blobs[1].digest);
    registry.on(Route::get(&blob), Answer::stored().corrupt());
    let name = format!("{}/demo/web:1", registry.address());
    let outcome = cli.hoist(["cp", &name, "oci:images"]).patience(Duration::from_mins(3)).run();
    refused(&cli, &outcome, "digest mismatch");
    let layout = cli.work().join("images");
    assert!(!layout.join("blobs").join(graph.blobs[1].digest.replace(':', "/")).exists());
    assert_eq!(entries(&layout), [] as [Value; 0]);
}

#[test]
fn referrers() {
    let cli = Cli::new();
    let graph = images::single();
    graph.write_layout(&cli.work().join("images"), "1");
    fs::write(cli.work().join("note.txt"), "a note").unwrap();
    let attach =
        ["attach", "--oci-layout", "--artifact-type", "application/vnd.example.note", "images:1", "note.txt"];
    cli.peer("oras", attach).run().success();
    let found = cli.hoist(["referrers", "--json", "oci:images:1"]).run().success();
    let found: Value = serde_json::from_str(&found).unwrap();
    assert_eq!(found["via"], "layout");
    assert_eq!(found["subject"], *graph.manifest.digest);
    assert_eq!(found["referrers"][0]["artifactType"], "application/vnd.example.note");
    assert_eq!(found["referrers"].as_array().unwrap().len(), 1);
}

/// The blobs of a layout.
fn blobs(layout: &Path) -> BTreeSet<String> {
    let names = fs::read_dir(layout.join("blobs/sha256")).unwrap();
    names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn garbage_is_collected() {
    let cli = Cli::new();
    let layout = cli.work().join("images");
    for (kind, graph) in kinds() {
        graph.write_layout(&layout, kind);
    }
    // Something that no reader knows, with what it leads to; a referrer that no index lists; and somebody's notes.
    let hidden = b"what only the unknown leads to".as_slice();
    let put = |bytes: &[u8]| {
        let digest = testkit::images::Blob::new("application/octet-stream", bytes).digest;
        fs::write(layout.join("blobs").join(digest.replace(':', "/")), bytes).unwrap();
        digest
    };
    let hidden = put(hidden);
    // A number that most readers of JSON refuse, too.
    let unknown = put(format!(r#"{{"parts":[{{"where":"{hidden}","z":1e999}}]}}"#).as_bytes());
    let below = put(b"what only a child of a new kind leads to");
    let child = put(format!(r#"{{"things":["{below}"]}}"#).as_bytes());
    let parent = put(format!(r#"{{"schemaVersion":2,"manifests":[{{"digest":"{child}"}}]}}"#).as_bytes());
    let subject = images::eight_platforms().manifest.digest;
    let about = format!(r#"{{"schemaVersion":2,"layers":[],"subject":{{"digest":"{subject}"}}}}"#);
    let about = put(about.as_bytes());
    let index = layout.join("index.json");
    let size = fs::metadata(layout.join("blobs").join(unknown.replace(':', "/"))).unwrap().len();
    let mut listed: Value = serde_json::from_slice(&fs::read(&index).unwrap()).unwrap();
    let entry = serde_json::json!({"mediaType": "application/x-unknown", "digest": unknown, "size": size});
    listed["manifests"].as_array_mut().unwrap().push(entry);
    let size = fs::metadata(layout.join("blobs").join(parent.replace(':', "/"))).unwrap().len();
    let media_type = "application/vnd.oci.image.index.v1+json";
    let entry = serde_json::json!({"mediaType": media_type, "digest": parent, "size": size});
    listed["manifests"].as_array_mut().unwrap().push(entry);
    fs::write(&index, listed.to_string()).unwrap();
    fs::write(layout.join("blobs/sha256/notes.txt"), "mine").unwrap();
    let full = blobs(&layout);
    let gc = |options: &[&str]| cli.hoist(["layout", "gc", "images"]).args(options).run();

    assert_eq!(gc(&[]).success(), "");
    assert_eq!(blobs(&layout), full, "all of it is listed");
    put(b"nobody's");
    cli.hoist(["delete", "oci:images:zstd"]).run().success();
    let more = blobs(&layout);
    let shown = gc(&["--dry-run"]);
    shown.success();
    assert_eq!(blobs(&layout), more);
    let collected = gc(&[]);
    collected.success();
    let named = |text: &str| text.lines().filter(|line| line.contains("garbage collecting: sha256:")).count();
    let gone: Vec<&String> = more.iter().filter(|name| !blobs(&layout).contains(*name)).collect();
    assert_eq!((named(&shown.stderr()), named(&collected.stderr())), (gone.len(), gone.len()));
    assert!(
        gone.iter().all(|name| collected.stderr().contains(name.as_str())) && gone.len() >= 3,
        "{gone:?}"
    );
    for kept in [&hidden, &unknown, &about, &below, &child] {
        assert!(blobs(&layout).contains(kept.rsplit_once(':').unwrap().1), "{kept}");
    }
    for (kind, graph) in kinds().into_iter().filter(|(kind, _)| *kind != "zstd") {
        assert_holds(&layout, &graph);
        assert_eq!(
            cli.hoist(["digest", &format!("oci:images:{kind}")]).run().success().trim_end(),
            graph.manifest.digest
        );
    }

    // What is damaged could lead anywhere.
    let damaged = images::artifact().manifest.digest;
    let path = layout.join("blobs").join(damaged.replace(':', "/"));
    let before = fs::read(&path).unwrap();
    fs::write(&path, b"{}").unwrap();
    put(b"nobody's");
    let more = blobs(&layout);
    refused(&cli, &gc(&[]), "is damaged");
    assert_eq!(blobs(&layout), more);
    fs::write(&path, before).unwrap();
    assert_eq!(named(&gc(&[]).stderr()), 1);
}

/// Whoever writes has blobs that no index names yet.
#[test]
fn garbage_is_not_what_comes() {
    let cli = Cli::new();
    let graph = images::large(6 * MIB);
    let server = serving(&graph, "demo/web", "1");
    let layout = cli.work().join("images");
    let copy = ["cp", "--bwlimit", "3M", &format!("{}/demo/web:1", server.address()), "oci:images"];
    let running = cli.hoist(copy).start();
    let config = layout.join("blobs").join(graph.blobs[0].digest.replace(':', "/"));
    until("the first blob is there", || config.exists());
    let outcome = cli.hoist(["layout", "gc", "oci:images"]).run();
    refused(&cli, &outcome, "another process is writing to images");
    running.wait().success();
    let outcome = cli.hoist(["layout", "gc", "oci:images"]).run();
    outcome.success();
    assert!(outcome.stderr().contains("0 blobs removed"), "{outcome}");
    assert_holds(&layout, &graph);
}
