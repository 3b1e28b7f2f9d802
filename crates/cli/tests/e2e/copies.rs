//! Copies between docker-registry and hoist's own server, both ways, and what peers read of them.

use serde_json::Value;
use testkit::images::{self, Graph};
use testkit::{Cli, Client, DockerRegistry, HoistServer};

use crate::support::{PASSWORD, USER, bearer, kinds};

/// Everything of an image is at a registry, under a tag and all digests, byte for byte.
#[track_caller]
fn assert_holds(client: &Client, repository: &str, tag: &str, graph: &Graph) {
    let accept = "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json, \
                  application/vnd.docker.distribution.manifest.v2+json, \
                  application/vnd.docker.distribution.manifest.list.v2+json";
    let get = |name: &str| {
        client.send("GET", &format!("/v2/{repository}/manifests/{name}"), &[("Accept", accept)], &[])
    };
    assert_eq!(get(tag).body, &*graph.manifest.bytes);
    graph.visit(&mut |graph| {
        let reply = get(&graph.manifest.digest);
        assert_eq!(reply.body, &*graph.manifest.bytes);
        assert_eq!(reply.header("content-type"), Some(graph.manifest.media_type.as_str()));
        for blob in &graph.blobs {
            let reply = client.get(&format!("/v2/{repository}/blobs/{}", blob.digest));
            assert_eq!(reply.body, &*blob.bytes, "{}", blob.digest);
        }
    });
}

/// All kinds of image go from docker-registry to hoist's server, and from there back under another name.
fn there_and_back(docker: &DockerRegistry, cli: &Cli) {
    let hoist = HoistServer::start();
    for (kind, graph) in kinds() {
        docker.push(&graph, "demo/from", kind);
        let from = format!("{}/demo/from:{kind}", docker.address());
        let at_hoist = format!("{}/demo/here:{kind}", hoist.address());
        let back = format!("{}/demo/back:{kind}", docker.address());
        assert_eq!(cli.hoist(["cp", &from, &at_hoist]).run().success(), "");
        assert_eq!(cli.hoist(["cp", &at_hoist, &back]).run().success(), "");
        assert_holds(&hoist.client(), "demo/here", kind, &graph);
        assert_holds(&docker.client("demo/back"), "demo/back", kind, &graph);
        for reference in [&from, &at_hoist, &back] {
            let digest = cli.hoist(["digest", reference]).run().success();
            assert_eq!(digest.trim_end(), graph.manifest.digest);
            assert_eq!(cli.hoist(["manifest", reference]).run().success().as_bytes(), &*graph.manifest.bytes);
        }
    }
}

#[test]
fn plain() {
    there_and_back(&DockerRegistry::plain(), &Cli::new());
}

#[test]
fn basic() {
    let docker = DockerRegistry::basic(USER, PASSWORD);
    let cli = Cli::new();
    cli.login(docker.address(), USER, PASSWORD);
    there_and_back(&docker, &cli);
}

#[test]
fn tokens() {
    let docker = bearer();
    let cli = Cli::new();
    cli.login(docker.address(), USER, PASSWORD);
    there_and_back(&docker, &cli);
}

#[test]
fn certificates() {
    let docker = DockerRegistry::tls();
    docker.push(&images::eight_platforms(), "demo/web", "1");
    let cli = Cli::new();
    let [from, to] = ["web", "copy"].map(|name| format!("{}/demo/{name}:1", docker.address()));
    let unknown = cli.hoist(["cp", &from, &to]).run();
    assert!(unknown.failure(1).contains("ertificate"), "{unknown}");
    let authority = docker.authority().unwrap().file();
    cli.hoist(["cp", &from, &to]).env("SSL_CERT_FILE", &authority).run().success();
    assert_holds(&docker.client("demo/copy"), "demo/copy", "1", &images::eight_platforms());
    cli.hoist(["cp", "--insecure", &from, &to.replace(":1", ":2")]).run().success();
}

#[test]
fn sha512() {
    let server = HoistServer::start();
    let graph = images::sha512();
    server.push(&graph, "demo/web", "1");
    let name = |repository: &str| format!("{}/demo/{repository}", server.address());
    let cli = Cli::new();
    let by_digest = format!("{}@{}", name("web"), graph.manifest.digest);
    cli.hoist(["cp", &by_digest, &format!("{}@{}", name("copy"), graph.manifest.digest)]).run().success();
    let copied = format!("{}@{}", name("copy"), graph.manifest.digest);
    assert_eq!(cli.hoist(["digest", &copied]).run().success().trim_end(), graph.manifest.digest);
    for blob in &graph.blobs {
        assert_eq!(server.client().get(&format!("/v2/demo/copy/blobs/{}", blob.digest)).body, &*blob.bytes);
    }
}

#[test]
fn one_platform() {
    let docker = DockerRegistry::plain();
    let graph = images::eight_platforms();
    docker.push(&graph, "demo/web", "1");
    let [from, to] = ["web", "arm"].map(|name| format!("{}/demo/{name}:1", docker.address()));
    Cli::new().hoist(["cp", "--platform", "linux/arm64", &from, &to]).run().success();
    assert_holds(&docker.client("demo/arm"), "demo/arm", "1", &graph.children[3]);
}

#[test]
fn schema_1_keeps_its_bytes() {
    let server = HoistServer::start();
    server.push(&images::schema1(), "demo/old", "1");
    let [from, to] = ["old", "copy"].map(|name| format!("{}/demo/{name}:1", server.address()));
    let cli = Cli::new();
    let bytes = cli.hoist(["manifest", &from]).run().success();
    assert_eq!(bytes.as_bytes(), &*images::schema1().manifest.bytes);
    let config = cli.hoist(["config", &from]).run();
    assert!(config.failure(1).contains("schema 1"), "{config}");
    cli.hoist(["cp", &from, &to]).run().success();
    assert_eq!(cli.hoist(["manifest", &to]).run().success(), bytes);
}

#[test]
fn skopeo_reads_what_hoist_wrote() {
    let docker = DockerRegistry::plain();
    let hoist = HoistServer::start();
    let cli = Cli::new();
    for (kind, graph) in
        [("eight", images::eight_platforms()), ("docker", images::docker_schema2()), ("zstd", images::zstd())]
    {
        docker.push(&graph, "demo/from", kind);
        let from = format!("{}/demo/from:{kind}", docker.address());
        for address in [docker.address(), hoist.address()] {
            let to = format!("{address}/demo/to:{kind}");
            cli.hoist(["cp", &from, &to]).run().success();
            let read = format!("docker://{to}");
            let raw = cli.peer("skopeo", ["inspect", "--tls-verify=false", "--raw", &read]).run().success();
            assert_eq!(raw.as_bytes(), &*graph.manifest.bytes);
            let seen = cli.peer("skopeo", ["inspect", "--tls-verify=false", &read]).run().success();
            let seen: Value = serde_json::from_str(&seen).unwrap();
            assert_eq!(seen["Digest"], graph.manifest.digest.as_str());
            let layout = cli.work().join(format!("{kind}-{}", address.rsplit(':').next().unwrap()));
            let into = format!("oci:{}:1", layout.display());
            let copy = ["--insecure-policy", "copy", "--all", "--src-tls-verify=false", "--preserve-digests"];
            cli.peer("skopeo", copy).arg(&read).arg(&into).run().success();
            graph.visit(&mut |graph| {
                let path = layout.join("blobs").join(graph.manifest.digest.replace(':', "/"));
                assert_eq!(std::fs::read(path).unwrap(), &*graph.manifest.bytes);
            });
        }
    }
}
