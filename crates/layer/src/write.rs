//! A merged file system as a tar archive.

use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::FileExt;

use crate::entry::{Body, Kind};
use crate::error::quote;
use crate::tee::BUFFER;
use crate::{Error, Item, Merged, Node, TarWriter};

/// Where the inflated bytes of layers are kept. A slice of files or of byte vectors, one a layer, will do.
pub trait Bodies {
    /// Fills `buffer` with bytes of the inflated layer of this index (from the bottom, from zero), beginning at `offset`.
    ///
    /// # Errors
    ///
    /// `UnexpectedEof` when the layer has fewer bytes, `NotFound` when there is no such layer, or what the storage says.
    fn read_exact_at(&self, layer: usize, buffer: &mut [u8], offset: u64) -> io::Result<()>;
}

impl Bodies for [File] {
    fn read_exact_at(&self, layer: usize, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.get(layer).ok_or(ErrorKind::NotFound)?.read_exact_at(buffer, offset)
    }
}

impl Bodies for [Vec<u8>] {
    fn read_exact_at(&self, layer: usize, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let bytes = self.get(layer).ok_or(ErrorKind::NotFound)?;
        let rest = usize::try_from(offset).ok().and_then(|offset| bytes.get(offset..));
        let part = rest.and_then(|rest| rest.get(..buffer.len())).ok_or(ErrorKind::UnexpectedEof)?;
        buffer.copy_from_slice(part);
        Ok(())
    }
}

/// Writes a merged file system as a tar archive, and gives the output back, flushed.
///
/// Parents come before children and files before hard links to them; nothing of the metadata is lost; the same layers give
/// the same bytes. GNU tar, bsdtar, Go and Python read it.
///
/// # Errors
///
/// [`Error::Body`] when content cannot be read back, [`Error::Output`] when the output fails. The archive is incomplete then,
/// and a reader notices.
pub fn write_tar<W: Write>(merged: &Merged<'_>, bodies: &(impl Bodies + ?Sized), out: W) -> Result<W, Error> {
    let mut tar = TarWriter::new(out);
    let mut buffer = vec![0; BUFFER];
    for node in &merged.nodes {
        let first = node.link().and_then(|first| merged.nodes.get(first));
        write_node(&mut tar, node, first.map(Node::path), bodies, &mut buffer)?;
    }
    tar.finish().map_err(Error::Output)
}

/// Writes one node: as a hard link, if the path of another name of it is given.
pub(crate) fn write_node<W: Write>(
    tar: &mut TarWriter<W>,
    node: &Node<'_>,
    first: Option<&[u8]>,
    bodies: &(impl Bodies + ?Sized),
    buffer: &mut [u8],
) -> Result<(), Error> {
    let item = first.map_or_else(|| item(node), Item::HardLink);
    tar.begin(node.path(), &node.entry.metadata, item).map_err(Error::Output)?;
    match (&node.entry.kind, first) {
        (Kind::File(body), None) => copy(tar, bodies, node, body, buffer),
        _ => Ok(()),
    }
}

fn item<'a>(node: &'a Node<'_>) -> Item<'a> {
    match &node.entry.kind {
        Kind::File(Body { sparse: None, size, .. }) => Item::File(*size),
        Kind::File(Body { sparse: Some(sparse), size, .. }) => {
            Item::Sparse { size: *size, extents: &sparse.extents }
        }
        Kind::Directory => Item::Directory,
        Kind::Symlink(target) => Item::Symlink(target),
        Kind::HardLink(target) => Item::HardLink(target),
        Kind::CharacterDevice(device) => Item::CharacterDevice(*device),
        Kind::BlockDevice(device) => Item::BlockDevice(*device),
        Kind::Fifo => Item::Fifo,
    }
}

/// Copies the stored bytes of a file.
fn copy<W: Write>(
    tar: &mut TarWriter<W>,
    bodies: &(impl Bodies + ?Sized),
    node: &Node<'_>,
    body: &Body,
    buffer: &mut [u8],
) -> Result<(), Error> {
    let mut done = 0;
    while done < body.stored() {
        let length = usize::try_from(body.stored() - done).unwrap_or(usize::MAX).min(buffer.len());
        let part = &mut buffer[..length];
        let read = body.offset.checked_add(done).ok_or(ErrorKind::UnexpectedEof.into());
        let read = read.and_then(|offset| bodies.read_exact_at(node.layer(), part, offset));
        read.map_err(|source| Error::Body { layer: node.layer(), path: quote(node.path()), source })?;
        tar.write_all(part).map_err(Error::Output)?;
        done += length as u64;
    }
    Ok(())
}
