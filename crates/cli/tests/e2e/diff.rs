//! `diff`: what is different between two images, and what is downloaded to tell.

use serde_json::Value;
use testkit::images::{Entry, Graph, Image, Layer, index};
use testkit::{Cli, Relay};

use crate::edits::{Registry, on_both};
use crate::support::{assert_empty, refused};

const STATUS: &str = "var/lib/dpkg/status";

fn base() -> Layer {
    Layer::new()
        .directory("etc")
        .file("etc/motd", "welcome\n")
        .file("etc/same", "same\n")
        .directory("var")
        .directory("var/lib")
        .directory("var/lib/dpkg")
        .file(STATUS, status(&[("curl", "7.88"), ("gone", "1")]))
}

fn status(packages: &[(&str, &str)]) -> String {
    let paragraph = |(name, version): &(&str, &str)| {
        format!("Package: {name}\nStatus: install ok installed\nArchitecture: amd64\nVersion: {version}\n\n")
    };
    packages.iter().map(paragraph).collect()
}

/// A layer that is another in each version.
fn top(version: u32) -> Layer {
    Layer::new()
        .directory("app")
        .file("app/version", format!("{version}\n"))
        .file("app/same", "the same in all\n")
        .file(&format!("app/only-{version}"), "x")
}

fn image(layers: impl IntoIterator<Item = Layer>) -> Graph {
    Image::new(layers).build()
}

/// The paths of blobs that were asked for, each as often as it was.
fn blobs(relay: &Relay, seen: usize) -> Vec<String> {
    let requests = relay.requests().split_off(seen);
    let paths = requests.into_iter().map(|request| request.path);
    paths.filter_map(|path| path.split_once("/blobs/").map(|(_, digest)| digest.to_owned())).collect()
}

#[test]
fn of_two_tags_only_the_layer_that_differs_is_fetched() {
    on_both(|cli, registry| {
        let (one, two) = (image([base(), top(1)]), image([base(), top(2)]));
        registry.push(&one, "web", "1");
        registry.push(&two, "web", "2");
        registry.push(&image([base()]), "web", "base");
        let relay = Relay::to(registry.address());
        let name = |tag: &str| format!("{}/demo/web:{tag}", relay.address());
        let [below, old, new] = [&one.blobs[1], &one.blobs[2], &two.blobs[2]].map(|blob| &blob.digest);

        // Neither was known: the layer that both have is not touched.
        let outcome = cli.hoist(["diff", "--files-only", "/", &name("1"), &name("2")]).run();
        // Only A puts this, only B that; what lies below them may have either.
        let text = "? /app/only-1 put by A\n? /app/only-2 put by B\n~ /app/version content\n";
        assert_eq!(outcome.success(), text);
        assert!(outcome.stderr().contains("--complete"), "{outcome}");
        let asked = blobs(&relay, 0);
        assert!(asked.contains(old) && asked.contains(new) && !asked.contains(below), "{asked:?}");

        // Packages are in the layer below, which nothing above touches.
        let outcome = cli.hoist(["diff", &name("1"), &name("2")]).run();
        let text = outcome.success();
        assert!(text.contains("  1 shared, ") && !text.contains("Packages"), "{text}");
        let bytes = two.blobs[2].bytes.len() + two.blobs[0].bytes.len() + two.manifest.bytes.len();
        assert!(text.contains(&format!("downloads {bytes} bytes for B")), "{text}");

        // After the one was looked into, nothing is open, and of the other only its own layer is fetched.
        let third = image([base(), top(3)]);
        registry.push(&third, "web", "3");
        cli.hoist(["diff", "--complete", &name("base"), &name("2")]).run().success();
        let seen = relay.requests().len();
        let outcome = cli.hoist(["diff", "--files-only", "/", &name("2"), &name("3")]).run();
        let text = "- /app/only-2 1 B\n+ /app/only-3 1 B\n~ /app/version content\n";
        assert_eq!(outcome.success(), text);
        assert_eq!(outcome.stderr(), "");
        let asked = blobs(&relay, seen);
        assert!(asked.contains(&third.blobs[2].digest) && !asked.contains(below), "{asked:?}");
        assert_empty(&cli.tmp());
    });
}

