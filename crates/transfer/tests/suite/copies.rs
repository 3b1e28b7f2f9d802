//! What copies do and what they ask for.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use oci::{Algorithm, Manifest, Selector};
use store::{Expected, Store};
use transfer::{Error, Fate, Options, select};

use crate::images::{image, index, run, tag, two_platforms};
use crate::place::Place;

fn elsewhere() -> (Arc<Place>, Arc<Place>) {
    (Arc::new(Place::repository("here:1/a")), Arc::new(Place::repository("there:1/b")))
}

/// Two repositories of one registry.
fn neighbours() -> (Arc<Place>, Arc<Place>) {
    let source = Arc::new(Place::repository("here:1/a"));
    let destination = Arc::new(Place::repository("here:1/b").mounts_from(&source));
    (source, destination)
}

#[tokio::test]
async fn everything_moves_once_and_in_order() {
    let (source, destination) = elsewhere();
    let [both, amd64, arm64] = two_platforms(&source.inner).await;
    let (transfer, lines) = run(&source, &destination, Options::default());
    let copied = transfer.copy(&tag("latest"), &tag("v1")).await.unwrap();
    assert_eq!(copied.descriptor, both.descriptor());
    assert_eq!((copied.written, copied.moved, copied.mounted, copied.existed), (true, 5, 0, 0));
    assert_eq!(copied.bytes, 12 + 9 + 10 + 2 * 16);
    for manifest in [&both, &amd64, &arm64] {
        assert_eq!(destination.inner.manifest(&manifest.digest().into()).await.unwrap(), *manifest);
    }
    assert_eq!(destination.inner.manifest(&tag("v1")).await.unwrap(), both);

    // One manifest request a manifest, one read a blob; the destination is asked once for everything.
    assert_eq!(source.log().len(), 3 + 5);
    assert_eq!(destination.count("HEAD manifest"), 3);
    assert_eq!(destination.count("HEAD blob"), 5);
    assert_eq!(destination.count("POST blob"), 5);
    let log = destination.log();
    assert_eq!(log.last().unwrap(), "PUT manifest v1");
    assert_eq!(log.len(), 3 + 5 + 5 + 3);

    let events = lines.all();
    assert_eq!(events[0], format!("planned 5 {}", copied.bytes));
    assert_eq!(lines.count("done"), 5);
    assert_eq!(events[events.len() - 1], "manifest there:1/b:v1");
    assert!(events.contains(&format!("manifest there:1/b@{}", amd64.digest())));
}

#[tokio::test]
async fn the_largest_blob_goes_first() {
    let (source, destination) = elsewhere();
    let image = image(&source.inner, "n", &["a", "ccc ccc ccc ccc ccc ccc", "bb"]).await;
    let options = Options { jobs: 1.try_into().unwrap(), ..Options::default() };
    let (transfer, lines) = run(&source, &destination, options);
    let digest = Selector::Digest(image.digest());
    transfer.copy(&digest, &digest).await.unwrap();
    let expected = ["ccc ccc ccc ccc ccc ccc", "{\"name\":\"n\"}", "bb", "a"];
    let started: Vec<_> = lines.all().into_iter().filter(|line| line.starts_with("started")).collect();
    let expected =
        expected.map(|content| format!("started {}", Algorithm::Sha256.digest(content.as_bytes())));
    assert_eq!(started, expected);
    assert_eq!(source.most_reads(), 1);
}

#[tokio::test]
async fn the_small_wait_until_the_large_are_known() {
    let (source, destination) = elsewhere();
    let large = "c".repeat(100_000);
    let image = image(&source.inner, "n", &["a", &large, "bb"]).await;
    *destination.last_answer.lock().unwrap() = Some(Algorithm::Sha256.digest(large.as_bytes()));
    let options = Options { jobs: 8.try_into().unwrap(), ..Options::default() };
    let (transfer, lines) = run(&source, &destination, options);
    let digest = Selector::Digest(image.digest());
    transfer.copy(&digest, &digest).await.unwrap();
    let first = lines.all().into_iter().find(|line| line.starts_with("started"));
    assert_eq!(first, Some(format!("started {}", Algorithm::Sha256.digest(large.as_bytes()))));
}

