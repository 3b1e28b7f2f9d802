//! Small images from files: each layer a gzipped tar with reproducible headers.

use std::io::Write;
use std::num::NonZeroUsize;

use bytes::Bytes;
use layer::{Encoder, Encoding, Item, Metadata, TarWriter};
use oci::{Algorithm, Descriptor, Digest, Manifest, MediaType, Platform, Selector};
use serde_json::{Value, json};
use store::{Opened, Store, in_order};

use crate::Error;

/// One entry of a layer that is built. Owned by root, from 1970.
#[derive(Clone, Debug)]
pub struct File<'a> {
    /// Where it lies, without a leading slash. Names that begin with `.wh.` are whiteouts.
    pub path: &'a str,
    /// Permissions, with set-user-ID and the like.
    pub mode: u32,
    /// What it is.
    pub content: Content<'a>,
}

/// What an entry is.
#[derive(Clone, Debug)]
pub enum Content<'a> {
    /// A file with this content.
    File(&'a [u8]),
    /// A directory.
    Directory,
    /// A symbolic link to this target.
    Symlink(&'a str),
    /// Another name of the file at this path.
    HardLink(&'a str),
}

/// A blob that is built, with its descriptor.
#[derive(Clone, Debug)]
pub struct Blob {
    /// What it is.
    pub descriptor: Descriptor,
    /// Its bytes.
    pub content: Bytes,
}

/// A layer that is built.
#[derive(Clone, Debug)]
pub struct Layer {
    /// The compressed layer.
    pub blob: Blob,
    /// The digest of the inflated layer.
    pub diff_id: Digest,
}

impl Blob {
    fn new(media_type: MediaType, content: Vec<u8>) -> Self {
        let descriptor = Descriptor::of(media_type, Algorithm::Sha256, &content);
        Self { descriptor, content: content.into() }
    }

    /// Writes the blob, unless it is there.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn push(&self, store: &dyn Store) -> Result<(), Error> {
        if store.contains(&self.descriptor).await? {
            return Ok(());
        }
        let writer = match store.write(&self.descriptor, None).await? {
            Opened::Writer(writer) => Some(writer),
            Opened::Placer(placer) => Some(in_order(placer)),
            Opened::Mounted | Opened::Existed => None,
        };
        if let Some(mut writer) = writer {
            // Content in memory is shorter than `usize` can say.
            let kept = usize::try_from(writer.offset()).unwrap_or(0);
            writer.write(self.content.slice(kept..)).await?;
            writer.commit().await?;
        }
        Ok(())
    }
}

impl Layer {
    /// A layer with these entries, in this order. Equal entries make an equal layer.
    ///
    /// # Errors
    /// [`Error::Output`] if an entry fits no tar header.
    pub fn new(files: &[File<'_>]) -> Result<Self, Error> {
        let tar = archive(files).map_err(Error::Output)?;
        let diff_id = Algorithm::Sha256.digest(&tar);
        let gzip = compress(&tar).map_err(Error::Output)?;
        Ok(Self { blob: Blob::new(MediaType::OCI_LAYER_GZIP, gzip), diff_id })
    }
}

fn compress(tar: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut encoder = Encoder::new(Vec::new(), Encoding::GZIP, NonZeroUsize::MIN)?;
    encoder.write_all(tar)?;
    encoder.finish()
}

fn archive(files: &[File<'_>]) -> std::io::Result<Vec<u8>> {
    let mut tar = TarWriter::new(Vec::new());
    for File { path, mode, content } in files {
        let metadata = Metadata::new(*mode);
        let item = match content {
            Content::File(bytes) => {
                tar.file(path.as_bytes(), &metadata, bytes.len() as u64, *bytes)?;
                continue;
            }
            Content::Directory => Item::Directory,
            Content::Symlink(target) => Item::Symlink(target.as_bytes()),
            Content::HardLink(target) => Item::HardLink(target.as_bytes()),
        };
        tar.begin(path.as_bytes(), &metadata, item)?;
    }
    tar.finish()
}

/// Writes an image of these layers, bottom first, by its digest; `config` is the configuration's `config` object.
/// Returns the descriptor for an index.
///
/// # Errors
/// [`Error::Store`].
pub async fn push(
    store: &dyn Store,
    platform: &Platform,
    layers: &[&Layer],
    config: &Value,
) -> Result<Descriptor, Error> {
    let mut document = json!({
        "architecture": platform.architecture,
        "os": platform.os,
        "config": config,
        "rootfs": { "type": "layers", "diff_ids": layers.iter().map(|layer| layer.diff_id).collect::<Vec<_>>() },
        "history": layers.iter().map(|_| json!({ "created_by": "hoist" })).collect::<Vec<_>>(),
    });
    if let Some(variant) = &platform.variant {
        document["variant"] = json!(variant);
    }
    let config = Blob::new(MediaType::OCI_CONFIG, document.to_string().into());
    config.push(store).await?;
    for layer in layers {
        layer.blob.push(store).await?;
    }
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": MediaType::OCI_MANIFEST,
        "config": config.descriptor,
        "layers": layers.iter().map(|layer| &layer.blob.descriptor).collect::<Vec<_>>(),
    });
    let manifest = put(store, None, &manifest, MediaType::OCI_MANIFEST).await?;
    Ok(Descriptor { platform: Some(platform.clone()), ..manifest.descriptor() })
}

/// Writes an index of these images under a name.
///
/// # Errors
/// [`Error::Store`].
pub async fn push_index(
    store: &dyn Store,
    images: &[Descriptor],
    name: &Selector,
) -> Result<Manifest, Error> {
    let index = json!({ "schemaVersion": 2, "mediaType": MediaType::OCI_INDEX, "manifests": images });
    put(store, Some(name), &index, MediaType::OCI_INDEX).await
}

async fn put(
    store: &dyn Store,
    name: Option<&Selector>,
    document: &Value,
    media_type: MediaType,
) -> Result<Manifest, Error> {
    let manifest = Manifest::new(format!("{document:#}").into(), Some(media_type))?;
    let by_digest = Selector::Digest(manifest.digest());
    store.put_manifest(name.unwrap_or(&by_digest), &manifest).await?;
    Ok(manifest)
}