#[test]
fn equal_layers_are_not_read() {
    let (cli, registry) = (Cli::new(), Registry::hoist());
    registry.push(&image([base()]), "web", "1");
    registry.push(&Image::new([base()]).entrypoint(&["/run", "\u{1b}[2J"]).build(), "web", "2");
    let relay = Relay::to(registry.address());
    let name = |tag: &str| format!("{}/demo/web:{tag}", relay.address());
    let text = cli.hoist(["diff", &name("1"), &name("2")]).run().success();
    assert!(text.contains(r#"+ entrypoint: ["/run","\u001b[2J"]"#), "{text}");
    assert!(text.contains("1 shared") && !text.contains("Files"), "{text}");
    assert_eq!(blobs(&relay, 0).len(), 2, "the two configurations");
    let seen = relay.requests().len();
    assert_eq!(cli.hoist(["diff", "--exit-code", &name("1"), &name("1")]).run().success(), "");
    assert!(blobs(&relay, seen).is_empty());
}

#[test]
fn what_is_hidden_and_put_over_layers_that_were_not_read() {
    let (cli, registry) = (Cli::new(), Registry::hoist());
    // Without directories of its own, as `append` writes them.
    let above = Layer::new().file("etc/.wh.motd", "").file("etc/new", "n").file("var/lib/.wh..wh..opq", "");
    registry.push(&image([base()]), "web", "1");
    registry.push(&image([base(), above]), "web", "2");
    let [one, two] = ["web:1", "web:2"].map(|name| registry.name(name));
    let diff = |flags: &[&str]| cli.hoist(["diff", &one, &two].iter().chain(flags)).run();
    let open = diff(&["--files-only", "/"]);
    let text = "? /etc/motd hidden by B\n? /etc/new put by B\n? /var/lib/* hidden by B\n";
    assert_eq!(open.success(), text);
    // One that is only written the same would be none: that is found out.
    let known = "- /etc/motd 8 B\n+ /etc/new 1 B\n- /var/lib/dpkg/\n- /var/lib/dpkg/status ";
    let sure = diff(&["--files-only", "/", "--exit-code"]);
    assert_eq!(sure.status.code(), Some(1), "{sure}");
    assert!(sure.stdout().starts_with(known), "{sure}");
    assert_eq!(sure.stderr(), "");
    let packages = diff(&[]).success();
    assert!(packages.ends_with("Packages\n- dpkg curl 7.88\n- dpkg gone 1\n"), "{packages}");
    let only = Cli::new();
    let text = only.hoist(["diff", &one, &two]).run();
    assert!(text.stderr().contains("packages of dpkg were not compared"), "{text}");

    // A layer that puts what is there.
    let same = Layer::new().file("etc/motd", "welcome\n");
    registry.push(&image([base(), same]), "web", "same");
    let same = registry.name("web:same");
    let words = ["diff", "--exit-code", "--files-only", "etc", &one, &same];
    assert_eq!(Cli::new().hoist(words).run().success(), "");
}

#[test]
fn files_packages_and_rights() {
    on_both(|cli, registry| {
        let file = |path: &str, mode: u32, content: &str| Entry {
            mode,
            content: content.as_bytes().to_vec(),
            ..Entry::at(path)
        };
        let capable = |value: &[u8]| Entry {
            attributes: vec![("security.capability".into(), value.to_vec())],
            ..file("bin/ping", 0o755, "p")
        };
        let old = Layer::new()
            .directory("bin")
            .entry(file("bin/su", 0o755, "su"))
            .entry(capable(b"1"))
            .entry(Entry { owner: (1, 2), ..file("bin/own", 0o644, "o") })
            .symbolic_link("bin/sh", "dash")
            .file("bin/kind", "k")
            .file("bin/long", "12")
            .directory("var/lib/dpkg/status.d")
            .file("var/lib/dpkg/status.d/tzdata", status(&[("tzdata", "2024a")]));
        let new = Layer::new()
            .directory("bin")
            .entry(file("bin/su", 0o4755, "su"))
            .entry(capable(b"2"))
            .entry(file("bin/own", 0o644, "o"))
            .symbolic_link("bin/sh", "bash")
            .directory("bin/kind")
            .file("bin/long", "123")
            .directory("var/lib/dpkg/status.d")
            .file("var/lib/dpkg/status.d/tzdata", status(&[("tzdata", "2024b")]))
            .file(STATUS, status(&[("curl", "8.0"), ("new", "2")]))
            .file("lib/apk/db/installed", "P:musl\nV:1.2\n");
        registry.push(&image([base(), old]), "web", "1");
        registry.push(&image([base(), new]), "web", "2");
        let [one, two] = ["web:1", "web:2"].map(|name| registry.name(name));
        let text = cli.hoist(["diff", "--complete", &one, &two]).run().success();
        let (_, files) = text.split_once("\nFiles\n").unwrap();
        let expected = "~ /bin/kind file → directory, mode 0644 → 0755\n\
            ~ /bin/long size 2 → 3, content\n\
            ~ /bin/own owner 1:2 → 0:0\n\
            ~ /bin/ping attributes\n\
            ~ /bin/sh target dash → bash\n\
            ~ /bin/su mode 0755 → 4755\n\
            + /lib/apk/db/installed 13 B\n";
        assert!(files.starts_with(expected), "{files}");
        let (_, rights) = text.split_once("\nRights\n").unwrap();
        let expected = "~ /bin/ping capabilities\n+ /bin/su setuid\n\nPackages\n\
            ~ dpkg curl 7.88 → 8.0\n- dpkg gone 1\n+ dpkg new 2\n~ dpkg tzdata 2024a → 2024b\n+ apk musl 1.2\n";
        assert_eq!(rights, expected);
        let text = cli.hoist(["diff", &one, &two, "/bin/../bin/su"]).run().success();
        assert!(text.contains("\nFiles\n~ /bin/su mode 0755 → 4755\n\nRights\n"), "{text}");

        let words = ["diff", &one, &two, "--json"];
        let json: Value = serde_json::from_str(&cli.hoist(words).run().success()).unwrap();
        assert_eq!((&json["different"], &json["complete"]), (&true.into(), &true.into()));
        let su = json["files"].as_array().unwrap().iter().find(|file| file["path"] == "/bin/su").unwrap();
        assert_eq!(su["rights"][0]["right"], "setuid");
        assert_eq!((&su["old"]["mode"], &su["in"][0]), (&"0755".into(), &"mode".into()));
        assert_eq!(json["layers"]["shared"].as_array().unwrap().len(), 1);
        assert_eq!(json["packages"]["changes"].as_array().unwrap().len(), 5);
        let count = cli.hoist(["diff", &one, &two, "--stat", "--jq", ".files.changed"]).run().success();
        assert_eq!(count, "8\n");
        let stat = cli.hoist(["diff", &one, &two, "--stat"]).run().success();
        assert!(stat.contains("files     1 added, 0 removed, 8 changed\nrights    2 changed\n"), "{stat}");
        assert!(stat.ends_with("packages  2 added, 1 removed, 2 changed\n"), "{stat}");
    });
}

#[test]
fn two_platforms_and_a_layout() {
    on_both(|cli, registry| {
        let of = |platform: &str| Image::new([base(), top(1)]).platform(platform).build();
        let other = Image::new([base(), top(2)]).platform("linux/arm64").build();
        registry.push(&index([of("linux/amd64"), other]), "web", "1");
        let name = registry.name("web:1");
        let text = cli
            .hoist(["diff", &name, &name, "--platform", "linux/amd64", "--platform", "linux/arm64"])
            .run()
            .success();
        assert!(text.contains("~ platform: \"linux/amd64\" → \"linux/arm64\""), "{text}");
        assert!(text.contains("~ /app/version content"), "{text}");
        assert_eq!(cli.hoist(["diff", &name, &name]).run().success(), "");

        // What is on this machine is read there, so that nothing is open.
        cli.hoist(["cp", &name, "oci:copy:1"]).run().success();
        let relay = Relay::to(registry.address());
        let cli_words = [
            "--no-cache",
            "diff",
            "--files-only",
            "/",
            &format!("{}/demo/web:1", relay.address()),
            "oci:copy:1",
        ];
        assert_eq!(cli.hoist(cli_words).run().success(), "");
        registry.push(&image([base(), top(3)]), "web", "3");
        let third = format!("{}/demo/web:3", relay.address());
        let seen = relay.requests().len();
        let text =
            cli.hoist(["--no-cache", "diff", "--files-only", "/", &third, "oci:copy:1"]).run().success();
        assert_eq!(text, "+ /app/only-1 1 B\n- /app/only-3 1 B\n~ /app/version content\n");
        let shared = image([base()]).blobs[1].digest.clone();
        assert!(!blobs(&relay, seen).contains(&shared));
    });
}

#[test]
fn times_and_exit_codes() {
    let (cli, registry) = (Cli::new(), Registry::hoist());
    registry.push(&image([base()]), "web", "1");
    let one = registry.name("web:1");
    for (tag, time) in [("2", "1"), ("3", "2")] {
        std::fs::write(cli.work().join("file"), "content").unwrap();
        let words = ["append", "-b", &one, "--add", "file:/etc/file", "--created"];
        let time = format!("2025-01-01T00:00:0{time}Z");
        let name = registry.name(&format!("web:{tag}"));
        cli.hoist(words.iter().copied().chain([&*time, "-t", &name])).run().success();
    }
    let [two, three] = ["web:2", "web:3"].map(|name| registry.name(name));
    let diff =
        |flags: &[&str]| cli.hoist(["diff", "--files-only", "/", &two, &three].iter().chain(flags)).run();
    let times = diff(&["--exit-code"]);
    assert_eq!(times.failure(1), "");
    assert_eq!(times.stdout(), "~ /etc/file time 2025-01-01T00:00:01Z → 2025-01-01T00:00:02Z\n");
    assert_eq!(diff(&["--exit-code", "--ignore-times"]).success(), "");
    diff(&[]).success();
}

#[test]
fn what_is_not_there() {
    let (cli, registry) = (Cli::new(), Registry::hoist());
    registry.push(&image([base(), top(1)]), "web", "1");
    registry.push(&image([base(), top(2)]), "web", "2");
    let [one, two, none] = ["web:1", "web:2", "web:none"].map(|name| registry.name(name));
    refused(&cli, &cli.hoist(["diff", &one, &none]).run(), "none");
    refused(&cli, &cli.hoist(["diff", &one, &two, "no/such"]).run(), "there is no \"/no\" in the image");
    refused(&cli, &cli.hoist(["diff", &one, "oci:nowhere"]).run(), "nowhere");
    let both = cli.hoist(["diff", &one, &two, "etc", "--files-only", "etc"]).run();
    assert!(both.failure(1).contains("cannot be used with"), "{both}");
}
