//! docker-registry in each of its forms, asked by clients that are no part of hoist.

use std::time::Duration;

use serde_json::Value;
use testkit::{Cli, Client, DockerRegistry, Relay, TokenServer, images};

#[test]
fn plain_takes_every_image_that_it_should() {
    let registry = DockerRegistry::plain();
    for (name, graph) in [
        ("single", images::single()),
        ("eight", images::eight_platforms()),
        ("docker", images::docker_schema2()),
        ("docker-list", images::docker_list()),
        ("zstd", images::zstd()),
        ("artifact", images::artifact()),
        ("nested", images::nested_index()),
        ("whiteouts", images::whiteouts()),
    ] {
        registry.push(&graph, "demo/web", name);
        let accept = [("Accept", graph.manifest.media_type.as_str())];
        let path = format!("/v2/demo/web/manifests/{name}");
        let reply = registry.client("demo/web").send("GET", &path, &accept, &[]);
        assert_eq!(reply.status, 200, "{name}: {}", reply.text());
        assert_eq!(reply.body.as_slice(), &*graph.manifest.bytes, "{name}");
        assert_eq!(reply.header("docker-content-digest"), Some(graph.manifest.digest.as_str()), "{name}");
    }
    assert!(registry.log().contains("PUT /v2/demo/web/manifests/single"), "{}", registry.log());
    assert!(registry.storage().join("docker/registry/v2/repositories/demo/web").is_dir());
}

#[test]
fn plain_deletes() {
    let registry = DockerRegistry::plain();
    let graph = images::single();
    registry.push(&graph, "demo/web", "1.0");
    let path = format!("/v2/demo/web/manifests/{}", graph.manifest.digest);
    assert_eq!(registry.client("demo/web").send("DELETE", &path, &[], &[]).status, 202);
    assert_eq!(registry.client("demo/web").get(&path).status, 404);
}

