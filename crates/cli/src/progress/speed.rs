//! How fast bytes move just now.

use std::collections::VecDeque;
use std::time::Duration;

/// How far back it looks: long enough to be steady, short enough to notice that nothing moves any more.
const WINDOW: Duration = Duration::from_secs(15);

/// Less than this says nothing yet.
const LEAST: Duration = Duration::from_secs(1);

/// The mean over the last seconds. After a stall as long as the window it is zero, and never what it was long ago.
#[derive(Debug, Default)]
pub(super) struct Speed(VecDeque<(Duration, u64)>);

impl Speed {
    /// Notes that `moved` bytes have moved in all at a time since the beginning. Returns the bytes a second, as soon as
    /// they are known.
    pub(super) fn note(&mut self, now: Duration, moved: u64) -> Option<u64> {
        self.0.push_back((now, moved));
        // One sample as old as the window stays.
        while self.0.get(1).is_some_and(|(then, _)| now.saturating_sub(*then) >= WINDOW) {
            self.0.pop_front();
        }
        let (then, before) = *self.0.front()?;
        let passed = now.saturating_sub(then);
        if passed < LEAST {
            return None;
        }
        let rate = u128::from(moved.saturating_sub(before)) * 1000 / passed.as_millis();
        Some(u64::try_from(rate).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_follows_what_happens() {
        let mut speed = Speed::default();
        let mut at = |tenths: u64, moved| speed.note(Duration::from_millis(tenths * 100), moved);
        assert_eq!(at(0, 0), None);
        assert_eq!(at(5, 500), None, "too early to tell");
        assert_eq!(at(10, 1000), Some(1000));
        for tenths in 11..=300 {
            assert_eq!(at(tenths, tenths * 100), Some(1000), "steady");
        }
        // Nothing moves: it sinks, and then it is none.
        assert_eq!(at(375, 30_000), Some(500));
        assert_eq!(at(450, 30_000), Some(0));
        assert_eq!(at(900, 30_000), Some(0));
        // And after the stall it is what moves since, not the mean of it all.
        for tenths in 901..=1050 {
            at(tenths, 30_000 + (tenths - 900) * 200);
        }
        assert_eq!(at(1051, 60_200), Some(2000));
    }

    #[test]
    fn few_samples_do_not_count_long_ago() {
        let mut speed = Speed::default();
        speed.note(Duration::ZERO, 0);
        speed.note(Duration::from_secs(100), 1000);
        assert_eq!(speed.note(Duration::from_mins(2), 3000), Some(100));
    }
}
