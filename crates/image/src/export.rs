//! The merged file system of an image, as a tar archive.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufWriter, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::StreamExt;
use layer::{Bodies, Decoder, Limits, Table};
use oci::{Descriptor, Digest, ImageManifest, Manifest, View};
use store::{Event, Observer, Store};

use crate::Error;
use crate::feed::{self, Feed, fill};

/// How many layers are read and inflated at once.
const LAYERS_AT_ONCE: usize = 4;

/// The buffer between the merge and the output, in bytes.
const BUFFER: usize = 256 << 10;

/// Where an export reads from, and what it may use.
pub struct Export {
    /// The repository that holds the image.
    pub store: Arc<dyn Store>,
    /// Hears of the layers' progress.
    pub observer: Arc<dyn Observer>,
    /// The folder for the temporary file that holds the inflated layers. The file has no name, so that nothing of it
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
    let export = Arc::new(export);
    let mut spools = spool(&export, &image).await?;
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

/// An inflated layer, and what is in it; nothing for what is no tar.
struct Spooled {
    file: File,
    table: Table,
}

/// Merges the layers and writes what comes out.
fn merge(
    spools: HashMap<Digest, Spooled>,
    image: &ImageManifest,
    out: Box<dyn Write + Send>,
) -> Result<(), Error> {
    // An image may have the same layer twice; its bytes are kept once.
    let mut bodies = Layers::default();
    let mut kept = HashMap::new();
    for (digest, spooled) in spools {
        kept.insert(digest, (bodies.files.len(), spooled.table));
        bodies.files.push(spooled.file);
    }
    let mut tables = Vec::with_capacity(image.layers.len());
    for layer in &image.layers {
        // Every layer of the image has been spooled.
        let Some((file, table)) = kept.get(&layer.digest) else { continue };
        bodies.order.push(*file);
        tables.push(table.clone());
    }
    let merged = layer::merge(&tables).map_err(Error::Merge)?;
    let written = layer::write_tar(&merged, &bodies, out).map_err(|error| match error {
        layer::Error::Output(source) => Error::Output(source),
        other => Error::Merge(other),
    });
    written.map(drop)
}

/// The inflated layers of an image, bottom first.
#[derive(Default)]
struct Layers {
    files: Vec<File>,
    /// Which file each layer is in.
    order: Vec<usize>,
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

/// Inflates all layers, each once, the largest first.
async fn spool(export: &Arc<Export>, image: &ImageManifest) -> Result<HashMap<Digest, Spooled>, Error> {
    let is_tar = only_file(image).is_none();
    let unique: HashMap<Digest, &Descriptor> =
        image.layers.iter().map(|layer| (layer.digest, layer)).collect();
    let mut layers: Vec<Descriptor> = unique.into_values().cloned().collect();
    layers.sort_by_key(|layer| std::cmp::Reverse((layer.size, layer.digest)));
    let bytes = layers.iter().fold(0, |sum: u64, layer| sum.saturating_add(layer.size));
    export.observer.event(&Event::Planned { blobs: layers.len(), bytes });
    let room = Arc::new(AtomicU64::new(export.spool_limit));
    let mut spooled = futures_util::stream::iter(layers)
        .map(|layer| inflate(Arc::clone(export), layer, Arc::clone(&room), is_tar))
        .buffer_unordered(LAYERS_AT_ONCE);
    let mut spools = HashMap::new();
    while let Some(outcome) = spooled.next().await {
        let (digest, spooled) = outcome?;
        spools.insert(digest, spooled);
    }
    Ok(spools)
}

/// Fetches one layer, and inflates it on a thread of its own.
async fn inflate(
    export: Arc<Export>,
    layer: Descriptor,
    room: Arc<AtomicU64>,
    is_tar: bool,
) -> Result<(Digest, Spooled), Error> {
    let (sender, feed) = feed::pair();
    let (folder, limit, digest) = (export.spool_folder.clone(), export.spool_limit, layer.digest);
    let scan = tokio::task::spawn_blocking(move || {
        let mut spool = Spool::new(&folder, room, limit)?;
        let scanned = scan(feed, &mut spool, is_tar);
        spool.finish(scanned.map_err(|source| Error::Layer { layer: digest, source }))
    });
    // The digest has the first word: damaged bytes also break whatever is made of them.
    let filled = fill(&*export.store, &layer, sender, &*export.observer).await;
    let scanned = scan.await?;
    filled?;
    Ok((digest, scanned?))
}

fn scan(feed: Feed, spool: &mut Spool, is_tar: bool) -> Result<Table, layer::Error> {
    let unreadable = |source| layer::Error::Read { offset: 0, source };
    let mut decoder = Decoder::new(feed).map_err(unreadable)?;
    if is_tar {
        return Table::scan(decoder, spool, Limits::default());
    }
    io::copy(&mut decoder, spool).map(|_| Table::default()).map_err(unreadable)
}

/// The temporary file of a layer, within the room that all layers of the image share.
struct Spool {
    file: BufWriter<File>,
    folder: PathBuf,
    room: Arc<AtomicU64>,
    limit: u64,
    failure: Option<Error>,
}

impl Spool {
    fn new(folder: &Path, room: Arc<AtomicU64>, limit: u64) -> Result<Self, Error> {
        let spool = |source| Error::Spool { folder: folder.display().to_string(), source };
        let file = BufWriter::with_capacity(BUFFER, tempfile::tempfile_in(folder).map_err(spool)?);
        Ok(Self { file, folder: folder.to_owned(), room, limit, failure: None })
    }

    fn failed(&self, source: io::Error) -> Error {
        Error::Spool { folder: self.folder.display().to_string(), source }
    }

    /// What failed here is the cause of whatever the scan says.
    fn finish(mut self, scanned: Result<Table, Error>) -> Result<Spooled, Error> {
        if let Some(failure) = self.failure.take() {
            return Err(failure);
        }
        let table = scanned?;
        match self.file.into_inner() {
            Ok(file) => Ok(Spooled { file, table }),
            Err(error) => {
                let source = error.into_error();
                Err(Error::Spool { folder: self.folder.display().to_string(), source })
            }
        }
    }
}

impl Write for Spool {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let takes = |room: u64| room.checked_sub(bytes.len() as u64);
        if self.room.fetch_update(Ordering::Relaxed, Ordering::Relaxed, takes).is_err() {
            self.failure = Some(Error::SpoolLimit(self.limit));
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.file.write_all(bytes).map(|()| bytes.len()).inspect_err(|error| {
            let kind = error.kind();
            self.failure =
                Some(self.failed(error.raw_os_error().map_or(kind.into(), io::Error::from_raw_os_error)));
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
