//! Blobs that this machine has as files, in a layout or in a cache before the source.

use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use oci::Descriptor;
use store::{ByteStream, Error as StoreError, Event, Kind};

use crate::transfer::Run;
use crate::turns::Turn;

/// Such a file. Nobody has looked whether its bytes are right: the destination will.
#[derive(Clone)]
pub(super) struct Held {
    pub(super) file: Arc<File>,
    /// What errors say.
    doing: String,
    /// Whether the source itself is elsewhere.
    cached: bool,
}

impl Run {
    /// The file of a blob, if there is one. Not for a destination that cannot take back what it was given, as a stream
    /// cannot: that one gets what has been proven.
    pub(super) async fn held(&self, blob: &Descriptor) -> Option<Held> {
        if blob.embedded().is_some() || self.destination.in_order() {
            return None;
        }
        let file = self.source.file(blob).await?;
        let doing = format!("reading blob {}", blob.digest);
        Some(Held { file, doing, cached: self.source.pace().is_some() && !self.source.is_new(blob) })
    }

    /// Tells that a blob does not come from where the source is, which others may read from meanwhile.
    pub(super) fn tell_held(&self, blob: &Descriptor, held: Option<&Held>, turn: &mut Turn) {
        if held.is_some_and(|held| held.cached) {
            turn.end_reading();
            self.observer.event(&Event::BlobCached(blob));
        }
    }
}

impl Held {
    /// The blob's bytes of `range`.
    pub(super) fn read(&self, range: Range<u64>) -> ByteStream {
        store::file_pieces(Arc::clone(&self.file), range, self.doing.clone())
    }

    /// Fills a buffer with the bytes from `at` on; may wait for the disk.
    pub(super) fn read_here(&self, buffer: &mut [u8], at: u64) -> Result<(), StoreError> {
        let read = self.file.read_exact_at(buffer, at);
        read.map_err(|error| StoreError::new(Kind::Other, &*self.doing, error))
    }
}
