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
mod expected;
mod in_order;
mod memory;
mod pace;
mod referrers;
mod stream;

use std::fmt::Debug;
use std::fs::File;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use oci::{Descriptor, Digest, Manifest, Repository, Selector, Tag};

pub use error::{Error, Kind};
pub use event::{Event, Observer, Silent};
pub use expected::{Expected, Replaced, present};
pub use in_order::in_order;
pub use memory::MemoryStore;
pub use pace::{Pace, Slot};
pub use referrers::{of_type, referrers_by_tag};
pub use stream::{ByteStream, PIECE, collect, file_pieces, pieces, verified};

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

    /// Gets ready for a first question, as far as that is no question itself. What fails here fails again, with a reason,
    /// when there is one.
    async fn prepare(&self) {}

    /// Gets ready for many exchanges at once, as far as that is none itself.
    async fn expect_many(&self) {}

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

    /// The same, if the name stands for what is expected; else nothing is done. A place that cannot do both in one looks
    /// first: then somebody may come between.
    ///
    /// # Errors
    /// Those of [`put_manifest`](Self::put_manifest), and if it could not be found out what the name stands for.
    async fn replace_manifest(
        &self,
        selector: &Selector,
        manifest: &Manifest,
        expected: Expected,
    ) -> Result<Replaced, Error> {
        let found = present(self, selector).await?.map(|found| found.digest);
        if !expected.is(found) {
            return Ok(Replaced::Refused(found));
        }
        self.put_manifest(selector, manifest).await?;
        Ok(Replaced::Done)
    }

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

    /// Sees to it that a manifest which is here is found as one that refers to its subject, where that is for clients to do: they
    /// keep an index behind a tag then (distribution specification, "Referrers Tag Schema"). The tag, if there was none before.
    ///
    /// # Errors
    /// [`Kind::Invalid`] if something else has the tag; those of [`put_manifest`](Self::put_manifest).
    async fn list_referrer(&self, _: &Manifest) -> Result<Option<Tag>, Error> {
        Ok(None)
    }

    /// Takes a manifest that is about to be deleted here out of the list of what refers to its subject, where clients keep that list
    /// (distribution specification, "Referrers Tag Schema"). Whether it was there.
    ///
    /// # Errors
    /// Those of [`list_referrer`](Self::list_referrer).
    async fn unlist_referrer(&self, _: &Manifest) -> Result<bool, Error> {
        Ok(false)
    }

    /// Whether manifests that are read here are counted, so that one too many does harm.
    fn counts_manifests(&self) -> bool {
        false
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

    /// A file of this machine that has all of a blob and nothing else, where the place keeps it so. Its bytes are as they
    /// are: whoever finds them wrong says so with [`doubt`](Self::doubt).
    async fn file(&self, _: &Descriptor) -> Option<Arc<File>> {
        None
    }

    /// Hears that the [`file`](Self::file) of a blob was of no use: its bytes were wrong, or could not be read. Whether it
    /// can give them in another way, which it does from now on: so that is true once a blob.
    async fn doubt(&self, _: &Descriptor) -> bool {
        false
    }

    /// Whether parts of a blob can be read side by side, and with any gain. Where nothing is known yet, the first
    /// [`read`](Self::read) of a part teaches it.
    fn ranges(&self) -> Ranges {
        Ranges::No
    }

    /// Begins to write a blob, or goes on with what an earlier attempt left behind. With `origin`, a place that can take
    /// it from there without the bytes passing through here does so; a refusal is no error, the answer then is a writer.
    ///
    /// # Errors
    /// [`Kind::Denied`] and the like if it may not be written.
    async fn write(&self, blob: &Descriptor, origin: Option<&Repository>) -> Result<Opened, Error>;

    /// Hears what is about to be written, in the order in which it would best be: for a place that lays its content out
    /// before the first byte. Those that do not come are missing in the end; others may come besides.
    ///
    /// # Errors
    /// If the place cannot be written to.
    async fn lay_out(&self, _: &[Descriptor]) -> Result<(), Error> {
        Ok(())
    }

    /// Whether blobs have to come one after another, as they were laid out.
    fn in_order(&self) -> bool {
        false
    }

    /// Hears that nothing more is written. A place that is complete only as a whole, as an archive is, becomes so now.
    ///
    /// # Errors
    /// If the place could not be completed; what was there before is there still.
    async fn finish(&self) -> Result<(), Error> {
        Ok(())
    }

    /// How many bytes of a blob an earlier attempt left here that [`write`](Self::write) hopes to go on with, as far as
    /// this is known without asking anybody.
    async fn kept(&self, _: &Descriptor) -> u64 {
        0
    }

    /// What another repository of the same registry can mount this one's blobs from. All that this place has is there too.
    fn origin(&self) -> Option<&Repository> {
        None
    }

    /// The same for one blob, of a place that has its content from several.
    fn origin_of(&self, _: &Descriptor) -> Option<&Repository> {
        self.origin()
    }

    /// Whether a blob or a manifest has just been made here, so that hardly anybody else has it.
    fn is_new(&self, _: &Descriptor) -> bool {
        false
    }

    /// A repository of the same registry that is remembered to have the blob, so that it may be mounted from there.
    fn seen(&self, _: &Descriptor) -> Option<Repository> {
        None
    }

    /// How much this place takes at once; `None` where only this machine is the limit. Stores of one host share it.
    fn pace(&self) -> Option<&Arc<Pace>> {
        None
    }
}

