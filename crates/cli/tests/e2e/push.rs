//! `push`: whatever an image lies in on this machine, beside crane.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use testkit::images::{self, Graph};
use testkit::{Cli, DockerRegistry, HoistServer};

use crate::crane::both;
use crate::support::{logged, refused};

/// Two images with names in a layout, and one alone.
fn layouts(cli: &Cli) {
    let work = cli.work();
    images::single().write_layout(&work.join("one"), "1");
    images::eight_platforms().write_layout(&work.join("index"), "1");
    images::single().write_layout(&work.join("two"), "registry.example/team/web:1");
    images::docker_schema2().write_layout(&work.join("two"), "v2");
}

fn digest(cli: &Cli, name: &str) -> String {
    cli.hoist(["digest", name]).run().success().trim_end().to_owned()
}

/// Pushes with both programs to places of their own: equal lines, equal digests.
fn pushed_by_both(cli: &Cli, registry: &DockerRegistry, words: &[&str]) -> String {
    let results = ["crane", "hoist"].map(|who| {
        let to = format!("{}/{who}/web:1", registry.address());
        let words: Vec<&str> =
            words.iter().map(|word| if *word == "TO" { to.as_str() } else { word }).collect();
        let outcome =
            if who == "crane" { cli.peer("crane", words).run() } else { cli.hoist_as("crane", words).run() };
        let printed = outcome.success();
        assert_eq!(printed.trim_end().rsplit_once('@').unwrap().1, digest(cli, &to));
        // What was there before they tell differently.
        let mut lines = logged(&outcome.stderr());
        lines.retain(|line| !line.starts_with("existing "));
        lines.sort();
        let neutral: Vec<String> = lines.iter().map(|line| line.replace(who, "WHO")).collect();
        (printed.replace(who, "WHO"), neutral)
    });
    // crane brings layers first and hoist what is largest, but both tell of each once.
    assert_eq!(results[0].0, results[1].0, "{words:?}");
    assert_eq!(results[0].1.len(), results[1].1.len(), "{results:#?}");
    results[1].0.clone()
}

#[test]
fn as_crane_pushes() {
    let (cli, registry) = (Cli::new(), DockerRegistry::plain());
    layouts(&cli);
    registry.push(&images::single(), "demo/web", "1");
    let source = format!("{}/demo/web:1", registry.address());
    cli.peer("crane", ["pull", &source, "web.tar"]).run().success();
    for words in [
        &["push", "web.tar", "TO"][..],
        &["push", "one", "TO"],
        &["push", "index", "TO"],
        &["push", "--index", "index", "TO"],
        &["push", "two", "TO", "--index"],
    ] {
        pushed_by_both(&cli, &registry, words);
    }
    for words in [
        &["push", "two", "TO"][..],
        &["push", "no/such", "TO"],
        &["push", "/etc/hostname", "TO"],
        &["push", "one"],
    ] {
        let to = format!("{}/bad/web:1", registry.address());
        let words: Vec<&str> =
            words.iter().map(|word| if *word == "TO" { to.as_str() } else { word }).collect();
        let [crane, hoist] = both(&cli, &words);
        assert_eq!(crane.status.code(), hoist.status.code(), "{words:?}");
        let words: Vec<&str> = words.clone();
        refused(&cli, &cli.hoist(words).run(), "");
    }
    let several = cli.hoist(["push", "two", &source]).run().failure(1);
    assert!(several.contains("2 entries, consider --index"), "{several}");
    assert!(several.contains("registry.example/team/web:1, v2"), "{several}");
}

#[test]
fn the_file_of_references() {
    let (cli, registry) = (Cli::new(), DockerRegistry::plain());
    layouts(&cli);
    let to = format!("{}/demo/web:1", registry.address());
    for (path, flag) in [("one", "--image-refs=refs"), ("index", "--image-refs=refs"), ("two", "--index")] {
        let words = ["push", path, &to, flag, "--image-refs", "refs"];
        let printed = cli.hoist(words).run().success();
        let file = cli.work().join("refs");
        assert_eq!(fs::read_to_string(&file).unwrap(), printed.trim_end());
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        fs::remove_file(&file).unwrap();
        if flag != "--index" {
            cli.peer("crane", ["push", path, &to, flag]).run().success();
            assert_eq!(fs::read_to_string(&file).unwrap(), printed.trim_end());
        }
    }
}

