//! Copies of whole repositories.

use std::sync::Arc;

use oci::MediaType;
use store::{Kind, Store};
use transfer::{CopiedTags, Error, Options};

use crate::images::{image, put, run, tag, two_platforms};
use crate::place::Place;

/// `latest` and `1` are one index; `amd64` is a child of it; `other` shares a layer.
async fn places() -> (Arc<Place>, Arc<Place>) {
    let (source, destination) = (Arc::new(Place::new("here")), Arc::new(Place::new("there")));
    let [both, amd64, _] = two_platforms(&source.inner).await;
    let other = image(&source.inner, "other", &["shared layer"]).await;
    for (name, manifest) in [("1", &both), ("amd64", &amd64), ("other", &other)] {
        source.inner.put_manifest(&tag(name), manifest).await.unwrap();
    }
    (source, destination)
}

#[tokio::test]
async fn what_tags_share_moves_once() {
    let (source, destination) = places().await;
    let (transfer, lines) = run(&source, &destination, Options::default());
    let copied = transfer.copy_tags().await.unwrap();
    assert_eq!((copied.copied, copied.existed, copied.skipped), (4, 0, 0));
    assert_eq!((copied.moved, copied.blobs_existed), (6, 0));
    for name in ["latest", "1", "amd64", "other"] {
        assert_eq!(
            destination.inner.resolve(&tag(name)).await.unwrap(),
            source.inner.resolve(&tag(name)).await.unwrap()
        );
    }
    assert_eq!(source.count("GET blob"), 6);
    assert_eq!(destination.count("HEAD blob"), 6);
    let planned: usize = lines
        .all()
        .iter()
        .filter_map(|line| line.strip_prefix("planned "))
        .map(|line| line.split(' ').next().unwrap().parse::<usize>().unwrap())
        .sum();
    assert_eq!(planned, 6);

    let (transfer, _) = run(&source, &destination, Options::default());
    let again = transfer.copy_tags().await.unwrap();
    assert_eq!(again, CopiedTags { existed: 4, ..CopiedTags::default() });
}

#[tokio::test]
async fn tags_that_exist_are_skipped_when_nothing_may_be_clobbered() {
    let (source, destination) = places().await;
    let old = put(&destination.inner, format!(r#"{{"mediaType":"{}"}}"#, MediaType::OCI_MANIFEST)).await;
    destination.inner.put_manifest(&tag("latest"), &old).await.unwrap();
    let (transfer, lines) = run(&source, &destination, Options { no_clobber: true, ..Options::default() });
    let copied = transfer.copy_tags().await.unwrap();
    assert_eq!((copied.copied, copied.skipped), (3, 1));
    assert_eq!(lines.count("skipped latest"), 1);
    assert_eq!(destination.inner.resolve(&tag("latest")).await.unwrap(), old.descriptor());
    assert_eq!(source.count("GET manifest latest"), 0);
}

#[tokio::test]
async fn the_tag_that_fails_is_named() {
    let (source, destination) = places().await;
    let broken = put(&source.inner, r#"{"layers":"three"}"#.into()).await;
    source.inner.put_manifest(&tag("broken"), &broken).await.unwrap();
    let (transfer, _) = run(&source, &destination, Options::default());
    let error = transfer.copy_tags().await.unwrap_err();
    assert!(error.to_string().starts_with("copying tag broken: "), "{error}");
    assert!(matches!(&error, Error::Tag { source, .. } if matches!(**source, Error::Manifest { .. })));
    assert_eq!(error.kind(), None::<Kind>);
}
