use oci::Algorithm;

use crate::client::{INDEX, MANIFEST, Registry, descriptor};

const CONFIG: &str = "application/vnd.oci.image.config.v1+json";

#[tokio::test]
async fn of_nothing() {
    let registry = Registry::start().await;
    let digest = Algorithm::Sha512.digest(b"");
    let reply = registry.get(&format!("/v2/unknown/referrers/{digest}")).await;
    assert_eq!((reply.status.as_u16(), reply.header("content-type")), (200, INDEX));
    assert_eq!(reply.json()["schemaVersion"], 2);
    assert_eq!(reply.json()["mediaType"], INDEX);
    assert_eq!(reply.json()["manifests"].as_array().unwrap().len(), 0);
    let reply = registry.get("/v2/unknown/referrers/sha256:x").await;
    assert_eq!((reply.status.as_u16(), reply.code().as_str()), (400, "DIGEST_INVALID"));
}

#[tokio::test]
async fn every_kind_is_listed() {
    let registry = Registry::start().await;
    registry.push_blob("a", "{}").await;
    let config = descriptor(CONFIG, "{}");
    // The subject comes later, or never.
    let subject = descriptor(MANIFEST, "subject");
    let digest = Algorithm::Sha256.digest(b"subject").to_string();
    let pushed = [
        (MANIFEST, format!(r#"{{"config":{config},"layers":[],"subject":{subject}}}"#), Some(CONFIG)),
        (
            MANIFEST,
            format!(
                r#"{{"artifactType":"text/x+y","config":{config},"layers":[],"subject":{subject},"annotations":{{"k":"v","a.b":""}}}}"#
            ),
            Some("text/x+y"),
        ),
        (INDEX, format!(r#"{{"manifests":[],"subject":{subject},"annotations":{{"i":"1"}}}}"#), None),
        (INDEX, format!(r#"{{"artifactType":"text/i","manifests":[],"subject":{subject}}}"#), Some("text/i")),
    ];
    for (media_type, body, _) in &pushed {
        let reference = Algorithm::Sha256.digest(body.as_bytes()).to_string();
        let put = registry.put_manifest("a", &reference, media_type, body).await;
        assert_eq!((put.status.as_u16(), put.header("oci-subject")), (201, digest.as_str()));
    }
    let path = format!("/v2/a/referrers/{digest}");
    let all = registry.get(&path).await;
    assert_eq!((all.try_header("oci-filters-applied"), all.next()), (None, None));
    let listed = all.json()["manifests"].as_array().unwrap().clone();
    assert_eq!(listed.len(), pushed.len());
    for (media_type, body, artifact_type) in &pushed {
        let own = Algorithm::Sha256.digest(body.as_bytes()).to_string();
        let entry = listed.iter().find(|entry| entry["digest"] == own).unwrap();
        assert_eq!(entry["mediaType"], *media_type);
        assert_eq!(entry["size"], body.len());
        assert_eq!(entry.get("artifactType").map(|value| value.as_str().unwrap()), *artifact_type);
        let document: serde_json::Value = serde_json::from_str(body).unwrap();
        assert_eq!(entry.get("annotations"), document.get("annotations"));
    }
    for filter in ["text/x+y", "text%2Fx%2By"] {
        let some = registry.get(&format!("{path}?artifactType={filter}")).await;
        assert_eq!(some.header("oci-filters-applied"), "artifactType");
        assert_eq!(some.json()["manifests"].as_array().unwrap().len(), 1);
        assert_eq!(some.json()["manifests"][0]["artifactType"], "text/x+y");
    }
    assert_eq!(
        registry.get(&format!("/v2/b/referrers/{digest}")).await.json()["manifests"],
        serde_json::json!([])
    );
    for (number, (_, body, _)) in pushed.iter().enumerate() {
        let own = Algorithm::Sha256.digest(body.as_bytes());
        assert_eq!(registry.send("DELETE", &format!("/v2/a/manifests/{own}"), &[], "").await.status, 202);
        let left = registry.get(&path).await.json()["manifests"].as_array().unwrap().len();
        assert_eq!(left, pushed.len() - 1 - number);
    }
}

#[tokio::test]
async fn a_long_list_is_cut_into_documents_that_fit() {
    let registry = Registry::start().await;
    let subject = descriptor(MANIFEST, "subject");
    let mut expected = Vec::new();
    for number in 0..5 {
        let body = format!(
            r#"{{"artifactType":"text/{}","manifests":[],"subject":{subject},"annotations":{{"{number}":"{}"}}}}"#,
            number % 2,
            "x".repeat(1_500_000)
        );
        let digest = Algorithm::Sha256.digest(body.as_bytes()).to_string();
        assert_eq!(registry.put_manifest("a", &digest, INDEX, &body).await.status, 201);
        expected.push((number % 2, digest));
    }
    expected.sort_by(|one, other| one.1.cmp(&other.1));
    let path = format!("/v2/a/referrers/{}", Algorithm::Sha256.digest(b"subject"));
    for (query, wanted) in [("", None), ("?artifactType=text/0", Some(0))] {
        let mut next = Some(format!("{path}{query}"));
        let mut found = Vec::new();
        let mut pages = 0;
        while let Some(path) = next {
            let reply = registry.get(&path).await;
            assert!(reply.body.len() <= 4 * 1024 * 1024);
            assert_eq!(reply.try_header("oci-filters-applied").is_some(), wanted.is_some());
            for entry in reply.json()["manifests"].as_array().unwrap() {
                found.push(entry["digest"].as_str().unwrap().to_owned());
            }
            next = reply.next();
            pages += 1;
        }
        let expected: Vec<_> = (expected.iter())
            .filter(|(kind, _)| wanted.is_none_or(|wanted| wanted == *kind))
            .map(|(_, digest)| digest.clone())
            .collect();
        assert_eq!(found, expected, "{query}");
        assert!(pages >= 2, "{pages}");
    }
}
