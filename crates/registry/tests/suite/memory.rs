//! What is remembered of a registry between runs.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ::auth::Keychain;
use oci::{Descriptor, RegistryName};
use registry::{Client, Options, RegistryStore};
use serde_json::{Value, json};
use store::{Error, Kind, Store};
use tempfile::TempDir;
use testkit::{Answer, Authority, DockerRegistry, FaultRegistry, Relay, Request, Route, TokenServer, images};

use crate::support::{
    REPOSITORY, challenge, descriptor, keychain, login, noise, options, passed, put, repository, tag, write,
};

const USER: &str = "alice";
const PASSWORD: &str = "correct-horse-battery-staple";

/// A directory for a memory, and settings of the runs that use it.
struct Place {
    root: TempDir,
    options: Options,
}

impl Place {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let mut options = options();
        options.memory = Some(root.path().join("hosts"));
        Self { root, options }
    }

    fn directory(&self) -> PathBuf {
        self.root.path().join("hosts")
    }

    /// The file with what is remembered of a registry.
    fn file(&self, address: &str) -> PathBuf {
        self.directory().join(format!("{address}.json"))
    }

    fn record(&self, address: &str) -> Value {
        serde_json::from_slice(&fs::read(self.file(address)).unwrap()).unwrap()
    }

    /// Changes what is remembered of a registry.
    fn edit(&self, address: &str, edit: impl FnOnce(&mut Value)) {
        let mut record = self.record(address);
        edit(&mut record);
        fs::write(self.file(address), record.to_string()).unwrap();
    }

    /// What a run of its own finds out about a tag.
    async fn resolve(&self, address: &str, keychain: Keychain) -> Result<Descriptor, Error> {
        self.resolve_in(&repository(address), keychain).await
    }

    async fn resolve_in(
        &self,
        repository: &oci::Repository,
        keychain: Keychain,
    ) -> Result<Descriptor, Error> {
        let client = Client::new(self.options.clone(), keychain);
        let outcome = client.repository(repository).resolve(&tag("1.0")).await;
        client.remember();
        outcome
    }

    /// A store for writing, in a run of its own.
    fn store(&self, address: &str, path: &str, keychain: Keychain) -> (Client, RegistryStore) {
        let client = Client::new(self.options.clone(), keychain);
        let repository = repository_of(address, path);
        let store = client.repository(&repository).for_push(None);
        (client, store)
    }

    /// All that lies in the directory.
    fn text(&self) -> String {
        let files = fs::read_dir(self.directory()).unwrap().map(|entry| entry.unwrap().path());
        let text = |path: PathBuf| {
            let content = String::from_utf8_lossy(&fs::read(&path).unwrap()).into_owned();
            format!("{}\n{content}\n", path.display())
        };
        files.map(text).collect()
    }
}

fn repository_of(address: &str, path: &str) -> oci::Repository {
    oci::Repository::new(RegistryName::new(address).unwrap(), path).unwrap()
}

/// A registry with an image in it that wants tokens, and a relay that counts.
fn with_tokens() -> (DockerRegistry, Relay) {
    let registry = DockerRegistry::bearer(TokenServer::start(USER, PASSWORD));
    registry.push(&images::single(), REPOSITORY, "1.0");
    registry.push(&images::single(), "demo/other", "1.0");
    let relay = Relay::to(registry.address());
    (registry, relay)
}

fn user(address: &str) -> Keychain {
    login(address, USER, PASSWORD)
}

fn asked(registry: &DockerRegistry) -> usize {
    registry.tokens().unwrap().requests().len()
}

#[tokio::test]
async fn the_second_run_makes_one_request() {
    let (registry, relay) = with_tokens();
    let (place, address) = (Place::new(), relay.address());
    place.resolve(&address, user(&address)).await.unwrap();
    let requests = passed(&relay, 2);
    assert_eq!(requests[0].header("authorization"), None);
    let connections = relay.connections();
    for run in 1..=3 {
        place.resolve(&address, user(&address)).await.unwrap();
        let requests = passed(&relay, 2 + run);
        assert_eq!(requests.last().unwrap().method, "HEAD");
    }
    assert_eq!(relay.connections() - connections, 3, "the scheme is known too");
    assert_eq!(asked(&registry), 1);
}

