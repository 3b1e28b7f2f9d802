//! Connections that are opened before there are requests for them.

use std::time::Duration;

use ::auth::Keychain;
use futures_util::future::join_all;
use oci::Descriptor;
use registry::{Options, RegistryStore};
use store::Store;
use testkit::FaultRegistry;

use crate::support::{noise, options, put, read, store_of, tag};

/// So many connections are opened in the beginning, when a registry may have one exchange more at once.
const AT_FIRST: usize = 7;

/// A registry with a blob, which takes a while for each answer, as one that is far away does.
fn far(registry: FaultRegistry) -> (FaultRegistry, Descriptor) {
    let blob = put(&registry, &noise(1000));
    registry.limit(64, Duration::from_millis(50));
    (registry, blob)
}

fn store(registry: &FaultRegistry) -> RegistryStore {
    let mut options: Options = options();
    options.tls.skip_verify = true;
    store_of(&registry.address(), options, Keychain::default())
}

/// Waits until a registry has seen so many connections.
async fn seen(registry: &FaultRegistry, connections: usize) {
    for _ in 0..2000 {
        if registry.connections() >= connections {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("{} connections, not {connections}", registry.connections());
}

#[tokio::test]
async fn who_expects_many_exchanges_finds_connections() {
    for registry in [FaultRegistry::start(), FaultRegistry::tls()] {
        let (registry, blob) = far(registry);
        let store = store(&registry);
        assert!(store.resolve(&tag("1.0")).await.is_err(), "there is none, but now the registry is known");
        let (connections, requests) = (registry.connections(), registry.requests().len());
        store.expect_many().await;
        seen(&registry, connections + AT_FIRST).await;
        assert_eq!(registry.requests().len(), requests, "nothing is asked");
        let reads = join_all((0..AT_FIRST).map(|_| read(&store, &blob))).await;
        assert!(reads.into_iter().all(|read| read.is_ok()));
        assert_eq!(registry.connections(), connections + AT_FIRST);
        assert_eq!(registry.requests().len(), requests + AT_FIRST);
    }
}

/// Nobody waits for connections that nobody opens.
#[tokio::test]
async fn more_requests_open_connections_of_their_own() {
    let (registry, blob) = far(FaultRegistry::start());
    let store = store(&registry);
    store.expect_many().await;
    let reads = join_all((0..2 * AT_FIRST).map(|_| read(&store, &blob))).await;
    assert!(reads.into_iter().all(|read| read.is_ok()));
    assert!((AT_FIRST + 1..=2 * AT_FIRST).contains(&registry.connections()), "{}", registry.connections());
}

#[tokio::test]
async fn what_is_near_needs_none() {
    let registry = FaultRegistry::start();
    let store = store(&registry);
    for _ in 0..20 {
        assert!(store.resolve(&tag("1.0")).await.is_err());
    }
    let connections = registry.connections();
    store.expect_many().await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(registry.connections(), connections);
}
