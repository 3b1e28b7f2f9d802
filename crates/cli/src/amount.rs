//! How much and how fast, as it is typed: a number, or one with `K`, `M`, `G`, `T` for 10^3 to 10^12 or `Ki`, `Mi`, `Gi`, `Ti`
//! for 2^10 to 2^40, and `B` behind that or not.

use std::fmt;
use std::num::NonZeroU64;
use std::str::FromStr;

/// Bytes a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rate(pub(crate) NonZeroU64);

/// Bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Size(pub(crate) u64);

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let rate = bytes(text.strip_suffix("/s").unwrap_or(text))
            .ok_or("it is a number of bytes a second, such as 50M (50 000 000) or 800K")?;
        NonZeroU64::new(rate).map(Self).ok_or_else(|| "nothing would ever arrive at that rate".to_owned())
    }
}

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        bytes(text).map(Self).ok_or_else(|| "it is a number of bytes, such as 500M or 2GiB".to_owned())
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

fn bytes(text: &str) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: f64 = number.parse().ok()?;
    let factor = match unit.strip_suffix('B').unwrap_or(unit) {
        "" => 1.0,
        "K" | "k" => 1e3,
        "M" => 1e6,
        "G" => 1e9,
        "T" => 1e12,
        "Ki" => 1024.0,
        "Mi" => 1_048_576.0,
        "Gi" => 1_073_741_824.0,
        "Ti" => 1_099_511_627_776.0,
        _ => return None,
    };
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the cast saturates at both ends"
    )]
    Some((number * factor).round() as u64)
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

    #[test]
    fn sizes() {
        for (text, bytes) in
            [("0", 0), ("2GiB", 2 << 30), ("2Gi", 2 << 30), ("1.5T", 1_500_000_000_000), ("7B", 7)]
        {
            assert_eq!(text.parse::<Size>(), Ok(Size(bytes)), "{text}");
        }
        for text in ["", "B", "-1", "2GB/s", "1BB", "all"] {
            assert!(text.parse::<Size>().is_err(), "{text}");
        }
    }
}
