//! Copies graphs from one store to another.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::available_parallelism;
use std::time::Duration;

use futures_util::future::{join, try_join};
use futures_util::stream::{self, StreamExt, TryStreamExt};
use oci::{Descriptor, Manifest, Repository, Selector};
use store::{ByteStream, Error as StoreError, Event, Kind, Observer, Store};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use crate::bandwidth::Bandwidth;
use crate::blob::{Splits, Window};
use crate::graph::existing;
use crate::listing::Lists;
use crate::memo::Memo;
use crate::paced::Paced;
use crate::plan::{contents, waves};
use crate::survey::{Answer, SMALL, Survey};
use crate::turns::Turns;
use crate::{Error, Fate, Move, Options, reference, select};

/// So many files of this machine are copied at once where it has few processors: a disk may take as many requests.
const LOCAL_COPIES: usize = 4;

/// How long is waited, at most, for an answer whose connection another request can have.
const MOMENT: Duration = Duration::from_secs(1);

/// A run of copies from one store to another. What the copies of a run share is moved once, and together they never
/// move more blobs at once than [`Options::jobs`]. Needs a tokio runtime: each blob is a task of its own, so that
/// hashing uses all processors. A copy that is dropped or fails ends its tasks.
#[derive(Clone, Debug)]
pub struct Transfer {
    pub(crate) run: Arc<Run>,
}

/// What the tasks of a run share.
pub(crate) struct Run {
    pub(crate) source: Arc<dyn Store>,
    pub(crate) destination: Arc<dyn Store>,
    /// The same for questions and manifests, each of which waits for its turn.
    pub(crate) asked_source: Paced,
    pub(crate) asked_destination: Paced,
    pub(crate) options: Options,
    pub(crate) observer: Arc<dyn Observer>,
    pub(crate) turns: Turns,
    pub(crate) window: Window,
    pub(crate) splits: Splits,
    /// One permit for each file of this machine that is copied to another. When all are copied at once all end at once, and then
    /// wait together for the disk.
    pub(crate) local_copies: Semaphore,
    /// Caps on what comes from the source and on what goes to the destination.
    pub(crate) down: Option<Arc<Bandwidth>>,
    pub(crate) up: Option<Arc<Bandwidth>>,
    /// Whether somebody asks, or has asked, if the source sends parts of blobs.
    pub(crate) asks_for_parts: AtomicBool,
    /// Whether the destination had a blob when it was asked.
    pub(crate) questions: Memo<bool>,
    /// The blobs that the run brought, or is to bring.
    pub(crate) blobs: Memo<()>,
    /// The roots whose graphs are at the destination, or on their way, but for themselves.
    roots: Memo<()>,
    /// The roots that have a name there.
    named: Memo<()>,
    /// Lists of referrers at the destination.
    pub(crate) lists: Lists,
    /// Whether the source was asked before it was known whether its answer matters.
    asked_early: AtomicBool,
    /// Whether both sides were told that much is to come.
    expects_many: AtomicBool,
    /// Whether the destination answered the wish for a mount with a writer.
    pub(crate) mounts_refused: AtomicBool,
}

/// What a copy did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copied {
    /// What the destination's name stands for now.
    pub descriptor: Descriptor,
    /// Whether it was written; if not, the destination had it under this name.
    pub written: bool,
    /// Blobs whose bytes were moved.
    pub moved: u64,
    /// Blobs that the destination took from another of its repositories.
    pub mounted: u64,
    /// Blobs that were there.
    pub existed: u64,
    /// Bytes of the blobs that were moved.
    pub bytes: u64,
}

impl Copied {
    fn new(descriptor: Descriptor) -> Self {
        Self { descriptor, written: false, moved: 0, mounted: 0, existed: 0, bytes: 0 }
    }

    pub(crate) fn add(&mut self, blob: &Descriptor, fate: Fate) {
        match fate {
            Fate::Moved => {
                self.moved += 1;
                self.bytes = self.bytes.saturating_add(blob.size);
            }
            Fate::Mounted => self.mounted += 1,
            Fate::Existed => self.existed += 1,
        }
    }
}

