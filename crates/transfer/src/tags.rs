//! Copies all tags of a repository.

use std::collections::HashSet;
use std::sync::Mutex;

use futures_util::{TryStreamExt, stream};
use oci::Tag;
use store::{Event, Kind};

use crate::{Copied, Error, Transfer};

/// What a copy of all tags did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CopiedTags {
    /// Tags that were written.
    pub copied: u64,
    /// Tags that named the same at the destination already.
    pub existed: u64,
    /// Tags that the destination had and that were not to be overwritten.
    pub skipped: u64,
    /// Blobs whose bytes were moved.
    pub moved: u64,
    /// Blobs that the destination took from another of its repositories.
    pub mounted: u64,
    /// Blobs that were there.
    pub blobs_existed: u64,
    /// Bytes of the blobs that were moved.
    pub bytes: u64,
}

impl CopiedTags {
    fn add(&mut self, copied: &Copied) {
        if copied.written {
            self.copied += 1;
        } else {
            self.existed += 1;
        }
        self.moved += copied.moved;
        self.mounted += copied.mounted;
        self.blobs_existed += copied.existed;
        self.bytes = self.bytes.saturating_add(copied.bytes);
    }
}

impl Transfer {
    /// Copies every tag of the source to the tag of the same name, page by page, [`Options::jobs`] tags at once. What
    /// tags share is copied once. With [`Options::no_clobber`] tags that the destination has are skipped
    /// ([`Event::TagSkipped`]). The first error ends the run; tags written until then stay.
    ///
    /// [`Options::jobs`]: crate::Options::jobs
    /// [`Options::no_clobber`]: crate::Options::no_clobber
    ///
    /// # Errors
    /// [`Error::Tag`] with one of [`Transfer::copy`]'s errors; [`Error::Source`] and [`Error::Destination`] if tags
    /// cannot be listed.
    pub async fn copy_tags(&self) -> Result<CopiedTags, Error> {
        let run = &self.run;
        let taken = if run.options.no_clobber { self.taken().await? } else { HashSet::new() };
        let summary = Mutex::new(CopiedTags::default());
        let note = |update: &dyn Fn(&mut CopiedTags)| {
            // Counting cannot panic, so the lock is never poisoned.
            if let Ok(mut summary) = summary.lock() {
                update(&mut summary);
            }
        };
        let skip = |tag: &Tag| {
            run.observer.event(&Event::TagSkipped(tag));
            note(&|summary| summary.skipped += 1);
        };
        let tags = run.source.tags().map_err(Error::Source);
        tags.map_ok(|page| stream::iter(page.into_iter().map(Ok)))
            .try_flatten()
            .try_for_each_concurrent(run.options.jobs.get(), async |tag: Tag| {
                if taken.contains(&tag) {
                    skip(&tag);
                    return Ok(());
                }
                let selector = tag.clone().into();
                match self.copy(&selector, &selector).await {
                    Ok(copied) => note(&|summary| summary.add(&copied)),
                    // It came into being since the list was made.
                    Err(Error::Clobber { .. }) => skip(&tag),
                    Err(source) => return Err(Error::Tag { tag, source: Box::new(source) }),
                }
                Ok(())
            })
            .await?;
        Ok(summary.into_inner().unwrap_or_default())
    }

    /// The destination's tags; a repository that is missing or hidden has none.
    async fn taken(&self) -> Result<HashSet<Tag>, Error> {
        let pages: Result<Vec<Vec<Tag>>, store::Error> = self.run.destination.tags().try_collect().await;
        match pages {
            Ok(pages) => Ok(pages.into_iter().flatten().collect()),
            Err(error) if matches!(error.kind(), Kind::NotFound | Kind::Denied) => Ok(HashSet::new()),
            Err(error) => Err(Error::Destination(error)),
        }
    }
}
