//! A cap on the rate of one direction.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// How far ahead of its rate a direction may run, in seconds: small enough that a second is never exceeded by much.
const BURST: Duration = Duration::from_millis(50);

/// So many bytes a second, for all who share it.
#[derive(Debug)]
pub(crate) struct Bandwidth {
    /// Seconds a byte.
    cost: f64,
    /// When what was taken so far has passed, at the rate.
    free_at: Mutex<Instant>,
}

impl Bandwidth {
    /// A cap of `rate` bytes a second, at least one.
    #[expect(clippy::cast_precision_loss, reason = "rates need no more digits")]
    pub(crate) fn new(rate: u64) -> Self {
        Self { cost: 1.0 / rate.max(1) as f64, free_at: Mutex::new(Instant::now()) }
    }

    /// Waits until so many bytes may have passed.
    #[expect(clippy::cast_precision_loss, reason = "pieces are small")]
    pub(crate) async fn take(&self, bytes: usize) {
        let due = {
            let mut free_at = self.free_at.lock().unwrap_or_else(PoisonError::into_inner);
            let now = Instant::now();
            let earliest = now.checked_sub(BURST).unwrap_or(now);
            *free_at = (*free_at).max(earliest) + Duration::from_secs_f64(bytes as f64 * self.cost);
            *free_at
        };
        tokio::time::sleep_until(due).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn everybody_together_keeps_the_rate() {
        let cap = Bandwidth::new(1_000_000);
        let start = Instant::now();
        let taking = (0..8).map(async |_| {
            for _ in 0..10 {
                cap.take(50_000).await;
            }
        });
        futures_util::future::join_all(taking).await;
        let took = start.elapsed().as_secs_f64();
        assert!((3.9..4.1).contains(&took), "4 MB in {took} s");
    }
}
