//! `ls`: choosing, sorting and cutting the list.

use std::fs;

use testkit::{Cli, DockerRegistry, HoistServer, images};

use crate::support::{refused, serving};

/// A server with one image under many tags.
fn tagged(tags: impl IntoIterator<Item = String>) -> HoistServer {
    let server = serving(&images::single(), "demo/web", "first");
    // A tag is a file; thousands of requests would only cost time.
    let folder = server.storage().join("repositories/demo/web/_tags");
    for tag in tags {
        fs::copy(folder.join("first"), folder.join(tag)).unwrap();
    }
    fs::remove_file(folder.join("first")).unwrap();
    server
}

#[test]
fn ten_thousand_tags_page_by_page() {
    let server = tagged((0..10_000).map(|number| format!("1.{number}.0")));
    let name = format!("{}/demo/web", server.address());
    let cli = Cli::new();
    let requests = |arguments: &[&str]| {
        let before = server.accesses().len();
        let outcome = cli.hoist(["ls", name.as_str()].into_iter().chain(arguments.iter().copied())).run();
        (outcome.success(), server.accesses().len() - before)
    };
    let (all, pages) = requests(&[]);
    // Behind a full page without a link it is asked for more: some registries have pages, but no links.
    assert_eq!((all.lines().count(), pages), (10_000, 11));
    // No more pages than it takes.
    assert_eq!(requests(&["--limit", "3"]), ("1.0.0\n1.1.0\n1.10.0\n".to_owned(), 1));
    assert_eq!(requests(&["--limit", "1000"]).1, 1);
    assert_eq!(requests(&["--limit", "1001"]).1, 2);
    assert_eq!(requests(&["--filter", "1.2000.*", "--limit", "1"]), ("1.2000.0\n".to_owned(), 2));
    assert_eq!(requests(&["--limit", "1", "--jq", ".tags[]"]), ("1.0.0\n".to_owned(), 1));
    // Whoever wants the last wants all.
    assert_eq!(requests(&["--sort", "-semver", "--limit", "2"]), ("1.9999.0\n1.9998.0\n".to_owned(), 11));
    assert_eq!(requests(&["--sort", "semver", "--semver", "<1.3"]), ("1.0.0\n1.1.0\n1.2.0\n".to_owned(), 11));
}

#[test]
fn choices_combine() {
    let registry = DockerRegistry::plain();
    let graph = images::single();
    let digest_tag = format!("sha256-{}.sig", "0".repeat(64));
    for tag in
        ["latest", "v1.9", "1.10.0", "1.10.0-alpine", "1.10.1-rc.1", "1.9.5", "2.0", "nightly", &digest_tag]
    {
        registry.push(&graph, "demo/web", tag);
    }
    let name = format!("{}/demo/web", registry.address());
    let cli = Cli::new();
    let listed = |arguments: &[&str]| {
        let text =
            cli.hoist(["ls", name.as_str()].into_iter().chain(arguments.iter().copied())).run().success();
        text.lines().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(
        listed(&["-O", "--sort", "semver"]),
        "v1.9 1.9.5 1.10.0-alpine 1.10.0 1.10.1-rc.1 2.0 latest nightly"
    );
    assert_eq!(
        listed(&["-O", "--sort=-semver"]),
        "2.0 1.10.1-rc.1 1.10.0 1.10.0-alpine 1.9.5 v1.9 latest nightly"
    );
    assert_eq!(listed(&["-O", "--sort", "-name", "--limit", "2"]), "v1.9 nightly");
    assert_eq!(listed(&["--semver", ">=1.9, <2", "--sort", "semver"]), "v1.9 1.9.5 1.10.0-alpine 1.10.0");
    assert_eq!(listed(&["--semver", "1.10", "--filter", "*-alpine"]), "1.10.0-alpine");
    assert_eq!(listed(&["--semver", "1", "--filter", "!*-*", "--sort", "-semver", "--limit", "1"]), "1.10.0");
    assert_eq!(listed(&["--filter", "*[0-9]", "--filter", "v*", "--full-ref"]), format!("{name}:v1.9"));
    assert_eq!(listed(&["--filter", "nothing"]), "");
}

#[test]
fn what_is_no_choice_is_told_before_any_request() {
    let server = HoistServer::start();
    let name = format!("{}/demo/web", server.address());
    let cli = Cli::new();
    for (flag, value, cause) in [
        ("--filter", "a[", "'a[' for '--filter <GLOB>': unclosed character class"),
        ("--filter", "{a", "unclosed alternate group"),
        ("--semver", ">=x.y", "'>=x.y' for '--semver <RANGE>'"),
        ("--semver", "latest", "write a range such as '>=1.24, <2' or '1.25'"),
        ("--sort", "size", "'size' for '--sort <ORDER>'"),
        ("--limit", "0", "'0' for '--limit <N>'"),
        ("--limit", "-1", "-1"),
    ] {
        refused(&cli, &cli.hoist(["ls", &name, flag, value]).run(), cause);
    }
    assert!(server.accesses().is_empty());
}
