//! The registry with faults: right when it should be, wrong as told.

use std::time::{Duration, Instant};

use testkit::{Answer, Cli, Client, FaultRegistry, Route, images};

const BLOB: &str = "/v2/demo/web/blobs/sha256:1";

fn with_blob() -> (FaultRegistry, Client) {
    let registry = FaultRegistry::start();
    registry.put_blob("demo/web", "sha256:1", b"0123456789");
    let client = Client::new(&registry.address());
    (registry, client)
}

#[test]
fn is_a_registry_where_nothing_is_wrong() {
    let registry = FaultRegistry::start();
    let cli = Cli::new();
    let graph = images::eight_platforms();
    registry.put("demo/web", "1.0", &graph);
    let [from, to] = ["web:1.0", "copy:2.0"].map(|name| format!("{}/demo/{name}", registry.address()));
    cli.peer("crane", ["copy", &from, &to]).run().success();
    assert_eq!(registry.manifest("demo/copy", "2.0").unwrap(), &*graph.manifest.bytes);
    let layer = &graph.children[0].blobs[1];
    assert_eq!(registry.blob("demo/copy", &layer.digest).unwrap(), &*layer.bytes);
    assert!(registry.count("GET", "/v2/demo/web/manifests/*") >= 8);

    let path = format!("{}/demo/web", registry.address());
    assert_eq!(cli.peer("crane", ["ls", &path]).run().success(), "1.0\n");
    assert_eq!(cli.peer("crane", ["catalog", &registry.address()]).run().success(), "demo/copy\ndemo/web\n");
    let target = format!("docker://{}/demo/skopeo:1", registry.address());
    let skopeo = ["--insecure-policy", "copy", "--all", "--src-tls-verify=false", "--dest-tls-verify=false"];
    cli.peer("skopeo", skopeo).arg(format!("docker://{from}")).arg(target).run().success();
    assert_eq!(registry.manifest("demo/skopeo", "1").unwrap(), &*graph.manifest.bytes);
}

