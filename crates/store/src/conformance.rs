//! What every store promises, as one suite that each store's tests run.

use bytes::Bytes;
use futures_util::TryStreamExt;
use oci::{Algorithm, Descriptor, Manifest, MediaType, Selector, Tag};

use crate::{Error, Expected, Kind, Opened, Replaced, Store, Writer, collect, in_order, present};

/// Runs the suite against an empty store.
///
/// # Panics
/// Where the store breaks a promise.
pub async fn run(store: &dyn Store) {
    empty_store(store).await;
    let blobs = blobs(store).await;
    manifests(store, &blobs).await;
    replacement(store, &blobs).await;
    deletion(store, &blobs).await;
    referrers(store, &blobs).await;
}

fn tag(text: &str) -> Tag {
    Tag::new(text).expect("the suite's tags are right")
}

async fn writer(store: &dyn Store, blob: &Descriptor) -> Box<dyn Writer> {
    match store.write(blob, None).await.expect("a blob can be written") {
        Opened::Writer(writer) => writer,
        Opened::Placer(placer) => in_order(placer),
        opened => panic!("{opened:?} from nowhere"),
    }
}

async fn empty_store(store: &dyn Store) {
    let missing = Selector::Tag(tag("missing"));
    assert_eq!(store.resolve(&missing).await.expect_err("no such tag").kind(), Kind::NotFound);
    assert_eq!(store.manifest(&missing).await.expect_err("no such tag").kind(), Kind::NotFound);
    let digest = Selector::Digest(Algorithm::Sha256.digest(b"missing"));
    assert_eq!(store.manifest(&digest).await.expect_err("no such digest").kind(), Kind::NotFound);
    let blob = Descriptor::of(MediaType::OCTET_STREAM, Algorithm::Sha256, b"missing");
    assert!(!store.contains(&blob).await.expect("absence is no error"));
    let read = async { store.read(&blob, 0..7).await?.try_collect::<Vec<_>>().await };
    assert_eq!(read.await.expect_err("no such blob").kind(), Kind::NotFound);
}

/// Writes and reads blobs of several lengths; returns a config and a layer.
async fn blobs(store: &dyn Store) -> [Descriptor; 2] {
    let large: Vec<u8> = (0..3_000_000_u32).map(|n| n.to_le_bytes()[n as usize % 3]).collect();
    let contents = [Bytes::from_static(b"{}"), Bytes::from(large), Bytes::new()];
    let blobs = contents
        .each_ref()
        .map(|content| Descriptor::of(MediaType::OCTET_STREAM, Algorithm::Sha256, content));
    for (blob, content) in blobs.iter().zip(&contents) {
        let mut writer = writer(store, blob).await;
        for piece in content.chunks(700_001) {
            writer.write(Bytes::copy_from_slice(piece)).await.expect("bytes are taken");
        }
        writer.commit().await.expect("the right bytes are committed");
        assert!(store.contains(blob).await.expect("presence can be asked"));
        match store.resolve_blob(&blob.digest).await {
            Ok(found) => assert_eq!((found.digest, found.size), (blob.digest, blob.size)),
            Err(error) => assert_eq!(error.kind(), Kind::Unsupported, "{error}"),
        }
        let stream = store.read(blob, 0..blob.size).await.expect("a blob can be read");
        let read = collect(stream, blob, u64::MAX).await.expect("the bytes are right");
        assert_eq!(read, content);
    }
    ranges(store, &blobs[1], &contents[1]).await;
    wrong_bytes(store).await;
    abandoned(store).await;
    let [config, layer, _] = blobs;
    [config, layer]
}

async fn ranges(store: &dyn Store, blob: &Descriptor, content: &Bytes) {
    for range in [0..1, 999..2_000_000, 2_999_999..3_000_000] {
        let asked = range.start as u64..range.end as u64;
        let stream = store.read(blob, asked).await.expect("a range can be read");
        let read: Vec<Bytes> = stream.try_collect().await.expect("the range comes whole");
        assert!(read.concat() == content[range.clone()], "{range:?} came wrong");
    }
}

