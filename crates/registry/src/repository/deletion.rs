//! Deletes tags and manifests (distribution specification, "Deleting tags" and "Deleting Manifests").

use bytes::Bytes;
use http::{HeaderMap, Method};
use oci::Selector;
use store::{Error as StoreError, Kind};

use super::RegistryStore;
use crate::error::Error;
use crate::scope::Scope;

impl RegistryStore {
    /// The same repository, for deleting: tokens are asked for that as well.
    #[must_use]
    pub fn for_delete(mut self) -> Self {
        self.scopes = vec![Scope::delete(self.repository.path())];
        self
    }

    pub(super) async fn remove(&self, selector: &Selector) -> Result<(), StoreError> {
        let outcome = async {
            let url = self.url(&format!("manifests/{selector}")).await?;
            self.send(Method::DELETE, url, HeaderMap::new(), Bytes::new()).await
        };
        outcome.await.map(|_| ()).map_err(|error| {
            let kind = if refuses_tags(selector, &error) { Kind::Unsupported } else { error.kind() };
            StoreError::new(kind, format!("deleting {}", self.reference(selector)), error)
        })
    }
}

/// Whether this is how a registry says that it deletes by digest only: docker-registry 2.8 answers 400 `DIGEST_INVALID`,
/// others 400 with other codes. There is nothing else about the request that could be bad.
fn refuses_tags(selector: &Selector, error: &Error) -> bool {
    let bad = matches!(error, Error::Status(answer) if answer.status.as_u16() == 400);
    bad && matches!(selector, Selector::Tag(_))
}