#[test]
fn basic_lets_in_one_user() {
    let registry = DockerRegistry::basic("porter", "s3cret:with colon");
    registry.push(&images::single(), "demo/web", "1.0");
    let nobody = Client::new(registry.address()).get("/v2/demo/web/tags/list");
    assert_eq!(nobody.status, 401);
    assert_eq!(nobody.header("www-authenticate"), Some(r#"Basic realm="hoist tests""#));
    let wrong = Client::new(registry.address()).authorization(Some("Basic cG9ydGVyOng=".into()));
    assert_eq!(wrong.get("/v2/demo/web/tags/list").status, 401);
    let reply = registry.client("demo/web").get("/v2/demo/web/tags/list");
    assert_eq!((reply.status, reply.text().as_str()), (200, "{\"name\":\"demo/web\",\"tags\":[\"1.0\"]}\n"));
}

#[test]
fn bearer_sends_clients_to_the_token_server() {
    let registry = DockerRegistry::bearer(TokenServer::start("porter", "s3cret").anonymous_pull());
    let tokens = registry.tokens().unwrap();
    registry.push(&images::single(), "demo/web", "1.0");
    let nobody = Client::new(registry.address()).get("/v2/demo/web/tags/list");
    assert_eq!(nobody.status, 401);
    let challenge = tokens.challenge("repository:demo/web:pull");
    assert_eq!(nobody.header("www-authenticate"), Some(challenge.as_str()));

    let ask = |authorization: Option<&str>| {
        let client = Client::new(tokens.realm().trim_start_matches("http://").trim_end_matches("/token"));
        let client = client.authorization(authorization.map(str::to_owned));
        client.get("/token?service=hoist-tests&scope=repository%3Ademo%2Fweb%3Apull%2Cpush")
    };
    assert_eq!(ask(Some("Basic cG9ydGVyOng=")).status, 401);
    for (authorization, upload) in [(None, 401), (Some("Basic cG9ydGVyOnMzY3JldA=="), 202)] {
        let answer: Value = serde_json::from_slice(&ask(authorization).body).unwrap();
        assert_eq!(answer["expires_in"], 300);
        let token = format!("Bearer {}", answer["token"].as_str().unwrap());
        let client = Client::new(registry.address()).authorization(Some(token));
        assert_eq!(client.get("/v2/demo/web/tags/list").status, 200);
        assert_eq!(client.send("POST", "/v2/demo/web/blobs/uploads/", &[], &[]).status, upload);
    }
    assert_eq!(tokens.requests().len(), 3);
    tokens.set_expires_in(Duration::from_secs(7));
    let answer: Value = serde_json::from_slice(&ask(None).body).unwrap();
    assert_eq!(answer["expires_in"], 7);
}

#[test]
fn peers_agree() {
    let (plain, basic) = (DockerRegistry::plain(), DockerRegistry::basic("porter", "s3cret"));
    let bearer = DockerRegistry::bearer(TokenServer::start("porter", "s3cret"));
    let graph = images::eight_platforms();
    plain.push(&graph, "demo/web", "1.0");
    let cli = Cli::new();
    let [from, to] = [plain.address(), basic.address()].map(|address| format!("{address}/demo/web:1.0"));

    cli.peer("crane", ["auth", "login", basic.address(), "-u", "porter", "-p", "s3cret"]).run().success();
    cli.peer("crane", ["copy", &from, &to]).run().success();
    let digest = cli.peer("crane", ["digest", &to]).run().success();
    assert_eq!(digest.trim(), graph.manifest.digest);

    let from = format!("docker://{from}");
    let to = format!("docker://{}/demo/web:1.0", bearer.address());
    let copy = ["--insecure-policy", "copy", "--all", "--preserve-digests", "--src-tls-verify=false"];
    let copy =
        copy.into_iter().chain(["--dest-tls-verify=false", "--dest-creds", "porter:s3cret", &from, &to]);
    cli.peer("skopeo", copy).run().success();
    let inspect = ["inspect", "--raw", "--tls-verify=false", "--creds", "porter:s3cret", &to];
    assert_eq!(cli.peer("skopeo", inspect).run().success().as_bytes(), &*graph.manifest.bytes);

    let oras = ["repo", "tags", "--plain-http", &format!("{}/demo/web", plain.address())];
    assert_eq!(cli.peer("oras", oras).run().success(), "1.0\n");
}

#[test]
fn tls_has_a_certificate_of_its_own_authority() {
    let registry = DockerRegistry::tls();
    registry.push(&images::single(), "demo/web", "1.0");
    let ls = ["ls", &format!("{}/demo/web", registry.address())];
    let cli = Cli::new();
    // Go asks for HTTPS first and, on loopback, falls back to HTTP, which this registry refuses.
    cli.peer("crane", ls).run().failure(1);
    let ca = registry.authority().unwrap().file();
    assert_eq!(cli.peer("crane", ls).env("SSL_CERT_FILE", ca).run().success(), "1.0\n");
}

#[test]
fn a_relay_counts_and_cuts() {
    let registry = DockerRegistry::plain();
    let graph = images::large(1 << 20);
    let relay = Relay::to(registry.address());
    let client = Client::new(&relay.address());
    graph.push(&client, "demo/web", "1.0");
    // Two blobs and a manifest under two names, a connection each.
    let methods: Vec<String> = relay.requests().into_iter().map(|request| request.method).collect();
    assert_eq!(methods, ["POST", "PUT", "POST", "PUT", "PUT", "PUT"]);
    assert_eq!(relay.connections(), 6);
    assert!((1 << 20..(1 << 20) + 8192).contains(&relay.bytes_up()), "{}", relay.bytes_up());
    assert!(relay.bytes_down() < 8192, "{}", relay.bytes_down());

    let path = format!("/v2/demo/web/blobs/{}", graph.blobs[1].digest);
    let before = relay.bytes_down();
    relay.cut_down_after(100_000);
    client.try_send("GET", &path, &[], &[]).unwrap_err();
    assert_eq!(relay.bytes_down() - before, 100_000);
    assert_eq!(client.get(&path).body.as_slice(), &*graph.blobs[1].bytes);
}
