//! The image that an image is built on: found by name, and compared layer by layer.

use std::sync::Arc;

use oci::json::List;
use oci::{Digest, Manifest, Platform, Selector, View};
use store::Store;

use crate::append::{BASE_DIGEST, BASE_NAME};
use crate::draft::invalid;
use crate::{Draft, Error};

/// An image, or an index of images, to build on.
#[derive(Clone, Debug)]
pub struct Base {
    /// Where it is.
    pub store: Arc<dyn Store>,
    /// What it is.
    pub root: Manifest,
}

/// What an image says that it is built on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BaseNote {
    /// The base's name, as a reference.
    pub name: String,
    /// The digest that it had, as far as that is told.
    pub digest: Option<Digest>,
}

/// One image of a base, and what it is made of.
#[derive(Debug)]
pub(crate) struct BaseImage {
    pub(crate) manifest: Manifest,
    pub(crate) draft: Draft,
    pub(crate) diff_ids: Vec<Digest>,
    pub(crate) platform: Platform,
}

impl Base {
    /// Finds a base.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn find(store: Arc<dyn Store>, selector: &Selector) -> Result<Self, Error> {
        let root = store.manifest(selector).await?;
        Ok(Self { store, root })
    }

    /// The image for a platform.
    pub(crate) async fn image(&self, platform: &Platform) -> Result<BaseImage, Error> {
        let manifest = if self.root.media_type().is_index() {
            transfer::choose(&*self.store, &self.root.digest().into(), self.root.clone(), platform).await?
        } else {
            self.root.clone()
        };
        let mut draft = Draft::new(Arc::clone(&self.store), &manifest)?;
        let config = draft.config_view().await?;
        let (diff_ids, platform) = (config.rootfs.diff_ids, config.platform);
        if diff_ids.len() != draft.view().layers.len() {
            return Err(Error::LayersDisagree(manifest.digest()));
        }
        Ok(BaseImage { manifest, draft, diff_ids, platform })
    }
}

impl BaseNote {
    /// What an image, or an index or the first image in it, says that it is built on.
    ///
    /// # Errors
    /// [`Error::Store`], [`Error::Manifest`].
    pub async fn of(store: &dyn Store, root: &Manifest) -> Result<Option<Self>, Error> {
        let annotations = match root.view()? {
            View::Image(image) => image.annotations,
            View::Index(index) => {
                if let Some(note) = Self::read(&index.annotations) {
                    return Ok(Some(note));
                }
                let is_image = |entry: &&oci::Descriptor| {
                    entry.media_type.is_image() && !crate::edit::is_attestation(entry)
                };
                let Some(first) = index.manifests.iter().find(is_image) else { return Ok(None) };
                match store.manifest(&first.digest.into()).await?.view()? {
                    View::Image(image) => image.annotations,
                    View::Index(_) => return Ok(None),
                }
            }
        };
        Ok(Self::read(&annotations))
    }

    pub(crate) fn read(annotations: &std::collections::BTreeMap<String, String>) -> Option<Self> {
        let name = annotations.get(BASE_NAME)?.clone();
        Some(Self { name, digest: annotations.get(BASE_DIGEST).and_then(|digest| digest.parse().ok()) })
    }
}

impl BaseImage {
    /// How many layers of an image are this base's: all of the base's, if the image begins with them, compressed as they are
    /// or otherwise.
    pub(crate) async fn layers_in(&self, draft: &mut Draft) -> Result<usize, Error> {
        let count = self.diff_ids.len();
        let view = self.draft.view();
        let same = |of: &[oci::Descriptor]| {
            of.len() >= count && of.iter().zip(&view.layers).all(|(own, base)| own.digest == base.digest)
        };
        if same(&draft.view().layers) {
            return Ok(count);
        }
        let config = draft.config_view().await?;
        if config.rootfs.diff_ids.starts_with(&self.diff_ids) {
            Ok(count)
        } else {
            Err(Error::OtherBase { image: draft.original(), base: self.manifest.digest() })
        }
    }
}

/// A history taken apart: the steps that are a base's, and those that came after. `layers` is how many layers the base has,
/// `base` its history.
pub(crate) fn own_steps(history: &List, base: &List, layers: usize) -> Result<usize, Error> {
    let equal = |(own, base): (&str, &str)| {
        let read = serde_json::from_str::<serde_json::Value>;
        matches!((read(own), read(base)), (Ok(own), Ok(base)) if own == base)
    };
    if !base.is_empty() && history.len() >= base.len() && history.texts().zip(base.texts()).all(equal) {
        return Ok(base.len());
    }
    // The base's history is not told here as it is there: then its layers count.
    let steps: Vec<oci::History> = history.read().map_err(invalid)?;
    let made = steps.iter().enumerate().filter(|(_, step)| !step.empty_layer);
    Ok(match layers {
        0 => 0,
        _ => made.map(|(at, _)| at + 1).nth(layers - 1).unwrap_or(steps.len()),
    })
}
