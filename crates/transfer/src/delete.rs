//! Deletes a tag or a manifest, and nothing that was not meant.

use futures_util::{TryStreamExt, stream};
use oci::{Digest, Selector, Tag};
use store::{Kind, Store};

use crate::{Error, reference};

/// So many tags are asked for their digests at once.
const QUESTIONS: usize = 16;

/// What may be chosen about a deletion.
#[derive(Clone, Copy, Debug, Default)]
pub struct DeleteOptions {
    /// Whether a manifest is deleted also when more tags go with it than the one that was meant, and when it cannot be
    /// found out whether they do.
    pub force_digest: bool,
}

/// What was deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Deleted {
    /// The tag alone.
    Tag,
    /// A manifest, and with it all its tags.
    Manifest {
        /// The manifest.
        digest: Digest,
        /// Its tags, in the order of the place; `None` if they could not be found out.
        tags: Option<Vec<Tag>>,
        /// Why it may still be listed as what refers to its subject ([`Store::unlist_referrer`]).
        still_listed: Option<String>,
    },
}

/// Deletes a tag alone, or the manifest of a digest.
///
/// Many places delete by digest only, and all tags of the digest go along. There a tag is deleted by its digest if it is
/// the only one that names it. A digest that is given is deleted if at most one tag names it. Whether an index lists the
/// manifest is not looked into. A manifest that refers to another is taken out of the list of what does, where clients keep it.
///
/// # Errors
/// [`Error::SharedManifest`] and [`Error::UnknownTags`] instead of deleting what may not have been meant;
/// [`Error::Destination`] if the store fails, or has no such manifest.
pub async fn delete(
    store: &dyn Store,
    selector: &Selector,
    options: DeleteOptions,
) -> Result<Deleted, Error> {
    let digest = match selector {
        Selector::Digest(digest) => *digest,
        Selector::Tag(_) => match store.delete(selector).await {
            Ok(()) => return Ok(Deleted::Tag),
            Err(error) => match error.kind() {
                Kind::Unsupported => resolve(store, selector).await?,
                // A place may look for digests only: then the tag is there all the same.
                Kind::NotFound => match store.resolve(selector).await {
                    Ok(found) => found.digest,
                    Err(_) => return Err(Error::Destination(error)),
                },
                _ => return Err(Error::Destination(error)),
            },
        },
    };
    let tags = match tags_of(store, &digest).await {
        Ok(tags) => Some(tags),
        Err(_) if options.force_digest => None,
        Err(source) => {
            // Not to find the manifest itself is the better explanation.
            resolve(store, &digest.into()).await?;
            return Err(Error::UnknownTags { reference: reference(store, selector), digest, source });
        }
    };
    let meant = |tag: &Tag| matches!(selector, Selector::Tag(meant) if meant == tag);
    let others: Vec<Tag> = tags.iter().flatten().filter(|tag| !meant(tag)).cloned().collect();
    let allowed = usize::from(matches!(selector, Selector::Digest(_)));
    if others.len() > allowed && !options.force_digest {
        return Err(Error::SharedManifest { reference: reference(store, selector), digest, others });
    }
    // What it refers to only it can tell, while it is there. And docker-registry refuses a list with an entry that is not there.
    let manifest = store.manifest(&digest.into()).await;
    let unlisted = match &manifest {
        Ok(manifest) => store.unlist_referrer(manifest).await.map_err(|error| error.to_string()),
        Err(error) if error.kind() == Kind::NotFound => Ok(false),
        // Whoever cannot read it can still delete it.
        Err(error) => Err(error.to_string()),
    };
    if let Err(error) = store.delete(&digest.into()).await {
        if let (Ok(manifest), Ok(true)) = (&manifest, &unlisted) {
            // It stays, and so does its entry.
            store.list_referrer(manifest).await.map_err(Error::Destination)?;
        }
        return Err(Error::Destination(error));
    }
    Ok(Deleted::Manifest { digest, tags, still_listed: unlisted.err() })
}

async fn resolve(store: &dyn Store, selector: &Selector) -> Result<Digest, Error> {
    let found = match store.resolve(selector).await {
        // The answer to a HEAD has no body to tell more; the same question as GET has.
        Err(error) if error.kind() == Kind::NotFound => {
            store.manifest(selector).await.map(|manifest| manifest.digest())
        }
        outcome => outcome.map(|descriptor| descriptor.digest),
    };
    found.map_err(Error::Destination)
}

/// The tags that name a digest, in the order of the place.
async fn tags_of(store: &dyn Store, digest: &Digest) -> Result<Vec<Tag>, store::Error> {
    let tags = store.tags().map_ok(|page| stream::iter(page.into_iter().map(Ok))).try_flatten();
    let asked = tags.map_ok(|tag| async move {
        match store.resolve(&Selector::Tag(tag.clone())).await {
            Ok(found) => Ok((found.digest == *digest).then_some(tag)),
            // It went in the meantime.
            Err(error) if error.kind() == Kind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    });
    asked.try_buffered(QUESTIONS).try_filter_map(|tag| std::future::ready(Ok(tag))).try_collect().await
}