async fn wrong_bytes(store: &dyn Store) {
    let blob = Descriptor::of(MediaType::OCTET_STREAM, Algorithm::Sha256, b"right");
    let mut writer = writer(store, &blob).await;
    let outcome: Result<(), Error> = async {
        writer.write(Bytes::from_static(b"wrong")).await?;
        writer.commit().await
    }
    .await;
    assert_eq!(outcome.expect_err("wrong bytes are refused").kind(), Kind::Invalid);
    assert!(!store.contains(&blob).await.expect("presence can be asked"));
}

async fn abandoned(store: &dyn Store) {
    let blob = Descriptor::of(MediaType::OCTET_STREAM, Algorithm::Sha256, b"abandoned");
    let mut writer = writer(store, &blob).await;
    writer.write(Bytes::from_static(b"aban")).await.expect("bytes are taken");
    drop(writer);
    assert!(!store.contains(&blob).await.expect("presence can be asked"));
}

fn describe(blob: &Descriptor, media_type: &MediaType) -> String {
    format!(r#"{{"mediaType":"{media_type}","digest":"{}","size":{}}}"#, blob.digest, blob.size)
}

async fn manifests(store: &dyn Store, [config, layer]: &[Descriptor; 2]) {
    // Odd spacing and an unknown field: bytes are kept.
    let json = format!(
        "{{ \"schemaVersion\": 2,\n \"mediaType\":\"{}\", \"config\":{}, \"layers\":[{}], \"x\":1.10 }}\n",
        MediaType::OCI_MANIFEST,
        describe(config, &MediaType::OCI_CONFIG),
        describe(layer, &MediaType::OCI_LAYER),
    );
    let manifest = Manifest::new(Bytes::from(json), Some(MediaType::OCI_MANIFEST)).expect("valid");
    let by_digest = Selector::Digest(manifest.digest());
    store.put_manifest(&by_digest, &manifest).await.expect("a manifest is taken by digest");
    for name in ["1.0", "latest"] {
        store.put_manifest(&tag(name).into(), &manifest).await.expect("a manifest is taken by tag");
    }
    for selector in [by_digest, Tag::latest().into()] {
        assert_eq!(store.manifest(&selector).await.expect("it is there"), manifest);
        assert_eq!(store.resolve(&selector).await.expect("it is there"), manifest.descriptor());
    }
    let tags: Vec<Vec<Tag>> = store.tags().try_collect().await.expect("tags can be listed");
    let mut tags = tags.concat();
    tags.sort();
    assert_eq!(tags, [tag("1.0"), tag("latest")]);
}

async fn put(store: &dyn Store, selector: Option<Selector>, json: String) -> Manifest {
    let manifest = Manifest::new(Bytes::from(json), None).expect("valid");
    let selector = selector.unwrap_or(Selector::Digest(manifest.digest()));
    store.put_manifest(&selector, &manifest).await.expect("a manifest is taken");
    manifest
}

/// A name is written where it stands for what is expected, and nowhere else.
async fn replacement(store: &dyn Store, [config, _]: &[Descriptor; 2]) {
    let manifest = |text: &str| {
        let json = format!(
            r#"{{"schemaVersion":2,"mediaType":"{}","config":{},"layers":[],"x":"{text}"}}"#,
            MediaType::OCI_MANIFEST,
            describe(config, &MediaType::OCI_CONFIG),
        );
        Manifest::new(Bytes::from(json), None).expect("valid")
    };
    let (first, second) = (manifest("first"), manifest("second"));
    let name = Selector::Tag(tag("replaced"));
    let (of_first, of_second) = (first.digest(), second.digest());
    for (manifest, expected, outcome) in [
        (&first, Expected::Digest(of_second), Replaced::Refused(None)),
        (&first, Expected::Nothing, Replaced::Done),
        (&second, Expected::Nothing, Replaced::Refused(Some(of_first))),
        (&second, Expected::Digest(of_second), Replaced::Refused(Some(of_first))),
        (&second, Expected::Digest(of_first), Replaced::Done),
        (&first, Expected::Digest(of_first), Replaced::Refused(Some(of_second))),
    ] {
        let found = store.replace_manifest(&name, manifest, expected).await;
        assert_eq!(found.expect("it can be found out"), outcome, "expected {expected}");
        let stands = match outcome {
            Replaced::Done => Some(manifest.digest()),
            Replaced::Refused(found) => found,
        };
        let there = present(store, &name).await.expect("it can be found out");
        assert_eq!(there.map(|there| there.digest), stands);
    }
}

/// A place that deletes tags deletes nothing else with them; one that deletes manifests deletes their tags too.
async fn deletion(store: &dyn Store, [config, _]: &[Descriptor; 2]) {
    let json = format!(
        r#"{{"schemaVersion":2,"mediaType":"{}","config":{},"layers":[],"x":"deleted"}}"#,
        MediaType::OCI_MANIFEST,
        describe(config, &MediaType::OCI_CONFIG),
    );
    let [first, second] = ["deleted-1", "deleted-2"].map(|name| Selector::Tag(tag(name)));
    put(store, Some(first.clone()), json.clone()).await;
    let manifest = put(store, Some(second.clone()), json).await;
    let by_digest = Selector::Digest(manifest.digest());
    let there = async |selector: &Selector| match store.resolve(selector).await {
        Ok(_) => true,
        Err(error) if error.kind() == Kind::NotFound => false,
        Err(error) => panic!("{error}"),
    };
    match store.delete(&first).await {
        Ok(()) => assert!(!there(&first).await, "the tag was deleted"),
        Err(error) => {
            assert_eq!(error.kind(), Kind::Unsupported, "{error}");
            assert!(there(&first).await, "a refusal deletes nothing");
        }
    }
    assert!(there(&second).await && there(&by_digest).await, "a tag is deleted alone");
    match store.delete(&by_digest).await {
        Ok(()) => {
            for selector in [&by_digest, &first, &second] {
                assert!(!there(selector).await, "{selector} goes with its manifest");
                let again = store.delete(selector).await.expect_err("it is gone");
                assert!(matches!(again.kind(), Kind::NotFound | Kind::Unsupported), "{again}");
            }
        }
        Err(error) => {
            assert_eq!(error.kind(), Kind::Unsupported, "{error}");
            assert!(there(&by_digest).await, "a refusal deletes nothing");
        }
    }
}

/// What refers to a manifest is found, by whatever way the place has: both are laid.
async fn referrers(store: &dyn Store, [config, layer]: &[Descriptor; 2]) {
    let subject = store.resolve(&Selector::Tag(Tag::latest())).await.expect("it is there");
    let listed = async |artifact_type| {
        let pages: Vec<Vec<Descriptor>> = store
            .referrers(&subject.digest, artifact_type)
            .try_collect()
            .await
            .expect("referrers can be listed");
        pages.concat()
    };
    assert!(listed(None).await.is_empty(), "nothing refers to it yet");
    let mut entries = Vec::new();
    for artifact_type in ["application/vnd.example.one", "application/vnd.example.two"] {
        let json = format!(
            r#"{{"schemaVersion":2,"mediaType":"{}","artifactType":"{artifact_type}","config":{},"layers":[{}],"subject":{}}}"#,
            MediaType::OCI_MANIFEST,
            describe(config, &MediaType::OCI_EMPTY),
            describe(layer, &MediaType::OCI_LAYER),
            describe(&subject, &subject.media_type),
        );
        let mut entry = put(store, None, json).await.descriptor();
        entry.artifact_type = Some(artifact_type.to_owned());
        entries.push(entry);
    }
    let list: Vec<String> = entries
        .iter()
        .map(|entry| {
            let text = describe(entry, &entry.media_type);
            let artifact_type = entry.artifact_type.as_deref().unwrap_or_default();
            format!(r#"{},"artifactType":"{artifact_type}"}}"#, text.trim_end_matches('}'))
        })
        .collect();
    let json = format!(
        r#"{{"schemaVersion":2,"mediaType":"{}","manifests":[{}]}}"#,
        MediaType::OCI_INDEX,
        list.join(",")
    );
    put(store, Some(subject.digest.fallback_tag().into()), json).await;

    entries.sort_by_key(|entry| entry.digest);
    let mut all = listed(None).await;
    all.sort_by_key(|entry| entry.digest);
    assert_eq!(all, entries);
    let one = listed(Some("application/vnd.example.one")).await;
    let types: Vec<_> = one.iter().map(|entry| entry.artifact_type.as_deref()).collect();
    assert_eq!(types, [Some("application/vnd.example.one")]);
    assert!(listed(Some("application/vnd.example.none")).await.is_empty());
}
