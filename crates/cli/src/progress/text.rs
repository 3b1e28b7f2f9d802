//! Sizes, rates and times as people read them.

use std::time::Duration;

const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];

/// Three digits or so: `31.2 GiB`, `118 MiB`, `17 B`.
pub(super) fn size(bytes: u64) -> String {
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    #[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
    let mut value = bytes as f64 / 1024.0;
    let mut units = UNITS.iter();
    let mut unit = units.next();
    while value >= 999.5
        && let Some(next) = units.next()
    {
        (value, unit) = (value / 1024.0, Some(next));
    }
    let digits = usize::from(value < 99.95);
    format!("{value:.digits$} {}", unit.unwrap_or(&""))
}

/// Bytes a second.
pub(super) fn rate(bytes: u64) -> String {
    format!("{}/s", size(bytes))
}

/// A time to wait, in the unit that matters and the next: `35 s`, `4 min`, `2 h 10 min`.
pub(super) fn time(time: Duration) -> String {
    let seconds = time.as_secs();
    let minutes = seconds.div_ceil(60);
    match seconds {
        0..90 => format!("{seconds} s"),
        90..=5400 => format!("{minutes} min"),
        _ if minutes.is_multiple_of(60) => format!("{} h", minutes / 60),
        _ => format!("{} h {} min", minutes / 60, minutes % 60),
    }
}

/// How a transfer goes, in one line: `12.3 GiB of 40.0 GiB, 118 MiB/s, 4 min left`. `speed` in bytes a second, `None`
/// while it is not known.
pub(super) fn line(done: u64, total: u64, speed: Option<u64>) -> String {
    let amount = format!("{} of {}", size(done), size(total));
    match speed {
        None => amount,
        Some(0) => format!("{amount}, nothing moves"),
        Some(speed) => format!("{amount}, {}, {} left", rate(speed), time(left(done, total, speed))),
    }
}

/// The time that the rest takes.
pub(super) fn left(done: u64, total: u64, speed: u64) -> Duration {
    Duration::from_secs(total.saturating_sub(done).div_ceil(speed.max(1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (bytes, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (102_348, "99.9 KiB"),
            (102_399, "100 KiB"),
            (1_023_000, "999 KiB"),
            (1_023_999, "1.0 MiB"),
            (33_500_949_709, "31.2 GiB"),
            (u64::MAX, "16.0 EiB"),
        ] {
            assert_eq!(size(bytes), text);
        }
    }

    #[test]
    fn times() {
        for (seconds, text) in [
            (0, "0 s"),
            (89, "89 s"),
            (90, "2 min"),
            (240, "4 min"),
            (241, "5 min"),
            (5400, "90 min"),
            (7200, "2 h"),
            (7801, "2 h 11 min"),
        ] {
            assert_eq!(time(Duration::from_secs(seconds)), text);
        }
    }

    #[test]
    fn lines() {
        let (done, total) = (13_207_024_435, 40 << 30);
        assert_eq!(line(done, total, None), "12.3 GiB of 40.0 GiB");
        assert_eq!(line(done, total, Some(0)), "12.3 GiB of 40.0 GiB, nothing moves");
        assert_eq!(line(done, total, Some(118 << 20)), "12.3 GiB of 40.0 GiB, 118 MiB/s, 5 min left");
        assert_eq!(line(total, total, Some(1)), "40.0 GiB of 40.0 GiB, 1 B/s, 0 s left");
    }
}
