//! What registries say of their limits.

use ::auth::Keychain;
use oci::RegistryName;
use registry::{Client, RateLimit};
use store::{Error, Kind};
use testkit::{Answer, DockerRegistry, FaultRegistry, HoistServer, Route, TokenServer, images};

use crate::support::{REPOSITORY, line, login, options, repository};

async fn limits(address: &str, keychain: Keychain, of_repository: bool) -> Result<Option<RateLimit>, Error> {
    let registry = RegistryName::new(address).unwrap();
    let repository = of_repository.then(|| repository(address));
    Client::new(options(), keychain).rate_limit(&registry, repository.as_ref()).await
}

fn limited(answer: Answer) -> Answer {
    answer
        .header("RateLimit-Limit", "100;w=21600")
        .header("RateLimit-Remaining", "76;w=21600")
        .header("Docker-RateLimit-Source", "192.0.2.1")
}

#[tokio::test]
async fn of_a_registry_and_of_a_repository() {
    let registry = FaultRegistry::start();
    registry.put(REPOSITORY, "latest", &images::single());
    registry.on(Route::any(), limited(Answer::stored()));
    for (of_repository, asked) in [(false, "GET /v2/"), (true, "HEAD /v2/demo/web/manifests/latest")] {
        let found = limits(&registry.address(), Keychain::default(), of_repository).await.unwrap().unwrap();
        assert_eq!((found.limit, found.remaining, found.window), (Some(100), Some(76), Some(21600)));
        assert_eq!(found.source.as_deref(), Some("192.0.2.1"));
        let last = registry.requests().pop().unwrap();
        assert_eq!(format!("{} {}", last.method, last.path), asked);
    }
    assert_eq!(registry.requests().len(), 2);
}

#[tokio::test]
async fn registries_without_limits() {
    let (docker, hoist) = (DockerRegistry::plain(), HoistServer::start());
    for address in [docker.address(), hoist.address()] {
        assert_eq!(limits(address, Keychain::default(), false).await.unwrap(), None);
    }
    let bearer = DockerRegistry::bearer(TokenServer::start("user", "secret"));
    let keychain = login(bearer.address(), "user", "secret");
    assert_eq!(limits(bearer.address(), keychain, false).await.unwrap(), None);
}

#[tokio::test]
async fn a_limit_that_is_reached() {
    let registry = FaultRegistry::start();
    registry.on(Route::any(), Answer::error(429, "TOOMANYREQUESTS", "slow down"));
    let error = limits(&registry.address(), Keychain::default(), false).await.unwrap_err();
    assert_eq!(error.kind(), Kind::TooManyRequests);
    assert!(line(&error).starts_with("asking 127.0.0.1:"), "{error}");
}