#[tokio::test]
async fn what_is_there_costs_two_requests() {
    let (source, destination) = elsewhere();
    let [both, ..] = two_platforms(&source.inner).await;
    let (transfer, _) = run(&source, &destination, Options::default());
    transfer.copy(&tag("latest"), &tag("v1")).await.unwrap();
    source.forget();
    destination.forget();
    let (transfer, lines) = run(&source, &destination, Options::default());
    let copied = transfer.copy(&tag("latest"), &tag("v1")).await.unwrap();
    assert_eq!((copied.written, copied.descriptor), (false, both.descriptor()));
    assert_eq!(source.log(), ["HEAD manifest latest"]);
    assert_eq!(destination.log(), ["HEAD manifest v1"]);
    assert_eq!(lines.all(), ["existing manifest v1"]);
}

/// An index of two platforms, its first one, which the destination has, and the other.
async fn one_of_two_there(source: &Arc<Place>, destination: &Arc<Place>) -> [Manifest; 3] {
    let [both, amd64, arm64] = two_platforms(&source.inner).await;
    let (transfer, _) = run(source, destination, Options::default());
    transfer.copy(&amd64.digest().into(), &tag("amd64")).await.unwrap();
    source.forget();
    destination.forget();
    [both, amd64, arm64]
}

/// Copies the index; what is at the destination already is left alone.
async fn copy_the_other(source: &Arc<Place>, destination: &Arc<Place>, [both, amd64, arm64]: &[Manifest; 3]) {
    let (transfer, lines) = run(source, destination, Options::default());
    let copied = transfer.copy(&tag("latest"), &tag("v1")).await.unwrap();
    // The shared layer had come with the other platform.
    assert_eq!((copied.moved, copied.existed), (2, 1));
    assert_eq!(destination.inner.manifest(&tag("v1")).await.unwrap(), *both);
    assert_eq!(destination.count("HEAD blob"), 3, "what is there is not looked into");
    assert_eq!(destination.count("PUT"), 2);
    assert!(lines.all().contains(&format!("existing manifest {}", amd64.digest())));
    assert!(!lines.all().contains(&format!("existing manifest {}", arm64.digest())));
}

#[tokio::test]
async fn a_child_that_is_there_is_not_looked_into() {
    let (source, destination) = elsewhere();
    let manifests = one_of_two_there(&source, &destination).await;
    copy_the_other(&source, &destination, &manifests).await;
    assert_eq!(source.count("GET manifest"), 2);
}

/// The source, and a destination that is so far away that a round trip counts for more than a request.
fn far() -> (Arc<Place>, Arc<Place>) {
    let (source, _) = elsewhere();
    (source, Arc::new(Place::repository("there:1/b").away(Duration::from_millis(50))))
}

#[tokio::test]
async fn the_source_is_asked_for_manifests_while_one_far_away_is_asked_whether_it_has_them() {
    for (slow, counts) in [(false, false), (true, false), (false, true)] {
        let (source, destination) = far();
        source.slow_manifests.store(slow, Ordering::SeqCst);
        source.counts.store(counts, Ordering::SeqCst);
        let manifests = one_of_two_there(&source, &destination).await;
        copy_the_other(&source, &destination, &manifests).await;
        // The name, and its children, which are asked for on both sides.
        assert_eq!(destination.count("HEAD manifest"), 3);
        assert_eq!(source.count("GET manifest"), if counts { 2 } else { 3 });
    }
}

#[tokio::test]
async fn what_the_source_lacks_may_be_far_away_already() {
    let (source, destination) = far();
    let [_, amd64, _] = one_of_two_there(&source, &destination).await;
    source.inner.delete(&amd64.digest().into()).await.unwrap();
    let (transfer, _) = run(&source, &destination, Options::default());
    transfer.copy(&tag("latest"), &tag("v1")).await.unwrap();
}

#[tokio::test]
async fn within_a_registry_blobs_are_mounted_in_one_request_each() {
    let (source, destination) = neighbours();
    let image = image(&source.inner, "six", &["1", "2", "3", "4", "5", "6"]).await;
    source.inner.put_manifest(&tag("latest"), &image).await.unwrap();
    let (transfer, lines) = run(&source, &destination, Options::default());
    let copied = transfer.copy(&tag("latest"), &tag("v1")).await.unwrap();
    assert_eq!((copied.moved, copied.mounted, copied.bytes), (0, 7, 0));
    assert_eq!(lines.count("mounted"), 7);
    assert_eq!(source.log(), ["GET manifest latest"]);
    // The question for the tag, seven mounts, the manifest.
    assert_eq!(destination.log().len(), 9);
    assert_eq!(destination.count("POST"), 7);
}