#[tokio::test]
async fn an_old_token_is_not_shown() {
    let (registry, relay) = with_tokens();
    let (place, address) = (Place::new(), relay.address());
    place.resolve(&address, user(&address)).await.unwrap();
    place.edit(&address, |record| {
        let asked = &mut record["tokens"][0]["asked"]["wall"];
        *asked = json!(asked.as_u64().unwrap() - 280);
    });
    let old = place.record(&address)["tokens"][0]["token"].clone();
    place.resolve(&address, user(&address)).await.unwrap();
    let shown = format!("Bearer {}", old.as_str().unwrap());
    let again = relay.requests()[2..].iter().any(|request| request.header("authorization") == Some(&shown));
    assert!(!again && asked(&registry) == 2);
    let tokens = place.record(&address)["tokens"].clone();
    assert_eq!(tokens.as_array().unwrap().len(), 1);
    assert_ne!(tokens[0]["token"], old);
}

#[tokio::test]
async fn a_token_that_is_not_taken_costs_one_request() {
    let (registry, relay) = with_tokens();
    let (place, address) = (Place::new(), relay.address());
    place.resolve(&address, user(&address)).await.unwrap();
    place.edit(&address, |record| record["tokens"][0]["token"] = json!("stale"));
    place.resolve(&address, user(&address)).await.unwrap();
    let requests = passed(&relay, 2 + 3);
    assert_eq!(requests[2].header("authorization"), Some("Bearer stale"));
    assert_eq!(requests[3].header("authorization"), None, "all begins anew");
    assert_eq!(asked(&registry), 2);
    assert!(!place.text().contains("stale"));
    place.resolve(&address, user(&address)).await.unwrap();
    passed(&relay, 2 + 3 + 1);
}

#[tokio::test]
async fn a_token_is_not_for_who_has_another_password() {
    let (_registry, relay) = with_tokens();
    let (place, address) = (Place::new(), relay.address());
    place.resolve(&address, user(&address)).await.unwrap();
    let error = place.resolve(&address, login(&address, USER, "other")).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unauthorized, "{error}");
    let error = place.resolve(&address, Keychain::default()).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unauthorized, "{error}");
    // Whose it is may still use it.
    let before = relay.requests().len();
    place.resolve(&address, user(&address)).await.unwrap();
    passed(&relay, before + 1);
}

#[tokio::test]
async fn another_repository_gets_a_token_of_its_own() {
    let (registry, relay) = with_tokens();
    let (mut place, address) = (Place::new(), relay.address());
    place.resolve(&address, user(&address)).await.unwrap();
    // Nothing good is assumed of a registry that has not answered yet, so its private token server is not asked first.
    place.resolve_in(&repository_of(&address, "demo/other"), user(&address)).await.unwrap();
    passed(&relay, 2 + 2);
    assert_eq!(asked(&registry), 2);
    // Where it may be, one request is saved.
    place.options.allowed_hosts = vec!["127.0.0.1".parse().unwrap()];
    let (client, _) = place.store(&address, "demo/other", user(&address));
    let store = client.repository(&repository_of(&address, "demo/third"));
    assert_eq!(store.resolve(&tag("1.0")).await.unwrap_err().kind(), Kind::NotFound);
    let requests = passed(&relay, 2 + 2 + 2);
    assert!(requests[4..].iter().all(|request| request.header("authorization").is_some()), "{requests:?}");
}

#[tokio::test]
async fn a_token_server_that_has_moved_is_no_error() {
    let (registry, relay) = with_tokens();
    let (mut place, address) = (Place::new(), relay.address());
    place.options.allowed_hosts = vec!["127.0.0.1".parse().unwrap()];
    let broken = FaultRegistry::start();
    broken.on(Route::any(), Answer::status(503));
    place.resolve(&address, user(&address)).await.unwrap();
    for realm in
        [format!("http://{}/token", broken.address()), "http://127.0.0.1:1/".to_owned(), "x".to_owned()]
    {
        place.edit(&address, |record| {
            record["challenge"]["challenge"]["bearer"]["realm"] = json!(realm);
            record["tokens"] = json!([]);
        });
        let before = (relay.requests().len(), asked(&registry));
        place.resolve(&address, user(&address)).await.unwrap();
        passed(&relay, before.0 + 2);
        assert_eq!(asked(&registry), before.1 + 1);
        assert!(!place.text().contains(&format!("\"{realm}\"")), "{realm}");
    }
    assert_eq!(broken.requests().len(), 1, "one attempt");
}

