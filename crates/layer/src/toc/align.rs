//! Deflate that inflates to a history and ends at any bit of a byte (RFC 1951).
//!
//! Inflating can begin between two blocks if the decompressor has the 32 KiB before, and is told at which bit. No safe interface
//! has a way to tell it the bit. But a stream can be put before the block: a stored block with the history, and as many empty blocks
//! as it takes to end at the same bit.

/// A stored block has no more than this.
const STORED: usize = 0xffff;

/// An empty block with fixed codes, ten bits: not the last (0), fixed codes (01), the end (0000000).
const FIXED: (u128, u32) = (0b10, 10);

/// An empty block with codes of its own, 91 bits, for positions that are odd.
///
/// Not the last; codes of its own (10); 257 lengths of literals, one of distances, 18 of lengths of lengths (in the order of section
/// 3.2.7: 18 is the third, 1 the eighteenth; both have one bit, so that 1 is `0` and 18 is `1`). Then the lengths: 1 for literal 0,
/// 138 and 117 zeros, 1 for the end, 1 for the distance. And the end, which is `1`.
const OWN: (u128, u32) = {
    let mut block = (0, 0);
    let parts: [(u128, u32); 13] = [
        (0, 1),
        (0b10, 2),
        (0, 5),
        (0, 5),
        (14, 4),
        (1 << 6 | 1 << 51, 54),
        (0, 1),
        (1, 1),
        (138 - 11, 7),
        (1, 1),
        (117 - 11, 7),
        (0b00, 2),
        (1, 1),
    ];
    let mut part = 0;
    while part < parts.len() {
        block.0 |= parts[part].0 << block.1;
        block.1 += parts[part].1;
        part += 1;
    }
    block
};

/// Puts into `stream` deflate that inflates to `history` and leaves off `bits` bits before the end of its last byte, which is the
/// caller's to fill: its lower bits are set. With 0 there is no such byte. `first` is the byte whose upper `bits` bits come next.
pub(super) fn before(stream: &mut Vec<u8>, history: &[u8], bits: u8, first: u8) {
    stream.clear();
    stream.reserve(history.len() + 32);
    for part in history.chunks(STORED) {
        // Not the last, stored, to the end of the byte.
        let length = u16::try_from(part.len()).unwrap_or(u16::MAX);
        stream.push(0);
        stream.extend(length.to_le_bytes());
        stream.extend((!length).to_le_bytes());
        stream.extend_from_slice(part);
    }
    if bits == 0 {
        return;
    }
    let wanted = u32::from(8 - bits);
    let (mut block, mut length) = if wanted % 2 == 1 { OWN } else { (0, 0) };
    while length % 8 != wanted {
        block |= FIXED.0 << length;
        length += FIXED.1;
    }
    let mut bytes = block.to_le_bytes()[..length.div_ceil(8) as usize].to_vec();
    if let Some(last) = bytes.last_mut() {
        *last |= first & (0xff << wanted);
    }
    stream.append(&mut bytes);
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use flate2::read::DeflateDecoder;

    use super::*;

    #[test]
    fn every_bit_of_a_byte() {
        for bits in 0..8 {
            for history in [&b""[..], b"history"] {
                let mut stream = Vec::new();
                before(&mut stream, history, bits, 0);
                // The last block, fixed codes, the end: ten bits from here on.
                let mut end = 0b011_u32;
                if bits == 0 {
                    stream.extend(&end.to_le_bytes()[..2]);
                } else {
                    end <<= 8 - bits;
                    let [low, rest @ ..] = end.to_le_bytes();
                    *stream.last_mut().unwrap() |= low;
                    stream.extend(rest);
                }
                let mut inflated = Vec::new();
                DeflateDecoder::new(&stream[..]).read_to_end(&mut inflated).unwrap();
                assert_eq!(inflated, history, "{bits}");
            }
        }
    }

    #[test]
    fn a_long_history() {
        let history = vec![7; 3 * STORED];
        let mut stream = Vec::new();
        before(&mut stream, &history, 0, 0);
        stream.extend([3, 0]);
        let mut inflated = Vec::new();
        DeflateDecoder::new(&stream[..]).read_to_end(&mut inflated).unwrap();
        assert_eq!(inflated, history);
    }
}
