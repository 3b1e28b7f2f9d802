//! Challenges, tokens and where credentials go.

use std::time::Duration;

use ::auth::Keychain;
use futures_util::future::join_all;
use registry::{Client, RegistryStore};
use serde_json::json;
use store::{Kind, Store};
use testkit::{Answer, DockerRegistry, FaultRegistry, Relay, Route, TokenServer, images};

use crate::support::{
    REPOSITORY, anonymous, challenge, configured, keychain, line, login, noise, options, passed, put, read,
    repository, store_of, tag, write,
};

fn reader(address: &str, keychain: Keychain) -> RegistryStore {
    Client::new(options(), keychain).repository(&repository(address))
}

/// A registry that wants a token of `realm`.
fn wants_tokens(realm: &str) -> FaultRegistry {
    let registry = FaultRegistry::start();
    registry.put(REPOSITORY, "1.0", &images::single());
    let value = format!(r#"Negotiate, Bearer realm="{realm}",service="s",scope="repository:other:pull""#);
    registry.on(Route::new("*", "/v2/*").without("authorization"), challenge(&value));
    registry
}

/// A token server that answers this.
fn gives(answer: &serde_json::Value) -> FaultRegistry {
    let server = FaultRegistry::start();
    server.on(Route::new("*", "/token*"), Answer::status(200).body(answer.to_string()));
    server
}

#[tokio::test]
async fn nothing_is_asked_before_the_question() {
    let registry = DockerRegistry::plain();
    registry.push(&images::single(), REPOSITORY, "1.0");
    let relay = Relay::to(registry.address());
    anonymous(&relay.address()).resolve(&tag("1.0")).await.unwrap();
    assert_eq!(passed(&relay, 1)[0].method, "HEAD");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_token_for_all_who_wait() {
    let registry = DockerRegistry::bearer(TokenServer::start("user", "secret"));
    registry.push(&images::single(), REPOSITORY, "1.0");
    let store = reader(registry.address(), login(registry.address(), "user", "secret"));
    let tasks = (0..50).map(|_| {
        let store = store.clone();
        tokio::spawn(async move { store.resolve(&tag("1.0")).await })
    });
    for outcome in join_all(tasks).await {
        outcome.unwrap().unwrap();
    }
    assert_eq!(registry.tokens().unwrap().requests().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_who_meet_the_first_basic_challenge_answer_it() {
    let registry = DockerRegistry::basic("user", "secret");
    registry.push(&images::single(), REPOSITORY, "1.0");
    let relay = Relay::to(registry.address());
    let store = reader(&relay.address(), login(&relay.address(), "user", "secret"));
    let tasks = (0..30).map(|_| {
        let store = store.clone();
        tokio::spawn(async move { store.resolve(&tag("1.0")).await })
    });
    for outcome in join_all(tasks).await {
        outcome.unwrap().unwrap();
    }
    // Each was let in; those that came before the first 401 met one of their own.
    let (without, with): (Vec<_>, Vec<_>) = {
        let requests = relay.requests();
        requests.into_iter().partition(|request| request.header("authorization").is_none())
    };
    assert!(
        !without.is_empty() && without.len() <= 30 && with.len() <= 30,
        "{} {}",
        without.len(),
        with.len()
    );
    let calm = Relay::to(registry.address());
    let store = reader(&calm.address(), login(&calm.address(), "user", "secret"));
    for requests in [2, 3, 4] {
        store.resolve(&tag("1.0")).await.unwrap();
        let last = passed(&calm, requests).pop().unwrap();
        assert!(last.header("authorization").is_some(), "the challenge is remembered");
    }
    assert!(calm.requests()[0].header("authorization").is_none(), "credentials before a challenge");
}

#[tokio::test]
async fn wrong_passwords_are_told_at_once() {
    let registry = DockerRegistry::basic("user", "secret");
    let relay = Relay::to(registry.address());
    let store = reader(&relay.address(), login(&relay.address(), "user", "wr0ng"));
    let error = store.manifest(&tag("1.0")).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unauthorized);
    assert!(line(&error).contains("UNAUTHORIZED: authentication required"), "{error}");
    passed(&relay, 2);
    let nobody = anonymous(&relay.address()).manifest(&tag("1.0")).await.unwrap_err();
    assert_eq!(nobody.kind(), Kind::Unauthorized);
}

#[tokio::test]
async fn tokens_are_renewed_before_they_end() {
    let registry = DockerRegistry::bearer(TokenServer::start("user", "secret"));
    registry.push(&images::single(), REPOSITORY, "1.0");
    let relay = Relay::to(registry.address());
    let store = reader(&relay.address(), login(&relay.address(), "user", "secret"));
    store.resolve(&tag("1.0")).await.unwrap();
    // They last five minutes.
    for (later, tokens, requests) in [(200, 1, 3), (71, 2, 4)] {
        tokio::time::pause();
        tokio::time::advance(Duration::from_secs(later)).await;
        tokio::time::resume();
        store.resolve(&tag("1.0")).await.unwrap();
        assert_eq!(registry.tokens().unwrap().requests().len(), tokens);
        // None of them was met with a 401.
        passed(&relay, requests);
    }
}

#[tokio::test]
async fn a_token_that_is_refused_is_replaced_once() {
    let tokens = TokenServer::start("user", "secret");
    let registry = wants_tokens(&tokens.realm());
    let store = reader(&registry.address(), login(&registry.address(), "user", "secret"));
    store.resolve(&tag("1.0")).await.unwrap();
    registry.on(Route::get("/v2/*").times(1), challenge(&tokens.challenge("repository:other:pull")));
    // Rules are asked in order: the first one no longer fits, as there is a token.
    store.manifest(&tag("1.0")).await.unwrap();
    assert_eq!(tokens.requests().len(), 2);
    registry.on(Route::get("/v2/*"), challenge(&tokens.challenge("repository:other:pull")));
    let error = store.manifest(&tag("1.0")).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unauthorized);
    assert_eq!(tokens.requests().len(), 3, "a fresh token that is refused stays refused");
}

#[tokio::test]
async fn a_token_that_ends_in_the_middle_of_an_upload_is_replaced() {
    let tokens = TokenServer::start("user", "secret");
    let registry = FaultRegistry::start();
    let value = tokens.challenge(&format!("repository:{REPOSITORY}:pull,push"));
    registry.on(Route::new("*", "/v2/*").without("authorization"), challenge(&value));
    registry.on(Route::new("PUT", "/v2/*/blobs/uploads/*").times(1), challenge(&value));
    let store = store_of(&registry.address(), options(), login(&registry.address(), "user", "secret"));
    let error = write(&store, &noise(300_000)).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Interrupted, "{error}");
    write(&store, &noise(300_000)).await.unwrap();
    assert_eq!(tokens.requests().len(), 2);
}

#[tokio::test]
async fn answers_of_token_servers() {
    for (answer, sent) in [
        (json!({"token": "t0ken"}), "Bearer t0ken"),
        (json!({"access_token": "acc3ss", "expires_in": 60}), "Bearer acc3ss"),
        (json!({"token": "", "access_token": "acc3ss"}), "Bearer acc3ss"),
        (json!({"token": "t0ken", "expires_in": u64::MAX}), "Bearer t0ken"),
        (json!({"token": "t0ken", "expires_in": "never"}), "Bearer t0ken"),
    ] {
        let server = gives(&answer);
        let registry = wants_tokens(&format!("http://{}/token?a=b", server.address()));
        let store = reader(&registry.address(), Keychain::default());
        store.resolve(&tag("1.0")).await.unwrap();
        store.resolve(&tag("1.0")).await.unwrap();
        assert_eq!(registry.requests().last().unwrap().header("authorization"), Some(sent));
        let asked = server.requests();
        assert_eq!(asked.len(), 1, "{answer}");
        let own = format!("repository:{REPOSITORY}:pull");
        assert_eq!(asked[0].parameters("scope"), [own.as_str(), "repository:other:pull"]);
        assert_eq!(
            (asked[0].parameters("service"), asked[0].parameters("a")),
            (vec!["s".into()], vec!["b".into()])
        );
        assert!(asked[0].header("authorization").is_none());
    }
}

#[tokio::test]
async fn token_servers_without_a_token() {
    for answer in [
        Answer::status(200).body("{}"),
        Answer::status(200).body("<html>"),
        Answer::status(200).filler(2 << 20),
    ] {
        let server = FaultRegistry::start();
        server.on(Route::any(), answer);
        let registry = wants_tokens(&format!("http://{}/token", server.address()));
        let error = reader(&registry.address(), Keychain::default()).resolve(&tag("1.0")).await.unwrap_err();
        assert!(line(&error).contains("/token"), "{error}");
        assert_eq!(server.requests().len(), 1);
    }
}

#[tokio::test]
async fn token_servers_may_ask_for_patience() {
    let tokens = FaultRegistry::start();
    tokens.on(Route::get("/token").times(1), Answer::status(429).header("Retry-After", "1"));
    tokens.on(Route::get("/token"), Answer::status(200).body(r#"{"token":"t"}"#));
    let registry = wants_tokens(&format!("http://{}/token", tokens.address()));
    let mut options = options();
    let seen = crate::support::Seen::observe(&mut options);
    let store = store_of(&registry.address(), options, Keychain::default());
    store.resolve(&tag("1.0")).await.unwrap();
    let events = seen.events();
    assert!(events.len() == 1 && events[0].ends_with("| 1000 ms"), "{events:?}");
}

#[tokio::test]
async fn a_failure_of_the_token_server_is_told_to_all_who_wait() {
    let server = FaultRegistry::start();
    server.on(Route::any(), Answer::status(503).delay(Duration::from_millis(100)));
    let registry = wants_tokens(&format!("http://{}/token", server.address()));
    let store = reader(&registry.address(), Keychain::default());
    let first = tag("1.0");
    for outcome in join_all((0..20).map(|_| store.resolve(&first))).await {
        let error = outcome.unwrap_err();
        assert!(line(&error).contains("503 Service Unavailable (after 3 attempts"), "{error}");
    }
    assert_eq!(server.requests().len(), 3, "each waits for the same attempts");
}

#[tokio::test]
async fn who_gives_up_does_not_stop_the_others() {
    let server = FaultRegistry::start();
    server.on(
        Route::any().times(1),
        Answer::status(200).body(r#"{"token":"t"}"#).delay(Duration::from_secs(3)),
    );
    server.on(Route::any(), Answer::status(200).body(r#"{"token":"t"}"#));
    let registry = wants_tokens(&format!("http://{}/token", server.address()));
    let store = reader(&registry.address(), Keychain::default());
    let impatient = tokio::spawn({
        let store = store.clone();
        async move { store.resolve(&tag("1.0")).await }
    });
    while server.requests().is_empty() {
        tokio::task::yield_now().await;
    }
    impatient.abort();
    assert!(impatient.await.unwrap_err().is_cancelled());
    store.resolve(&tag("1.0")).await.unwrap();
}

#[tokio::test]
async fn identity_tokens_go_the_oauth2_way() {
    let registry = DockerRegistry::bearer(TokenServer::start("user", "secret"));
    registry.push(&images::single(), REPOSITORY, "1.0");
    let entry = json!({"identitytoken": "refresh-user"});
    let store = store_of(registry.address(), options(), keychain(registry.address(), &entry));
    store.resolve(&tag("1.0")).await.unwrap();
    write(&store, &noise(1000)).await.unwrap();
    let requests = registry.tokens().unwrap().requests();
    assert_eq!(requests.len(), 1);
    assert_eq!((requests[0].method.as_str(), requests[0].query.as_str()), ("POST", ""));
}

#[tokio::test]
async fn a_password_beside_an_identity_token_is_for_registries_that_want_one() {
    let registry = DockerRegistry::basic("user", "secret");
    registry.push(&images::single(), REPOSITORY, "1.0");
    let entry = json!({"username": "user", "password": "secret", "identitytoken": "1dent1ty"});
    let store = store_of(registry.address(), options(), keychain(registry.address(), &entry));
    store.resolve(&tag("1.0")).await.unwrap();
    write(&store, &noise(1000)).await.unwrap();
    let entry = json!({"username": "user", "identitytoken": "1dent1ty"});
    let store = reader(registry.address(), keychain(registry.address(), &entry));
    assert_eq!(store.resolve(&tag("1.0")).await.unwrap_err().kind(), Kind::Unauthorized);
}

#[tokio::test]
async fn identity_tokens_are_passwords_where_oauth2_is_unknown() {
    // base64 of "0000:1dent1ty" and of "<token>:1dent1ty"
    for (status, user, sent) in [
        (400, "0000", "Basic MDAwMDoxZGVudDF0eQ=="),
        (401, "0000", "Basic MDAwMDoxZGVudDF0eQ=="),
        (404, "0000", "Basic MDAwMDoxZGVudDF0eQ=="),
        (405, "", "Basic PHRva2VuPjoxZGVudDF0eQ=="),
    ] {
        let server = FaultRegistry::start();
        server.on(Route::new("POST", "/token*"), Answer::status(status));
        server.on(Route::get("/token*"), Answer::status(200).body(r#"{"token":"t0ken"}"#));
        let registry = wants_tokens(&format!("http://{}/token", server.address()));
        let entry = json!({"identitytoken": "1dent1ty", "username": user});
        let store = reader(&registry.address(), keychain(&registry.address(), &entry));
        store.resolve(&tag("1.0")).await.unwrap();
        let asked = server.requests();
        let methods: Vec<&str> = asked.iter().map(|request| request.method.as_str()).collect();
        assert_eq!(methods, ["POST", "GET"]);
        assert_eq!(asked[0].header("authorization"), None);
        assert_eq!(asked[1].header("authorization"), Some(sent));
        assert_eq!(asked[1].parameters("scope").len(), 2);
    }
    // Who knows OAuth2 says what is wrong with the token, whatever comes of it as a password.
    let server = FaultRegistry::start();
    server.on(Route::new("POST", "/token*"), Answer::status(400).body(r#"{"error":"invalid_grant"}"#));
    server.on(Route::get("/token*"), Answer::status(401));
    let registry = wants_tokens(&format!("http://{}/token", server.address()));
    let entry = json!({"identitytoken": "1dent1ty"});
    let store = reader(&registry.address(), keychain(&registry.address(), &entry));
    let error = store.resolve(&tag("1.0")).await.unwrap_err().to_string();
    assert!(error.contains("400 Bad Request: invalid_grant"), "{error}");
    // Another answer stands.
    let server = FaultRegistry::start();
    server.on(Route::any(), Answer::status(403));
    let registry = wants_tokens(&format!("http://{}/token", server.address()));
    let entry = json!({"identitytoken": "1dent1ty"});
    let store = reader(&registry.address(), keychain(&registry.address(), &entry));
    assert_eq!(store.resolve(&tag("1.0")).await.unwrap_err().kind(), Kind::Denied);
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn tokens_to_use_elsewhere() {
    let registry = DockerRegistry::bearer(TokenServer::start("user", "secret"));
    registry.push(&images::single(), REPOSITORY, "1.0");
    let relay = Relay::to(registry.address());
    let store = reader(&relay.address(), login(&relay.address(), "user", "secret"));
    let other = format!("{}/other", relay.address()).parse::<oci::Repository>().unwrap();
    let token = store.for_push(None).token(&[other]).await.unwrap();
    assert_eq!(passed(&relay, 1)[0].path, "/v2/");
    assert_eq!(token.expires_in, Some(300));
    let shown = format!("{token:?}");
    assert!(!shown.contains("eyJ"), "{shown}");
    let asked = registry.tokens().unwrap().requests();
    let own = format!("repository:{REPOSITORY}:pull,push");
    assert_eq!(asked[0].parameters("scope"), [own.as_str(), "repository:other:pull"]);
    // It opens the registry.
    let entry = json!({"registrytoken": token.token.expose()});
    let bearer = reader(&relay.address(), keychain(&relay.address(), &entry));
    bearer.resolve(&tag("1.0")).await.unwrap();
    assert_eq!(bearer.token(&[]).await.unwrap().token, token.token, "it is its own token");

    let open = FaultRegistry::start();
    open.on(Route::get("/v2/").times(1), Answer::status(503));
    open.on(Route::get("/v2/").times(1), Answer::status(200));
    open.on(Route::get("/v2/").times(1), challenge("Basic realm=\"x\""));
    open.on(Route::get("/v2/").times(1), challenge("Negotiate"));
    open.on(Route::get("/v2/"), Answer::status(404));
    let store = reader(&open.address(), Keychain::default());
    for expected in ["asks for no token", "user and password with each request", "of a kind", "404 Not Found"]
    {
        let error = store.token(&[]).await.unwrap_err();
        assert!(line(&error).contains(expected), "{error}");
    }
}

#[tokio::test]
async fn credentials_are_checked_before_they_are_kept() {
    let basic = DockerRegistry::basic("user", "secret");
    let bearer = DockerRegistry::bearer(TokenServer::start("user", "secret"));
    let plain = DockerRegistry::plain();
    for (address, password, expected) in [
        (basic.address(), "secret", Ok(true)),
        (basic.address(), "wr0ng", Err(Kind::Unauthorized)),
        (bearer.address(), "secret", Ok(true)),
        (bearer.address(), "wr0ng", Err(Kind::Unauthorized)),
        (plain.address(), "wr0ng", Ok(false)),
    ] {
        let given = ::auth::Credential::basic("user", ::auth::Secret::new(password));
        let client = Client::new(options(), Keychain::default().given(given));
        let outcome = client.check(repository(address).registry()).await;
        assert_eq!(outcome.map_err(|error| error.kind()), expected, "{address} {password}");
    }
}

#[tokio::test]
async fn registry_tokens_go_as_they_are() {
    let registry = DockerRegistry::bearer(TokenServer::start("user", "secret"));
    registry.push(&images::single(), REPOSITORY, "1.0");
    let token = registry.tokens().unwrap().issue(&format!("repository:{REPOSITORY}:pull"));
    let relay = Relay::to(registry.address());
    let store = reader(&relay.address(), keychain(&relay.address(), &json!({"registrytoken": token})));
    store.resolve(&tag("1.0")).await.unwrap();
    passed(&relay, 2);
    let store = reader(&relay.address(), keychain(&relay.address(), &json!({"registrytoken": "wr0ng"})));
    assert_eq!(store.resolve(&tag("1.0")).await.unwrap_err().kind(), Kind::Unauthorized);
    // Nobody gives another one; GET is asked for the reason.
    passed(&relay, 5);
    assert!(registry.tokens().unwrap().requests().is_empty());
}

#[tokio::test]
async fn anybody_may_pull_and_nobody_push() {
    let registry = DockerRegistry::bearer(TokenServer::start("user", "secret").anonymous_pull());
    registry.push(&images::single(), REPOSITORY, "1.0");
    reader(registry.address(), Keychain::default()).resolve(&tag("1.0")).await.unwrap();
    let requests = registry.tokens().unwrap().requests();
    assert!(requests.len() == 1 && requests[0].header("authorization").is_none());
    let error = write(&anonymous(registry.address()), b"content").await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unauthorized, "{error}");
}

#[tokio::test]
async fn credentials_and_the_user_s_headers_stay_with_their_host() {
    let (registry, elsewhere) = (FaultRegistry::start(), FaultRegistry::start());
    let blob = put(&elsewhere, &noise(1000));
    registry.on(Route::get("/v2/*").without("authorization"), challenge("Basic realm=\"x\""));
    let target = format!("http://{}/v2/{REPOSITORY}/blobs/{}?sig=s3cret", elsewhere.address(), blob.digest);
    registry.on(Route::get("/v2/*/blobs/*"), Answer::redirect(&target));
    let config = json!({
        "auths": {registry.address(): {"username": "user", "password": "secret"}},
        "HttpHeaders": {"X-Team-Key": "t3am"},
    });
    let store = store_of(&registry.address(), options(), configured(&config));
    assert_eq!(read(&store, &blob).await.unwrap(), noise(1000));
    assert_eq!(registry.requests()[1].header("x-team-key"), Some("t3am"));
    let there = elsewhere.requests();
    assert_eq!(there.len(), 1);
    assert!(
        there[0].header("authorization").is_none() && there[0].header("x-team-key").is_none(),
        "{there:?}"
    );
}

#[tokio::test]
async fn another_host_s_challenge_is_not_answered() {
    let (registry, elsewhere) = (FaultRegistry::start(), FaultRegistry::start());
    let trap = TokenServer::start("user", "secret");
    elsewhere.on(Route::any(), challenge(&trap.challenge("repository:x:pull")));
    let upload = format!("http://{}/upload", elsewhere.address());
    registry.on(Route::new("POST", "/v2/*"), Answer::status(202).header("Location", &upload));
    registry.on(Route::get("/v2/*/blobs/*"), Answer::redirect(&upload));
    registry.put(REPOSITORY, "1.0", &images::single());
    let store = store_of(&registry.address(), options(), login(&registry.address(), "user", "secret"));
    assert_eq!(write(&store, &noise(10)).await.unwrap_err().kind(), Kind::Unauthorized);
    assert_eq!(read(&store, &crate::support::descriptor(b"x")).await.unwrap_err().kind(), Kind::Unauthorized);
    store.resolve(&tag("1.0")).await.unwrap();
    assert!(trap.requests().is_empty());
    for request in registry.requests().iter().chain(&elsewhere.requests()) {
        assert!(request.header("authorization").is_none(), "{request:?}");
    }
}

#[tokio::test]
async fn credentials_do_not_travel_in_the_clear() {
    let registry = wants_tokens("http://auth.example.com/token");
    for entry in [json!({"username": "user", "password": "secret"}), json!({"identitytoken": "1d"})] {
        let store = reader(&registry.address(), keychain(&registry.address(), &entry));
        let error = store.resolve(&tag("1.0")).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Unauthorized);
        assert!(line(&error).contains("over plain http"), "{error}");
    }
}
