//! Manifests that are written only where their name stands for what is expected.

use http::header::{HeaderName, IF_MATCH, IF_NONE_MATCH};
use http::{HeaderValue, StatusCode};
use oci::{Manifest, Selector};
use store::{Error as StoreError, Expected, Replaced, present};

use super::RegistryStore;

impl RegistryStore {
    /// Looks what the name stands for, and writes it under the condition that nothing has changed (RFC 9110, "Conditional
    /// Requests"). The distribution specification knows no such thing, and most registries write all the same.
    pub(super) async fn replace(
        &self,
        selector: &Selector,
        manifest: &Manifest,
        expected: Expected,
    ) -> Result<Replaced, StoreError> {
        let look = async || Ok(present(self, selector).await?.map(|found| found.digest));
        let found = look().await?;
        if !expected.is(found) {
            return Ok(Replaced::Refused(found));
        }
        let error = match self.put(selector, manifest, condition(expected)).await {
            Ok(()) => return Ok(Replaced::Done),
            Err(error) => error,
        };
        if error.status() == Some(StatusCode::PRECONDITION_FAILED) {
            let found = look().await?;
            if found == Some(manifest.digest()) {
                // An attempt whose answer was lost had done it.
                return Ok(Replaced::Done);
            }
            if !expected.is(found) {
                return Ok(Replaced::Refused(found));
            }
        }
        Err(error.doing(format!("writing manifest {}", self.reference(selector))))
    }
}

/// As a header. Registries tag their answers with the digest between quotation marks.
pub(super) fn condition(expected: Expected) -> Option<(HeaderName, HeaderValue)> {
    match expected {
        Expected::Nothing => Some((IF_NONE_MATCH, HeaderValue::from_static("*"))),
        // A digest is plain text, which fits a header.
        Expected::Digest(digest) => Some((IF_MATCH, HeaderValue::try_from(format!("\"{digest}\"")).ok()?)),
    }
}
