//! Whether everything that a reference stands on is there, and is what it says.

mod blob;
mod config;
mod document;
mod inside;
mod report;
mod walk;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt};
use oci::{Algorithm, Descriptor, Digest, ImageManifest, Platform, Selector};
use store::{Event, Kind, Observer, Store};

use self::blob::{Place, Verdict};
use self::inside::{Inside, Packing};
use self::report::{Findings, Spot};
use self::walk::{Content, Graph, Node};
use crate::{Error, feed};

pub use self::report::{Finding, Report, Severity};

/// How many layers are read and inflated at once.
const LAYERS_AT_ONCE: usize = 4;

/// How many requests without a body, or for a small document, are under way at once.
const REQUESTS: usize = 8;

/// What to validate, and how.
pub struct Validation {
    /// The repository that holds it.
    pub store: Arc<dyn Store>,
    /// Hears of the blobs' progress.
    pub observer: Arc<dyn Observer>,
    /// Only ask whether layers, and the blobs of artifacts, are there, and how long they are.
    pub fast: bool,
    /// How large the graph of manifests may be.
    pub limits: transfer::Limits,
    /// The most that one layer may inflate to, in bytes: a layer can be made to inflate to any size.
    pub inflated_limit: u64,
    /// The memory that the table of one layer's entries may take, in bytes; four layers are looked at at once. What a
    /// larger one holds is not looked at, only its digests.
    pub table_limit: usize,
}

impl std::fmt::Debug for Validation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Validation")
            .field("store", &self.store)
            .field("fast", &self.fast)
            .field("limits", &self.limits)
            .field("inflated_limit", &self.inflated_limit)
            .field("table_limit", &self.table_limit)
            .finish_non_exhaustive()
    }
}

impl Validation {
    /// What one layer may inflate to unless told otherwise: 64 GiB.
    pub const DEFAULT_INFLATED_LIMIT: u64 = 64 << 30;

    /// The memory for one layer's table unless told otherwise: 256 MiB, enough for about a million files.
    pub const DEFAULT_TABLE_LIMIT: usize = 256 << 20;

    /// Checks all of a repository's content that a reference leads to, within the usual limits.
    pub fn new(store: Arc<dyn Store>, observer: Arc<dyn Observer>) -> Self {
        Self {
            store,
            observer,
            fast: false,
            limits: transfer::Limits::default(),
            inflated_limit: Self::DEFAULT_INFLATED_LIMIT,
            table_limit: Self::DEFAULT_TABLE_LIMIT,
        }
    }
}

/// Checks a manifest and everything below it (image specification: descriptor.md, manifest.md, image-index.md,
/// config.md, layer.md); with `platform`, only the image for it.
///
/// Manifests: digest, size, media type, required fields, children. Images: the config with its `diff_ids` and its
/// platform; the layers' digests, sizes and inflated digests, that their compression is what the media type says, and
/// that the archive can be read. Artifacts: digests and sizes. Each blob is read once, however many images share it, by
/// several at once, and none is held in memory. `subject` is not followed.
///
/// What is wrong with the content is in the report, all of it.
///
/// # Errors
/// Where the content could not be looked at: [`Error::Store`] if the store fails, or has nothing under the name;
/// [`Error::Select`] if there is no image for the platform.
pub async fn validate(
    validation: Validation,
    selector: &Selector,
    platform: Option<&Platform>,
) -> Result<Report, Error> {
    let store = &*validation.store;
    let root = match platform {
        None => store.manifest(selector).await.map_err(Error::Store),
        Some(platform) => transfer::select(store, selector, platform).await.map_err(Error::Select),
    };
    let mut findings = Findings::default();
    let root = match root {
        Ok(root) => root,
        Err(error) => {
            findings.error(&Spot::root(None), unreadable(&error).ok_or(error)?);
            return Ok(Report { findings: findings.merged(), ..Report::default() });
        }
    };
    let digest = root.digest();
    let graph = walk::walk(store, root, validation.limits, &mut findings).await?;
    let run = Run { read: AtomicU64::new(graph.bytes), validation };
    let mut blobs = Blobs::default();
    let configs = run.configs(&graph, &mut blobs, &mut findings).await?;
    blobs.add_others(&graph, &mut findings);
    run.blobs(&blobs, &mut findings).await?;
    Ok(Report {
        digest: Some(digest),
        manifests: graph.nodes.len(),
        blobs: configs + blobs.0.len(),
        bytes: run.read.into_inner(),
        images: graph.images().map(|(node, ..)| node.name().to_owned()).collect(),
        findings: findings.merged(),
    })
}