#[tokio::test]
async fn a_password_is_shown_at_once() {
    let registry = DockerRegistry::basic(USER, PASSWORD);
    registry.push(&images::single(), REPOSITORY, "1.0");
    let relay = Relay::to(registry.address());
    let (place, address) = (Place::new(), relay.address());
    place.resolve(&address, user(&address)).await.unwrap();
    passed(&relay, 2);
    place.resolve(&address, user(&address)).await.unwrap();
    passed(&relay, 3);
    // One that has become wrong is tried once more in the usual way, and once with GET, which has the reason.
    let error = place.resolve(&address, login(&address, USER, "other")).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unauthorized, "{error}");
    passed(&relay, 3 + 4);
    // Who has none is a stranger as before.
    let error = place.resolve(&address, Keychain::default()).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unauthorized, "{error}");
    assert!(!place.text().contains(PASSWORD));
}

#[tokio::test]
async fn what_everybody_may_read_stays_so() {
    let registry = FaultRegistry::start();
    registry.put(REPOSITORY, "1.0", &images::single());
    registry.put("demo/private", "1.0", &images::single());
    let basic = challenge("Basic realm=\"r\"");
    registry.on(Route::new("*", "/v2/demo/private/*").without("authorization"), basic.clone());
    // The password is wrong by now.
    registry.on(Route::new("*", "/v2/demo/web/*").with("authorization"), basic);
    let (place, address) = (Place::new(), registry.address());
    place.resolve_in(&repository_of(&address, "demo/private"), user(&address)).await.unwrap();
    let before = registry.requests().len();
    place.resolve(&address, user(&address)).await.unwrap();
    assert_eq!(registry.requests().len() - before, 2);
    // So the registry is asked without one from now on.
    let before = registry.requests().len();
    place.resolve(&address, user(&address)).await.unwrap();
    assert_eq!(registry.requests().len() - before, 1);
}

#[tokio::test]
async fn nothing_is_kept_that_gives_more_tokens() {
    let registry = FaultRegistry::start();
    registry.put(REPOSITORY, "1.0", &images::single());
    let tokens = FaultRegistry::start();
    let bearer = challenge(&format!("Bearer realm=\"http://{}/token\",service=\"s\"", tokens.address()));
    registry.on(Route::new("*", "/v2/*").without("authorization"), bearer);
    let (place, address) = (Place::new(), registry.address());
    let gives = |token: &str, refresh: &str| {
        let answer = json!({"token": token, "refresh_token": refresh, "expires_in": 300});
        Answer::status(200).body(answer.to_string())
    };
    // `correct-horse-battery-staple`, as GitHub's registry would answer it.
    let disguised = "Y29ycmVjdC1ob3JzZS1iYXR0ZXJ5LXN0YXBsZQ==";
    tokens.on(Route::any().times(1), gives(disguised, "r1"));
    tokens.on(Route::any().times(1), gives("identity-secret", "r2"));
    tokens.on(Route::any(), gives("access", "refresh-secret"));
    let identity = || keychain(&address, &json!({"identitytoken": "identity-secret"}));
    for keychain in [user(&address), identity(), identity()] {
        place.resolve(&address, keychain).await.unwrap();
    }
    place.resolve(&address, keychain(&address, &json!({"registrytoken": "registry-secret"}))).await.unwrap();
    let text = place.text();
    assert!(text.contains("\"access\""), "{text}");
    for secret in [PASSWORD, disguised, "identity-secret", "refresh-secret", "registry-secret", "r1"] {
        assert!(!text.contains(secret), "{secret} is in {text}");
    }
}

#[tokio::test]
async fn a_token_for_less_than_was_asked_is_not_kept() {
    let registry = DockerRegistry::bearer(TokenServer::start(USER, PASSWORD).pull_only());
    registry.push(&images::single(), REPOSITORY, "1.0");
    let (place, address) = (Place::new(), registry.address().to_owned());
    let (client, store) = place.store(&address, REPOSITORY, user(&address));
    store.resolve(&tag("1.0")).await.unwrap();
    client.remember();
    assert_eq!(place.record(&address)["tokens"], json!([]));
}

