//! Deletion of tags and manifests.

use oci::Selector;
use store::{Kind, Store};
use testkit::{Answer, DockerRegistry, FaultRegistry, HoistServer, Route, images};

use crate::support::{REPOSITORY, anonymous, line, tag};

fn digest() -> Selector {
    images::single().manifest.digest.parse::<oci::Digest>().unwrap().into()
}

#[tokio::test]
async fn docker_registry_deletes_by_digest_only() {
    let registry = DockerRegistry::plain();
    for name in ["1", "2"] {
        registry.push(&images::single(), REPOSITORY, name);
    }
    let store = anonymous(registry.address());
    // It says so even for a tag that is not there.
    for name in ["1", "missing"] {
        let error = store.delete(&tag(name)).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Unsupported, "{error}");
        assert!(line(&error).contains("DIGEST_INVALID: provided digest did not match"), "{error}");
    }
    store.delete(&digest()).await.unwrap();
    for name in ["1", "2"] {
        assert_eq!(store.resolve(&tag(name)).await.unwrap_err().kind(), Kind::NotFound);
    }
    assert_eq!(store.delete(&digest()).await.unwrap_err().kind(), Kind::NotFound);
}

#[tokio::test]
async fn hoist_server_deletes_tags() {
    let server = HoistServer::start();
    for name in ["1", "2"] {
        server.push(&images::single(), REPOSITORY, name);
    }
    let store = anonymous(server.address());
    store.delete(&tag("1")).await.unwrap();
    store.resolve(&tag("2")).await.unwrap();
    let error = store.delete(&tag("1")).await.unwrap_err();
    assert_eq!(error.kind(), Kind::NotFound);
    let doing = format!("deleting {}/{REPOSITORY}:1: DELETE http://", server.address());
    assert!(line(&error).starts_with(&doing), "{error}");
    store.delete(&digest()).await.unwrap();
    assert_eq!(store.resolve(&tag("2")).await.unwrap_err().kind(), Kind::NotFound);
}

#[tokio::test]
async fn good_answers() {
    for status in [200, 202, 204] {
        let registry = FaultRegistry::start();
        registry.on(Route::new("DELETE", "*"), Answer::status(status));
        anonymous(&registry.address()).delete(&tag("1")).await.unwrap();
    }
}

#[tokio::test]
async fn refusals_of_tags_and_of_everything() {
    for (status, code, of_tag, of_digest) in [
        (405, "UNSUPPORTED", Kind::Unsupported, Kind::Unsupported),
        (400, "UNSUPPORTED", Kind::Unsupported, Kind::Unsupported),
        (400, "DIGEST_INVALID", Kind::Unsupported, Kind::Invalid),
        (400, "TAG_INVALID", Kind::Unsupported, Kind::Other),
        (400, "", Kind::Unsupported, Kind::Other),
        (404, "MANIFEST_UNKNOWN", Kind::NotFound, Kind::NotFound),
        (403, "DENIED", Kind::Denied, Kind::Denied),
        (501, "", Kind::Unsupported, Kind::Unsupported),
    ] {
        let registry = FaultRegistry::start();
        registry.on(Route::new("DELETE", "*"), Answer::error(status, code, "no"));
        let store = anonymous(&registry.address());
        for (selector, kind) in [(tag("1"), of_tag), (digest(), of_digest)] {
            let error = store.delete(&selector).await.unwrap_err();
            assert_eq!(error.kind(), kind, "{status} {code}: {error}");
            line(&error);
        }
        assert_eq!(registry.requests().len(), 2);
    }
}
