//! The configuration of an image (image specification, config.md): the part that hoist reads.

use serde::{Deserialize, Serialize};

use crate::descriptor::nullable;
use crate::{Digest, Platform};

/// A view of an image's configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageConfig {
    /// The platform, spread over the top of the document.
    #[serde(flatten)]
    pub platform: Platform,
    /// The layers' contents.
    #[serde(default)]
    pub rootfs: RootFs,
    /// How the image was built, oldest first.
    #[serde(default, deserialize_with = "nullable")]
    pub history: Vec<History>,
}

/// The layers that make up the root file system.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootFs {
    /// Always `layers`.
    #[serde(default, rename = "type")]
    pub kind: String,
    /// Digests of the inflated layers, bottom first.
    #[serde(default, deserialize_with = "nullable")]
    pub diff_ids: Vec<Digest>,
}

/// One step of an image's history.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct History {
    /// The command that made the layer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_by: Option<String>,
    /// Whether the step made no layer.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub empty_layer: bool,
}
