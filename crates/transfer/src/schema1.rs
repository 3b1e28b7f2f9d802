//! Docker's image manifest version 2, schema 1: as much of it as a copy needs.

use oci::{Digest, Manifest, ManifestError};
use serde::Deserialize;

#[derive(Deserialize)]
struct Document {
    #[serde(rename = "fsLayers")]
    layers: Vec<Layer>,
}

#[derive(Deserialize)]
struct Layer {
    #[serde(rename = "blobSum")]
    digest: Digest,
}

/// The digests of the layers, top first, with all their repetitions (the empty layer comes often).
pub(crate) fn layers(manifest: &Manifest) -> Result<Vec<Digest>, ManifestError> {
    let document: Document = serde_json::from_slice(manifest.raw())
        .map_err(|error| ManifestError::Invalid { digest: manifest.digest(), reason: error.to_string() })?;
    Ok(document.layers.into_iter().map(|layer| layer.digest).collect())
}
