//! Lists of repositories.

use ::auth::Keychain;
use futures_util::TryStreamExt;
use oci::{RegistryName, Repository};
use registry::{Client, Options};
use store::{Error, Kind};
use testkit::{Answer, DockerRegistry, FaultRegistry, HoistServer, Relay, Route, TokenServer, images};

use crate::support::{Seen, line, login, options, passed};

async fn catalog(address: &str, options: Options, keychain: Keychain) -> Result<Vec<Vec<String>>, Error> {
    let registry = RegistryName::new(address).unwrap();
    let pages: Vec<Vec<Repository>> = Client::new(options, keychain).catalog(&registry).try_collect().await?;
    Ok(pages.into_iter().map(|page| page.iter().map(|name| name.path().to_owned()).collect()).collect())
}

async fn anonymous(address: &str) -> Result<Vec<Vec<String>>, Error> {
    catalog(address, options(), Keychain::default()).await
}

fn page(names: &str, link: &str) -> Answer {
    Answer::status(200).body(format!(r#"{{"repositories":{names}}}"#)).header("Link", link)
}

#[tokio::test]
async fn real_registries() {
    let (docker, hoist) = (DockerRegistry::plain(), HoistServer::start());
    assert!(anonymous(docker.address()).await.unwrap().concat().is_empty());
    for repository in ["b", "a/c", "a"] {
        docker.push(&images::artifact(), repository, "1");
        hoist.push(&images::artifact(), repository, "1");
    }
    for address in [docker.address(), hoist.address()] {
        let mut names = anonymous(address).await.unwrap().concat();
        names.sort();
        assert_eq!(names, ["a", "a/c", "b"]);
    }
}

#[tokio::test]
async fn pages_and_links() {
    let registry = FaultRegistry::start();
    registry.on(Route::get("*").times(1), page(r#"["a","b"]"#, "</v2/_catalog?last=b&n=2>; rel=\"next\""));
    registry.on(Route::get("*").times(1), page("null", "<?last=c>; rel=\"next\""));
    registry.on(Route::get("*"), page(r#"["d"]"#, ""));
    assert_eq!(anonymous(&registry.address()).await.unwrap(), [vec!["a", "b"], vec![], vec!["d"]]);
    let asked: Vec<String> = registry
        .requests()
        .into_iter()
        .map(|request| format!("{}?{}", request.path, request.query))
        .collect();
    assert_eq!(asked, ["/v2/_catalog?n=1000", "/v2/_catalog?last=b&n=2", "/v2/_catalog?last=c"]);
}

#[tokio::test]
async fn two_pages_of_a_real_registry() {
    let server = HoistServer::start();
    // Enough for two pages: a repository is there once it holds a manifest.
    let manifest =
        br#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}"#;
    let headers = [("Content-Type", "application/vnd.oci.image.index.v1+json")];
    for number in 1000..2001 {
        let path = format!("/v2/r{number}/manifests/1");
        assert_eq!(server.client().send("PUT", &path, &headers, manifest).status, 201);
    }
    let relay = Relay::to(server.address());
    let pages = anonymous(&relay.address()).await.unwrap();
    assert_eq!(pages.iter().map(Vec::len).collect::<Vec<_>>(), [1000, 1]);
    passed(&relay, 2);
}

#[tokio::test]
async fn links_that_lead_astray() {
    for (link, reason) in [
        ("<http://example.com/v2/_catalog>; rel=\"next\"", "leads to another host, http://example.com"),
        ("<?n=1000>; rel=\"next\"", "leads back to a page that was read"),
    ] {
        let registry = FaultRegistry::start();
        registry.on(Route::any(), page("[]", link));
        let error = anonymous(&registry.address()).await.unwrap_err();
        assert!(line(&error).starts_with("listing the repositories of 127.0.0.1:"), "{error}");
        assert!(error.to_string().ends_with(reason), "{error}");
        assert_eq!(registry.requests().len(), 1);
    }
}

#[tokio::test]
async fn names_that_are_none_do_not_hide_the_others() {
    let registry = FaultRegistry::start();
    registry.on(Route::any(), page(r#"["a","B","../c","d"]"#, ""));
    let mut options = options();
    let seen = Seen::observe(&mut options);
    let names = catalog(&registry.address(), options, Keychain::default()).await.unwrap().concat();
    assert_eq!(names, ["a", "d"]);
    let events = seen.events();
    assert_eq!(events.len(), 2, "{events:?}");
    assert!(
        events[0].starts_with(r#"warning: the registry lists "B", which is no repository"#),
        "{events:?}"
    );
}

#[tokio::test]
async fn the_list_has_a_scope_of_its_own() {
    let registry = DockerRegistry::bearer(TokenServer::start("user", "secret"));
    registry.push(&images::artifact(), "demo/web", "1");
    let address = registry.address();
    let names = catalog(address, options(), login(address, "user", "secret")).await.unwrap().concat();
    assert_eq!(names, ["demo/web"]);
    let requests = registry.tokens().unwrap().requests();
    assert_eq!(requests.len(), 1);
    assert_eq!(requests[0].parameters("scope"), ["registry:catalog:*"]);
    let error = anonymous(address).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unauthorized, "{error}");
}

#[tokio::test]
async fn registries_that_do_not_tell() {
    for (answer, kind) in [
        (Answer::error(404, "UNSUPPORTED", "no"), Kind::NotFound),
        (Answer::error(405, "UNSUPPORTED", "no"), Kind::Unsupported),
        (Answer::status(200).body("<html>"), Kind::Other),
        (Answer::status(200).body(r#"{"repositories":{}}"#), Kind::Other),
    ] {
        let registry = FaultRegistry::start();
        registry.on(Route::any(), answer);
        let error = anonymous(&registry.address()).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        line(&error);
    }
}
