use oci::Algorithm;
use server::{Server, Storage};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::runtime::Runtime;

use crate::client::{Client, Registry};

#[tokio::test]
async fn everything_outlives_the_server() {
    let registry = Registry::start().await;
    let digest = registry.push_image("a/b", "v1", "layer").await;
    let location = registry.begin("a/b").await;
    registry.send("PATCH", &location, &[], "first ").await;
    let registry = Registry::start_in(registry.stop().await).await;
    let manifest = registry.get("/v2/a/b/manifests/v1").await;
    assert_eq!(manifest.header("docker-content-digest"), digest.to_string());
    assert_eq!(registry.get("/v2/_catalog").await.list("repositories"), ["a/b"]);
    let layer = Algorithm::Sha256.digest(b"layer");
    assert_eq!(registry.get(&format!("/v2/a/b/blobs/{layer}")).await.body, "layer");
    assert_eq!(registry.get(&location).await.header("range"), "0-5");
    let patched = registry.send("PATCH", &location, &[("content-range", "6-12")], "second ").await;
    assert_eq!(patched.status, 202);
    let registry = Registry::start_in(registry.stop().await).await;
    let content = Algorithm::Sha512.digest(b"first second third");
    let end = format!("{location}?digest={content}");
    assert_eq!(registry.send("PUT", &end, &[("content-range", "13-17")], "third").await.status, 201);
    assert_eq!(registry.get(&format!("/v2/a/b/blobs/{content}")).await.body, "first second third");
}

/// Runs a server without asking it to end: dropping the runtime cuts it off wherever it is.
fn killable(directory: &std::path::Path) -> (Runtime, std::net::SocketAddr) {
    let runtime = Runtime::new().unwrap();
    let storage = Storage::open(directory).unwrap();
    let server = runtime.block_on(Server::bind("127.0.0.1:0".parse().unwrap(), storage)).unwrap();
    let address = server.local_addr();
    runtime.spawn(server.serve(std::future::pending()));
    (runtime, address)
}

#[test]
fn a_server_killed_in_the_middle_of_a_body() {
    let directory = tempfile::tempdir().unwrap();
    let clients = Runtime::new().unwrap();
    let content = vec![b'x'; 4_000_000];
    let (first, address) = killable(directory.path());
    let location = clients.block_on(async {
        let mut client = Client::connect(address).await;
        let begun = client.send("POST", "/v2/a/blobs/uploads/", &[], "").await;
        let location = begun.header("location").to_owned();
        let acknowledged = client.send("PATCH", &location, &[], content[..1000].to_vec()).await;
        assert_eq!(acknowledged.status, 202);
        let mut stream = TcpStream::connect(address).await.unwrap();
        let head = format!("PATCH {location} HTTP/1.1\r\nhost: x\r\ncontent-length: 9000000\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(&content[1000..3_000_000]).await.unwrap();
        // Some of it is on the disk, which the session's status shows while the request goes on.
        while client.send("GET", &location, &[], "").await.header("range") == "0-999" {
            tokio::task::yield_now().await;
        }
        location
    });
    drop(first);
    let (second, address) = killable(directory.path());
    clients.block_on(async {
        let mut client = Client::connect(address).await;
        let status = client.send("GET", &location, &[], "").await;
        let length: usize = status.header("range")[2..].parse::<usize>().unwrap() + 1;
        assert!((1001..=3_000_000).contains(&length), "{length}");
        let digest = Algorithm::Sha256.digest(&content);
        let range = format!("{length}-{}", content.len() - 1);
        let path = format!("{location}?digest={digest}");
        let put =
            client.send("PUT", &path, &[("content-range", range.as_str())], content[length..].to_vec()).await;
        assert_eq!(put.status, 201, "{put:?}");
        assert_eq!(client.send("GET", &format!("/v2/a/blobs/{digest}"), &[], "").await.body, content);
    });
    drop(second);
}

#[test]
fn sessions_that_nobody_uses_are_removed() {
    let directory = tempfile::tempdir().unwrap();
    let clients = Runtime::new().unwrap();
    let (server, address) = killable(directory.path());
    let location = clients.block_on(async {
        let mut client = Client::connect(address).await;
        client.send("POST", "/v2/a/blobs/uploads/", &[], "").await.header("location").to_owned()
    });
    drop(server);
    let storage = Storage::open(directory.path()).unwrap();
    let session = directory.path().join("uploads").join(location.rsplit('/').next().unwrap());
    storage.prune_uploads(std::time::Duration::from_hours(1)).unwrap();
    assert!(session.exists());
    let week = std::time::SystemTime::now() - std::time::Duration::from_hours(7 * 24);
    std::fs::File::options().write(true).open(session.join("_content")).unwrap().set_modified(week).unwrap();
    storage.prune_uploads(std::time::Duration::from_hours(1)).unwrap();
    assert!(!session.exists());
}
