//! Lists of tags.

use ::auth::Keychain;
use futures_util::{StreamExt, TryStreamExt};
use oci::Tag;
use store::{Error, Store};
use testkit::{Answer, DockerRegistry, FaultRegistry, HoistServer, Relay, Route, images};

use crate::support::{REPOSITORY, anonymous, line, options, passed, store_of, tag};

async fn tags(address: &str) -> Result<Vec<String>, Error> {
    let store = store_of(address, options(), Keychain::default());
    let pages: Vec<Vec<Tag>> = store.tags().try_collect().await?;
    Ok(pages.concat().iter().map(ToString::to_string).collect())
}

fn page(tags: &str, link: &str) -> Answer {
    Answer::status(200).body(format!(r#"{{"name":"x","tags":{tags}}}"#)).header("Link", link)
}

/// Puts so many tags on one manifest.
async fn fill(address: &str, names: &[String]) {
    let store = anonymous(address);
    let manifest = store.manifest(&tag("latest")).await.unwrap();
    let puts = names.iter().map(|name| {
        let (store, manifest) = (&store, &manifest);
        async move { store.put_manifest(&tag(name), manifest).await.unwrap() }
    });
    futures_util::stream::iter(puts).buffer_unordered(16).collect::<Vec<()>>().await;
}

#[tokio::test]
async fn a_list_without_a_length() {
    // docker-registry gives short answers a length, and sends long ones in chunks, in whatever order.
    let registry = DockerRegistry::plain();
    registry.push(&images::artifact(), REPOSITORY, "latest");
    let mut expected: Vec<String> = (1000..1400).map(|n| n.to_string()).collect();
    fill(registry.address(), &expected).await;
    expected.push("latest".into());
    let mut found = tags(registry.address()).await.unwrap();
    found.sort();
    assert_eq!(found, expected);
}

#[tokio::test]
async fn a_list_of_two_pages() {
    let server = HoistServer::start();
    server.push(&images::artifact(), REPOSITORY, "latest");
    let mut expected: Vec<String> = (1000..2000).map(|n| n.to_string()).collect();
    fill(server.address(), &expected).await;
    expected.push("latest".into());
    let relay = Relay::to(server.address());
    assert_eq!(tags(&relay.address()).await.unwrap(), expected);
    passed(&relay, 2);
}

#[tokio::test]
async fn links() {
    let registry = FaultRegistry::start();
    let absolute = format!("<http://{}/v2/demo/web/tags/list?last=b>; rel=\"next\"", registry.address());
    registry.on(Route::get("*").times(1), page(r#"["a"]"#, "</v2/demo/web/tags/list?last=a>; rel=next"));
    registry.on(Route::get("*").times(1), page(r#"["b"]"#, &absolute));
    registry.on(Route::get("*").times(1), page("null", "<?last=c>; rel=\"next\""));
    registry.on(Route::get("*"), Answer::status(200).body(r#"{"tags":["d"]}"#));
    assert_eq!(tags(&registry.address()).await.unwrap(), ["a", "b", "d"]);
    let queries: Vec<String> = registry.requests().into_iter().map(|request| request.query).collect();
    assert_eq!(queries, ["n=1000", "last=a", "last=b", "last=c"]);
}

#[tokio::test]
async fn links_that_lead_astray() {
    for (links, reason, requests) in [
        (vec!["<http://example.com/v2/>; rel=\"next\""], "leads to another host, http://example.com", 1),
        (vec!["<?n=1000>; rel=\"next\""], "leads back to a page that was read", 1),
        (vec!["<?last=a>; rel=\"next\"", "<?n=1000>; rel=\"next\""], "leads back to a page that was read", 2),
        (vec!["<http://[x>; rel=\"next\""], "is no URL", 1),
    ] {
        let registry = FaultRegistry::start();
        for link in &links {
            registry.on(Route::any().times(1), page("[]", link));
        }
        let error = tags(&registry.address()).await.unwrap_err();
        assert!(line(&error).ends_with(reason), "{error}");
        assert_eq!(registry.requests().len(), requests);
    }
}

#[tokio::test]
async fn lists_that_are_none() {
    for (body, reason) in
        [("<html>", "not the JSON it should be"), (r#"{"tags":{}}"#, "not the JSON it should be")]
    {
        let registry = FaultRegistry::start();
        registry.on(Route::any(), Answer::status(200).body(body));
        let error = tags(&registry.address()).await.unwrap_err();
        assert!(line(&error).contains(reason), "{error}");
    }
    let registry = FaultRegistry::start();
    registry.on(Route::any().times(1), page(r#"["a"]"#, "").cut_after(5));
    registry.on(Route::any(), Answer::status(200).body("{}"));
    assert!(
        tags(&registry.address()).await.unwrap().is_empty(),
        "an answer that broke off is asked for again"
    );
}

#[tokio::test]
async fn a_tag_that_is_none_does_not_hide_the_others() {
    let registry = FaultRegistry::start();
    registry.on(Route::any(), Answer::status(200).body(r#"{"tags":["a","a b","c"]}"#));
    assert_eq!(tags(&registry.address()).await.unwrap(), ["a", "c"]);
}
