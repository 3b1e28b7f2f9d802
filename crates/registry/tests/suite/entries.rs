//! What refers to a manifest is entered in the list that clients keep, where the registry keeps none.

use bytes::Bytes;
use futures_util::TryStreamExt;
use futures_util::future::try_join_all;
use oci::{Algorithm, Descriptor, Digest, Manifest, MediaType, Tag};
use registry::ReferrersSource;
use serde_json::{Value, json};
use store::{Kind, Store};
use testkit::{Answer, FaultRegistry, HoistServer, Relay, Request, Route};

use crate::support::{REPOSITORY, anonymous, line};

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";
const LISTS: &str = "/v2/*/referrers/*";

fn subject() -> Digest {
    Algorithm::Sha256.digest(b"subject")
}

/// A manifest that refers to the subject.
fn referring(name: &str, members: &Value) -> Manifest {
    let mut json = json!({
        "schemaVersion": 2,
        "mediaType": IMAGE,
        "layers": [],
        "subject": {"mediaType": IMAGE, "digest": subject(), "size": 7},
        "annotations": {"name": name},
    });
    for (member, value) in members.as_object().unwrap() {
        json[member] = value.clone();
    }
    let media_type = MediaType::new(json["mediaType"].as_str().unwrap());
    Manifest::new(Bytes::from(json.to_string()), Some(media_type)).unwrap()
}

/// Writes it and has it listed; the tag of the list, if there was none.
async fn write(address: &str, manifest: &Manifest) -> Result<Option<Tag>, store::Error> {
    let store = anonymous(address);
    store.put_manifest(&manifest.digest().into(), manifest).await.unwrap();
    store.list_referrer(manifest).await
}

/// The list behind the tag.
fn list(registry: &FaultRegistry) -> Option<Value> {
    let raw = registry.manifest(REPOSITORY, subject().fallback_tag().as_str())?;
    Some(serde_json::from_slice(&raw).unwrap())
}

fn writes(registry: &FaultRegistry) -> usize {
    registry.count("PUT", &format!("/v2/{REPOSITORY}/manifests/{}", subject().fallback_tag()))
}

async fn listed(address: &str) -> Vec<Descriptor> {
    let (store, subject) = (anonymous(address), subject());
    let pages: Vec<_> = store.find_referrers(&subject, None).try_collect().await.unwrap();
    assert!(pages.iter().all(|page| page.source == ReferrersSource::Tag));
    pages.into_iter().flat_map(|page| page.descriptors).collect()
}

