//! One direction's capacity: bytes leave one after the other, at a rate.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How much of an overslept wait is made up for: a timer is late now and then, and the link must not be slower for it.
const LATE: Duration = Duration::from_millis(5);

/// A line of so many bytes a second; whoever holds it shares it.
#[derive(Debug)]
pub(crate) struct Line {
    rate: f64,
    free: Mutex<Instant>,
}

impl Line {
    pub(crate) fn new(rate: f64) -> Self {
        Self { rate, free: Mutex::new(Instant::now()) }
    }

    /// Takes the line for `bytes` after all that was given to it before; the moment when the last of them has left.
    pub(crate) fn take(&self, bytes: usize) -> Instant {
        #[expect(clippy::cast_precision_loss, reason = "pieces are small")]
        let needed = Duration::from_secs_f64(bytes as f64 / self.rate);
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let earliest = Instant::now().checked_sub(LATE).unwrap_or(*free);
        *free = (*free).max(earliest) + needed;
        *free
    }
}
