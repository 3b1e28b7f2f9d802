//! A store in memory that writes down what is asked of it, mounts, refuses and breaks on demand, and is as strict as a
//! registry about manifests whose parts are missing.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::BoxStream;
use futures_util::{StreamExt, stream};
use oci::{Descriptor, Digest, Manifest, Repository, Selector, Tag, View};
use store::{ByteStream, Error, Event, Kind, MemoryStore, Observer, Opened, Pace, Store, Writer};

#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) inner: MemoryStore,
    origin: Option<Repository>,
    /// Where mounts come from.
    neighbour: Option<Arc<Place>>,
    log: Arc<Mutex<Vec<String>>>,
    /// So many reads break in the middle.
    pub(crate) cuts: AtomicUsize,
    /// So many commits are done, but their answer is lost.
    pub(crate) lost_commits: AtomicUsize,
    /// The first byte of every blob is wrong.
    pub(crate) lies: AtomicBool,
    /// Reads of this blob never end.
    pub(crate) stalls: Mutex<Option<Digest>>,
    /// Streams of such reads that live.
    pub(crate) stalled: Arc<AtomicUsize>,
    /// Answers to questions are denials.
    pub(crate) denies: AtomicBool,
    /// The answer whether this blob is there comes last.
    pub(crate) last_answer: Mutex<Option<Digest>>,
    /// It keeps no lists of referrers, so that others do; or refuses to have them kept.
    pub(crate) lists: Mutex<Option<Result<(), Kind>>>,
    /// Manifests that are read are counted.
    pub(crate) counts: AtomicBool,
    /// Manifests come later than answers to questions that were asked with them.
    pub(crate) slow_manifests: AtomicBool,
    /// What it knows of its host.
    pace: Option<Arc<Pace>>,
    /// What comes of deleting a tag; what comes naturally, without one.
    pub(crate) untag: Option<Kind>,
    /// Tags cannot be listed.
    pub(crate) hides_tags: bool,
    /// Questions for manifests that are under way.
    asking: Arc<AtomicUsize>,
    /// The most of them at once.
    pub(crate) most_questions: AtomicUsize,
    /// Reads that are under way.
    reading: Arc<AtomicUsize>,
    /// The most reads that were under way at once.
    most_reads: AtomicUsize,
}

impl Place {
    pub(crate) fn new(name: &str) -> Self {
        Self {
            inner: MemoryStore::new(name),
            origin: None,
            neighbour: None,
            log: Arc::default(),
            cuts: AtomicUsize::new(0),
            lost_commits: AtomicUsize::new(0),
            lies: AtomicBool::new(false),
            stalls: Mutex::default(),
            stalled: Arc::default(),
            denies: AtomicBool::new(false),
            last_answer: Mutex::default(),
            lists: Mutex::default(),
            counts: AtomicBool::new(false),
            slow_manifests: AtomicBool::new(false),
            pace: None,
            untag: None,
            hides_tags: false,
            asking: Arc::default(),
            most_questions: AtomicUsize::new(0),
            reading: Arc::default(),
            most_reads: AtomicUsize::new(0),
        }
    }

    /// A repository on a registry.
    pub(crate) fn repository(name: &str) -> Self {
        Self { origin: Some(name.parse().unwrap()), ..Self::new(name) }
    }

    /// Lets blobs be mounted from `neighbour`.
    pub(crate) fn mounts_from(self, neighbour: &Arc<Place>) -> Self {
        Self { neighbour: Some(Arc::clone(neighbour)), ..self }
    }

    /// Its answers take so long, or are known to.
    pub(crate) fn away(self, distance: Duration) -> Self {
        let pace = Pace::new("there", 64);
        pace.answered(distance);
        Self { pace: Some(pace), ..self }
    }

    pub(crate) fn log(&self) -> Vec<String> {
        self.log.lock().unwrap().clone()
    }

    pub(crate) fn forget(&self) {
        self.log.lock().unwrap().clear();
    }

    /// How many requests of a kind there were, such as `GET blob`.
    pub(crate) fn count(&self, kind: &str) -> usize {
        self.log().iter().filter(|line| line.starts_with(kind)).count()
    }

    pub(crate) fn most_reads(&self) -> usize {
        self.most_reads.load(Ordering::SeqCst)
    }

    fn note(&self, line: String) {
        self.log.lock().unwrap().push(line);
    }

