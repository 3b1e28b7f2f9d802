//! How long a blob goes on with one connection when the destination has stood still.

use std::time::Duration;

use tokio::time::Instant;

use super::splits::REST;

/// How long the first time; twice as long each time, and at most [`REST`].
const FIRST: Duration = Duration::from_millis(500);

/// A destination may stand still for a moment, while it writes to its disk. Where it takes no more than one connection brings, each
/// attempt with several lies farther from the last, until one brings more.
#[derive(Debug, Default)]
pub(super) struct Pause {
    until: Option<Instant>,
    times: u32,
}

impl Pause {
    pub(super) fn begin(&mut self) {
        self.until = Some(Instant::now() + REST.min(FIRST * 2_u32.saturating_pow(self.times)));
        self.times += 1;
    }

    /// The next is as long as the first.
    pub(super) fn forget(&mut self) {
        self.times = 0;
    }

    /// Whether it is not over yet.
    pub(super) fn is_on(&self) -> bool {
        self.until.is_some_and(|until| Instant::now() < until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn twice_as_long_each_time() {
        let mut pause = Pause::default();
        assert!(!pause.is_on());
        for seconds in [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0] {
            pause.begin();
            tokio::time::advance(Duration::from_secs_f64(seconds - 0.01)).await;
            assert!(pause.is_on(), "{seconds}");
            tokio::time::advance(Duration::from_millis(10)).await;
            assert!(!pause.is_on(), "{seconds}");
        }
        pause.forget();
        pause.begin();
        tokio::time::advance(FIRST).await;
        assert!(!pause.is_on());
    }
}
