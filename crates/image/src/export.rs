//! The merged file system of an image, as a tar archive.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Seek, Write};
use std::path::PathBuf;
use std::sync::Arc;

use futures_util::{StreamExt, TryStreamExt};
use layer::{Bodies, Table};
use oci::{Descriptor, Digest, ImageManifest, Manifest, View};
use store::{Event, Observer, Silent, Store};

use crate::Error;
use crate::feed::{self, fill_in_parts};
use crate::parts::Room;
use crate::spool::{Budget, Spooled};

/// How many layers are read and inflated at once.
const LAYERS_AT_ONCE: usize = 4;

/// Where an export reads from, and what it may use.
pub struct Export {
    /// The repository that holds the image.
    pub store: Arc<dyn Store>,
    /// Hears of the layers' progress.
    pub observer: Arc<dyn Observer>,
    /// The folder for the temporary files that hold the inflated layers. They have no name, so that nothing of them
    /// stays behind.
    pub spool_folder: PathBuf,
    /// The most that the inflated layers may take there, in bytes: an image can be made to inflate to any size.
    pub spool_limit: u64,
}

impl std::fmt::Debug for Export {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Export")
            .field("store", &self.store)
            .field("spool_folder", &self.spool_folder)
            .field("spool_limit", &self.spool_limit)
            .finish_non_exhaustive()
    }
}

impl Export {
    /// Room for the inflated layers unless told otherwise: 64 GiB.
    pub const DEFAULT_SPOOL_LIMIT: u64 = 64 << 30;

    /// Reads from a repository, with the usual room in the system's folder for temporary files, and tells nobody.
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self {
            store,
            observer: Arc::new(Silent),
            spool_folder: std::env::temp_dir(),
            spool_limit: Self::DEFAULT_SPOOL_LIMIT,
        }
    }
}

/// Writes the merged file system of an image (image specification, layer.md, "Applying Changesets"): parents first,
/// whiteouts applied, hard links with the content that they had. Of an artifact whose only layer is no tar, that
/// layer's inflated bytes, as crane does.
///
/// Layers are fetched and inflated side by side; memory stays bounded. Nothing is written before all layers have
/// proved right.
///
/// # Errors
/// [`Error::NotAnImage`] for an index, [`Error::Layer`] for a layer that is damaged, [`Error::SpoolLimit`],
/// [`Error::Output`], [`Error::Store`].
pub async fn export(export: Export, manifest: &Manifest, out: Box<dyn Write + Send>) -> Result<(), Error> {
    let View::Image(image) = manifest.view()? else { return Err(Error::NotAnImage(manifest.digest())) };
    let mut spools = spool(&Arc::new(export), &image).await?;
    let write = move || match only_file(&image).and_then(|layer| spools.remove(&layer.digest)) {
        Some(mut file) => copy(&mut file.file, out),
        None => merge(spools, &image, out),
    };
    tokio::task::spawn_blocking(write).await?
}

/// The layer of an artifact that is one file rather than a file system.
fn only_file(image: &ImageManifest) -> Option<&Descriptor> {
    match image.layers.as_slice() {
        [only] if !only.media_type.is_layer() => Some(only),
        _ => None,
    }
}

/// Inflates all layers, each once, the largest first.
pub(crate) async fn spool(
    export: &Arc<Export>,
    image: &ImageManifest,
) -> Result<HashMap<Digest, Spooled>, Error> {
    let is_tar = only_file(image).is_none();
    let unique: HashMap<Digest, &Descriptor> =
        image.layers.iter().map(|layer| (layer.digest, layer)).collect();
    let mut layers: Vec<Descriptor> = unique.into_values().cloned().collect();
    layers.sort_by_key(|layer| std::cmp::Reverse((layer.size, layer.digest)));
    let bytes = layers.iter().fold(0, |sum: u64, layer| sum.saturating_add(layer.size));
    export.observer.event(&Event::Planned { blobs: layers.len(), bytes, kept: 0 });
    let budget = Arc::new(Budget::new(&export.spool_folder, export.spool_limit, LAYERS_AT_ONCE));
    let room = Room::default();
    futures_util::stream::iter(layers)
        .map(|layer| inflate(Arc::clone(export), room.clone(), layer, Arc::clone(&budget), is_tar))
        .buffer_unordered(LAYERS_AT_ONCE)
        .try_collect()
        .await
}

/// Fetches one layer, and inflates it on a thread of its own.
async fn inflate(
    export: Arc<Export>,
    room: Room,
    layer: Descriptor,
    budget: Arc<Budget>,
    is_tar: bool,
) -> Result<(Digest, Spooled), Error> {
    let (sender, feed) = feed::pair();
    let (digest, shared) = (layer.digest, Arc::clone(&budget));
    let scan = tokio::task::spawn_blocking(move || shared.inflate(digest, feed, is_tar));
    // The digest has the first word: damaged bytes also break whatever is made of them.
    let place = (&export.store, &room);
    let filled = fill_in_parts(place, &layer, sender, &*export.observer, || budget.has_failed()).await;
    let scanned = scan.await?;
    filled?;
    Ok((digest, scanned?))
}

/// Merges the layers and writes what comes out.
fn merge(
    spools: HashMap<Digest, Spooled>,
    image: &ImageManifest,
    out: Box<dyn Write + Send>,
) -> Result<(), Error> {
    let order: Vec<Digest> = image.layers.iter().map(|layer| layer.digest).collect();
    let (bodies, tables) = Layers::of(spools, &order);
    let merged = layer::merge(&tables).map_err(Error::Merge)?;
    let written = layer::write_tar(&merged, &bodies, out).map_err(|error| match error {
        layer::Error::Output(source) => Error::Output(source),
        other => Error::Merge(other),
    });
    written.map(drop)
}

/// The inflated layers of an image, bottom first.
#[derive(Default)]
pub(crate) struct Layers {
    files: Vec<File>,
    /// Which file each layer is in.
    order: Vec<usize>,
}

impl Layers {
    /// Puts inflated layers in the order of the image; also what each holds.
    pub(crate) fn of(mut spools: HashMap<Digest, Spooled>, order: &[Digest]) -> (Self, Vec<Table>) {
        let mut layers = Self::default();
        let mut tables: Vec<Table> = Vec::with_capacity(order.len());
        // An image may have the same layer twice; its bytes are kept once.
        let mut kept: HashMap<Digest, usize> = HashMap::new();
        for digest in order {
            if let Some(first) = kept.get(digest) {
                layers.order.push(layers.order[*first]);
                tables.push(tables[*first].clone());
            } else if let Some(Spooled { file, table }) = spools.remove(digest) {
                kept.insert(*digest, tables.len());
                layers.order.push(layers.files.len());
                layers.files.push(file);
                tables.push(table);
            }
        }
        (layers, tables)
    }
}

impl Bodies for Layers {
    fn read_exact_at(&self, layer: usize, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let file = self.order.get(layer).ok_or(io::ErrorKind::NotFound)?;
        self.files.as_slice().read_exact_at(*file, buffer, offset)
    }
}

/// Writes what is in a spool as it is.
fn copy(spool: &mut File, mut out: Box<dyn Write + Send>) -> Result<(), Error> {
    let copied = spool.rewind().and_then(|()| io::copy(spool, &mut out)).and_then(|_| out.flush());
    copied.map_err(Error::Output)
}
