//! Reads, validates and builds images: their configuration, their merged file system, and small images from files.
//!
//! Floor 4 of the house, over any [`store::Store`].

mod build;
mod config;
mod error;
mod export;
mod feed;
mod spool;
pub mod validate;

pub use build::{Blob, Content, File, Layer, push, push_index};
pub use config::config;
pub use error::Error;
pub use export::{Export, export};
pub use validate::{Validation, validate};
