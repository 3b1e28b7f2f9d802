//! The bytes inside a layer: compression, tar, table of contents, and the one merge of layers into a file system.
//!
//! Synchronous, and without a network. A layer goes through a [`Decoder`] into [`Table::scan`], which reads it once, keeps the inflated
//! bytes in a sink (an unlinked file, as a rule) and notes what is where. [`merge`] makes one file system of the tables of all
//! layers, and [`write_tar`] one archive of that, with contents read back from where they are kept. [`TarWriter`] and an
//! [`Encoder`] make new layers.
//!
//! ```
//! use layer::{Decoder, Item, Limits, Metadata, Table, TarWriter, merge, write_tar};
//!
//! // Two layers: a file, and a whiteout of it beside another file.
//! let mut lower = TarWriter::new(Vec::new());
//! lower.file(b"etc/old", &Metadata::new(0o644), 4, &b"old\n"[..])?;
//! let mut upper = TarWriter::new(Vec::new());
//! upper.file(b"etc/.wh.old", &Metadata::new(0o644), 0, &b""[..])?;
//! upper.begin(b"etc/new", &Metadata::new(0o777), Item::Symlink(b"/dev/null"))?;
//!
//! let (mut tables, mut inflated) = (Vec::new(), Vec::new());
//! for layer in [lower.finish()?, upper.finish()?] {
//!     let mut kept = Vec::new();
//!     tables.push(Table::scan(Decoder::new(&layer[..])?, &mut kept, Limits::default())?);
//!     inflated.push(kept);
//! }
//! let merged = merge(&tables)?;
//! assert_eq!(merged.nodes.len(), 1);
//! assert_eq!(*merged.nodes[0].path(), *b"etc/new");
//! let archive = write_tar(&merged, &inflated[..], Vec::new())?;
//! assert_eq!(archive.len(), 3 * 512);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod above;
mod changes;
mod decoder;
mod deflate;
mod encoder;
mod encoding;
mod entry;
mod error;
mod find;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
mod gzip;
mod header;
pub mod index;
mod limits;
mod merge;
mod path;
mod pax;
mod scan;
mod sparse;
mod table;
mod tee;
mod toc;
mod tree;
mod workers;
mod write;
mod writer;

pub use above::{Above, Seen};
pub use changes::{Change, changes, write_changes};
pub use decoder::{Compression, Decoder};
pub use encoder::Encoder;
pub use encoding::{Encoding, EncodingError};
pub use entry::{
    Body, Device, Entry, Extent, Kind, Metadata, Owner, Record, Records, Sparse, Time, Whiteout,
};
pub use error::Error;
pub use find::{FindError, Found, is_within, path_order};
pub use limits::Limits;
pub use merge::{Merged, Node, merge, merge_above, merge_newest};
pub use scan::Caught;
pub use table::{Table, copy_tar};
pub use toc::{Cover, Origin, Resumed, Toc, TocError};
pub use write::{Bodies, write_tar};
pub use writer::{Item, TarWriter, tar_header};
