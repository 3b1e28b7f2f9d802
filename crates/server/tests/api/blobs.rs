use oci::Algorithm;

use crate::client::Registry;

#[tokio::test]
async fn both_algorithms_and_every_way_of_pushing() {
    let registry = Registry::start().await;
    for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
        let contents = ["", "{}", "some content that is longer than the others"];
        for (way, content) in contents.iter().flat_map(|content| (0..6).map(move |way| (way, *content))) {
            let digest = algorithm.digest(content.as_bytes());
            let name = format!("way{way}");
            let blob = format!("/v2/{name}/blobs/{digest}");
            assert_eq!(registry.get(&blob).await.code(), "BLOB_UNKNOWN");
            let uploads = format!("/v2/{name}/blobs/uploads/");
            let end = |location: &str| format!("{location}?digest={digest}");
            let half = content.len() / 2;
            let pushed = match way {
                0 => registry.send("POST", &format!("{uploads}?digest={digest}"), &[], content).await,
                1 => {
                    let location = registry.begin(&name).await;
                    registry.send("PUT", &end(&location), &[], content).await
                }
                2 => {
                    let location = registry.begin(&name).await;
                    registry.send("PATCH", &location, &[], content).await;
                    registry.send("PUT", &end(&location), &[], "").await
                }
                3 => {
                    let path = format!("{uploads}?digest-algorithm={}", algorithm.name());
                    let location = registry.send("POST", &path, &[], "").await.header("location").to_owned();
                    let first = registry.send("PATCH", &location, &[], &content[..half]).await;
                    assert_eq!(first.status, 202);
                    assert_eq!(first.header("range"), format!("0-{}", half.saturating_sub(1)));
                    registry.send("PUT", &end(&location), &[], &content[half..]).await
                }
                4 => {
                    let path = format!("{uploads}?mount={digest}&from=way0");
                    registry.send("POST", &path, &[], "").await
                }
                _ => registry.send("POST", &format!("{uploads}?mount={digest}"), &[], "").await,
            };
            assert_eq!(pushed.status, 201, "{way} {content:?} {pushed:?}");
            assert_eq!(pushed.header("docker-content-digest"), digest.to_string());
            assert_eq!(pushed.header("location"), blob);
            let head = registry.send("HEAD", &blob, &[], "").await;
            assert_eq!((head.status.as_u16(), head.body.len()), (200, 0));
            assert_eq!(head.header("content-length"), content.len().to_string());
            let got = registry.get(&blob).await;
            assert_eq!(got.body, content.as_bytes());
            assert_eq!(got.header("docker-content-digest"), digest.to_string());
            assert_eq!(got.header("etag"), format!("\"{digest}\""));
        }
        // Removed from one repository it stays in the others, and the content goes with the last one.
        let digest = algorithm.digest(b"{}");
        for way in 0..6 {
            let blob = format!("/v2/way{way}/blobs/{digest}");
            assert_eq!(registry.get(&blob).await.status, 200);
            assert_eq!(registry.send("DELETE", &blob, &[], "").await.status, 202);
            assert_eq!(registry.send("HEAD", &blob, &[], "").await.status, 404);
            assert_eq!(registry.send("DELETE", &blob, &[], "").await.code(), "BLOB_UNKNOWN");
        }
        let anonymous = registry.send("POST", &format!("/v2/x/blobs/uploads/?mount={digest}"), &[], "").await;
        assert_eq!(anonymous.status, 202);
    }
}

#[tokio::test]
async fn a_repository_has_only_what_it_was_given() {
    let registry = Registry::start().await;
    let digest = registry.push_blob("secret/one", "content").await;
    assert_eq!(registry.get(&format!("/v2/secret/one/blobs/{digest}")).await.status, 200);
    for other in ["secret", "secret/one/two", "other"] {
        assert_eq!(registry.get(&format!("/v2/{other}/blobs/{digest}")).await.status, 404);
    }
    // Mounts that cannot be done become uploads.
    let absent = Algorithm::Sha256.digest(b"absent");
    for query in
        [format!("mount={digest}&from=other"), format!("mount={digest}&from=../x"), format!("mount={absent}")]
    {
        let reply = registry.send("POST", &format!("/v2/x/blobs/uploads/?{query}"), &[], "").await;
        assert_eq!(reply.status, 202, "{query}");
        assert!(reply.header("location").starts_with("/v2/x/blobs/uploads/"));
    }
    assert_eq!(
        registry.send("POST", "/v2/x/blobs/uploads/?mount=sha256:x", &[], "").await.code(),
        "DIGEST_INVALID"
    );
}

