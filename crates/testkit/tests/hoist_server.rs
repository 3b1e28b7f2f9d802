//! hoist's own server, asked by clients that are no part of hoist.

use testkit::{Cli, HoistServer, images};

#[test]
fn serves_peers_and_keeps_what_it_has() {
    let directory = tempfile::tempdir().unwrap();
    let graph = images::eight_platforms();
    {
        let server = HoistServer::on(directory.path());
        server.push(&graph, "demo/web", "1.0");
        let path = format!("/v2/demo/web/manifests/{}", graph.manifest.digest);
        assert!(server.accesses().iter().any(|access| access.method == "PUT" && access.path == path));
    }
    let server = HoistServer::on(directory.path());
    let [from, to] = ["web:1.0", "copy:1.0"].map(|name| format!("{}/demo/{name}", server.address()));
    let cli = Cli::new();
    cli.peer("crane", ["copy", &from, &to]).run().success();
    assert_eq!(cli.peer("crane", ["digest", &to]).run().success().trim(), graph.manifest.digest);
    assert_eq!(
        cli.peer("oras", ["manifest", "fetch", "--plain-http", &to]).run().success().as_bytes(),
        &*graph.manifest.bytes
    );
}

#[test]
fn leaves_nothing_behind() {
    let server = HoistServer::start();
    let storage = server.storage().to_path_buf();
    assert!(storage.exists());
    assert_eq!(server.client().get("/v2/").status, 200);
    let client = server.client();
    drop(server);
    assert!(!storage.exists());
    client.try_send("GET", "/v2/", &[], &[]).unwrap_err();
}
