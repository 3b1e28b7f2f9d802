//! Looking into an image without pulling it: tables of contents of its layers, and parts of these.

mod accounts;
mod body;
mod extract;
mod fate;
mod filter;
mod grep;
mod index;
mod run;
mod scan;
mod whole;

use std::collections::{HashMap, HashSet};
use std::io::Read;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::{StreamExt, TryStreamExt};
use layer::{Body, Caught, Entry, FindError, Found, Kind, Limits, Merged, Metadata, Origin, Table, Toc};
use local::Tables;
use oci::{Descriptor, Digest, Manifest, MediaType, View};
use store::{Event, Observer, Silent, Store};

pub use body::{Wanted, expand};
pub use extract::Extracted;
pub use fate::{Deed, Fate, Touch, fates, touches};
pub use filter::{Account, Filter, Glob, GlobError, LayerChoice, Owner, Type};
pub use grep::{End, How, Pattern, PatternError, Seen, Target, Targets};
pub use index::Indexes;
use run::Run;

use crate::parts::Room;
use crate::{Error, Export};

/// How many layers are read at once.
const LAYERS_AT_ONCE: usize = 4;

/// The annotation that says what a file of an artifact is called (image specification, annotations.md).
const TITLE: &str = "org.opencontainers.image.title";

/// The annotation of `oras` that says that a file is a directory, packed.
const UNPACK: &str = "io.deis.oras.content.unpack";

/// From where an image is read, and what is kept of it.
#[derive(Clone)]
pub struct Looking {
    /// The repository that holds the image.
    pub store: Arc<dyn Store>,
    /// The same repository, for layers that nobody can read in parts, such as those in one frame of zstd: if it keeps what it reads,
    /// they are fetched once.
    pub whole: Arc<dyn Store>,
    /// Where tables of contents are kept for the next time; without it, each time reads the layers.
    pub tables: Option<Arc<Tables>>,
    /// Whose indexes of layers are believed.
    pub indexes: Indexes,
    /// Bounds on the tables.
    pub limits: Limits,
    /// Hears of the progress of layers that are read as a whole.
    pub observer: Arc<dyn Observer>,
    /// The folder for temporary files, which have no name.
    pub spool_folder: PathBuf,
    /// The most that they may take, in bytes.
    pub spool_limit: u64,
}

impl Looking {
    /// Into a repository, with the usual room in the system's folder for temporary files; nothing is kept, and nobody told.
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self {
            whole: Arc::clone(&store),
            store,
            tables: None,
            indexes: Indexes::Bound,
            limits: Limits::default(),
            observer: Arc::new(Silent),
            spool_folder: std::env::temp_dir(),
            spool_limit: Export::DEFAULT_SPOOL_LIMIT,
        }
    }
}

impl std::fmt::Debug for Looking {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Looking").field("store", &self.store).finish_non_exhaustive()
    }
}

/// One image, looked into.
///
/// The table of contents of a layer comes from where such are kept; else from an index of others, if the manifest binds one to the
/// layer ([`Indexes`]); else it is made by one full read, which is verified. After that a file costs one request for about its
/// compressed bytes, each span of which is checked against a hash from the table.
#[derive(Clone, Debug)]
pub struct Inside {
    looking: Arc<Looking>,
    layers: Arc<[Descriptor]>,
    soci: Arc<index::Soci>,
    known: Arc<Mutex<HashMap<Digest, Arc<Toc>>>>,
    /// Room for parts of layers.
    room: Room,
    /// The file that was looked for, if it was in a layer that had to be read, and where.
    caught: Arc<Mutex<Option<(usize, Caught)>>>,
    /// Layers whose index is of no use, which has been told.
    unusable: Arc<Mutex<HashSet<Digest>>>,
}

