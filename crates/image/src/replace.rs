//! Puts whole documents in the place of others, as somebody wrote them.

use async_trait::async_trait;
use bytes::Bytes;
use oci::MediaType;

use crate::{Draft, Edit, Error};

/// Another configuration, byte for byte.
#[derive(Clone, Debug)]
pub struct ReplaceConfig(pub Bytes);

/// Another manifest, byte for byte, of another type if one is given, or the document names one.
#[derive(Clone, Debug)]
pub struct ReplaceManifest(pub Bytes, pub Option<MediaType>);

#[async_trait]
impl Edit for ReplaceConfig {
    async fn image(&self, draft: &mut Draft) -> Result<(), Error> {
        draft.replace_config(&self.0)
    }

    fn is_for_one(&self) -> bool {
        true
    }

    fn keeps_files(&self) -> bool {
        true
    }
}

#[async_trait]
impl Edit for ReplaceManifest {
    async fn image(&self, draft: &mut Draft) -> Result<(), Error> {
        draft.replace_manifest(&self.0, self.1.clone())
    }

    fn is_for_one(&self) -> bool {
        true
    }

    fn keeps_files(&self) -> bool {
        false
    }
}
