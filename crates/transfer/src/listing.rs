//! Lists of what refers to a manifest, where clients keep them (distribution specification, "Referrers Tag Schema").

use std::sync::PoisonError;

use oci::{Manifest, Selector};
use store::Event;

use crate::Error;
use crate::transfer::Run;

impl Run {
    /// Sees to it that a manifest which is at the destination is listed there as what refers to its subject. `to` is the name that is
    /// copied to: where that is the list itself, it says what it says.
    pub(crate) async fn list(&self, manifest: &Manifest, to: &Selector) -> Result<(), Error> {
        let view = manifest.view().ok();
        let referrer = view.and_then(|view| view.referrer(manifest.descriptor()));
        if let Some(referrer) = referrer
            && *to != Selector::Tag(referrer.subject.fallback_tag())
        {
            let changed = self.destination.list_referrer(manifest).await.map_err(Error::Destination)?;
            // Nothing panics while it is held.
            self.lists.lock().unwrap_or_else(PoisonError::into_inner).extend(changed);
        }
        Ok(())
    }

    /// The same for what an image consists of. It gets its name all the same.
    pub(crate) async fn list_child(&self, manifest: &Manifest, to: &Selector) {
        if let Err(error) = self.list(manifest, to).await {
            let told = format!("{error}; the manifest is there, and a copy of it by its digest lists it");
            self.observer.event(&Event::Warned(&told));
        }
    }

    /// Whether a tag is a list that this run has written.
    pub(crate) fn is_own_list(&self, to: &Selector) -> bool {
        let lists = self.lists.lock().unwrap_or_else(PoisonError::into_inner);
        matches!(to, Selector::Tag(tag) if lists.contains(tag))
    }
}
