//! Layouts, and what may happen to them.

#![expect(clippy::unwrap_used, reason = "a test ends where something is not as it should be")]

mod archives;
mod hostile;
mod support;
mod writing;

use std::fs;

use local::{Directory, Layout};
use store::{Kind, Store};

use crate::support::{layout, manifest, tag};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn behaves_as_a_store() {
    let (directory, layout) = layout();
    store::conformance::run(&layout).await;
    drop(layout);
    let opened = Layout::open(directory.path().join("layout")).unwrap();
    assert!(opened.only().unwrap_err().to_string().contains("say which tag is meant: 1.0, latest"));
    assert!(!directory.path().join("layout/blobs/.partial").join("x").exists());
}

/// skopeo's directory has one image, so it cannot promise all that stores do.
#[tokio::test]
async fn a_directory_has_one_image() {
    let parent = tempfile::tempdir().unwrap();
    let path = parent.path().join("image");
    let (root, child) = (manifest("root"), manifest("child"));
    let directory = Directory::create(&path).unwrap().with_root(root.digest());
    assert!(!path.exists());
    directory.put_manifest(&child.digest().into(), &child).await.unwrap();
    assert_eq!(Directory::open(&path).unwrap_err().kind(), Kind::NotFound);
    assert_eq!(directory.manifest(&root.digest().into()).await.unwrap_err().kind(), Kind::NotFound);
    directory.put_manifest(&root.digest().into(), &root).await.unwrap();
    let opened = Directory::open(&path).unwrap();
    assert_eq!(opened.only().unwrap(), root.digest().into());
    for (selector, expected) in
        [(tag("any").into(), &root), (root.digest().into(), &root), (child.digest().into(), &child)]
    {
        assert_eq!(opened.manifest(&selector).await.unwrap(), *expected);
    }
    fs::write(path.join("version"), "something else").unwrap();
    assert!(Directory::create(&path).unwrap_err().to_string().contains("nothing was written"));
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
