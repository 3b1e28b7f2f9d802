//! How far a session is, by the header that says so.

use http::HeaderMap;
use http::header::RANGE;

/// How many bytes a session has: `Range: 0-N`, with the last byte. Nothing is "0-0" too, so one byte counts as none;
/// without the header there is nothing. `None` if it cannot be read.
pub(crate) fn kept(headers: &HeaderMap) -> Option<u64> {
    let Some(value) = headers.get(RANGE) else { return Some(0) };
    parse(value.to_str().ok()?)
}

fn parse(value: &str) -> Option<u64> {
    let value = value.trim();
    let value = value.strip_prefix("bytes").map_or(value, |rest| rest.trim_start_matches([' ', '=']));
    let (first, last) = value.split_once('-')?;
    let last: u64 = last.trim().parse().ok()?;
    match (first.trim().parse(), last) {
        (Ok(0), 0) => Some(0),
        (Ok(0), last) => last.checked_add(1),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ranges() {
        for (value, expected) in [
            ("0-0", Some(0)),
            ("0-9", Some(10)),
            ("bytes=0-9", Some(10)),
            ("bytes 0-9", Some(10)),
            ("5-9", None),
            ("0--1", None),
            ("0-18446744073709551615", None),
            ("-", None),
            ("", None),
        ] {
            assert_eq!(parse(value), expected, "{value}");
        }
        assert_eq!(kept(&HeaderMap::new()), Some(0));
    }

    proptest! {
        #[test]
        fn never_panics(value in "\\PC{0,40}") {
            let _ = parse(&value);
        }
    }
}
