use oci::Algorithm;

use crate::client::{INDEX, MANIFEST, Registry, descriptor, image};

const DOCKER: &str = "application/vnd.docker.distribution.manifest.v2+json";

#[tokio::test]
async fn bytes_and_type_come_back_by_tag_and_digest() {
    let registry = Registry::start().await;
    registry.push_blob("a/b", "{}").await;
    registry.push_blob("a/b", "layer").await;
    let body = image("layer").replace(":2,", " : 2 ,\n\t");
    for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
        let digest = algorithm.digest(body.as_bytes());
        let put = registry.put_manifest("a/b", &digest.to_string(), MANIFEST, &body).await;
        assert_eq!(put.status, 201);
        assert_eq!(put.header("docker-content-digest"), digest.to_string());
        assert_eq!(put.header("location"), format!("/v2/a/b/manifests/{digest}"));
        let got = registry.get(put.header("location")).await;
        assert_eq!((got.header("content-type"), &got.body[..]), (MANIFEST, body.as_bytes()));
    }
    let digest = Algorithm::Sha256.digest(body.as_bytes()).to_string();
    let put = registry.put_manifest("a/b", "v1", MANIFEST, &body).await;
    assert_eq!((put.status.as_u16(), put.header("docker-content-digest")), (201, digest.as_str()));
    for reference in ["v1", &digest] {
        let path = format!("/v2/a/b/manifests/{reference}");
        let head = registry.send("HEAD", &path, &[("accept", "text/plain")], "").await;
        assert_eq!((head.status.as_u16(), head.body.len()), (200, 0));
        assert_eq!(head.header("content-length"), body.len().to_string());
        assert_eq!(head.header("content-type"), MANIFEST);
        assert_eq!(head.header("docker-content-digest"), digest);
        let etag = head.header("etag");
        assert_eq!(registry.send("GET", &path, &[("if-none-match", etag)], "").await.status, 304);
        assert_eq!(registry.get(&path).await.body, body);
    }
    // The body's own type counts where the client names none.
    let put = registry.send("PUT", "/v2/a/b/manifests/v2", &[], body.clone()).await;
    assert_eq!(put.status, 201);
    assert_eq!(registry.get("/v2/a/b/manifests/v2").await.header("content-type"), MANIFEST);
}

#[tokio::test]
async fn what_is_not_there() {
    let registry = Registry::start().await;
    let digest = registry.push_image("a", "v1", "layer").await;
    let absent = Algorithm::Sha256.digest(b"absent");
    for (path, status, code) in [
        ("/v2/a/manifests/v2".to_owned(), 404, "MANIFEST_UNKNOWN"),
        (format!("/v2/a/manifests/{absent}"), 404, "MANIFEST_UNKNOWN"),
        (format!("/v2/b/manifests/{digest}"), 404, "NAME_UNKNOWN"),
        ("/v2/b/tags/list".to_owned(), 404, "NAME_UNKNOWN"),
        ("/v2/a/manifests/.INVALID".to_owned(), 404, "MANIFEST_UNKNOWN"),
        ("/v2/a/manifests/sha256:baddigeststring".to_owned(), 400, "DIGEST_INVALID"),
        ("/v2/A/manifests/v1".to_owned(), 400, "NAME_INVALID"),
        ("/v2/a/other/v1".to_owned(), 404, "UNSUPPORTED"),
        ("/".to_owned(), 404, "UNSUPPORTED"),
    ] {
        let reply = registry.get(&path).await;
        assert_eq!((reply.status.as_u16(), reply.code().as_str()), (status, code), "{path}");
    }
    let delete = async |path: &str| registry.send("DELETE", path, &[], "").await.code();
    assert_eq!(delete("/v2/a/manifests/v2").await, "MANIFEST_UNKNOWN");
    assert_eq!(delete("/v2/b/manifests/v1").await, "NAME_UNKNOWN");
    assert_eq!(delete(&format!("/v2/a/manifests/{absent}")).await, "MANIFEST_UNKNOWN");
}

