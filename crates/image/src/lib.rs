//! Reads, validates and builds images: their configuration, their merged file system, and small images from files.
//!
//! Floor 4 of the house, over any [`store::Store`].

mod append;
mod base;
mod build;
mod config;
mod created;
pub mod diff;
mod draft;
mod edit;
mod error;
mod export;
mod feed;
mod file;
mod files;
mod flatten;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
mod index;
pub mod inside;
mod legacy;
mod mutation;
mod new_layer;
mod overlay;
mod parts;
mod rebase;
mod replace;
mod spool;
pub mod validate;
mod windows;

pub use append::{Append, empty};
pub use base::{Base, BaseNote};
pub use build::{Blob, Content, File, Layer, push, push_index};
pub use config::config;
pub use created::{Created, CreatedError};
pub use diff::{Diff, diff};
pub use draft::Draft;
pub use edit::{Edit, Edited, edit};
pub use error::Error;
pub use export::{Export, export};
pub use file::ImageFile;
pub use files::Files;
pub use flatten::Flatten;
pub use index::{Addition, append_to_index, empty_index, filter_index};
pub use inside::{Inside, Looking};
pub use legacy::{LegacyImage, write_legacy};
pub use mutation::{Mutation, Setting};
pub use new_layer::{Content as LayerContent, Input, NewLayer, Packing};
pub use overlay::Overlay;
pub use rebase::{OldBase, Rebase};
pub use replace::{ReplaceConfig, ReplaceManifest};
pub use validate::{Validation, validate};
