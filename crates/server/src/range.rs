//! The headers that speak of parts: `Range` of a download (RFC 9110, section 14.2) and `Content-Range` of an upload
//! (distribution specification, "Pushing a blob in chunks").

/// Which part of some content a `Range` header selects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// All of it: the header asks for several parts, or in another unit, or cannot be read, and is ignored.
    Whole,
    /// The bytes from `start` up to and without `end`; at least one.
    Bytes {
        /// The first byte.
        start: u64,
        /// The byte behind the last one.
        end: u64,
    },
    /// Nothing that exists: status 416. So is a last byte before the first one, which the RFC calls invalid; the
    /// conformance suite of the distribution specification wants it refused.
    Unsatisfiable,
}

/// Applies a `Range` header to content of `size` bytes.
pub(crate) fn select(header: &str, size: u64) -> Part {
    let Some((unit, set)) = header.split_once('=') else { return Part::Whole };
    if !unit.trim().eq_ignore_ascii_case("bytes") || set.contains(',') {
        return Part::Whole;
    }
    let Some((first, last)) = set.trim().split_once('-') else { return Part::Whole };
    match (number(first), number(last)) {
        (Some(start), None) if last.is_empty() && start < size => Part::Bytes { start, end: size },
        (Some(_), None) if last.is_empty() => Part::Unsatisfiable,
        (None, Some(length)) if first.is_empty() && length > 0 && size > 0 => {
            Part::Bytes { start: size.saturating_sub(length), end: size }
        }
        (None, Some(_)) if first.is_empty() => Part::Unsatisfiable,
        (Some(start), Some(last)) if start <= last && start < size => {
            Part::Bytes { start, end: last.saturating_add(1).min(size) }
        }
        (Some(_), Some(_)) => Part::Unsatisfiable,
        _ => Part::Whole,
    }
}

/// A part of an upload: the first and the last byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Chunk {
    /// The offset of the first byte.
    pub(crate) start: u64,
    /// How many bytes there are; at least one.
    pub(crate) length: u64,
}

/// Reads the `Content-Range` of an upload: `first-last` as the distribution specification writes it, or
/// `bytes first-last/total` as HTTP does; the total says nothing here.
pub(crate) fn chunk(header: &str) -> Option<Chunk> {
    let text = header.trim();
    let text = text.strip_prefix("bytes").map_or(text, |rest| rest.trim_start_matches([' ', '=']));
    let (range, total) = text.split_once('/').map_or((text, None), |(range, total)| (range, Some(total)));
    if total.is_some_and(|total| total != "*" && number(total).is_none()) {
        return None;
    }
    let (first, last) = range.split_once('-')?;
    let (start, last) = (number(first)?, number(last)?);
    let length = last.checked_sub(start)?.checked_add(1)?;
    Some(Chunk { start, length })
}

/// Digits only: `u64::from_str` would also take a sign. Numbers beyond 64 bits count as the largest one.
fn number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn parts() {
        let part = |start, end| Part::Bytes { start, end };
        for (header, expected) in [
            ("bytes=500-1499", part(500, 1500)),
            ("bytes=500-", part(500, 2048)),
            ("bytes=-500", part(1548, 2048)),
            ("bytes=-5000", part(0, 2048)),
            ("bytes=2000-5000", part(2000, 2048)),
            ("bytes=0-0", part(0, 1)),
            ("Bytes=0-0", part(0, 1)),
            ("bytes=2047-", part(2047, 2048)),
            ("bytes=0-99999999999999999999999", part(0, 2048)),
            ("bytes=500-0", Part::Unsatisfiable),
            ("bytes=2048-", Part::Unsatisfiable),
            ("bytes=5000-10000", Part::Unsatisfiable),
            ("bytes=99999999999999999999999-", Part::Unsatisfiable),
            ("bytes=-0", Part::Unsatisfiable),
            ("bytes=0-1,3-4", Part::Whole),
            ("items=0-1", Part::Whole),
            ("bytes=a-b", Part::Whole),
            ("bytes=+1-2", Part::Whole),
            ("bytes=-", Part::Whole),
            ("bytes", Part::Whole),
            ("", Part::Whole),
        ] {
            assert_eq!(select(header, 2048), expected, "{header}");
        }
        assert_eq!(select("bytes=0-", 0), Part::Unsatisfiable);
        assert_eq!(select("bytes=-1", 0), Part::Unsatisfiable);
    }

    #[test]
    fn chunks() {
        let some = |start, length| Some(Chunk { start, length });
        for (header, expected) in [
            ("0-9", some(0, 10)),
            ("10-10", some(10, 1)),
            ("bytes 0-9/10", some(0, 10)),
            ("bytes 0-9/*", some(0, 10)),
            ("bytes=0-9", some(0, 10)),
            ("9-0", None),
            ("0-18446744073709551615", None),
            ("0-", None),
            ("-9", None),
            ("x-y", None),
            ("0-9/x", None),
            ("", None),
        ] {
            assert_eq!(chunk(header), expected, "{header}");
        }
    }

    proptest! {
        #[test]
        fn never_beyond_the_content(header in "bytes=[0-9]{0,22}-[0-9]{0,22}", size: u64) {
            if let Part::Bytes { start, end } = select(&header, size) {
                prop_assert!(start < end && end <= size);
            }
            let _ = chunk(&header);
        }
    }
}
