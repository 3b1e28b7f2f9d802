//! The bytes inside a layer: compression, tar, table of contents, and the one merge of layers into a file system.

mod decoder;
mod entry;
mod error;
mod gzip;
mod header;
mod merge;
mod path;
mod pax;
mod scan;
mod sparse;
mod table;
mod tee;
mod tree;
mod write;
mod writer;

pub use decoder::{Compression, Decoder};
pub use entry::{Body, Device, Entry, Extent, Kind, Metadata, Record, Time, Whiteout};
pub use error::Error;
pub use gzip::gzip_encoder;
pub use merge::{Merged, Node, merge};
pub use scan::Limits;
pub use table::Table;
pub use write::{Bodies, write_tar};
pub use writer::{Item, TarWriter};
