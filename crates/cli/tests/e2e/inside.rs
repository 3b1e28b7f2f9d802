//! `files`, `tree`, `cat`, `extract`, `history`, `why`, `toc`: what is in images, and how little moves for it.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use testkit::images::{self, Compression, Entry, Graph, Image, Layer};
use testkit::{Answer, Cli, DockerRegistry, FaultRegistry, Relay, Route};

use crate::edits::on_both;
use crate::support::{assert_empty, noise, refused};

/// An image of three layers: a large one, and small ones that add, overwrite, delete and hide.
fn layered() -> Graph {
    let lower = Layer::new()
        .directory("etc")
        .file("etc/motd", "old\n")
        .file("etc/gone", "gone\n")
        .directory("usr")
        .directory("usr/lib")
        .file("usr/lib/noise", noise(3 << 20))
        .file("usr/lib/text", "text\n")
        .symbolic_link("lib", "usr/lib")
        .directory("opaque")
        .file("opaque/below", "below\n");
    let middle = Layer::new()
        .directory("etc")
        .file("etc/motd", "new\n")
        .file("etc/.wh.gone", "")
        .directory("opaque")
        .file("opaque/.wh..wh..opq", "");
    let upper = Layer::new()
        .directory("app")
        .entry(Entry { mode: 0o4755, content: b"#!/bin/sh\n".to_vec(), ..Entry::at("app/run") })
        .symbolic_link("app/config", "../etc/motd")
        .hard_link("app/again", "app/run");
    Image::new([lower, middle, upper]).platform("linux/amd64").build()
}

/// docker-registry with an image, and a relay before it that counts.
struct Counted {
    cli: Cli,
    relay: Relay,
    registry: DockerRegistry,
}

impl Counted {
    fn new(graph: &Graph) -> Self {
        let registry = DockerRegistry::plain();
        registry.push(graph, "web", "1");
        Self { cli: Cli::new(), relay: Relay::to(registry.address()), registry }
    }

    /// What a verb prints of the image, and what it asked for: how many layers, and how many bytes came.
    fn ask(&self, verb: &str, rest: &[&str]) -> (String, usize, u64) {
        let before = (self.relay.requests().len(), self.relay.bytes_down());
        let name = format!("{}/web:1", self.relay.address());
        let printed = self.cli.hoist([verb, &name].iter().chain(rest)).run().success();
        let requests = self.relay.requests();
        let blobs = requests[before.0..].iter().filter(|request| request.path.contains("/blobs/")).count();
        (printed, blobs, self.relay.bytes_down() - before.1)
    }
}

#[test]
fn a_file_costs_what_it_weighs() {
    let counted = Counted::new(&layered());
    // The newest layer has it: those below are not asked for.
    let (run, blobs, bytes) = counted.ask("cat", &["/app/run"]);
    assert_eq!((&*run, blobs), ("#!/bin/sh\n", 1), "the layer, for its table and for the file");
    assert!(bytes < 10_000, "{bytes}");
    let (run, blobs, _) = counted.ask("cat", &["app/again"]);
    assert_eq!((&*run, blobs), ("#!/bin/sh\n", 1));
    // A link leads into the layer below.
    assert_eq!(counted.ask("cat", &["/app/config"]).0, "new\n");
    // The lowest layer is read once, and then in parts.
    let (text, _, bytes) = counted.ask("cat", &["/lib/text"]);
    assert!(text == "text\n" && bytes > 3 << 20, "{bytes}");
    let (text, blobs, bytes) = counted.ask("cat", &["/usr/lib/text"]);
    assert!(text == "text\n" && blobs == 1 && bytes < 5 << 19, "{blobs} {bytes}");
    let (files, blobs, _) = counted.ask("files", &[]);
    assert_eq!((files.lines().count(), blobs), (12, 0));
    assert_eq!(counted.ask("tree", &["/etc"]).0, "/etc\n└── motd\n");
    assert_eq!(counted.ask("cat", &["--no-cache", "/app/run"]).1, 1);
    assert_eq!(counted.ask("cat", &["--no-cache", "app//./run", "/app/run"]).1, 2, "caught once");
}

