//! The OCI registry server that hoist embeds: the [distribution specification] 1.1 on a directory of the local disk,
//! over HTTP/1.1 and HTTP/2 without TLS.
//!
//! ```
//! use server::{Server, Storage};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let directory = tempfile::tempdir()?;
//! let storage = Storage::open(directory.path())?;
//! let server = Server::bind("127.0.0.1:0".parse()?, storage).await?;
//! println!("serving on port {}", server.local_addr().port());
//! let server = server.observe(|access| println!("{} {} {}", access.method, access.path, access.status));
//! server.serve(async { /* until this is ready */ }).await;
//! # Ok(())
//! # }
//! # tokio::runtime::Runtime::new().unwrap().block_on(example()).unwrap();
//! ```
//!
//! # Promises
//!
//! - A blob, manifest, tag or deletion that was acknowledged (201, 202) is on the disk: written to a temporary file in
//!   the same file system, synchronised, renamed, and the directory synchronised.
//! - Nothing is kept only in memory. An upload session is a file; the file's length says how far the upload got, also
//!   after a restart. After a power failure a session may be shorter than it was, or hold other bytes: the digest of
//!   the finished blob is checked all the same.
//! - A repository has only the blobs that were pushed to it or mounted into it. Contents are kept once, whichever
//!   repositories have them.
//! - Memory is bounded whatever a client sends: blobs are hashed and written as they come, a manifest has at most 4 MiB,
//!   a page of a list at most 1000 entries.
//!
//! # Format
//!
//! All below the directory given to [`Storage::open`]. Names of repositories consist of parts that begin with a letter or
//! a digit, so what begins with `_` is never one.
//!
//! ```text
//! format                                        "hoist-registry 1"
//! lock                                          locked (flock) by the server; holds its process number until it
//!                                               ends in order
//! blobs/sha256/ab/abcd…/_content                the bytes of a blob
//! blobs/sha256/ab/abcd…/library+nginx           empty: the repository library/nginx has the blob
//! repositories/library/nginx/
//!     _manifests/sha256/abcd…                   a line with the media type, then the bytes of the manifest
//!     _tags/latest                              a line with a digest
//!     _referrers/sha256:SUBJECT…/sha256:abcd…   the descriptor that the list of SUBJECT's referrers shows
//! uploads/UUID/_content                         the bytes of an upload that came so far
//! uploads/UUID/library+nginx                    empty: the upload belongs to library/nginx
//! tmp/                                          files on their way; emptied when the storage is opened
//! ```
//!
//! An upload has the form of a blob, and becomes one by a rename of its directory. A manifest is there when its file is;
//! the entry for referrers is written before and does not count without it, the tag is written behind. The content of a
//! blob is removed with its last repository. Sessions that nobody wrote to for a week are removed.
//!
//! [distribution specification]: https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md

mod access;
mod api;
mod body;
mod error;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
mod name;
mod page;
mod query;
mod range;
mod route;
mod server;
mod storage;

pub use access::Access;
pub use error::Error;
pub use name::{NameError, RepositoryName};
pub use route::{Route, RouteError};
pub use server::Server;
pub use storage::Storage;
