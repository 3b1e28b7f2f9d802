//! `pull`: archives for docker, old and new, and OCI layouts, beside crane.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use serde_json::Value;
use testkit::{Cli, Docker, DockerRegistry, HoistServer, images};

use crate::crane::both;
use crate::support::{refused, until};

/// A registry with images, and what they are called there.
fn registry() -> (DockerRegistry, impl Fn(&str) -> String) {
    let registry = DockerRegistry::plain();
    for (tag, graph) in [
        ("single", images::single()),
        ("eight", images::eight_platforms()),
        ("docker", images::docker_schema2()),
        ("latest", images::single()),
    ] {
        registry.push(&graph, "demo/web", tag);
    }
    let web = format!("{}/demo/web", registry.address());
    (registry, move |rest: &str| format!("{web}{rest}"))
}

fn listed(cli: &Cli, tar: &str) -> Vec<String> {
    cli.peer("tar", ["tf", tar]).run().success().lines().map(str::to_owned).collect()
}

fn member(cli: &Cli, tar: &str, name: &str) -> String {
    cli.peer("tar", ["xOf", tar, name]).run().success()
}

/// Names, their order, and the list are crane's to the byte; and so is what is made of it elsewhere.
#[test]
fn tarballs_are_crane_s() {
    let (registry, name) = registry();
    let cli = Cli::new();
    let by_digest = name(&format!("@{}", images::single().manifest.digest));
    for images in [
        vec![name(":single")],
        vec![name("")],
        vec![by_digest],
        vec![name(":eight")],
        vec![name(":docker"), name(":eight")],
    ] {
        let words = |file: &str| -> Vec<String> {
            ["pull".to_owned()].into_iter().chain(images.clone()).chain([file.to_owned()]).collect()
        };
        let crane = cli.peer("crane", words("crane.tar")).run();
        let hoist = cli.hoist(words("hoist.tar")).run();
        assert_eq!((crane.success(), hoist.success()), (String::new(), String::new()));
        assert_eq!(hoist.stderr(), "", "crane says nothing, and neither does a log");
        assert_eq!(member(&cli, "hoist.tar", "manifest.json"), member(&cli, "crane.tar", "manifest.json"));
        // crane has several images in any order.
        let sorted = |tar: &str| {
            let mut names = listed(&cli, tar);
            assert_eq!(names.last().unwrap(), "manifest.json");
            if images.len() > 1 {
                names.sort();
                // What they share it has more than once.
                names.dedup();
            }
            names
        };
        assert_eq!(sorted("hoist.tar"), sorted("crane.tar"));
        if images.len() > 1 {
            continue;
        }
        let to = |tag: &str| format!("{}/pushed:{tag}", registry.address());
        cli.peer("crane", ["push", "hoist.tar", &to("crane")]).run().success();
        cli.hoist(["push", "crane.tar", &to("hoist")]).run().success();
        let digest = |tag: &str| cli.hoist(["digest", &to(tag)]).run().success();
        assert_eq!(digest("crane"), digest("hoist"));
        cli.peer("skopeo", ["inspect", "--config", "docker-archive:hoist.tar"]).run().success();
    }
    let arm = ["--platform", "linux/arm64", "pull", &name(":eight"), "arm.tar"];
    cli.hoist(arm).run().success();
    let config = cli.hoist(["config", "docker-archive:arm.tar", "--jq", ".architecture"]).run().success();
    assert_eq!(config, "arm64\n");
}

#[test]
fn several_images_share_their_layers() {
    let (_registry, name) = registry();
    let cli = Cli::new();
    cli.hoist(["pull", &name(":single"), &name(":latest"), &name(":docker"), "all.tar"]).run().success();
    let list: Value = serde_json::from_str(&member(&cli, "all.tar", "manifest.json")).unwrap();
    let tags: Vec<&Value> = list.as_array().unwrap().iter().map(|image| &image["RepoTags"]).collect();
    assert_eq!(
        serde_json::to_value(tags).unwrap(),
        serde_json::json!([[name(":docker")], [name(":single"), name(":latest")]])
    );
    let names = listed(&cli, "all.tar");
    let mut once = names.clone();
    once.sort();
    once.dedup();
    assert_eq!(once.len(), names.len(), "{names:?}");
    // Through a pipe the same.
    let line = format!("hoist pull {} {} - | tar t", name(":single"), name(":docker"));
    assert!(cli.shell(&line).run().success().ends_with("manifest.json\n"));
}

