//! What places have in common that list their manifests in an index: which is meant, and what it says.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use oci::{Descriptor, Digest, Manifest, MediaType, Selector, Tag, View};
use serde::Deserialize;
use serde::de::IgnoredAny;
use store::{Error as StoreError, Kind, Store, of_type, referrers_by_tag};

use crate::blocking;
use crate::content::Extent;
use crate::error::Error;
use crate::index::{Found, Index};

/// The most that is read of a manifest, in bytes: as of a registry.
pub(crate) const MANIFEST_LIMIT: u64 = 4 << 20;

/// A list of manifests, and the contents that it leads to.
pub(crate) trait Catalog {
    /// The list.
    fn index(&self) -> Result<Arc<Index>, Error>;

    /// Where the list stands, in messages.
    fn index_path(&self) -> PathBuf;

    /// A manifest or a blob.
    ///
    /// # Errors
    /// [`Error::NoBlob`] if it is not there.
    fn blob(&self, digest: &Digest) -> Result<Extent, Error>;

    /// A manifest that lies nowhere else.
    fn kept(&self, _: &Digest) -> Option<&Bytes> {
        None
    }

    /// The manifest that counts as there only if it is in the list.
    fn root(&self) -> Option<Digest> {
        None
    }
}

/// What a tag stands for.
fn tagged(catalog: &impl Catalog, index: &Index, tag: &Tag) -> Result<Digest, Error> {
    match index.find(tag) {
        Found::One(descriptor) => Ok(descriptor.digest),
        Found::Nothing => Err(Error::NoTag { tag: tag.clone(), others: index.tags() }),
        Found::Several(count) => Err(Error::Ambiguous { tag: tag.clone(), count }),
        Found::Broken(reason) => {
            let reason = format!("the entry of tag {tag}: {reason}");
            Err(Error::Index { path: catalog.index_path(), reason })
        }
    }
}

/// What a name stands for, if the list has it.
pub(crate) fn found(
    catalog: &impl Catalog,
    index: &Index,
    selector: &Selector,
) -> Result<Option<Digest>, Error> {
    match selector {
        Selector::Digest(digest) => Ok(index.entry(digest).map(|entry| entry.digest)),
        Selector::Tag(tag) => match tagged(catalog, index, tag) {
            Err(Error::NoTag { .. }) => Ok(None),
            found => found.map(Some),
        },
    }
}

/// A manifest.
pub(crate) fn manifest(catalog: &impl Catalog, selector: &Selector) -> Result<Manifest, Error> {
    let index = catalog.index()?;
    let digest = match selector {
        Selector::Digest(digest) => *digest,
        Selector::Tag(tag) => tagged(catalog, &index, tag)?,
    };
    let entry = index.entry(&digest);
    if let Some(kept) = catalog.kept(&digest) {
        return Ok(Manifest::verified(kept.clone(), entry.map(|entry| entry.media_type.clone()), digest)?);
    }
    let content = catalog.blob(&digest)?;
    if entry.is_none() && catalog.root() == Some(digest) {
        return Err(Error::NoManifest(content.path));
    }
    let bytes = match content.whole(MANIFEST_LIMIT) {
        // A layer, most likely.
        Err(Error::TooLarge { path, .. }) if entry.is_none() => return Err(Error::NoManifest(path)),
        bytes => bytes?,
    };
    if entry.is_none() && !is_manifest(&bytes) {
        return Err(Error::NoManifest(content.path));
    }
    let media_type = entry.map(|entry| entry.media_type.clone());
    Ok(Manifest::verified(Bytes::from(bytes), media_type, digest)?)
}

/// Whether a blob that no index lists is a manifest: it says so, or has the field that all manifests have. An image's
/// configuration has neither.
pub(crate) fn is_manifest(bytes: &[u8]) -> bool {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Outline {
        media_type: Option<String>,
        schema_version: Option<IgnoredAny>,
    }
    serde_json::from_slice(bytes).is_ok_and(|Outline { media_type, schema_version }| {
        media_type.map_or(schema_version.is_some(), |text| MediaType::new(&text).is_manifest())
    })
}

/// What is meant when only the place is named: its only manifest, or the only one that has a tag.
pub(crate) fn only(catalog: &impl Catalog) -> Result<Selector, Error> {
    let index = catalog.index()?;
    let only = index.only().map(|(descriptor, tag)| match tag {
        Some(tag) => Selector::Tag(tag),
        None => Selector::Digest(descriptor.digest),
    });
    only.map_err(|entries| Error::Which { tags: index.tags(), entries })
}

/// The listed manifests whose subject is `subject`, with what a list of referrers tells of each (distribution specification,
/// "Listing Referrers").
fn entries_about(catalog: &impl Catalog, subject: &Digest) -> Result<Vec<Descriptor>, Error> {
    let mut about = Vec::new();
    for entry in catalog.index()?.descriptors() {
        let manifest = match manifest(catalog, &entry.digest.into()) {
            Ok(manifest) => manifest,
            // What is missing or damaged refers to nothing.
            Err(error) if matches!(error.kind(), Kind::NotFound | Kind::Invalid) => continue,
            Err(error) => return Err(error),
        };
        let (of, artifact_type, annotations) = match manifest.view() {
            Ok(View::Image(image)) => {
                let config = image.config.map(|config| config.media_type.to_string());
                (image.subject, image.artifact_type.or(config), image.annotations)
            }
            Ok(View::Index(index)) => (index.subject, None, index.annotations),
            Err(_) => continue,
        };
        if of.is_some_and(|of| of.digest == *subject) {
            about.push(Descriptor { artifact_type, annotations, ..manifest.descriptor() });
        }
    }
    Ok(about)
}

/// What refers to `subject`: listed manifests, and those of the fallback tag.
pub(crate) async fn referrers<C: Catalog + Store + Clone + 'static>(
    catalog: &C,
    subject: &Digest,
    artifact_type: Option<&str>,
) -> Result<Vec<Descriptor>, StoreError> {
    let mut all: BTreeMap<Digest, Descriptor> = BTreeMap::new();
    let of = *subject;
    let doing = format!("listing what refers to {}@{subject}", catalog.name());
    let entries = blocking::with(catalog, doing, move |catalog| entries_about(catalog, &of)).await?;
    for referrer in entries.into_iter().chain(referrers_by_tag(catalog, subject, None).await?) {
        all.entry(referrer.digest).or_insert(referrer);
    }
    Ok(of_type(all.into_values().collect(), artifact_type))
}

/// What is put under a name, made sure of.
pub(crate) fn checked(selector: &Selector, manifest: &Manifest) -> Result<Manifest, Error> {
    let digest = match selector {
        Selector::Digest(digest) => *digest,
        Selector::Tag(_) => manifest.digest(),
    };
    Ok(Manifest::verified(manifest.raw().clone(), Some(manifest.media_type().clone()), digest)?)
}

/// A place's name with what is meant in it.
pub(crate) fn named(place: &impl Store, selector: &Selector) -> String {
    match selector {
        Selector::Tag(tag) => format!("{}:{tag}", place.name()),
        Selector::Digest(digest) => format!("{}@{digest}", place.name()),
    }
}
