//! Sparse files: checks of their maps, and the map of PAX sparse format 1.0.

use crate::entry::Extent;
use crate::header::BLOCK;
use crate::pax;

/// Checks that the extents are ascending, apart, within the file, and as long together as what is stored.
pub(crate) fn check(extents: &[Extent], stored: u64, size: u64) -> Result<(), &'static str> {
    let mut end = 0;
    let mut sum = 0_u64;
    for extent in extents {
        if extent.offset < end {
            return Err("sparse map is not in order");
        }
        end = extent.offset.checked_add(extent.length).ok_or("sparse map exceeds its file")?;
        // The lengths are apart and end within 64 bits, so is their sum.
        sum += extent.length;
    }
    if end > size {
        return Err("sparse map exceeds its file");
    }
    if sum == stored { Ok(()) } else { Err("sparse map does not fit what is stored") }
}

/// How many lines the map of format 1.0 has that begins in this block: the number of extents, then offset and length of each.
pub(crate) fn map_lines(block: &[u8; BLOCK]) -> Result<u64, &'static str> {
    let line = block.split(|byte| *byte == b'\n').next().unwrap_or_default();
    pax::decimal(line).and_then(|count| count.checked_mul(2)?.checked_add(1)).ok_or(MALFORMED)
}

/// Reads the map of format 1.0, whose lines are all there.
pub(crate) fn parse_map(blocks: &[u8]) -> Result<Vec<Extent>, &'static str> {
    let mut numbers = blocks.split(|byte| *byte == b'\n').map(pax::decimal);
    let mut number = || numbers.next().flatten().ok_or(MALFORMED);
    (0..number()?).map(|_| Ok(Extent { offset: number()?, length: number()? })).collect()
}

const MALFORMED: &str = "malformed sparse map";

/// Writes the map of format 1.0, filled up to whole blocks.
pub(crate) fn map(extents: &[Extent], size: u64) -> Vec<u8> {
    // GNU tar learns the size of a file that ends in a hole from an empty extent at its end.
    let end = extents.last().map_or(0, |extent| extent.offset + extent.length);
    let last = (end < size).then_some(Extent { offset: size, length: 0 });
    let mut text = format!("{}\n", extents.len() + usize::from(last.is_some()));
    for extent in extents.iter().chain(&last) {
        for number in [extent.offset, extent.length] {
            text.push_str(&number.to_string());
            text.push('\n');
        }
    }
    let mut map = text.into_bytes();
    map.resize(map.len().next_multiple_of(BLOCK), 0);
    map
}

#[cfg(test)]
mod tests {
    use super::*;

    fn extents(pairs: &[(u64, u64)]) -> Vec<Extent> {
        pairs.iter().map(|&(offset, length)| Extent { offset, length }).collect()
    }

    #[test]
    fn maps_are_checked() {
        assert_eq!(check(&extents(&[(0, 5), (5, 5), (20, 0), (20, 10)]), 20, 30), Ok(()));
        assert_eq!(check(&[], 0, 30), Ok(()));
        for (pairs, stored, size) in [
            (&[(0, 5), (4, 1)][..], 6, 10),
            (&[(5, 5), (0, 5)], 10, 10),
            (&[(0, 5)], 4, 10),
            (&[(0, 5)], 6, 10),
            (&[(8, 5)], 5, 10),
            (&[(11, 0)], 0, 10),
            (&[(u64::MAX, 5)], 5, 10),
            (&[], 1, 10),
        ] {
            assert!(check(&extents(pairs), stored, size).is_err(), "{pairs:?}");
        }
    }

    #[test]
    fn maps_survive() {
        for (pairs, size) in [(&[(0, 5), (1000, 7)][..], 1007), (&[(3, 4)], 100), (&[], 9), (&[], 0)] {
            let mut expected = extents(pairs);
            if expected.last().map_or(0, |extent| extent.offset + extent.length) < size {
                expected.push(Extent { offset: size, length: 0 });
            }
            assert_eq!(parse_map(&map(&expected, size)), Ok(expected));
        }
        let many: Vec<_> = (0..100).map(|index| Extent { offset: index * 1000, length: 512 }).collect();
        let written = map(&many, 99 * 1000 + 512);
        assert_eq!(map_lines(written.first_chunk().unwrap()), Ok(201));
        assert_eq!(parse_map(&written), Ok(many));
        assert!(parse_map(&written[..BLOCK]).is_err());
    }

    #[test]
    fn malformed_maps() {
        for bad in ["x\n", "1\n-1\n", "1\n1\n \n", "\n", "\0\0", "", "99999999999999\n0\n1\n"] {
            assert!(parse_map(bad.as_bytes()).is_err(), "{bad:?}");
        }
        assert!(map_lines(&[b'1'; BLOCK]).is_err());
        assert!(map_lines(&[0; BLOCK]).is_err());
    }
}
