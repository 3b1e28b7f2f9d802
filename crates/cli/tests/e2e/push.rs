//! `push`: whatever lies on this machine goes to a registry, as crane pushes it and with more kinds of files.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use testkit::images::{self, Graph, Image, Layer};
use testkit::{Cli, Docker, DockerRegistry, HoistServer, Outcome};

use crate::crane::{assert_equal, both};
use crate::support::{kinds, logged, refused};

fn digest(cli: &Cli, name: &str) -> String {
    cli.hoist(["digest", name]).run().success().trim_end().to_owned()
}

/// Copies of an image in every kind of file, each from `oci:made:1`, and the word for `push`.
fn files(cli: &Cli, graph: &Graph) -> Vec<&'static str> {
    graph.write_layout(&cli.work().join("made"), "1");
    for to in ["oci-archive:layout.tar", "docker-archive:docker.tar:demo/web:1", "dir:folder"] {
        cli.hoist(["cp", "oci:made:1", to]).run().success();
    }
    cli.shell("gzip -k layout.tar docker.tar; zstd -q layout.tar docker.tar").run().success();
    vec![
        "made",
        "layout.tar",
        "layout.tar.gz",
        "layout.tar.zst",
        "docker.tar",
        "docker.tar.gz",
        "docker.tar.zst",
        "folder",
        "oci:made",
        "oci:made:1",
        "oci-archive:layout.tar",
        "docker-archive:docker.tar:demo/web:1",
        "dir:folder",
    ]
}

/// From all kinds of files to all registries, and standard output has the result alone.
#[test]
fn digests_stay() {
    let (docker, hoist) = (DockerRegistry::plain(), HoistServer::start());
    for (kind, graph) in
        [("single", images::single()), ("docker", images::docker_schema2()), ("zstd", images::zstd())]
    {
        let cli = Cli::new();
        let files = files(&cli, &graph);
        for (number, address) in [docker.address(), hoist.address()].into_iter().enumerate() {
            for (file, path) in files.iter().enumerate() {
                let repository = format!("{address}/demo/{kind}{number}-{file}");
                let pushed = cli.hoist(["push", path, &format!("{repository}:1")]).run().success();
                assert_eq!(pushed, format!("{repository}@{}\n", graph.manifest.digest), "{path}");
                assert_eq!(digest(&cli, &format!("{repository}:1")), graph.manifest.digest);
            }
            for file in ["layout.tar", "docker.tar", "layout.tar.gz", "docker.tar.zst"] {
                let line = format!("hoist push - {address}/demo/piped:{kind} < {file}");
                let pushed = cli.shell(&line).run().success();
                assert_eq!(pushed, format!("{address}/demo/piped@{}\n", graph.manifest.digest), "{file}");
            }
        }
        assert!(fs::read_dir(cli.tmp()).unwrap().next().is_none());
    }
}

/// Indexes and all else that only a layout can have.
#[test]
fn a_layout_with_one_entry() {
    let (cli, server) = (Cli::new(), HoistServer::start());
    for (kind, graph) in kinds() {
        let path = format!("{kind}-layout");
        graph.write_layout(&cli.work().join(&path), kind);
        cli.hoist(["cp", &format!("oci:{path}:{kind}"), &format!("oci-archive:{kind}.tar")]).run().success();
        for path in [path, format!("{kind}.tar")] {
            let to = format!("{}/demo/{path}", server.address());
            let pushed = cli.hoist(["push", &path, &to]).run().success();
            assert_eq!(pushed, format!("{to}@{}\n", graph.manifest.digest));
            assert_eq!(cli.hoist(["manifest", &to]).run().success().as_bytes(), &*graph.manifest.bytes);
        }
    }
}

