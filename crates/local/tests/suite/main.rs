//! Layouts, and what may happen to them.

#![expect(clippy::unwrap_used, reason = "a test ends where something is not as it should be")]

mod hostile;
mod support;
mod writing;

use std::fs;

use local::Layout;
use store::Kind;

use crate::support::layout;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn behaves_as_a_store() {
    let (directory, layout) = layout();
    store::conformance::run(&layout).await;
    drop(layout);
    let opened = Layout::open(directory.path().join("layout")).unwrap();
    assert!(opened.only().unwrap_err().to_string().contains("say which tag is meant: 1.0, latest"));
    assert!(!directory.path().join("layout/blobs/.partial").join("x").exists());
}

#[test]
fn what_is_no_layout() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("there");
    let missing = Layout::open(&path).unwrap_err();
    assert_eq!(missing.kind(), Kind::NotFound);
    assert!(missing.to_string().contains("there is no directory"), "{missing}");
    fs::create_dir(&path).unwrap();
    assert!(Layout::open(&path).unwrap_err().to_string().contains("no OCI image layout"));
    assert!(Layout::create(&path).is_ok());
    assert_eq!(fs::read_dir(&path).unwrap().count(), 0, "nothing is made before anything is written");
    fs::write(path.join("photo.jpg"), "").unwrap();
    assert!(Layout::create(&path).unwrap_err().to_string().contains("is not empty"));
    fs::write(path.join("oci-layout"), r#"{"imageLayoutVersion":"2.0.0"}"#).unwrap();
    for outcome in [Layout::open(&path), Layout::create(&path)] {
        let error = outcome.unwrap_err();
        assert_eq!(error.kind(), Kind::Invalid);
        assert!(error.to_string().contains(r#"version "2.0.0" is not known"#), "{error}");
    }
    let file = path.join("photo.jpg");
    assert!(Layout::create(&file).unwrap_err().to_string().contains("Not a directory"));
}
