//! Archives and skopeo's directories: everything keeps its digests from place to place, and others read what hoist wrote.

use std::fs;
use std::path::Path;

use serde_json::Value;
use testkit::images::{self, Graph};
use testkit::{Cli, Docker, DockerRegistry, HoistServer};

use crate::support::{kinds, logged, refused, until};

/// All kinds that a layout can have.
fn all_kinds() -> impl Iterator<Item = (&'static str, Graph)> {
    kinds().into_iter().chain([("sha512", images::sha512())])
}

/// Whether docker could load it.
fn is_one_image(graph: &Graph) -> bool {
    let manifest = graph.json();
    let config = manifest["config"]["mediaType"].as_str().unwrap_or_default();
    manifest["manifests"].is_null() && (config.contains("image.config") || config.contains("container.image"))
}

fn digest(cli: &Cli, name: &str) -> String {
    cli.hoist(["digest", name]).run().success().trim_end().to_owned()
}

fn copy(cli: &Cli, from: &str, to: &str) {
    assert_eq!(cli.hoist(["cp", from, to]).run().success(), "", "{from} {to}");
}

/// What lies in a directory, hidden files too.
fn names(directory: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn digests_survive_all_places() {
    let cli = Cli::new();
    for (kind, graph) in all_kinds() {
        graph.write_layout(&cli.work().join("made"), kind);
        let of = |prefix: &str, file: &str| format!("{prefix}:{kind}.{file}");
        let mut places = vec![of("oci-archive", "tar"), of("dir", "dir"), of("oci-archive", "2.tar")];
        // The name of its manifest does not tell the algorithm, and all take it for sha256.
        places.retain(|place| kind != "sha512" || !place.starts_with("dir:"));
        if is_one_image(&graph) {
            places.push(format!("docker-archive:{kind}.docker.tar:demo/{kind}:1"));
            places.push(of("oci-archive", "3.tar"));
        }
        places.push(format!("oci:back:{kind}"));
        let mut from = format!("oci:made:{kind}");
        for to in places {
            copy(&cli, &from, &to);
            assert_eq!(digest(&cli, &to), graph.manifest.digest, "{to}");
            assert_eq!(cli.hoist(["manifest", &to]).run().success().as_bytes(), &*graph.manifest.bytes);
            // One has a layer that is odd on purpose.
            if kind != "whiteouts" {
                cli.hoist(["validate", &to]).run().success();
            }
            from = to;
        }
        graph.visit(&mut |graph| {
            for blob in graph.blobs.iter().chain([&graph.manifest]) {
                let path = cli.work().join("back/blobs").join(blob.digest.replace(':', "/"));
                assert!(fs::read(&path).unwrap() == *blob.bytes, "{}", path.display());
            }
        });
    }
    let left: Vec<String> = names(&cli.work()).into_iter().filter(|name| name.starts_with('.')).collect();
    assert!(left.is_empty(), "{left:?}");
}

/// A layout with a list beside it, whose orders differ: a position is one of the list, as for others.
#[test]
fn positions_are_those_of_the_list() {
    let cli = Cli::new();
    let graphs = [images::single(), images::large(3000), images::whiteouts()];
    for (number, graph) in graphs.iter().enumerate() {
        graph.write_layout(&cli.work().join("two"), &number.to_string());
    }
    let path = |digest: &Value| format!("blobs/{}", digest.as_str().unwrap().replace(':', "/"));
    let listed = |graph: &Graph| {
        let manifest = graph.json();
        let layers: Vec<String> =
            manifest["layers"].as_array().unwrap().iter().map(|layer| path(&layer["digest"])).collect();
        serde_json::json!({"Config": path(&manifest["config"]["digest"]), "RepoTags": null, "Layers": layers})
    };
    let list: Vec<Value> = graphs.iter().rev().map(listed).collect();
    fs::write(cli.work().join("two/manifest.json"), serde_json::to_vec(&list).unwrap()).unwrap();
    cli.shell("tar -C two -cf two.tar manifest.json oci-layout index.json blobs").run().success();
    for (number, graph) in graphs.iter().rev().enumerate() {
        let name = format!("docker-archive:two.tar:@{number}");
        assert_eq!(digest(&cli, &name), graph.manifest.digest);
        let theirs = cli.peer("skopeo", ["inspect", "--config", "--raw", &name]).run().success();
        assert_eq!(cli.hoist(["config", &name]).run().success(), theirs);
    }
}

/// Several images in one archive, and their names.
#[test]
fn all_tags_of_an_archive() {
    let (cli, server) = (Cli::new(), HoistServer::start());
    for (kind, graph) in all_kinds() {
        graph.write_layout(&cli.work().join("made"), kind);
    }
    cli.hoist(["cp", "-a", "oci:made", "oci-archive:all.tar"]).run().success();
    cli.hoist(["cp", "-a", "oci-archive:all.tar", &format!("{}/demo/all", server.address())]).run().success();
    let streamed = cli.shell("hoist cp -a oci:made oci-archive:- | hoist ls oci-archive:-").run().success();
    let tags = cli.hoist(["ls", "oci-archive:all.tar"]).run().success();
    let sorted = |text: &str| {
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    let mut expected: Vec<&str> = all_kinds().map(|(kind, _)| kind).collect();
    expected.sort_unstable();
    assert_eq!(sorted(&tags), expected);
    assert_eq!(sorted(&streamed), expected);
    for (kind, graph) in all_kinds() {
        assert_eq!(digest(&cli, &format!("oci-archive:all.tar:{kind}")), graph.manifest.digest);
        // A registry's tag tells sha256.
        if kind != "sha512" {
            assert_eq!(digest(&cli, &format!("{}/demo/all:{kind}", server.address())), graph.manifest.digest);
        }
    }
    let which = cli.hoist(["digest", "oci-archive:all.tar"]).run();
    refused(&cli, &which, "say which tag is meant: ");
    let missing = cli.hoist(["digest", "oci-archive:all.tar:nothing"]).run();
    refused(&cli, &missing, "it has no tag nothing, but ");
}

/// The same graph is the same archive, wherever it comes from and wherever it goes.
#[test]
fn archives_are_reproducible() {
    let (cli, docker) = (Cli::new(), DockerRegistry::plain());
    let graph = images::eight_platforms();
    graph.write_layout(&cli.work().join("made"), "1");
    docker.push(&graph, "demo/web", "1");
    let remote = format!("{}/demo/web:1", docker.address());
    copy(&cli, "oci:made:1", "oci-archive:one.tar");
    let one = fs::read(cli.work().join("one.tar")).unwrap();
    for line in [
        "hoist cp oci-archive:one.tar oci-archive:two.tar && cat two.tar".to_owned(),
        format!("hoist cp {remote} oci-archive:three.tar && cat three.tar"),
        format!("hoist cp --jobs 1 {remote} oci-archive:-:1"),
        "cat one.tar | gzip | hoist cp oci-archive:- oci-archive:-".to_owned(),
        "zstd -q one.tar && hoist cp oci-archive:one.tar.zst oci-archive:-".to_owned(),
    ] {
        assert!(cli.shell(&line).run().stdout == one, "{line}");
    }
    // Whoever has seen enough hears no complaint.
    let seen = cli.shell("hoist cp oci-archive:one.tar oci-archive:- 2> said | head -c 600 > /dev/null; echo ${PIPESTATUS[0]}; grep -c Error said");
    assert_eq!(seen.run().stdout(), "0\n0\n");
    // tar itself agrees that it is one.
    let listed = cli.shell("tar tvf one.tar").run().success();
    assert!(
        listed.lines().all(|line| line.contains(" 0/0 ") && line.contains(" 1970-01-01 00:00 ")),
        "{listed}"
    );
}

#[test]
fn skopeo_and_crane() {
    let (cli, docker) = (Cli::new(), DockerRegistry::plain());
    let graph = images::eight_platforms();
    graph.write_layout(&cli.work().join("made"), "1");
    docker.push(&graph, "demo/web", "1");
    let remote = format!("{}/demo/web:1", docker.address());
    let skopeo = |from: &str, to: &str, all: bool| {
        let options = ["--insecure-policy", "copy", "--dest-tls-verify=false"];
        let all = all.then_some("--all");
        cli.peer("skopeo", options).args(all).arg(from).arg(to).run().success();
    };
    let amd64 = ["--platform", "linux/amd64", "cp"];

    // They read what hoist wrote.
    copy(&cli, "oci:made:1", "oci-archive:ours.tar:1");
    copy(&cli, "oci:made:1", "dir:ours");
    cli.hoist(amd64).arg(&remote).arg("docker-archive:ours.docker.tar").run().success();
    for (number, from) in ["oci-archive:ours.tar:1", "dir:ours"].into_iter().enumerate() {
        let to = format!("oci:read:{number}");
        skopeo(from, &to, true);
        assert_eq!(digest(&cli, &to), graph.manifest.digest);
    }
    let config = cli.hoist(["--platform", "linux/amd64", "config", "oci:made:1"]).run().success();
    skopeo("docker-archive:ours.docker.tar", "dir:unpacked", false);
    assert_eq!(cli.hoist(["config", "dir:unpacked"]).run().success(), config);
    let pushed = format!("{}/demo/pushed:1", docker.address());
    cli.peer("crane", ["push", "ours.docker.tar", &pushed]).run().success();
    assert_eq!(cli.hoist(["config", &pushed]).run().success(), config);

    // And the other way round.
    skopeo("oci:made:1", "oci-archive:theirs.tar:x", true);
    skopeo("oci:made:1", "dir:theirs", true);
    for theirs in ["oci-archive:theirs.tar:x", "oci-archive:theirs.tar", "dir:theirs"] {
        assert_eq!(digest(&cli, theirs), graph.manifest.digest);
        cli.hoist(["validate", theirs]).run().success();
    }
    skopeo("dir:unpacked", "docker-archive:theirs.docker.tar:demo/web:7", false);
    cli.peer("crane", ["pull", "--platform", "linux/amd64", &remote, "crane.tar"]).run().success();
    cli.shell("gzip -k theirs.docker.tar").run().success();
    let listing = cli.hoist(["--platform", "linux/amd64", "export", "oci:made:1"]).run().stdout.len();
    for theirs in [
        "theirs.docker.tar",
        "theirs.docker.tar:demo/web:7",
        "theirs.docker.tar:7",
        "crane.tar:@0",
        "theirs.docker.tar.gz",
    ] {
        let theirs = format!("docker-archive:{theirs}");
        assert_eq!(cli.hoist(["config", &theirs]).run().success(), config, "{theirs}");
        cli.hoist(["validate", &theirs]).run().success();
        assert_eq!(cli.hoist(["export", &theirs]).run().stdout.len(), listing);
        copy(&cli, &theirs, &format!("{}/demo/saved:1", docker.address()));
    }
    let none = cli.hoist(["digest", "docker-archive:theirs.docker.tar:demo/other:7"]).run();
    refused(&cli, &none, "it has no image demo/other:7, but docker.io/demo/web:7");
}

#[test]
fn docker_loads_and_saves() {
    let (cli, docker) = (Cli::new(), Docker::start());
    let hoist = cli.shell("realpath \"$(command -v hoist)\"").run().success();
    let program = fs::read(hoist.trim_end()).unwrap();
    images::runnable(program, &["version"]).write_layout(&cli.work().join("made"), "1");
    let version = cli.hoist(["version"]).run().success();
    let path = |name: &str| cli.work().join(name).into_os_string().into_string().unwrap();
    let run = |name: &str| docker.docker(["run", "--rm", "--network", "none", name]).run().success();

    copy(&cli, "oci:made:1", "docker-archive:ours.tar:demo/loaded:1");
    docker.docker(["load", "--input", &path("ours.tar")]).run().success();
    assert_eq!(run("demo/loaded:1"), version);
    docker.ctr(["images", "import", "--snapshotter", "native", &path("ours.tar")]).run().success();
    let listed = docker.ctr(["images", "list", "--quiet"]).run().success();
    assert!(listed.contains("docker.io/demo/loaded:1"), "{listed}");

    docker.docker(["tag", "demo/loaded:1", "demo/other:2"]).run().success();
    docker.docker(["save", "--output", &path("saved.tar"), "demo/loaded:1", "demo/other:2"]).run().success();
    let config = cli.hoist(["config", "oci:made:1"]).run().success();
    for name in ["demo/loaded:1", "docker.io/demo/other:2", ":@0"] {
        let name = format!("docker-archive:saved.tar:{}", name.trim_start_matches(':'));
        assert_eq!(cli.hoist(["config", &name]).run().success(), config, "{name}");
    }
    // Without a file between.
    let hoist =
        |arguments: &[&str]| cli.hoist(arguments.iter().copied()).env("DOCKER_HOST", docker.host()).run();
    hoist(&["cp", "oci:made:1", "docker-daemon:demo/direct:4"]).success();
    assert_eq!(run("demo/direct:4"), version);
    assert_eq!(hoist(&["config", "docker-daemon:demo/direct:4"]).success(), config);
    hoist(&["validate", "docker-daemon:demo/direct:4"]).success();
    hoist(&["cp", "docker-daemon:demo/direct:4", "oci:back:1"]).success();
    assert_eq!(cli.hoist(["config", "oci:back:1"]).run().success(), config);
    refused(
        &cli,
        &hoist(&["digest", "docker-daemon:demo/nothing:1"]),
        "reading docker-daemon:demo/nothing:1: ",
    );
    let none =
        cli.hoist(["digest", "docker-daemon:demo/direct:4"]).env("DOCKER_HOST", "unix:///no/such.sock").run();
    refused(&cli, &none, "no docker daemon answers at /no/such.sock: No such file or directory");
    let far = cli.hoist(["digest", "docker-daemon:x"]).env("DOCKER_HOST", "tcp://10.0.0.1:2375").run();
    refused(&cli, &far, "reaches a socket of this machine only");

    copy(&cli, "docker-archive:saved.tar:demo/other:2", "docker-archive:again.tar:demo/again:3");
    docker.docker(["load", "--input", &path("again.tar")]).run().success();
    assert_eq!(run("demo/again:3"), version);
}

#[test]
fn what_is_no_archive() {
    let cli = Cli::new();
    let work = cli.work();
    let graph = images::single();
    graph.write_layout(&work.join("made"), "1");
    copy(&cli, "oci:made:1", "oci-archive:good.tar");
    let good = fs::read(work.join("good.tar")).unwrap();
    let layer = graph.blobs.last().unwrap();
    let at = good.windows(layer.bytes.len()).position(|window| window == &*layer.bytes).unwrap();
    fs::write(work.join("cut.tar"), &good[..at + 30]).unwrap();
    fs::write(work.join("text.tar"), "this is no archive").unwrap();
    cli.shell("tar cf other.tar text.tar && gzip -c good.tar | head -c 700 > cut.tar.gz").run().success();
    cli.shell("tar xf good.tar --one-top-level=x && sed -i s/1.0.0/2.0.0/ x/oci-layout && tar cf foreign.tar -C x .")
        .run()
        .success();
    for (place, reason) in [
        ("oci-archive:missing.tar", "there is no file missing.tar"),
        ("oci-archive:made", "it is a directory"),
        ("oci-archive:cut.tar", "cut.tar: it is cut off in the middle of blobs/sha256/"),
        ("oci-archive:cut.tar.gz", "it could not be inflated"),
        ("oci-archive:text.tar", "text.tar: it is no tar archive"),
        ("oci-archive:other.tar", "it has no OCI image layout"),
        ("docker-archive:other.tar", "it has no image: no manifest.json"),
        ("oci-archive:foreign.tar", r#"version "2.0.0" is not known"#),
        ("docker-archive:good.tar:@1", "it has 1 images, counted from 0"),
        ("dir:made", "manifest.json is no manifest"),
        ("dir:missing", "there is no directory missing"),
    ] {
        let outcome = cli.hoist(["digest", place]).run();
        refused(&cli, &outcome, reason);
    }
    // A blob that is not what its name says, and one that is not there.
    let mut wrong = good.clone();
    wrong[at + 20] ^= 1;
    fs::write(work.join("wrong.tar"), wrong).unwrap();
    let outcome = cli.hoist(["cp", "oci-archive:wrong.tar", "oci-archive:new.tar"]).run();
    refused(&cli, &outcome, &layer.digest);
    let streamed = cli.shell("set -o pipefail; hoist cp oci-archive:wrong.tar oci-archive:- | tar t").run();
    assert!(!streamed.status.success(), "a stream that ends early is no archive");
    let hex = layer.digest.rsplit_once(':').unwrap().1;
    cli.shell(&format!("tar f good.tar --to-stdout -x index.json > /dev/null; cp good.tar less.tar; tar --delete -f less.tar blobs/sha256/{hex}"))
        .run()
        .success();
    let outcome = cli.hoist(["cp", "oci-archive:less.tar", "oci-archive:new.tar"]).run();
    refused(&cli, &outcome, "it has no blob less.tar/blobs/sha256/");
    assert!(!names(&work).iter().any(|name| name.contains("new.tar")), "nothing half-written is left");
}

#[test]
fn what_cannot_be_written() {
    let cli = Cli::new();
    let work = cli.work();
    images::eight_platforms().write_layout(&work.join("made"), "1");
    fs::create_dir(work.join("full")).unwrap();
    fs::write(work.join("full/photo.jpg"), "").unwrap();
    fs::write(work.join("there.tar"), "mine").unwrap();
    fs::create_dir_all(work.join("empty/blobs")).unwrap();
    fs::write(work.join("empty/oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
    fs::write(work.join("empty/index.json"), r#"{"schemaVersion":2,"manifests":[]}"#).unwrap();
    copy(&cli, "oci:made:1", "dir:image");
    for (arguments, reason) in [
        (&["cp", "oci:made:1", "docker-archive:new.tar"][..], "say which with --platform"),
        (&["cp", "oci:made:1", "docker-archive:new.tar:@0"], "does not say what the image is to be called"),
        (&["cp", "oci:made:1", "oci-archive:no/such/new.tar"], "there is no directory no/such"),
        (&["cp", "oci:made:1", "oci-archive:full"], "it is a directory"),
        (&["cp", "oci:made:1", "dir:full"], "is not empty"),
        (&["cp", "-a", "oci:made", "dir:new"], "holds one image"),
        (&["cp", "-a", "oci:made", "docker-archive:new.tar"], "holds one image"),
        (&["cp", "-n", "oci:made:1", "oci-archive:there.tar"], "--no-clobber"),
        (&["cp", "oci:made:2", "oci-archive:there.tar"], "it has no tag 2"),
        (&["cp", "-n", "oci:made:1", "dir:image"], "--no-clobber"),
        (&["cp", "-n", "oci:made:1", "docker-daemon:x"], "--no-clobber"),
        (&["cp", "--dry-run", "oci:made:1", "docker-archive:new.tar:x:1"], "docker loads one platform"),
        (&["cp", "-a", "oci:empty", "oci-archive:there.tar"], "there is nothing to put into it"),
        (
            &["digest", &format!("docker-daemon:x@sha256:{}", "0".repeat(64))],
            "asks a docker daemon for a digest",
        ),
        (&["tag", "dir:made", "2"], "cannot be given another tag"),
        (&["delete", "oci-archive:there.tar:1"], "nothing can be deleted"),
    ] {
        let outcome = cli.hoist(arguments.iter().copied()).run();
        refused(&cli, &outcome, reason);
    }
    let shown = cli.hoist(["cp", "--dry-run", "oci:made:1", "oci-archive:new.tar"]).run();
    shown.success();
    assert_eq!(names(&work), ["empty", "full", "image", "made", "there.tar"]);
    assert_eq!(fs::read(work.join("there.tar")).unwrap(), b"mine");
}

/// Whatever had the name before has it still, and the next run does not mind what is left.
#[test]
fn killed_in_the_middle() {
    let (cli, server) = (Cli::new(), HoistServer::start());
    let graph = images::large(6 << 20);
    server.push(&graph, "demo/large", "1");
    let from = format!("{}/demo/large:1", server.address());
    let archive = cli.work().join("a.tar");
    let partial = cli.work().join(".a.tar.partial");
    fs::write(&archive, "before").unwrap();
    for _ in 0..2 {
        fs::write(&partial, "").unwrap();
        let running = cli.hoist(["cp", "--bwlimit", "2M", &from, "oci-archive:a.tar"]).start();
        until("it has been begun", || fs::metadata(&partial).is_ok_and(|partial| partial.len() > 0));
        let busy = cli.hoist(["cp", &from, "oci-archive:a.tar"]).run();
        refused(&cli, &busy, "another process is writing it");
        // As by kill -9.
        drop(running);
        assert_eq!(names(&cli.work()), [".a.tar.partial", "a.tar"]);
        assert_eq!(fs::read(&archive).unwrap(), b"before");
    }
    let outcome = cli.hoist(["cp", &from, "oci-archive:a.tar"]).run();
    outcome.success();
    assert!(logged(&outcome.stderr()).last().unwrap().contains(&graph.manifest.digest));
    assert_eq!(names(&cli.work()), ["a.tar"]);
    cli.hoist(["validate", "oci-archive:a.tar"]).run().success();
}

/// A directory has the new image when that is all there, and until then the one from before.
#[test]
fn a_directory_whose_writer_is_killed() {
    let (cli, server) = (Cli::new(), HoistServer::start());
    let (before, graph) = (images::single(), images::large(6 << 20));
    server.push(&before, "demo/web", "1");
    server.push(&graph, "demo/web", "2");
    let [old, new] = [1, 2].map(|tag| format!("{}/demo/web:{tag}", server.address()));
    copy(&cli, &old, "dir:there");
    for directory in ["there", "new"] {
        let (path, place) = (cli.work().join(directory), format!("dir:{directory}"));
        for _ in 0..2 {
            let running = cli.hoist(["cp", "--bwlimit", "2M", &new, &place]).start();
            until("it has been begun", || path.join(".partial").exists());
            // As by kill -9.
            drop(running);
            let found = cli.hoist(["digest", &place]).run();
            if directory == "there" {
                assert_eq!(found.success().trim_end(), before.manifest.digest);
                cli.hoist(["validate", &place]).run().success();
            } else {
                found.failure(1);
            }
        }
        copy(&cli, &new, &place);
        assert_eq!(digest(&cli, &place), graph.manifest.digest);
        cli.hoist(["validate", &place]).run().success();
    }
}

/// What older versions of docker saved: layers as uncompressed files in directories of their own, some of them links.
#[test]
fn what_docker_saved_before() {
    let cli = Cli::new();
    images::single().write_layout(&cli.work().join("made"), "1");
    let manifest = cli.hoist(["manifest", "oci:made:1"]).run().success();
    let manifest: Value = serde_json::from_str(&manifest).unwrap();
    let blob = |descriptor: &Value| descriptor["digest"].as_str().unwrap().replace(':', "/");
    let layers = manifest["layers"].as_array().unwrap();
    let mut list = Vec::new();
    let config = blob(&manifest["config"]);
    cli.shell(&format!("mkdir old && cp made/blobs/{config} old/config.json")).run().success();
    for (number, layer) in layers.iter().enumerate() {
        let layer = blob(layer);
        let line = format!("mkdir old/{number} && gzip -dc made/blobs/{layer} > old/{number}/real.tar");
        cli.shell(&line).run().success();
        cli.shell(&format!("ln -s ../{number}/real.tar old/{number}/layer.tar")).run().success();
        list.push(format!("{number}/layer.tar"));
    }
    let names = ["demo/old:1", "demo/old:2"];
    let images = serde_json::json!([{"Config": "config.json", "RepoTags": names, "Layers": list}]);
    fs::write(cli.work().join("old/manifest.json"), images.to_string()).unwrap();
    cli.shell("tar cf old.tar -C old .").run().success();
    let config = cli.hoist(["config", "oci:made:1"]).run().success();
    for name in names {
        let name = format!("docker-archive:old.tar:{name}");
        assert_eq!(cli.hoist(["config", &name]).run().success(), config);
        cli.hoist(["validate", &name]).run().success();
    }
    assert_eq!(cli.hoist(["ls", "docker-archive:old.tar"]).run().success(), "1\n2\n");
    let export = |name: &str| cli.hoist(["export", name]).run().stdout;
    assert!(export("docker-archive:old.tar:@0") == export("oci:made:1"));
    fs::remove_file(cli.work().join("old/0/real.tar")).unwrap();
    cli.shell("tar cf broken.tar -C old .").run().success();
    let outcome = cli.hoist(["config", "docker-archive:broken.tar"]).run();
    refused(&cli, &outcome, "manifest.json names 0/layer.tar, which is not there");
}

/// A directory has had another image before, a part of this one.
#[test]
fn an_image_in_the_place_of_its_part() {
    let cli = Cli::new();
    let graph = images::eight_platforms();
    graph.write_layout(&cli.work().join("made"), "1");
    cli.hoist(["--platform", "linux/amd64", "cp", "oci:made:1", "dir:image"]).run().success();
    copy(&cli, "oci:made:1", "dir:image");
    assert_eq!(digest(&cli, "dir:image"), graph.manifest.digest);
    cli.hoist(["validate", "dir:image"]).run().success();
    let line = "existing manifest: ";
    let again = cli.hoist(["cp", "oci:made:1", "dir:image"]).run();
    again.success();
    assert!(logged(&again.stderr()).last().unwrap().starts_with(line), "{again}");
}

/// What has the name of the archive may be no file, or a link to one.
#[test]
fn what_an_archive_replaces() {
    let cli = Cli::new();
    images::single().write_layout(&cli.work().join("made"), "1");
    copy(&cli, "oci:made:1", "oci-archive:one.tar");
    let one = fs::read(cli.work().join("one.tar")).unwrap();
    let line =
        "mkfifo pipe; cat pipe > read.tar & hoist cp oci:made:1 oci-archive:pipe && test -p pipe && wait";
    cli.shell(line).run().success();
    assert!(fs::read(cli.work().join("read.tar")).unwrap() == one);
    cli.shell(
        "mkdir there && echo x > there/real.tar && chmod 600 there/real.tar && ln -s there/real.tar link.tar",
    )
    .run()
    .success();
    copy(&cli, "oci:made:1", "oci-archive:link.tar");
    assert!(fs::read(cli.work().join("there/real.tar")).unwrap() == one);
    assert_eq!(
        cli.shell("stat -c %a there/real.tar; test -L link.tar && ls -A there").run().success(),
        "600\nreal.tar\n"
    );
}

/// Manifests that disagree are no image, wherever they are to go.
#[test]
fn two_lengths_of_one_blob() {
    let cli = Cli::new();
    let (one, two) = (images::single(), images::docker_schema2());
    let layout = cli.work().join("made");
    images::single().write_layout(&layout, "1");
    let layer = one.json()["layers"][0].clone();
    let mut longer = one.json();
    longer["layers"][0]["size"] = serde_json::json!(layer["size"].as_u64().unwrap() + 1);
    longer["annotations"] = serde_json::json!({"which": "the other"});
    let longer = Graph::leaf(&longer, Vec::new());
    images::index([one, longer, two]).write_layout(&layout, "2");
    for place in ["oci-archive:new.tar", "oci-archive:-", "oci:new", "dir:new"] {
        let outcome = cli.hoist(["cp", "oci:made:2", place]).run();
        refused(&cli, &outcome, "and another that it has ");
    }
}
