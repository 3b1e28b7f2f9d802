//! `export`: GNU tar extracts what umoci unpacks.

use std::fs;
use std::time::Duration;

use testkit::images::{self, Compression, Entry, EntryType, Graph, Image, Layer};
use testkit::{Answer, Cli, FaultRegistry, HoistServer, Route};

use crate::support::{as_root, noise, serving};
use crate::tree::{self, Tree};

/// An image with whatever a file system may have; made by GNU tar where that knows more than the tests' own writer.
fn rich(cli: &Cli) -> Graph {
    let long = format!("long/{}/{}", "d".repeat(90), "f".repeat(120));
    let attributes = vec![
        ("user.note".to_owned(), b"v=1\0\xff".to_vec()),
        ("security.capability".to_owned(), capability()),
    ];
    let files = Layer::new()
        .directory("bin")
        .entry(Entry { mode: 0o4755, content: b"setuid".to_vec(), ..Entry::at("bin/setuid") })
        .entry(Entry { mode: 0o2755, owner: (7, 42), content: b"setgid".to_vec(), ..Entry::at("bin/setgid") })
        .entry(Entry { attributes, content: b"attributes".to_vec(), ..Entry::at("bin/ping") })
        .hard_link("bin/link", "bin/setuid")
        .entry(Entry { kind: EntryType::Directory, mode: 0o1777, ..Entry::at("tmp/") })
        .directory("dev")
        .entry(Entry { kind: EntryType::Char, device: (1, 3), mode: 0o666, ..Entry::at("dev/null") })
        .entry(Entry { kind: EntryType::Block, device: (7, 0), mode: 0o660, ..Entry::at("dev/loop0") })
        .entry(Entry { kind: EntryType::Fifo, mode: 0o600, ..Entry::at("dev/pipe") })
        .directory("long")
        .directory(&format!("long/{}", "d".repeat(90)))
        .file(&long, "a long name")
        .symbolic_link("long/link", &long)
        .file("caf\u{e9} \u{1f980}", "not ASCII")
        .file("large", vec![7; 3 << 20])
        .file("empty", "");
    let sparse = Layer::new().garbage(&sparse(cli));
    let above =
        Layer::new().file("bin/.wh.setuid", "").file("empty", "no more").compression(Compression::Zstd);
    Image::new([files, sparse, above]).build()
}