/// Where a path leads in an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spot {
    /// The path without symbolic links, without `/` at its ends.
    pub path: Vec<u8>,
    /// The layer, counted from the bottom, that the content is in; `None` for a directory that no layer names.
    pub layer: Option<usize>,
    /// What is there; never a hard link.
    pub entry: Entry,
}

/// What is known of a layer before anything is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    /// Its table of contents is kept.
    Table,
    /// It is a single file of an artifact, and has no table.
    File,
    /// Nothing: it has to be read.
    Nothing,
}

impl Inside {
    /// Looks into an image, or into an artifact, whose files are then called by their titles.
    ///
    /// # Errors
    /// [`Error::NotAnImage`] for an index.
    pub fn new(looking: Looking, manifest: &Manifest) -> Result<Self, Error> {
        let View::Image(image) = manifest.view()? else { return Err(Error::NotAnImage(manifest.digest())) };
        let images = [MediaType::OCI_CONFIG, MediaType::DOCKER_CONFIG];
        let is_image = image.config.as_ref().is_some_and(|config| images.contains(&config.media_type));
        let soci = index::Soci::new(&image.annotations, manifest.digest());
        let inside = Self {
            looking: Arc::new(looking),
            layers: image.layers.into(),
            soci: Arc::new(soci),
            known: Arc::default(),
            room: Room::default(),
            caught: Arc::default(),
            unusable: Arc::default(),
        };
        for layer in inside.layers.iter() {
            if let Some(toc) = file_of(layer, is_image) {
                inside.all_known().insert(layer.digest, Arc::new(toc));
            }
        }
        Ok(inside)
    }

    /// The layers, bottom first.
    pub fn layers(&self) -> &[Descriptor] {
        &self.layers
    }

    /// What is known of a layer, without asking anybody.
    pub fn known(&self, layer: usize) -> Known {
        match self.remembered(&self.layers[layer]) {
            Some(toc) if toc.is_of_file() => Known::File,
            Some(_) => Known::Table,
            None => Known::Nothing,
        }
    }

    /// Gets those tables of contents that others have made: then what is [`known`](Self::known) is all that can be without reading a
    /// layer.
    pub async fn prepare(&self) {
        self.prepare_without(&HashSet::new()).await;
    }

    /// The same, without the layers that `other` has a table of, or knows an index of that is of no use.
    pub(crate) async fn prepare_beside(&self, other: &Self) {
        let kept = (0..other.layers.len()).filter(|layer| other.is_kept(*layer));
        let mut theirs: HashSet<Digest> = kept.map(|layer| other.layers[layer].digest).collect();
        theirs.extend(other.all_unusable().iter());
        self.prepare_without(&theirs).await;
    }

    async fn prepare_without(&self, layers: &HashSet<Digest>) {
        let unknown = (0..self.layers.len())
            .filter(|layer| !layers.contains(&self.layers[*layer].digest) && !self.is_kept(*layer));
        self.look(unknown.collect()).await;
    }

    async fn look(&self, layers: Vec<usize>) {
        let indexed = futures_util::stream::iter(layers).map(|layer| self.indexed(layer));
        indexed.buffer_unordered(LAYERS_AT_ONCE).for_each(|_| async {}).await;
    }

    /// The table of contents of a layer.
    ///
    /// # Errors
    /// [`Error::Layer`] for a layer that is damaged, [`Error::Store`].
    pub async fn toc(&self, layer: usize) -> Result<Arc<Toc>, Error> {
        self.toc_wanting(layer, None).await
    }

    /// The same for who looks for a file: where the layer has to be read, that is caught.
    async fn toc_wanting(&self, layer: usize, path: Option<&[u8]>) -> Result<Arc<Toc>, Error> {
        let blob = &self.layers[layer];
        if let Some(toc) = self.remembered(blob) {
            return Ok(toc);
        }
        if let Some(toc) = self.indexed(layer).await {
            return Ok(toc);
        }
        let (toc, caught) = self.scan(blob, path).await?;
        self.keep_caught(layer, caught);
        Ok(self.remember(blob, &blob.digest, toc))
    }

