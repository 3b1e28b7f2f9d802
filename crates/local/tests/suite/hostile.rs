//! Layouts that are not what they should be.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use futures_util::TryStreamExt;
use local::Layout;
use oci::Selector;
use store::{Kind, Store};

use crate::support::{blob, content, layout, manifest, path_of, placer, tag};

/// A layout with an image in it, spoiled; the error of reading the image's manifest.
async fn spoiled(spoil: impl FnOnce(&Path)) -> (Kind, String) {
    let (directory, layout) = layout();
    layout.put_manifest(&tag("1").into(), &manifest("1")).await.unwrap();
    let root = directory.path().join("layout");
    spoil(&root);
    let read = async { Layout::open(&root)?.manifest(&tag("1").into()).await };
    let error = read.await.unwrap_err();
    let text = error.to_string();
    assert!(text.contains(root.to_str().unwrap()) && !text.contains('\n'), "{text}");
    (error.kind(), text)
}

#[tokio::test]
async fn links_lead_nowhere() {
    for name in ["oci-layout", "index.json", "blobs", "blobs/sha256"] {
        let (kind, text) = spoiled(|root| {
            fs::rename(root.join(name), root.join("elsewhere")).unwrap();
            symlink(root.join("elsewhere"), root.join(name)).unwrap();
        })
        .await;
        assert_eq!(kind, Kind::Invalid, "{text}");
        assert!(text.contains(&format!("{name} is a symbolic link")), "{text}");
    }
    let (_, text) = spoiled(|root| {
        let path = path_of(root, &manifest("1").descriptor());
        fs::remove_file(&path).unwrap();
        symlink("/etc/passwd", &path).unwrap();
    })
    .await;
    assert!(text.contains("is a symbolic link"), "{text}");
}

#[tokio::test]
async fn what_is_no_file_is_not_waited_for() {
    let (_, text) = spoiled(|root| {
        let path = root.join("index.json");
        fs::remove_file(&path).unwrap();
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &path,
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::from_raw_mode(0o600),
            0,
        )
        .unwrap();
    })
    .await;
    assert!(text.contains("is no regular file"), "{text}");
    let (_, text) = spoiled(|root| {
        let path = path_of(root, &manifest("1").descriptor());
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
    })
    .await;
    assert!(text.contains("is no regular file"), "{text}");
}

#[tokio::test]
async fn sizes_are_bounded() {
    let huge = |path: &Path| fs::File::create(path).unwrap().set_len(1 << 40).unwrap();
    for name in ["index.json", "oci-layout"] {
        let (kind, text) = spoiled(|root| huge(&root.join(name))).await;
        assert_eq!(kind, Kind::Invalid, "{text}");
        assert!(text.contains("1099511627776 bytes, more than"), "{text}");
    }
    let (_, text) = spoiled(|root| huge(&path_of(root, &manifest("1").descriptor()))).await;
    assert!(text.contains("more than the 4194304"), "{text}");
}

#[tokio::test]
async fn what_is_missing_or_damaged_is_told() {
    let (kind, text) = spoiled(|root| fs::remove_file(root.join("index.json")).unwrap()).await;
    assert_eq!(kind, Kind::Invalid);
    assert!(text.contains("index.json is not valid: it is missing"), "{text}");
    let (_, text) = spoiled(|root| fs::write(root.join("index.json"), "[]").unwrap()).await;
    assert!(text.contains("expected an object"), "{text}");
    let (kind, text) =
        spoiled(|root| fs::remove_file(path_of(root, &manifest("1").descriptor())).unwrap()).await;
    assert_eq!(kind, Kind::NotFound);
    assert!(text.contains("it has no blob"), "{text}");
    let (kind, text) = spoiled(|root| {
        let index = fs::read_to_string(root.join("index.json")).unwrap();
        fs::write(root.join("index.json"), index.replace("sha256:", "sha256:../../")).unwrap();
    })
    .await;
    assert_eq!(kind, Kind::Invalid);
    assert!(text.contains("the entry of tag 1: \"sha256:../../"), "{text}");
    let (kind, text) =
        spoiled(|root| fs::write(path_of(root, &manifest("1").descriptor()), "{}").unwrap()).await;
    assert_eq!(kind, Kind::Invalid);
    assert!(text.contains("digest mismatch"), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn blobs_of_another_length() {
    let (directory, layout) = layout();
    let content = content(1000);
    let blob = blob(&content);
    let path = path_of(&directory.path().join("layout"), &blob);
    placer(&layout, &blob).await.write_at(0, content.slice(..10)).await.unwrap();
    fs::write(&path, &content[..500]).unwrap();
    assert!(!layout.contains(&blob).await.unwrap());
    let error = layout.read(&blob, 0..1000).await.err().unwrap();
    assert!(error.to_string().contains("has 500 bytes, not the 1000"), "{error}");
    fs::write(&path, &content).unwrap();
    let stream = layout.read(&blob, 0..1000).await.unwrap();
    fs::File::options().write(true).open(&path).unwrap().set_len(999).unwrap();
    let error = stream.try_collect::<Vec<_>>().await.unwrap_err();
    assert_eq!(error.kind(), Kind::Invalid, "{error}");
    // What has a wrong length is written anew.
    let placer = placer(&layout, &blob).await;
    placer.write_at(0, content.clone()).await.unwrap();
    placer.commit().await.unwrap();
    assert!(fs::read(&path).unwrap() == content);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_layer_is_no_manifest() {
    let (_directory, layout) = layout();
    for content in [&b"{}"[..], br#"{"architecture":"amd64","config":{}}"#, &content(5 << 20)] {
        let blob = blob(content);
        let placer = placer(&layout, &blob).await;
        placer.write_at(0, bytes::Bytes::copy_from_slice(content)).await.unwrap();
        placer.commit().await.unwrap();
        let selector = Selector::Digest(blob.digest);
        assert_eq!(layout.resolve(&selector).await.unwrap_err().kind(), Kind::NotFound);
        assert_eq!(layout.delete(&selector).await.unwrap_err().kind(), Kind::NotFound);
        assert!(layout.contains(&blob).await.unwrap());
    }
}