#[test]
fn pages_by_relative_links() {
    let (registry, client) = with_blob();
    for tag in ["a", "b", "c"] {
        registry.put("demo/web", tag, &images::artifact());
    }
    let first = client.get("/v2/demo/web/tags/list?n=2");
    assert_eq!(first.text(), r#"{"name":"demo/web","tags":["a","b"]}"#);
    assert_eq!(first.header("link"), Some("</v2/demo/web/tags/list?n=2&last=b>; rel=\"next\""));
    let second = client.get("/v2/demo/web/tags/list?n=2&last=b");
    assert_eq!(
        (second.text().as_str(), second.header("link")),
        (r#"{"name":"demo/web","tags":["c"]}"#, None)
    );
}

#[test]
fn answers_ranges_unless_told() {
    let (registry, client) = with_blob();
    registry.on(Route::get(BLOB).after(2), Answer::stored().ignore_ranges());
    let part = client.send("GET", BLOB, &[("Range", "bytes=4-")], &[]);
    assert_eq!((part.status, part.text().as_str()), (206, "456789"));
    assert_eq!(part.header("content-range"), Some("bytes 4-9/10"));
    assert_eq!(client.send("GET", BLOB, &[("Range", "bytes=10-")], &[]).status, 416);
    let whole = client.send("GET", BLOB, &[("Range", "bytes=4-")], &[]);
    assert_eq!((whole.status, whole.text().as_str()), (200, "0123456789"));
    let ranges: Vec<_> =
        registry.requests().iter().map(|request| request.header("range").map(str::to_owned)).collect();
    assert_eq!(ranges, [Some("bytes=4-".into()), Some("bytes=10-".into()), Some("bytes=4-".into())]);
}

#[test]
fn fails_so_often_and_then_is_good() {
    let (registry, client) = with_blob();
    registry.on(
        Route::get(BLOB).times(2),
        Answer::error(429, "TOOMANYREQUESTS", "slow down").header("Retry-After", "1"),
    );
    let statuses: Vec<u16> = (0..3).map(|_| client.get(BLOB).status).collect();
    assert_eq!(statuses, [429, 429, 200]);
    assert_eq!(registry.count("GET", "/v2/*/blobs/*"), 3);
}

#[test]
fn asks_for_authorization_in_any_words() {
    let (registry, client) = with_blob();
    let unauthorized = Answer::status(401).header("WWW-Authenticate", "Odd x=y").body("<html>no</html>");
    registry.on(Route::any().without_value("Authorization", "Bearer good"), unauthorized);
    let reply = client.get(BLOB);
    assert_eq!((reply.status, reply.header("www-authenticate")), (401, Some("Odd x=y")));
    assert_eq!(client.authorization(Some("Bearer good".into())).get(BLOB).status, 200);
}

#[test]
fn spoils_bodies() {
    let (registry, client) = with_blob();
    for answer in [
        Answer::stored().cut_after(4),
        Answer::stored().claim_length(11),
        Answer::stored().claim_length(9),
        Answer::stored().corrupt(),
        Answer::stored().no_length().cut_after(3),
        Answer::status(200).filler(100 << 20),
    ] {
        registry.on(Route::get(BLOB).times(1), answer);
    }
    client.try_send("GET", BLOB, &[], &[]).unwrap_err();
    client.try_send("GET", BLOB, &[], &[]).unwrap_err();
    assert_eq!(client.get(BLOB).text(), "012345678");
    assert_eq!(client.get(BLOB).body, b"012345678\xc6");
    assert_eq!(client.get(BLOB).text(), "012");
    assert_eq!(client.get(BLOB).body.len(), 100 << 20);
    assert_eq!(client.get(BLOB).text(), "0123456789");
}

#[test]
fn falls_silent_and_is_slow() {
    let (registry, client) = with_blob();
    registry.on(Route::get(BLOB).times(1), Answer::stored().silent_after(4));
    registry.on(Route::get(BLOB).times(1), Answer::stored().delay(Duration::from_millis(200)));
    let cli = Cli::new();
    let url = format!("http://{}{BLOB}", registry.address());
    let curl = cli.peer("curl", ["--silent", "--max-time", "1", &url]).run();
    // 28: the operation timed out.
    curl.failure(28);
    assert_eq!(curl.stdout(), "0123");
    let start = Instant::now();
    assert_eq!(client.get(BLOB).status, 200);
    assert!(start.elapsed() >= Duration::from_millis(200));
}

#[test]
fn redirects_to_another_host() {
    let (registry, client) = with_blob();
    let (other, _) = with_blob();
    let location = format!("http://{}/signed?key=secret", other.address());
    registry.on(Route::get(BLOB), Answer::redirect(&location));
    other
        .on(Route::get("/signed"), Answer::status(200).body("0123456789").header("Warning", "299 - \"old\""));
    assert_eq!(client.get(BLOB).header("location"), Some(location.as_str()));
    let cli = Cli::new();
    let url = format!("http://{}{BLOB}", registry.address());
    assert_eq!(cli.peer("curl", ["--silent", "--location", &url]).run().success(), "0123456789");
    let arrived = &other.requests()[0];
    assert_eq!((arrived.path.as_str(), arrived.parameters("key")), ("/signed", vec!["secret".to_owned()]));
    assert_eq!(arrived.header("authorization"), None);
}

#[test]
fn an_upload_that_was_cut_goes_on() {
    let (registry, client) = with_blob();
    let start = client.send("POST", "/v2/demo/web/blobs/uploads/", &[], &[]);
    assert_eq!((start.status, start.header("range")), (202, Some("0-0")));
    let location = start.header("location").unwrap().to_owned();
    assert!(location.starts_with("/v2/"), "{location} is relative");
    registry.on(Route::new("PATCH", "*").times(1), Answer::stored().cut_request_after(5));
    client.try_send("PATCH", &location, &[], b"hello world").unwrap_err();
    let progress = client.get(&location);
    assert_eq!((progress.status, progress.header("range")), (204, Some("0-4")));
    let wrong = client.send("PATCH", &location, &[("Content-Range", "4-9")], b"o worl");
    assert_eq!((wrong.status, wrong.header("range")), (416, Some("0-4")));
    let right = client.send("PATCH", &location, &[("Content-Range", "5-10")], b" world");
    assert_eq!((right.status, right.header("range")), (202, Some("0-10")));
    let digest = images::Algorithm::Sha256.digest(b"hello world");
    assert_eq!(client.send("PUT", &format!("{location}?digest={digest}"), &[], &[]).status, 201);
    assert_eq!(registry.blob("demo/web", &digest).unwrap(), b"hello world");
    let mount = format!("/v2/demo/copy/blobs/uploads/?mount={digest}&from=demo/web");
    assert_eq!(client.send("POST", &mount, &[], &[]).status, 201);
}

#[test]
fn speaks_tls() {
    let registry = FaultRegistry::tls();
    registry.put("demo/web", "1.0", &images::single());
    let ca = registry.authority().unwrap().file();
    let name = format!("{}/demo/web:1.0", registry.address());
    let digest = Cli::new().peer("crane", ["digest", &name]).env("SSL_CERT_FILE", ca).run().success();
    assert_eq!(digest.trim(), images::single().manifest.digest);
}