    /// The tables of contents of all layers, bottom first; those that are not known are made side by side.
    ///
    /// # Errors
    /// Those of [`toc`](Self::toc).
    pub async fn tocs(&self) -> Result<Vec<Arc<Toc>>, Error> {
        self.make(0..self.layers.len()).await?;
        let mut tocs = Vec::with_capacity(self.layers.len());
        for layer in 0..self.layers.len() {
            tocs.push(self.toc(layer).await?);
        }
        Ok(tocs)
    }

    /// Makes the tables of contents of some layers that are not known, side by side.
    ///
    /// # Errors
    /// Those of [`toc`](Self::toc).
    pub async fn make(&self, layers: impl IntoIterator<Item = usize>) -> Result<(), Error> {
        let unknown = self.unknown(layers);
        self.look(unknown.clone()).await;
        let unknown: Vec<usize> =
            unknown.into_iter().filter(|layer| self.known(*layer) == Known::Nothing).collect();
        let bytes = unknown.iter().fold(0, |sum: u64, layer| sum.saturating_add(self.layers[*layer].size));
        if !unknown.is_empty() {
            self.looking.observer.event(&Event::Planned { blobs: unknown.len(), bytes, kept: 0 });
        }
        let made = futures_util::stream::iter(unknown).map(|layer| self.toc(layer));
        // In their order: of several that fail the lowest is told.
        made.buffered(LAYERS_AT_ONCE).try_for_each(|_| async { Ok(()) }).await
    }

    /// Those of some layers of which nothing is known, each digest once.
    fn unknown(&self, layers: impl IntoIterator<Item = usize>) -> Vec<usize> {
        let mut seen = HashSet::new();
        let unknown = layers.into_iter().filter(|layer| self.known(*layer) == Known::Nothing);
        unknown.filter(|layer| seen.insert(self.layers[*layer].digest)).collect()
    }

    /// Makes the tables of a layer that is not known and of those below it, as far as they are so small that all come in the time of
    /// one. What goes wrong is told by who needs it.
    async fn make_small(&self, first: usize, path: &[u8]) {
        let small = (0..=first).rev().take_while(|layer| self.layers[*layer].size < index::SMALL);
        let unknown = self.unknown(small);
        if unknown.len() > 1 {
            let made = futures_util::stream::iter(unknown).map(|layer| self.toc_wanting(layer, Some(path)));
            made.buffer_unordered(LAYERS_AT_ONCE).for_each(|_| async {}).await;
        }
    }

