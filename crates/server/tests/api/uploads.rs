use oci::Algorithm;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::client::{Client, Registry};

#[tokio::test]
async fn chunks_out_of_order_are_refused_and_harm_nothing() {
    let registry = Registry::start().await;
    let location = registry.begin("a").await;
    let fresh = registry.get(&location).await;
    assert_eq!((fresh.status.as_u16(), fresh.try_header("range")), (204, None));
    let refused = registry.send("PATCH", &location, &[("content-range", "5-9")], "56789").await;
    assert_eq!((refused.status.as_u16(), refused.try_header("range")), (416, None));
    let reply = registry.send("PATCH", &location, &[("content-range", "0-4")], "01234").await;
    assert_eq!((reply.status.as_u16(), reply.header("range")), (202, "0-4"));
    let digest = Algorithm::Sha256.digest(b"0123456789");
    let end = format!("{location}?digest={digest}");
    for (method, path, range) in [
        ("PATCH", &location, "6-7"),
        ("PATCH", &location, "0-1"),
        ("PATCH", &location, "4-5"),
        ("PUT", &end, "6-7"),
        ("PUT", &end, "0-1"),
    ] {
        let refused = registry.send(method, path, &[("content-range", range)], "xx").await;
        assert_eq!(refused.status, 416, "{method} {range}");
        assert_eq!(refused.code(), "BLOB_UPLOAD_INVALID");
        assert_eq!((refused.header("location"), refused.header("range")), (location.as_str(), "0-4"));
        let status = registry.get(&location).await;
        assert_eq!((status.status.as_u16(), status.header("range")), (204, "0-4"));
        assert_eq!(status.header("location"), location);
    }
    let reply = registry.send("PATCH", &location, &[("content-range", "bytes 5-7/*")], "567").await;
    assert_eq!(reply.header("range"), "0-7");
    assert_eq!(registry.send("PUT", &end, &[("content-range", "8-9")], "89").await.status, 201);
    assert_eq!(registry.get(&format!("/v2/a/blobs/{digest}")).await.body, "0123456789");
    assert_eq!(registry.get(&location).await.code(), "BLOB_UPLOAD_UNKNOWN");
}

#[tokio::test]
async fn ranges_that_lie_are_refused() {
    let registry = Registry::start().await;
    let location = registry.begin("a").await;
    for (range, code) in
        [("0-9", "SIZE_INVALID"), ("3-1", "BLOB_UPLOAD_INVALID"), ("x", "BLOB_UPLOAD_INVALID")]
    {
        let refused = registry.send("PATCH", &location, &[("content-range", range)], "01234").await;
        assert_eq!((refused.status.as_u16(), refused.code().as_str()), (400, code));
    }
    // Without a length in advance, what was announced is kept and the rest is not.
    let mut stream = TcpStream::connect(registry.address).await.unwrap();
    let head = format!(
        "PATCH {location} HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\ncontent-range: 0-2\r\n\r\n"
    );
    stream.write_all(format!("{head}5\r\nabcde\r\n0\r\n\r\n").as_bytes()).await.unwrap();
    assert!(answer(&mut stream).await.starts_with("HTTP/1.1 400"));
    assert_eq!(registry.get(&location).await.header("range"), "0-2");
    let end = format!("{location}?digest={}", Algorithm::Sha256.digest(b"abcd"));
    assert_eq!(registry.send("PUT", &end, &[], "d").await.status, 201);
}

#[tokio::test]
async fn wrong_digests_never_become_blobs() {
    let registry = Registry::start().await;
    for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
        let digest = algorithm.digest(b"right");
        let whole =
            registry.send("POST", &format!("/v2/a/blobs/uploads/?digest={digest}"), &[], "wrong").await;
        assert_eq!((whole.status.as_u16(), whole.code().as_str()), (400, "DIGEST_INVALID"));
        let location = registry.begin("a").await;
        registry.send("PATCH", &location, &[], "wro").await;
        for malformed in ["", "?digest=", "?digest=sha256:zz", "?digest=md5:00", "?digest=latest"] {
            let refused = registry.send("PUT", &format!("{location}{malformed}"), &[], "ng").await;
            assert_eq!(
                (refused.status.as_u16(), refused.code().as_str()),
                (400, "DIGEST_INVALID"),
                "{malformed}"
            );
        }
        let refused = registry.send("PUT", &format!("{location}?digest={digest}"), &[], "ng").await;
        assert_eq!((refused.status.as_u16(), refused.code().as_str()), (400, "DIGEST_INVALID"));
        assert_eq!(registry.get(&format!("/v2/a/blobs/{digest}")).await.status, 404);
        assert_eq!(registry.get(&location).await.status, 404);
    }
    assert_eq!(std::fs::read_dir(registry.path().join("uploads")).unwrap().count(), 0);
}

