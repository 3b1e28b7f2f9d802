//! Registries that say no.

use testkit::{Answer, Cli, FaultRegistry, HoistServer, Route, Running, images};

use crate::support::{assert_empty, refused};

/// A registry that answers everything with this, and what to ask it. The requests wait between their attempts where a
/// registry may come to itself: all at once then.
#[track_caller]
fn each_verb_says(status: u16, code: &str, hint: &str) {
    let cli = Cli::new();
    let registry = FaultRegistry::start();
    registry.on(Route::any(), Answer::error(status, code, "that will not do"));
    let server = HoistServer::start();
    let name = format!("{}/demo/web", registry.address());
    let to = format!("{}/demo/web:1", server.address());
    let commands = [
        &["manifest", &name][..],
        &["config", &name],
        &["export", &name, "out.tar"],
        &["ls", &name],
        &["tag", &name, "v2"],
        &["cp", &name, &to],
    ];
    let running: Vec<Running> = commands.iter().map(|arguments| cli.hoist(*arguments).start()).collect();
    let digest = cli.hoist(["digest", &name]).start();
    for running in running {
        let text = refused(&cli, &running.wait(), code);
        assert!(text.contains("that will not do"), "{text}");
        assert!(text.contains(hint), "{text}");
    }
    // The answer to HEAD has no body to name the code.
    let text = refused(&cli, &digest.wait(), "/v2/demo/web/manifests/latest: ");
    assert!(text.contains(&status.to_string()) || text.contains(code), "{text}");
    assert!(text.contains(hint), "{text}");
    assert_empty(&cli.work());
}

#[test]
fn unauthorized() {
    each_verb_says(401, "UNAUTHORIZED", "hint: log in");
}

#[test]
fn denied() {
    each_verb_says(403, "DENIED", "hint: the registry knows who asks");
}

#[test]
fn not_found() {
    each_verb_says(404, "MANIFEST_UNKNOWN", "");
}

#[test]
fn too_many_requests() {
    each_verb_says(429, "TOOMANYREQUESTS", "hint: the registry limits");
}

#[test]
fn broken() {
    each_verb_says(500, "UNKNOWN", "");
}

#[test]
fn a_destination_may_say_no_as_well() {
    let cli = Cli::new();
    let source = HoistServer::start();
    source.push(&images::single(), "demo/web", "1");
    let from = format!("{}/demo/web:1", source.address());
    for (method, path) in [("POST", "/v2/*/blobs/uploads/*"), ("PUT", "/v2/*/manifests/*")] {
        let registry = FaultRegistry::start();
        registry.on(Route::new(method, path), Answer::error(403, "DENIED", "read only"));
        let to = format!("{}/demo/web:1", registry.address());
        let text = refused(&cli, &cli.hoist(["cp", &from, &to]).run(), "DENIED");
        assert!(text.contains("read only"), "{text}");
        assert!(registry.manifest("demo/web", "1").is_none());
    }
}

#[test]
fn what_does_not_exist() {
    let cli = Cli::new();
    let server = HoistServer::start();
    server.push(&images::eight_platforms(), "demo/web", "1");
    let name = |rest: &str| format!("{}/demo/{rest}", server.address());
    let text = refused(&cli, &cli.hoist(["manifest", &name("web:2")]).run(), "MANIFEST_UNKNOWN");
    assert!(text.contains("hint: `hoist ls"), "{text}");
    refused(&cli, &cli.hoist(["digest", &name("web:2")]).run(), "MANIFEST_UNKNOWN");
    refused(&cli, &cli.hoist(["ls", &name("nothing")]).run(), "NAME_UNKNOWN");
    let missing = format!("{}@sha256:{}", name("web"), "0".repeat(64));
    refused(&cli, &cli.hoist(["blob", &missing]).run(), "there is none");
    let platform = cli.hoist(["digest", "--platform", "windows/amd64", &name("web:1")]).run();
    refused(&cli, &platform, "no child with platform windows/amd64 in index");
}