    /// What a path leads to, inside the root as the kernel would have it; with `follow`, through a symbolic link at its end too. The
    /// layers are asked from the newest on, and only as far as it takes; small ones that lie on each other below the newest together.
    ///
    /// # Errors
    /// [`Error::Path`] if it leads nowhere, and those of [`toc`](Self::toc).
    pub async fn find(&self, path: &[u8], follow: bool) -> Result<Spot, Error> {
        let mut tocs: Vec<Arc<Toc>> = Vec::new();
        // As entries have it, if there are no links on the way.
        let own = path.split(|byte| *byte == b'/').filter(|part| !matches!(*part, b"" | b"."));
        let own = own.collect::<Vec<_>>().join(&b'/');
        self.forget_caught();
        let (mut entries, mut merged_entries) = (0, 0);
        for first in (0..self.layers.len()).rev() {
            // The newest is asked alone, for it may be enough.
            if !tocs.is_empty() {
                self.make_small(first, &own).await;
            }
            tocs.insert(0, self.toc_wanting(first, Some(&own)).await?);
            entries += tocs[0].table.entries.len();
            // Where the next table costs nothing, not each is worth a merge.
            if first > 0 && entries < 2 * merged_entries && self.is_kept(first - 1) {
                continue;
            }
            merged_entries = entries;
            let tables: Vec<&Table> = tocs.iter().map(|toc| &toc.table).collect();
            if first == 0 {
                let merged = layer::merge(&tables).map_err(Error::Merge)?;
                return Ok(spot(&merged, merged.find(path, follow)?, 0));
            }
            let Some(merged) = layer::merge_newest(&tables) else { continue };
            match merged.find(path, follow) {
                Ok(Found::Node(index)) if !is_hard_link(&merged, index) => {
                    return Ok(spot(&merged, Found::Node(index), first));
                }
                // The layers below may have it.
                Ok(_) | Err(FindError::NotFound(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(FindError::NotFound(path.to_vec()).into())
    }

    /// Reads files of a layer, best in the order in which they lie there: `read` gets the index of each in `bodies`, and its stored
    /// bytes ([`expand`] fills the holes of sparse files), which are proven. It runs on a thread that may wait. What is wrong is read
    /// again in another way: then `read` is called for the same file once more, and what it had of it before does not count.
    ///
    /// # Errors
    /// Those of `read`; [`Error::Store`], [`Error::Layer`].
    pub async fn read(
        &self,
        layer: usize,
        bodies: Arc<dyn Wanted>,
        read: impl FnMut(usize, &mut dyn Read) -> Result<(), Error> + Send + 'static,
    ) -> Result<(), Error> {
        if let Some(stored) = self.take_caught(layer, &*bodies) {
            let mut read = read;
            return tokio::task::spawn_blocking(move || read(0, &mut &stored[..])).await?;
        }
        let toc = self.toc(layer).await?;
        let blob = &self.layers[layer];
        let is_long = |body: &Body| {
            let mut spans = toc.cover(body.offset..body.offset.saturating_add(body.stored())).spans;
            spans.any(|span| run::is_long(&toc, span))
        };
        let is_whole = toc.is_of_file() || (0..bodies.count()).any(|index| is_long(bodies.get(index)));
        let mut left = Run { bodies, next: 0, read: Box::new(read) };
        let (looking, is_tar) = (&self.looking, !toc.is_of_file());
        if is_whole {
            let store = if is_tar { &looking.whole } else { &looking.store };
            return whole::read(looking, &**store, blob, is_tar, left).await;
        }
        loop {
            let (outcome, rest) = run::read(&self.looking, blob, &toc, left).await?;
            match outcome {
                run::End::Done => return Ok(()),
                run::End::More => left = rest,
                run::End::Wrong if toc.origin != Origin::Layer => {
                    // What is not in the index's digest may have been wrong.
                    if let (Some(tables), Some(place)) =
                        (&looking.tables, index::place(looking, blob, &self.soci).await)
                    {
                        tables.remove(&place.key(&blob.digest));
                    }
                    return Err(Error::Index { layer: blob.digest, format: toc.origin.name() });
                }
                run::End::Wrong => {
                    let text = format!(
                        "the table of layer {} and what came of it do not agree; all of it is read",
                        blob.digest
                    );
                    self.looking.observer.event(&Event::Uncached(&text));
                    self.forget(blob);
                    return whole::read(looking, &*looking.store, blob, true, rest).await;
                }
            }
        }
    }

    /// Whether a table is kept that is one by its head; the rest of it is not read.
    pub(crate) fn is_kept(&self, layer: usize) -> bool {
        let digest = &self.layers[layer].digest;
        self.all_known().contains_key(digest)
            || self
                .looking
                .tables
                .as_ref()
                .and_then(|tables| tables.get(digest))
                .is_some_and(|file| Toc::is_one(&file))
    }

    /// The table that an index of others makes, if there is one for the layer that is worth anything.
    async fn indexed(&self, layer: usize) -> Option<Arc<Toc>> {
        let layer = &self.layers[layer];
        if self.all_unusable().contains(&layer.digest) {
            return None;
        }
        let place = index::place(&self.looking, layer, &self.soci).await?;
        let key = place.key(&layer.digest);
        let kept = self.kept(layer, &key).filter(|toc| toc.origin != Origin::Layer);
        if let Some(toc) = kept {
            return Some(self.know(layer, toc));
        }
        match index::read(&self.looking, layer, place).await {
            Ok(toc) => Some(self.remember(layer, &key, toc)),
            Err(error) => {
                let text =
                    format!("the index of layer {} is not used: {}", layer.digest, index::cause(&error));
                self.looking.observer.event(&Event::Uncached(&text));
                self.all_unusable().insert(layer.digest);
                None
            }
        }
    }

    fn remembered(&self, layer: &Descriptor) -> Option<Arc<Toc>> {
        if let Some(toc) = self.all_known().get(&layer.digest) {
            return Some(Arc::clone(toc));
        }
        let toc = self.kept(layer, &layer.digest).filter(|toc| toc.origin == Origin::Layer)?;
        Some(self.know(layer, toc))
    }

    /// A table that is kept under a digest, if it can be one of a layer.
    fn kept(&self, layer: &Descriptor, digest: &Digest) -> Option<Toc> {
        let file = self.looking.tables.as_ref()?.get(digest)?;
        // Torn, or of another version: it is made again; and so is one that is too large, to say that it is.
        let most = self.looking.limits.entries;
        Toc::open(file).ok().filter(|toc| toc.size == layer.size && toc.table.entries.len() <= most)
    }

    fn know(&self, layer: &Descriptor, toc: Toc) -> Arc<Toc> {
        let toc = Arc::new(toc);
        self.all_known().insert(layer.digest, Arc::clone(&toc));
        toc
    }

    /// Keeps a table under a digest.
    fn remember(&self, layer: &Descriptor, digest: &Digest, toc: Toc) -> Arc<Toc> {
        if let Some(tables) = &self.looking.tables
            && let Err(error) = tables.put(digest, |out| toc.write(out))
        {
            self.looking.observer.event(&Event::Uncached(&error.to_string()));
        }
        self.know(layer, toc)
    }

    fn forget(&self, layer: &Descriptor) {
        self.all_known().remove(&layer.digest);
        if let Some(tables) = &self.looking.tables {
            tables.remove(&layer.digest);
        }
    }

    fn all_unusable(&self) -> std::sync::MutexGuard<'_, HashSet<Digest>> {
        // A set is sound whoever panicked over it.
        self.unusable.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn all_known(&self) -> std::sync::MutexGuard<'_, HashMap<Digest, Arc<Toc>>> {
        // A map is sound whoever panicked over it.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The table of a layer that is one file rather than a file system. `oras` gives files the type of layers, and titles; directories that
/// it packed are to be unpacked.
fn file_of(layer: &Descriptor, is_image: bool) -> Option<Toc> {
    let title = layer.annotations.get(TITLE);
    let is_packed = layer.annotations.get(UNPACK).is_some_and(|unpack| unpack == "true");
    if is_packed || layer.media_type.is_layer() && (is_image || title.is_none()) {
        return None;
    }
    let title = title.cloned().unwrap_or_else(|| layer.digest.to_string());
    Some(Toc::of_file(title.as_bytes(), layer.size))
}

fn is_hard_link(merged: &Merged<'_>, node: usize) -> bool {
    matches!(merged.nodes[node].entry.kind, Kind::HardLink(_))
}

/// A spot in layers of which the lowest is `first`.
fn spot(merged: &Merged<'_>, found: Found, first: usize) -> Spot {
    match found {
        Found::Node(index) => {
            let node = &merged.nodes[index];
            Spot { path: node.path().to_vec(), layer: Some(node.layer() + first), entry: node.entry.clone() }
        }
        Found::Directory(path) => {
            let metadata = Metadata::new(0o755);
            let entry = Entry { path: path.as_slice().into(), kind: Kind::Directory, metadata };
            Spot { path, layer: None, entry }
        }
    }
}
