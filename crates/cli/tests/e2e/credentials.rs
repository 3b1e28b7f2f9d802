//! Credentials are for the registry that they belong to, and for nobody that it points to.

use testkit::images::{self, Blob};
use testkit::{Answer, Authority, Cli, DockerRegistry, FaultRegistry, Network, Route, TokenServer};

use crate::support::{PASSWORD, USER, refused};

/// A registry over https that knows [`USER`] by password, at a public address.
fn asking(authority: &Authority) -> FaultRegistry {
    let registry = FaultRegistry::tls_at(Network::PUBLIC, &authority.server(&[Network::PUBLIC]));
    let challenge =
        Answer::error(401, "UNAUTHORIZED", "log in").header("WWW-Authenticate", "Basic realm=\"x\"");
    registry.on(Route::any().without("authorization"), challenge);
    registry
}

/// Another, which takes whatever comes.
fn other(authority: &Authority) -> FaultRegistry {
    FaultRegistry::tls_at(Network::PUBLIC_TOO, &authority.server(&[Network::PUBLIC_TOO]))
}

fn told_nothing(registry: &FaultRegistry) {
    for request in registry.requests() {
        for secret in ["authorization", "cookie", "x-team-key", "proxy-authorization"] {
            assert!(request.header(secret).is_none(), "{request:?}");
        }
        let all = format!("{request:?}");
        assert!(!all.contains(PASSWORD) && !all.contains("eyJ"), "{all}");
    }
}

/// Docker's configuration with a login, and a header that is sent to registries, and maybe secret.
fn login(cli: &Cli, address: &str) {
    let auth = serde_json::json!({"username": USER, "password": PASSWORD});
    cli.docker_config(
        &serde_json::json!({"auths": {address: auth}, "HttpHeaders": {"X-Team-Key": "t3amkey"}}),
    );
}

fn with_authority(authority: &Authority) -> [String; 2] {
    ["--ca-file".to_owned(), authority.file().display().to_string()]
}

#[test]
fn redirects() {
    Network::inside(|_| {
        let authority = Authority::new();
        let (first, second) = (asking(&authority), other(&authority));
        let blob = Blob::new("", b"content");
        second.put("demo/web", "1", &images::single());
        second.put_blob("demo/web", &blob.digest, b"content");
        for path in [format!("/v2/demo/web/blobs/{}", blob.digest), "/v2/demo/web/manifests/1".to_owned()] {
            first
                .on(Route::new("*", &path), Answer::redirect(&format!("https://{}{path}", second.address())));
        }
        let cli = Cli::new();
        login(&cli, &first.address());
        let name = |rest: &str| format!("{}/demo/web{rest}", first.address());
        let by_digest = name(&format!("@{}", blob.digest));
        let outcome = cli.hoist(["blob", &by_digest]).args(with_authority(&authority)).run();
        assert_eq!(outcome.success(), "content");
        cli.hoist(["manifest", &name(":1")]).args(with_authority(&authority)).run().success();
        // HEAD for the blob's length, and the two GETs.
        assert_eq!(second.requests().len(), 3);
        told_nothing(&second);
        assert!(first.requests().iter().any(|request| request.header("authorization").is_some()));
        assert!(first.requests().iter().all(|request| request.header("x-team-key") == Some("t3amkey")));
    });
}

#[test]
fn uploads() {
    Network::inside(|_| {
        let authority = Authority::new();
        let (first, second) = (asking(&authority), other(&authority));
        let source = FaultRegistry::start();
        source.put("demo/web", "1", &images::single());
        let location = format!("https://{}/upload?signature=s1gnature", second.address());
        first.on(Route::new("POST", "*"), Answer::status(202).header("Location", &location));
        second.on(Route::new("PUT", "/upload"), Answer::status(201));
        second.on(Route::new("PATCH", "/upload"), Answer::status(202).header("Location", &location));
        let cli = Cli::new();
        login(&cli, &first.address());
        let [from, to] = [source.address(), first.address()].map(|address| format!("{address}/demo/web:1"));
        cli.hoist(["cp", &from, &to]).args(with_authority(&authority)).run().success();
        assert!(second.count("PUT", "/upload") > 0);
        told_nothing(&second);
    });
}