/// Whether a place sends parts of a blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ranges {
    /// It does, and over several connections at once they may come faster.
    Yes,
    /// It does not, or nothing is gained by it.
    No,
    /// Nobody has asked it yet.
    Unknown,
}

/// The answer to the wish to write a blob.
pub enum Opened {
    /// It came from the origin; nothing is left to do.
    Mounted,
    /// It is there by now; nothing is left to do.
    Existed,
    /// The bytes are to be written in order.
    Writer(Box<dyn Writer>),
    /// The bytes may be written in any order, and several pieces at once.
    Placer(Box<dyn Placer>),
}

impl Debug for Opened {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Mounted => "Mounted",
            Self::Existed => "Existed",
            Self::Writer(_) => "Writer",
            Self::Placer(_) => "Placer",
        })
    }
}

/// A blob that is being written from its beginning to its end. It checks the bytes and never completes a wrong blob.
///
/// Dropped without [`Writer::commit`], it leaves no blob behind, but what has been written is kept where the place can go
/// on with it ([`Store::write`] then does); [`Writer::abandon`] leaves nothing.
#[async_trait]
pub trait Writer: Send {
    /// The byte to begin with: those before it are there from an earlier attempt.
    fn offset(&self) -> u64 {
        0
    }

    /// Takes the next bytes; waits while the place is busy.
    ///
    /// # Errors
    /// [`Kind::Interrupted`] if opening the blob again may help; [`Kind::Invalid`] if these are not the blob's bytes.
    async fn write(&mut self, bytes: Bytes) -> Result<(), Error>;

    /// Ends the blob; when this returns it is there under its digest.
    ///
    /// # Errors
    /// [`Kind::Invalid`] if the bytes were not the blob's: then nothing is kept of them. [`Kind::Interrupted`] if opening
    /// the blob again may help.
    async fn commit(self: Box<Self>) -> Result<(), Error>;

    /// Gives the blob up, with all that was written. A place that cannot be told keeps what it has, until it expires
    /// there.
    async fn abandon(self: Box<Self>) {}
}

/// A blob that is being written piece by piece, in any order, by several tasks at once. It checks the bytes and never
/// completes a wrong blob. Dropped without [`Placer::commit`], it leaves no blob behind, but keeps the pieces: the next
/// [`Store::write`] goes on with them.
#[async_trait]
pub trait Placer: Send + Sync {
    /// What is not there yet, in order, apart from each other and not empty.
    fn missing(&self) -> Vec<Range<u64>>;

    /// Writes bytes where they belong: `at` is the blob's byte that they begin with. When it returns they are not missing
    /// any more.
    ///
    /// # Errors
    /// [`Kind::Other`] and the like if the place cannot take them; [`Kind::Invalid`] if they lie beyond the blob's end.
    async fn write_at(&self, at: u64, bytes: Bytes) -> Result<(), Error>;

    /// Takes all of the blob from a file that has nothing else, without a copy of the bytes, where nothing is written yet
    /// and the file system lets two files share them until one is changed. Whether it did; a file that is hard-linked to
    /// another would change with it, and is no such thing.
    async fn share(&self, _: &Arc<File>) -> bool {
        false
    }

    /// Ends the blob; when this returns it is there under its digest.
    ///
    /// # Errors
    /// [`Kind::Invalid`] if bytes are missing, or were not the blob's: then nothing is kept of them.
    async fn commit(self: Box<Self>) -> Result<(), Error>;

    /// Gives the blob up, with all that was written.
    async fn abandon(self: Box<Self>);
}
