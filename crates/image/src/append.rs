//! Layers on top of an image, or on nothing.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use oci::json::Object;
use oci::{Algorithm, Descriptor, Manifest, MediaType, Platform};
use serde_json::json;
use store::Store;

use crate::draft::invalid;
use crate::mutation::step;
use crate::{Created, Draft, Edit, Error, NewLayer, Overlay};

/// The image that an image is built on: its name (image specification, "Pre-Defined Annotation Keys").
pub(crate) const BASE_NAME: &str = "org.opencontainers.image.base.name";

/// The digest that the image had which an image is built on.
pub(crate) const BASE_DIGEST: &str = "org.opencontainers.image.base.digest";

/// Layers that are put on top of each image.
#[derive(Clone, Debug)]
pub struct Append {
    /// What the history says of each.
    pub by: &'static str,
    /// The layers, the lowest first.
    pub layers: Vec<NewLayer>,
    /// Whether the image tells by annotations what it was built on.
    pub annotate: bool,
    /// The base's name for that; without it only its digest is told.
    pub base_name: Option<String>,
    /// When the image was made.
    pub created: Option<Created>,
}

impl Append {
    /// No layers yet; the history will say that they are `by` somebody.
    pub fn by(by: &'static str) -> Self {
        Self { by, layers: Vec::new(), annotate: false, base_name: None, created: None }
    }
}

#[async_trait]
impl Edit for Append {
    async fn image(&self, draft: &mut Draft) -> Result<(), Error> {
        for layer in &self.layers {
            draft.append(layer, &step(self.by, self.created)?).await?;
        }
        if let Some(created) = self.created
            && draft.is_image()
        {
            draft.config().await?.set("created", &created).map_err(invalid)?;
        }
        if self.annotate {
            let digest = draft.original();
            annotate_base(draft.manifest(), self.base_name.as_deref(), &digest.to_string())?;
        }
        Ok(())
    }

    fn keeps_files(&self) -> bool {
        false
    }
}

/// Writes down what an image is built on.
pub(crate) fn annotate_base(manifest: &mut Object, name: Option<&str>, digest: &str) -> Result<(), Error> {
    manifest
        .edit_object("annotations", |annotations| {
            if let Some(name) = name {
                annotations.set(BASE_NAME, name)?;
            }
            annotations.set(BASE_DIGEST, digest)
        })
        .map_err(invalid)
}

/// An image without layers, in a place of its own: of OCI's types, or of docker's.
///
/// # Errors
/// None: what it is made of is a manifest.
pub fn empty(platform: &Platform, docker: bool) -> Result<(Arc<dyn Store>, Manifest), Error> {
    let mut config = json!({ "architecture": platform.architecture, "os": platform.os });
    for (key, value) in [("variant", &platform.variant), ("os.version", &platform.os_version)] {
        if let Some(value) = value {
            config[key] = json!(value);
        }
    }
    config["config"] = json!({});
    config["rootfs"] = json!({ "type": "layers", "diff_ids": [] });
    config["history"] = json!([]);
    let config = Bytes::from(config.to_string());
    let (config_type, manifest_type) = if docker {
        (MediaType::DOCKER_CONFIG, MediaType::DOCKER_MANIFEST)
    } else {
        (MediaType::OCI_CONFIG, MediaType::OCI_MANIFEST)
    };
    let descriptor = Descriptor::of(config_type, Algorithm::Sha256, &config);
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": manifest_type,
        "config": descriptor,
        "layers": [],
    });
    let manifest = Manifest::new(manifest.to_string().into(), Some(manifest_type))?;
    let mut place = Overlay::over(Arc::new(store::MemoryStore::new("an empty image")));
    place.add_blob(descriptor.digest, config);
    place.add_manifest(manifest.clone());
    Ok((Arc::new(place), manifest))
}
