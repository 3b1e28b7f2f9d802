//! What happened, for whoever wants to show it. The library emits, a program draws.

use std::time::Duration;

use oci::{Descriptor, Tag};

/// Something that happened while manifests and blobs were read or written.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// It is known what will be moved at most. The first blobs may be under way by then.
    Planned {
        /// How many blobs.
        blobs: usize,
        /// How many bytes they have together.
        bytes: u64,
        /// How many of these bytes are there from an earlier attempt.
        kept: u64,
    },
    /// A blob's bytes begin to flow.
    BlobStarted {
        /// The blob.
        blob: &'a Descriptor,
        /// How many of its bytes are there already, from an attempt that was interrupted.
        kept: u64,
    },
    /// What flows of a blob that has just started does not come from where the source is, but from a cache on this machine.
    BlobCached(&'a Descriptor),
    /// So many more bytes of a blob have passed.
    BlobAdvanced(&'a Descriptor, u64),
    /// A blob's bytes have all passed and been verified.
    BlobDone(&'a Descriptor),
    /// The destination took a blob from another of its repositories.
    BlobMounted(&'a Descriptor),
    /// The destination had a blob already.
    BlobExisted {
        /// The blob.
        blob: &'a Descriptor,
        /// Whether it belongs to what is [`Planned`](Self::Planned) to move.
        planned: bool,
    },
    /// A manifest was written.
    ManifestDone {
        /// The reference it was written to.
        reference: &'a str,
        /// What was written.
        manifest: &'a Descriptor,
    },
    /// The destination had a manifest under this name already.
    ManifestExisted {
        /// The tag or digest it was found by.
        selector: &'a str,
        /// What was found.
        manifest: &'a Descriptor,
    },
    /// The destination had a tag of this name already, and nothing was to be overwritten.
    TagSkipped(&'a Tag),
    /// A request or a blob failed and is tried again.
    Retried {
        /// What failed, and why.
        reason: &'a str,
        /// How long is waited before.
        wait: Duration,
    },
    /// A host asked for patience: nothing is sent to it for so long.
    Limited {
        /// The host.
        host: &'a str,
        /// How long.
        wait: Duration,
    },
    /// A cache is of no use, wholly or for one content; the work goes on without.
    Uncached(&'a str),
    /// A registry said something to its users (RFC 9111, `Warning: 299`), or something is not as it should be that was no reason to stop.
    Warned(&'a str),
}

/// Gets the events, on whatever thread they happen; has to be quick.
pub trait Observer: Send + Sync {
    /// Takes one event.
    fn event(&self, event: &Event<'_>);
}

/// Ignores all events.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Observer for Silent {
    fn event(&self, _: &Event<'_>) {}
}