impl Transfer {
    /// A run that has done nothing yet.
    pub fn new(
        source: Arc<dyn Store>,
        destination: Arc<dyn Store>,
        options: Options,
        observer: Arc<dyn Observer>,
    ) -> Self {
        let turns = Turns::new(source.pace().cloned(), destination.pace().cloned(), options.jobs);
        // What stays on this machine has no rate.
        let cap = |store: &dyn Store| {
            let rate = options.bandwidth.filter(|_| store.pace().is_some());
            rate.map(|rate| Arc::new(Bandwidth::new(rate.get())))
        };
        Self {
            run: Arc::new(Run {
                asked_source: Paced(Arc::clone(&source)),
                asked_destination: Paced(Arc::clone(&destination)),
                down: cap(&*source),
                up: cap(&*destination),
                source,
                destination,
                options,
                observer,
                turns,
                window: Window::default(),
                splits: Splits::default(),
                local_copies: Semaphore::new(
                    available_parallelism().map_or(LOCAL_COPIES, usize::from).max(LOCAL_COPIES),
                ),
                asks_for_parts: AtomicBool::new(false),
                questions: Memo::new(),
                blobs: Memo::new(),
                roots: Memo::new(),
                named: Memo::new(),
                lists: Lists::default(),
                asked_early: AtomicBool::new(false),
                expects_many: AtomicBool::new(false),
                mounts_refused: AtomicBool::new(false),
            }),
        }
    }

    /// Copies the manifest that `from` names, and all that it stands on, and names it `to` when all is there. If `to`
    /// names it already nothing else is done or asked, but for a digest that refers to another manifest: that is listed if it is not
    /// ([`Store::list_referrer`]).
    ///
    /// # Errors
    /// [`Error::Clobber`] before anything is written; [`Error::Unexpected`]; [`Error::NoChild`]; [`Error::WrongDigest`] if `to` is a digest
    /// that the manifest does not have; those of [`Graph::walk`](crate::Graph::walk); [`Error::GaveUp`] for a blob that breaks each time;
    /// [`Error::Source`] and [`Error::Destination`].
    pub async fn copy(&self, from: &Selector, to: &Selector) -> Result<Copied, Error> {
        let run = &self.run;
        let began = Instant::now();
        let mut early = run.ask_early(from);
        let is_first = !early.is_empty();
        let (there, held) = run.look(to).await?;
        // What is there may be what is wanted: then the source's manifest need not be fetched.
        if let (None, Some(there)) = (&run.options.platform, &there) {
            let wanted = match early.join_next().await {
                Some(Ok(wanted)) => wanted,
                _ => run.asked_source.resolve(from).await,
            };
            let wanted = wanted.map_err(Error::Source)?;
            if wanted.digest == there.digest {
                if let Some(manifest) = &held {
                    run.list(manifest, to).await;
                }
                return Ok(run.existed_as(to, Copied::new(wanted)));
            }
        }
        // The connection of a question that is about to be answered serves the manifest too.
        let _ = timeout(MOMENT.min(began.elapsed() / 2), early.join_next()).await;
        // An image of one platform may still turn out to be there.
        if run.options.platform.is_none() {
            run.expect_many().await;
        }
        // Where the name is missing, most likely all is.
        let eager = is_first && there.is_none() && run.is_far() && !run.source.counts_manifests();
        let root = run.root(from).await?;
        drop(early);
        if let Selector::Digest(digest) = to
            && digest.algorithm().digest(root.raw()) != *digest
        {
            let reference = reference(&*run.destination, to);
            return Err(Error::WrongDigest { reference, found: root.digest() });
        }
        let mut copied = Copied::new(root.descriptor());
        if let Some(there) = there {
            if there.digest == root.digest() {
                run.list(&root, to).await;
                return Ok(run.existed_as(to, copied));
            }
            run.spare_index(to, &there, &root)?;
        }
        if !run.same_repository() {
            let (claim, _) = run.roots.claim(root.digest());
            run.expect_many().await;
            claim.get_or_try_init(|| run.complete(&root, eager, to, &mut copied)).await?;
        }
        // The first name alone: docker-registry may refuse a manifest while it writes the same one for another name.
        let (claim, _) = run.named.claim(root.digest());
        let first = async {
            run.name(to, &root).await?;
            copied.written = true;
            Ok(())
        };
        claim.get_or_try_init(|| first).await?;
        if !copied.written {
            run.name(to, &root).await?;
            copied.written = true;
        }
        run.list(&root, to).await;
        Ok(copied)
    }

