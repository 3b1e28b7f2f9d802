//! Changes an image, or all images of an index, and the index with them.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt, TryStreamExt, stream};
use oci::json::Object;
use oci::{Descriptor, Digest, Index, Manifest, Platform, Selector, View};
use store::Store;

use crate::draft::{Finished, document};
use crate::mutation::set_platform;
use crate::{Draft, Error, Overlay};

/// How many entries of an index are changed at once.
const AT_ONCE: usize = 16;

/// How deep indexes may stand in each other.
const DEPTH: usize = 16;

/// `BuildKit`'s marks of an entry that says something about another one.
const REFERENCE_TYPE: &str = "vnd.docker.reference.type";
pub(crate) const REFERENCE_DIGEST: &str = "vnd.docker.reference.digest";

/// A change of one image.
#[async_trait]
pub trait Edit: Send + Sync {
    /// Changes it.
    ///
    /// # Errors
    /// If it cannot be changed so.
    async fn image(&self, draft: &mut Draft) -> Result<(), Error>;

    /// Changes an index all of whose images have been changed: its own members, not its list.
    ///
    /// # Errors
    /// If it cannot be changed so.
    fn index(&self, _: &mut Object) -> Result<(), Error> {
        Ok(())
    }

    /// Whether it makes sense for one image only.
    fn is_for_one(&self) -> bool {
        false
    }

    /// Whether the files in the image stay what they are, so that what others say of them stays true.
    fn keeps_files(&self) -> bool;
}

/// What has become of an image, or of an index: to be copied to wherever it shall be.
#[derive(Debug)]
pub struct Edited {
    /// What is new, over where the rest is.
    pub store: Overlay,
    /// What the name is to stand for.
    pub root: Manifest,
    /// How many images were changed.
    pub images: usize,
    /// What else happened, for people.
    pub notes: Vec<String>,
}

/// Changes what `root`, a manifest of `store`, is: an image or any other artifact; or all images of an index, or the one for a
/// platform, and the index with them. Other artifacts in an index are left alone. An attestation follows its subject where the
/// edit keeps the files; else it is dropped, with a note.
///
/// # Errors
/// [`Error::Select`] if there is no image for the platform or one is missing, [`Error::NothingToChange`] for an index without
/// images, [`Error::TooDeep`], those of the edit, [`Error::Store`].
pub async fn edit(
    store: Arc<dyn Store>,
    root: Manifest,
    platform: Option<&Platform>,
    edit: &dyn Edit,
) -> Result<Edited, Error> {
    let only = match platform {
        Some(platform) if root.media_type().is_index() => {
            let selector = Selector::Digest(root.digest());
            Some(transfer::choose(&*store, &selector, root.clone(), platform).await?.digest())
        }
        _ => None,
    };
    let original = root.digest();
    let outcome = Work { store: &store, only, edit }.manifest(root, 0).await?;
    if outcome.images.is_empty() {
        return Err(Error::NothingToChange(original));
    }
    let images = outcome.images.len();
    if images > 1 && edit.is_for_one() {
        return Err(Error::ForOne { index: original, images });
    }
    let mut overlay = Overlay::over(Arc::clone(&store));
    for Finished { manifest, config, layers, borrowed, .. } in outcome.images {
        overlay.add_manifest(manifest);
        if let Some((digest, content)) = config {
            overlay.add_blob(digest, content);
        }
        for layer in layers {
            overlay.add_file(layer.digest, layer.file);
        }
        for (store, digests) in borrowed {
            overlay.add_place(store, digests);
        }
    }
    outcome.indexes.into_iter().for_each(|index| overlay.add_manifest(index));
    Ok(Edited { store: overlay, root: outcome.manifest, images, notes: outcome.notes })
}

struct Work<'a> {
    store: &'a Arc<dyn Store>,
    /// The one image that is meant.
    only: Option<Digest>,
    edit: &'a dyn Edit,
}

/// What has become of a manifest, and of all below it.
struct Outcome {
    manifest: Manifest,
    /// The platform, if it is another one.
    platform: Option<Platform>,
    images: Vec<Finished>,
    indexes: Vec<Manifest>,
    notes: Vec<String>,
}