#[tokio::test]
async fn ranges() {
    let registry = Registry::start().await;
    let content: Vec<u8> = (0..2048_u32).map(|at| (at % 251).to_le_bytes()[0]).collect();
    let digest = registry.push_blob("a", content.clone()).await;
    let blob = format!("/v2/a/blobs/{digest}");
    for (range, start, end) in [
        ("bytes=500-1499", 500, 1500),
        ("bytes=500-", 500, 2048),
        ("bytes=-500", 1548, 2048),
        ("bytes=2000-5000", 2000, 2048),
        ("bytes=0-0", 0, 1),
    ] {
        let reply = registry.send("GET", &blob, &[("range", range)], "").await;
        assert_eq!(reply.status, 206, "{range}");
        assert_eq!(reply.header("content-range"), format!("bytes {start}-{}/2048", end - 1));
        assert_eq!(reply.header("content-length"), (end - start).to_string());
        assert_eq!(reply.body, &content[start..end], "{range}");
    }
    for range in ["bytes=500-0", "bytes=5000-10000", "bytes=-0"] {
        let reply = registry.send("GET", &blob, &[("range", range)], "").await;
        assert_eq!(reply.status, 416, "{range}");
        assert_eq!(reply.header("content-range"), "bytes */2048");
        assert_eq!(reply.code(), "RANGE_INVALID");
    }
    let etag = format!("\"{digest}\"");
    for (headers, status) in [
        (vec![("range", "bytes=0-1,4-5")], 200),
        (vec![("range", "lines=1-2")], 200),
        (vec![("range", "bytes=0-1"), ("if-range", "\"other\"")], 200),
        (vec![("range", "bytes=0-1"), ("if-range", etag.as_str())], 206),
        (vec![("if-none-match", etag.as_str())], 304),
        (vec![("if-none-match", "\"x\", W/\"y\"")], 200),
        (vec![("if-none-match", "*")], 304),
    ] {
        let reply = registry.send("GET", &blob, &headers, "").await;
        assert_eq!(reply.status, status, "{headers:?}");
        assert_eq!(
            reply.body.len(),
            match status {
                200 => 2048,
                206 => 2,
                _ => 0,
            }
        );
    }
    let head = registry.send("HEAD", &blob, &[("range", "bytes=0-1")], "").await;
    assert_eq!((head.status.as_u16(), head.header("content-length")), (200, "2048"));
}

#[tokio::test]
async fn a_large_blob_comes_back_whole() {
    let registry = Registry::start().await;
    let content: Vec<u8> = (0..3_000_000_u32).map(|at| (at * 7 / 5).to_le_bytes()[0]).collect();
    let digest = registry.push_blob("a", content.clone()).await;
    let blob = format!("/v2/a/blobs/{digest}");
    assert_eq!(registry.get(&blob).await.body, content);
    let part = registry.send("GET", &blob, &[("range", "bytes=262143-786432")], "").await;
    assert_eq!(part.body, &content[262_143..=786_432]);
}

#[tokio::test]
async fn many_push_one_blob_at_once() {
    let registry = Registry::start().await;
    let content = vec![7_u8; 1_000_000];
    let digest = Algorithm::Sha256.digest(&content);
    let registry = std::sync::Arc::new(registry);
    let pushes: Vec<_> = (0..12)
        .map(|number| {
            let (registry, content) = (std::sync::Arc::clone(&registry), content.clone());
            tokio::spawn(async move { registry.push_blob(&format!("r{}", number % 3), content).await })
        })
        .collect();
    for push in pushes {
        assert_eq!(push.await.unwrap(), digest);
    }
    for number in 0..3 {
        assert_eq!(registry.get(&format!("/v2/r{number}/blobs/{digest}")).await.body, content);
    }
    let left = std::fs::read_dir(registry.path().join("uploads")).unwrap().count();
    assert_eq!(left, 0);
}

#[tokio::test]
async fn a_damaged_blob_is_repaired_by_pushing_it_again() {
    let registry = Registry::start().await;
    let digest = registry.push_blob("a", "content").await;
    let hex = digest.hex();
    let file = registry.path().join("blobs/sha256").join(&hex[..2]).join(&hex).join("_content");
    std::fs::write(&file, "").unwrap();
    registry.push_blob("a", "content").await;
    assert_eq!(registry.get(&format!("/v2/a/blobs/{digest}")).await.body, "content");
}
