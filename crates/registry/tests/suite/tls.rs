//! https, http, and which of them a server speaks.

use std::io::{Read, Write};
use std::sync::mpsc::Receiver;

use ::auth::Keychain;
use serde_json::json;
use store::{Kind, Store};
use testkit::{Answer, DockerRegistry, FaultRegistry, Route, images};

use crate::raw;
use crate::support::{
    REPOSITORY, anonymous, configured, descriptor, line, login, options, read, store_of, tag,
};

/// The first byte of a TLS greeting.
const GREETING: u8 = 22;

/// An alert of TLS: enough to know that it is spoken there.
const ALERT: &str = "\x15\x03\x03\x00\x02\x02\x28";

const NOT_FOUND: &str = "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

/// A server that answers a greeting and whatever else comes, each connection once; what it heard can be received.
fn answering(to_greeting: &'static str, to_others: impl Into<String>) -> (String, Receiver<Vec<u8>>) {
    let to_others = to_others.into();
    raw::listen(move |mut stream| {
        let mut bytes = vec![0; 8192];
        let length = stream.read(&mut bytes).unwrap_or(0);
        let answer = if bytes[0] == GREETING { to_greeting } else { &to_others };
        let _ = stream.write_all(answer.as_bytes());
        bytes.truncate(length);
        bytes
    })
}

#[tokio::test]
async fn an_untrusted_certificate_is_told_at_once() {
    let registry = DockerRegistry::tls();
    let error = anonymous(registry.address()).resolve(&tag("1.0")).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unreachable);
    assert!(line(&error).contains("invalid peer certificate: UnknownIssuer"), "{error}");
    assert!(!error.to_string().contains("attempts"), "{error}");
}

#[tokio::test]
async fn localhost_by_name() {
    for (registry, insecure) in [(DockerRegistry::plain(), false), (DockerRegistry::tls(), true)] {
        registry.push(&images::single(), REPOSITORY, "1.0");
        let (_, port) = registry.address().rsplit_once(':').unwrap();
        let mut options = options();
        options.insecure = insecure;
        let store = store_of(&format!("localhost:{port}"), options, Keychain::default());
        store.resolve(&tag("1.0")).await.unwrap();
    }
}

#[tokio::test]
async fn redirects_out_of_https_are_refused() {
    let (secure, plain) = (FaultRegistry::tls(), FaultRegistry::start());
    secure.on(Route::get("*"), Answer::redirect(&format!("http://{}/x", plain.address())));
    let upload = format!("http://{}/upload", plain.address());
    secure.on(Route::new("POST", "*"), Answer::status(202).header("Location", &upload));
    let mut options = options();
    options.insecure = true;
    let store = store_of(&secure.address(), options, Keychain::default());
    let error = read(&store, &descriptor(b"x")).await.unwrap_err();
    assert!(line(&error).contains("redirects from https to http, which is refused"), "{error}");
    let error = crate::support::write(&store, b"x").await.unwrap_err();
    assert!(line(&error).contains("would go from https to http, which is refused"), "{error}");
    assert!(plain.requests().is_empty());
}

#[tokio::test]
async fn who_is_on_this_machine_is_first_spoken_to_by_http_and_without_credentials() {
    let (server, heard) = answering(NOT_FOUND, NOT_FOUND);
    let store = store_of(&server, options(), login(&server, "user", "secret"));
    assert_eq!(store.resolve(&tag("1.0")).await.unwrap_err().kind(), Kind::NotFound);
    let first = String::from_utf8_lossy(&heard.recv().unwrap()).into_owned();
    assert!(
        first.starts_with("HEAD /v2/demo/web/manifests/1.0") && !first.contains("uthorization"),
        "{first}"
    );
}

#[tokio::test]
async fn the_probe_for_the_scheme_is_no_request() {
    // It refuses the first request as one does that wants TLS.
    let (server, heard) = answering(NOT_FOUND, "HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n");
    let store = store_of(&server, options(), login(&server, "user", "secret"));
    // It speaks http after all, so the 400 is its answer.
    let error = store.resolve(&tag("1.0")).await.unwrap_err();
    assert!(line(&error).contains("400 Bad Request"), "{error}");
    assert!(String::from_utf8_lossy(&heard.recv().unwrap()).starts_with("HEAD /v2/demo/web/manifests/1.0"));
    let probe = heard.recv().unwrap();
    assert_eq!(probe[0], GREETING, "a TLS record");
    let text = String::from_utf8_lossy(&probe);
    assert!(!text.contains("HTTP/") && !text.contains("uthorization"), "{text}");
}

#[tokio::test]
async fn a_refused_port_is_told_at_once() {
    let address = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().to_string()
    };
    let error = anonymous(&address).resolve(&tag("1.0")).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unreachable);
    let expected = format!(
        "resolving {address}/{REPOSITORY}:1.0: HEAD http://{address}/v2/{REPOSITORY}/manifests/1.0: \
         Connection refused (os error 111)"
    );
    assert_eq!(line(&error), expected);
}

/// Some that want TLS answer plain http as if they spoke it.
#[tokio::test]
async fn what_stands_before_a_registry_that_wants_tls_is_no_registry() {
    for answer in ["308 Permanent Redirect\r\nLocation: https://127.0.0.1/", "404 Not Found", "403 Forbidden"]
    {
        let (server, heard) = answering(ALERT, format!("HTTP/1.1 {answer}\r\nContent-Length: 0\r\n\r\n"));
        let error = anonymous(&server).resolve(&tag("1.0")).await.unwrap_err();
        assert!(line(&error).contains(&format!("HEAD https://{server}/v2/")), "{error}");
        let first: Vec<u8> = (0..3).map(|_| heard.recv().unwrap()[0]).collect();
        assert_eq!(first, [b'H', GREETING, GREETING], "the request, the greeting, and the request by TLS");
    }
}

#[tokio::test]
async fn headers_of_ones_own_do_not_go_to_a_guess() {
    let (server, heard) = answering(NOT_FOUND, NOT_FOUND);
    let config = json!({"HttpHeaders": {"X-Key": "secret"}});
    let store = store_of(&server, options(), configured(&config));
    assert_eq!(store.resolve(&tag("1.0")).await.unwrap_err().kind(), Kind::NotFound);
    assert_eq!(heard.recv().unwrap()[0], GREETING, "a TLS record");
    assert!(String::from_utf8_lossy(&heard.recv().unwrap()).contains("secret"));
}
