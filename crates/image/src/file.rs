//! One file of an image's merged file system, and the layer that puts another in its place.

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::sync::Arc;

use layer::{Bodies, Body, Item, Kind, Metadata, TarWriter};
use oci::{Digest, Manifest, View};

use crate::export::{Layers, spool};
use crate::{Error, Export, NewLayer, Packing};

/// What is read and written at a time, in bytes.
const BUFFER: usize = 256 << 10;

/// A file, and where it stands in an image.
#[derive(Debug)]
pub struct ImageFile {
    /// Path from the root, without a slash before it.
    pub path: String,
    /// Mode, owner, time and attributes.
    pub metadata: Metadata,
    /// The content: all of this file. It has no name.
    pub content: File,
}

impl ImageFile {
    /// Takes a file out of an image; `None` if nothing is there.
    ///
    /// # Errors
    /// [`Error::NotAFile`] if something else is there, and those of [`export`](crate::export()).
    pub async fn find(export: Export, manifest: &Manifest, path: &str) -> Result<Option<Self>, Error> {
        let View::Image(image) = manifest.view()? else { return Err(Error::NotAnImage(manifest.digest())) };
        let folder = export.spool_folder.clone();
        let spools = spool(&Arc::new(export), &image).await?;
        let order: Vec<Digest> = image.layers.iter().map(|layer| layer.digest).collect();
        let path = path.trim_matches('/').to_owned();
        let find = move || {
            let (layers, tables) = Layers::of(spools, &order);
            let merged = layer::merge(&tables).map_err(Error::Merge)?;
            let Some(node) = merged.nodes.iter().find(|node| *node.path() == *path.as_bytes()) else {
                return Ok(None);
            };
            let Kind::File(body) = &node.entry.kind else {
                return Err(Error::NotAFile(path));
            };
            let failed = |source| Error::Spool { folder: folder.display().to_string(), source };
            let mut content = tempfile::tempfile_in(&folder).map_err(failed)?;
            copy(&layers, node.layer(), body, &mut content).map_err(failed)?;
            content.rewind().map_err(failed)?;
            Ok(Some(Self { path, metadata: node.entry.metadata.clone(), content }))
        };
        tokio::task::spawn_blocking(find).await?
    }

    /// A file that is new: executable and readable for all, writable for nobody, as crane makes it.
    pub fn new(path: &str, content: File) -> Self {
        Self { path: path.trim_matches('/').to_owned(), metadata: Metadata::new(0o555), content }
    }

    /// A layer with this file alone.
    ///
    /// # Errors
    /// [`Error::Input`], [`Error::Spool`].
    pub async fn layer(self, packing: Packing) -> Result<NewLayer, Error> {
        tokio::task::spawn_blocking(move || self.pack(&packing)).await?
    }

    fn pack(mut self, packing: &Packing) -> Result<NewLayer, Error> {
        let failed = |source| Error::Input { name: self.path.clone(), source };
        let size = self.content.metadata().map_err(failed)?.len();
        self.content.rewind().map_err(failed)?;
        NewLayer::write(packing, |out| {
            let mut tar = TarWriter::new(out);
            let written = tar
                .begin(self.path.as_bytes(), &self.metadata, Item::File(size))
                .and_then(|()| io::copy(&mut (&self.content).take(size), &mut tar))
                .and_then(|_| tar.finish());
            written.map(drop).map_err(layer::Error::Output)
        })
    }
}

/// Copies a file's content, with zeros where it has holes.
fn copy(layers: &Layers, layer: usize, body: &Body, out: &mut impl Write) -> io::Result<()> {
    let whole = [layer::Extent { offset: 0, length: body.size }];
    let extents = body.extents().unwrap_or(&whole);
    let mut buffer = vec![0; BUFFER];
    let (mut at, mut stored) = (0, body.offset);
    for extent in extents {
        io::copy(&mut io::repeat(0).take(extent.offset.saturating_sub(at)), out)?;
        let mut rest = extent.length;
        while rest > 0 {
            let length = usize::try_from(rest).unwrap_or(usize::MAX).min(buffer.len());
            layers.read_exact_at(layer, &mut buffer[..length], stored)?;
            out.write_all(&buffer[..length])?;
            stored += length as u64;
            rest -= length as u64;
        }
        at = extent.offset.saturating_add(extent.length);
    }
    io::copy(&mut io::repeat(0).take(body.size.saturating_sub(at)), out).map(drop)
}
