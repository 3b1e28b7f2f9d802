//! The client: the way to every registry.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use auth::Keychain;
use oci::{RegistryName, Repository};

use crate::host::Host;
use crate::shared::Shared;
use crate::{Options, RegistryStore};

/// Talks to registries. Cheap to clone; clones share connections, tokens and everything else that is known of a host.
#[derive(Clone)]
pub struct Client {
    shared: Arc<Shared>,
    hosts: Arc<Mutex<HashMap<RegistryName, Arc<Host>>>>,
}

impl Client {
    /// A client with these settings, and the credentials that `keychain` finds. Nothing is sent yet.
    pub fn new(options: Options, keychain: Keychain) -> Self {
        Self { shared: Arc::new(Shared::new(options, keychain)), hosts: Arc::default() }
    }

    /// A repository, to read from.
    pub fn repository(&self, repository: &Repository) -> RegistryStore {
        RegistryStore::new(self.host(repository.registry()), repository.clone())
    }

    /// Keeps what was learned of registries for later runs ([`Options::memory`]). To be called at the end, whatever came
    /// of the work; what cannot be kept is lost.
    pub fn remember(&self) {
        let Some(memory) = &self.shared.memory else { return };
        let hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        memory.keep(hosts.values().filter_map(|host| host.lesson()).collect());
    }

    pub(crate) fn host(&self, name: &RegistryName) -> Arc<Host> {
        let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        let host = hosts
            .entry(name.clone())
            .or_insert_with(|| Arc::new(Host::new(Arc::clone(&self.shared), name.clone())));
        Arc::clone(host)
    }
}

/// With the usual settings, and without credentials.
impl Default for Client {
    fn default() -> Self {
        Self::new(Options::default(), Keychain::default())
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("options", &self.shared.options).finish_non_exhaustive()
    }
}