#[tokio::test]
async fn refused_mounts_move_only_what_is_missing() {
    let source = Arc::new(Place::repository("here:1/a"));
    let destination = Arc::new(Place::repository("here:1/b"));
    two_platforms(&source.inner).await;
    destination.inner.insert("shared layer".into(), oci::MediaType::OCI_LAYER);
    destination.inner.insert("for amd64".into(), oci::MediaType::OCI_LAYER);
    let options = Options { jobs: 1.try_into().unwrap(), ..Options::default() };
    let (transfer, _) = run(&source, &destination, options);
    let copied = transfer.copy(&tag("latest"), &tag("v1")).await.unwrap();
    assert_eq!((copied.moved, copied.mounted, copied.existed), (3, 0, 2));
    assert_eq!(source.count("GET blob"), 3);
    // The first refusal costs a request; then the question comes first.
    assert_eq!(destination.count("HEAD blob"), 5);
    assert_eq!(destination.count("POST blob"), 3);
}

#[tokio::test]
async fn within_a_repository_only_the_name_is_written() {
    let place = Arc::new(Place::repository("here:1/a"));
    two_platforms(&place.inner).await;
    let (transfer, _) = run(&place, &place, Options::default());
    assert!(transfer.copy(&tag("latest"), &tag("v1")).await.unwrap().written);
    assert_eq!(place.log(), ["HEAD manifest v1", "GET manifest latest", "PUT manifest v1"]);
}

#[tokio::test]
async fn no_clobber_refuses_before_anything_is_written() {
    let (source, destination) = elsewhere();
    two_platforms(&source.inner).await;
    let old = image(&destination.inner, "old", &[]).await;
    destination.inner.put_manifest(&tag("v1"), &old).await.unwrap();
    let options = Options { no_clobber: true, ..Options::default() };
    let (transfer, _) = run(&source, &destination, options);
    let error = transfer.copy(&tag("latest"), &tag("v1")).await.unwrap_err();
    assert_eq!(error.to_string(), format!("refusing to clobber existing tag there:1/b:v1@{}", old.digest()));
    assert_eq!(destination.log(), ["HEAD manifest v1"]);
    assert!(transfer.copy(&tag("latest"), &tag("v2")).await.unwrap().written);
}

#[tokio::test]
async fn a_name_that_is_not_what_was_expected() {
    let (source, destination) = elsewhere();
    let [both, ..] = two_platforms(&source.inner).await;
    let old = image(&destination.inner, "old", &[]).await;
    destination.inner.put_manifest(&tag("v1"), &old).await.unwrap();
    let expecting = |expected| Options { expect: Some(expected), ..Options::default() };
    let (transfer, _) = run(&source, &destination, expecting(Expected::Nothing));
    let error = transfer.copy(&tag("latest"), &tag("v1")).await.unwrap_err();
    let is = format!("there:1/b:v1 is {}", old.digest());
    assert_eq!(error.to_string(), format!("{is}, and was expected not to exist; nothing was written"));
    assert_eq!(destination.log(), ["HEAD manifest v1"]);
    let (transfer, _) = run(&source, &destination, expecting(Expected::Digest(both.digest())));
    let error = transfer.copy(&tag("latest"), &tag("v1")).await.unwrap_err();
    let not = format!("not the expected {}", both.digest());
    assert_eq!(error.to_string(), format!("{is}, {not}; nothing was written"));
    assert!(matches!(error, Error::Unexpected { brought: false, .. }));

    let (transfer, lines) = run(&source, &destination, expecting(Expected::Digest(old.digest())));
    assert!(transfer.copy(&tag("latest"), &tag("v1")).await.unwrap().written);
    assert_eq!(lines.all().last().unwrap(), "manifest there:1/b:v1");
    // It is looked at again when all is there.
    let log = destination.log();
    assert_eq!(log[log.len() - 2..], ["HEAD manifest v1", "PUT manifest v1"]);
    assert_eq!(destination.inner.manifest(&tag("v1")).await.unwrap(), both);
}

