//! Blobs in pieces, attempts that end early, and several writers.

use std::fs::{self, File, FileTimes};
use std::os::unix::fs::FileExt;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use local::Layout;
use oci::{Algorithm, Descriptor};
use store::{Kind, Opened, Store, collect};

use crate::support::{blob, content, layout, manifest, partial_of, path_of, placer, tag};

const MIB: usize = 1 << 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pieces_in_any_order() {
    let (directory, layout) = layout();
    let content = content(6 * MIB + 77);
    for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
        let blob = Descriptor::of(oci::MediaType::OCTET_STREAM, algorithm, &content);
        let placer = placer(&layout, &blob).await;
        // Each piece overlaps the next by a byte.
        let mut starts: Vec<usize> = (0..content.len()).step_by(99_991).collect();
        starts.sort_by_key(|start| start % 7);
        for start in starts {
            let piece = content.slice(start..content.len().min(start + 99_992));
            placer.write_at(start as u64, piece).await.unwrap();
        }
        assert_eq!(placer.missing(), []);
        let beyond = placer.write_at(blob.size, Bytes::from_static(b"x")).await.unwrap_err();
        assert_eq!(beyond.kind(), Kind::Invalid);
        placer.commit().await.unwrap();
        let stream = layout.read(&blob, 0..blob.size).await.unwrap();
        assert!(collect(stream, &blob, u64::MAX).await.unwrap() == content);
        assert!(matches!(layout.write(&blob, None).await.unwrap(), Opened::Existed));
    }
    assert!(!directory.path().join("layout/blobs/.partial").exists(), "nothing is left behind");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_dropped_is_kept() {
    let (directory, layout) = layout();
    let root = directory.path().join("layout");
    let content = content(5 * MIB);
    let blob = blob(&content);
    let first = placer(&layout, &blob).await;
    for start in [0, 3 * MIB] {
        first.write_at(start as u64, content.slice(start..start + MIB)).await.unwrap();
    }
    assert_eq!(first.missing(), [MIB as u64..3 * MIB as u64, 4 * MIB as u64..5 * MIB as u64]);
    drop(first);
    assert!(!layout.contains(&blob).await.unwrap());
    assert_eq!(layout.kept(&blob).await, 2 * MIB as u64);
    let again = Layout::create(&root).unwrap();
    assert_eq!(again.kept(&blob).await, 2 * MIB as u64);
    let second = placer(&again, &blob).await;
    for part in second.missing() {
        let piece = content.slice(usize::try_from(part.start).unwrap()..usize::try_from(part.end).unwrap());
        second.write_at(part.start, piece).await.unwrap();
    }
    second.commit().await.unwrap();
    assert!(fs::read(path_of(&root, &blob)).unwrap() == content);
    assert_eq!(layout.kept(&blob).await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_damaged_meanwhile_is_fetched_again() {
    let (directory, layout) = layout();
    let root = directory.path().join("layout");
    let content = content(3 * MIB);
    let blob = blob(&content);
    let first = placer(&layout, &blob).await;
    first.write_at(0, content.slice(..2 * MIB)).await.unwrap();
    drop(first);
    let partial = File::options().write(true).open(partial_of(&root, &blob)).unwrap();
    partial.write_all_at(b"damage", 1000).unwrap();
    let second = placer(&layout, &blob).await;
    second.write_at(2 * MIB as u64, content.slice(2 * MIB..)).await.unwrap();
    let error = second.commit().await.unwrap_err();
    assert_eq!(error.kind(), Kind::Interrupted, "opening it again helps: {error}");
    let third = placer(&layout, &blob).await;
    assert_eq!(third.missing().first(), Some(&(0..blob.size)), "nothing is kept of it");
    third.write_at(0, content).await.unwrap();
    third.commit().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_or_missing_bytes_leave_nothing() {
    let (directory, layout) = layout();
    let blob = blob(b"right");
    for wrong in ["wrong", "righ"] {
        let placer = placer(&layout, &blob).await;
        placer.write_at(0, Bytes::from_static(wrong.as_bytes())).await.unwrap();
        assert_eq!(placer.commit().await.unwrap_err().kind(), Kind::Invalid);
    }
    let given_up = placer(&layout, &blob).await;
    given_up.write_at(0, Bytes::from_static(b"ri")).await.unwrap();
    given_up.abandon().await;
    assert!(!directory.path().join("layout/blobs/.partial").exists());
    assert!(!layout.contains(&blob).await.unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_writer_waits() {
    let (directory, layout) = layout();
    let content = content(MIB);
    let blob = blob(&content);
    let first = placer(&layout, &blob).await;
    let other = Layout::create(directory.path().join("layout")).unwrap();
    let (wanted, other) = (blob.clone(), other);
    let mut second = tokio::spawn(async move { other.write(&wanted, None).await.unwrap() });
    let early = tokio::time::timeout(Duration::from_millis(300), &mut second).await;
    assert!(early.is_err(), "the first is at it");
    first.write_at(0, content).await.unwrap();
    first.commit().await.unwrap();
    assert!(matches!(second.await.unwrap(), Opened::Existed));
    assert!(layout.contains(&blob).await.unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_old_goes() {
    let (directory, layout) = layout();
    let root = directory.path().join("layout");
    let content = content(2 * MIB);
    let (old, new, held) = (blob(&content), blob(&content[1..]), blob(&content[2..]));
    for blob in [&old, &new] {
        placer(&layout, blob).await.write_at(0, content.slice(..MIB)).await.unwrap();
    }
    let holder = placer(&layout, &held).await;
    let week_ago = SystemTime::now() - Duration::from_hours(8 * 24);
    for blob in [&old, &held] {
        let file = File::options().write(true).open(partial_of(&root, blob)).unwrap();
        file.set_times(FileTimes::new().set_modified(week_ago)).unwrap();
    }
    // The first thing that is written sweeps.
    let again = Layout::create(&root).unwrap();
    again.put_manifest(&tag("1").into(), &manifest("1")).await.unwrap();
    assert!(!partial_of(&root, &old).exists());
    assert!(partial_of(&root, &new).exists() && partial_of(&root, &held).exists());
    assert_eq!((again.kept(&old).await, again.kept(&new).await), (0, MIB as u64));
    drop(holder);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_root_without_a_name() {
    let (_directory, layout) = layout();
    let (child, root) = (manifest("child"), manifest("root"));
    layout.put_manifest(&child.digest().into(), &child).await.unwrap();
    assert_eq!(layout.only().unwrap_err().kind(), Kind::NotFound, "a child is no entry");
    let rooted = layout.clone().with_root(root.digest());
    layout.put_manifest(&root.digest().into(), &root).await.unwrap();
    assert!(rooted.resolve(&root.digest().into()).await.is_err(), "it has no entry yet");
    rooted.put_manifest(&root.digest().into(), &root).await.unwrap();
    rooted.resolve(&root.digest().into()).await.unwrap();
    assert_eq!(layout.only().unwrap(), root.digest().into());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_writers_lose_no_entry() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("layout");
    let mut writers = Vec::new();
    for writer in 0..8 {
        // Each as a process of its own would have it.
        let path = path.clone();
        writers.push(tokio::spawn(async move {
            let layout = Layout::create(&path).unwrap();
            for name in 0..5 {
                let name = format!("{writer}-{name}");
                layout.put_manifest(&tag(&name).into(), &manifest(&name)).await.unwrap();
                layout.put_manifest(&tag("shared").into(), &manifest(&name)).await.unwrap();
            }
        }));
    }
    for writer in writers {
        writer.await.unwrap();
    }
    let index: String = fs::read_to_string(path.join("index.json")).unwrap();
    assert_eq!(index.matches("\"digest\"").count(), 41, "{index}");
}