/// Every form, and always the digest that it had.
#[test]
fn whatever_it_lies_in() {
    let (cli, server) = (Cli::new(), HoistServer::start());
    layouts(&cli);
    let graph: Graph = images::single();
    for line in [
        "hoist cp oci:one:1 oci-archive:a.tar:1",
        "gzip -k a.tar && zstd -q a.tar",
        "hoist cp oci:one:1 docker-archive:d.tar:demo/web:1",
        "hoist cp oci:one:1 dir:folder",
    ] {
        cli.shell(line).run().success();
    }
    let to = |number: usize| format!("{}/demo/web:{number}", server.address());
    let paths = [
        "one",
        "oci:one:1",
        "a.tar",
        "a.tar.gz",
        "a.tar.zst",
        "oci-archive:a.tar:1",
        "d.tar",
        "docker-archive:d.tar:demo/web:1",
        "folder",
        "dir:folder",
    ];
    for (number, path) in paths.into_iter().enumerate() {
        let printed = cli.hoist(["push", path, &to(number)]).run().success();
        assert_eq!(printed, format!("{}/demo/web@{}\n", server.address(), graph.manifest.digest), "{path}");
        assert_eq!(digest(&cli, &to(number)), graph.manifest.digest);
    }
    let piped = cli.shell(&format!("cat a.tar.gz | hoist push - {}", to(99))).run().success();
    assert!(piped.trim_end().ends_with(&graph.manifest.digest), "{piped}");
    // More tags at once.
    cli.hoist(["push", "one", &to(1), "-t", "stable", "--tag", "v1"]).run().success();
    for tag in ["stable", "v1"] {
        assert_eq!(digest(&cli, &format!("{}/demo/web:{tag}", server.address())), graph.manifest.digest);
    }
    let platform = ["--platform", "linux/arm64", "push", "index", &to(50)];
    cli.hoist(platform).run().success();
    assert_eq!(cli.hoist(["config", &to(50), "--jq", ".architecture"]).run().success(), "arm64\n");
}

#[test]
fn one_of_several_and_all_of_them() {
    let (cli, server) = (Cli::new(), HoistServer::start());
    layouts(&cli);
    cli.shell("tar -C two -cf two.tar .").run().success();
    let at = |rest: &str| format!("{}/{rest}", server.address());
    let [single, docker] = [images::single(), images::docker_schema2()].map(|graph| graph.manifest.digest);
    for bundle in ["two", "two.tar"] {
        for (name, expected) in
            [("registry.example/team/web:1", &single), ("v2", &docker), (&*docker.clone(), &docker)]
        {
            let printed = cli.hoist(["push", bundle, &at("a/web:1"), "--ref", name]).run().success();
            assert_eq!(printed, format!("{}@{expected}\n", at("a/web")), "{bundle} {name}");
        }
        let all = cli.hoist(["push", bundle, "--all", "--to", &at(bundle)]).run().success();
        let [web, bare] = [format!("{}/team/web@{single}", at(bundle)), format!("{}@{docker}", at(bundle))];
        assert_eq!(all.lines().collect::<Vec<_>>(), [web.as_str(), bare.as_str()]);
        assert_eq!(digest(&cli, &format!("{}/team/web:1", at(bundle))), single);
        assert_eq!(digest(&cli, &format!("{}:v2", at(bundle))), docker);
    }
    for (words, cause) in [
        (&["push", "two", "--ref", "v3", "TO"][..], "it has no tag v3, but 1, v2"),
        (&["push", "two", "--all"], "--to"),
        (&["push", "two", "--all", "--to", "x", "TO"], "cannot be used with"),
        (&["push", "dir:none", "TO"], "no directory"),
        (&["push", "one", "oci:other:1"], "is not on a registry"),
        (&["push", "one", "TO", "-t", "a b"], "could not parse tag"),
    ] {
        let to = at("a/web:1");
        let words = words.iter().map(|word| if *word == "TO" { to.as_str() } else { word });
        refused(&cli, &cli.hoist(words).run(), cause);
    }
}