    /// Completes a destination that is complete only as a whole, as an archive is; nothing may be copied after that.
    ///
    /// # Errors
    /// [`Error::Destination`]; what was there before is there still.
    pub async fn finish(&self) -> Result<(), Error> {
        self.run.destination.finish().await.map_err(Error::Destination)
    }

    /// Copies one blob. `None` if another copy of the same run has seen to it.
    ///
    /// # Errors
    /// [`Error::GaveUp`], [`Error::Source`], [`Error::Destination`].
    pub async fn copy_blob(&self, blob: &Descriptor) -> Result<Option<Fate>, Error> {
        let run = &self.run;
        let origin = run.origin_of(blob);
        if origin.is_none() {
            match run.question(blob).await? {
                Answer::Missing => {}
                Answer::Known => return Ok(None),
                Answer::Existed => return Ok(Some(Fate::Existed)),
            }
        }
        run.bring(&Move { blob: blob.clone(), origin: origin.cloned() }).await
    }
}

impl Run {
    /// Asks what `from` names while the destination is asked for the first time: neither answer waits for the other, and
    /// where the manifest has to be fetched after all, a connection is there for it.
    fn ask_early(self: &Arc<Self>, from: &Selector) -> JoinSet<Result<Descriptor, StoreError>> {
        let mut early = JoinSet::new();
        let whole = self.options.platform.is_none() && self.destination.pace().is_some();
        if whole && !self.asked_early.swap(true, Ordering::Relaxed) {
            let (run, from) = (Arc::clone(self), from.clone());
            early.spawn(async move { run.asked_source.resolve(&from).await });
        }
        early
    }

    /// Gets both sides ready for a graph that is likely to move, once in a run.
    async fn expect_many(&self) {
        if !self.same_repository() && !self.expects_many.swap(true, Ordering::Relaxed) {
            let source = async {
                if !self.turns.are_of_one_host() {
                    self.source.expect_many().await;
                }
            };
            join(source, self.destination.expect_many()).await;
        }
    }

    /// What the destination has under a name that may be written; of a digest the manifest itself, where that is no more than to ask for
    /// it. Signatures are copied so, and one whose copy was interrupted may be there and not be listed.
    async fn look(&self, to: &Selector) -> Result<(Option<Descriptor>, Option<Manifest>), Error> {
        let Options { expect, there, .. } = &self.options;
        let is_asked = matches!(to, Selector::Digest(_)) && expect.is_none() && there.is_none();
        if !is_asked || self.destination.pace().is_none() || self.destination.counts_manifests() {
            return Ok((self.there(to).await?, None));
        }
        let ((), held) = join(self.source.prepare(), self.asked_destination.manifest(to)).await;
        match held {
            Ok(manifest) => Ok((Some(manifest.descriptor()), Some(manifest))),
            // What is damaged is written anew.
            Err(error) if matches!(error.kind(), Kind::NotFound | Kind::Denied | Kind::Invalid) => {
                Ok((None, None))
            }
            Err(error) => Err(Error::Destination(error)),
        }
    }

    /// What the destination has under a name that may be written. Meanwhile the source gets ready.
    pub(crate) async fn there(&self, to: &Selector) -> Result<Option<Descriptor>, Error> {
        let ready = async {
            self.source.prepare().await;
            Ok(())
        };
        let look = async {
            match (self.options.expect, &self.options.there) {
                (Some(expected), _) => self.expected(to, expected).await,
                (None, Some(there)) => Ok(Some(there.clone())),
                (None, None) => existing(&self.asked_destination, to).await,
            }
        };
        let (there, ()) = try_join(look, ready).await?;
        if let (true, Selector::Tag(_), Some(there)) = (self.options.no_clobber, to, &there)
            && !self.is_own_list(to)
        {
            return Err(Error::Clobber {
                reference: reference(&*self.destination, to),
                digest: there.digest,
            });
        }
        Ok(there)
    }

    /// Refuses to put one image in the place of several, where that is not meant.
    fn spare_index(&self, to: &Selector, there: &Descriptor, root: &Manifest) -> Result<(), Error> {
        if self.options.spare_index && there.media_type.is_index() && !root.media_type().is_index() {
            return Err(Error::ReplacesIndex {
                reference: reference(&*self.destination, to),
                digest: there.digest,
            });
        }
        Ok(())
    }