#[test]
fn legacy_archives() {
    let (_registry, name) = registry();
    let cli = Cli::new();
    for tar in ["hoist.tar", "crane.tar"] {
        let words = ["pull", "--format=legacy", &name(":docker"), tar];
        let outcome =
            if tar == "crane.tar" { cli.peer("crane", words).run() } else { cli.hoist(words).run() };
        assert_eq!(outcome.success(), "");
    }
    // But for the names of the layers, which are anybody's.
    let shape = |tar: &str| -> Vec<String> {
        let names = listed(&cli, tar);
        names.iter().map(|name| name.rsplit('/').next().unwrap().to_owned()).collect()
    };
    assert_eq!(shape("hoist.tar"), shape("crane.tar"));
    let list = |tar: &str| -> Value { serde_json::from_str(&member(&cli, tar, "manifest.json")).unwrap() };
    for key in ["Config", "RepoTags"] {
        assert_eq!(list("hoist.tar")[0][key], list("crane.tar")[0][key]);
    }
    for (layer, theirs) in list("hoist.tar")[0]["Layers"]
        .as_array()
        .unwrap()
        .iter()
        .zip(list("crane.tar")[0]["Layers"].as_array().unwrap())
    {
        let [ours, theirs] = [(layer, "hoist.tar"), (theirs, "crane.tar")]
            .map(|(layer, tar)| cli.peer("tar", ["xOf", tar, layer.as_str().unwrap()]).run().stdout);
        assert!(ours == theirs, "inflated layers are the same bytes");
    }
    let repositories: Value = serde_json::from_str(&member(&cli, "hoist.tar", "repositories")).unwrap();
    assert_eq!(repositories.as_object().unwrap().keys().collect::<Vec<_>>(), [&name("")]);
    assert_eq!(
        cli.hoist(["export", "docker-archive:hoist.tar"]).run().stdout,
        cli.hoist(["export", &name(":docker")]).run().stdout
    );
}

#[test]
fn layouts_replace_by_name() {
    let (registry, name) = registry();
    let cli = Cli::new();
    let index = || -> Value {
        serde_json::from_slice(&fs::read(cli.work().join("lay/index.json")).unwrap()).unwrap()
    };
    let names = |index: &Value| -> Vec<(String, String)> {
        let entries = index["manifests"].as_array().unwrap().iter();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let name = "org.opencontainers.image.ref.name";
        entries.map(|entry| (text(&entry["annotations"][name]), text(&entry["digest"]))).collect()
    };
    let [single, eight] = [images::single(), images::eight_platforms()].map(|graph| graph.manifest.digest);
    assert_eq!(
        cli.hoist(["pull", "--format", "oci", &name(":latest"), &name(":eight"), "lay"]).run().success(),
        ""
    );
    let expected = vec![(name(":latest"), single.clone()), (name(":eight"), eight.clone())];
    assert_eq!(names(&index()), expected);
    cli.hoist(["pull", "--format=oci", &name(":eight"), "lay"]).run().success();
    assert_eq!(names(&index()), expected, "twice is once");
    registry.push(&images::zstd(), "demo/web", "latest");
    cli.hoist(["pull", "--format=oci", &name(""), "lay"]).run().success();
    let moved = vec![(name(":latest"), images::zstd().manifest.digest), (name(":eight"), eight)];
    assert_eq!(names(&index()), moved);
    cli.hoist(["push", "lay", &name(":back"), "--ref", &name(":eight")]).run().success();
    let digest = |tag: &str| cli.hoist(["digest", &name(tag)]).run().success();
    assert_eq!(digest(":back"), digest(":eight"));

    // As crane: without a name unless that is asked for.
    let crane = |words: &[&str]| cli.hoist_as("crane", words).run().success();
    crane(&["pull", "--format=oci", &name(":single"), "plain"]);
    crane(&["pull", "--format=oci", "--annotate-ref", &name(":single"), "named"]);
    cli.peer("crane", ["pull", "--format=oci", "--annotate-ref", &name(":single"), "theirs"]).run().success();
    let of = |directory: &str| -> Value {
        let read = fs::read(cli.work().join(directory).join("index.json")).unwrap();
        serde_json::from_slice::<Value>(&read).unwrap()["manifests"].clone()
    };
    assert_eq!(of("plain")[0]["annotations"], Value::Null);
    assert_eq!(of("named"), of("theirs"));
    let one = ["--platform", "linux/s390x", "pull", "--format=oci", &name(":eight"), "one"];
    cli.hoist(one).run().success();
    assert_eq!(cli.hoist(["config", "oci:one", "--jq", ".architecture"]).run().success(), "s390x\n");
}

#[test]
fn what_is_in_a_cache_is_not_fetched() {
    let (_registry, name) = registry();
    let cli = Cli::new();
    for (flag, file) in [("-c", "a.tar"), ("--cache_path", "b.tar"), ("--cache", "c.tar")] {
        cli.hoist(["pull", flag, "cache", &name(":single"), file]).run().success();
        assert!(fs::read(cli.work().join(file)).unwrap() == fs::read(cli.work().join("a.tar")).unwrap());
    }
    let hex = images::single().blobs[1].digest.replace(':', "/");
    assert!(cli.work().join("cache/blobs").join(hex).exists());
}