#[test]
fn side_by_side_with_crane() {
    let (cli, server) = (Cli::new(), DockerRegistry::plain());
    let name = |rest: &str| format!("{}/demo/{rest}", server.address());
    images::single().write_layout(&cli.work().join("one"), "1");
    images::eight_platforms().write_layout(&cli.work().join("index"), "1");
    for (tag, graph) in [("1", images::single()), ("2", images::docker_schema2())] {
        graph.write_layout(&cli.work().join("two"), tag);
        server.push(&graph, "demo/web", tag);
    }
    cli.peer("crane", ["pull", &name("web:1"), "single.tar"]).run().success();
    fs::write(cli.work().join("text.tar"), "this is no archive").unwrap();
    fs::create_dir(cli.work().join("empty")).unwrap();
    for arguments in [
        &["push", "one", &name("a:1")][..],
        &["push", "index", &name("b:1")],
        &["push", "--index", "two", &name("c:1")],
        &["push", "--index", "index", &name("d:1")],
        &["push", "single.tar", &name("e:1")],
        &["push", "single.tar", &name("e")],
        &["push", "--index", "single.tar", &name("h:1")],
        &["push", "--image-refs", "refs", "single.tar", &name("f:1")],
        // What does not go.
        &["push", "two", &name("g:1")],
        &["push", "nothing.tar", &name("g:1")],
        &["push", "text.tar", &name("g:1")],
        &["push", "empty", &name("g:1")],
        &["push", "one"],
        &["push"],
        &["push", "one", "UPPER"],
    ] {
        assert_equal(&cli, arguments);
    }
    let refs = |outcome: Outcome| {
        outcome.success();
        let mode = fs::metadata(cli.work().join("refs")).unwrap().permissions().mode() & 0o777;
        let text = fs::read_to_string(cli.work().join("refs")).unwrap();
        fs::remove_file(cli.work().join("refs")).unwrap();
        (mode, text)
    };
    fs::remove_file(cli.work().join("refs")).unwrap();
    let arguments = ["push", "--image-refs", "refs", "one", &name("f:1")];
    let [crane, hoist] = [refs(cli.peer("crane", arguments).run()), refs(cli.hoist(arguments).run())];
    assert_eq!(crane, hoist);
    assert_eq!(hoist, (0o600, name(&format!("f@{}", images::single().manifest.digest))));
    let [crane, hoist] = both(&cli, &["push", "two", &name("g:1")]);
    for outcome in [crane, hoist] {
        assert!(outcome.failure(1).contains("contains 2 entries, consider --index"), "{outcome}");
    }
    // Nothing of what failed came there.
    assert!(!cli.hoist(["catalog", server.address()]).run().success().contains("demo/g"));
}

/// An image and the two tags that it has besides.
#[test]
fn several_tags() {
    let (cli, server) = (Cli::new(), HoistServer::start());
    let graph = images::eight_platforms();
    graph.write_layout(&cli.work().join("made"), "1");
    let to = format!("{}/demo/web", server.address());
    let pushed = cli.hoist(["push", "-t", "a", "--tag", "b", "made", &format!("{to}:1")]).run().success();
    assert_eq!(pushed, format!("{to}@{}\n", graph.manifest.digest));
    for tag in ["1", "a", "b"] {
        assert_eq!(digest(&cli, &format!("{to}:{tag}")), graph.manifest.digest);
    }
    let outcome = cli.hoist(["push", "-t", "no tag", "made", &format!("{to}:2")]).run();
    refused(&cli, &outcome, "could not parse tag: no tag");
    assert!(!cli.hoist(["ls", &to]).run().success().contains('2'));
    let arm = cli.hoist(["--platform", "linux/arm64", "push", "made", &format!("{to}:arm")]).run().success();
    let expected = cli.hoist(["--platform", "linux/arm64", "digest", &format!("{to}:1")]).run().success();
    assert_eq!(arm, format!("{to}@{expected}"));
}

