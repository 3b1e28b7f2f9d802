//! A blob that is being put into a cache while it is read by others.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use futures_util::stream::{StreamExt, try_unfold};
use oci::Descriptor;
use store::{ByteStream, Kind, Placer};

use super::Cache;
use crate::blocking;
use crate::error::Error;
use crate::partial::{Begun, Partial};
use crate::placer::FilePlacer;

/// Such a blob. Whatever part of it anybody reads is written; when all is there it is complete.
pub(super) struct Fill {
    cache: Cache,
    placer: FilePlacer,
    /// What is reserved for it, in bytes.
    size: u64,
    /// Nothing more is written.
    ended: AtomicBool,
    /// It is complete.
    there: AtomicBool,
}

impl Drop for Fill {
    fn drop(&mut self) {
        self.cache.room().release(self.size, self.there.load(Ordering::Relaxed));
    }
}

impl Cache {
    /// What a blob is written to, if it may be kept, is not there, and no other process is at it.
    pub(super) async fn fill(&self, blob: &Descriptor) -> Option<Arc<Fill>> {
        if self.0.broken.load(Ordering::Relaxed) {
            return None;
        }
        let mut fills = self.0.fills.lock().await;
        fills.retain(|_, fill| fill.strong_count() > 0);
        if let Some(fill) = fills.get(&blob.digest).and_then(std::sync::Weak::upgrade) {
            return Some(fill);
        }
        let wanted = blob.clone();
        let begun =
            blocking::with(self, format!("writing blob {}", blob.digest), move |cache| cache.begin(&wanted));
        match begun.await {
            Ok(fill) => {
                let fill = Arc::new(fill?);
                fills.insert(blob.digest, Arc::downgrade(&fill));
                Some(fill)
            }
            Err(error) => {
                self.give_up(error.cause());
                None
            }
        }
    }

    fn begin(&self, blob: &Descriptor) -> Result<Option<Fill>, Error> {
        let limit = self.room().limit();
        if blob.size > limit {
            self.tell_once(
                &blob.digest,
                &format!("{} has {} bytes, more than the {limit} that may be kept", blob.digest, blob.size),
            );
            return Ok(None);
        }
        let blobs = self.make()?;
        let done = blobs.make(blob.digest.algorithm().name())?;
        let (partial, written) = match Partial::begin(blobs.again()?, done, blob, false) {
            Ok((Begun::Partial(partial), written)) => (partial, written),
            // What lies in its place is nobody else's trouble.
            Ok((Begun::Existed | Begun::Busy, _)) | Err(Error::Link(_) | Error::NoFile(_)) => {
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        let placer = partial.placer(format!("writing blob {}", blob.digest), blob, written)?;
        if !self.room().reserve(blobs, blob.size)? {
            placer.give_up();
            return Ok(None);
        }
        Ok(Some(Fill {
            cache: self.clone(),
            placer,
            size: blob.size,
            ended: AtomicBool::new(false),
            there: AtomicBool::new(false),
        }))
    }

    /// The same stream, which begins with the blob's byte `start`, and all of which is written too.
    pub(super) fn tee(stream: ByteStream, start: u64, fill: Arc<Fill>) -> ByteStream {
        let state = (stream, start, Some(fill));
        try_unfold(state, |(mut stream, at, mut fill)| {
            async move {
                let Some(bytes) = stream.next().await.transpose()? else { return Ok(None) };
                let next = at.saturating_add(bytes.len() as u64);
                if let Some(filling) = fill.take() {
                    fill = filling.take(at, &bytes).await.then_some(filling);
                }
                // Whoever brings the last byte completes it; most streams end before their end.
                if let Some(filling) = &fill {
                    filling.settle().await;
                }
                Ok(Some((bytes, (stream, next, fill))))
            }
        })
        .boxed()
    }
}

impl Fill {
    /// Takes bytes; whether it takes more.
    async fn take(&self, at: u64, bytes: &Bytes) -> bool {
        if self.ended.load(Ordering::Relaxed) {
            return false;
        }
        match self.placer.write_at(at, bytes.clone()).await {
            Ok(()) => true,
            Err(error) => {
                if !self.ended.swap(true, Ordering::Relaxed) {
                    self.placer.give_up();
                    if error.kind() != Kind::Invalid {
                        self.cache.give_up(error.cause());
                    }
                }
                false
            }
        }
    }

    /// Completes the blob, if all of it is there. Bytes that were wrong are dropped, and told by whoever reads them.
    pub(super) async fn settle(&self) {
        if !self.placer.is_full() || self.ended.swap(true, Ordering::Relaxed) {
            return;
        }
        match self.placer.complete().await {
            Ok(()) => self.there.store(true, Ordering::Relaxed),
            Err(Error::Verify(_) | Error::Damaged) => {}
            Err(error) => self.cache.give_up(&error),
        }
    }

    /// Whether all of it is there, be it complete or not.
    pub(super) fn is_full(&self) -> bool {
        self.placer.is_full()
    }
}
