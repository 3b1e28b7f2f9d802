//! Registries that deviate from the specification as real ones do.

use ::auth::Keychain;
use futures_util::TryStreamExt;
use oci::Tag;
use registry::RegistryStore;
use store::{Error, Kind, Opened, Store};
use testkit::{Dialect, FaultRegistry, Ping, images};

use crate::support::{
    REPOSITORY, Seen, anonymous, descriptor, line, login, noise, options, put, read, repository, store_of,
    tag, write,
};

/// A registry with an image in it.
fn speaking(dialect: Dialect) -> FaultRegistry {
    let registry = FaultRegistry::start();
    registry.put(REPOSITORY, "1.0", &images::single());
    registry.speak(dialect);
    registry
}

/// A store that only reads.
fn reader(address: &str, keychain: Keychain) -> RegistryStore {
    registry::Client::new(options(), keychain).repository(&repository(address))
}

async fn tags(store: &RegistryStore) -> Result<Vec<String>, Error> {
    let pages: Vec<Vec<Tag>> = store.tags().try_collect().await?;
    Ok(pages.concat().iter().map(ToString::to_string).collect())
}

async fn refusal(dialect: Dialect) -> Error {
    reader(&speaking(dialect).address(), Keychain::default()).manifest(&tag("1.0")).await.unwrap_err()
}

#[tokio::test]
async fn heads_of_manifests() {
    for dialect in [
        Dialect::HeadWithoutDigest,
        Dialect::EmptyHead,
        Dialect::ManifestHead(400),
        Dialect::ManifestHead(401),
        Dialect::ManifestHead(403),
        Dialect::ManifestHead(404),
        Dialect::ManifestHead(405),
        Dialect::ManifestHead(429),
        Dialect::ManifestHead(500),
        Dialect::ManifestHead(501),
    ] {
        let registry = speaking(dialect.clone());
        let found = reader(&registry.address(), Keychain::default()).resolve(&tag("1.0")).await.unwrap();
        assert_eq!(found, anonymous(&registry.address()).manifest(&tag("1.0")).await.unwrap().descriptor());
        assert_eq!(found.digest.to_string(), images::single().manifest.digest, "{dialect:?}");
        let error = reader(&registry.address(), Keychain::default()).resolve(&tag("2.0")).await.unwrap_err();
        assert_eq!(error.kind(), Kind::NotFound, "{error}");
    }
    let registry = speaking(Dialect::ManifestHead(404));
    let error = anonymous(&registry.address()).resolve(&tag("2.0")).await.unwrap_err();
    assert_eq!((error.kind(), registry.requests().len()), (Kind::NotFound, 1), "who writes asks once");
    let registry = speaking(Dialect::ManifestHead(500));
    let store = anonymous(&registry.address());
    for _ in 0..2 {
        let error = store.resolve(&tag("2.0")).await.unwrap_err();
        assert_eq!(error.kind(), Kind::NotFound, "who writes hears GET's answer");
    }
    let heads = registry.requests().iter().filter(|request| request.method == "HEAD").count();
    assert_eq!(heads, 1, "what does not work is not tried again");
}

#[tokio::test]
async fn heads_of_blobs() {
    for status in [400, 403, 405, 501] {
        let registry = speaking(Dialect::BlobHead(status));
        let store = anonymous(&registry.address());
        for content in [noise(5000), b"x".to_vec()] {
            let blob = put(&registry, &content);
            assert!(store.contains(&blob).await.unwrap());
            assert_eq!(store.resolve_blob(&blob.digest).await.unwrap().size, blob.size, "{status}");
        }
        assert!(!store.contains(&descriptor(b"other")).await.unwrap());
        let error = store.resolve_blob(&descriptor(b"other").digest).await.unwrap_err();
        assert_eq!(error.kind(), Kind::NotFound, "{error}");
        write(&store, b"other").await.unwrap();
    }
    let registry = speaking(Dialect::BlobHead(404));
    let blob = put(&registry, b"content");
    assert_eq!(anonymous(&registry.address()).resolve_blob(&blob.digest).await.unwrap().size, 7);
}