#[tokio::test]
async fn entries_say_what_the_manifest_says() {
    let registry = FaultRegistry::start();
    let config = |media_type: &str| json!({"mediaType": media_type, "digest": subject(), "size": 7});
    let manifests = [
        (referring("a", &json!({"artifactType": "a/a", "config": config("c/c")})), Some("a/a")),
        (referring("b", &json!({"artifactType": "", "config": config("c/c")})), Some("c/c")),
        (referring("c", &json!({})), None),
        (
            referring(
                "d",
                &json!({"mediaType": INDEX, "layers": null, "manifests": [], "artifactType": "d/d"}),
            ),
            Some("d/d"),
        ),
    ];
    let mut begun = Some(subject().fallback_tag());
    for (manifest, _) in &manifests {
        assert_eq!(write(&registry.address(), manifest).await.unwrap(), begun.take());
    }
    let found = listed(&registry.address()).await;
    for (entry, (manifest, artifact_type)) in found.iter().zip(&manifests) {
        let mut expected = manifest.descriptor();
        expected.artifact_type = artifact_type.map(str::to_owned);
        expected.annotations = [("name".to_owned(), entry.annotations["name"].clone())].into();
        assert_eq!(*entry, expected);
    }
    assert_eq!(found.iter().map(|entry| &*entry.annotations["name"]).collect::<String>(), "abcd");
    let list = list(&registry).unwrap();
    assert_eq!((list["schemaVersion"].as_u64(), list["mediaType"].as_str()), (Some(2), Some(INDEX)));
    // Once more, and nothing changes.
    assert_eq!(write(&registry.address(), &manifests[0].0).await.unwrap(), None);
    assert_eq!(writes(&registry), 4);
    // What refers to nothing is not even asked for.
    let asked = registry.requests().len();
    let alone = Manifest::new(Bytes::from_static(br#"{"layers":[]}"#), None).unwrap();
    assert_eq!(write(&registry.address(), &alone).await.unwrap(), None);
    assert_eq!(registry.requests().len(), asked + 1);
}

#[tokio::test]
async fn what_others_have_entered_stays() {
    let registry = FaultRegistry::start();
    let before = format!(
        r#"{{"schemaVersion":2,"mediaType":"{INDEX}","manifests":[{{"mediaType":"{IMAGE}","digest":"{}","size":1,"x":1.10}}],"y":[]}}"#,
        Algorithm::Sha256.digest(b"other"),
    );
    let tag = subject().fallback_tag();
    registry.put_manifest(REPOSITORY, tag.as_str(), INDEX, before.as_bytes());
    write(&registry.address(), &referring("a", &json!({}))).await.unwrap();
    let mut expected: Value = serde_json::from_str(&before).unwrap();
    let list = list(&registry).unwrap();
    expected["manifests"].as_array_mut().unwrap().push(list["manifests"][1].clone());
    assert_eq!(list, expected);
    assert_eq!(list["manifests"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn many_at_once() {
    let registry = FaultRegistry::start();
    let store = anonymous(&registry.address());
    let manifests: Vec<Manifest> =
        (0..20).map(|number: usize| referring(&number.to_string(), &json!({}))).collect();
    try_join_all(manifests.iter().map(|manifest| store.list_referrer(manifest))).await.unwrap();
    assert_eq!(listed(&registry.address()).await.len(), 20);
    assert_eq!(registry.count("GET", LISTS), 1 + 1, "by the store, and by the test");
}

#[tokio::test]
async fn what_is_deleted_is_listed_no_more() {
    let registry = FaultRegistry::start();
    let store = anonymous(&registry.address()).for_delete();
    let manifests = ["a", "b"].map(|name| referring(name, &json!({})));
    assert!(!store.unlist_referrer(&manifests[0]).await.unwrap());
    assert_eq!((list(&registry), writes(&registry)), (None, 0), "there is no list");
    for manifest in &manifests {
        write(&registry.address(), manifest).await.unwrap();
    }
    let before = list(&registry).unwrap();
    for was_there in [true, false] {
        assert_eq!(store.unlist_referrer(&manifests[0]).await.unwrap(), was_there);
    }
    let mut expected = before;
    expected["manifests"].as_array_mut().unwrap().remove(0);
    assert_eq!((list(&registry), writes(&registry)), (Some(expected), 3));
    store.unlist_referrer(&manifests[1]).await.unwrap();
    assert_eq!(list(&registry).unwrap()["manifests"], json!([]));
    // What refers to nothing is not even asked for.
    let asked = registry.requests().len();
    store
        .unlist_referrer(&Manifest::new(Bytes::from_static(br#"{"layers":[]}"#), None).unwrap())
        .await
        .unwrap();
    assert_eq!(registry.requests().len(), asked);

    // Whoever keeps the list itself is left to it.
    let registry = FaultRegistry::start();
    let index = format!(r#"{{"schemaVersion":2,"mediaType":"{INDEX}","manifests":[]}}"#);
    registry.on(Route::get(LISTS), Answer::status(200).header("Content-Type", INDEX).body(index));
    anonymous(&registry.address()).unlist_referrer(&manifests[0]).await.unwrap();
    assert_eq!((registry.requests().len(), registry.count("GET", LISTS)), (1, 1));

    // Something else that has the tag stays.
    let registry = FaultRegistry::start();
    registry.put_manifest(REPOSITORY, subject().fallback_tag().as_str(), IMAGE, br#"{"layers":[]}"#);
    let error = anonymous(&registry.address()).unlist_referrer(&manifests[0]).await.unwrap_err();
    assert!(line(&error).contains("no list of referrers"), "{error}");
    assert_eq!(writes(&registry), 0);
}

/// The registry refuses to overwrite what has changed, or somebody else overwrites it.
#[tokio::test]
async fn an_entry_that_is_lost_is_made_again() {
    let tag = format!("/v2/{REPOSITORY}/manifests/{}", subject().fallback_tag());
    for (answer, times) in [(Answer::status(412), 1), (Answer::status(201), 2)] {
        let registry = FaultRegistry::start();
        registry.on(Route::new("PUT", &tag).times(times), answer);
        write(&registry.address(), &referring("a", &json!({}))).await.unwrap();
        assert_eq!((writes(&registry), listed(&registry.address()).await.len()), (times + 1, 1));
    }
    let registry = FaultRegistry::start();
    registry.on(Route::new("PUT", &tag), Answer::status(201));
    let manifest = referring("a", &json!({}));
    let error = write(&registry.address(), &manifest).await.unwrap_err();
    assert!(line(&error).contains("others have overwritten it 8 times"), "{error}");
    assert_eq!(writes(&registry), 8);
}

/// Only what was read is overwritten; but a registry that refuses for another reason is believed, and one that compares other
/// things gets it without a condition.
#[tokio::test]
async fn conditions() {
    let tag = format!("/v2/{REPOSITORY}/manifests/{}", subject().fallback_tag());
    let conditions = |registry: &FaultRegistry| -> Vec<String> {
        let requests =
            registry.requests().into_iter().filter(|request| request.method == "PUT" && request.path == tag);
        let told = |request: &Request| {
            let header = |name| request.header(name).map(|value| format!("{name}: {value}"));
            header("if-match").or(header("if-none-match")).unwrap_or_default()
        };
        requests.map(|request| told(&request)).collect()
    };
    let registry = FaultRegistry::start();
    write(&registry.address(), &referring("a", &json!({}))).await.unwrap();
    let first = registry.manifest(REPOSITORY, subject().fallback_tag().as_str()).unwrap();
    write(&registry.address(), &referring("b", &json!({}))).await.unwrap();
    let matching = format!("if-match: \"{}\"", Algorithm::Sha256.digest(&first));
    assert_eq!(conditions(&registry), ["if-none-match: *".to_owned(), matching]);

    let registry = FaultRegistry::start();
    registry.put_manifest(REPOSITORY, subject().fallback_tag().as_str(), INDEX, &first);
    registry.on(Route::new("PUT", &tag).with("if-match"), Answer::status(412));
    write(&registry.address(), &referring("b", &json!({}))).await.unwrap();
    let matching = format!("if-match: \"{}\"", Algorithm::Sha256.digest(&first));
    assert_eq!(conditions(&registry), [&*matching, &matching, ""]);

    // Something is there that cannot be seen: it is not overwritten.
    let registry = FaultRegistry::start();
    registry.on(Route::new("PUT", &tag), Answer::error(412, "PRECONDITION", "the tag is immutable"));
    let error = write(&registry.address(), &referring("a", &json!({}))).await.unwrap_err();
    assert!(line(&error).contains("the tag is immutable"), "{error}");
    assert_eq!(conditions(&registry), ["if-none-match: *"; 2]);

    let registry = FaultRegistry::start();
    registry.on(Route::get(&tag), Answer::error(403, "DENIED", "no"));
    let error = write(&registry.address(), &referring("a", &json!({}))).await.unwrap_err();
    assert_eq!((error.kind(), writes(&registry)), (Kind::Denied, 0));
}

#[tokio::test]
async fn the_list_is_none() {
    let registry = FaultRegistry::start();
    let tag = subject().fallback_tag();
    registry.put_manifest(REPOSITORY, tag.as_str(), IMAGE, br#"{"layers":[]}"#);
    let error = write(&registry.address(), &referring("a", &json!({}))).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Invalid);
    let text = line(&error);
    assert!(text.contains("no list of referrers") && text.contains(tag.as_str()), "{text}");
    assert_eq!(writes(&registry), 0);
}

#[tokio::test]
async fn a_registry_that_keeps_lists_is_left_to_it() {
    let server = HoistServer::start();
    let relay = Relay::to(server.address());
    write(&relay.address(), &referring("a", &json!({}))).await.unwrap();
    assert_eq!(relay.requests().len(), 1, "its answer to the manifest says so");

    let registry = FaultRegistry::start();
    let index = format!(r#"{{"schemaVersion":2,"mediaType":"{INDEX}","manifests":[]}}"#);
    registry.on(Route::get(LISTS), Answer::status(200).header("Content-Type", INDEX).body(index));
    write(&registry.address(), &referring("a", &json!({}))).await.unwrap();
    assert_eq!((list(&registry), registry.requests().len()), (None, 2), "one that does not say so is asked");

    let registry = FaultRegistry::start();
    registry.on(Route::get(LISTS), Answer::error(500, "UNKNOWN", "no"));
    let error = write(&registry.address(), &referring("b", &json!({}))).await.unwrap_err();
    assert_eq!((error.kind(), list(&registry)), (Kind::Interrupted, None));
    assert!(line(&error).contains("whether it lists referrers"), "{error}");

    // Who does not let us ask keeps none for us.
    let registry = FaultRegistry::start();
    registry.on(Route::get(LISTS), Answer::error(403, "DENIED", "no"));
    write(&registry.address(), &referring("c", &json!({}))).await.unwrap();
    assert_eq!(list(&registry).unwrap()["manifests"][0]["annotations"]["name"], "c");
}