#[test]
fn files_are_those_of_an_export() {
    on_both(|cli, registry| {
        let kinds = [
            ("web", images::single()),
            ("eight", images::eight_platforms()),
            ("docker", images::docker_schema2()),
            ("zstd", images::zstd()),
            ("white", images::whiteouts()),
            ("layered", layered()),
        ];
        for (kind, graph) in kinds {
            registry.push(&graph, kind, "1");
            let name = registry.name(&format!("{kind}:1"));
            let files: BTreeSet<String> =
                cli.hoist(["files", &name]).run().success().lines().map(str::to_owned).collect();
            let export = cli.shell(&format!("hoist export {name} - | tar t")).run().success();
            let export: BTreeSet<String> =
                export.lines().map(|line| format!("/{}", line.trim_end_matches('/'))).collect();
            assert_eq!(files, export, "{kind}");
            // Each file, byte for byte.
            cli.shell(&format!("mkdir {kind} && hoist export {name} - | tar x --no-same-owner -C {kind}"))
                .run()
                .success();
            let reference = cli.work().join(kind);
            for path in paths(&reference).into_iter().filter(|path| reference.join(path).is_file()) {
                let cat = cli.hoist(["cat", &name, path.to_str().unwrap()]).run();
                cat.success();
                assert!(cat.stdout == fs::read(reference.join(&path)).unwrap(), "{kind} {}", path.display());
            }
            let taken = format!("{kind}-taken");
            cli.hoist(["extract", &name, "/", &taken]).run().success();
            same(&reference, &cli.work().join(&taken));
        }
        assert_empty(&cli.tmp());
    });
}

/// All paths below a directory.
fn paths(root: &Path) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    let mut rest = vec![root.to_owned()];
    while let Some(directory) = rest.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let entry = entry.unwrap();
            found.insert(entry.path().strip_prefix(root).unwrap().to_owned());
            if entry.file_type().unwrap().is_dir() {
                rest.push(entry.path());
            }
        }
    }
    found
}

#[track_caller]
fn same(one: &Path, other: &Path) {
    assert_eq!(paths(one), paths(other));
    for path in paths(one) {
        let [one, other] = [one.join(&path), other.join(&path)];
        let about = |path: &Path| {
            let metadata = path.symlink_metadata().unwrap();
            let content = if metadata.is_file() { fs::read(path).unwrap() } else { Vec::new() };
            let target = fs::read_link(path).ok();
            let time = metadata.modified().unwrap();
            // Bits that give rights are taken off.
            (metadata.permissions().mode() & 0o777, time, target, content)
        };
        assert!(about(&one) == about(&other), "{}: {:?} {:?}", path.display(), about(&one), about(&other));
    }
}

#[test]
fn layers_tell_what_became_of_them() {
    on_both(|cli, registry| {
        registry.push(&layered(), "web", "1");
        let name = registry.name("web:1");
        let run = |words: &[&str]| cli.hoist(words).run().success();
        let all = run(&["files", &name, "--all", "/etc"]);
        assert_eq!(all, "  /etc\n~ /etc\nx /etc/.wh.gone\n- /etc/gone\n  /etc/motd\n~ /etc/motd\n");
        assert_eq!(
            run(&["files", &name, "--layer", "2"]),
            "  /etc\n  /etc/motd\nx /etc/.wh.gone\n  /opaque\nx /opaque/.wh..wh..opq\n"
        );
        let digest = run(&["manifest", &name, "--jq", ".layers[1].digest"]);
        let digest = digest.trim_end();
        let short = &digest[..20];
        assert_eq!(run(&["files", &name, "--layer", short]), run(&["files", &name, "--layer", "2"]));
        let long = run(&["files", &name, "-l", "/app"]);
        let long: Vec<&str> = long.lines().collect();
        assert!(long[1].starts_with("-rwsr-xr-x") && long[1].ends_with(" 3 /app/again"), "{long:?}");
        assert!(long[2].ends_with("/app/config -> ../etc/motd"), "{long:?}");
        assert!(long[3].ends_with("/app/run = /app/again"), "{long:?}");
        let run_json = run(&["files", &name, "/app/run", "--json"]);
        let json: Value = serde_json::from_str(&run_json).unwrap();
        assert_eq!(
            [&json[0]["path"], &json[0]["type"], &json[0]["mode"], &json[0]["sameAs"]],
            [&Value::from("/app/run"), &"file".into(), &"4755".into(), &"/app/again".into()]
        );

        let why = run(&["why", &name, "/etc/gone", "--jq", ".[] | [.layer, .action] | tojson"]);
        assert_eq!(why, "[1,\"wrote\"]\n[2,\"removed\"]\n");
        let why = run(&["why", &name, "/opaque/below", "--jq", ".[].action"]);
        assert_eq!(why, "wrote\ncleared\n");
        assert!(run(&["why", &name, "/app/config/"]).contains("wrote"), "the link itself");

        let history =
            run(&["history", &name, "--jq", ".[] | [.files, .wasted, .whiteouts, .createdBy] | tojson"]);
        assert_eq!(
            history, "[5,15,0,\"layer 1\"]\n[1,0,2,\"layer 2\"]\n[1,0,0,\"layer 3\"]\n",
            "motd, gone and below are wasted"
        );
        assert!(run(&["history", &name]).lines().count() == 4);
        let toc = run(&["toc", &name, "--jq", ".[] | [.entries, .made] | tojson"]);
        assert_eq!(toc, "[10,false]\n[5,false]\n[4,false]\n");
        assert!(run(&["cache", "ls"]).contains("tables        3"));
        assert_eq!(run(&["cache", "ls", "tables"]).lines().count(), 3);
        run(&["cache", "clear", "tables"]);
        assert!(run(&["toc", &name]).lines().all(|line| line.ends_with("made")));
    });
}