#[tokio::test]
async fn answers_in_chunks() {
    let registry = speaking(Dialect::Chunked);
    let store = anonymous(&registry.address());
    let found = store.resolve(&tag("1.0")).await.unwrap();
    assert_eq!(found.digest.to_string(), images::single().manifest.digest);
    assert_eq!(tags(&store).await.unwrap(), ["1.0"]);
    let content = noise(50_000);
    write(&store, &content).await.unwrap();
    let blob = store.resolve_blob(&descriptor(&content).digest).await.unwrap();
    assert_eq!(blob.size, 50_000);
    assert_eq!(read(&store, &blob).await.unwrap(), content);
}

#[tokio::test]
async fn a_length_that_only_the_end_tells() {
    let registry = FaultRegistry::start();
    let blob = put(&registry, &noise(50_000));
    registry.on(testkit::Route::any(), testkit::Answer::stored().chunked().ignore_ranges());
    let found = anonymous(&registry.address()).resolve_blob(&blob.digest).await.unwrap();
    assert_eq!(found.size, 50_000);
}

#[tokio::test]
async fn sessions_wherever_they_are() {
    // Too long to go without a session.
    let content = noise(300_000);
    for (template, state) in [
        ("{last}?_state=a%2Bb%3D", Some("a+b=")),
        ("{location}?_state=x", Some("x")),
        ("{self}{location}?_state=x", Some("x")),
        ("//{address}{location}", None),
        ("{location}?", None),
    ] {
        let registry = speaking(Dialect::Sessions(template));
        write(&anonymous(&registry.address()), &content).await.unwrap();
        let last = registry.requests().pop().unwrap();
        assert_eq!(last.parameters("digest"), [descriptor(&content).digest.to_string()], "{template}");
        assert_eq!(last.parameters("_state").first().map(String::as_str), state);
        assert!(registry.blob(REPOSITORY, &descriptor(&content).digest.to_string()).is_some());
    }
}

#[tokio::test]
async fn writes_that_are_barely_answered() {
    let registry = speaking(Dialect::Bare);
    let store = anonymous(&registry.address());
    write(&store, &noise(300_000)).await.unwrap();
    let manifest = store.manifest(&tag("1.0")).await.unwrap();
    store.put_manifest(&tag("2.0"), &manifest).await.unwrap();
    assert_eq!(registry.manifest(REPOSITORY, "2.0").as_deref(), Some(&manifest.raw()[..]));
}

