//! Moves graphs of manifests and blobs between stores.
//!
//! Floor 3 of the house. [`Graph::walk`] finds everything that a manifest stands on, [`plan`] decides without any I/O what
//! has to be done and in which order, and a [`Transfer`] does it: blobs first, several at once and the largest first, then
//! manifests from the leaves up, and the name that was wanted last. Whatever goes wrong on the way, nothing is named that
//! is not whole.
//!
//! ```
//! use std::sync::Arc;
//!
//! use bytes::Bytes;
//! use oci::{Manifest, MediaType, Tag};
//! use store::{MemoryStore, Silent, Store};
//! use transfer::{Options, Transfer};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let (here, there) = (MemoryStore::new("here"), MemoryStore::new("there"));
//! let config = here.insert(Bytes::from_static(b"{}"), MediaType::OCI_EMPTY);
//! let json = format!(
//!     r#"{{"schemaVersion":2,"config":{{"mediaType":"{}","digest":"{}","size":2}},"layers":[]}}"#,
//!     config.media_type, config.digest
//! );
//! here.put_manifest(&Tag::latest().into(), &Manifest::new(Bytes::from(json), None)?).await?;
//!
//! let transfer = Transfer::new(Arc::new(here), Arc::new(there.clone()), Options::default(), Arc::new(Silent));
//! let copied = transfer.copy(&Tag::latest().into(), &Tag::latest().into()).await?;
//! assert_eq!(copied.moved, 1);
//! assert_eq!(there.resolve(&Tag::latest().into()).await?, copied.descriptor);
//! # Ok(())
//! # }
//! ```

mod bandwidth;
mod blob;
mod crowd;
mod delete;
mod error;
mod graph;
mod listing;
mod machine;
mod memo;
mod missing;
mod naming;
mod options;
mod paced;
mod parts;
mod plan;
mod schema1;
mod select;
mod survey;
mod tags;
mod transfer;
mod turns;

pub use blob::Fate;
pub use delete::{DeleteOptions, Deleted, delete};
pub use error::Error;
pub use graph::{Graph, Limits, Node, Walk};
pub use naming::tag;
pub use options::Options;
pub use plan::{Move, Plan, plan};
pub use select::{child, choose, select};
pub use survey::{Preview, Todo};
pub use tags::{CopiedTags, TagsPreview};
pub use transfer::{Copied, Transfer};

use oci::Selector;
use store::Store;

/// How messages write one manifest of a store, such as `localhost:5000/nginx:1.25`.
fn reference(store: &dyn Store, selector: &Selector) -> String {
    match selector {
        Selector::Tag(tag) => format!("{}:{tag}", store.name()),
        Selector::Digest(digest) => format!("{}@{digest}", store.name()),
    }
}
