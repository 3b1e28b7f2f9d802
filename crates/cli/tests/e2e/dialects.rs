//! Registries that deviate from the specification: what a person sees.

use testkit::{Cli, Dialect, FaultRegistry, HoistServer, Ping, images};

use crate::support::{PASSWORD, USER, refused, serving};

/// A registry with an image in it.
fn speaking(dialect: Dialect) -> (FaultRegistry, String) {
    let registry = FaultRegistry::start();
    registry.put("demo/web", "1.0", &images::single());
    registry.speak(dialect);
    let name = format!("{}/demo/web:1.0", registry.address());
    (registry, name)
}

#[test]
fn copies_go_through() {
    for dialect in [
        Dialect::HeadWithoutDigest,
        Dialect::ManifestHead(404),
        Dialect::ManifestHead(405),
        Dialect::ManifestHead(401),
        Dialect::ManifestHead(429),
        Dialect::ManifestHead(500),
        Dialect::BlobHead(405),
        Dialect::Sessions("{last}?_state=a%2Bb"),
        Dialect::Bare,
        Dialect::Chunked,
        Dialect::ClosesIdle,
        Dialect::ClosesOnRequest,
        Dialect::Mounts(400),
        Dialect::ManifestsAs("application/json"),
        Dialect::GzipEncoding,
    ] {
        let cli = Cli::new();
        let image = images::eight_platforms();
        let (registry, _) = speaking(dialect.clone());
        let [from, to] = ["web:1", "copy:1"].map(|rest| format!("{}/demo/{rest}", registry.address()));
        registry.put("demo/web", "1", &image);
        cli.hoist(["cp", &from, &to]).run().success();
        assert_eq!(registry.manifest("demo/copy", "1"), Some(image.manifest.bytes.to_vec()), "{dialect:?}");
        let digest = cli.hoist(["digest", &to]).run();
        assert_eq!(digest.success().trim_end(), image.manifest.digest, "{dialect:?}");
        // To and from another registry as well.
        let server = HoistServer::start();
        let there = format!("{}/demo/web:1", server.address());
        cli.hoist(["cp", &from, &there]).run().success();
        let back = format!("{}/demo/back:1", registry.address());
        cli.hoist(["cp", &there, &back]).run().success();
        assert_eq!(registry.manifest("demo/back", "1"), Some(image.manifest.bytes.to_vec()), "{dialect:?}");
    }
}

#[test]
fn private_repositories_are_found() {
    let (registry, name) = speaking(Dialect::Hidden(404, Ping::Bearer));
    let cli = Cli::new();
    let text = refused(&cli, &cli.hoist(["manifest", &name]).run(), "NAME_UNKNOWN");
    assert!(text.contains("hint: "), "{text}");
    cli.login(&registry.address(), USER, PASSWORD);
    let digest = cli.hoist(["digest", &name]).run();
    assert_eq!(digest.success().trim_end(), images::single().manifest.digest);
}

#[test]
fn repositories_that_have_to_be_made() {
    let server = serving(&images::single(), "demo/web", "1");
    let from = format!("{}/demo/web:1", server.address());
    let (_registry, to) = speaking(Dialect::NoRepository);
    let cli = Cli::new();
    let text = refused(
        &cli,
        &cli.hoist(["cp", &from, &to]).run(),
        "The repository with name 'demo/web' does not exist",
    );
    assert!(text.contains("hint: ") && text.contains("create it there first"), "{text}");
}

#[test]
fn tags_that_stay() {
    let server = serving(&images::single(), "demo/web", "1");
    let from = format!("{}/demo/web:1", server.address());
    let registry = FaultRegistry::start();
    registry.put("demo/web", "1.0", &images::eight_platforms());
    registry.speak(Dialect::ImmutableTags);
    let cli = Cli::new();
    let to = format!("{}/demo/web:1.0", registry.address());
    refused(&cli, &cli.hoist(["cp", &from, &to]).run(), "TAG_INVALID: The image tag '1.0' already exists");
}

#[test]
fn packages_that_are_missing_or_private() {
    let body = r#"{"errors":[{"code":"DENIED","message":"requested access to the resource is denied"}]}"#;
    let (_registry, name) = speaking(Dialect::Refuses(403, body));
    let cli = Cli::new();
    let text = refused(&cli, &cli.hoist(["manifest", &name]).run(), "DENIED: requested access");
    assert!(text.contains("a private repository that is missing looks the same"), "{text}");
}

#[test]
fn limits() {
    let (_registry, name) = speaking(Dialect::PullLimit(Some("3600")));
    let cli = Cli::new();
    let text = refused(&cli, &cli.hoist(["manifest", &name]).run(), "TOOMANYREQUESTS");
    assert!(text.contains("the limit is 100 requests in 6 h, 0 left"), "{text}");
    assert!(text.contains("the registry asks to wait 60 min"), "{text}");
}
