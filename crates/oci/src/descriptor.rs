//! Descriptors: what some content is, how long it is and what it hashes to (image specification, descriptor.md).

use std::collections::BTreeMap;

use base64::Engine as _;
use serde::{Deserialize, Serialize};

use crate::{Algorithm, Digest, MediaType, Platform};

/// A view of a descriptor. Fields that hoist does not know are not kept here: the bytes of the manifest keep them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// What the content is.
    pub media_type: MediaType,
    /// What the content hashes to.
    pub digest: Digest,
    /// The content's length in bytes.
    pub size: u64,
    /// Places outside the registry that have the content.
    #[serde(default, deserialize_with = "nullable", skip_serializing_if = "Vec::is_empty")]
    pub urls: Vec<String>,
    /// Annotations.
    #[serde(default, deserialize_with = "nullable", skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// The content itself, base64, where the writer embedded it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<String>,
    /// The platform an index gives for an image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    /// The artifact's type, where an index or a list of referrers gives it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
}

/// Go writes empty lists and maps as `null`.
pub(crate) fn nullable<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

impl Descriptor {
    /// A descriptor with the three fields that all have.
    pub fn new(media_type: MediaType, digest: Digest, size: u64) -> Self {
        Self {
            media_type,
            digest,
            size,
            urls: Vec::new(),
            annotations: BTreeMap::new(),
            data: None,
            platform: None,
            artifact_type: None,
        }
    }

    /// The descriptor of `content`.
    pub fn of(media_type: MediaType, algorithm: Algorithm, content: &[u8]) -> Self {
        Self::new(media_type, algorithm.digest(content), content.len() as u64)
    }

    /// The embedded content, if there is any and it is what the descriptor promises; else it is read like any other.
    pub fn embedded(&self) -> Option<Vec<u8>> {
        let content = base64::engine::general_purpose::STANDARD.decode(self.data.as_ref()?).ok()?;
        let right =
            content.len() as u64 == self.size && self.digest.algorithm().digest(&content) == self.digest;
        right.then_some(content)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_go_writes() {
        let json = format!(
            r#"{{"mediaType":"application/octet-stream","digest":"{}","size":2,"urls":null,"annotations":null,"new":1}}"#,
            Algorithm::Sha256.digest(b"{}")
        );
        let descriptor: Descriptor = serde_json::from_str(&json).unwrap();
        assert_eq!(descriptor, Descriptor::of(MediaType::OCTET_STREAM, Algorithm::Sha256, b"{}"));
    }

    #[test]
    fn embedded_content_counts_only_when_it_is_right() {
        let mut descriptor = Descriptor::of(MediaType::OCI_EMPTY, Algorithm::Sha256, b"{}");
        assert_eq!(descriptor.embedded(), None);
        descriptor.data = Some("e30=".into());
        assert_eq!(descriptor.embedded().as_deref(), Some(&b"{}"[..]));
        descriptor.data = Some("W10=".into());
        assert_eq!(descriptor.embedded(), None);
    }
}
