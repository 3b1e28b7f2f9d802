//! Which compression, and how much of it.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

use crate::Compression;

/// How a new layer is compressed: kind and level. Parses and prints as `gzip[:level]`, `zstd[:level]`, `none`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// Not at all.
    None,
    /// gzip with a level from 1, the fastest, to 9.
    Gzip(u32),
    /// Zstandard with a level from 1, the fastest, to 22. From 20 on it takes gigabytes of memory, and readers need 32 MiB and
    /// more.
    Zstd(i32),
}

/// Why a text is no encoding.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "could not parse compression {input:?}: {reason}; write gzip, zstd or none, with a level as in gzip:9"
)]
pub struct EncodingError {
    /// What was given.
    pub input: String,
    /// What is wrong with it.
    pub reason: &'static str,
}

const GZIP_LEVELS: RangeInclusive<u32> = 1..=9;
const ZSTD_LEVELS: RangeInclusive<i32> = 1..=22;

impl Encoding {
    /// gzip with the level that `gzip` has.
    pub const GZIP: Self = Self::Gzip(6);
    /// zstd with the level that `zstd` has.
    pub const ZSTD: Self = Self::Zstd(3);

    /// The kind alone.
    pub fn compression(self) -> Compression {
        match self {
            Self::None => Compression::None,
            Self::Gzip(_) => Compression::Gzip,
            Self::Zstd(_) => Compression::Zstd,
        }
    }

    /// What is wrong with the level.
    pub(crate) fn check(self) -> Result<(), &'static str> {
        match self {
            Self::Gzip(level) if !GZIP_LEVELS.contains(&level) => Err("gzip's levels are 1 to 9"),
            Self::Zstd(level) if !ZSTD_LEVELS.contains(&level) => Err("zstd's levels are 1 to 22"),
            _ => Ok(()),
        }
    }
}

impl FromStr for Encoding {
    type Err = EncodingError;

    fn from_str(text: &str) -> Result<Self, EncodingError> {
        let fail = |reason| EncodingError { input: text.to_owned(), reason };
        let (kind, level) = match text.split_once(':') {
            Some((kind, level)) => (kind, Some(level)),
            None => (text, None),
        };
        // No sign, and nothing that is too long for any level.
        let level = match level {
            Some(level) if level.is_empty() || !level.bytes().all(|byte| byte.is_ascii_digit()) => {
                return Err(fail("the level is not a number"));
            }
            Some(level) => Some(level.parse().unwrap_or(u8::MAX)),
            None => None,
        };
        let encoding = match (kind, level) {
            ("gzip", Some(level)) => Self::Gzip(level.into()),
            ("gzip", None) => Self::GZIP,
            ("zstd", Some(level)) => Self::Zstd(level.into()),
            ("zstd", None) => Self::ZSTD,
            ("none", None) => Self::None,
            ("none", Some(_)) => return Err(fail("none has no levels")),
            _ => return Err(fail("no such compression")),
        };
        encoding.check().map_err(fail)?;
        Ok(encoding)
    }
}

impl fmt::Display for Encoding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => formatter.write_str("none"),
            Self::Gzip(level) => write!(formatter, "gzip:{level}"),
            Self::Zstd(level) => write!(formatter, "zstd:{level}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_parsed() {
        for (text, encoding, printed, compression) in [
            ("none", Encoding::None, "none", Compression::None),
            ("gzip", Encoding::Gzip(6), "gzip:6", Compression::Gzip),
            ("gzip:1", Encoding::Gzip(1), "gzip:1", Compression::Gzip),
            ("gzip:09", Encoding::Gzip(9), "gzip:9", Compression::Gzip),
            ("zstd", Encoding::Zstd(3), "zstd:3", Compression::Zstd),
            ("zstd:22", Encoding::Zstd(22), "zstd:22", Compression::Zstd),
        ] {
            assert_eq!(text.parse(), Ok(encoding), "{text}");
            assert_eq!(encoding.to_string(), printed);
            assert_eq!(printed.parse(), Ok(encoding));
            assert_eq!(encoding.compression(), compression);
        }
    }

    #[test]
    fn what_is_refused() {
        for (text, reason) in [
            ("", "no such compression"),
            ("GZIP", "no such compression"),
            ("xz", "no such compression"),
            ("xz:3", "no such compression"),
            ("none:1", "none has no levels"),
            ("gzip:", "the level is not a number"),
            ("gzip:fast", "the level is not a number"),
            ("gzip:+6", "the level is not a number"),
            ("gzip: 6", "the level is not a number"),
            ("zstd:-1", "the level is not a number"),
            ("gzip:0", "gzip's levels are 1 to 9"),
            ("gzip:10", "gzip's levels are 1 to 9"),
            ("gzip:99999999999999999999", "gzip's levels are 1 to 9"),
            ("zstd:0", "zstd's levels are 1 to 22"),
            ("zstd:23", "zstd's levels are 1 to 22"),
        ] {
            let error = text.parse::<Encoding>().unwrap_err();
            assert_eq!((error.input.as_str(), error.reason), (text, reason));
        }
        assert_eq!(
            "gzip:12".parse::<Encoding>().unwrap_err().to_string(),
            "could not parse compression \"gzip:12\": gzip's levels are 1 to 9; write gzip, zstd or none, with a level as in gzip:9"
        );
    }
}
