//! Manifests of every kind.

use std::sync::Arc;

use bytes::Bytes;
use oci::{Algorithm, Manifest, MediaType, Selector};
use store::Store;
use transfer::{Error, Graph, Limits, Options, Walk};

use crate::images::{describe, image, index, put, run, tag};
use crate::place::Place;

fn places() -> (Arc<Place>, Arc<Place>) {
    (Arc::new(Place::new("here")), Arc::new(Place::new("there")))
}

async fn copy(source: &Arc<Place>, destination: &Arc<Place>, manifest: &Manifest) -> Result<u64, Error> {
    let (transfer, _) = run(source, destination, Options::default());
    let digest = Selector::Digest(manifest.digest());
    let copied = transfer.copy(&digest, &tag("copy")).await?;
    assert_eq!(destination.inner.manifest(&tag("copy")).await.unwrap(), *manifest);
    Ok(copied.moved)
}

#[tokio::test]
async fn layers_that_may_not_be_pushed_stay_unless_asked_for() {
    let (source, destination) = places();
    let foreign = MediaType::new("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip");
    let layers = [
        source.inner.insert("windows".into(), foreign),
        source.inner.insert("mine".into(), MediaType::DOCKER_LAYER),
    ];
    let json = format!(r#"{{"layers":[{},{}]}}"#, describe(&layers[0]), describe(&layers[1]));
    let manifest = put(&source.inner, json).await;
    assert_eq!(copy(&source, &destination, &manifest).await.unwrap(), 1);
    assert!(!destination.inner.contains(&layers[0]).await.unwrap());

    let (transfer, _) = run(&source, &destination, Options { nondistributable: true, ..Options::default() });
    transfer.copy(&manifest.digest().into(), &tag("all")).await.unwrap();
    assert!(destination.inner.contains(&layers[0]).await.unwrap());
}

#[tokio::test]
async fn embedded_content_is_not_read_from_the_source() {
    let (source, destination) = places();
    let config = r#"{"mediaType":"application/vnd.oci.empty.v1+json","data":"e30=","size":2,"digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"}"#;
    let manifest = put(&source.inner, format!(r#"{{"config":{config},"layers":[]}}"#)).await;
    assert_eq!(copy(&source, &destination, &manifest).await.unwrap(), 1);
    assert_eq!(source.count("GET blob"), 0);
}

#[tokio::test]
async fn schema_1_is_copied_with_its_layers() {
    let (source, destination) = places();
    let layers: Vec<_> = ["empty", "base", "empty"]
        .iter()
        .map(|content| source.inner.insert(Bytes::from_static(content.as_bytes()), MediaType::DOCKER_LAYER))
        .map(|layer| format!(r#"{{"blobSum":"{}"}}"#, layer.digest))
        .collect();
    let json = format!(r#"{{"schemaVersion":1,"fsLayers":[{}]}}"#, layers.join(","));
    let manifest = put(&source.inner, json).await;
    assert_eq!(copy(&source, &destination, &manifest).await.unwrap(), 2);

    let broken = put(&source.inner, r#"{"schemaVersion":1,"fsLayers":[{"blobSum":"md5:0"}]}"#.into()).await;
    let error = copy(&source, &destination, &broken).await.unwrap_err();
    assert!(error.to_string().contains("md5:0"), "{error}");
}

#[tokio::test]
async fn unknown_kinds_are_taken_with_what_they_show() {
    let (source, destination) = places();
    let file = source.inner.insert("file".into(), MediaType::new("text/x-custom"));
    let json =
        format!(r#"{{"mediaType":"application/vnd.x.custom+json","layers":[{}],"n":1.0}}"#, describe(&file));
    let known_fields = put(&source.inner, json).await;
    assert_eq!(copy(&source, &destination, &known_fields).await.unwrap(), 1);
    let json = r#"{"mediaType":"application/vnd.x.custom+json","layers":"three"}"#.to_owned();
    let own_fields = put(&source.inner, json).await;
    assert_eq!(copy(&source, &destination, &own_fields).await.unwrap(), 0);
    let broken = put(&source.inner, r#"{"layers":"three"}"#.into()).await;
    assert!(matches!(copy(&source, &destination, &broken).await, Err(Error::Manifest { .. })));
}

#[tokio::test]
async fn an_index_may_list_blobs_and_unknown_manifests() {
    let (source, destination) = places();
    let layer = source.inner.insert("cached".into(), MediaType::DOCKER_LAYER);
    let cache = source.inner.insert("{}".into(), MediaType::new("application/vnd.buildkit.cacheconfig.v0"));
    let custom = put(&source.inner, r#"{"mediaType":"application/vnd.x.custom+json"}"#.into()).await;
    let entries = [describe(&layer), describe(&cache), describe(&custom.descriptor())].join(",");
    let json = format!(r#"{{"mediaType":"{}","manifests":[{entries}]}}"#, MediaType::OCI_INDEX);
    let manifest = put(&source.inner, json).await;
    assert_eq!(copy(&source, &destination, &manifest).await.unwrap(), 2);
    assert!(destination.inner.manifest(&custom.digest().into()).await.is_ok());
}

#[tokio::test]
async fn a_child_that_the_source_lacks_is_named() {
    let (source, destination) = places();
    let there = image(&source.inner, "there", &["layer"]).await;
    let elsewhere = image(&Place::new("elsewhere").inner, "elsewhere", &[]).await;
    let sparse = index(&source.inner, &[("linux/amd64", &there), ("linux/arm64", &elsewhere)]).await;
    let error = copy(&source, &destination, &sparse).await.unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, Error::MissingChild { child, .. } if child == elsewhere.digest()));
    for part in ["linux/arm64", &elsewhere.digest().to_string(), "--platform", "here@sha256:"] {
        assert!(text.contains(part), "{text}");
    }
    assert_eq!(destination.count("P"), 0);
}

#[tokio::test]
async fn limits_are_kept() {
    let place = Place::new("place");
    let mut nested = image(&place.inner, "deep", &[]).await;
    for _ in 0..15 {
        nested = index(&place.inner, &[("", &nested)]).await;
    }
    assert_eq!(Graph::walk(&place, nested.clone(), &Walk::default()).await.unwrap().manifests.len(), 16);
    let deeper = index(&place.inner, &[("", &nested)]).await;
    let too_large = |limits: Limits| {
        let (place, root) = (&place, deeper.clone());
        async move {
            let walk = Walk { limits, ..Walk::default() };
            match Graph::walk(place, root, &walk).await.unwrap_err() {
                Error::TooLarge { limit, .. } => limit,
                other => panic!("{other}"),
            }
        }
    };
    assert_eq!(too_large(Limits::default()).await, "16 levels");
    assert_eq!(too_large(Limits { manifests: 9, ..Limits::default() }).await, "9 manifests");
    assert_eq!(too_large(Limits { bytes: 1000, ..Limits::default() }).await, "1000 bytes of manifests");

    // A list of very many children is refused before any is asked for.
    let entry = |n: u32| {
        let digest = Algorithm::Sha256.digest(&n.to_le_bytes());
        format!(r#"{{"mediaType":"{}","digest":"{digest}","size":1}}"#, MediaType::OCI_MANIFEST)
    };
    let entries: Vec<_> = (0..20_000).map(entry).collect();
    let wide = put(&place.inner, format!(r#"{{"manifests":[{}]}}"#, entries.join(","))).await;
    place.forget();
    let error = Graph::walk(&place, wide, &Walk::default()).await.unwrap_err();
    assert!(error.to_string().ends_with("more than 20000 manifests"), "{error}");
    assert_eq!(place.log().len(), 0);
}
