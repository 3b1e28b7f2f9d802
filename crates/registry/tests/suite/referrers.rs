//! What refers to a manifest.

use futures_util::TryStreamExt;
use oci::{Algorithm, Digest};
use registry::{Referrers, ReferrersSource};
use serde_json::{Value, json};
use store::{Error, Kind};
use testkit::{Answer, FaultRegistry, HoistServer, Relay, Route};

use crate::support::{REPOSITORY, anonymous, line, passed};

const INDEX: &str = "application/vnd.oci.image.index.v1+json";

fn subject() -> Digest {
    Algorithm::Sha256.digest(b"subject")
}

/// An index of manifests that are called by their artifact types.
fn index(types: &[&str]) -> String {
    let entries = types.iter().map(|artifact_type| {
        json!({
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "digest": Algorithm::Sha256.digest(artifact_type.as_bytes()),
            "size": 7,
            "artifactType": artifact_type,
        })
    });
    json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries.collect::<Vec<Value>>()}).to_string()
}

fn page(types: &[&str]) -> Answer {
    Answer::status(200).header("Content-Type", INDEX).body(index(types))
}

/// A registry that keeps no list, with an index behind the tag.
fn tagged(types: &[&str]) -> FaultRegistry {
    let registry = FaultRegistry::start();
    let tag = subject().fallback_tag();
    registry.put_manifest(REPOSITORY, tag.as_str(), INDEX, index(types).as_bytes());
    registry
}

async fn pages(address: &str, artifact_type: Option<&str>) -> Result<Vec<Referrers>, Error> {
    let (store, subject) = (anonymous(address), subject());
    store.find_referrers(&subject, artifact_type).try_collect().await
}

/// The artifact types that are listed, and how they were found.
async fn listed(address: &str, artifact_type: Option<&str>) -> Result<(Vec<String>, ReferrersSource), Error> {
    let pages = pages(address, artifact_type).await?;
    let source = pages[0].source;
    assert!(pages.iter().all(|page| page.source == source));
    let all = pages.into_iter().flat_map(|page| page.descriptors);
    Ok((all.map(|referrer| referrer.artifact_type.unwrap()).collect(), source))
}

#[tokio::test]
async fn pages_and_links() {
    let registry = FaultRegistry::start();
    registry.on(Route::get("*").times(1), page(&["a", "b"]).header("Link", "<?last=b>; rel=\"next\""));
    let absolute =
        format!("<http://{}/v2/{REPOSITORY}/referrers/{}?last=c>; rel=next", registry.address(), subject());
    registry.on(Route::get("*").times(1), page(&[]).header("Link", &absolute));
    registry.on(Route::get("*"), page(&["d"]));
    let found = pages(&registry.address(), None).await.unwrap();
    assert_eq!(found.iter().map(|page| page.descriptors.len()).collect::<Vec<_>>(), [2, 0, 1]);
    assert!(found.iter().all(|page| page.source == ReferrersSource::Api));
    let requests = registry.requests();
    assert_eq!(requests[0].path, format!("/v2/{REPOSITORY}/referrers/{}", subject()));
    assert_eq!(requests[0].header("accept"), Some(INDEX));
    let queries: Vec<&str> = requests.iter().map(|request| request.query.as_str()).collect();
    assert_eq!(queries, ["", "last=b", "last=c"]);
}

#[tokio::test]
async fn pages_of_a_real_registry() {
    let server = HoistServer::start();
    let manifest = |number: u32| {
        let subject = json!({"mediaType": INDEX, "digest": subject(), "size": 7});
        let annotations = json!({"number": number.to_string()});
        json!({
            "schemaVersion": 2, "mediaType": INDEX, "manifests": [],
            "artifactType": if number.is_multiple_of(2) { "application/vnd.x+even" } else { "odd" },
            "subject": subject, "annotations": annotations,
        })
        .to_string()
    };
    for number in 0..1001 {
        let json = manifest(number);
        let path = format!("/v2/{REPOSITORY}/manifests/{}", Algorithm::Sha256.digest(json.as_bytes()));
        let reply = server.client().send("PUT", &path, &[("Content-Type", INDEX)], json.as_bytes());
        assert_eq!(reply.status, 201, "{}", reply.text());
    }
    let relay = Relay::to(server.address());
    let (all, source) = listed(&relay.address(), None).await.unwrap();
    assert_eq!((all.len(), source), (1001, ReferrersSource::Api));
    passed(&relay, 2);
    let (even, _) = listed(&relay.address(), Some("application/vnd.x+even")).await.unwrap();
    assert_eq!(even.len(), 501);
    assert!(even.iter().all(|artifact_type| artifact_type == "application/vnd.x+even"));
    assert_eq!(passed(&relay, 3)[2].parameters("artifactType"), ["application/vnd.x+even"]);
}

