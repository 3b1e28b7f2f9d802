//! Layers for Windows: what was packed elsewhere, laid out as its runtime wants it.

use std::io::{BufReader, Seek};

use layer::{
    Compression, Decoder, Encoding, Entry, Kind, Limits, Merged, Metadata, Node, Record, Table, write_tar,
};

use crate::{Error, NewLayer, Packing};

/// What is read at a time, in bytes.
const BUFFER: usize = 256 << 10;

/// Where a layer has its files, and where its registry hives.
const FILES: &[u8] = b"Files";
const HIVES: &[u8] = b"Hives";

/// The security descriptor `O:BUG:BU` in base64: owner and group are the users, so that they may execute it (MS-DTYP, 2.4.6).
const USERS: &[u8] = b"AQAAgBQAAAAkAAAAAAAAAAAAAAABAgAAAAAABSAAAAAhAgAAAQIAAAAAAAUgAAAAIQIAAA==";

/// The record that has it.
const DESCRIPTOR: &[u8] = b"MSWINDOWS.rawsd";

/// Lays a layer out for Windows, unless it is so already: its files go under `Files/`. For a blocking thread.
pub(crate) fn for_windows(layer: NewLayer) -> Result<NewLayer, Error> {
    let packing = Packing::new(Some(match layer.compression {
        Compression::None => Encoding::None,
        Compression::Gzip => Encoding::GZIP,
        Compression::Zstd => Encoding::ZSTD,
    }));
    let failed = |source| Error::Spool { folder: packing.folder.display().to_string(), source };
    let mut file = layer.file.try_clone().map_err(failed)?;
    file.rewind().map_err(failed)?;
    let mut inflated = tempfile::tempfile_in(&packing.folder).map_err(failed)?;
    let decoder = Decoder::new(BufReader::with_capacity(BUFFER, file)).map_err(failed)?;
    let table = Table::scan(decoder, &mut inflated, Limits::default())
        .map_err(|source| Error::NotALayer { name: layer.digest.to_string(), source })?;
    if table.entries.iter().all(is_laid_out) {
        return Ok(layer);
    }
    let directory =
        |path: &[u8]| Entry { path: path.into(), kind: Kind::Directory, metadata: Metadata::new(0o555) };
    let mut entries = vec![directory(FILES), directory(HIVES)];
    entries.extend(table.entries.into_iter().filter(|entry| !entry.path.is_empty()).map(lay_out));
    let nodes = entries.iter().map(Node::of).collect();
    let whole = Merged { nodes };
    NewLayer::write(&packing, |out| write_tar(&whole, &[inflated][..], out).map(drop))
}

fn is_laid_out(entry: &Entry) -> bool {
    let top = entry.path.split(|byte| *byte == b'/').next().unwrap_or_default();
    [b"", FILES, HIVES, b"UtilityVM"].contains(&top)
}

fn lay_out(entry: Entry) -> Entry {
    let below = |path: &[u8]| [FILES, b"/", path].concat().into_boxed_slice();
    let mut metadata = entry.metadata;
    let other = metadata.records.iter().filter(|record| *record.name != *DESCRIPTOR).cloned();
    let descriptor = Record { name: DESCRIPTOR.into(), value: USERS.into() };
    metadata.records = other.chain([descriptor]).collect();
    let kind = match entry.kind {
        Kind::HardLink(target) => Kind::HardLink(below(&target)),
        kind => kind,
    };
    Entry { path: below(&entry.path), kind, metadata }
}
