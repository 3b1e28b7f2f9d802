//! The suite that every store passes, on real registries.

use ::auth::Keychain;
use store::conformance;
use testkit::{DockerRegistry, FaultRegistry, HoistServer, TokenServer};

use crate::support::{REPOSITORY, anonymous, login, options, store_of};

#[tokio::test]
async fn docker_registry_plain() {
    let registry = DockerRegistry::plain();
    conformance::run(&anonymous(registry.address())).await;
}

#[tokio::test]
async fn docker_registry_basic() {
    let registry = DockerRegistry::basic("user", "secret");
    let keychain = login(registry.address(), "user", "secret");
    conformance::run(&store_of(registry.address(), options(), keychain)).await;
}

#[tokio::test]
async fn docker_registry_bearer() {
    let registry = DockerRegistry::bearer(TokenServer::start("user", "secret"));
    let keychain = login(registry.address(), "user", "secret");
    conformance::run(&store_of(registry.address(), options(), keychain).for_delete()).await;
    let requests = registry.tokens().unwrap().requests();
    assert_eq!(requests.len(), 1);
    assert_eq!(requests[0].parameters("scope"), [format!("repository:{REPOSITORY}:delete,pull,push")]);
}

#[tokio::test]
async fn docker_registry_tls() {
    let registry = DockerRegistry::tls();
    let mut options = options();
    options.insecure = true;
    conformance::run(&store_of(registry.address(), options, Keychain::default())).await;
}

#[tokio::test]
async fn hoist_server() {
    let server = HoistServer::start();
    conformance::run(&anonymous(server.address())).await;
}

#[tokio::test]
async fn the_registry_with_faults_has_none_by_itself() {
    let registry = FaultRegistry::start();
    conformance::run(&anonymous(&registry.address())).await;
}
