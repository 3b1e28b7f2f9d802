//! Nothing secret is printed, however much is printed.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use serde_json::json;
use store::Store;
use testkit::{Answer, DockerRegistry, FaultRegistry, Route, TokenServer, images};
use tracing_subscriber::filter::LevelFilter;

use crate::support::{
    REPOSITORY, Seen, challenge, configured, descriptor, keychain, login, noise, options, put, read,
    store_of, tag, write,
};

/// Everything that was logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn add(&self, text: &dyn std::fmt::Debug) {
        let mut log = self.0.lock().unwrap();
        writeln!(log, "{text:?}\n{text:#?}").unwrap();
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Catches what this thread logs, at the level of most detail.
fn catch() -> (Log, tracing::subscriber::DefaultGuard) {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(LevelFilter::TRACE)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    (log, tracing::subscriber::set_default(subscriber))
}

fn check(log: &Log, secrets: &[&str]) {
    let text = log.text();
    assert!(text.contains("hoist::http"), "nothing was logged");
    for secret in secrets {
        if let Some(at) = text.find(secret) {
            let around = text[..at].rfind('\n').unwrap_or(0);
            panic!("{secret} is in the log: {}", &text[around..(at + secret.len())]);
        }
    }
}

#[tokio::test]
async fn real_flows() {
    let (log, _guard) = catch();
    let tokens = TokenServer::start("user", "p4ssw0rd");
    let registry = DockerRegistry::bearer(tokens);
    registry.push(&images::single(), REPOSITORY, "1.0");
    let address = registry.address();
    let issued = registry.tokens().unwrap().issue(&format!("repository:{REPOSITORY}:pull,push"));
    for keychain in [
        login(address, "user", "p4ssw0rd"),
        login(address, "user", "wr0ngp4ss"),
        keychain(address, &json!({"identitytoken": "refresh-user"})),
        keychain(address, &json!({"identitytoken": "wr0ng1d"})),
        keychain(address, &json!({"registrytoken": issued})),
    ] {
        let mut options = options();
        let seen = Seen::observe(&mut options);
        let store = store_of(address, options, keychain);
        log.add(&store.manifest(&tag("1.0")).await);
        log.add(&write(&store, &noise(100_000)).await);
        log.add(&read(&store, &descriptor(b"missing")).await);
        log.add(&seen.events());
        log.add(&store);
    }
    // "eyJ" begins every token of this kind; the state of an upload is in the query.
    let encoded = ["dXNlcjpwNHNzdzByZA", "dXNlcjp3cjBuZ3A0c3M"];
    check(&log, &["p4ssw0rd", "wr0ngp4ss", "refresh-user", "wr0ng1d", "eyJ", encoded[0], encoded[1]]);
    let text = log.text();
    let states =
        text.match_indices("_state=").filter(|(at, _)| !text[at + 7..].starts_with("REDACTED")).count();
    assert_eq!(states, 0, "the state of an upload is printed");
}

#[tokio::test]
async fn signed_addresses() {
    let (log, _guard) = catch();
    let (registry, bucket) = (FaultRegistry::start(), FaultRegistry::start());
    let content = noise(100_000);
    let blob = put(&bucket, &content);
    let path = format!("v2/{REPOSITORY}/blobs/{}?X-Amz-Signature=s1gnature#fr4gment", blob.digest);
    let signed = format!("http://us3r:us3rpass@{}/{path}", bucket.address());
    registry.on(Route::new("*", "*").without("authorization"), challenge("Basic realm=\"x\""));
    let upload = "/v2/demo/web/blobs/uploads/1?_state=upl0adstate";
    registry.on(Route::new("POST", "*"), Answer::status(202).header("Location", upload));
    registry.on(Route::new("PUT", "*"), Answer::stored().cut_request_after(0));
    registry.on(Route::get("/v2/*/blobs/*"), Answer::redirect(&signed));
    bucket.on(Route::any().times(1), Answer::stored().cut_after(10));
    bucket.on(Route::any().times(1), Answer::stored().cut_request_after(0));
    bucket.on(Route::any().times(1), Answer::stored());
    bucket.on(Route::any(), Answer::stored().cut_request_after(0));
    let config = json!({
        "auths": {registry.address(): {"username": "user", "password": "p4ssw0rd"}},
        "HttpHeaders": {"X-Team-Key": "t3amkey"},
    });
    let mut options = options();
    let seen = Seen::observe(&mut options);
    let store = store_of(&registry.address(), options, configured(&config));
    assert_eq!(read(&store, &blob).await.unwrap(), content);
    let lost = read(&store, &blob).await.unwrap_err();
    log.add(&lost.to_string());
    log.add(&lost);
    drop(bucket);
    let unreachable = read(&store, &blob).await.unwrap_err();
    log.add(&unreachable.to_string());
    log.add(&unreachable);
    let cut = write(&store, &noise(10)).await.unwrap_err();
    log.add(&cut.to_string());
    log.add(&cut);
    log.add(&seen.events());
    check(&log, &["p4ssw0rd", "s1gnature", "us3rpass", "upl0adstate", "t3amkey", "dXNlcjpwNHNzdzByZA"]);
    assert!(log.text().contains("X-Amz-Signature=REDACTED"));
}
