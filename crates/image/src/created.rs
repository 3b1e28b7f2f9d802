//! When an image, or a file in it, says that it was made. Nobody invents one: without it there is none.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Serialize, Serializer};

/// A point in time, in whole seconds. Parses from RFC 3339 (`2022-04-16T07:10:51Z`, with any offset) and from seconds since
/// 1970 (as `SOURCE_DATE_EPOCH` has it); prints and serialises as RFC 3339, as configurations have it (image specification,
/// config.md, `created`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Created(Timestamp);

/// Why a text is no point in time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no time; write it as 2022-04-16T07:10:51Z, or as seconds since 1970")]
pub struct CreatedError(String);

impl Created {
    /// Seconds since 1970, negative before.
    pub fn seconds(self) -> i64 {
        self.0.as_second()
    }
}

impl FromStr for Created {
    type Err = CreatedError;

    fn from_str(text: &str) -> Result<Self, CreatedError> {
        let time = match text.parse() {
            Ok(seconds) => Timestamp::from_second(seconds).ok(),
            Err(_) => {
                text.parse().ok().and_then(|time: Timestamp| Timestamp::from_second(time.as_second()).ok())
            }
        };
        time.map(Self).ok_or_else(|| CreatedError(text.to_owned()))
    }
}

impl fmt::Display for Created {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Serialize for Created {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_spellings_mean_the_same() {
        for text in ["1650093051", "2022-04-16T07:10:51Z", "2022-04-16T09:10:51.9+02:00"] {
            let created: Created = text.parse().unwrap();
            assert_eq!(
                (created.seconds(), created.to_string().as_str()),
                (1_650_093_051, "2022-04-16T07:10:51Z")
            );
        }
        for text in ["", "yesterday", "2022-04-16", "99999999999999999999"] {
            assert!(text.parse::<Created>().is_err(), "{text}");
        }
    }
}
