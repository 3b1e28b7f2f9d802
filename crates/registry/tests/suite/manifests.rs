//! Manifests and their descriptors.

use ::auth::Keychain;
use store::{Kind, Store};
use testkit::{Answer, FaultRegistry, Route, images};

use crate::support::{REPOSITORY, Seen, anonymous, line, options, store_of, tag};

#[tokio::test]
async fn what_a_head_does_not_tell_a_get_does() {
    for answer in [
        Answer::stored().without_header("Docker-Content-Digest"),
        Answer::stored().without_header("Content-Type"),
        Answer::stored().no_length(),
        Answer::stored().header("Docker-Content-Digest", "md5:1"),
        Answer::status(405),
        Answer::status(501),
    ] {
        let registry = FaultRegistry::start();
        let image = images::single();
        registry.put(REPOSITORY, "1.0", &image);
        registry.on(Route::new("HEAD", "*"), answer.clone());
        let found = anonymous(&registry.address()).resolve(&tag("1.0")).await.unwrap();
        assert_eq!(found.digest.to_string(), image.manifest.digest, "{answer:?}");
        assert_eq!(found.size, image.manifest.bytes.len() as u64);
        assert_eq!(found.media_type.as_str(), image.manifest.media_type);
        assert_eq!(registry.count("GET", "*"), 1);
    }
}

#[tokio::test]
async fn giants_are_refused() {
    for answer in [Answer::status(200).filler(100 << 20), Answer::status(200).filler(100 << 20).no_length()] {
        let registry = FaultRegistry::start();
        registry.on(Route::any(), answer);
        let error = anonymous(&registry.address()).manifest(&tag("1.0")).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Invalid);
        assert!(line(&error).ends_with("the answer has more than 4194304 bytes"), "{error}");
        assert_eq!(registry.requests().len(), 1);
    }
}

#[tokio::test]
async fn no_manifests() {
    let digest = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    let both = format!(
        r#"{{"schemaVersion":2,"config":{{"mediaType":"a/b","digest":"{digest}","size":0}},"layers":[],"manifests":[]}}"#
    );
    for content in ["<html>", "", "[]", "\"x\"", both.as_str()] {
        let registry = FaultRegistry::start();
        registry.put_manifest(
            REPOSITORY,
            "1.0",
            "application/vnd.oci.image.manifest.v1+json",
            content.as_bytes(),
        );
        let error = anonymous(&registry.address()).manifest(&tag("1.0")).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Invalid, "{content}");
        line(&error);
    }
}

#[tokio::test]
async fn wrong_bytes_under_a_digest() {
    let registry = FaultRegistry::start();
    let image = images::single();
    registry.put(REPOSITORY, "1.0", &image);
    registry.on(Route::get("*"), Answer::stored().corrupt());
    let selector = oci::Selector::Digest(image.manifest.digest.parse().unwrap());
    let error = anonymous(&registry.address()).manifest(&selector).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Invalid);
    assert!(line(&error).contains("digest"), "{error}");
}

#[tokio::test]
async fn warnings_are_told_once() {
    let registry = FaultRegistry::start();
    registry.put(REPOSITORY, "1.0", &images::single());
    registry.on(Route::any(), Answer::stored().header("Warning", r#"299 - "moves soon""#));
    let mut options = options();
    let seen = Seen::observe(&mut options);
    let store = store_of(&registry.address(), options, Keychain::default());
    for _ in 0..3 {
        store.resolve(&tag("1.0")).await.unwrap();
    }
    assert_eq!(seen.events(), ["warning: moves soon"]);
}

#[tokio::test]
async fn a_registry_that_keeps_something_else() {
    let registry = FaultRegistry::start();
    let image = images::single();
    registry.put(REPOSITORY, "1.0", &image);
    let other = format!("sha256:{}", "0".repeat(64));
    registry.on(Route::new("PUT", "*"), Answer::status(201).header("Docker-Content-Digest", &other));
    let store = anonymous(&registry.address());
    let manifest = store.manifest(&tag("1.0")).await.unwrap();
    let error = store.put_manifest(&tag("2.0"), &manifest).await.unwrap_err();
    assert!(
        line(&error).contains(&format!("the registry kept {} as {other}", image.manifest.digest)),
        "{error}"
    );
}
