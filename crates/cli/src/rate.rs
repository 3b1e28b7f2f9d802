//! How fast something may go, as it is typed.

use std::num::NonZeroU64;
use std::str::FromStr;

/// Bytes a second: a number, or one with `K`, `M`, `G` for 10^3, 10^6, 10^9 or `Ki`, `Mi`, `Gi` for 2^10, 2^20, 2^30.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rate(pub(crate) NonZeroU64);

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || "it is a number of bytes a second, such as 50M (50 000 000) or 800K".to_owned();
        let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let (number, unit) = text.split_at(digits);
        let number: f64 = number.parse().map_err(|_| wrong())?;
        let factor = match unit.trim_end_matches("/s").trim_end_matches('B') {
            "" => 1.0,
            "K" | "k" => 1e3,
            "M" => 1e6,
            "G" => 1e9,
            "Ki" => 1024.0,
            "Mi" => 1_048_576.0,
            "Gi" => 1_073_741_824.0,
            _ => return Err(wrong()),
        };
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "the cast saturates at both ends"
        )]
        let rate = (number * factor).round() as u64;
        NonZeroU64::new(rate).map(Self).ok_or_else(|| "nothing would ever arrive at that rate".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates() {
        for (text, bytes) in [
            ("50M", 50_000_000),
            ("1.5G", 1_500_000_000),
            ("800k", 800_000),
            ("2MiB/s", 2 << 20),
            ("7", 7),
            ("99999999999999999999G", u64::MAX),
        ] {
            assert_eq!(text.parse::<Rate>().unwrap().0.get(), bytes, "{text}");
        }
        for text in ["", "M", "0", "0.2", "-5M", "5X", "5 M", "1.2.3M", "nan", "inf"] {
            assert!(text.parse::<Rate>().is_err(), "{text}");
        }
    }
}
