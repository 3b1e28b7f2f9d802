//! What is deleted, where, and what is refused.

use testkit::{Answer, Cli, DockerRegistry, FaultRegistry, HoistServer, Outcome, Route, images};

use crate::support::{PASSWORD, USER, bearer, logged, refused};

/// What of these is there.
fn there(cli: &Cli, names: &[&str]) -> Vec<bool> {
    names.iter().map(|name| cli.hoist(["digest", name]).run().status.success()).collect()
}

#[test]
fn as_crane() {
    let cli = Cli::new();
    let digest = images::single().manifest.digest;
    let ends = |with: &dyn Fn(&[&str]) -> Outcome| {
        // Each has registries of its own.
        let (docker, hoist) = (DockerRegistry::plain(), HoistServer::start());
        let mut ends = Vec::new();
        for address in [docker.address(), hoist.address()] {
            for tag in ["1", "2"] {
                images::single().push(&testkit::Client::new(address), "demo/web", tag);
            }
            let name = |rest: &str| format!("{address}/demo/web{rest}");
            let by_digest = format!("@{digest}");
            for rest in [":1", ":missing", &by_digest, &by_digest, ":2"] {
                let outcome = with(&["delete", &name(rest)]);
                let left = there(&cli, &[&name(":1"), &name(":2"), &name(&by_digest)]);
                ends.push((rest.to_owned(), outcome.status.code(), outcome.stdout(), left));
            }
            let outcome = with(&["delete", address]);
            ends.push((String::new(), outcome.status.code(), outcome.stdout(), Vec::new()));
        }
        ends
    };
    let crane = ends(&|arguments| cli.peer("crane", arguments).run());
    let hoist = ends(&|arguments| cli.hoist_as("crane", arguments).run());
    assert_eq!(crane, hoist);
    assert!(crane.iter().any(|(_, code, _, _)| *code == Some(0)));
}

#[test]
fn a_tag_alone() {
    let cli = Cli::new();
    let server = HoistServer::start();
    let name = |rest: &str| format!("{}/demo/web{rest}", server.address());
    for tag in ["1", "2"] {
        server.push(&images::single(), "demo/web", tag);
    }
    let outcome = cli.hoist(["delete", &name(":1")]).run();
    assert_eq!(outcome.success(), "");
    assert_eq!(logged(&outcome.stderr()), [format!("deleted tag {}; its manifest stays", name(":1"))]);
    assert_eq!(there(&cli, &[&name(":1"), &name(":2")]), [false, true]);
    refused(&cli, &cli.hoist(["delete", &name(":1")]).run(), "MANIFEST_UNKNOWN");
}

#[test]
fn where_digests_alone_are_deleted() {
    let cli = Cli::new();
    let registry = DockerRegistry::plain();
    let name = |rest: &str| format!("{}/demo/web{rest}", registry.address());
    for tag in ["1", "2", "3"] {
        registry.push(&images::single(), "demo/web", tag);
    }
    registry.push(&images::zstd(), "demo/web", "alone");
    registry.push(&images::eight_platforms(), "demo/web", "other");
    let digest = images::single().manifest.digest;
    let by_digest = name(&format!("@{digest}"));

    let text = refused(
        &cli,
        &cli.hoist(["delete", &name(":1")]).run(),
        &format!("refusing to delete {}: 2 tags of the manifest would go along: ", name(":1")),
    );
    assert!(text.contains("hint: this registry deletes by digest only; --force-digest"), "{text}");
    let text =
        refused(&cli, &cli.hoist(["delete", &by_digest]).run(), ": 3 tags of the manifest would go along: ");
    assert!(text.contains("hint: --force-digest"), "{text}");
    refused(&cli, &cli.hoist(["delete", &name(":missing")]).run(), "MANIFEST_UNKNOWN");
    let missing = name(&format!("@sha256:{}", "0".repeat(64)));
    refused(&cli, &cli.hoist(["delete", &missing]).run(), "MANIFEST_UNKNOWN");

    // One tag, and its digest has no other.
    let outcome = cli.hoist(["delete", &name(":alone")]).run();
    assert_eq!(outcome.success(), "");
    let alone = images::zstd().manifest.digest;
    let expected = format!("deleted manifest {}, with its tag alone", name(&format!("@{alone}")));
    assert_eq!(logged(&outcome.stderr()), [expected]);

    let outcome = cli.hoist(["delete", "--force-digest", &name(":2")]).run();
    assert_eq!(outcome.success(), "");
    let told = logged(&outcome.stderr()).pop().unwrap();
    assert!(told.starts_with(&format!("deleted manifest {by_digest}, with its tags ")), "{told}");
    let names = [":1", ":2", ":3", ":alone", ":other"].map(name);
    assert_eq!(there(&cli, &names.each_ref().map(String::as_str)), [false, false, false, false, true]);
}

