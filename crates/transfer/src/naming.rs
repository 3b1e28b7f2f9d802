//! Gives manifests names: the last step of a copy, and all of a tag.

use std::fmt;

use oci::{Descriptor, Digest, Manifest, Selector, Tag};
use store::{Event, Expected, Replaced, Store, present};

use crate::transfer::Run;
use crate::{Error, reference};

/// Gives a manifest of a store another tag; with `expected` only if the tag stands for that. Places that do not write under
/// a condition are looked at just before.
///
/// # Errors
/// [`Error::Unexpected`]; [`Error::Destination`] if the store fails, or has no such manifest.
pub async fn tag(
    store: &dyn Store,
    from: &Selector,
    tag: &Tag,
    expected: Option<Expected>,
) -> Result<Manifest, Error> {
    let manifest = store.manifest(from).await.map_err(Error::Destination)?;
    name(store, &tag.clone().into(), &manifest, expected, false).await?;
    Ok(manifest)
}

/// Writes a manifest under a name. `brought`: whether something was written before that.
async fn name(
    store: &dyn Store,
    to: &Selector,
    manifest: &Manifest,
    expected: Option<Expected>,
    brought: bool,
) -> Result<(), Error> {
    let Some(expected) = expected else {
        return store.put_manifest(to, manifest).await.map_err(Error::Destination);
    };
    match store.replace_manifest(to, manifest, expected).await.map_err(Error::Destination)? {
        Replaced::Done => Ok(()),
        Replaced::Refused(found) => {
            Err(Error::Unexpected { reference: reference(store, to), found, expected, brought })
        }
    }
}

impl Run {
    /// What the destination has under a name, which is what was expected.
    pub(crate) async fn expected(
        &self,
        to: &Selector,
        expected: Expected,
    ) -> Result<Option<Descriptor>, Error> {
        let there = present(&self.asked_destination, to).await.map_err(Error::Destination)?;
        let found = there.as_ref().map(|there| there.digest);
        if expected.is(found) {
            return Ok(there);
        }
        let reference = reference(&*self.destination, to);
        Err(Error::Unexpected { reference, found, expected, brought: false })
    }

    /// Names the root of a graph that is there.
    pub(crate) async fn name(&self, to: &Selector, root: &Manifest) -> Result<(), Error> {
        let brought = !self.same_repository();
        name(&self.asked_destination, to, root, self.options.expect, brought).await?;
        let reference = &reference(&*self.destination, to);
        self.observer.event(&Event::ManifestDone { reference, manifest: &root.descriptor() });
        Ok(())
    }
}

/// What a name stands for, in the place of what was expected.
pub(crate) struct Instead(pub(crate) Option<Digest>, pub(crate) Expected);

impl fmt::Display for Instead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0, self.1) {
            (Some(found), Expected::Digest(expected)) => write!(f, "is {found}, not the expected {expected}"),
            (Some(found), Expected::Nothing) => write!(f, "is {found}, and was expected not to exist"),
            (None, Expected::Digest(expected)) => {
                write!(f, "does not exist, and was expected to be {expected}")
            }
            (None, Expected::Nothing) => f.write_str("does not exist, as was expected"),
        }
    }
}
