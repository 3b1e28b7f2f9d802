//! Clients, content and what they saw.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ::auth::{DockerConfig, Keychain};
use oci::{Algorithm, Descriptor, MediaType, Reference, Repository, Selector, Tag};
use registry::{Client, Options, RegistryStore, Retries};
use serde_json::{Value, json};
use store::{Error, Event, Observer, Opened, Store, Writer};
use testkit::images::Blob;
use testkit::{Answer, FaultRegistry, Relay, Request};

/// The repository of all tests.
pub(crate) const REPOSITORY: &str = "demo/web";

/// Quick settings: three attempts, waits of milliseconds.
pub(crate) fn options() -> Options {
    let mut options = Options::default();
    let (first_wait, longest_wait) = (Duration::from_millis(2), Duration::from_secs(2));
    options.retries = Retries { attempts: 3, first_wait, longest_wait };
    options.stall = Duration::from_millis(300);
    options
}

pub(crate) fn repository(address: &str) -> Repository {
    format!("{address}/{REPOSITORY}").parse::<Reference>().unwrap().repository().clone()
}

/// A store for reading and writing.
pub(crate) fn store_of(address: &str, options: Options, keychain: Keychain) -> RegistryStore {
    Client::new(options, keychain).repository(&repository(address)).for_push(None)
}

/// The same, without credentials.
pub(crate) fn anonymous(address: &str) -> RegistryStore {
    store_of(address, options(), Keychain::default())
}

/// Credentials for a host, as docker's file has them.
pub(crate) fn keychain(address: &str, entry: &Value) -> Keychain {
    configured(&json!({"auths": {address: entry}}))
}

pub(crate) fn configured(config: &Value) -> Keychain {
    let config = DockerConfig::parse(Path::new("config.json"), config.to_string().as_bytes()).unwrap();
    Keychain::new(config, Vec::new())
}

/// User and password.
pub(crate) fn login(address: &str, user: &str, password: &str) -> Keychain {
    keychain(address, &json!({"username": user, "password": password}))
}

pub(crate) fn tag(text: &str) -> Selector {
    Tag::new(text).unwrap().into()
}

/// Bytes without a pattern that a shifted range could hide in.
pub(crate) fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_u32;
    let next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state.to_le_bytes()[0]
    };
    std::iter::repeat_with(next).take(length).collect()
}

pub(crate) fn descriptor(content: &[u8]) -> Descriptor {
    Descriptor::of(MediaType::OCTET_STREAM, Algorithm::Sha256, content)
}

/// Stores a blob and describes it.
pub(crate) fn put(registry: &FaultRegistry, content: &[u8]) -> Descriptor {
    registry.put_blob(REPOSITORY, &Blob::new("", content).digest, content);
    descriptor(content)
}

/// Reads a whole blob, verified.
pub(crate) async fn read(store: &RegistryStore, blob: &Descriptor) -> Result<Vec<u8>, Error> {
    let stream = store.read(blob, 0..blob.size).await?;
    Ok(store::collect(stream, blob, u64::MAX).await?.to_vec())
}

pub(crate) async fn writer(store: &RegistryStore, blob: &Descriptor) -> Result<Box<dyn Writer>, Error> {
    match store.write(blob, None).await? {
        Opened::Writer(writer) => Ok(writer),
        opened => panic!("{opened:?} from nowhere"),
    }
}

/// Writes a whole blob in pieces.
pub(crate) async fn write(store: &RegistryStore, content: &[u8]) -> Result<(), Error> {
    let mut writer = writer(store, &descriptor(content)).await?;
    for piece in content.chunks(100_000) {
        writer.write(piece.to_vec().into()).await?;
    }
    writer.commit().await
}

/// A 401 that sends the client somewhere.
pub(crate) fn challenge(value: &str) -> Answer {
    Answer::error(401, "UNAUTHORIZED", "authentication required").header("WWW-Authenticate", value)
}

/// The requests that passed a relay, which are so many.
pub(crate) fn passed(relay: &Relay, requests: usize) -> Vec<Request> {
    let passed = relay.requests();
    assert_eq!(passed.len(), requests, "{passed:?}");
    passed
}

/// Asserts that an error is one clear line, and returns it.
pub(crate) fn line(error: &Error) -> String {
    let line = error.to_string();
    assert!(!line.contains('\n') && line.len() < 1000, "{line}");
    line
}

/// Keeps what happened.
#[derive(Default)]
pub(crate) struct Seen(Mutex<Vec<String>>);

impl Seen {
    pub(crate) fn observe(options: &mut Options) -> Arc<Self> {
        let seen = Arc::new(Self::default());
        options.observer = Arc::<Self>::clone(&seen);
        seen
    }

    pub(crate) fn events(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

impl Observer for Seen {
    fn event(&self, event: &Event<'_>) {
        self.0.lock().unwrap().push(match event {
            Event::Retried { reason, wait } => format!("{reason} | {} ms", wait.as_millis()),
            Event::Warned(text) => format!("warning: {text}"),
            other => format!("{other:?}"),
        });
    }
}
