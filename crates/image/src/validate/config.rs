//! Whether an image's config fits its manifest, and what an index says of the image.

use oci::{Digest, ImageConfig, ImageManifest, Platform};

use super::inside::Packing;
use super::report::{Findings, Spot};

/// Checks a config; returns the digest of the inflated layer for each layer that has one. `platforms` are what indexes
/// say of the image, and where.
pub(super) fn check(
    bytes: &[u8],
    image: &ImageManifest,
    platforms: &[(Spot, Platform)],
    spot: &Spot,
    findings: &mut Findings,
) -> Vec<Option<Digest>> {
    let config: ImageConfig = match serde_json::from_slice(bytes) {
        Ok(config) => config,
        Err(error) => {
            findings.error(spot, format!("is not a valid config: {error}"));
            return Vec::new();
        }
    };
    if config.rootfs.kind != "layers" {
        findings.error(spot, format!("rootfs.type is {:?}, not \"layers\"", config.rootfs.kind));
    }
    if config.platform.os.is_empty() || config.platform.architecture.is_empty() {
        findings.note(spot, "does not say which os and architecture it is for");
    }
    for (entry, platform) in platforms.iter().filter(|(_, platform)| !agree(platform, &config.platform)) {
        findings.error(entry, format!("the index says {platform}, the config {}", config.platform));
    }
    let steps = config.history.iter().filter(|step| !step.empty_layer).count();
    if !config.history.is_empty() && steps != image.layers.len() {
        findings.note(spot, format!("the history has {steps} layers, the manifest {}", image.layers.len()));
    }
    let assigned = assign(&config.rootfs.diff_ids, image);
    if assigned.is_none() {
        let (ids, layers) = (config.rootfs.diff_ids.len(), image.layers.len());
        findings.error(spot, format!("rootfs.diff_ids has {ids} entries, the manifest has {layers} layers"));
    }
    // Which is whose is not known then: more differences would only confuse.
    assigned.unwrap_or_default()
}

/// Which layer has which digest. What is no layer of a file system may have none.
fn assign(diff_ids: &[Digest], image: &ImageManifest) -> Option<Vec<Option<Digest>>> {
    if diff_ids.len() == image.layers.len() {
        return Some(diff_ids.iter().copied().map(Some).collect());
    }
    let is_layer = |media_type: &oci::MediaType| Packing::of(media_type).is_some() || media_type.is_layer();
    let mut left = diff_ids.iter().copied();
    let mut is_short = false;
    let assigned = image.layers.iter().map(|layer| {
        let diff_id = if is_layer(&layer.media_type) { left.next() } else { return None };
        is_short |= diff_id.is_none();
        diff_id
    });
    let assigned = assigned.collect();
    (!is_short && left.next().is_none()).then_some(assigned)
}

/// Whether an index and a config mean the same platform. What one of them leaves out does not count.
fn agree(index: &Platform, config: &Platform) -> bool {
    let same = |one: &str, other: &str| one.is_empty() || other.is_empty() || one == other;
    let same_or_none = |one: &Option<String>, other: &Option<String>| {
        one.as_ref().zip(other.as_ref()).is_none_or(|(one, other)| one == other)
    };
    same(&index.os, &config.os)
        && same(&index.architecture, &config.architecture)
        && same_or_none(&index.variant, &config.variant)
        && same_or_none(&index.os_version, &config.os_version)
}
