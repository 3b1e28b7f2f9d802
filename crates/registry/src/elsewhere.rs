//! Where a registry has sent us for a blob, so that each part of it need not be asked for there again.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use oci::Digest;
use url::Url;

use crate::guard::Zone;

/// No more of them are kept. Few blobs are read in parts at once.
const MOST: usize = 64;

/// A place that a registry sent us to: often an address that is signed for a time, and so a secret.
#[derive(Clone)]
pub(crate) struct Elsewhere {
    pub(crate) url: Url,
    /// The most public place on the way there.
    pub(crate) from: Zone,
}

/// Where a host sent us for its blobs, by repository and digest.
#[derive(Default)]
pub(crate) struct Redirects(Mutex<HashMap<(String, Digest), Elsewhere>>);

impl Redirects {
    pub(crate) fn get(&self, repository: &str, blob: &Digest) -> Option<Elsewhere> {
        self.known().get(&(repository.to_owned(), *blob)).cloned()
    }

    pub(crate) fn put(&self, repository: &str, blob: &Digest, place: Option<Elsewhere>) {
        let key = (repository.to_owned(), *blob);
        let mut redirects = self.known();
        let Some(place) = place else {
            redirects.remove(&key);
            return;
        };
        if redirects.len() >= MOST && !redirects.contains_key(&key) {
            redirects.clear();
        }
        redirects.insert(key, place);
    }

    fn known(&self) -> MutexGuard<'_, HashMap<(String, Digest), Elsewhere>> {
        // The map is whole at every moment, so a panic elsewhere does not spoil it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_not_many() {
        let redirects = Redirects::default();
        let place = Elsewhere { url: Url::parse("https://storage.example/x").unwrap(), from: Zone::Public };
        let blob = |n: usize| oci::Algorithm::Sha256.digest(&n.to_le_bytes());
        for n in 0..1000 {
            redirects.put("a", &blob(n), Some(place.clone()));
            assert!(redirects.get("a", &blob(n)).is_some() && redirects.get("b", &blob(n)).is_none());
            assert!(redirects.known().len() <= MOST);
        }
        redirects.put("a", &blob(999), None);
        assert!(redirects.get("a", &blob(999)).is_none());
    }
}