#[tokio::test]
async fn documents_that_are_refused() {
    let registry = Registry::start().await;
    registry.push_blob("a", "{}").await;
    let config = descriptor("application/vnd.oci.image.config.v1+json", "{}");
    let layer = descriptor("application/vnd.oci.image.layer.v1.tar", "absent");
    let child = descriptor(MANIFEST, "absent");
    for (media_type, body, code) in [
        (MANIFEST, "<html>".to_owned(), "MANIFEST_INVALID"),
        (MANIFEST, "[]".to_owned(), "MANIFEST_INVALID"),
        (MANIFEST, String::new(), "MANIFEST_INVALID"),
        (MANIFEST, format!(r#"{{"config":{config},"layers":[],"manifests":[]}}"#), "MANIFEST_INVALID"),
        (INDEX, format!(r#"{{"config":{config},"layers":[],"manifests":[]}}"#), "MANIFEST_INVALID"),
        (INDEX, format!(r#"{{"config":{config},"layers":[]}}"#), "MANIFEST_INVALID"),
        (MANIFEST, r#"{"manifests":[]}"#.to_owned(), "MANIFEST_INVALID"),
        (
            DOCKER,
            format!(r#"{{"mediaType":"{MANIFEST}","config":{config},"layers":[]}}"#),
            "MANIFEST_INVALID",
        ),
        (MANIFEST, format!(r#"{{"mediaType":"{INDEX}","config":{config},"layers":[]}}"#), "MANIFEST_INVALID"),
        (
            MANIFEST,
            r#"{"config":{"mediaType":"x","digest":"sha256:0","size":1}}"#.to_owned(),
            "MANIFEST_INVALID",
        ),
        (MANIFEST, format!(r#"{{"config":{config},"layers":[{layer}]}}"#), "MANIFEST_BLOB_UNKNOWN"),
        (MANIFEST, format!(r#"{{"config":{layer},"layers":[]}}"#), "MANIFEST_BLOB_UNKNOWN"),
        (INDEX, format!(r#"{{"manifests":[{child}]}}"#), "MANIFEST_BLOB_UNKNOWN"),
        // A blob is no manifest.
        (INDEX, format!(r#"{{"manifests":[{}]}}"#, descriptor(MANIFEST, "{}")), "MANIFEST_BLOB_UNKNOWN"),
    ] {
        let reply = registry.put_manifest("a", "v1", media_type, &body).await;
        assert_eq!((reply.status.as_u16(), reply.code().as_str()), (400, code), "{media_type} {body}");
    }
    let missing = registry.put_manifest("a", "v1", INDEX, &format!(r#"{{"manifests":[{child}]}}"#)).await;
    let absent = Algorithm::Sha256.digest(b"absent").to_string();
    assert_eq!(missing.json()["errors"][0]["detail"][0]["digest"], absent);
    let wrong = registry.put_manifest("a", &absent, INDEX, r#"{"manifests":[]}"#).await;
    assert_eq!((wrong.status.as_u16(), wrong.code().as_str()), (400, "DIGEST_INVALID"));
    let malformed = registry.put_manifest("a", "sha256:baddigeststring", INDEX, r#"{"manifests":[]}"#).await;
    assert_eq!((malformed.status.as_u16(), malformed.code().as_str()), (400, "DIGEST_INVALID"));
    let tag = registry.put_manifest("a", "-x", INDEX, r#"{"manifests":[]}"#).await;
    assert_eq!((tag.status.as_u16(), tag.code().as_str()), (400, "TAG_INVALID"));
    assert_eq!(registry.get("/v2/a/manifests/v1").await.status, 404);
    assert_eq!(registry.get("/v2/a/tags/list").await.code(), "NAME_UNKNOWN");
}

#[tokio::test]
async fn documents_that_are_taken() {
    let registry = Registry::start().await;
    let child = registry.push_image("a", "child", "layer").await;
    let child = format!(r#"{{"mediaType":"{MANIFEST}","digest":"{child}","size":{}}}"#, image("layer").len());
    let config = descriptor("application/vnd.oci.image.config.v1+json", "{}");
    let foreign = descriptor("application/vnd.oci.image.layer.nondistributable.v1.tar+gzip", "not here");
    let nested = format!(r#"{{"schemaVersion":2,"manifests":[{child}]}}"#);
    let annotations: Vec<String> =
        (0..390).map(|key| format!(r#""{key}":"{}""#, "v".repeat(10_000))).collect();
    for (media_type, body) in [
        (INDEX, r#"{"schemaVersion":2,"manifests":[]}"#.to_owned()),
        (INDEX, nested.clone()),
        (INDEX, format!(r#"{{"manifests":[{}]}}"#, descriptor(INDEX, &nested))),
        (INDEX, format!(r#"{{"manifests":[{}]}}"#, descriptor("application/octet-stream", "layer"))),
        (MANIFEST, format!(r#"{{"config":{config},"layers":[{foreign}]}}"#)),
        (MANIFEST, format!(r#"{{"config":{config},"layers":[],"unknown":{{"x":[1.10]}}}}"#)),
        (
            MANIFEST,
            format!(r#"{{"config":{config},"layers":[],"annotations":{{{}}}}}"#, annotations.join(",")),
        ),
        (DOCKER, format!(r#"{{"mediaType":"{DOCKER}","config":{config},"layers":[]}}"#)),
        ("application/vnd.oci.artifact.manifest.v1+json", format!(r#"{{"blobs":[{config}]}}"#)),
        ("application/vnd.docker.distribution.manifest.v1+prettyjws", r#"{"fsLayers":[]}"#.to_owned()),
    ] {
        let put = registry.put_manifest("a", "v1", media_type, &body).await;
        assert_eq!(put.status, 201, "{media_type} {}: {put:?}", body.len());
        let got = registry.get("/v2/a/manifests/v1").await;
        assert_eq!((got.header("content-type"), &got.body[..]), (media_type, body.as_bytes()));
    }
    let largest = format!("{{\"manifests\":[]{}}}", " ".repeat(4 * 1024 * 1024 - 16));
    assert_eq!(largest.len(), 4 * 1024 * 1024);
    assert_eq!(registry.put_manifest("a", "v2", INDEX, &largest).await.status, 201);
    assert_eq!(registry.put_manifest("a", "v2", INDEX, &format!("{largest} ")).await.status, 413);
}

#[tokio::test]
async fn deletion() {
    let registry = Registry::start().await;
    let first = registry.push_image("a", "v1", "first").await;
    registry.push_image("a", "v2", "first").await;
    let second = registry.push_image("a", "v3", "second").await;
    let delete = async |reference: String| {
        registry.send("DELETE", &format!("/v2/a/manifests/{reference}"), &[], "").await.status.as_u16()
    };
    let tags = async || registry.get("/v2/a/tags/list").await.list("tags");
    let there = async |digest| registry.get(&format!("/v2/a/manifests/{digest}")).await.status.as_u16();
    assert_eq!(delete("v1".to_owned()).await, 202);
    assert_eq!((tags().await, there(first).await), (vec!["v2".to_owned(), "v3".to_owned()], 200));
    assert_eq!(delete(first.to_string()).await, 202);
    assert_eq!((tags().await, there(first).await), (vec!["v3".to_owned()], 404));
    assert_eq!(there(second).await, 200);
    assert_eq!(delete(second.to_string()).await, 202);
    assert!(tags().await.is_empty());
    assert!(registry.get("/v2/_catalog").await.list("repositories").is_empty());
}

#[tokio::test]
async fn a_push_by_digest_may_set_tags() {
    let registry = Registry::start().await;
    let body = r#"{"manifests":[]}"#;
    let digest = Algorithm::Sha256.digest(body.as_bytes());
    let put = registry.put_manifest("a", &format!("{digest}?tag=x&tag=y"), INDEX, body).await;
    assert_eq!(put.status, 201);
    let set: Vec<_> = put.headers.get_all("oci-tag").into_iter().collect();
    assert_eq!(set, ["x", "y"]);
    assert_eq!(registry.get("/v2/a/manifests/y").await.body, body);
    let bad = registry.put_manifest("a", &format!("{digest}?tag=.."), INDEX, body).await;
    assert_eq!(bad.code(), "TAG_INVALID");
}
