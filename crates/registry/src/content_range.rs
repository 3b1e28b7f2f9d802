//! `Content-Range`: which bytes of how many an answer has (RFC 9110, section 14.4).

/// The first byte of `bytes 5-9/10`.
pub(crate) fn start(value: &str) -> Option<u64> {
    value.trim().strip_prefix("bytes")?.trim_start().split('-').next()?.parse().ok()
}

/// The whole's length, where it is told: 10 of `bytes 5-9/10`.
pub(crate) fn size(value: &str) -> Option<u64> {
    let (_, size) = value.split_once('/')?;
    size.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_ranges() {
        for (value, first, whole) in [
            ("bytes 5-9/10", Some(5), Some(10)),
            ("bytes 0-0/*", Some(0), None),
            ("bytes */7", None, Some(7)),
            ("5-9", None, None),
            ("", None, None),
        ] {
            assert_eq!((start(value), size(value)), (first, whole), "{value}");
        }
    }
}
