//! How a blob is cut into requests.
//!
//! Each request of a blob costs a round trip in which nothing flows: with 64 MiB, on a line of 100 Mbit and 100 ms, two
//! hundredths of the time. In return no more than one chunk is at stake where a registry drops a request that breaks, a
//! token is renewed with each, and proxies that limit bodies or times are content.

/// The length of a chunk, in bytes, where nothing else is asked for.
const USUAL: u64 = 64 << 20;

/// A blob of more bytes is not sent in one request.
const LARGE: u64 = 256 << 20;

/// What is tried one after the other where bodies are too large, in bytes. Each costs a part of a body, and one of the four
/// attempts that a copy makes, so they are far apart. The last is what nginx takes if nobody tells it otherwise.
const SMALLER: [u64; 3] = [64 << 20, 8 << 20, 1 << 20];

/// The length of the chunks of a blob with `size` bytes; `None` if it goes in one request. `least` is what the registry
/// asks for (`OCI-Chunk-Min-Length`), `most` what was found out that it takes.
pub(super) fn length(size: u64, least: Option<u64>, most: Option<u64>) -> Option<u64> {
    let chunk = of_rest(least, most);
    let whole = if most.is_some() || least.is_some() { chunk } else { LARGE };
    (size > whole).then_some(chunk)
}

/// The length of the chunks of what is left of a blob, of which the registry has the beginning.
pub(super) fn of_rest(least: Option<u64>, most: Option<u64>) -> u64 {
    most.unwrap_or(USUAL).max(least.unwrap_or(0))
}

/// What to try after a body of `refused` bytes was too large; `None` if there is nothing smaller worth trying.
pub(super) fn smaller(refused: u64) -> Option<u64> {
    SMALLER.into_iter().find(|&length| length < refused)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn few_requests() {
        for (size, least, most, expected) in [
            (0, None, None, None),
            (256 * MIB, None, None, None),
            (256 * MIB + 1, None, None, Some(64 * MIB)),
            // Asked for.
            (64 * MIB, Some(5 * MIB), None, None),
            (65 * MIB, Some(5 * MIB), None, Some(64 * MIB)),
            (300 * MIB, Some(100 * MIB), None, Some(100 * MIB)),
            (99 * MIB, Some(100 * MIB), None, None),
            // Found out.
            (16 * MIB, None, Some(16 * MIB), None),
            (17 * MIB, None, Some(16 * MIB), Some(16 * MIB)),
            (100 * MIB, Some(32 * MIB), Some(16 * MIB), Some(32 * MIB)),
        ] {
            assert_eq!(length(size, least, most), expected, "{size} {least:?} {most:?}");
        }
    }

    #[test]
    fn smaller_and_smaller() {
        for (refused, expected) in [
            (9999, Some(64)),
            (65, Some(64)),
            (64, Some(8)),
            (9, Some(8)),
            (8, Some(1)),
            (3, Some(1)),
            (1, None),
        ] {
            assert_eq!(smaller(refused * MIB), expected.map(|expected: u64| expected * MIB), "{refused}");
        }
    }
}
