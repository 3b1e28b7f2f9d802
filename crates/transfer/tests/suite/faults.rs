//! What happens when things break.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::FutureExt;
use oci::Algorithm;
use store::{Kind, Store};
use transfer::{Error, Options};

use crate::images::{image, run, tag, two_platforms};
use crate::place::Place;

fn places() -> (Arc<Place>, Arc<Place>) {
    (Arc::new(Place::new("here")), Arc::new(Place::new("there")))
}

#[tokio::test(start_paused = true)]
async fn an_interrupted_blob_is_begun_anew() {
    let (source, destination) = places();
    let image = image(&source.inner, "n", &[]).await;
    source.cuts.store(2, Ordering::SeqCst);
    let (transfer, lines) = run(&source, &destination, Options::default());
    let began = tokio::time::Instant::now();
    let copied = transfer.copy(&image.digest().into(), &tag("v1")).await.unwrap();
    assert_eq!((copied.moved, copied.bytes), (1, 12));
    assert_eq!(began.elapsed(), Duration::from_millis(500 + 1000));
    assert_eq!(lines.count("started"), 3);
    assert_eq!(lines.count("retried reading a blob: connection reset"), 2);
    assert_eq!(lines.count("done"), 1);
}

#[tokio::test(start_paused = true)]
async fn a_blob_is_given_up_and_nothing_is_named() {
    let (source, destination) = places();
    two_platforms(&source.inner).await;
    source.cuts.store(usize::MAX, Ordering::SeqCst);
    let (transfer, _) = run(&source, &destination, Options::default());
    let error = transfer.copy(&tag("latest"), &tag("v1")).await.unwrap_err();
    assert!(matches!(error, Error::GaveUp { attempts: 4, .. }));
    assert_eq!(error.kind(), Some(Kind::Interrupted));
    assert!(error.to_string().contains("after 4 attempts"), "{error}");
    assert_eq!(destination.count("PUT"), 0);
    // The same run can be tried again.
    source.cuts.store(0, Ordering::SeqCst);
    assert_eq!(transfer.copy(&tag("latest"), &tag("v1")).await.unwrap().moved, 5);
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_to_a_commit_moves_nothing_twice() {
    let (source, destination) = places();
    let image = image(&source.inner, "n", &[]).await;
    destination.lost_commits.store(1, Ordering::SeqCst);
    let (transfer, lines) = run(&source, &destination, Options::default());
    transfer.copy(&image.digest().into(), &tag("v1")).await.unwrap();
    assert_eq!((source.count("GET blob"), lines.count("existed")), (1, 1));
}

#[tokio::test]
async fn wrong_bytes_end_the_run() {
    let (source, destination) = places();
    two_platforms(&source.inner).await;
    source.lies.store(true, Ordering::SeqCst);
    let (transfer, lines) = run(&source, &destination, Options::default());
    let error = transfer.copy(&tag("latest"), &tag("v1")).await.unwrap_err();
    assert!(matches!(&error, Error::Source(error) if error.kind() == Kind::Invalid));
    assert!(error.to_string().contains("digest mismatch"), "{error}");
    assert_eq!((destination.count("PUT"), lines.count("done"), lines.count("retried")), (0, 0, 0));
}

#[tokio::test]
async fn a_missing_blob_ends_its_siblings() {
    let (source, destination) = places();
    // Of the two layers one never ends and the other is not there.
    let whole = Place::new("whole");
    let manifest = image(&whole.inner, "n", &["a layer that never ends", "missing"]).await;
    image(&source.inner, "n", &["a layer that never ends"]).await;
    source.inner.put_manifest(&tag("latest"), &manifest).await.unwrap();
    let endless = Algorithm::Sha256.digest(b"a layer that never ends");
    *source.stalls.lock().unwrap() = Some(endless);
    let (transfer, _) = run(&source, &destination, Options::default());
    let error = transfer.copy(&tag("latest"), &tag("v1")).await.unwrap_err();
    assert_eq!(error.kind(), Some(Kind::NotFound));
    assert_eq!(source.count(&format!("GET blob {endless}")), 1);
    assert_eq!(source.stalled.load(Ordering::SeqCst), 0);
    assert_eq!(destination.count("PUT"), 0);
}

#[tokio::test]
async fn a_dropped_copy_ends_its_blobs() {
    let (source, destination) = places();
    two_platforms(&source.inner).await;
    *source.stalls.lock().unwrap() = Some(Algorithm::Sha256.digest(b"shared layer"));
    let (transfer, _) = run(&source, &destination, Options::default());
    let (from, to) = (tag("latest"), tag("v1"));
    {
        let copy = transfer.copy(&from, &to);
        let mut copy = std::pin::pin!(copy);
        while source.stalled.load(Ordering::SeqCst) == 0 {
            assert!(copy.as_mut().now_or_never().is_none());
            tokio::task::yield_now().await;
        }
    }
    while source.stalled.load(Ordering::SeqCst) > 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(destination.count("PUT"), 0);
    // Whoever comes next is not kept waiting by what was dropped.
    *source.stalls.lock().unwrap() = None;
    assert!(transfer.copy(&from, &to).await.unwrap().written);
}
