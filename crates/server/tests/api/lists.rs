use crate::client::{INDEX, Registry};

const EMPTY: &str = r#"{"schemaVersion":2,"manifests":[]}"#;

/// All pages from a path on.
async fn pages(registry: &Registry, path: &str, field: &str) -> Vec<Vec<String>> {
    let mut next = Some(path.to_owned());
    let mut pages = Vec::new();
    while let Some(path) = next {
        let reply = registry.get(&path).await;
        assert_eq!(reply.status, 200, "{path}");
        pages.push(reply.list(field));
        next = reply.next();
    }
    pages
}

#[tokio::test]
async fn tags_by_the_page() {
    let registry = Registry::start().await;
    let mut expected = ["v1", "v10", "v2", "V3", "_x", "latest", "a.b-c"];
    for tag in expected {
        registry.put_manifest("a", tag, INDEX, EMPTY).await;
    }
    expected.sort_unstable();
    let all = registry.get("/v2/a/tags/list").await;
    assert_eq!(all.json()["name"], "a");
    assert_eq!((all.list("tags"), all.next()), (expected.map(String::from).to_vec(), None));
    for n in 1..9 {
        let pages = pages(&registry, &format!("/v2/a/tags/list?n={n}"), "tags").await;
        assert_eq!(pages.concat(), expected, "{n}");
        assert!(pages.iter().all(|page| page.len() <= n));
        assert_eq!(pages.len(), expected.len().div_ceil(n));
    }
    for (last, rest) in
        [("latest", &["v1", "v10", "v2"][..]), ("v0", &["v1", "v10", "v2"]), ("v2", &[]), ("zz", &[])]
    {
        let reply = registry.get(&format!("/v2/a/tags/list?last={last}")).await;
        assert_eq!(
            (reply.list("tags"), reply.next()),
            (rest.iter().map(ToString::to_string).collect(), None)
        );
    }
    let none = registry.get("/v2/a/tags/list?n=0").await;
    assert_eq!((none.list("tags"), none.next()), (vec![], None));
    assert_eq!(registry.get("/v2/a/tags/list?n=99999999999999999999").await.list("tags").len(), 7);
    for n in ["-1", "x", ""] {
        let refused = registry.get(&format!("/v2/a/tags/list?n={n}")).await;
        assert_eq!((refused.status.as_u16(), refused.code().as_str()), (400, "PAGINATION_NUMBER_INVALID"));
    }
}

#[tokio::test]
async fn repositories_by_the_page() {
    let registry = Registry::start().await;
    let mut expected = ["a", "a-b", "a/b", "a/b/c", "a.b", "a0", "b/tags/list", "b/blobs/uploads", "c/d/e/f"];
    for name in expected {
        assert_eq!(registry.put_manifest(name, "v1", INDEX, EMPTY).await.status, 201);
    }
    // Blobs alone make no repository.
    registry.push_blob("only/blobs", "content").await;
    expected.sort_unstable();
    for n in [1, 2, 3, 8, 9, 10, 5000] {
        let pages = pages(&registry, &format!("/v2/_catalog?n={n}"), "repositories").await;
        assert_eq!(pages.concat(), expected, "{n}");
        assert_eq!(pages.len(), expected.len().div_ceil(n));
    }
    for (at, last) in expected.iter().enumerate() {
        let reply = registry.get(&format!("/v2/_catalog?last={last}")).await;
        assert_eq!(reply.list("repositories"), expected[at + 1..], "{last}");
    }
    let none = registry.get("/v2/_catalog?n=0").await;
    assert_eq!((none.list("repositories"), none.next()), (vec![], None));
}