    async fn check(&self, manifest: &Manifest) -> Result<(), Error> {
        let refuse = |what: &Descriptor| {
            let doing = format!("putting manifest {}", manifest.digest());
            Err(Error::new(Kind::Invalid, doing, format!("{} is unknown", what.digest)))
        };
        match manifest.view() {
            Ok(View::Image(image)) => {
                for blob in image.config.iter().chain(&image.layers) {
                    if !self.inner.contains(blob).await? && !blob.media_type.is_nondistributable() {
                        return refuse(blob);
                    }
                }
            }
            Ok(View::Index(index)) => {
                for child in &index.manifests {
                    let found = self.inner.resolve(&child.digest.into()).await.is_ok();
                    if !found && !self.inner.contains(child).await? {
                        return refuse(child);
                    }
                }
            }
            Err(_) => {}
        }
        Ok(())
    }
}

#[async_trait]
impl Store for Place {
    fn name(&self) -> String {
        self.inner.name()
    }

    fn pace(&self) -> Option<&Arc<Pace>> {
        self.pace.as_ref()
    }

    async fn resolve(&self, selector: &Selector) -> Result<Descriptor, Error> {
        self.note(format!("HEAD manifest {selector}"));
        let _asking = Count::new(&self.asking);
        self.most_questions.fetch_max(self.asking.load(Ordering::SeqCst), Ordering::SeqCst);
        tokio::task::yield_now().await;
        if self.denies.load(Ordering::SeqCst) {
            return Err(Error::new(Kind::Denied, "asking", "denied"));
        }
        self.inner.resolve(selector).await
    }

    async fn manifest(&self, selector: &Selector) -> Result<Manifest, Error> {
        self.note(format!("GET manifest {selector}"));
        if self.slow_manifests.load(Ordering::SeqCst) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        self.inner.manifest(selector).await
    }

    async fn put_manifest(&self, selector: &Selector, manifest: &Manifest) -> Result<(), Error> {
        self.note(format!("PUT manifest {selector}"));
        self.check(manifest).await?;
        self.inner.put_manifest(selector, manifest).await
    }

    async fn delete(&self, selector: &Selector) -> Result<(), Error> {
        self.note(format!("DELETE {selector}"));
        match (selector, self.untag) {
            (Selector::Tag(_), Some(kind)) => Err(Error::new(kind, "deleting a tag", "refused")),
            _ => self.inner.delete(selector).await,
        }
    }

    fn counts_manifests(&self) -> bool {
        self.counts.load(Ordering::SeqCst)
    }