#[tokio::test]
async fn who_ends_tls_may_not_tell_the_registry() {
    let registry = FaultRegistry::tls();
    registry.put(REPOSITORY, "1.0", &images::single());
    let mut options = options();
    options.insecure = true;
    let store = store_of(&registry.address(), options, Keychain::default());
    registry.speak(Dialect::Sessions("http://{address}{location}?_state=x"));
    let page = |tags, link| (tags, vec![link]);
    registry.speak(Dialect::TagPages(vec![
        page(r#"["a"]"#, "<http://{address}/v2/demo/web/tags/list?last=a>; rel=\"next\""),
        page(r#"["b"]"#, "<http://127.0.0.1/v2/demo/web/tags/list?last=b>; rel=\"next\""),
        (r#"["c"]"#, vec![]),
    ]));
    write(&store, b"content").await.unwrap();
    assert_eq!(tags(&store).await.unwrap(), ["a", "b", "c"]);
}

#[tokio::test]
async fn private_repositories_that_look_missing() {
    for status in [401, 403, 404] {
        for (ping, sent) in [
            (Ping::Basic, "Basic dXNlcjpzZWNyZXQ="),
            (Ping::Bearer, "Bearer t0ken"),
            (Ping::Welcome, "Basic dXNlcjpzZWNyZXQ="),
            (Ping::Silent, "Basic dXNlcjpzZWNyZXQ="),
        ] {
            let registry = speaking(Dialect::Hidden(status, ping));
            let store =
                store_of(&registry.address(), options(), login(&registry.address(), "user", "secret"));
            store.resolve(&tag("1.0")).await.unwrap();
            assert_eq!(tags(&store).await.unwrap(), ["1.0"]);
            write(&store, b"content").await.unwrap();
            assert_eq!(registry.count("*", "/v2/"), 1, "it is asked once");
            assert!(registry.requests()[0].header("authorization").is_none());
            assert_eq!(registry.requests().last().unwrap().header("authorization"), Some(sent), "{ping:?}");
            // What is missing stays so, and costs no more.
            let error = store.manifest(&tag("2.0")).await.unwrap_err();
            assert_eq!((error.kind(), registry.count("*", "/v2/")), (Kind::NotFound, 1));
        }
        let registry = speaking(Dialect::Hidden(status, Ping::Basic));
        let error = anonymous(&registry.address()).manifest(&tag("1.0")).await.unwrap_err();
        assert!(line(&error).ends_with("NAME_UNKNOWN: not found"), "{error}");
        let asked = if status == 401 { 2 } else { 1 };
        assert_eq!(registry.requests().len(), asked, "nobody has nothing to show");
    }
}

#[tokio::test]
async fn all_who_look_missing_ask_once() {
    let registry = speaking(Dialect::Hidden(404, Ping::Bearer));
    let store = store_of(&registry.address(), options(), login(&registry.address(), "user", "secret"));
    let selector = tag("1.0");
    for outcome in futures_util::future::join_all((0..20).map(|_| store.resolve(&selector))).await {
        outcome.unwrap();
    }
    assert_eq!((registry.count("*", "/v2/"), registry.count("*", "/token")), (1, 1));
}

#[tokio::test]
async fn a_challenge_with_a_403() {
    let registry = speaking(Dialect::ForbiddenWithChallenge);
    let store = store_of(&registry.address(), options(), login(&registry.address(), "user", "secret"));
    store.resolve(&tag("1.0")).await.unwrap();
    assert_eq!(registry.requests().len(), 2);
    let error = anonymous(&registry.address()).manifest(&tag("1.0")).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Denied, "{error}");
}

#[tokio::test]
async fn challenges_and_tokens() {
    let bearer = r#"Bearer realm="{realm}",service="s",scope="repository:demo/web:pull""#;
    for (challenges, answer, parameters) in [
        (vec![bearer], r#"{"token":"t0ken"}"#, &[("service", "s")][..]),
        (vec![bearer], r#"{"access_token":"t0ken","refresh_token":"r"}"#, &[]),
        (vec![bearer], r#"{"token":"t0ken","access_token":"t0ken","expires_in":300,"issued_at":null}"#, &[]),
        (vec![bearer], r#"{"token":"","access_token":"t0ken","expires_in":"300"}"#, &[]),
        (vec![bearer], r#"{"token":null,"access_token":"t0ken","expires_in":3e2}"#, &[]),
        (
            vec!["Bearer realm=\"{realm}?account=x&a=b\",service=\"s\""],
            r#"{"token":"t0ken"}"#,
            &[("account", "x"), ("service", "s")],
        ),
        (vec!["Bearer realm=\"{realm}\""], r#"{"token":"t0ken"}"#, &[]),
        (
            vec!["Negotiate", "Basic realm=\"x\"", "Bearer realm=\"{realm}\",scope=\"*\""],
            r#"{"token":"t0ken"}"#,
            &[],
        ),
        (vec!["Basic realm=\"x\", Bearer realm=\"{realm}\""], r#"{"token":"t0ken"}"#, &[]),
        (
            vec!["Bearer realm=\"{realm}\",scope=\"repository:demo/web:pull repository:other:pull,push\""],
            r#"{"token":"t0ken"}"#,
            &[("scope", "repository:other:pull,push")],
        ),
    ] {
        let registry = speaking(Dialect::Tokens(challenges.clone(), answer));
        let store = reader(&registry.address(), Keychain::default());
        store.resolve(&tag("1.0")).await.unwrap();
        store.resolve(&tag("1.0")).await.unwrap();
        let requests = registry.requests();
        assert_eq!(requests.len(), 4, "{challenges:?} {answer}");
        let asked = requests.iter().find(|request| request.path == "/token").unwrap();
        for (name, value) in parameters.iter().chain(&[("scope", "repository:demo/web:pull")]) {
            assert!(asked.parameters(name).contains(&(*value).to_owned()), "{asked:?}");
        }
    }
}

#[tokio::test]
async fn a_page_for_browsers_with_a_challenge() {
    let registry = speaking(Dialect::Tokens(vec!["Digest realm=\"x\""], "{}"));
    let error = reader(&registry.address(), Keychain::default()).manifest(&tag("1.0")).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unauthorized);
    assert!(line(&error).ends_with("manifests/1.0: unexpected status code 401 Unauthorized"), "{error}");
}

#[tokio::test]
async fn links_of_all_kinds() {
    let end = || (r#"["z"]"#, vec![]);
    for (links, expected) in [
        (vec!["<?last=a>; rel=\"next\""], Ok(())),
        (vec!["</v2/demo/web/tags/list?last=a>; rel=next"], Ok(())),
        (vec!["<{self}/v2/demo/web/tags/list?last=a>;rel=\"next\""], Ok(())),
        (vec!["</v2/demo/web/tags/list?last=a>"], Ok(())),
        (vec!["</first>; rel=\"first\", <?last=a>; rel=\"next\""], Ok(())),
        (vec!["</first>; rel=\"first\"", "<?last=a>; rel=\"last next\""], Ok(())),
        (
            vec!["<http://registry:5000/v2/?last=a>; rel=\"next\""],
            Err("leads to another host, http://registry:5000"),
        ),
        (vec!["<?n=1000>; rel=\"next\""], Err("leads back to a page that was read")),
    ] {
        let registry = speaking(Dialect::TagPages(vec![(r#"["a"]"#, links.clone()), end()]));
        match (tags(&anonymous(&registry.address())).await, expected) {
            (Ok(found), Ok(())) => assert_eq!(found, ["a", "z"], "{links:?}"),
            (Err(error), Err(reason)) => assert!(line(&error).ends_with(reason), "{error}"),
            (outcome, expected) => panic!("{links:?} {outcome:?} {expected:?}"),
        }
    }
}

#[tokio::test]
async fn pages_in_disorder() {
    let next = |last| vec![last];
    let registry = speaking(Dialect::TagPages(vec![
        (r#"["c","a","c"]"#, next("<?last=1>; rel=\"next\"")),
        ("null", next("<?last=2>; rel=\"next\"")),
        (r#"["a","b"]"#, next("<?last=3>; rel=\"next\"")),
        ("[]", vec![]),
    ]));
    assert_eq!(tags(&anonymous(&registry.address())).await.unwrap(), ["c", "a", "b"]);
}

#[tokio::test]
async fn a_list_without_an_end() {
    let links: Vec<String> = (0..200).map(|page| format!("<?last={page}>; rel=\"next\"")).collect();
    let registry = FaultRegistry::start();
    for link in &links {
        let page = testkit::Answer::status(200).body(r#"{"tags":["a"]}"#).header("Link", link);
        registry.on(testkit::Route::any().times(1), page);
    }
    let error = tags(&anonymous(&registry.address())).await.unwrap_err();
    assert!(line(&error).contains("the list goes on, but its last 101 pages brought nothing new"), "{error}");
    assert_eq!(registry.requests().len(), 102);
}

#[tokio::test]
async fn pages_without_links() {
    for (count, requests) in [(999, 1), (1000, 2), (2500, 3)] {
        let registry = FaultRegistry::start();
        let expected: Vec<String> = (0..count).map(|n| format!("{n:04}")).collect();
        for tag in &expected {
            registry.put_manifest(REPOSITORY, tag, "application/json", b"{}");
        }
        registry.speak(Dialect::PagesWithoutLinks);
        assert_eq!(tags(&anonymous(&registry.address())).await.unwrap(), expected);
        assert_eq!(registry.requests().len(), requests);
    }
    // One that ignores `n` and `last` has said everything.
    let registry = FaultRegistry::start();
    let all: Vec<String> = (0..1000).map(|n| format!("{n:04}")).collect();
    let body = serde_json::json!({"tags": all}).to_string();
    registry.on(testkit::Route::any(), testkit::Answer::status(200).body(body));
    assert_eq!(tags(&anonymous(&registry.address())).await.unwrap(), all);
    assert_eq!(registry.requests().len(), 2);
}

#[tokio::test]
async fn connections_that_do_not_last() {
    for dialect in [Dialect::ClosesIdle, Dialect::ClosesOnRequest] {
        let registry = speaking(dialect.clone());
        let mut options = options();
        let seen = Seen::observe(&mut options);
        let store = store_of(&registry.address(), options, Keychain::default());
        for number in 0..10 {
            let content = noise(1000 + number);
            let blob = descriptor(&content);
            let manifest = store.manifest(&tag("1.0")).await.unwrap();
            store.put_manifest(&tag("2.0"), &manifest).await.unwrap();
            assert!(!store.contains(&blob).await.unwrap());
            let mut outcome = write(&store, &content).await;
            // Bytes that were on their way cannot be sent twice here; whoever copies begins anew.
            for _ in 0..2 {
                match outcome {
                    Err(error) if error.kind() == Kind::Interrupted => {
                        outcome = write(&store, &content).await;
                    }
                    _ => break,
                }
            }
            outcome.unwrap();
            assert_eq!(read(&store, &blob).await.unwrap(), content);
        }
        assert!(seen.events().is_empty(), "{dialect:?} {:?}", seen.events());
    }
}

#[tokio::test]
async fn limits_of_pulls() {
    let error = refusal(Dialect::PullLimit(None)).await;
    assert_eq!(error.kind(), Kind::TooManyRequests);
    let text = "TOOMANYREQUESTS: You have reached your unauthenticated pull rate limit. \
        https://www.docker.com/increase-rate-limit (the limit is 100 requests in 6 h, 0 left)";
    assert!(line(&error).contains(text), "{error}");
    // Longer than anybody waits: there is no use in trying before.
    let registry = speaking(Dialect::PullLimit(Some("3600")));
    let error = reader(&registry.address(), Keychain::default()).manifest(&tag("1.0")).await.unwrap_err();
    assert!(line(&error).ends_with("0 left) (the registry asks to wait 60 min)"), "{error}");
    assert_eq!(registry.requests().len(), 1);
}

#[tokio::test]
async fn errors_in_other_words() {
    for (status, body, expected) in [
        (
            403,
            r#"{"errors":[{"code":"DENIED","message":"requested access to the resource is denied"}]}"#,
            "DENIED: requested access to the resource is denied",
        ),
        (401, r#"{"error":"Invalid bearer token format"}"#, "401 Unauthorized: Invalid bearer token format"),
        (
            404,
            r#"{"detail":"Not Found","error_message":"Not Found","title":"not_found","status":404}"#,
            "404 Not Found: not_found: Not Found",
        ),
        (
            404,
            r#"{"errors":[{"status":404,"message":"The named manifest is not known."}]}"#,
            "manifests/1.0: The named manifest is not known.",
        ),
        (400, r#"{"errors":null}"#, "unexpected status code 400 Bad Request"),
        (404, "404 page not found\n", "404 Not Found: 404 page not found"),
    ] {
        let error = refusal(Dialect::Refuses(status, body)).await;
        assert!(line(&error).ends_with(expected), "{error}");
    }
}

#[tokio::test]
async fn tags_and_repositories_of_ecr() {
    let registry = speaking(Dialect::NoRepository);
    let store = anonymous(&registry.address());
    let unknown = "NAME_UNKNOWN: The repository with name 'demo/web' does not exist in the registry";
    for error in [write(&store, b"x").await.unwrap_err(), tags(&store).await.unwrap_err()] {
        assert_eq!(error.kind(), Kind::NotFound);
        assert!(line(&error).contains(unknown), "{error}");
    }
    let registry = speaking(Dialect::ImmutableTags);
    let store = anonymous(&registry.address());
    let manifest = store.manifest(&tag("1.0")).await.unwrap();
    let error = store.put_manifest(&tag("1.0"), &manifest).await.unwrap_err();
    assert!(line(&error).ends_with("because the repository is immutable."), "{error}");
    assert_eq!(registry.count("PUT", "*"), 1);
}

#[tokio::test]
async fn mounts_that_are_refused() {
    for status in [400, 404, 405, 500] {
        let registry = speaking(Dialect::Mounts(status));
        let store = anonymous(&registry.address());
        let origin = repository(&registry.address());
        for content in [b"a", b"b", b"c"] {
            let opened = store.write(&descriptor(content), Some(&origin)).await.unwrap();
            let Opened::Writer(mut writer) = opened else { panic!("mounted") };
            writer.write(content.to_vec().into()).await.unwrap();
            writer.commit().await.unwrap();
        }
        let mounts = registry.requests().iter().filter(|request| request.query.contains("mount=")).count();
        // A 500 may pass, and is tried again; but only for the first.
        assert_eq!(mounts, if status == 500 { 3 } else { 1 }, "{status}");
    }
}

#[tokio::test]
async fn manifests_by_any_type() {
    for media_type in [
        "application/json",
        "text/plain",
        "application/octet-stream",
        "application/vnd.oci.image.manifest.v1+json; charset=utf-8",
    ] {
        let registry = speaking(Dialect::ManifestsAs(media_type));
        let expected = images::single().manifest;
        let store = anonymous(&registry.address());
        for found in [
            store.resolve(&tag("1.0")).await.unwrap(),
            store.manifest(&tag("1.0")).await.unwrap().descriptor(),
        ] {
            assert_eq!(found.digest.to_string(), expected.digest);
            assert_eq!(found.media_type.as_str(), expected.media_type, "{media_type}");
        }
    }
}

#[tokio::test]
async fn encodings_that_nobody_asked_for() {
    let registry = speaking(Dialect::GzipEncoding);
    let store = anonymous(&registry.address());
    // Layers are gzip themselves, and others are not at all: the bytes are the blob either way.
    for content in [noise(5000), images::single().blobs.last().unwrap().bytes.to_vec()] {
        let blob = put(&registry, &content);
        assert_eq!(store.resolve_blob(&blob.digest).await.unwrap().size, blob.size);
        assert_eq!(read(&store, &blob).await.unwrap(), content);
    }
    store.manifest(&tag("1.0")).await.unwrap();
    for request in registry.requests() {
        assert!(request.header("accept-encoding").is_none_or(|value| value == "identity"), "{request:?}");
    }
}

#[tokio::test]
async fn storage_that_takes_no_credentials() {
    let storage = FaultRegistry::start();
    let blob = put(&storage, &noise(5000));
    storage.speak(Dialect::Storage);
    let registry = speaking(Dialect::Hidden(401, Ping::Basic));
    registry.speak(Dialect::BlobsAt(format!("http://{}", storage.address())));
    let store = store_of(&registry.address(), options(), login(&registry.address(), "user", "secret"));
    assert!(store.contains(&blob).await.unwrap());
    assert_eq!(store.resolve_blob(&blob.digest).await.unwrap().size, 5000);
    assert_eq!(read(&store, &blob).await.unwrap(), noise(5000));
    assert!(storage.requests().iter().all(|request| request.header("authorization").is_none()));
    assert_eq!((storage.count("HEAD", "*"), storage.count("GET", "*")), (2, 3));
}