#[test]
fn refusals_of_the_field() {
    let cli = Cli::new();
    for (status, code) in [(405, "UNSUPPORTED"), (400, "DIGEST_INVALID"), (404, "MANIFEST_UNKNOWN")] {
        let registry = FaultRegistry::start();
        for tag in ["1", "2"] {
            registry.put("demo/web", tag, &images::single());
        }
        registry.put("demo/web", "alone", &images::zstd());
        for tag in ["1", "2", "alone"] {
            let path = format!("/v2/demo/web/manifests/{tag}");
            registry.on(Route::new("DELETE", &path), Answer::error(status, code, "by digest only"));
        }
        let name = |tag: &str| format!("{}/demo/web:{tag}", registry.address());
        let outcome = cli.hoist(["delete", &name("1")]).run();
        refused(&cli, &outcome, ": 1 tag of the manifest would go along: 2");
        assert!(registry.manifest("demo/web", "1").is_some());
        assert_eq!(cli.hoist(["delete", &name("alone")]).run().success(), "");
        assert!(registry.manifest("demo/web", "alone").is_none());
        assert!(registry.manifest("demo/web", "1").is_some());
    }
}

#[test]
fn registries_that_delete_nothing_or_list_nothing() {
    let cli = Cli::new();
    let registry = FaultRegistry::start();
    registry.put("demo/web", "1", &images::single());
    registry.on(Route::new("DELETE", "*").times(2), Answer::error(405, "UNSUPPORTED", "deletion is off"));
    let name = format!("{}/demo/web:1", registry.address());
    refused(&cli, &cli.hoist(["delete", &name]).run(), "UNSUPPORTED: deletion is off");

    registry.on(Route::new("DELETE", "/v2/*/manifests/1"), Answer::error(405, "UNSUPPORTED", "no tags"));
    registry.on(Route::get("/v2/*/tags/list"), Answer::error(403, "DENIED", "not yours"));
    let text = refused(&cli, &cli.hoist(["delete", &name]).run(), "cannot be found out: listing the tags of");
    assert!(text.contains("hint: this registry deletes by digest only; --force-digest"), "{text}");
    assert!(registry.manifest("demo/web", "1").is_some());
    let outcome = cli.hoist(["delete", "--force-digest", &name]).run();
    outcome.success();
    assert!(outcome.stderr().contains(", with whatever tags it had"), "{outcome}");
    assert!(registry.manifest("demo/web", "1").is_none());
}

#[test]
fn tokens_are_for_deleting() {
    let cli = Cli::new();
    let registry = bearer();
    registry.push(&images::single(), "demo/web", "1");
    cli.login(registry.address(), USER, PASSWORD);
    cli.hoist(["delete", &format!("{}/demo/web:1", registry.address())]).run().success();
    let requests = registry.tokens().unwrap().requests();
    assert_eq!(requests.len(), 1);
    assert_eq!(requests[0].parameters("scope"), ["repository:demo/web:delete,pull,push"]);
}