    async fn list_referrer(&self, manifest: &Manifest) -> Result<Option<Tag>, Error> {
        let lists = *self.lists.lock().unwrap();
        let Some(lists) = lists else { return Ok(None) };
        self.note(format!("LIST {}", manifest.digest()));
        lists.map_err(|kind| Error::new(kind, "listing a referrer", "refused"))?;
        let tag = manifest.view().unwrap().referrer(manifest.descriptor()).unwrap().subject.fallback_tag();
        let list = Manifest::new(Bytes::from_static(br#"{"manifests":[]}"#), None).unwrap();
        self.inner.put_manifest(&tag.clone().into(), &list).await?;
        Ok(Some(tag))
    }

    async fn unlist_referrer(&self, manifest: &Manifest) -> Result<bool, Error> {
        let lists = *self.lists.lock().unwrap();
        self.note(format!("UNLIST {}", manifest.digest()));
        let Some(lists) = lists else { return Ok(false) };
        lists.map(|()| true).map_err(|kind| Error::new(kind, "unlisting a referrer", "refused"))
    }

    fn tags(&self) -> BoxStream<'_, Result<Vec<Tag>, Error>> {
        self.note("GET tags".to_owned());
        if self.hides_tags {
            let error = Error::new(Kind::Denied, "listing tags", "denied");
            return stream::once(std::future::ready(Err(error))).boxed();
        }
        self.inner
            .tags()
            .flat_map(|page| {
                let tags = page.unwrap();
                stream::iter(tags.chunks(3).map(|page| Ok(page.to_vec())).collect::<Vec<_>>())
            })
            .boxed()
    }

    async fn contains(&self, blob: &Descriptor) -> Result<bool, Error> {
        self.note(format!("HEAD blob {}", blob.digest));
        if self.denies.load(Ordering::SeqCst) {
            return Err(Error::new(Kind::Denied, "asking", "denied"));
        }
        if *self.last_answer.lock().unwrap() == Some(blob.digest) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        self.inner.contains(blob).await
    }

    async fn resolve_blob(&self, digest: &Digest) -> Result<Descriptor, Error> {
        self.inner.resolve_blob(digest).await
    }

    async fn read(&self, blob: &Descriptor, range: Range<u64>) -> Result<ByteStream, Error> {
        self.note(format!("GET blob {}", blob.digest));
        let mut content = self.inner.read(blob, range).await?.next().await.unwrap()?.to_vec();
        if *self.stalls.lock().unwrap() == Some(blob.digest) {
            let guard = Count::new(&self.stalled);
            return Ok(stream::poll_fn(move |_| {
                let _held = &guard;
                std::task::Poll::Pending
            })
            .boxed());
        }
        if self.lies.load(Ordering::SeqCst) {
            content[0] ^= 1;
        }
        let cut = take(&self.cuts);
        let half = content.len() / 2;
        let mut pieces: Vec<Result<Bytes, Error>> =
            vec![Ok(Bytes::copy_from_slice(&content[..half])), Ok(Bytes::copy_from_slice(&content[half..]))];
        if cut {
            pieces[1] = Err(Error::new(Kind::Interrupted, "reading a blob", "connection reset"));
        }
        let guard = Count::new(&self.reading);
        self.most_reads.fetch_max(self.reading.load(Ordering::SeqCst), Ordering::SeqCst);
        let stream = stream::unfold((pieces.into_iter(), guard), |(mut pieces, guard)| async move {
            // Others get their turn, so that reads overlap.
            tokio::task::yield_now().await;
            pieces.next().map(|piece| (piece, (pieces, guard)))
        });
        Ok(stream.boxed())
    }

    async fn write(&self, blob: &Descriptor, origin: Option<&Repository>) -> Result<Opened, Error> {
        let from = if origin.is_some() { " mount" } else { "" };
        self.note(format!("POST blob {}{from}", blob.digest));
        if let (Some(origin), Some(neighbour)) = (origin, &self.neighbour) {
            assert_eq!(Some(origin), neighbour.origin());
            let mut content = neighbour.inner.read(blob, 0..blob.size).await?;
            self.inner.insert(content.next().await.unwrap()?, blob.media_type.clone());
            return Ok(Opened::Mounted);
        }
        let Opened::Writer(inner) = self.inner.write(blob, None).await? else {
            panic!("memory mounts nothing")
        };
        let loses = take(&self.lost_commits);
        Ok(Opened::Writer(Box::new(PlaceWriter { inner, loses })))
    }

    fn origin(&self) -> Option<&Repository> {
        self.origin.as_ref()
    }
}

struct PlaceWriter {
    inner: Box<dyn Writer>,
    loses: bool,
}

#[async_trait]
impl Writer for PlaceWriter {
    async fn write(&mut self, bytes: Bytes) -> Result<(), Error> {
        self.inner.write(bytes).await
    }

    async fn commit(self: Box<Self>) -> Result<(), Error> {
        self.inner.commit().await?;
        if self.loses {
            return Err(Error::new(Kind::Interrupted, "committing a blob", "connection reset"));
        }
        Ok(())
    }
}

/// Takes one from a number of faults, if one is left.
fn take(faults: &AtomicUsize) -> bool {
    faults.try_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok()
}

/// Counts itself while it lives.
struct Count(Arc<AtomicUsize>);

impl Count {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(count))
    }
}

impl Drop for Count {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Keeps all events as short lines.
#[derive(Debug, Default)]
pub(crate) struct Lines(Mutex<Vec<String>>);

impl Lines {
    pub(crate) fn all(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }

    pub(crate) fn count(&self, kind: &str) -> usize {
        self.all().iter().filter(|line| line.starts_with(kind)).count()
    }
}

impl Observer for Lines {
    fn event(&self, event: &Event<'_>) {
        let line = match event {
            Event::Planned { blobs, bytes, .. } => format!("planned {blobs} {bytes}"),
            Event::BlobStarted { blob, .. } => format!("started {}", blob.digest),
            Event::BlobAdvanced(blob, bytes) => format!("advanced {} {bytes}", blob.digest),
            Event::BlobDone(blob) => format!("done {}", blob.digest),
            Event::BlobMounted(blob) => format!("mounted {}", blob.digest),
            Event::BlobExisted { blob, .. } => format!("existed {}", blob.digest),
            Event::ManifestDone { reference, .. } => format!("manifest {reference}"),
            Event::ManifestExisted { selector, .. } => format!("existing manifest {selector}"),
            Event::TagSkipped(tag) => format!("skipped {tag}"),
            Event::Warned(text) => format!("warned {text}"),
            Event::Retried { reason, wait } => format!("retried {reason} {wait:?}"),
            other => panic!("{other:?}"),
        };
        self.0.lock().unwrap().push(line);
    }
}
