//! Indexes: manifests come and go, and all else stays as it is written.

use std::collections::HashSet;
use std::sync::Arc;

use oci::json::{List, Object};
use oci::{Descriptor, Digest, ImageConfig, Index, Manifest, MediaType, Platform, View};
use serde_json::json;
use store::Store;
use transfer::{Graph, Walk};

use crate::draft::{document, invalid, list};
use crate::edit::{REFERENCE_DIGEST, is_attestation};
use crate::{Edited, Error, Overlay, config};

/// A manifest that an index is to list.
#[derive(Clone, Debug)]
pub struct Addition {
    /// Where it is.
    pub store: Arc<dyn Store>,
    /// What it is: an image or other artifact, or an index.
    pub manifest: Manifest,
}

/// An index that lists nothing, in a place of its own: OCI's, or docker's list.
///
/// # Errors
/// None: it is a manifest.
pub fn empty_index(docker: bool) -> Result<(Arc<dyn Store>, Manifest), Error> {
    let media_type = if docker { MediaType::DOCKER_LIST } else { MediaType::OCI_INDEX };
    let index = json!({ "schemaVersion": 2, "mediaType": media_type, "manifests": [] });
    let index = Manifest::new(index.to_string().into(), Some(media_type))?;
    let mut place = Overlay::over(Arc::new(store::MemoryStore::new("an empty index")));
    place.add_manifest(index.clone());
    Ok((Arc::new(place), index))
}

/// Adds manifests to `root`, an index of `store`, in their order; with `flatten`, those of an index one by one instead of the
/// index. An image gets the platform that its configuration tells. What is listed already, for the same platform, is not listed
/// again.
///
/// # Errors
/// [`Error::NotAnIndex`], [`Error::Document`], [`Error::Store`].
pub async fn append_to_index(
    store: Arc<dyn Store>,
    root: &Manifest,
    additions: Vec<Addition>,
    flatten: bool,
) -> Result<Edited, Error> {
    let index = view(root)?;
    let mut new_root = document("index", root.digest(), root.raw())?;
    let mut overlay = Overlay::over(store);
    let mut listed: Vec<(Digest, Option<Platform>)> =
        index.manifests.iter().map(|entry| (entry.digest, entry.platform.clone())).collect();
    let (mut new, mut notes) = (Vec::new(), Vec::new());
    for Addition { store, manifest } in additions {
        let mut entries = Vec::new();
        match manifest.view()? {
            View::Index(index) if flatten => {
                let list = list(&document("index", manifest.digest(), manifest.raw())?, "manifests")?;
                let texts = list.iter().flat_map(List::texts).map(str::to_owned);
                entries.extend(index.manifests.into_iter().zip(texts));
            }
            View::Index(_) => entries.push(written(manifest.descriptor())?),
            View::Image(image) => {
                let mut entry = manifest.descriptor();
                let config = image.config.as_ref().map(|config| &config.media_type);
                if config.is_some_and(|kind| [MediaType::OCI_CONFIG, MediaType::DOCKER_CONFIG].contains(kind))
                {
                    let text = config::config(&*store, &manifest).await?;
                    let config: ImageConfig = serde_json::from_slice(&text).map_err(invalid)?;
                    entry.platform = Some(config.platform).filter(|platform| !platform.os.is_empty());
                }
                entry.artifact_type = image.artifact_type;
                entries.push(written(entry)?);
            }
        }
        let graph =
            Graph::walk(&*store, manifest, &Walk { nondistributable: true, ..Walk::default() }).await?;
        let contents = graph
            .manifests
            .values()
            .flat_map(|node| node.blobs.iter().map(|blob| blob.digest).chain([node.manifest.digest()]));
        overlay.add_place(store, contents);
        for (entry, text) in entries {
            let key = (entry.digest, entry.platform);
            if listed.contains(&key) {
                notes.push(format!("{} is listed already", key.0));
                continue;
            }
            listed.push(key);
            new.push(text);
        }
    }
    let images = new.len();
    new_root
        .edit_list("manifests", |list| new.iter().try_for_each(|entry| list.push_text(entry)))
        .map_err(invalid)?;
    finish(overlay, &new_root, root, images, notes)
}

/// Keeps those manifests of `root`, an index of `store`, that `keep` says of their platform, and the attestations of these.
///
/// # Errors
/// [`Error::NotAnIndex`], [`Error::Document`]; [`Error::NothingToChange`] if none would be left.
pub fn filter_index(
    store: Arc<dyn Store>,
    root: &Manifest,
    keep: impl Fn(&Platform) -> bool,
) -> Result<Edited, Error> {
    let index = view(root)?;
    let kept: HashSet<Digest> = index
        .manifests
        .iter()
        .filter(|entry| !is_attestation(entry) && entry.platform.as_ref().is_some_and(&keep))
        .map(|entry| entry.digest)
        .collect();
    let stays = |entry: &Descriptor| {
        if !is_attestation(entry) {
            return entry.platform.as_ref().is_some_and(&keep);
        }
        let subject = entry.annotations.get(REFERENCE_DIGEST).and_then(|digest| digest.parse().ok());
        subject.is_some_and(|subject| kept.contains(&subject))
    };
    if kept.is_empty() {
        return Err(Error::NothingToChange(root.digest()));
    }
    let mut document = document("index", root.digest(), root.raw())?;
    // The list and its view have the same items.
    document
        .edit_list("manifests", |list| list.edit_objects(|at, _| Ok(stays(&index.manifests[at]))))
        .map_err(invalid)?;
    finish(Overlay::over(store), &document, root, kept.len(), Vec::new())
}

fn view(root: &Manifest) -> Result<Index, Error> {
    match root.view()? {
        View::Index(index) => Ok(index),
        View::Image(_) => Err(Error::NotAnIndex(root.digest())),
    }
}

fn written(entry: Descriptor) -> Result<(Descriptor, String), Error> {
    let text = serde_json::to_string(&entry).map_err(invalid)?;
    Ok((entry, text))
}

fn finish(
    mut store: Overlay,
    document: &Object,
    old: &Manifest,
    images: usize,
    notes: Vec<String>,
) -> Result<Edited, Error> {
    let root = Manifest::new(document.to_string().into(), Some(old.media_type().clone()))?;
    store.add_manifest(root.clone());
    Ok(Edited { store, root, images, notes })
}
