//! What one run knows already, so that nothing is asked or moved twice.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use oci::Digest;
use tokio::sync::OnceCell;

/// Set once something is known or done. Whoever comes while another is at it waits; if the other fails or is dropped,
/// the next one tries.
pub(crate) type Claim<T> = Arc<OnceCell<T>>;

/// One claim for each digest that a run has met.
#[derive(Debug)]
pub(crate) struct Memo<T> {
    claims: Mutex<HashMap<Digest, Claim<T>>>,
}

impl<T> Memo<T> {
    pub(crate) fn new() -> Self {
        Self { claims: Mutex::default() }
    }

    /// The claim on a digest, and whether this is the first one.
    pub(crate) fn claim(&self, digest: Digest) -> (Claim<T>, bool) {
        // The map is whole at every moment, so a panic elsewhere does not spoil it.
        let mut claims = self.claims.lock().unwrap_or_else(PoisonError::into_inner);
        let mut first = false;
        let claim = claims.entry(digest).or_insert_with(|| {
            first = true;
            Arc::new(OnceCell::new())
        });
        (Arc::clone(claim), first)
    }

    /// What is known about a digest.
    pub(crate) fn get(&self, digest: Digest) -> Option<T>
    where
        T: Clone,
    {
        let claims = self.claims.lock().unwrap_or_else(PoisonError::into_inner);
        claims.get(&digest)?.get().cloned()
    }
}
