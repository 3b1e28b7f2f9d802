//! What a pushed manifest says, and whether it may be stored. Pure.

use bytes::Bytes;
use oci::{Digest, Manifest, ManifestError, MediaType, Selector, View};
use serde::Deserialize;

use super::Fault;
use crate::storage::{NewManifest, Referrer};

/// The longest media type that is believed.
const MAX_MEDIA_TYPE: usize = 255;

/// What the view of a manifest does not tell.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Head {
    media_type: Option<String>,
}

/// A layer of docker's schema 1.
#[derive(Deserialize)]
struct Schema1 {
    #[serde(default, rename = "fsLayers")]
    layers: Vec<Schema1Layer>,
}

#[derive(Deserialize)]
struct Schema1Layer {
    #[serde(rename = "blobSum")]
    digest: Digest,
}

/// Reads a manifest that is pushed to `selector`.
pub(super) fn inspect(
    raw: Bytes,
    content_type: Option<&str>,
    selector: &Selector,
) -> Result<NewManifest, Fault> {
    let sent_as = content_type.map(MediaType::new);
    let manifest = match selector {
        Selector::Digest(digest) => Manifest::verified(raw, sent_as.clone(), *digest),
        Selector::Tag(_) => Manifest::new(raw, sent_as.clone()),
    }
    .map_err(|error| refused(&error))?;
    let head: Head = serde_json::from_slice(manifest.raw()).map_err(|error| invalid(error.to_string()))?;
    if let (Some(sent_as), Some(own)) = (sent_as, &head.media_type)
        && sent_as.as_str() != own
    {
        return Err(invalid(format!("it is sent as {:?} and calls itself {own:?}", sent_as.as_str())));
    }
    let media_type = manifest.media_type().as_str().to_owned();
    let printable = media_type.bytes().all(|byte| byte.is_ascii_graphic());
    if media_type.is_empty() || media_type.len() > MAX_MEDIA_TYPE || !printable {
        return Err(invalid("its media type is not one"));
    }
    let mut new = NewManifest {
        digest: manifest.digest(),
        media_type,
        raw: manifest.raw().clone(),
        blobs: Vec::new(),
        manifests: Vec::new(),
        either: Vec::new(),
        referrer: None,
    };
    let view = manifest.view();
    if let Some(referrer) = view.as_ref().ok().and_then(|view| view.referrer(manifest.descriptor())) {
        let descriptor =
            serde_json::to_vec(&referrer.descriptor).map_err(|error| invalid(error.to_string()))?;
        new.referrer = Some(Referrer { subject: referrer.subject, descriptor });
    }
    match view {
        Ok(View::Image(image)) => {
            let distributable = image.layers.iter().filter(|layer| !layer.media_type.is_nondistributable());
            new.blobs =
                image.config.iter().chain(distributable).map(|descriptor| descriptor.digest).collect();
        }
        Ok(View::Index(index)) => {
            // Build caches are indexes of blobs.
            let (manifests, either): (Vec<_>, Vec<_>) =
                index.manifests.into_iter().partition(|entry| entry.media_type.is_manifest());
            new.manifests = manifests.into_iter().map(|entry| entry.digest).collect();
            new.either = either.into_iter().map(|entry| entry.digest).collect();
        }
        Err(ManifestError::Schema1 { .. }) => {
            let schema1: Schema1 =
                serde_json::from_slice(manifest.raw()).map_err(|error| invalid(error.to_string()))?;
            new.blobs = schema1.layers.into_iter().map(|layer| layer.digest).collect();
        }
        Err(error) => return Err(refused(&error)),
    }
    Ok(new)
}

/// The subject of a manifest that is stored; none if its view cannot be read.
pub(super) fn subject(raw: Bytes, media_type: &str) -> Option<Digest> {
    let manifest = Manifest::new(raw, Some(MediaType::new(media_type))).ok()?;
    Some(manifest.view().ok()?.referrer(manifest.descriptor())?.subject)
}

fn refused(error: &ManifestError) -> Fault {
    let code = match error {
        ManifestError::Mismatch { .. } => "DIGEST_INVALID",
        _ => "MANIFEST_INVALID",
    };
    Fault::bad(code, error.to_string())
}

fn invalid(reason: impl std::fmt::Display) -> Fault {
    Fault::bad("MANIFEST_INVALID", format!("the manifest is refused: {reason}"))
}