/// `cap_net_raw+ep`, as the kernel keeps it (version 2).
fn capability() -> Vec<u8> {
    let words: [u32; 5] = [0x0200_0001, 1 << 13, 0, 0, 0];
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

/// An archive of GNU tar with a sparse file in it.
fn sparse(cli: &Cli) -> Vec<u8> {
    let make = "mkdir s && printf begin > s/sparse && truncate -s 4M s/sparse && printf end >> s/sparse &&
                tar --create --sparse --format=posix --owner=0 --group=0 --mtime=@1735689600 \
                    --pax-option=delete=atime,delete=ctime -C s sparse";
    let outcome = cli.shell(make).run();
    outcome.success();
    outcome.stdout
}

/// What umoci makes of an image.
fn unpacked(cli: &Cli, graph: &Graph, name: &str) -> Tree {
    let layout = cli.work().join(format!("{name}-layout"));
    graph.write_layout(&layout, "1");
    let bundle = cli.work().join(format!("{name}-bundle"));
    let image = format!("{}:1", layout.display());
    as_root(cli, "umoci", ["unpack", "--image", &image, bundle.to_str().unwrap()]).run().success();
    tree::read(&bundle.join("rootfs"))
}

/// What GNU tar makes of hoist's export.
fn exported(cli: &Cli, server: &HoistServer, name: &str) -> Tree {
    let target = cli.work().join(name);
    fs::create_dir(&target).unwrap();
    let archive = cli.work().join(format!("{name}.tar"));
    let (target, archive) = (target.to_str().unwrap(), archive.to_str().unwrap());
    let quiet = cli.hoist(["export", &format!("{}/demo/web:{name}", server.address()), archive]).run();
    assert_eq!((quiet.success(), quiet.stderr()), (String::new(), String::new()));
    let tar = ["--extract", "--xattrs", "--xattrs-include=*", "--same-permissions", "--same-owner"];
    let outcome = as_root(cli, "tar", tar).arg("--file").arg(archive).arg("--directory").arg(target).run();
    outcome.success();
    assert_eq!(outcome.stderr(), "", "GNU tar has nothing to remark");
    tree::read(target.as_ref())
}

#[test]
fn tar_and_umoci_make_the_same_tree() {
    let cli = Cli::new();
    let server = HoistServer::start();
    for (name, graph) in [("single", images::single()), ("zstd", images::zstd()), ("rich", rich(&cli))] {
        server.push(&graph, "demo/web", name);
        tree::assert_same(&exported(&cli, &server, name), &unpacked(&cli, &graph, name));
    }
}

#[test]
fn whiteouts_as_the_specification_has_them() {
    let cli = Cli::new();
    let server = serving(&images::whiteouts(), "demo/web", "whiteouts");
    let ours = exported(&cli, &server, "whiteouts");
    let paths: Vec<&str> = ours.keys().map(|path| path.to_str().unwrap()).collect();
    assert_eq!(paths, images::WHITEOUTS_LEAVE);
    let work = cli.work().join("whiteouts");
    for (path, content) in [
        ("kept/hard", "content"),
        ("kept/twice", "third"),
        ("kept/soft", "third"),
        ("opaque/above", "before the mark"),
        ("replaced", "again a file"),
    ] {
        assert_eq!(fs::read_to_string(work.join(path)).unwrap(), content, "{path}");
    }
    tree::assert_same(&ours, &unpacked(&cli, &images::whiteouts(), "whiteouts"));
}

#[test]
fn standard_output_and_a_file_are_the_same() {
    let cli = Cli::new();
    let server = serving(&images::eight_platforms(), "demo/web", "1");
    let name = format!("{}/demo/web:1", server.address());
    let piped = cli.hoist(["export", &name]).run();
    assert_eq!(cli.hoist(["export", &name, "-"]).run().success(), piped.success());
    assert_eq!(cli.hoist(["export", &name, "out.tar"]).run().success(), "");
    assert_eq!(fs::read(cli.work().join("out.tar")).unwrap(), piped.stdout);
    let arm = cli.hoist(["export", "--platform=linux/arm64", &name]).run();
    let greeting = b"hello from linux/arm64/v8\n";
    assert!(arm.stdout.windows(greeting.len()).any(|window| window == greeting));
    // Into a device, and over a file that is there.
    cli.hoist(["export", &name, "/dev/null"]).run().success();
    cli.hoist(["export", "--platform=linux/arm64", &name, "out.tar"]).run().success();
    assert_eq!(fs::read(cli.work().join("out.tar")).unwrap(), arm.stdout);
}

/// A registry that takes so long for an answer that a large layer is worth several connections.
#[test]
fn large_layers_from_afar_come_in_parts() {
    let graph =
        Image::new([Layer::new().file("large", noise(7 << 20)), Layer::new().file("small", "x")]).build();
    let near = serving(&graph, "demo/web", "1");
    let cli = Cli::new();
    let expected = cli.hoist(["export", &format!("{}/demo/web:1", near.address())]).run();
    expected.success();

    let far = || {
        let registry = FaultRegistry::start();
        registry.put("demo/web", "1", &graph);
        let name = format!("{}/demo/web:1", registry.address());
        (registry, name)
    };
    let slow = || Answer::stored().delay(Duration::from_millis(80));
    let ranges = |registry: &FaultRegistry| {
        let requests = registry.requests();
        requests
            .iter()
            .filter(|request| request.header("range").is_some_and(|range| range != "bytes=0-"))
            .count()
    };
    let blobs = Route::get("/v2/demo/web/blobs/*");

    let (registry, name) = far();
    registry.on(blobs.clone(), slow());
    assert_eq!(cli.hoist(["export", &name]).run().stdout, expected.stdout);
    assert!(ranges(&registry) >= 7, "{}", ranges(&registry));

    // Not every registry has ranges: that is seen at the first.
    let (registry, name) = far();
    registry.on(blobs.clone(), slow().ignore_ranges());
    assert_eq!(cli.hoist(["export", &name]).run().stdout, expected.stdout);
    assert!(ranges(&registry) <= 2, "{}", ranges(&registry));

    // A part that breaks off is got again, and a wrong byte is found.
    let (registry, name) = far();
    registry.on(blobs.clone().after(3).times(1), slow().cut_after(100_000));
    registry.on(blobs.clone(), slow());
    assert_eq!(cli.hoist(["export", &name]).run().stdout, expected.stdout);
    let (registry, name) = far();
    registry.on(blobs.clone().after(3).times(1), slow().corrupt());
    registry.on(blobs, slow());
    let said = cli.hoist(["export", &name, "out.tar"]).run().failure(1);
    assert!(said.contains("digest"), "{said}");
    assert!(!cli.work().join("out.tar").exists());
}