#[test]
fn foreign_layers_and_links() {
    Network::inside(|_| {
        let authority = Authority::new();
        let (first, second) = (asking(&authority), other(&authority));
        let cli = Cli::new();
        login(&cli, &first.address());
        let name = |rest: &str| format!("{}/demo/web{rest}", first.address());

        let image = images::single();
        let mut manifest: serde_json::Value = serde_json::from_slice(&image.manifest.bytes).unwrap();
        let layer = &mut manifest["layers"][0];
        let digest = layer["digest"].as_str().unwrap().to_owned();
        layer["urls"] =
            serde_json::json!([format!("https://{}/v2/demo/web/blobs/{digest}", second.address())]);
        for blob in &image.blobs {
            let registry = if blob.digest == digest { &second } else { &first };
            registry.put_blob("demo/web", &blob.digest, &blob.bytes);
        }
        first.put_manifest("demo/web", "1", &image.manifest.media_type, manifest.to_string().as_bytes());
        cli.hoist(["export", &name(":1"), "out.tar"]).args(with_authority(&authority)).run().success();
        assert_eq!(second.requests().len(), 1);
        told_nothing(&second);

        let link = format!("<https://{}/v2/demo/web/tags/list?last=1>; rel=\"next\"", second.address());
        first.on(Route::get("*/tags/list"), Answer::stored().header("Link", &link));
        let outcome = cli.hoist(["ls", &name("")]).args(with_authority(&authority)).run();
        assert!(outcome.failure(1).contains("another host"), "{outcome}");
        assert_eq!(second.requests().len(), 1);
    });
}

#[test]
fn a_realm_gets_them_over_https_only() {
    Network::inside(|_| {
        let authority = Authority::new();
        for secure in [false, true] {
            let certificate = authority.server(&[Network::PUBLIC_TOO]);
            let tokens = if secure {
                TokenServer::tls_at(Network::PUBLIC_TOO, &certificate, USER, PASSWORD)
            } else {
                TokenServer::at(Network::PUBLIC_TOO, USER, PASSWORD)
            };
            let setup = DockerRegistry::setup().at(Network::PUBLIC).tokens(tokens);
            let registry = setup.tls(Authority::new(), &[]).start();
            registry.push(&images::single(), "demo/web", "1");
            let bundle = [&registry.authority().unwrap().file(), &authority.file()]
                .map(|file| std::fs::read_to_string(file).unwrap())
                .concat();
            let cli = Cli::new();
            std::fs::write(cli.work().join("ca.pem"), bundle).unwrap();
            cli.login(registry.address(), USER, PASSWORD);
            let name = format!("{}/demo/web:1", registry.address());
            let outcome = cli.hoist(["digest", &name, "--ca-file", "ca.pem"]).run();
            let asked = registry.tokens().unwrap().requests();
            if secure {
                outcome.success();
                assert_eq!(asked.len(), 1);
            } else {
                refused(&cli, &outcome, "plain http");
                assert!(asked.is_empty(), "{asked:?}");
            }
        }
    });
}

/// A token server that points on: what is secret stays with the realm.
#[test]
fn a_realm_that_redirects() {
    Network::inside(|_| {
        let authority = Authority::new();
        let (realm, second) = (
            FaultRegistry::tls_at(Network::PUBLIC, &authority.server(&[Network::PUBLIC])),
            other(&authority),
        );
        let registry = FaultRegistry::tls_at(Network::PUBLIC, &authority.server(&[Network::PUBLIC]));
        let challenge = format!("Bearer realm=\"https://{}/token\",service=\"x\"", realm.address());
        registry.on(
            Route::any().without("authorization"),
            Answer::error(401, "UNAUTHORIZED", "log in").header("WWW-Authenticate", &challenge),
        );
        registry.put("demo/web", "1", &images::single());
        realm.on(Route::any(), Answer::redirect(&format!("https://{}/token", second.address())));
        second.on(Route::any(), Answer::status(200).body(r#"{"token":"t0ken"}"#));
        let cli = Cli::new();
        login(&cli, &registry.address());
        let name = format!("{}/demo/web:1", registry.address());
        cli.hoist(["digest", &name]).args(with_authority(&authority)).run().success();
        assert_eq!(second.requests().len(), 1);
        told_nothing(&second);
        assert!(realm.requests()[0].header("authorization").is_some());
    });
}

#[test]
fn never_in_the_clear() {
    Network::inside(|_| {
        let registry = DockerRegistry::setup().at(Network::PRIVATE).basic(USER, PASSWORD).start();
        registry.push(&images::single(), "demo/web", "1");
        let relay = testkit::Relay::at(Network::PRIVATE_TOO, registry.address());
        let cli = Cli::new();
        cli.login(&relay.address(), USER, PASSWORD);
        let name = format!("{}/demo/web:1", relay.address());
        // A private address may be http, which is found out; credentials do not go there for all that.
        let outcome = cli.hoist(["digest", &name]).run();
        assert_ne!(outcome.status.code(), Some(0), "{outcome}");
        assert!(relay.requests().iter().all(|request| request.header("authorization").is_none()));
        for flag in ["--plain-http", "--insecure"] {
            cli.hoist(["digest", flag, &name]).run().success();
        }
    });
}
