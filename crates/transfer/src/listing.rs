//! Lists of what refers to a manifest, where clients keep them (distribution specification, "Referrers Tag Schema").

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use oci::{Manifest, Selector, Tag};
use store::{Event, Kind};

use crate::transfer::Run;

/// What a run has to do with such lists.
#[derive(Debug, Default)]
pub(crate) struct Lists {
    /// The tags behind which it has begun some.
    begun: Mutex<HashSet<Tag>>,
    /// Whether the destination could not even be asked. Each more would wait as long for the same.
    fail: AtomicBool,
}

impl Run {
    /// Sees to it that a manifest which is at the destination is listed there as what refers to its subject. If it cannot be, that is
    /// told, and no reason to stop: the manifest is there. `to` is the name that is copied to: where that is the list itself, it
    /// says what it says.
    pub(crate) async fn list(&self, manifest: &Manifest, to: &Selector) {
        let view = manifest.view().ok();
        let Some(referrer) = view.and_then(|view| view.referrer(manifest.descriptor())) else { return };
        if *to == Selector::Tag(referrer.subject.fallback_tag()) {
            return;
        }
        let reason = if self.lists.fail.load(Ordering::Relaxed) {
            "as others are not".to_owned()
        } else {
            match self.destination.list_referrer(manifest).await {
                Ok(begun) => {
                    // Nothing panics while it is held.
                    self.lists.begun.lock().unwrap_or_else(PoisonError::into_inner).extend(begun);
                    return;
                }
                Err(error) => {
                    let lasting = matches!(error.kind(), Kind::Invalid | Kind::Denied | Kind::Other);
                    self.lists.fail.fetch_or(!lasting, Ordering::Relaxed);
                    error.to_string()
                }
            }
        };
        let (digest, subject) = (manifest.digest(), referrer.subject);
        let told = format!(
            "{digest} is there, but not listed as what refers to {subject}: {reason}. A copy of it by its digest lists it"
        );
        self.observer.event(&Event::Warned(&told));
    }

    /// Whether a tag is a list that this run has begun.
    pub(crate) fn is_own_list(&self, to: &Selector) -> bool {
        let begun = self.lists.begun.lock().unwrap_or_else(PoisonError::into_inner);
        matches!(to, Selector::Tag(tag) if begun.contains(tag))
    }
}