/// Which of several is meant.
#[test]
fn one_of_several() {
    let (cli, server) = (Cli::new(), HoistServer::start());
    let graphs = [("1", images::single()), ("2", Image::new([Layer::new().file("a", "b")]).build())];
    for (tag, graph) in &graphs {
        graph.write_layout(&cli.work().join("two"), tag);
        server.push(graph, "demo/web", tag);
    }
    let name = |rest: &str| format!("{}/demo/{rest}", server.address());
    cli.hoist(["cp", "-a", "oci:two", "oci-archive:two.tar"]).run().success();
    cli.hoist(["pull", &name("web:1"), &name("web:2"), "pulled.tar"]).run().success();
    cli.hoist(["pull", "--format", "legacy", &name("web:1"), &name("web:2"), "legacy.tar"]).run().success();
    cli.hoist(["pull", "--format", "oci", &name("web:1"), &name("web:2"), "pulled"]).run().success();
    let paths = ["two", "two.tar", "pulled", "pulled.tar", "legacy.tar", "oci:two", "oci-archive:two.tar"];
    for (number, path) in paths.into_iter().enumerate() {
        let to = name(&format!("one{number}"));
        let outcome = cli.hoist(["push", path, &to]).run();
        let error = refused(&cli, &outcome, "contains 2 entries, consider --index");
        assert!(error.contains("hint: --ref chooses one: "), "{error}");
        for (tag, graph) in &graphs {
            let full = if path.contains("two") { (*tag).to_owned() } else { name(&format!("web:{tag}")) };
            let pushed = cli.hoist(["push", "--ref", &full, path, &to]).run().success();
            let digest = digest(&cli, &to);
            assert_eq!(pushed, format!("{to}@{digest}\n"), "{path}");
            if !path.ends_with("d.tar") && path != "legacy.tar" {
                assert_eq!(digest, graph.manifest.digest, "{path}");
            }
            let pushed_by_digest = cli.hoist(["push", "--ref", &digest, path, &to]).run().success();
            assert_eq!(pushed_by_digest, pushed, "{path}");
            let config = cli.hoist(["config", &to]).run().success();
            assert_eq!(config.as_bytes(), &*graph.blobs[0].bytes, "{path}");
        }
        let outcome = cli.hoist(["push", "--ref", "nothing", path, &to]).run();
        refused(&cli, &outcome, "nothing");
        // All of them, below the names that they have.
        let prefix = name(&format!("all{number}"));
        let pushed = cli.hoist(["push", "--all", "--to", &prefix, path]).run().success();
        assert_eq!(pushed.lines().count(), 2, "{pushed}");
        let repository = if path.contains("two") { prefix } else { format!("{prefix}/demo/web") };
        for (tag, graph) in &graphs {
            let config = cli.hoist(["config", &format!("{repository}:{tag}")]).run().success();
            assert_eq!(config.as_bytes(), &*graph.blobs[0].bytes, "{path}");
        }
        let digests: Vec<String> = graphs
            .iter()
            .map(|(tag, _)| format!("{repository}@{}", digest(&cli, &format!("{repository}:{tag}"))))
            .collect();
        let mut lines: Vec<&str> = pushed.lines().collect();
        lines.sort_unstable();
        let mut digests: Vec<&str> = digests.iter().map(String::as_str).collect();
        digests.sort_unstable();
        assert_eq!(lines, digests, "{path}");
    }
}

/// What was pulled by its digest keeps to it, and no two images become one.
#[test]
fn names_of_a_bundle() {
    let (cli, server) = (Cli::new(), HoistServer::start());
    let graphs = [images::single(), Image::new([Layer::new().file("a", "b")]).build()];
    let digests: Vec<&str> = graphs.iter().map(|graph| graph.manifest.digest.as_str()).collect();
    for (tag, graph) in ["1", "2"].iter().zip(&graphs) {
        server.push(graph, "demo/web", tag);
    }
    let by_digest: Vec<String> =
        digests.iter().map(|digest| format!("{}/demo/web@{digest}", server.address())).collect();
    let [one, two] = [&by_digest[0], &by_digest[1]];
    cli.hoist(["pull", "--format", "oci", one, two, "pulled"]).run().success();
    let prefix = format!("{}/all", server.address());
    let pushed = cli.hoist(["push", "--all", "--to", &prefix, "pulled"]).run().success();
    for digest in digests {
        let name = format!("{prefix}/demo/web@{digest}");
        assert!(pushed.lines().any(|line| line == name), "{pushed}");
        cli.hoist(["validate", &name]).run().success();
    }
    let name = |rest: &str| format!("{}/{rest}", server.address());
    let other = HoistServer::start();
    other.push(&graphs[1], "demo/web", "1");
    let elsewhere = format!("{}/demo/web:1", other.address());
    cli.hoist(["pull", &name("demo/web:1"), &elsewhere, "clash.tar"]).run().success();
    let outcome = cli.hoist(["push", "--all", "--to", &name("clash"), "clash.tar"]).run();
    refused(&cli, &outcome, &format!("two images would go to {}", name("clash/demo/web:1")));
    assert!(!cli.hoist(["catalog", server.address()]).run().success().contains("clash"));
}

