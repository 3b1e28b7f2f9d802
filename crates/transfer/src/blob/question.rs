//! Whether a source sends parts of blobs: its answer to the wish for one byte tells.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use oci::Descriptor;
use store::{Error as StoreError, Ranges};
use tokio::task::JoinHandle;

use crate::transfer::Run;

impl Run {
    /// Whether the source sends parts of blobs; it is asked, in its turn, if that is not known.
    pub(super) async fn sends_parts(&self, blob: &Descriptor, age: u64) -> Result<bool, StoreError> {
        if self.source.ranges() == Ranges::Unknown {
            let _turn = self.turns.helper(age).await;
            if self.source.ranges() == Ranges::Unknown {
                drop(self.source.read(blob, blob.size - 1..blob.size).await?);
            }
        }
        Ok(self.source.ranges() == Ranges::Yes)
    }
}

/// The question, asked while a blob comes; given up when dropped.
pub(super) struct Question {
    run: Arc<Run>,
    asking: JoinHandle<()>,
}

impl Question {
    /// Asks, if nobody does or has.
    pub(super) fn ask(run: &Arc<Run>, blob: &Descriptor) -> Option<Self> {
        let open = run.source.ranges() == Ranges::Unknown && !run.turns.are_of_one_host();
        if !open || run.asks_for_parts.swap(true, Ordering::Relaxed) {
            return None;
        }
        let (asking, blob) = (Arc::clone(run), blob.clone());
        let asking = tokio::spawn(async move {
            // Without an answer nothing is split, and what is wrong with the source shows in the blobs themselves.
            let _ = asking.sends_parts(&blob, 0).await;
        });
        Some(Self { run: Arc::clone(run), asking })
    }
}

impl Drop for Question {
    fn drop(&mut self) {
        self.asking.abort();
        if self.run.source.ranges() == Ranges::Unknown {
            // Another blob may ask.
            self.run.asks_for_parts.store(false, Ordering::Relaxed);
        }
    }
}