#[tokio::test]
async fn a_registry_that_changes_its_scheme_is_found_again() {
    let mut place = Place::new();
    let authority = Authority::new();
    place.options.tls.roots = registry::read_certificates(&authority.file()).unwrap();
    let first = DockerRegistry::plain();
    let address = first.address().to_owned();
    let port = address.rsplit_once(':').unwrap().1.parse().unwrap();
    first.push(&images::single(), REPOSITORY, "1.0");
    place.resolve(&address, Keychain::default()).await.unwrap();
    assert_eq!(place.record(&address)["scheme"], "http");
    drop(first);

    let second = DockerRegistry::setup().port(port).tls(authority, &[]).start();
    second.push(&images::single(), REPOSITORY, "1.0");
    for _ in 0..2 {
        place.resolve(&address, Keychain::default()).await.unwrap();
        assert_eq!(place.record(&address)["scheme"], "https");
    }
    drop(second);

    let third = DockerRegistry::setup().port(port).start();
    third.push(&images::single(), REPOSITORY, "1.0");
    // Many requests at once find it out together.
    let client = Client::new(place.options.clone(), Keychain::default());
    let store = client.repository(&repository(&address));
    let (one, two) = (tag("1.0"), tag("1.0"));
    let (one, two, manifest) =
        futures_util::join!(store.resolve(&one), store.resolve(&two), store.manifest(&one));
    assert_eq!(one.unwrap(), two.unwrap());
    manifest.unwrap();
    client.remember();
    assert_eq!(place.record(&address)["scheme"], "http");
    drop(third);
    let error = place.resolve(&address, Keychain::default()).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unreachable, "{error}");
}

#[tokio::test]
async fn a_way_that_is_believed_by_other_certificates_is_another() {
    let mut place = Place::new();
    let (registry, relay) = with_tokens();
    let address = relay.address();
    place.resolve(&address, user(&address)).await.unwrap();
    place.options.tls.roots = registry::read_certificates(&Authority::new().file()).unwrap();
    place.resolve(&address, user(&address)).await.unwrap();
    assert_eq!((passed(&relay, 4).len(), asked(&registry)), (4, 2));
}

#[tokio::test]
async fn who_knows_no_head_is_not_asked_with_it() {
    let registry = FaultRegistry::start();
    registry.put(REPOSITORY, "1.0", &images::single());
    registry.on(Route::new("HEAD", "*"), Answer::status(405));
    let (place, address) = (Place::new(), registry.address());
    for requests in [2, 3, 4] {
        place.resolve(&address, Keychain::default()).await.unwrap();
        assert_eq!(registry.requests().len(), requests);
    }
    assert_eq!(registry.count("HEAD", "*"), 1);
}

#[tokio::test]
async fn a_blob_is_known_where_it_was_put() {
    let (_registry, relay) = with_tokens();
    let (place, address) = (Place::new(), relay.address());
    let content = noise(1000);
    let blob = descriptor(&content);
    let (client, store) = place.store(&address, REPOSITORY, user(&address));
    assert_eq!(store.seen(&blob), None);
    write(&store, &content).await.unwrap();
    client.remember();

    let seen = async |keychain: Keychain, path: &str| {
        let (_client, store) = place.store(&address, path, keychain);
        // Whoever writes has asked the registry for something before.
        let _ = store.resolve(&tag("1.0")).await;
        store.seen(&blob)
    };
    assert_eq!(seen(user(&address), "demo/new").await, Some(repository(&address)));
    assert_eq!(seen(user(&address), REPOSITORY).await, None, "it is no news to itself");
    assert_eq!(seen(login(&address, USER, "other"), "demo/new").await, None);
    assert_eq!(seen(Keychain::default(), "demo/new").await, None);

    // It is mounted from there, and then known to be here too.
    let (client, store) = place.store(&address, "demo/new", user(&address));
    let opened = store.write(&blob, Some(&repository(&address))).await.unwrap();
    assert!(matches!(opened, store::Opened::Mounted), "{opened:?}");
    client.remember();
    assert_eq!(seen(user(&address), REPOSITORY).await, Some(repository_of(&address, "demo/new")));
}

