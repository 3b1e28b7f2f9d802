//! Places on this machine as a [`Store`](store::Store): OCI image layout directories, archives of images, and skopeo's
//! directories; and a [`Cache`] before places that are far away.
//!
//! A [`Layout`] is read and written as the image specification says (image-layout.md): `oci-layout`, `index.json`, and
//! `blobs/<algorithm>/<hex>`. What is being written lies in `blobs/.partial/` until it has proved right; whoever comes
//! after a process that died goes on there. Several processes may write one layout at once.
//!
//! ```
//! use bytes::Bytes;
//! use local::Layout;
//! use oci::{Manifest, Tag};
//! use store::Store;
//!
//! # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
//! # let directory = tempfile::tempdir()?;
//! # let path = directory.path().join("images");
//! let layout = Layout::create(&path)?;
//! let index = Manifest::new(Bytes::from_static(b"{\"schemaVersion\":2,\"manifests\":[]}"), None)?;
//! layout.put_manifest(&Tag::latest().into(), &index).await?;
//! assert_eq!(layout.manifest(&index.digest().into()).await?, index);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod archive;
mod blocking;
mod cache;
mod catalog;
mod collect;
mod content;
mod daemon;
mod directory;
mod error;
mod folder;
mod index;
mod journal;
mod layout;
mod make;
mod name;
mod partial;
mod pieces;
mod placer;
mod sweep;
mod tables;

pub use archive::{Archive, ArchiveFormat, ArchiveName, ArchiveNameError, NewArchive, Wanted};
pub use cache::{Cache, CacheEntry, Cached, Freed};
pub use collect::Garbage;
pub use daemon::{Daemon, DaemonAddressError};
pub use directory::Directory;
pub use error::Error;
pub use layout::Layout;
pub use name::{LayoutName, LayoutNameError};
pub use tables::{TableEntry, Tables};
