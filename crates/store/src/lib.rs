//! The trait of every place that holds manifests and blobs, what happens there as events, and a store in memory.
//!
//! A [`Store`] is one repository: on a registry, in memory, and whatever else keeps blobs by digest and manifests by
//! name. All verbs that read or copy are written against it.
//!
//! ```
//! use bytes::Bytes;
//! use oci::{Manifest, Selector, Tag};
//! use store::{MemoryStore, Store};
//!
//! # futures_util::FutureExt::now_or_never(async {
//! let store = MemoryStore::new("example");
//! let index = Manifest::new(Bytes::from_static(b"{\"manifests\":[]}"), None)?;
//! store.put_manifest(&Tag::latest().into(), &index).await?;
//! let read = store.manifest(&Selector::Digest(index.digest())).await?;
//! assert_eq!(read.raw(), index.raw());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # }).unwrap().unwrap();
//! ```

#[cfg(feature = "conformance")]
pub mod conformance;
mod error;
mod event;
mod memory;
mod referrers;
mod stream;

use std::fmt::Debug;
use std::ops::Range;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use oci::{Descriptor, Digest, Manifest, Repository, Selector, Tag};

pub use error::{Error, Kind};
pub use event::{Event, Observer, Silent};
pub use memory::MemoryStore;
pub use referrers::{of_type, referrers_by_tag};
pub use stream::{ByteStream, collect, verified};

/// A place that holds blobs by digest and manifests by tag and digest.
///
/// Errors carry what was being done to what; [`Error::kind`] is what a caller can act on.
#[async_trait]
pub trait Store: Debug + Send + Sync {
    /// How messages name it, such as `localhost:5000/nginx`.
    fn name(&self) -> String;

    /// The descriptor of a manifest, without fetching it where the place can tell.
    ///
    /// # Errors
    /// [`Kind::NotFound`] if there is none.
    async fn resolve(&self, selector: &Selector) -> Result<Descriptor, Error>;

    /// A manifest's bytes, checked against the digest if that was asked for.
    ///
    /// # Errors
    /// [`Kind::NotFound`]; [`Kind::Invalid`] if the bytes are not what was asked for, are no manifest or are too many.
    async fn manifest(&self, selector: &Selector) -> Result<Manifest, Error>;

    /// Keeps a manifest under a name; everything it refers to has to be there.
    ///
    /// # Errors
    /// [`Kind::Invalid`] if the place refuses it.
    async fn put_manifest(&self, selector: &Selector, manifest: &Manifest) -> Result<(), Error>;

    /// Takes a tag away, and nothing else; or the manifest of a digest, and with it all its tags.
    ///
    /// # Errors
    /// [`Kind::NotFound`] if there is none, [`Kind::Unsupported`] where the place cannot do this: some delete by digest
    /// only, some not at all.
    async fn delete(&self, selector: &Selector) -> Result<(), Error> {
        let doing = format!("deleting {selector} from {}", self.name());
        Err(Error::new(Kind::Unsupported, doing, "this kind of place deletes nothing"))
    }

    /// The descriptors of the manifests whose subject is `subject`, page by page; of one artifact type if that is asked
    /// for. A place that keeps no list of them reads the index behind the fallback tag: [`referrers_by_tag`].
    fn referrers<'a>(
        &'a self,
        subject: &'a Digest,
        artifact_type: Option<&'a str>,
    ) -> BoxStream<'a, Result<Vec<Descriptor>, Error>> {
        futures_util::stream::once(referrers_by_tag(self, subject, artifact_type)).boxed()
    }

    /// The tags, in the order of the place, page by page.
    fn tags(&self) -> BoxStream<'_, Result<Vec<Tag>, Error>>;

    /// Whether a blob is there.
    ///
    /// # Errors
    /// Only if that could not be found out.
    async fn contains(&self, blob: &Descriptor) -> Result<bool, Error>;

    /// The descriptor of a blob that is known by its digest alone, as docker's schema 1 names its layers. Its media
    /// type is [`MediaType::OCTET_STREAM`](oci::MediaType::OCTET_STREAM).
    ///
    /// # Errors
    /// [`Kind::NotFound`] if there is none, [`Kind::Unsupported`] where the place cannot tell a blob's length.
    async fn resolve_blob(&self, digest: &Digest) -> Result<Descriptor, Error> {
        let doing = format!("asking {} for the length of blob {digest}", self.name());
        Err(Error::new(Kind::Unsupported, doing, "this kind of place cannot tell it"))
    }

    /// A blob's bytes of `range` (in bytes, within the blob's size). They come as they are: [`verified`] checks them.
    /// A connection that breaks is mended within the stream where the place can.
    ///
    /// # Errors
    /// [`Kind::NotFound`] if there is no such blob.
    async fn read(&self, blob: &Descriptor, range: Range<u64>) -> Result<ByteStream, Error>;

    /// Begins to write a blob. With `origin`, a place that can take it from there without the bytes passing through
    /// here does so; a refusal is no error, the answer then is a writer.
    ///
    /// # Errors
    /// [`Kind::Denied`] and the like if it may not be written.
    async fn write(&self, blob: &Descriptor, origin: Option<&Repository>) -> Result<Opened, Error>;

    /// What another repository of the same registry can mount this one's blobs from.
    fn origin(&self) -> Option<&Repository> {
        None
    }
}

/// The answer to the wish to write a blob.
pub enum Opened {
    /// It came from the origin; nothing is left to do.
    Mounted,
    /// The bytes are to be written.
    Writer(Box<dyn Writer>),
}

impl Debug for Opened {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Mounted => "Mounted",
            Self::Writer(_) => "Writer",
        })
    }
}

/// A blob that is being written. Dropped without [`Writer::commit`], it leaves no blob behind; [`Writer::abandon`] also
/// gives back what the place keeps of an upload that has begun.
#[async_trait]
pub trait Writer: Send {
    /// Takes the next bytes; waits while the place is busy.
    ///
    /// # Errors
    /// [`Kind::Interrupted`] if beginning anew may help.
    async fn write(&mut self, bytes: Bytes) -> Result<(), Error>;

    /// Ends the blob; when this returns it is there under its digest.
    ///
    /// # Errors
    /// [`Kind::Invalid`] if the bytes were not the blob's, [`Kind::Interrupted`] if beginning anew may help.
    async fn commit(self: Box<Self>) -> Result<(), Error>;

    /// Gives the blob up. A place that cannot be told keeps what it has, until it expires there.
    async fn abandon(self: Box<Self>) {}
}
