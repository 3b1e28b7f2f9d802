//! What the processors of this machine do.

use std::fs;
use std::num::NonZeroUsize;
use std::sync::LazyLock;
use std::thread::available_parallelism;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// The machine is busy if its processors have nothing to do for less than this share of the time. Waiting for a disk is something.
const IDLE: f64 = 0.25;

/// How many processors this process may use.
pub(crate) fn processors() -> usize {
    static COUNT: LazyLock<usize> = LazyLock::new(|| available_parallelism().map_or(1, NonZeroUsize::get));
    *COUNT
}

/// How long this process has used processors, all together.
pub(crate) fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    // It is never negative, and its nanoseconds are fewer than a second has.
    Duration::new(time.tv_sec.try_into().unwrap_or_default(), time.tv_nsec.try_into().unwrap_or_default())
}

/// What all processors did since the machine began, whoever used them, in ticks of Linux.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ticks {
    /// When there was nothing to do, nor to wait for.
    pub(crate) idle: u64,
    pub(crate) all: u64,
}

impl Ticks {
    /// Until now; `None` on systems that do not say it in `/proc/stat`.
    pub(crate) fn now() -> Option<Self> {
        Self::read(&fs::read_to_string("/proc/stat").ok()?)
    }

    /// "cpu user nice system idle iowait irq softirq steal …" (`proc_stat(5)`).
    fn read(stat: &str) -> Option<Self> {
        let all = stat.lines().next()?.strip_prefix("cpu ")?;
        let ticks: Vec<u64> = all.split_whitespace().take(8).map_while(|word| word.parse().ok()).collect();
        Some(Self { idle: *ticks.get(3)?, all: ticks.iter().sum() })
    }

    /// Whether the processors had next to nothing to spare since `before`; not so if no time has passed.
    pub(crate) fn were_busy_since(self, before: Self) -> bool {
        self.idle_since(before).is_some_and(|idle| idle < IDLE)
    }

    /// The share of the time since `before` in which there was nothing to do, if any time has passed.
    fn idle_since(self, before: Self) -> Option<f64> {
        let all = self.all.checked_sub(before.all).filter(|&all| all > 0)?;
        #[expect(clippy::cast_precision_loss, reason = "a share needs no more digits")]
        let share = self.idle.saturating_sub(before.idle) as f64 / all as f64;
        Some(share)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_tells_of_all_processors() {
        let stat = "cpu  10 1 20 300 40 0 5 6 7 8\ncpu0 1 1 1 1 1 1 1 1 0 0\n";
        assert_eq!(Ticks::read(stat), Some(Ticks { idle: 300, all: 382 }));
        for wrong in ["", "cpu", "cpu0 1 2 3 4", "cpu  1 2 3", "intr 1 2 3 4 5"] {
            assert_eq!(Ticks::read(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn idle_is_a_share_of_the_time_between() {
        let at = |idle, all| Ticks { idle, all };
        assert_eq!(at(25, 150).idle_since(at(0, 50)), Some(0.25));
        assert_eq!(at(5, 50).idle_since(at(5, 50)), None);
        // Some kernels take ticks of idle time back.
        assert_eq!(at(4, 60).idle_since(at(5, 50)), Some(0.0));
        assert!(!at(25, 150).were_busy_since(at(0, 50)));
        assert!(at(24, 150).were_busy_since(at(0, 50)));
        assert!(!at(5, 50).were_busy_since(at(5, 50)));
    }

    #[test]
    fn this_process_uses_processors() {
        let before = processor_time();
        while processor_time() == before {
            std::hint::spin_loop();
        }
        assert!(processor_time() > before && processors() > 0);
    }
}
