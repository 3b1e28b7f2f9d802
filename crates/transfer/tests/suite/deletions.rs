//! What is deleted, and what is not.

use oci::{Algorithm, Digest, Selector, Tag};
use store::{Kind, Store};
use transfer::{DeleteOptions, Deleted, Error, delete};

use crate::images::{image, tag};
use crate::place::Place;

const FORCE: DeleteOptions = DeleteOptions { force_digest: true };

/// A place that answers to the deletion of tags like this, with an image that has these tags and another one.
async fn place(untag: Option<Kind>, tags: &[&str]) -> (Place, Digest) {
    let mut place = Place::new("place");
    place.untag = untag;
    let meant = image(&place.inner, "meant", &[]).await;
    let other = image(&place.inner, "other", &[]).await;
    place.inner.put_manifest(&tag("other"), &other).await.unwrap();
    for name in tags {
        place.inner.put_manifest(&tag(name), &meant).await.unwrap();
    }
    (place, meant.digest())
}

fn tags(names: &[&str]) -> Vec<Tag> {
    names.iter().map(|name| Tag::new(name).unwrap()).collect()
}

fn manifest(digest: Digest, names: Option<&[&str]>) -> Deleted {
    Deleted::Manifest { digest, tags: names.map(tags), still_listed: None }
}

async fn safely(place: &Place, selector: &Selector) -> Result<Deleted, Error> {
    delete(place, selector, DeleteOptions::default()).await
}

async fn there(place: &Place, selector: impl Into<Selector>) -> bool {
    place.inner.resolve(&selector.into()).await.is_ok()
}

#[tokio::test]
async fn a_tag_goes_alone_where_the_place_can() {
    let (place, digest) = place(None, &["1", "2"]).await;
    assert_eq!(safely(&place, &tag("1")).await.unwrap(), Deleted::Tag);
    assert!(!there(&place, tag("1")).await && there(&place, tag("2")).await && there(&place, digest).await);
    assert_eq!(place.log(), ["DELETE 1"]);
    let error = safely(&place, &tag("1")).await.unwrap_err();
    assert_eq!(error.kind(), Some(Kind::NotFound));
}

#[tokio::test]
async fn the_only_tag_goes_with_its_manifest() {
    for refusal in [Kind::Unsupported, Kind::NotFound] {
        let (place, digest) = place(Some(refusal), &["1"]).await;
        let deleted = safely(&place, &tag("1")).await.unwrap();
        assert_eq!(deleted, manifest(digest, Some(&["1"])));
        assert!(!there(&place, digest).await && there(&place, tag("other")).await);
    }
}

#[tokio::test]
async fn other_tags_are_spared() {
    for refusal in [Kind::Unsupported, Kind::NotFound] {
        let (place, digest) = place(Some(refusal), &["1", "2", "3"]).await;
        let error = safely(&place, &tag("1")).await.unwrap_err();
        let expected = "refusing to delete place:1: 2 tags of the manifest would go along: 2, 3";
        assert_eq!(error.to_string(), expected);
        assert!(matches!(error, Error::SharedManifest { others, .. } if others == tags(&["2", "3"])));
        assert_eq!(place.count("DELETE"), 1);
        assert!(there(&place, tag("1")).await);

        let deleted = delete(&place, &tag("1"), FORCE).await.unwrap();
        assert_eq!(deleted, manifest(digest, Some(&["1", "2", "3"])));
        assert!(!there(&place, tag("2")).await && there(&place, tag("other")).await);
    }
}

#[tokio::test]
async fn a_digest_may_have_one_tag() {
    for names in [&[][..], &["1"]] {
        let (place, digest) = place(None, names).await;
        let deleted = safely(&place, &digest.into()).await.unwrap();
        assert_eq!(deleted, manifest(digest, Some(names)));
        assert!(!there(&place, digest).await);
    }
    let (place, digest) = place(None, &["1", "2"]).await;
    let error = safely(&place, &digest.into()).await.unwrap_err();
    let expected = format!("refusing to delete place@{digest}: 2 tags of the manifest would go along: 1, 2");
    assert_eq!(error.to_string(), expected);
    assert_eq!(place.count("DELETE"), 0);
    delete(&place, &digest.into(), FORCE).await.unwrap();
    assert!(!there(&place, tag("2")).await);
}

#[tokio::test]
async fn tags_that_cannot_be_listed() {
    for selector in [None, Some(tag("1"))] {
        let (mut place, digest) = place(Some(Kind::Unsupported), &["1"]).await;
        place.hides_tags = true;
        let selector = selector.unwrap_or(digest.into());
        let error = safely(&place, &selector).await.unwrap_err();
        assert!(error.to_string().ends_with("cannot be found out: listing tags: denied"), "{error}");
        assert_eq!(error.kind(), Some(Kind::Denied));
        assert!(there(&place, digest).await);
        let deleted = delete(&place, &selector, FORCE).await.unwrap();
        assert_eq!(deleted, manifest(digest, None));
    }
    // A manifest that is not there is not one whose tags are unknown.
    let mut place = Place::new("place");
    place.hides_tags = true;
    let missing = Algorithm::Sha256.digest(b"missing");
    let error = safely(&place, &missing.into()).await.unwrap_err();
    assert!(matches!(error, Error::Destination(_)) && error.kind() == Some(Kind::NotFound), "{error}");
}

/// The manifest is gone all the same.
#[tokio::test]
async fn what_is_still_listed_is_told() {
    for (refusal, told) in [(Ok(()), None), (Err(Kind::Denied), Some("unlisting a referrer: refused"))] {
        let (place, digest) = place(None, &[]).await;
        *place.lists.lock().unwrap() = Some(refusal);
        let Deleted::Manifest { still_listed, .. } = safely(&place, &digest.into()).await.unwrap() else {
            panic!("a manifest was to be deleted");
        };
        assert_eq!(still_listed.as_deref(), told);
        assert_eq!((there(&place, digest).await, place.count("UNLIST")), (false, 1));
        let first = place.log().iter().position(|line| line.starts_with("UNLIST"));
        assert!(
            first < place.log().iter().position(|line| line.starts_with("DELETE")),
            "docker-registry wants it so"
        );
    }
}

#[tokio::test]
async fn what_is_missing_is_told() {
    for refusal in [None, Some(Kind::Unsupported), Some(Kind::NotFound)] {
        let (place, _) = place(refusal, &["1"]).await;
        for selector in [tag("missing"), Algorithm::Sha256.digest(b"missing").into()] {
            let error = safely(&place, &selector).await.unwrap_err();
            assert_eq!(error.kind(), Some(Kind::NotFound), "{error}");
        }
    }
    // Other refusals are not worked around.
    let (place, _) = place(Some(Kind::Denied), &["1"]).await;
    assert_eq!(safely(&place, &tag("1")).await.unwrap_err().kind(), Some(Kind::Denied));
    assert_eq!(place.log(), ["DELETE 1"]);
}

#[tokio::test]
async fn many_tags_are_asked_for_in_parallel_and_a_few_are_named() {
    let names: Vec<String> = (10..50).map(|n| n.to_string()).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let (place, digest) = place(None, &names).await;
    let error = safely(&place, &digest.into()).await.unwrap_err().to_string();
    assert!(error.contains(": 40 tags of the manifest would go along: 10, 11, 12, 13, 14, …"), "{error}");
    assert_eq!(place.count("HEAD manifest"), 41);
    let at_once = place.most_questions.load(std::sync::atomic::Ordering::SeqCst);
    assert!((2..=16).contains(&at_once), "{at_once}");
}
