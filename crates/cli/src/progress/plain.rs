//! Lines now and then, for a log.

use std::time::Duration;

use super::speed::Speed;
use super::text;

/// How often.
const PERIOD: Duration = Duration::from_secs(10);

/// When to say how far a transfer is, and what. One that ends before the first period says nothing.
#[derive(Default)]
pub(super) struct Plain {
    speed: Speed,
    told: Duration,
}

impl Plain {
    /// Takes how it is at a time since the beginning: bytes that are there, of how many, and bytes that have moved.
    /// Returns the line that is due.
    pub(super) fn note(&mut self, now: Duration, (done, total): (u64, u64), moved: u64) -> Option<String> {
        let speed = self.speed.note(now, moved);
        if now.saturating_sub(self.told) < PERIOD || done >= total {
            return None;
        }
        self.told = now;
        Some(text::line(done, total, speed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_ten_seconds() {
        let mut plain = Plain::default();
        // 4 MiB/s, four times a second, with 100 MiB from before.
        let lines: Vec<(u64, String)> = (0..=25 * 4)
            .filter_map(|tick| {
                let position = ((100 + tick) << 20, 200 << 20);
                let line = plain.note(Duration::from_millis(tick * 250), position, tick << 20)?;
                Some((tick / 4, line))
            })
            .collect();
        let expected = [
            (10, "140 MiB of 200 MiB, 4.0 MiB/s, 15 s left".to_owned()),
            (20, "180 MiB of 200 MiB, 4.0 MiB/s, 5 s left".to_owned()),
        ];
        assert_eq!(lines, expected);
    }

    #[test]
    fn nothing_before_there_is_something_to_do() {
        let mut plain = Plain::default();
        assert_eq!(plain.note(Duration::from_secs(30), (0, 0), 0), None);
        assert_eq!(
            plain.note(Duration::from_secs(31), (0, 9), 0).as_deref(),
            Some("0 B of 9 B, nothing moves")
        );
        assert_eq!(plain.note(Duration::from_secs(50), (9, 9), 9), None, "all is there");
    }
}
