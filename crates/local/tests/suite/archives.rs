//! Archives that are written and read again.

use std::fs;

use bytes::Bytes;
use futures_util::TryStreamExt;
use local::{Archive, ArchiveFormat, NewArchive, Wanted};
use oci::{Descriptor, Manifest, MediaType};
use proptest::prelude::*;
use store::{Kind, Opened, Store, collect, in_order};

use crate::support::{blob, content, manifest, tag};

/// Writes a blob in pieces of this length.
async fn write(archive: &NewArchive, content: &[u8], piece: usize) -> Descriptor {
    let blob = blob(content);
    let mut writer = match archive.write(&blob, None).await.unwrap() {
        Opened::Writer(writer) => writer,
        Opened::Placer(placer) => in_order(placer),
        Opened::Existed => return blob,
        opened @ Opened::Mounted => panic!("{opened:?} from nowhere"),
    };
    for piece in content.chunks(piece) {
        writer.write(Bytes::copy_from_slice(piece)).await.unwrap();
    }
    writer.commit().await.unwrap();
    blob
}

async fn read(archive: &Archive, blob: &Descriptor) -> Bytes {
    collect(archive.read(blob, 0..blob.size).await.unwrap(), blob, u64::MAX).await.unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whatever the sizes, and in whatever order they come: what is laid out lies where it was laid out.
    #[test]
    fn what_is_written_is_there(sizes in proptest::collection::vec(0..2000_usize, 1..8), turned in any::<bool>()) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let directory = tempfile::tempdir().unwrap();
            let contents: Vec<Vec<u8>> =
                sizes.iter().enumerate().map(|(seed, size)| content(size + seed)[seed..].to_vec()).collect();
            let mut blobs: Vec<Descriptor> = contents.iter().map(|content| blob(content)).collect();
            let root = manifest("root");
            let mut archives = Vec::new();
            for name in ["a.tar", "b.tar"] {
                let path = directory.path().join(name);
                let archive = NewArchive::create(ArchiveFormat::Oci, &path).unwrap();
                blobs.push(root.descriptor());
                archive.lay_out(&blobs).await.unwrap();
                blobs.pop();
                let mut order: Vec<&Vec<u8>> = contents.iter().collect();
                if turned && name == "b.tar" {
                    order.reverse();
                }
                for content in order {
                    write(&archive, content, 301).await;
                }
                archive.put_manifest(&tag("1").into(), &root).await.unwrap();
                prop_assert!(!path.exists());
                archive.finish().await.unwrap();
                archives.push(fs::read(path).unwrap());
            }
            prop_assert!(archives[0] == archives[1]);
            let archive = Archive::open(ArchiveFormat::Oci, directory.path().join("a.tar")).await.unwrap();
            for (blob, content) in blobs.iter().zip(&contents) {
                prop_assert_eq!(&read(&archive, blob).await, content);
            }
            prop_assert_eq!(archive.manifest(&archive.find(None).unwrap()).await.unwrap(), root);
            Ok(())
        })?;
    }
}

#[tokio::test]
async fn what_is_not_finished_is_not_there() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.tar");
    let archive = NewArchive::create(ArchiveFormat::Oci, &path).unwrap();
    let (one, two) = (content(10), content(20));
    archive.lay_out(&[blob(&one), blob(&two)]).await.unwrap();
    write(&archive, &one, 10).await;
    let unfinished = archive.finish().await.unwrap_err();
    assert!(unfinished.to_string().contains("not all of it has come"), "{unfinished}");
    let other = NewArchive::create(ArchiveFormat::Oci, &path).unwrap();
    let busy = other.lay_out(&[blob(&one)]).await.unwrap_err();
    assert!(busy.to_string().contains("another process is writing it"), "{busy}");
    drop(archive);
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    other.lay_out(&[blob(&one)]).await.unwrap();
    write(&other, &one, 3).await;
    let empty = other.finish().await.unwrap_err();
    assert!(empty.to_string().contains("there is nothing to put into it"), "{empty}");
    other.put_manifest(&tag("1").into(), &manifest("root")).await.unwrap();
    other.finish().await.unwrap();
    assert!(Archive::open(ArchiveFormat::Oci, &path).await.unwrap().find(None).is_ok());
    drop(other);
    let large = NewArchive::create(ArchiveFormat::Oci, &path).unwrap();
    for size in [u64::MAX, u64::MAX - 600, 1 << 63] {
        let error = large.lay_out(&[Descriptor { size, ..blob(&one) }]).await.unwrap_err();
        assert!(error.to_string().contains("longer than a file can be"), "{error}");
    }
}