/// What is wrong with the root, if that is what made it unreadable.
fn unreadable(error: &Error) -> Option<String> {
    match error {
        Error::Store(error) | Error::Select(transfer::Error::Source(error))
            if error.kind() == Kind::Invalid =>
        {
            Some(error.cause().to_string())
        }
        Error::Select(error @ (transfer::Error::Manifest { .. } | transfer::Error::MissingChild { .. })) => {
            Some(error.to_string())
        }
        _ => None,
    }
}

/// What one use of a blob expects of it.
struct Use {
    spot: Spot,
    /// Of a layer, how it is packed; nothing of what is not looked into.
    packing: Option<Packing>,
    /// The digest of the inflated layer that the config gives.
    diff_id: Option<Digest>,
    /// It may be missing.
    nondistributable: bool,
}

impl Use {
    /// Compares what is expected with what was found.
    fn judge(&self, verdict: &Verdict<Option<Inside>>, findings: &mut Findings) {
        match verdict {
            Verdict::Missing if self.nondistributable => {
                findings.note(&self.spot, "is not here: its owner does not allow it to be distributed");
            }
            Verdict::Missing => findings.missing(&self.spot),
            Verdict::Wrong(problem) => findings.error(&self.spot, problem),
            Verdict::Right(inside) => {
                if let Some((inside, packing)) = inside.as_ref().zip(self.packing) {
                    inside.judge(packing, self.diff_id, &self.spot, findings);
                }
            }
        }
    }
}

/// The blobs to be read, by digest and size, each with all its uses. One digest with two sizes is read twice: at most
/// one of the sizes is right.
#[derive(Default)]
struct Blobs(BTreeMap<(Digest, u64), (Descriptor, Vec<Use>)>);

impl Blobs {
    fn add(&mut self, blob: &Descriptor, one: Use) {
        let (_, uses) = self.0.entry((blob.digest, blob.size)).or_insert_with(|| (blob.clone(), Vec::new()));
        uses.push(one);
    }

    /// A blob that is checked by its digest alone.
    fn add_bytes(&mut self, blob: &Descriptor, spot: Spot) {
        let nondistributable = blob.media_type.is_nondistributable();
        self.add(blob, Use { spot, packing: None, diff_id: None, nondistributable });
    }

    /// The layers of an image, with what its config says of them, if it could be read.
    fn add_layers(
        &mut self,
        node: &Node,
        image: &ImageManifest,
        diff_ids: &[Option<Digest>],
        findings: &mut Findings,
    ) {
        for (at, layer) in image.layers.iter().enumerate() {
            let spot = node.layer(at, layer);
            findings.embedded(&spot, layer);
            let packing = Packing::of(&layer.media_type);
            if packing.is_none() && layer.media_type.is_layer() {
                let problem = format!("of a layer of type {} only the digest is checked", layer.media_type);
                findings.note(&spot, problem);
            }
            let nondistributable = layer.media_type.is_nondistributable();
            let diff_id = diff_ids.get(at).copied().flatten();
            self.add(layer, Use { spot, packing, diff_id, nondistributable });
        }
    }

    /// What is no image: the parts of artifacts, and what an index lists besides manifests.
    fn add_others(&mut self, graph: &Graph, findings: &mut Findings) {
        for node in &graph.nodes {
            let Content::Artifact(artifact) = &node.content else { continue };
            for (spot, blob) in node.parts(artifact) {
                findings.embedded(&spot, blob);
                self.add_bytes(blob, spot);
            }
        }
        for (spot, blob) in &graph.blobs {
            self.add_bytes(blob, spot.clone());
        }
    }
}

/// One validation under way.
struct Run {
    validation: Validation,
    /// Bytes read so far.
    read: AtomicU64,
}