#[tokio::test]
async fn one_platform_alone() {
    let (source, destination) = elsewhere();
    let [both, _, arm64] = two_platforms(&source.inner).await;
    let for_platform =
        |platform: &str| Options { platform: Some(platform.parse().unwrap()), ..Options::default() };
    let (transfer, _) = run(&source, &destination, for_platform("linux/arm64"));
    let copied = transfer.copy(&tag("latest"), &tag("v1")).await.unwrap();
    assert_eq!((copied.descriptor, copied.moved), (arm64.descriptor(), 3));
    assert_eq!(destination.inner.manifest(&tag("v1")).await.unwrap(), arm64);
    assert!(destination.inner.manifest(&both.digest().into()).await.is_err());

    let (transfer, _) = run(&source, &destination, for_platform("linux/s390x"));
    let error = transfer.copy(&tag("latest"), &tag("v2")).await.unwrap_err();
    assert_eq!(error.to_string(), "no child with platform linux/s390x in index here:1/a:latest");
    assert!(matches!(error, Error::NoChild { .. }));
}

#[tokio::test]
async fn platforms_are_found_in_nested_indexes() {
    let place = Place::new("place");
    let amd64 = image(&place.inner, "amd64", &[]).await;
    let arm64 = image(&place.inner, "arm64", &[]).await;
    let s390x = image(&place.inner, "s390x", &[]).await;
    let marked = index(&place.inner, &[("linux/arm64", &arm64)]).await;
    let inner = index(&place.inner, &[("linux/s390x", &s390x)]).await;
    let outer = index(&place.inner, &[("", &inner)]).await;
    let root = index(&place.inner, &[("", &outer), ("linux/arm64", &marked), ("linux/amd64", &amd64)]).await;
    for (platform, expected) in [("amd64", &amd64), ("arm64", &arm64), ("s390x", &s390x)] {
        let platform = format!("linux/{platform}").parse().unwrap();
        let found = select(&place, &root.digest().into(), &platform).await.unwrap();
        assert_eq!(found.digest(), expected.digest());
        // What is no index is taken as it is.
        let found = select(&place, &amd64.digest().into(), &platform).await.unwrap();
        assert_eq!(found.digest(), amd64.digest());
    }
    let missing = select(&place, &root.digest().into(), &"linux/386".parse().unwrap()).await;
    assert!(matches!(missing, Err(Error::NoChild { .. })));
}

#[tokio::test]
async fn a_destination_named_by_digest_gets_only_that() {
    let (source, destination) = elsewhere();
    let [both, amd64, _] = two_platforms(&source.inner).await;
    let (transfer, _) = run(&source, &destination, Options::default());
    let error = transfer.copy(&tag("latest"), &amd64.digest().into()).await.unwrap_err();
    assert!(matches!(error, Error::WrongDigest { found, .. } if found == both.digest()));
    assert_eq!(destination.count("P"), 0);
    transfer.copy(&tag("latest"), &both.digest().into()).await.unwrap();
    let sha512 = Algorithm::Sha512.digest(amd64.raw());
    transfer.copy(&amd64.digest().into(), &sha512.into()).await.unwrap();
    assert_eq!(destination.log().last().unwrap(), &format!("PUT manifest {sha512}"));
}

#[tokio::test]
async fn a_registry_that_hides_what_it_has_is_written_to() {
    let (source, destination) = elsewhere();
    two_platforms(&source.inner).await;
    destination.denies.store(true, Ordering::SeqCst);
    let (transfer, _) = run(&source, &destination, Options::default());
    assert_eq!(transfer.copy(&tag("latest"), &tag("v1")).await.unwrap().moved, 5);
}

#[tokio::test]
async fn one_blob_alone() {
    let (source, destination) = elsewhere();
    let blob = source.inner.insert("content".into(), oci::MediaType::OCTET_STREAM);
    let (transfer, _) = run(&source, &destination, Options::default());
    assert_eq!(transfer.copy_blob(&blob).await.unwrap(), Some(Fate::Moved));
    assert_eq!(transfer.copy_blob(&blob).await.unwrap(), None);
    let (transfer, lines) = run(&source, &destination, Options::default());
    assert_eq!(transfer.copy_blob(&blob).await.unwrap(), Some(Fate::Existed));
    assert_eq!(lines.all(), [format!("existed {}", blob.digest)]);
}

#[test]
fn copies_can_be_spawned() {
    fn is_send<T: Send>(_: T) {}
    let place = Arc::new(Place::new("place"));
    let (transfer, _) = run(&place, &place, Options::default());
    is_send(transfer.copy(&tag("a"), &tag("b")));
    is_send(transfer.copy_tags());
    is_send(select(&*place, &tag("a"), &oci::Platform::linux_amd64()));
}