#[test]
fn what_does_not_go() {
    let (cli, server) = (Cli::new(), HoistServer::start());
    let work = cli.work();
    let to = format!("{}/demo/web:1", server.address());
    images::single().write_layout(&work.join("made"), "1");
    fs::write(work.join("text.tar"), "this is no archive").unwrap();
    fs::create_dir(work.join("empty")).unwrap();
    cli.shell("tar cf other.tar text.tar; tar cf made.tar -C made .; head -c 3000 made.tar > cut.tar")
        .run()
        .success();
    for (arguments, cause) in [
        (&["push", "nothing.tar", &to][..], "there is no file nothing.tar"),
        (&["push", "text.tar", &to], "text.tar: it is no tar archive"),
        (&["push", "other.tar", &to], "it has no image: no manifest.json"),
        (&["push", "cut.tar", &to], "cut.tar"),
        (&["push", "empty", &to], "empty"),
        (&["push", "made", "oci:there"], "oci:there"),
        (&["push", "--ref", "2", "made", &to], "2"),
        (&["push", "--ref", "1", "oci:made:1", &to], "oci:made:1 names one image already"),
        (&["push", "--index", "oci:made:1", &to], "oci:made:1 is one image, and --index pushes all"),
        (&["push", "--all", "--to", &to, "oci:made:1"], "oci:made:1 is one image, not a bundle"),
        (&["push", "--all", "made"], "--to"),
        (&["push", "--all", "--to", "x", "--ref", "1", "made"], "--ref"),
        (&["push", "--image-refs", "no/such/file", "made", &to], "no/such/file"),
    ] {
        let outcome = cli.hoist(arguments).run();
        let text = outcome.failure(1);
        assert!(text.contains(cause), "{cause:?} was expected of {outcome}");
        assert_eq!(outcome.stdout(), "", "{outcome}");
    }
    assert_eq!(cli.hoist(["catalog", server.address()]).run().success(), "demo/web\n");
    let there = cli.hoist(["push", "made", &to]).run();
    assert!(logged(&there.stderr()).iter().any(|line| line.starts_with("existing ")), "{there}");
}

/// What the real docker saves.
#[test]
fn what_docker_saved() {
    let (cli, docker, server) = (Cli::new(), Docker::start(), HoistServer::start());
    let hoist = cli.shell("realpath \"$(command -v hoist)\"").run().success();
    images::runnable(fs::read(hoist.trim_end()).unwrap(), &["version"])
        .write_layout(&cli.work().join("made"), "1");
    let path = |name: &str| cli.work().join(name).into_os_string().into_string().unwrap();
    cli.hoist(["cp", "oci:made:1", "docker-archive:ours.tar:demo/saved:1"]).run().success();
    docker.docker(["load", "--input", &path("ours.tar")]).run().success();
    docker.docker(["tag", "demo/saved:1", "demo/other:2"]).run().success();
    docker.docker(["save", "--output", &path("saved.tar"), "demo/saved:1", "demo/other:2"]).run().success();
    docker.docker(["save", "--output", &path("one.tar"), "demo/saved:1"]).run().success();
    let config = cli.hoist(["config", "oci:made:1"]).run().success();
    let name = |rest: &str| format!("{}/{rest}", server.address());
    cli.hoist(["push", "one.tar", &name("demo/one:1")]).run().success();
    cli.hoist(["push", "--ref", "demo/other:2", "saved.tar", &name("demo/two:1")]).run().success();
    let all = cli.hoist(["push", "--all", "--to", &name("mirror"), "saved.tar"]).run().success();
    assert_eq!(all.lines().count(), 2, "{all}");
    for pushed in ["demo/one:1", "demo/two:1", "mirror/demo/saved:1", "mirror/demo/other:2"] {
        assert_eq!(cli.hoist(["config", &name(pushed)]).run().success(), config, "{pushed}");
        cli.hoist(["validate", &name(pushed)]).run().success();
    }
}
