//! The suite that every store passes, on real registries.

use std::ops::Range;

use ::auth::Keychain;
use async_trait::async_trait;
use futures_util::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt};
use oci::{Descriptor, Digest, Manifest, Repository, Selector, Tag};
use registry::RegistryStore;
use store::{ByteStream, Error, Opened, Store, conformance};
use testkit::{DockerRegistry, FaultRegistry, HoistServer, TokenServer};

use crate::support::{anonymous, login, options, store_of};

/// A repository on docker-registry, which lists tags in no order while the suite expects one.
#[derive(Debug)]
struct Sorted(RegistryStore);

#[async_trait]
impl Store for Sorted {
    fn name(&self) -> String {
        self.0.name()
    }

    async fn resolve(&self, selector: &Selector) -> Result<Descriptor, Error> {
        self.0.resolve(selector).await
    }

    async fn manifest(&self, selector: &Selector) -> Result<Manifest, Error> {
        self.0.manifest(selector).await
    }

    async fn put_manifest(&self, selector: &Selector, manifest: &Manifest) -> Result<(), Error> {
        self.0.put_manifest(selector, manifest).await
    }

    fn tags(&self) -> BoxStream<'_, Result<Vec<Tag>, Error>> {
        let sorted = |mut page: Vec<Tag>| {
            page.sort();
            page
        };
        self.0.tags().map_ok(sorted).boxed()
    }

    async fn contains(&self, blob: &Descriptor) -> Result<bool, Error> {
        self.0.contains(blob).await
    }

    async fn resolve_blob(&self, digest: &Digest) -> Result<Descriptor, Error> {
        self.0.resolve_blob(digest).await
    }

    async fn read(&self, blob: &Descriptor, range: Range<u64>) -> Result<ByteStream, Error> {
        self.0.read(blob, range).await
    }

    async fn write(&self, blob: &Descriptor, origin: Option<&Repository>) -> Result<Opened, Error> {
        self.0.write(blob, origin).await
    }

    fn origin(&self) -> Option<&Repository> {
        self.0.origin()
    }
}

#[tokio::test]
async fn docker_registry_plain() {
    let registry = DockerRegistry::plain();
    conformance::run(&Sorted(anonymous(registry.address()))).await;
}

#[tokio::test]
async fn docker_registry_basic() {
    let registry = DockerRegistry::basic("user", "secret");
    let keychain = login(registry.address(), "user", "secret");
    conformance::run(&Sorted(store_of(registry.address(), options(), keychain))).await;
}

#[tokio::test]
async fn docker_registry_bearer() {
    let registry = DockerRegistry::bearer(TokenServer::start("user", "secret"));
    let keychain = login(registry.address(), "user", "secret");
    conformance::run(&Sorted(store_of(registry.address(), options(), keychain))).await;
    assert_eq!(registry.tokens().unwrap().requests().len(), 1);
}

#[tokio::test]
async fn docker_registry_tls() {
    let registry = DockerRegistry::tls();
    let mut options = options();
    options.insecure = true;
    conformance::run(&Sorted(store_of(registry.address(), options, Keychain::default()))).await;
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
