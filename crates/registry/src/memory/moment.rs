//! Ages that a clock which is set back does not make less.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

/// A point in time by two clocks, in seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Moment {
    /// Since 1970. It may be set.
    pub(crate) wall: u64,
    /// Since this machine was started. Nobody sets it, but it begins anew.
    pub(crate) up: u64,
}

impl Moment {
    pub(crate) fn now() -> Self {
        #[cfg(target_os = "linux")]
        const UP: ClockId = ClockId::Boottime;
        #[cfg(not(target_os = "linux"))]
        const UP: ClockId = ClockId::Monotonic;
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        Self { wall, up: clock_gettime(UP).tv_sec.try_into().unwrap_or_default() }
    }

    /// How long ago it is, as far as that can be told: not if the clock was set back to before it. The time since the
    /// machine was started never says too much, as it leaves out at most what was before.
    pub(crate) fn age(self, now: Self) -> Option<Duration> {
        let wall = now.wall.checked_sub(self.wall)?;
        Some(Duration::from_secs(wall.max(now.up.saturating_sub(self.up))))
    }

    /// Whether `life` has not passed since.
    pub(crate) fn is_within(self, life: Duration, now: Self) -> bool {
        self.age(now).is_some_and(|age| age < life)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_that_says_more_counts() {
        let then = Moment { wall: 1000, up: 500 };
        for (wall, up, age) in [
            (1010, 510, Some(10)),
            // The clock was set back, and forward.
            (1002, 510, Some(10)),
            (990, 510, None),
            (5000, 510, Some(4000)),
            // The machine was started anew.
            (1100, 20, Some(100)),
            (9000, 900, Some(8000)),
        ] {
            assert_eq!(then.age(Moment { wall, up }), age.map(Duration::from_secs), "{wall} {up}");
        }
        let now = Moment::now();
        assert!(now.is_within(Duration::from_hours(1), Moment::now()) && now.wall > 0 && now.up > 0);
        assert!(!Moment::default().is_within(Duration::from_hours(1), now));
    }
}