#[tokio::test]
async fn sessions_belong_to_their_repository_and_can_be_cancelled() {
    let registry = Registry::start().await;
    let location = registry.begin("a").await;
    let elsewhere = location.replace("/v2/a/", "/v2/b/");
    for method in ["GET", "PATCH", "DELETE"] {
        assert_eq!(
            registry.send(method, &elsewhere, &[], "").await.code(),
            "BLOB_UPLOAD_UNKNOWN",
            "{method}"
        );
    }
    let end = format!("{elsewhere}?digest={}", Algorithm::Sha256.digest(b""));
    assert_eq!(registry.send("PUT", &end, &[], "").await.code(), "BLOB_UPLOAD_UNKNOWN");
    assert_eq!(registry.send("DELETE", &location, &[], "").await.status, 204);
    for method in ["GET", "PATCH", "DELETE"] {
        assert_eq!(registry.send(method, &location, &[], "").await.status, 404, "{method}");
    }
}

/// Sends 40 of 100 bytes, and then cuts the connection.
async fn cut(registry: &Registry, method: &str, path: &str) {
    let mut stream = TcpStream::connect(registry.address).await.unwrap();
    let head = format!("{method} {path} HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(&[b'x'; 40]).await.unwrap();
    stream.shutdown().await.unwrap();
    // The server closes once it has dealt with the request.
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).await.unwrap();
}

#[tokio::test]
async fn a_cut_body_leaves_what_came() {
    let registry = Registry::start().await;
    let digest = Algorithm::Sha256.digest(&[b'x'; 100]);
    for end in [false, true] {
        let location = registry.begin("a").await;
        let path = if end { format!("{location}?digest={digest}") } else { location.clone() };
        cut(&registry, if end { "PUT" } else { "PATCH" }, &path).await;
        // Taking the session waits for the one who had it.
        let refused = registry.send("PATCH", &location, &[("content-range", "0-0")], "x").await;
        assert_eq!((refused.status.as_u16(), refused.header("range")), (416, "0-39"));
        let forty = format!("/v2/a/blobs/{}", Algorithm::Sha256.digest(&[b'x'; 40]));
        assert_eq!(registry.get(&forty).await.status, 404);
        let rest = registry.send("PATCH", &location, &[("content-range", "40-99")], vec![b'x'; 60]).await;
        assert_eq!((rest.status.as_u16(), rest.header("range")), (202, "0-99"));
        let pushed = registry.send("PUT", &format!("{location}?digest={digest}"), &[], "").await;
        assert_eq!(pushed.status, 201);
    }
    cut(&registry, "POST", &format!("/v2/a/blobs/uploads/?digest={digest}")).await;
    assert_eq!(registry.stop().await.path().join("uploads").read_dir().unwrap().count(), 0);
}

#[tokio::test]
async fn a_request_that_hangs_gives_way_to_the_next_one() {
    let registry = Registry::start().await;
    let location = registry.begin("a").await;
    let mut hanging = TcpStream::connect(registry.address).await.unwrap();
    let head = format!(
        "PATCH {location} HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\nexpect: 100-continue\r\n\r\n"
    );
    hanging.write_all(head.as_bytes()).await.unwrap();
    // The server asks for the body once the request has the session.
    assert!(answer(&mut hanging).await.starts_with("HTTP/1.1 100"));
    hanging.write_all(b"0123456789").await.unwrap();
    let refused = registry.send("PATCH", &location, &[("content-range", "50-50")], "x").await;
    assert_eq!(refused.status, 416);
    let came = refused.try_header("range").map_or(0, |range| range[2..].parse::<usize>().unwrap() + 1);
    assert!(came == 0 || came == 10, "{came}");
    let range = format!("{came}-11");
    let rest = &"0123456789ab"[came..];
    let patched = registry.send("PATCH", &location, &[("content-range", range.as_str())], rest).await;
    assert_eq!((patched.status.as_u16(), patched.header("range")), (202, "0-11"));
    hanging.shutdown().await.unwrap();
    assert!(answer(&mut hanging).await.starts_with("HTTP/1.1 409"));
}

#[tokio::test]
async fn a_connection_survives_refused_uploads() {
    let registry = Registry::start().await;
    let mut client = Client::connect(registry.address).await;
    let location = registry.begin("a").await;
    let body = vec![0_u8; 2_000_000];
    let absent = "/v2/a/blobs/uploads/67e55044-10b1-426f-9247-bb680e5fe0c8";
    assert_eq!(client.send("PATCH", absent, &[], body.clone()).await.status, 404);
    let range = [("content-range", "7-2000006")];
    assert_eq!(client.send("PATCH", &location, &range, body.clone()).await.status, 416);
    assert_eq!(client.send("PUT", "/v2/A/manifests/x", &[], body.clone()).await.status, 400);
    assert_eq!(client.send("POST", "/v2/a/blobs/uploads/?digest=x", &[], body).await.status, 400);
    let manifest = vec![b' '; 4 * 1024 * 1024 + 1];
    assert_eq!(client.send("PUT", "/v2/a/manifests/x", &[], manifest).await.status, 413);
    assert_eq!(client.send("GET", "/v2/", &[], "").await.status, 200);
}

/// The head of an answer, whatever follows.
async fn answer(stream: &mut TcpStream) -> String {
    let mut text = Vec::new();
    while !text.windows(4).any(|end| end == b"\r\n\r\n") {
        let mut piece = [0; 1024];
        let read = stream.read(&mut piece).await.unwrap();
        assert!(read > 0, "{}", String::from_utf8_lossy(&text));
        text.extend_from_slice(&piece[..read]);
    }
    String::from_utf8_lossy(&text).into_owned()
}