impl Run {
    fn place(&self) -> Place<'_> {
        Place { store: &*self.validation.store, observer: &*self.validation.observer, read: &self.read }
    }

    /// Reads the configs of all images, each once, and compares them with their manifests; how many there were. A
    /// config is dropped before the next one comes.
    async fn configs(
        &self,
        graph: &Graph,
        blobs: &mut Blobs,
        findings: &mut Findings,
    ) -> Result<usize, Error> {
        let mut users: BTreeMap<(Digest, u64), Vec<(&Node, &ImageManifest)>> = BTreeMap::new();
        let mut configs = Vec::new();
        for (node, config, image) in graph.images() {
            let images = users.entry((config.digest, config.size)).or_default();
            if images.is_empty() {
                configs.push(config.clone());
            }
            images.push((node, image));
        }
        let mut read =
            futures_util::stream::iter(configs).map(|config| self.config(config)).buffer_unordered(REQUESTS);
        while let Some((config, verdict)) = read.try_next().await? {
            for (node, image) in users.get(&(config.digest, config.size)).into_iter().flatten() {
                let spot = node.config(&config);
                // Each has a descriptor of its own for the same config.
                image.config.iter().for_each(|config| findings.embedded(&spot, config));
                let diff_ids = match &verdict {
                    Verdict::Right(bytes) => config::check(bytes, image, &node.platforms, &spot, findings),
                    Verdict::Missing => {
                        findings.missing(&spot);
                        Vec::new()
                    }
                    Verdict::Wrong(problem) => {
                        findings.error(&spot, problem);
                        Vec::new()
                    }
                };
                blobs.add_layers(node, image, &diff_ids, findings);
            }
        }
        Ok(users.len())
    }

    async fn config(&self, config: Descriptor) -> Result<(Descriptor, Verdict<Bytes>), Error> {
        let verdict = self.place().collect(&config).await?;
        Ok((config, verdict))
    }

    /// Checks all blobs, the largest first.
    async fn blobs(&self, blobs: &Blobs, findings: &mut Findings) -> Result<(), Error> {
        let mut jobs: Vec<Job> =
            blobs.0.iter().map(|(key, (blob, uses))| Job::new(*key, blob, uses)).collect();
        jobs.sort_by_key(|job| std::cmp::Reverse(job.blob.size));
        if !self.validation.fast {
            let bytes = jobs.iter().fold(0, |sum: u64, job| sum.saturating_add(job.blob.size));
            self.validation.observer.event(&Event::Planned { blobs: jobs.len(), bytes, kept: 0 });
        }
        let at_once = if self.validation.fast { REQUESTS } else { LAYERS_AT_ONCE };
        let mut checked =
            futures_util::stream::iter(jobs).map(|job| self.blob(job)).buffer_unordered(at_once);
        while let Some((key, verdict)) = checked.try_next().await? {
            for used in blobs.0.get(&key).into_iter().flat_map(|(_, uses)| uses) {
                used.judge(&verdict, findings);
            }
        }
        Ok(())
    }

    /// Checks one blob, and looks into it on a thread of its own if it is a layer.
    async fn blob(&self, job: Job) -> Result<((Digest, u64), Verdict<Option<Inside>>), Error> {
        let Job { key, blob, looks } = job;
        let place = self.place();
        if self.validation.fast {
            return Ok((key, place.present(&blob).await?.map(|()| None)));
        }
        let Some(algorithms) = looks else {
            return Ok((key, place.read(&blob, None).await?.map(|()| None)));
        };
        let (sender, feed) = feed::pair();
        let Validation { inflated_limit, table_limit, .. } = self.validation;
        let table = layer::Limits { memory: table_limit, ..layer::Limits::default() };
        let look = move || inside::look(feed, &algorithms, inflated_limit, table);
        let looking = tokio::task::spawn_blocking(look);
        // The digest has the first word: damaged bytes also break whatever is made of them.
        let verdict = place.read(&blob, Some(sender)).await;
        let inside = looking.await?;
        Ok((key, verdict?.map(|()| Some(inside))))
    }
}

/// One blob to be checked.
struct Job {
    key: (Digest, u64),
    blob: Descriptor,
    /// Of a layer, by which algorithms its inflated bytes are hashed.
    looks: Option<BTreeSet<Algorithm>>,
}

impl Job {
    fn new(key: (Digest, u64), blob: &Descriptor, uses: &[Use]) -> Self {
        let algorithms = uses.iter().filter_map(|used| used.diff_id).map(|diff_id| diff_id.algorithm());
        let is_layer = uses.iter().any(|used| used.packing.is_some());
        Self { key, blob: blob.clone(), looks: is_layer.then(|| algorithms.collect()) }
    }
}

/// Counts bytes that were read.
fn count(read: &AtomicU64, bytes: usize) {
    read.fetch_add(bytes as u64, Ordering::Relaxed);
}