#[test]
fn other_places_and_artifacts() {
    let (cli, registry) = (Cli::new(), DockerRegistry::plain());
    registry.push(&layered(), "web", "1");
    let name = format!("{}/web:1", registry.address());
    for place in ["oci:layout:1", "oci-archive:a.tar:1", "docker-archive:d.tar", "dir:d"] {
        cli.hoist(["cp", "--platform", "linux/amd64", &name, place]).run().success();
        assert_eq!(
            cli.hoist(["cat", place, "/app/config", "/lib/text"]).run().success(),
            "new\ntext\n",
            "{place}"
        );
        assert_eq!(cli.hoist(["files", place]).run().success(), cli.hoist(["files", &name]).run().success());
    }
    // Files of an artifact have titles, and stay compressed.
    let note = r"cd note && printf 'hello\n' > note.txt && gzip -kn note.txt &&
        oras push --plain-http $REG/note:1 note.txt note.txt.gz --artifact-type application/vnd.example.note";
    fs::create_dir(cli.work().join("note")).unwrap();
    let oras = testkit::peers::path("oras");
    let pushed = cli
        .shell(&note.replace("oras push", &format!("{} push", oras.display())))
        .env("REG", registry.address());
    pushed.run().success();
    let note = format!("{}/note:1", registry.address());
    assert_eq!(cli.hoist(["files", &note]).run().success(), "/note.txt\n/note.txt.gz\n");
    assert_eq!(cli.hoist(["cat", &note, "note.txt"]).run().success(), "hello\n");
    let compressed = cli.hoist(["cat", &note, "note.txt.gz"]).run();
    assert_eq!(compressed.stdout, fs::read(cli.work().join("note/note.txt.gz")).unwrap());
    cli.hoist(["extract", &note, "/note.txt", "taken"]).run().success();
    assert_eq!(fs::read_to_string(cli.work().join("taken")).unwrap(), "hello\n");
}

#[test]
fn what_is_wrong_is_never_printed() {
    let registry = FaultRegistry::start();
    let graph = layered();
    registry.put("web", "1", &graph);
    let cli = Cli::new();
    let name = format!("{}/web:1", registry.address());
    let cat = |path: &str| cli.hoist(["cat", &name, path]).run();
    assert_eq!(cat("/usr/lib/text").success(), "text\n");
    // A byte of a part is wrong: all of the layer is read, and says what is.
    registry.on(Route::get("/v2/web/blobs/*").times(1), Answer::stored().corrupt());
    let mended = cat("/usr/lib/text");
    assert_eq!(mended.success(), "text\n");
    assert!(mended.stderr().contains("do not agree; all of it is read"), "{mended}");
    assert_eq!(cat("/usr/lib/text").success(), "text\n");
    // It is wrong in every answer.
    registry.on(Route::get("/v2/web/blobs/*"), Answer::stored().corrupt());
    refused(&cli, &cat("/usr/lib/noise"), "digest mismatch");
    refused(&cli, &cli.hoist(["extract", &name, "/usr/lib/noise", "noise"]).run(), "digest mismatch");
    assert_empty(&cli.work());
}

#[test]
fn a_registry_without_ranges_is_answered() {
    let registry = FaultRegistry::start();
    registry.put("web", "1", &layered());
    registry.on(Route::get("/v2/web/blobs/*"), Answer::stored().ignore_ranges());
    let cli = Cli::new();
    let name = format!("{}/web:1", registry.address());
    for _ in 0..2 {
        assert_eq!(cli.hoist(["cat", &name, "/usr/lib/text"]).run().success(), "text\n");
    }
}

