//! The one full read of a layer: its table of contents, and the file that was looked for.

use std::sync::{MutexGuard, PoisonError};

use layer::{Caught, Toc};
use oci::Descriptor;

use super::{Inside, Wanted};
use crate::Error;
use crate::feed::{self, fill, fill_in_parts};

impl Inside {
    /// Forgets a file that was looked for.
    pub(super) fn forget_caught(&self) {
        *self.caught() = None;
    }

    /// Keeps what a layer had of the file that is looked for. The newest layer has the first word.
    pub(super) fn keep_caught(&self, layer: usize, caught: Option<Caught>) {
        let mut last = self.caught();
        if let Some(caught) = caught
            && last.as_ref().is_none_or(|(other, _)| *other < layer)
        {
            *last = Some((layer, caught));
        }
    }

    /// What is stored of a file that was caught, if that is all that is to be read.
    pub(super) fn take_caught(&self, layer: usize, bodies: &dyn Wanted) -> Option<Vec<u8>> {
        let mut caught = self.caught();
        let is_all = bodies.count() == 1
            && caught.as_ref().is_some_and(|(own, caught)| *own == layer && *bodies.get(0) == caught.body);
        caught.take_if(|_| is_all).map(|(_, caught)| caught.stored)
    }

    /// Makes the table of a layer, and catches a file. What is caught is proven when this returns.
    pub(super) async fn scan(
        &self,
        layer: &Descriptor,
        path: Option<&[u8]>,
    ) -> Result<(Toc, Option<Caught>), Error> {
        let (sender, feed) = feed::pair();
        let limits = self.looking.limits;
        // No entry but that of a directory has an empty path.
        let path = path.unwrap_or_default().to_vec();
        let scan = tokio::task::spawn_blocking(move || Toc::scan_wanting(feed, &path, limits));
        // Nearly all layers in zstd are one frame.
        let is_whole = layer.media_type.as_str().ends_with("zstd") || layer.embedded().is_some();
        let looking = &self.looking;
        // The digest has the first word: damaged bytes also break whatever is made of them.
        let filled = if is_whole {
            fill(&*looking.whole, layer, sender, &*looking.observer, || false).await
        } else {
            fill_in_parts((&looking.store, &self.room), layer, sender, &*looking.observer, || false).await
        };
        let scanned = scan.await?;
        filled?;
        scanned.map_err(|source| Error::Layer { layer: layer.digest, source })
    }

    fn caught(&self) -> MutexGuard<'_, Option<(usize, Caught)>> {
        // It is whole at every moment, whoever panicked over it.
        self.caught.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