#[tokio::test]
async fn a_place_that_others_may_use_is_left_alone() {
    let (registry, relay) = with_tokens();
    let (place, address) = (Place::new(), relay.address());
    place.resolve(&address, user(&address)).await.unwrap();
    let mode = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    for (path, bad, good) in [(place.directory(), 0o755, 0o700), (place.file(&address), 0o644, 0o600)] {
        mode(&path, bad);
        let before = (place.text(), relay.requests().len(), asked(&registry));
        place.resolve(&address, user(&address)).await.unwrap();
        passed(&relay, before.1 + 2);
        assert_eq!((place.text(), asked(&registry)), (before.0, before.2 + 1));
        mode(&path, good);
    }
}

#[tokio::test]
async fn a_torn_record_is_none() {
    let (registry, relay) = with_tokens();
    let (place, address) = (Place::new(), relay.address());
    place.resolve(&address, user(&address)).await.unwrap();
    let whole = fs::read(place.file(&address)).unwrap();
    fs::write(place.file(&address), &whole[..whole.len() / 2]).unwrap();
    place.resolve(&address, user(&address)).await.unwrap();
    passed(&relay, 4);
    assert_eq!(asked(&registry), 2);
    // And is whole again.
    place.resolve(&address, user(&address)).await.unwrap();
    passed(&relay, 5);
}

#[tokio::test]
async fn who_is_forgotten_is_a_stranger() {
    let (_registry, relay) = with_tokens();
    let (place, address) = (Place::new(), relay.address());
    let name = RegistryName::new(&address).unwrap();
    registry::forget(&place.directory(), &name).unwrap();
    let (client, store) = place.store(&address, REPOSITORY, user(&address));
    write(&store, &noise(10)).await.unwrap();
    client.remember();
    assert!(place.text().contains(&address));
    registry::forget(&place.directory(), &name).unwrap();
    assert!(!place.text().contains(&address), "{}", place.text());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn runs_that_end_together_lose_nothing() {
    let registry = FaultRegistry::start();
    let tokens = FaultRegistry::start();
    let bearer = challenge(&format!("Bearer realm=\"http://{}/token\"", tokens.address()));
    registry.on(Route::new("*", "/v2/*").without("authorization"), bearer);
    tokens.on(Route::any(), Answer::status(200).body(r#"{"token": "t", "expires_in": 300}"#));
    let (place, address) = (Arc::new(Place::new()), registry.address());
    let runs = (0..8).map(|n| {
        let (place, address) = (Arc::clone(&place), address.clone());
        let path = format!("demo/{n}");
        registry.put(&path, "1.0", &images::single());
        tokio::spawn(
            async move { place.resolve_in(&repository_of(&address, &path), Keychain::default()).await },
        )
    });
    for outcome in futures_util::future::join_all(runs).await {
        outcome.unwrap().unwrap();
    }
    assert_eq!(place.record(&address)["tokens"].as_array().unwrap().len(), 8);
}

#[tokio::test]
async fn without_a_memory_nothing_is_written() {
    let registry = FaultRegistry::start();
    let blob = put(&registry, b"x");
    let mut place = Place::new();
    place.options.memory = None;
    let (client, store) = place.store(&registry.address(), REPOSITORY, Keychain::default());
    assert!(store.contains(&blob).await.unwrap());
    client.remember();
    assert!(!place.directory().exists());
}

#[tokio::test]
async fn how_blobs_are_taken_is_known() {
    let registry = FaultRegistry::start();
    // It opens a session whatever comes with the request.
    let location = "/v2/demo/web/blobs/uploads/1";
    registry.on(Route::new("POST", "*"), Answer::status(202).header("Location", location));
    registry.on(Route::new("PUT", "/v2/demo/web/blobs/*"), Answer::status(201));
    let (place, address) = (Place::new(), registry.address());
    for _ in 0..3 {
        let (client, store) = place.store(&address, REPOSITORY, Keychain::default());
        write(&store, b"content").await.unwrap();
        client.remember();
        let requests = registry.requests();
        let tried = |request: &&Request| request.method == "POST" && !request.parameters("digest").is_empty();
        assert_eq!(requests.iter().filter(tried).count(), 1, "{requests:?}");
    }
    assert_eq!(place.record(&address)["features"], json!({"single_post": false}));
}