/// A wrong byte is never in an archive that is complete, and may be mended by another attempt.
#[tokio::test]
async fn wrong_bytes() {
    let directory = tempfile::tempdir().unwrap();
    let archive = NewArchive::create(ArchiveFormat::Oci, directory.path().join("a.tar")).unwrap();
    let right = content(1000);
    let blob = blob(&right);
    let Opened::Placer(placer) = archive.write(&blob, None).await.unwrap() else { panic!("no placer") };
    let mut wrong = right.to_vec();
    wrong[500] ^= 1;
    placer.write_at(0, wrong.into()).await.unwrap();
    assert_eq!(placer.commit().await.unwrap_err().kind(), Kind::Invalid);
    assert!(!archive.contains(&blob).await.unwrap());
    assert!(archive.finish().await.is_err());
    write(&archive, &right, 100).await;
    archive.put_manifest(&tag("1").into(), &manifest("root")).await.unwrap();
    archive.finish().await.unwrap();
    let opened = Archive::open(ArchiveFormat::Oci, directory.path().join("a.tar")).await.unwrap();
    assert_eq!(read(&opened, &blob).await, right);
    assert_eq!(opened.write(&blob, None).await.unwrap_err().kind(), Kind::Unsupported);
}

/// A stream takes its contents in their order, whoever comes first, and goes on where an attempt was interrupted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_is_in_order() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.tar");
    let archive =
        NewArchive::stream(ArchiveFormat::Oci, "a stream", Box::new(fs::File::create(&path).unwrap()));
    let contents: Vec<Bytes> = (0..6).map(|n| content(700 * n + 1)).collect();
    let blobs: Vec<Descriptor> = contents.iter().map(|content| blob(content)).collect();
    archive.lay_out(&blobs).await.unwrap();
    assert!(archive.in_order());
    {
        let Opened::Writer(mut writer) = archive.write(&blobs[0], None).await.unwrap() else {
            panic!("no writer")
        };
        writer.write(contents[0].slice(..0)).await.unwrap();
    }
    let tasks = contents.iter().rev().map(|content| {
        let (archive, content) = (archive.clone(), content.clone());
        tokio::spawn(async move { write(&archive, &content, 100).await })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap();
    }
    let last = content(5000);
    let interrupted = blob(&last);
    {
        let Opened::Writer(mut writer) = archive.write(&interrupted, None).await.unwrap() else {
            panic!("no writer")
        };
        writer.write(last.slice(..3000)).await.unwrap();
    }
    assert_eq!(archive.kept(&interrupted).await, 3000);
    let Opened::Writer(mut writer) = archive.write(&interrupted, None).await.unwrap() else {
        panic!("no writer")
    };
    assert_eq!(writer.offset(), 3000);
    writer.write(last.slice(3000..)).await.unwrap();
    writer.commit().await.unwrap();
    archive.put_manifest(&tag("1").into(), &manifest("root")).await.unwrap();
    archive.finish().await.unwrap();
    let opened = Archive::open(ArchiveFormat::Oci, &path).await.unwrap();
    for (blob, content) in blobs.iter().chain([&interrupted]).zip(contents.iter().chain([&last])) {
        assert_eq!(read(&opened, blob).await, *content);
    }
}

/// Docker's names, in the list and out of it.
#[tokio::test]
async fn names_for_docker() {
    let directory = tempfile::tempdir().unwrap();
    for (number, (typed, named)) in [
        ("web", "docker.io/library/web:latest"),
        ("demo/web:1", "docker.io/demo/web:1"),
        ("host:5000/web:1", "host:5000/web:1"),
    ]
    .into_iter()
    .enumerate()
    {
        let path = directory.path().join(number.to_string());
        let archive = NewArchive::create(ArchiveFormat::Docker, &path).unwrap();
        let archive = archive.with_docker_name(&typed.parse().unwrap());
        let config = write(&archive, b"{}", 10).await;
        let raw = serde_json::json!({"schemaVersion": 2, "mediaType": MediaType::OCI_MANIFEST.as_str(),
            "config": config, "layers": []});
        let image = Manifest::new(raw.to_string().into(), None).unwrap();
        archive.put_manifest(&tag("1").into(), &image).await.unwrap();
        archive.finish().await.unwrap();
        let archive = Archive::open(ArchiveFormat::Docker, &path).await.unwrap();
        assert_eq!(archive.names(), [named]);
        for wanted in [typed, named] {
            let found = archive.find(Some(&Wanted::Name(wanted.to_owned()))).unwrap();
            assert_eq!(archive.resolve(&found).await.unwrap().digest, image.digest());
        }
        let pages: Vec<_> = archive.tags().try_collect().await.unwrap();
        assert_eq!(pages.concat().len(), 1);
    }
    let index = Manifest::new(Bytes::from_static(br#"{"schemaVersion":2,"manifests":[]}"#), None).unwrap();
    let archive = NewArchive::create(ArchiveFormat::Docker, directory.path().join("index")).unwrap();
    assert_eq!(archive.lay_out(&[index.descriptor()]).await.unwrap_err().kind(), Kind::Unsupported);
}