impl Work<'_> {
    fn manifest(&self, manifest: Manifest, depth: usize) -> BoxFuture<'_, Result<Outcome, Error>> {
        async move {
            match manifest.view()? {
                View::Index(index) => self.index(manifest, index, depth).await,
                View::Image(_) => self.image(Draft::new(Arc::clone(self.store), &manifest)?).await,
            }
        }
        .boxed()
    }

    async fn image(&self, mut draft: Draft) -> Result<Outcome, Error> {
        self.edit.image(&mut draft).await?;
        let finished = draft.finish()?;
        Ok(Outcome {
            manifest: finished.manifest.clone(),
            platform: finished.platform.clone(),
            images: vec![finished],
            indexes: Vec::new(),
            notes: Vec::new(),
        })
    }

    async fn index(&self, manifest: Manifest, index: Index, depth: usize) -> Result<Outcome, Error> {
        if depth >= DEPTH {
            return Err(Error::TooDeep(manifest.digest()));
        }
        let name = &format!("{}@{}", self.store.name(), manifest.digest());
        let entries = index.manifests.iter().filter(|entry| self.is_meant(entry)).cloned();
        let outcomes: Vec<(Digest, Option<Outcome>)> = stream::iter(entries.collect::<Vec<_>>())
            .map(
                |entry| async move { Ok::<_, Error>((entry.digest, self.entry(name, &entry, depth).await?)) },
            )
            .buffered(AT_ONCE)
            .try_collect()
            .await?;
        let mut became = HashMap::new();
        let (mut images, mut indexes, mut notes) = (Vec::new(), Vec::new(), Vec::new());
        for (digest, outcome) in outcomes {
            let Some(outcome) = outcome else { continue };
            became.insert(digest, Descriptor { platform: outcome.platform, ..outcome.manifest.descriptor() });
            images.extend(outcome.images);
            indexes.extend(outcome.indexes);
            notes.extend(outcome.notes);
        }
        let mut document = document("index", manifest.digest(), manifest.raw())?;
        self.relist(&mut document, &index, &became, &mut notes)?;
        if self.only.is_none() {
            self.edit.index(&mut document)?;
        }
        let manifest = Manifest::new(document.to_string().into(), Some(manifest.media_type().clone()))?;
        indexes.push(manifest.clone());
        Ok(Outcome { manifest, platform: None, images, indexes, notes })
    }

    /// What becomes of an entry of an index; `None` if it stays as it is.
    async fn entry(&self, index: &str, entry: &Descriptor, depth: usize) -> Result<Option<Outcome>, Error> {
        let manifest = transfer::child(&**self.store, index, entry).await?;
        if manifest.media_type().is_index() {
            let outcome = self.manifest(manifest, depth + 1).await?;
            return Ok(Some(outcome).filter(|outcome| !outcome.images.is_empty()));
        }
        let draft = Draft::new(Arc::clone(self.store), &manifest)?;
        if draft.is_image() { self.image(draft).await.map(Some) } else { Ok(None) }
    }

    /// Whether an entry may have to be changed.
    fn is_meant(&self, entry: &Descriptor) -> bool {
        if entry.media_type.is_index() {
            return true;
        }
        let is_image = entry.media_type.is_image() && !is_attestation(entry);
        is_image && self.only.is_none_or(|only| only == entry.digest)
    }

    /// Writes into an index what its entries became.
    fn relist(
        &self,
        document: &mut Object,
        index: &Index,
        became: &HashMap<Digest, Descriptor>,
        notes: &mut Vec<String>,
    ) -> Result<(), Error> {
        document.edit_list("manifests", |list| {
            list.edit_objects(|at, item| {
                // The list and its view have the same items.
                let entry = &index.manifests[at];
                if let Some(new) = became.get(&entry.digest) {
                    replace(item, new)?;
                    return Ok(true);
                }
                let subject = entry.annotations.get(REFERENCE_DIGEST).and_then(|text| text.parse().ok());
                let Some(new) = subject.and_then(|subject: Digest| became.get(&subject)) else {
                    return Ok(true);
                };
                if !is_attestation(entry) {
                    return Ok(true);
                }
                if self.edit.keeps_files() {
                    item.edit_object("annotations", |annotations| {
                        annotations.set(REFERENCE_DIGEST, &new.digest)
                    })?;
                    return Ok(true);
                }
                notes.push(format!("dropped attestation {}, which is about other layers", entry.digest));
                Ok::<_, Error>(false)
            })
        })
    }
}

/// Whether an entry of an index says something about another entry.
pub(crate) fn is_attestation(entry: &Descriptor) -> bool {
    entry.annotations.get(REFERENCE_TYPE).is_some_and(|kind| kind == "attestation-manifest")
}

/// Writes into an entry of an index what it became.
fn replace(item: &mut Object, new: &Descriptor) -> Result<(), Error> {
    item.set("digest", &new.digest)?;
    item.set("size", &new.size)?;
    item.remove("data");
    if let Some(platform) = &new.platform {
        item.edit_object("platform", |item| set_platform(item, platform))?;
    }
    Ok(())
}