#[test]
fn what_cannot_be_pulled() {
    let (_registry, name) = registry();
    let cli = Cli::new();
    fs::write(cli.work().join("there.tar"), "mine").unwrap();
    fs::create_dir(cli.work().join("folder")).unwrap();
    for (words, cause) in [
        (&["pull", &name(":none"), "there.tar"][..], "MANIFEST_UNKNOWN"),
        (&["pull", &name(":single"), &name(":none"), "there.tar"], "MANIFEST_UNKNOWN"),
        (&["pull", "--format=legacy", &name(":none"), "there.tar"], "MANIFEST_UNKNOWN"),
        (&["--platform", "linux/riscv64", "pull", &name(":eight"), "there.tar"], "no child with platform"),
        (&["pull", &name(":single"), "no/such.tar"], "there is no directory no"),
        (&["pull", &name(":single"), "folder"], "it is a directory"),
        (&["pull", "--format=legacy", &name(":single"), "no/such.tar"], "writing no/such.tar: No such file"),
        (&["pull", "--format=oci", &name(":single"), "there.tar"], "there.tar"),
        (&["pull", &name(":single")], "required"),
    ] {
        refused(&cli, &cli.hoist(words.iter().copied()).run(), cause);
        assert_eq!(fs::read(cli.work().join("there.tar")).unwrap(), b"mine");
    }
    let format = cli.hoist(["pull", "--format=zip", &name(":single"), "x.tar"]).run().failure(1);
    assert!(["tarball", "legacy", "oci"].iter().all(|known| format.contains(known)), "{format}");
    let left: Vec<_> = fs::read_dir(cli.work()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left.len(), 2, "{left:?}");
    let [crane, hoist] = both(&cli, &["pull", &name(":none"), "x.tar"]);
    assert_eq!(crane.status.code(), hoist.status.code());
}

/// The file has its name when it is whole, and keeps its mode.
#[test]
fn a_file_is_replaced_as_a_whole() {
    let (cli, server) = (Cli::new(), HoistServer::start());
    server.push(&images::large(6 << 20), "demo/large", "1");
    server.push(&images::single(), "demo/web", "1");
    let name = |rest: &str| format!("{}/demo/{rest}", server.address());
    let file = cli.work().join("a.tar");
    fs::write(&file, "before").unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
    let running = cli.hoist(["pull", &name("large:1"), "a.tar"]).start();
    drop(running);
    until("nobody writes it", || {
        fs::read(&file).is_ok_and(|content| content == b"before" || content.len() > 6 << 20)
    });
    cli.hoist(["pull", &name("web:1"), "a.tar"]).run().success();
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o640);
    assert_eq!(listed(&cli, "a.tar").last().unwrap(), "manifest.json");
}

/// Loaded, and run; and what docker saves of it is pushed.
#[test]
fn docker_runs_what_was_pulled() {
    let docker = Docker::start();
    let (cli, registry) = (Cli::new(), DockerRegistry::plain());
    // hoist itself, which needs nothing of its root.
    let hoist = cli.shell("realpath \"$(command -v hoist)\"").run().success();
    let program = fs::read(hoist.trim_end()).unwrap();
    registry.push(&images::runnable(program, &["version"]), "demo/run", "1");
    let name = format!("{}/demo/run:1", registry.address());
    for format in ["tarball", "legacy"] {
        let file = format!("{format}.tar");
        cli.hoist(["pull", "--format", format, &name, &file]).run().success();
        let path = cli.work().join(&file);
        let loaded = docker.docker(["load", "-i", path.to_str().unwrap()]).run().success();
        assert!(loaded.contains(&name), "{loaded}");
        let said = docker.docker(["run", "--rm", "--network", "none", &name]).run().success();
        assert_eq!(said, cli.hoist(["version"]).run().success(), "{format}");
        let saved = format!("{format}-saved.tar");
        let saved_path = cli.work().join(&saved);
        docker.docker(["save", "-o", saved_path.to_str().unwrap(), &name]).run().success();
        cli.shell(&format!("sudo -n chmod a+r {saved} 2> /dev/null || chmod a+r {saved}")).run().success();
        let again = format!("{}/demo/again:{format}", registry.address());
        cli.hoist(["push", &saved, &again]).run().success();
        let config = |name: &str| cli.hoist(["config", name, "--jq", ".rootfs"]).run().success();
        assert_eq!(config(&again), config(&name));
        docker.docker(["rmi", "-f", &name]).run().success();
    }
}