    fn existed_as(&self, to: &Selector, copied: Copied) -> Copied {
        let (selector, manifest) = (&to.to_string(), &copied.descriptor);
        self.observer.event(&Event::ManifestExisted { selector, manifest });
        copied
    }

    /// What the source sends, no faster than it may.
    pub(crate) fn capped(&self, stream: ByteStream) -> ByteStream {
        let Some(cap) = self.down.clone() else { return stream };
        let capped = stream.then(move |bytes| {
            let cap = Arc::clone(&cap);
            async move {
                if let Ok(bytes) = &bytes {
                    cap.take(bytes.len()).await;
                }
                bytes
            }
        });
        capped.boxed()
    }

    /// Whether both sides are one repository, so that only a name is missing.
    pub(crate) fn same_repository(&self) -> bool {
        self.source.origin().is_some() && self.source.origin() == self.destination.origin()
    }

    /// Where the destination can mount one of the source's blobs from.
    pub(crate) fn origin_of(&self, blob: &Descriptor) -> Option<&Repository> {
        let from = self.source.origin_of(blob)?;
        let to = self.destination.origin()?;
        (from.registry() == to.registry()).then_some(from)
    }

    /// The manifest that is to be copied.
    pub(crate) async fn root(&self, from: &Selector) -> Result<Manifest, Error> {
        let root = self.asked_source.manifest(from).await.map_err(Error::Source)?;
        match &self.options.platform {
            Some(platform) => select::choose(&self.asked_source, from, root, platform).await,
            None => Ok(root),
        }
    }

    /// Whether it takes long to hear from the destination.
    pub(crate) fn is_far(&self) -> bool {
        self.destination.pace().is_some_and(|pace| pace.is_near() == Some(false))
    }

    /// Whether it takes long to hear from the source alone.
    pub(crate) fn comes_from_afar(&self) -> bool {
        !self.is_far() && self.source.pace().is_some_and(|pace| pace.is_near() == Some(false))
    }

    /// Brings everything that `root` stands on, which is to be named `to`. `eager`: see [`Walk::eager`](crate::Walk::eager).
    async fn complete(
        self: &Arc<Self>,
        root: &Manifest,
        eager: bool,
        to: &Selector,
        copied: &mut Copied,
    ) -> Result<(), Error> {
        let Survey { graph, findings } = self.survey(root, eager).await?;
        let contents = contents(&graph)?;
        self.destination.lay_out(&contents).await.map_err(Error::Destination)?;
        let turns = if self.destination.in_order() { contents } else { Vec::new() };
        let turns = turns.iter().enumerate().map(|(turn, content)| (content.digest, turn)).collect();
        let blobs = graph.manifests.values().flat_map(|node| &node.blobs);
        let large = blobs.filter(|blob| blob.size > SMALL).map(|blob| blob.digest).collect();
        self.bring_all(findings, &turns, large, copied).await?;
        for wave in waves(&graph) {
            let nodes = wave.iter().filter_map(|digest| graph.manifests.get(digest));
            // Owned, because a future over a borrowing closure's argument is not known to be `Send`.
            let manifests: Vec<Manifest> = nodes.map(|node| node.manifest.clone()).collect();
            stream::iter(manifests)
                .map(|manifest| self.put_by_digest(manifest, to))
                .buffer_unordered(self.options.jobs.get())
                .try_collect::<()>()
                .await?;
        }
        Ok(())
    }

    /// Writes what stands below the root that is to be named `to`.
    async fn put_by_digest(&self, manifest: Manifest, to: &Selector) -> Result<(), Error> {
        let (selector, manifest) = (&manifest.digest().into(), &manifest);
        self.asked_destination.put_manifest(selector, manifest).await.map_err(Error::Destination)?;
        let reference = &reference(&*self.destination, selector);
        self.observer.event(&Event::ManifestDone { reference, manifest: &manifest.descriptor() });
        self.list(manifest, to).await;
        Ok(())
    }
}

impl std::fmt::Debug for Run {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Run")
            .field("source", &self.source)
            .field("destination", &self.destination)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}
