//! The one image that serves a platform.

use oci::{Descriptor, Manifest, Platform, Selector, View};
use store::Store;

use crate::{Error, Limits, reference};

/// The image that `selector` means for `platform`. An index is searched by [`Platform::choose`], indexes within it
/// too: first the entry that is marked with the platform, then whatever nested indexes carry no mark, in order. A
/// manifest that is no index is taken as it is, whatever its platform, as crane does.
///
/// # Errors
/// [`Error::NoChild`] if no entry serves the platform, [`Error::MissingChild`] if one does but the store lacks it,
/// [`Error::Manifest`] if a manifest is broken, [`Error::TooLarge`] beyond the default [`Limits`], [`Error::Source`] if
/// the store fails.
pub async fn select(store: &dyn Store, selector: &Selector, platform: &Platform) -> Result<Manifest, Error> {
    let root = store.manifest(selector).await.map_err(Error::Source)?;
    choose(store, selector, root, platform).await
}

/// [`select`] for a manifest that has been fetched already, by `selector`.
///
/// # Errors
/// Those of [`select`].
pub async fn choose(
    store: &dyn Store,
    selector: &Selector,
    root: Manifest,
    platform: &Platform,
) -> Result<Manifest, Error> {
    let limits = Limits::default();
    let reference = reference(store, selector);
    // The candidates still to look into, the best one last.
    let mut candidates: Vec<(Descriptor, usize)> = Vec::new();
    let mut offered = Vec::new();
    let mut next = Some((root, 0));
    let mut seen = 0;
    while let Some((manifest, depth)) = next.take() {
        seen += 1;
        if manifest.media_type().is_schema1() {
            return Ok(manifest);
        }
        let View::Index(index) =
            manifest.view().map_err(|source| Error::Manifest { reference: reference.clone(), source })?
        else {
            return Ok(manifest);
        };
        if depth >= limits.depth || seen > limits.manifests {
            let limit = format!("{} levels or {} manifests", limits.depth, limits.manifests);
            return Err(Error::TooLarge { reference, limit });
        }
        offered.extend(index.manifests.iter().filter_map(|entry| entry.platform.clone()));
        let unmarked = |entry: &Descriptor| entry.media_type.is_index() && entry.platform.is_none();
        let (nested, entries): (Vec<_>, Vec<_>) = index.manifests.into_iter().partition(unmarked);
        candidates.extend(nested.into_iter().rev().map(|entry| (entry, depth + 1)));
        candidates.extend(platform.choose(&entries).map(|entry| (entry.clone(), depth + 1)));
        if let Some((entry, depth)) = candidates.pop() {
            next = Some((child(store, &reference, &entry).await?, depth));
        }
    }
    // Attestations carry a platform that is none.
    offered.retain(|platform| platform.os != "unknown");
    Err(Error::NoChild { platform: Box::new(platform.clone()), reference, offered })
}

/// Fetches one entry of an index; `index` is what messages call that.
///
/// # Errors
/// [`Error::MissingChild`] if the store lacks it, [`Error::Manifest`] if it is not what the index says, [`Error::Source`].
pub async fn child(store: &dyn Store, index: &str, entry: &Descriptor) -> Result<Manifest, Error> {
    let invalid = |source| Error::Manifest { reference: index.to_owned(), source };
    if let Some(content) = entry.embedded() {
        return Manifest::verified(content.into(), Some(entry.media_type.clone()), entry.digest)
            .map_err(invalid);
    }
    let manifest = store.manifest(&entry.digest.into()).await.map_err(|error| match error.kind() {
        store::Kind::NotFound => Error::MissingChild {
            index: index.to_owned(),
            child: entry.digest,
            platform: entry.platform.as_ref().map_or("no platform".to_owned(), Platform::to_string),
        },
        _ => Error::Source(error),
    })?;
    if manifest.digest() == entry.digest {
        Ok(manifest)
    } else {
        // A graph of checked digests has no cycles.
        Err(invalid(oci::ManifestError::Mismatch { expected: entry.digest, found: manifest.digest() }))
    }
}