#[tokio::test]
async fn who_filters() {
    for (applied, expected) in
        [(None, &["b"][..]), (Some("other"), &["b"]), (Some("other, artifactType"), &["a", "b"])]
    {
        let registry = FaultRegistry::start();
        let answer = page(&["a", "b"]);
        let answer = match applied {
            Some(filters) => answer.header("OCI-Filters-Applied", filters),
            None => answer,
        };
        registry.on(Route::get("*"), answer);
        // What a registry says that it filtered is taken as it is.
        let (found, _) = listed(&registry.address(), Some("b")).await.unwrap();
        assert_eq!(found, expected);
        assert_eq!(registry.requests()[0].query, "artifactType=b");
    }
}

#[tokio::test]
async fn without_the_api_the_tag_counts() {
    for answer in [
        Answer::status(404),
        Answer::status(404).header("Content-Type", "text/html").body("<html>not here"),
        Answer::error(400, "UNSUPPORTED", "no"),
        Answer::error(405, "UNSUPPORTED", "no"),
        Answer::status(406),
        Answer::status(501),
        Answer::status(200).header("Content-Type", "text/html").body("<html>welcome"),
        Answer::status(200).header("Content-Type", "application/json").body("{}"),
        Answer::status(200).header("Content-Type", INDEX).body("<html>"),
        Answer::status(200).header("Content-Type", INDEX).body(r#"{"manifests":7}"#),
    ] {
        let registry = tagged(&["a", "b"]);
        registry.on(Route::get("/v2/*/referrers/*"), answer);
        let (all, source) = listed(&registry.address(), None).await.unwrap();
        assert_eq!((all, source), (vec!["a".to_owned(), "b".to_owned()], ReferrersSource::Tag));
        let (one, _) = listed(&registry.address(), Some("b")).await.unwrap();
        assert_eq!(one, ["b"]);
        assert_eq!(registry.requests().len(), 4);
    }
    // Neither list nor tag: nothing refers to it.
    let (none, source) = listed(&FaultRegistry::start().address(), None).await.unwrap();
    assert_eq!((none.len(), source), (0, ReferrersSource::Tag));
}

#[tokio::test]
async fn what_is_behind_the_tag_may_be_wrong() {
    let tag = subject().fallback_tag();
    let image = "application/vnd.oci.image.manifest.v1+json";
    for (media_type, body, reason) in [
        (image, r#"{"layers":[]}"#.to_owned(), "it is no index"),
        (INDEX, r#"{"manifests":[{}]}"#.to_owned(), "is not valid"),
        (INDEX, " ".repeat(5 << 20), "more than 4194304 bytes"),
    ] {
        let registry = FaultRegistry::start();
        registry.put_manifest(REPOSITORY, tag.as_str(), media_type, body.as_bytes());
        let error = listed(&registry.address(), None).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Invalid, "{error}");
        assert!(line(&error).contains(reason) && error.to_string().contains(tag.as_str()), "{error}");
    }
}

#[tokio::test]
async fn other_errors_are_errors() {
    for (status, kind) in [
        (401, Kind::Unauthorized),
        (403, Kind::Denied),
        (429, Kind::TooManyRequests),
        (500, Kind::Interrupted),
    ] {
        let registry = tagged(&["a"]);
        registry.on(Route::get("/v2/*/referrers/*"), Answer::error(status, "X", "no"));
        let error = listed(&registry.address(), None).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        let doing = format!("listing what refers to {}/{REPOSITORY}@{}: ", registry.address(), subject());
        assert!(line(&error).starts_with(&doing), "{error}");
    }
}

#[tokio::test]
async fn a_list_that_has_begun_does_not_turn_to_the_tag() {
    for second in [Answer::status(404), Answer::status(200).body("<html>")] {
        let registry = tagged(&["a"]);
        let list = "/v2/*/referrers/*";
        registry.on(Route::get(list).times(1), page(&["b"]).header("Link", "<?last=b>; rel=next"));
        registry.on(Route::get(list), second);
        line(&listed(&registry.address(), None).await.unwrap_err());
    }
    // Nor does one whose link leads astray.
    let registry = tagged(&["a"]);
    let foreign = page(&["b"]).header("Link", "<http://example.com/x>; rel=next");
    registry.on(Route::get("/v2/*/referrers/*"), foreign);
    let error = listed(&registry.address(), None).await.unwrap_err();
    assert!(line(&error).ends_with("leads to another host, http://example.com"), "{error}");
}