#[test]
fn a_layer_that_is_far_comes_in_parts_side_by_side() {
    let layer = Layer::new().file("noise", noise(6 << 20)).file("text", "text\n");
    let graph = Image::new([layer]).platform("linux/amd64").build();
    let cli = Cli::new();
    let text = |answer: Answer| {
        let registry = FaultRegistry::start();
        registry.put("web", "1", &graph);
        registry.on(Route::get("/v2/web/blobs/*"), answer.delay(Duration::from_millis(60)));
        let name = format!("{}/web:1", registry.address());
        let text = cli.hoist(["cat", "--no-cache", &name, "/text"]).run();
        (text, registry.count("GET", "/v2/web/blobs/*"))
    };
    let (outcome, requests) = text(Answer::stored());
    assert_eq!((outcome.success(), requests), ("text\n".to_owned(), 7));
    let (outcome, requests) = text(Answer::stored().ignore_ranges());
    assert_eq!((outcome.success(), requests), ("text\n".to_owned(), 2), "a part shows that there are none");
    refused(&cli, &text(Answer::stored().corrupt()).0, "digest mismatch");
}

#[test]
fn torn_tables_are_made_again() {
    let counted = Counted::new(&layered());
    counted.ask("toc", &[]);
    let tables = counted.cli.home().join(".cache/hoist/tables");
    for table in fs::read_dir(&tables).unwrap() {
        let path = table.unwrap().path();
        let bytes = fs::read(&path).unwrap();
        fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    }
    let (text, blobs, _) = counted.ask("cat", &["/usr/lib/text"]);
    assert_eq!((&*text, blobs), ("text\n", 3), "three tables, one with the file");
    assert_eq!(counted.ask("cat", &["/usr/lib/text"]).1, 1);
    drop(counted.registry);
}

#[test]
fn a_path_that_leads_nowhere_is_told() {
    let (cli, registry) = (Cli::new(), DockerRegistry::plain());
    registry.push(&layered(), "web", "1");
    registry.push(&hostile(), "hostile", "1");
    let name = format!("{}/web:1", registry.address());
    for (words, cause) in [
        (&["cat", "NAME", "/none"][..], "there is no \"/none\" in the image"),
        (&["cat", "NAME", "/etc/gone"], "there is no \"/etc/gone\""),
        (&["cat", "NAME", "/etc"], "/etc is no file but a directory"),
        (&["cat", "NAME", "/etc/motd/x"], "\"/etc/motd\" is not a directory"),
        (&["files", "NAME", "/none"], "there is no \"/none\" in the image"),
        (&["files", "NAME", "--layer", "4"], "there is no layer 4; the image has 3"),
        (&["files", "NAME", "--layer", "sha256:0"], "there is no layer sha256:0"),
        (&["why", "NAME", "/none"], "no layer has anything to do with /none"),
        (&["extract", "NAME", "/etc", "no/etc"], "there is no directory no"),
        (&["extract", "NAME", "/", "."], "the root has no name"),
        (&["cat", "HOSTILE", "/loop"], "more than 40 symbolic links"),
    ] {
        let hostile = name.replace("web", "hostile");
        let words = words.iter().map(|word| match *word {
            "NAME" => &name,
            "HOSTILE" => &hostile,
            word => word,
        });
        refused(&cli, &cli.hoist(words).run(), cause);
    }
    // Nothing is overwritten, and nothing left.
    fs::write(cli.work().join("there"), "mine").unwrap();
    let taken = cli.hoist(["extract", &name, "/etc/motd", "there"]).run();
    refused(&cli, &taken, "there is there already");
    assert_eq!(paths(&cli.work()).len(), 1);
    // Links that lead out lead nowhere; no terminal does as a name says.
    let hostile = name.replace("web", "hostile");
    cli.hoist(["extract", &hostile, "/", "out"]).run().success();
    assert_eq!(fs::read_link(cli.work().join("out/escape")).unwrap(), Path::new("/tmp"));
    assert!(!cli.work().join("out/escape/planted").exists() && !Path::new("/tmp/planted").exists());
    assert!(cli.hoist(["files", &hostile]).run().success().contains("/name\u{1b}[2J"));
}

/// Links that lead out and round, and a file that would be written through one.
fn hostile() -> Graph {
    let lower = Layer::new().symbolic_link("escape", "/tmp").symbolic_link("loop", "loop").directory("tmp");
    let upper =
        Layer::new().file("escape/planted", "x").file("name\u{1b}[2J", "").compression(Compression::None);
    Image::new([lower, upper]).platform("linux/amd64").build()
}
