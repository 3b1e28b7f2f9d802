//! What is tried again, and what is told at once.

use ::auth::Keychain;
use store::{Kind, Store};
use testkit::{Answer, FaultRegistry, Route, images};

use crate::support::{REPOSITORY, Seen, anonymous, line, options, store_of, tag};

fn registry() -> FaultRegistry {
    let registry = FaultRegistry::start();
    registry.put(REPOSITORY, "1.0", &images::single());
    registry
}

#[tokio::test]
async fn what_passes_is_tried_again() {
    for fault in [
        Answer::status(408),
        Answer::status(429),
        Answer::status(500),
        Answer::status(502),
        Answer::status(503),
        Answer::status(504),
        Answer::stored().cut_request_after(0),
        Answer::stored().cut_after(10),
        Answer::stored().cut_after(0),
        Answer::stored().silent_after(20),
        Answer::status(307).header("Location", "https://[bad"),
    ] {
        let registry = registry();
        let passes = !format!("{fault:?}").contains("Some(307)");
        registry.on(Route::get("/v2/*/manifests/*").times(2), fault.clone());
        let outcome = anonymous(&registry.address()).manifest(&tag("1.0")).await;
        assert_eq!(outcome.is_ok(), passes, "{fault:?} {outcome:?}");
        assert_eq!(registry.requests().len(), if passes { 3 } else { 1 }, "{fault:?}");
    }
}

#[tokio::test]
async fn giving_up_says_how_hard_it_was_tried() {
    let registry = registry();
    registry.on(Route::any(), Answer::error(503, "UNAVAILABLE", "try later"));
    let error = anonymous(&registry.address()).manifest(&tag("1.0")).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Interrupted);
    assert!(
        line(&error).contains("manifests/1.0: UNAVAILABLE: try later (after 3 attempts in 0."),
        "{error}"
    );
    assert_eq!(registry.requests().len(), 3);
    let registry = crate::retries::registry();
    registry.on(Route::any(), Answer::stored().cut_request_after(0));
    let error = anonymous(&registry.address()).manifest(&tag("1.0")).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Interrupted);
    assert!(
        line(&error).ends_with(
            "manifests/1.0: connection closed before message completed (after 3 attempts in 0.0 s)"
        ),
        "{error}"
    );
}

#[tokio::test]
async fn what_stays_is_told_at_once() {
    for (status, code, kind) in [
        (401, "UNAUTHORIZED", Kind::Unauthorized),
        (403, "DENIED", Kind::Denied),
        (404, "MANIFEST_UNKNOWN", Kind::NotFound),
        (400, "NAME_INVALID", Kind::Other),
    ] {
        let registry = registry();
        registry.on(Route::any(), Answer::error(status, code, "because"));
        let error = anonymous(&registry.address()).manifest(&tag("1.0")).await.unwrap_err();
        assert_eq!(error.kind(), kind);
        let address = registry.address();
        let expected = format!(
            "fetching manifest {address}/{REPOSITORY}:1.0: \
             GET http://{address}/v2/{REPOSITORY}/manifests/1.0: {code}: because"
        );
        assert_eq!(line(&error), expected);
        // A 401 that does not say what is wanted sends the client to `/v2/` once.
        assert_eq!(registry.requests().len(), if status == 401 { 2 } else { 1 });
    }
}

#[tokio::test]
async fn the_registry_s_patience_is_obeyed() {
    let registry = registry();
    registry.on(Route::any().times(1), Answer::status(429).header("Retry-After", "1"));
    let mut options = options();
    let seen = Seen::observe(&mut options);
    let store = store_of(&registry.address(), options, Keychain::default());
    store.manifest(&tag("1.0")).await.unwrap();
    let events = seen.events();
    assert_eq!(events.len(), 2);
    assert!(events[1].contains("429 Too Many Requests") && events[1].ends_with("| 1000 ms"), "{events:?}");
}

#[tokio::test]
async fn pages_for_browsers_are_not_quoted() {
    let registry = registry();
    let page =
        Answer::status(401).header("Content-Type", "text/html").body("<!DOCTYPE html>\n<p>sign in</p>");
    registry.on(Route::any(), page);
    let error = anonymous(&registry.address()).manifest(&tag("1.0")).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unauthorized);
    assert!(line(&error).ends_with("unexpected status code 401 Unauthorized"), "{error}");
}

#[tokio::test]
async fn redirects_end() {
    let registry = registry();
    registry.on(Route::any(), Answer::redirect("/v2/round/and/round"));
    let error = anonymous(&registry.address()).manifest(&tag("1.0")).await.unwrap_err();
    assert!(line(&error).ends_with("too many redirects"), "{error}");
    assert_eq!(registry.requests().len(), 11);
}

#[tokio::test]
async fn redirects_of_each_attempt_count_by_themselves() {
    let registry = registry();
    for step in 0..5 {
        let (from, to) = (format!("/step/{step}"), format!("/step/{}", step + 1));
        registry.on(Route::get(&from), Answer::redirect(&to));
    }
    registry.on(Route::get("/step/5").times(2), Answer::status(503));
    registry.on(Route::get("/step/5"), Answer::status(404));
    registry.on(Route::any(), Answer::redirect("/step/0"));
    let error = anonymous(&registry.address()).manifest(&tag("1.0")).await.unwrap_err();
    assert_eq!(error.kind(), Kind::NotFound, "{error}");
}
