//! Copies all tags of a repository.

use std::cmp::Reverse;
use std::collections::HashSet;
use std::pin::pin;
use std::sync::Mutex;

use futures_util::stream::{self, Stream};
use futures_util::{StreamExt, TryStreamExt};
use oci::{Descriptor, Digest, Tag};
use store::{Event, Kind};

use crate::{Copied, Error, Preview, Todo, Transfer};

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

/// What a copy of all tags would do.
#[derive(Clone, Debug, Default)]
pub struct TagsPreview {
    /// Tags that would be written, in the order of the source, and what they would name.
    pub tags: Vec<(Tag, Descriptor)>,
    /// Tags that name the same at the destination already.
    pub existed: Vec<(Tag, Descriptor)>,
    /// Tags that the destination has and that are not to be overwritten.
    pub skipped: Vec<Tag>,
    /// What there would be to do for all of them.
    pub todo: Todo,
}

impl TagsPreview {
    /// Adds a tag that needs the manifests `children` besides its root; `met` has what others need.
    fn add(&mut self, tag: Tag, preview: Preview, children: Vec<Digest>, met: &mut HashSet<Digest>) {
        let list = if preview.existed { &mut self.existed } else { &mut self.tags };
        list.push((tag, preview.root));
        let todo = &mut self.todo;
        // What others need as well is needed once; a tag is its own request.
        todo.manifests += children.into_iter().filter(|child| met.insert(*child)).count();
        todo.manifests += usize::from(!preview.existed);
        for step in preview.todo.blobs {
            if met.insert(step.blob.digest) {
                todo.bytes = todo.bytes.saturating_add(step.blob.size);
                todo.blobs.push(step);
            }
        }
        todo.existing.extend(preview.todo.existing);
    }
}

impl Transfer {
    /// Copies every tag of the source to the tag of the same name, page by page, [`Options::jobs`] tags at once. What
    /// tags share is copied once. With [`Options::no_clobber`] tags that the destination has are skipped
    /// ([`Event::TagSkipped`]). Lists of referrers, whose tags stand for digests, come last. The first error ends the run; tags written until then stay.
    ///
    /// [`Options::jobs`]: crate::Options::jobs
    /// [`Options::no_clobber`]: crate::Options::no_clobber
    ///
    /// # Errors
    /// [`Error::Tag`] with one of [`Transfer::copy`]'s errors; [`Error::Source`] and [`Error::Destination`] if tags
    /// cannot be listed.
    pub async fn copy_tags(&self) -> Result<CopiedTags, Error> {
        let run = &self.run;
        let taken = self.taken().await?;
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
        let at_once = if run.destination.in_order() { 1 } else { run.options.jobs.get() };
        let copy = async |tag: Tag| {
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
        };
        // Lists of referrers come last: what the source's say counts, and copies of others would write there too.
        let lists = Mutex::new(Vec::new());
        self.tags()
            .try_for_each_concurrent(at_once, async |tag: Tag| {
                if tag.is_fallback()
                    && let Ok(mut lists) = lists.lock()
                {
                    lists.push(tag);
                    return Ok(());
                }
                copy(tag).await
            })
            .await?;
        let lists = stream::iter(lists.into_inner().unwrap_or_default().into_iter().map(Ok));
        lists.try_for_each_concurrent(at_once, copy).await?;
        Ok(summary.into_inner().unwrap_or_default())
    }

    /// What [`copy_tags`](Self::copy_tags) would do. Nothing is written.
    ///
    /// # Errors
    /// Those of [`Transfer::copy_tags`] that come before anything moves.
    pub async fn preview_tags(&self) -> Result<TagsPreview, Error> {
        let run = &self.run;
        let taken = self.taken().await?;
        let previews = self.tags().map(async |tag| {
            let tag = tag?;
            if taken.contains(&tag) {
                return Ok((tag, None));
            }
            let selector = tag.clone().into();
            match self.outline(&selector, &selector).await {
                Ok(outline) => Ok((tag, Some(outline))),
                // It came into being since the list was made.
                Err(Error::Clobber { .. }) => Ok((tag, None)),
                Err(source) => Err(Error::Tag { tag, source: Box::new(source) }),
            }
        });
        let mut previews = pin!(previews.buffered(run.options.jobs.get()));
        let (mut all, mut met) = (TagsPreview::default(), HashSet::new());
        while let Some((tag, outline)) = previews.try_next().await? {
            match outline {
                Some((preview, children)) => all.add(tag, preview, children, &mut met),
                None => all.skipped.push(tag),
            }
        }
        all.todo.blobs.sort_by_key(|step| (Reverse(step.blob.size), step.blob.digest));
        all.todo.kept = run.kept(&all.todo.blobs).await;
        Ok(all)
    }

    /// The source's tags.
    fn tags(&self) -> impl Stream<Item = Result<Tag, Error>> {
        let pages = self.run.source.tags().map_err(Error::Source);
        pages.map_ok(|page| stream::iter(page.into_iter().map(Ok))).try_flatten()
    }

    /// The destination's tags, if they are not to be overwritten; a repository that is missing or hidden has none.
    async fn taken(&self) -> Result<HashSet<Tag>, Error> {
        if !self.run.options.no_clobber {
            return Ok(HashSet::new());
        }
        let pages: Result<Vec<Vec<Tag>>, store::Error> = self.run.destination.tags().try_collect().await;
        match pages {
            Ok(pages) => Ok(pages.into_iter().flatten().collect()),
            Err(error) if matches!(error.kind(), Kind::NotFound | Kind::Denied) => Ok(HashSet::new()),
            Err(error) => Err(Error::Destination(error)),
        }
    }
}
