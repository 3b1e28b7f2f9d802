//! `pull`: images in files and layouts, as crane writes them, for docker and for others.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use serde_json::Value;
use testkit::images::{self, Graph, Image, Layer};
use testkit::{Answer, Cli, Docker, DockerRegistry, FaultRegistry, HoistServer, Route};

use crate::crane::assert_equal;
use crate::support::{assert_empty, refused, serving, until};

const BASE: &str = "a layer that images share";

/// An image on a layer that others have too.
fn on_base(content: &str) -> Graph {
    Image::new([Layer::new().file("base", BASE), Layer::new().file("top", content)]).build()
}

/// All that lies in the working directory, hidden files too.
fn names(cli: &Cli) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(cli.work())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn member(cli: &Cli, archive: &str, name: &str) -> Vec<u8> {
    let outcome = cli.peer("tar", ["--to-stdout", "-xf", archive, name]).run();
    outcome.success();
    outcome.stdout
}

fn listed(cli: &Cli, archive: &str) -> String {
    cli.peer("tar", ["--numeric-owner", "-tvf", archive]).run().success()
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// The names of a layout's entries.
fn entries(cli: &Cli, layout: &str) -> Vec<(String, String)> {
    let index = json(&cli.work().join(layout).join("index.json"));
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let one = |entry: &Value| {
        (text(&entry["annotations"]["org.opencontainers.image.ref.name"]), text(&entry["digest"]))
    };
    index["manifests"].as_array().unwrap().iter().map(one).collect()
}

fn digest(cli: &Cli, name: &str) -> String {
    cli.hoist(["digest", name]).run().success().trim_end().to_owned()
}

/// The same files in the same order, and the same list, whatever kind of image it is and whichever platform.
#[test]
fn tarballs_are_those_of_crane() {
    let docker = DockerRegistry::plain();
    let hoist = HoistServer::start();
    let cli = Cli::new();
    let kinds = [
        ("single", images::single()),
        ("eight", images::eight_platforms()),
        ("docker", images::docker_schema2()),
        ("docker-list", images::docker_list()),
        ("zstd", images::zstd()),
    ];
    for (kind, graph) in &kinds {
        docker.push(graph, "demo/web", kind);
        hoist.push(graph, "demo/web", kind);
    }
    docker.push(&images::single(), "demo/web", "latest");
    let by_digest = format!("demo/web@{}", images::single().manifest.digest);
    let by_both = format!("demo/web:single@{}", images::single().manifest.digest);
    for address in [docker.address(), hoist.address()] {
        for (number, arguments) in [
            &["demo/web:single"][..],
            &["demo/web:eight"],
            &["demo/web:eight", "--platform", "linux/arm64"],
            &["demo/web:docker"],
            &["demo/web:docker-list"],
            &["demo/web:zstd"],
            &["demo/web"],
            &[&by_digest],
            &[&by_both],
        ]
        .iter()
        .enumerate()
        {
            if arguments == &["demo/web"] && address == hoist.address() {
                continue;
            }
            let name = format!("{address}/{}", arguments[0]);
            for (program, file) in [("crane", "crane.tar"), ("hoist", "hoist.tar")] {
                let all = ["pull", &name, file].into_iter().chain(arguments[1..].iter().copied());
                let outcome = match program {
                    "crane" => cli.peer("crane", all).run(),
                    _ => cli.hoist(all).run(),
                };
                assert_eq!(outcome.success(), "", "{outcome}");
            }
            assert_eq!(listed(&cli, "crane.tar"), listed(&cli, "hoist.tar"), "{arguments:?}");
            let list = |file: &str| String::from_utf8(member(&cli, file, "manifest.json")).unwrap();
            assert_eq!(list("crane.tar"), list("hoist.tar"), "{arguments:?}");
            if number >= 7 {
                assert!(list("hoist.tar").contains(r#"demo/web:i-was-a-digest""#), "{}", list("hoist.tar"));
            }
            // To a pipe it is the same archive.
            let line = format!("hoist pull {name} - {} > piped.tar", arguments[1..].join(" "));
            assert_eq!(cli.shell(&line).run().success(), "");
            let read = |file: &str| fs::read(cli.work().join(file)).unwrap();
            assert!(read("piped.tar") == read("hoist.tar"), "{arguments:?}");
            // Each pushes what the other pulled.
            for (file, program) in [("crane.tar", "hoist"), ("hoist.tar", "crane"), ("hoist.tar", "hoist")] {
                let to = format!("{address}/demo/pushed:{program}");
                let outcome = match program {
                    "crane" => cli.peer("crane", ["push", file, &to]).run(),
                    _ => cli.hoist(["push", file, &to]).run(),
                };
                let pushed = outcome.success();
                let own = ["digest", "--tarball", file];
                // zstd's layers are called what they are, which crane does not do.
                let theirs = match (program, arguments[0]) {
                    ("hoist", "demo/web:zstd") => cli.hoist(own).run().success(),
                    _ => cli.peer("crane", own).run().success(),
                };
                assert_eq!(pushed, format!("{address}/demo/pushed@{theirs}"), "{arguments:?} {file}");
            }
        }
    }
    assert_eq!(names(&cli), ["crane.tar", "hoist.tar", "piped.tar"]);
}

#[test]
fn results_and_errors_are_those_of_crane() {
    let (cli, server) = (Cli::new(), serving(&images::eight_platforms(), "demo/web", "1"));
    let name = format!("{}/demo/web:1", server.address());
    for arguments in [
        &["pull", &name, "one.tar"][..],
        &["pull", "--format", "tarball", &name, "one.tar"],
        &["pull", "--format=legacy", &name, "legacy.tar"],
        &["pull", "--format=oci", &name, "layout"],
        &["pull", "-c", "cache", &name, "one.tar"],
        &["pull", "--cache_path", "cache", &name, "one.tar"],
        &["pull", "--format", "zip", &name, "one.zip"],
        &["pull", "--platform", "linux/riscv64", &name, "none.tar"],
        &["pull", "--platform", "linux/riscv64", "--format", "oci", &name, "none"],
        &["pull", &format!("{name}x"), "none.tar"],
        &["pull", &name, "no/such/directory.tar"],
        &["pull", &name],
        &["pull"],
    ] {
        assert_equal(&cli, arguments);
    }
    let outcome = cli.hoist(["pull", "--format", "zip", &name, "one.zip"]).run();
    let error = refused(&cli, &outcome, "zip");
    assert!(["tarball", "legacy", "oci"].iter().all(|format| error.contains(format)), "{error}");
    refused(&cli, &cli.hoist(["pull", &name, "no/such/directory.tar"]).run(), "no/such");
    for format in ["tarball", "legacy"] {
        let arguments = ["pull", "--platform", "linux/riscv64", "--format", format, &name, "none.tar"];
        refused(&cli, &cli.hoist(arguments).run(), "linux/riscv64");
        refused(&cli, &cli.hoist(["pull", "--format", format, &name, "no/such/x.tar"]).run(), "no/such");
        refused(&cli, &cli.hoist(["pull", "--format", format, &name, "cache"]).run(), "cache");
    }
    cli.hoist(["pull", &format!("docker://{name}"), "one.tar"]).run().success();
    let list = String::from_utf8(member(&cli, "one.tar", "manifest.json")).unwrap();
    assert!(list.contains(&format!(r#""RepoTags":["{name}"]"#)), "{list}");
    let outcome = cli.hoist(["pull", "oci:layout", "none.tar"]).run();
    refused(&cli, &outcome, "oci:layout is not on a registry");
    assert!(!names(&cli).iter().any(|name| name.starts_with('.') || name.starts_with("none")));
}

/// In one file, with what they share once.
#[test]
fn several_images() {
    let (cli, server) = (Cli::new(), HoistServer::start());
    let graphs = [on_base("one"), on_base("two")];
    for (tag, graph) in ["1", "2"].iter().zip(&graphs) {
        server.push(graph, "demo/web", tag);
    }
    server.push(&graphs[0], "demo/web", "again");
    let [one, two, again] = ["1", "2", "again"].map(|tag| format!("{}/demo/web:{tag}", server.address()));
    for format in ["tarball", "legacy"] {
        cli.hoist(["pull", "--format", format, &one, &two, "both.tar"]).run().success();
        let list: Value = serde_json::from_slice(&member(&cli, "both.tar", "manifest.json")).unwrap();
        let layers = |number: usize| list[number]["Layers"].as_array().unwrap().clone();
        assert_eq!(
            (&list[0]["RepoTags"][0], &list[1]["RepoTags"][0]),
            (&one.as_str().into(), &two.as_str().into())
        );
        assert_eq!(layers(0)[0], layers(1)[0], "{format}");
        assert_ne!(layers(0)[1], layers(1)[1], "{format}");
        let entries = listed(&cli, "both.tar");
        assert_eq!(entries.matches(layers(0)[0].as_str().unwrap()).count(), 1, "{entries}");
        for (name, graph) in [&one, &two].into_iter().zip(&graphs) {
            let config = cli.hoist(["config", &format!("docker-archive:both.tar:{name}")]).run().success();
            assert_eq!(config.as_bytes(), &*graph.blobs[0].bytes);
            let pushed = cli.hoist([
                "push",
                "--ref",
                name,
                "both.tar",
                &format!("{}/demo/pushed:{format}", server.address()),
            ]);
            assert!(pushed.run().success().contains("/demo/pushed@sha256:"));
        }
    }
    // One image with two names is one entry with both.
    let name = |tag: &str| format!("{}/demo/web:{tag}", server.address());
    for (program, file) in [("crane", "crane.tar"), ("hoist", "hoist.tar")] {
        let arguments = ["pull", &name("1"), &name("2"), file];
        match program {
            "crane" => cli.peer("crane", arguments).run().success(),
            _ => cli.hoist(arguments).run().success(),
        };
    }
    let sorted = |file: &str| {
        let mut lines: Vec<String> = listed(&cli, file).lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    assert_eq!(sorted("crane.tar"), sorted("hoist.tar"));
    for format in ["tarball", "legacy"] {
        cli.hoist(["pull", "--format", format, &one, &again, "twice.tar"]).run().success();
        let skopeo = |name: &str| {
            cli.peer("skopeo", ["inspect", "--config", "--raw", &format!("docker-archive:twice.tar:{name}")])
                .run()
                .success()
        };
        assert_eq!(
            (skopeo(&one).as_bytes(), skopeo(&again).as_bytes()),
            (&*graphs[0].blobs[0].bytes, &*graphs[0].blobs[0].bytes)
        );
    }
}

/// Layers that are not to be distributed are in the file all the same, and the list says what they are.
#[test]
fn foreign_layers() {
    let (cli, server) = (Cli::new(), HoistServer::start());
    let graph = images::docker_schema2();
    let mut manifest = graph.json();
    let layer = &mut manifest["layers"][0];
    layer["mediaType"] = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip".into();
    layer["urls"] = serde_json::json!(["https://registry.invalid/a", "https://registry.invalid/b"]);
    server.push(&Graph::leaf(&manifest, graph.blobs.clone()), "demo/web", "1");
    let name = format!("{}/demo/web:1", server.address());
    cli.peer("crane", ["pull", &name, "crane.tar"]).run().success();
    cli.hoist(["pull", &name, "hoist.tar"]).run().success();
    let list = |file: &str| String::from_utf8(member(&cli, file, "manifest.json")).unwrap();
    assert!(list("hoist.tar").contains(r#""LayerSources":{"sha256:"#), "{}", list("hoist.tar"));
    assert_eq!(list("crane.tar"), list("hoist.tar"));
    assert_eq!(listed(&cli, "crane.tar"), listed(&cli, "hoist.tar"));
}

#[test]
fn layouts() {
    let (cli, server) = (Cli::new(), DockerRegistry::plain());
    let (old, new) = (images::eight_platforms(), images::nested_index());
    server.push(&old, "demo/web", "1");
    server.push(&images::single(), "demo/web", "2");
    let [one, two] = ["1", "2"].map(|tag| format!("{}/demo/web:{tag}", server.address()));
    let pull =
        |arguments: &[&str]| cli.hoist(["pull", "--format", "oci"].iter().chain(arguments)).run().success();
    // All platforms, or one.
    pull(&[&one, "layout"]);
    assert_eq!(entries(&cli, "layout"), [(one.clone(), old.manifest.digest.clone())]);
    cli.hoist(["validate", "oci:layout"]).run().success();
    pull(&["--platform", "linux/arm64", &one, "arm"]);
    let arm = cli.hoist(["digest", "--platform", "linux/arm64", &one]).run().success();
    assert_eq!(entries(&cli, "arm"), [(one.clone(), arm.trim_end().to_owned())]);
    // Its names are those of crane, which writes them with --annotate-ref.
    cli.peer("crane", ["pull", "--format", "oci", "--annotate-ref", &one, "theirs"]).run().success();
    assert_eq!(entries(&cli, "theirs"), entries(&cli, "layout"));
    let annotated = ["pull", "--format", "oci", "--annotate-ref", &one, "annotated"];
    cli.hoist_as("crane", annotated).run().success();
    assert_eq!(entries(&cli, "theirs"), entries(&cli, "annotated"));
    cli.hoist_as("crane", ["pull", "--format", "oci", &one, "plain"]).run().success();
    cli.peer("crane", ["pull", "--format", "oci", &one, "plain-theirs"]).run().success();
    assert_eq!(entries(&cli, "plain"), entries(&cli, "plain-theirs"));
    cli.hoist_as("crane", ["pull", "--format", "oci", &one, "plain"]).run().success();
    assert_eq!(entries(&cli, "plain").len(), 1, "crane would write a second one");
    // A name stands for one image: that which was pulled last.
    server.push(&new, "demo/web", "1");
    pull(&[&one, &two, "layout"]);
    pull(&[&two, "layout"]);
    let two_digest = images::single().manifest.digest;
    let mut found = entries(&cli, "layout");
    found.sort();
    assert_eq!(found, [(one.clone(), new.manifest.digest.clone()), (two.clone(), two_digest)]);
    // crane pushes what hoist pulled, and the other way round; all digests stay.
    pull(&[&one, "pushed"]);
    for program in ["crane", "hoist"] {
        let to = format!("{}/demo/pushed:{program}", server.address());
        match program {
            "crane" => cli.peer("crane", ["push", "pushed", &to]).run().success(),
            _ => cli.hoist(["push", "pushed", &to]).run().success(),
        };
        assert_eq!(digest(&cli, &to), new.manifest.digest);
    }
    let to = format!("{}/demo/pushed:theirs", server.address());
    cli.hoist(["push", "theirs", &to]).run().success();
    assert_eq!(digest(&cli, &to), old.manifest.digest);
}

/// A layout takes what docker does not load too.
#[test]
fn artifacts() {
    let (cli, server) = (Cli::new(), serving(&images::artifact(), "demo/web", "artifact"));
    server.push(&images::nested_index(), "demo/web", "nested");
    let name = |tag: &str| format!("{}/demo/web:{tag}", server.address());
    for kind in ["artifact", "nested"] {
        cli.hoist(["pull", "--format", "oci", &name(kind), kind]).run().success();
        cli.hoist(["validate", &format!("oci:{kind}")]).run().success();
    }
    assert_eq!(names(&cli), ["artifact", "nested"]);
}

/// What fails, or is killed, leaves what had the name before.
#[test]
fn nothing_half_written() {
    let cli = Cli::new();
    let graph = images::large(4 << 20);
    let layer = &graph.blobs[1].digest;
    let path = format!("/v2/demo/web/blobs/{layer}");
    let answering = |answer: Answer| {
        let registry = FaultRegistry::start();
        registry.put("demo/web", "1", &graph);
        registry.on(Route::get(&path), answer);
        let name = format!("{}/demo/web:1", registry.address());
        (registry, name)
    };
    let there = cli.work().join("there.tar");
    fs::write(&there, "mine").unwrap();
    fs::set_permissions(&there, fs::Permissions::from_mode(0o640)).unwrap();
    for format in ["tarball", "legacy"] {
        for answer in [Answer::status(404), Answer::stored().corrupt()] {
            let (_registry, name) = answering(answer);
            for file in ["there.tar", "new.tar"] {
                refused(&cli, &cli.hoist(["pull", "--format", format, &name, file]).run(), layer);
                assert_eq!(names(&cli), ["there.tar"], "{format}");
            }
            let line = format!("hoist pull --format {format} {name} - | tar t");
            assert!(!cli.shell(&line).run().status.success(), "{format}");
        }
        let (registry, name) = answering(Answer::stored().silent_after(300_000));
        for file in ["there.tar", "new.tar"] {
            let before = registry.count("GET", &path);
            let running = cli.hoist(["pull", "--format", format, &name, file]).start();
            until("the layer is on its way", || registry.count("GET", &path) > before);
            running.interrupt();
            running.wait().failure(130);
            assert_eq!(names(&cli), ["there.tar"], "{format}");
            assert_empty(&cli.tmp());
        }
        let before = registry.count("GET", &path);
        let running = cli.hoist(["pull", "--format", format, &name, "there.tar"]).start();
        until("the layer is on its way", || registry.count("GET", &path) > before);
        // As by kill -9.
        drop(running);
        assert_eq!(fs::read(&there).unwrap(), b"mine");
        let (_registry, name) = answering(Answer::stored());
        cli.hoist(["pull", "--format", format, &name, "there.tar"]).run().success();
        assert_eq!(fs::metadata(&there).unwrap().permissions().mode() & 0o777, 0o640);
        cli.peer("skopeo", ["inspect", "docker-archive:there.tar"]).run().success();
        fs::write(&there, "mine").unwrap();
        // A tarball that was killed leaves what the next one takes over; a legacy one what is its own.
        for left in names(&cli).iter().filter(|name| *name != "there.tar") {
            assert!(format == "legacy" && left.starts_with(".hoist-"), "{format}: {left}");
            fs::remove_file(cli.work().join(left)).unwrap();
        }
    }
}

/// Called as crane calls its flag, and as hoist does: a second pull asks for no blob.
#[test]
fn with_a_cache() {
    let (cli, server) = (Cli::new(), serving(&images::eight_platforms(), "demo/web", "1"));
    let name = format!("{}/demo/web:1", server.address());
    for (flag, directory) in [("-c", "a"), ("--cache_path", "b"), ("--cache", "c")] {
        for format in ["tarball", "legacy", "oci"] {
            let pull = |number: u8| {
                let before = server.accesses().len();
                cli.hoist([
                    "pull",
                    flag,
                    directory,
                    "--format",
                    format,
                    &name,
                    &format!("{format}.{number}"),
                ])
                .run()
                .success();
                let accesses = server.accesses();
                accesses[before..].iter().filter(|access| access.path.contains("/blobs/")).count()
            };
            pull(1);
            assert_eq!(pull(2), 0, "{flag} {format}");
            let line = format!("diff -r {format}.1 {format}.2 && rm -r {format}.*");
            cli.shell(&line).run().success();
        }
    }
}

/// Layers go to standard output as the manifest has them, and not the largest first.
#[test]
fn streams_keep_the_order_of_layers() {
    let (cli, server) = (Cli::new(), HoistServer::start());
    let noise = |length: usize| {
        (0..length as u64).map(|at| (at.wrapping_mul(at) >> 3).to_le_bytes()[0]).collect::<Vec<u8>>()
    };
    let layers = [10, 300_000, 5000, 70_000].map(|length| Layer::new().file("file", noise(length)));
    server.push(&Image::new(layers).build(), "demo/web", "1");
    let name = format!("{}/demo/web:1", server.address());
    cli.peer("crane", ["pull", &name, "crane.tar"]).run().success();
    cli.shell(&format!("hoist pull {name} - > hoist.tar")).run().success();
    assert_eq!(listed(&cli, "crane.tar"), listed(&cli, "hoist.tar"));
    cli.shell(&format!("hoist cp {name} oci-archive:- > layout.tar")).run().success();
    cli.hoist(["validate", "oci-archive:layout.tar"]).run().success();
    // Whoever has seen enough hears no complaint.
    let seen = cli.shell(&format!(
        "hoist pull {name} - 2> said | head -c 600 > /dev/null; echo ${{PIPESTATUS[0]}}; cat said"
    ));
    assert_eq!(seen.run().stdout(), "0\n");
}

/// The real docker loads and runs both kinds of archives.
#[test]
fn docker_loads_what_was_pulled() {
    let (cli, docker, server) = (Cli::new(), Docker::start(), HoistServer::start());
    let hoist = cli.shell("realpath \"$(command -v hoist)\"").run().success();
    let program = fs::read(hoist.trim_end()).unwrap();
    server.push(&images::runnable(program, &["version"]), "demo/runs", "1");
    let version = cli.hoist(["version"]).run().success();
    let name = format!("{}/demo/runs:1", server.address());
    for format in ["tarball", "legacy"] {
        cli.hoist(["pull", "--format", format, &name, "pulled.tar"]).run().success();
        let path = cli.work().join("pulled.tar");
        let loaded = docker.docker(["load", "--input", path.to_str().unwrap()]).run().success();
        assert!(loaded.contains(&name), "{format}: {loaded}");
        assert_eq!(
            docker.docker(["run", "--rm", "--network", "none", &name]).run().success(),
            version,
            "{format}"
        );
        docker.docker(["rmi", "--force", &name]).run().success();
    }
}
