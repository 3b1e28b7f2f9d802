//! What a manifest says of itself, and what others say of it.

use oci::{Descriptor, Manifest, ManifestError, MediaType, View};
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny};

use super::report::{Findings, Spot};

/// The fields that have to be there.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Outline {
    #[serde(default)]
    schema_version: serde_json::Value,
    media_type: Option<String>,
    #[serde(default, deserialize_with = "is_there")]
    config: bool,
    #[serde(default, deserialize_with = "is_there")]
    layers: bool,
    #[serde(default, deserialize_with = "is_there")]
    manifests: bool,
}

/// Go writes an empty list as `null`: that counts.
fn is_there<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    IgnoredAny::deserialize(deserializer).map(|_| true)
}

/// Checks a manifest by itself; what it holds, if that can be read.
pub(super) fn check(manifest: &Manifest, spot: &Spot, findings: &mut Findings) -> Option<View> {
    let media_type = manifest.media_type();
    let view = match manifest.view() {
        Ok(view) => view,
        Err(ManifestError::Schema1 { .. }) => {
            findings.note(spot, "is a docker schema 1 image, which is not checked inside");
            return None;
        }
        // A type of its own may use these fields for something else.
        Err(_) if !media_type.is_manifest() => {
            findings.note(spot, format!("is of type {media_type}, which is not checked inside"));
            return None;
        }
        Err(error) => {
            findings.error(spot, error.to_string());
            return None;
        }
    };
    // What has a view is an object, and its fields have been read once.
    let Ok(outline) = serde_json::from_slice::<Outline>(manifest.raw()) else { return Some(view) };
    if let Some(said) = outline.media_type.as_deref().map(MediaType::new)
        && said != *media_type
    {
        findings.error(spot, format!("it is sent as {media_type}, its mediaType is {said}"));
    }
    // The early artifact manifest has neither version nor config; of other types it is not known.
    if media_type.is_manifest() && *media_type != MediaType::OCI_ARTIFACT {
        if outline.schema_version != 2 {
            findings.error(spot, format!("schemaVersion is {}, not 2", outline.schema_version));
        }
        let required: &[(&str, bool)] = match view {
            View::Index(_) => &[("manifests", outline.manifests)],
            View::Image(_) => &[("config", outline.config), ("layers", outline.layers)],
        };
        for (field, _) in required.iter().filter(|(_, is_there)| !is_there) {
            findings.error(spot, format!("the required field {field:?} is missing"));
        }
    }
    Some(view)
}

/// Checks a manifest against the descriptor that an index has for it.
pub(super) fn check_reference(entry: &Descriptor, manifest: &Manifest, spot: &Spot, findings: &mut Findings) {
    let size = manifest.raw().len() as u64;
    if size != entry.size {
        findings.error(spot, format!("it has {size} bytes, the descriptor says {}", entry.size));
    }
    if entry.media_type != *manifest.media_type() {
        let (found, said) = (manifest.media_type(), &entry.media_type);
        findings.error(spot, format!("it is {found}, the descriptor says {said}"));
    }
}
