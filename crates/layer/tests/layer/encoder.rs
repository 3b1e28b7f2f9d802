//! Compressing: the same bytes always, and everybody reads them.

use std::io::{self, ErrorKind, Read, Write};
use std::num::NonZeroUsize;
use std::process::Command;

use layer::{Decoder, Encoder, Encoding};
use proptest::prelude::*;

use crate::programs::silent;

/// The block that gzip's content is cut into.
const BLOCK: usize = 256 * 1024;

fn threads(count: usize) -> NonZeroUsize {
    NonZeroUsize::new(count).unwrap()
}

/// Compresses in writes of these sizes, which begin again when they are used up, with a flush here and there.
fn compress(content: &[u8], encoding: Encoding, count: usize, sizes: &[usize]) -> Vec<u8> {
    let mut encoder = Encoder::new(Vec::new(), encoding, threads(count)).unwrap();
    let (mut rest, mut sizes) = (content, sizes.iter().cycle());
    while !rest.is_empty() {
        let (now, later) = rest.split_at(rest.len().min(*sizes.next().unwrap()));
        encoder.write_all(now).unwrap();
        if now.len() % 3 == 0 {
            encoder.flush().unwrap();
        }
        rest = later;
    }
    encoder.finish().unwrap()
}

fn inflate(layer: &[u8]) -> Vec<u8> {
    let mut content = Vec::new();
    Decoder::new(layer).unwrap().read_to_end(&mut content).unwrap();
    content
}

fn noise(length: usize) -> Vec<u8> {
    let mut state = 88_172_645_463_325_252_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let mut bytes = vec![0; length];
    for chunk in bytes.chunks_mut(8) {
        chunk.copy_from_slice(&next().to_le_bytes()[..chunk.len()]);
    }
    bytes
}

/// Words that come back, from near and from far.
fn text(length: usize) -> Vec<u8> {
    let choice = noise(length / 4 + 1);
    let words: Vec<String> = (0..256_u32).map(|number| format!("{} ", number.pow(3))).collect();
    let mut bytes = Vec::with_capacity(length + 16);
    for index in choice {
        if bytes.len() >= length {
            break;
        }
        bytes.extend_from_slice(words[usize::from(index)].as_bytes());
    }
    bytes.resize(length, b'.');
    bytes
}

/// What is hard to get right: nothing, little, and lengths about those of blocks.
fn contents() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("nothing", vec![]),
        ("a byte", vec![b'a']),
        ("less than a dictionary", text(20_000)),
        ("a block less a byte", text(BLOCK - 1)),
        ("a block", text(BLOCK)),
        ("a block and a byte", text(BLOCK + 1)),
        ("many blocks", text(7 * BLOCK)),
        ("many blocks and some", text(7 * BLOCK + 12_345)),
        ("zeros", vec![0; 5 * BLOCK + 1]),
        ("noise", noise(3 * BLOCK + 77)),
        ("noise and zeros", [noise(BLOCK), vec![0; BLOCK], noise(100)].concat()),
    ]
}

const ENCODINGS: [Encoding; 8] = [
    Encoding::None,
    Encoding::Gzip(1),
    Encoding::Gzip(2),
    Encoding::Gzip(3),
    Encoding::GZIP,
    Encoding::Gzip(9),
    Encoding::Zstd(1),
    Encoding::ZSTD,
];

#[test]
fn the_same_bytes_with_any_number_of_threads_and_writes() {
    for (what, content) in contents() {
        for encoding in ENCODINGS {
            let layer = compress(&content, encoding, 1, &[usize::MAX]);
            for (count, sizes) in [
                (1, &[1000][..]),
                (2, &[usize::MAX]),
                (2, &[1, 511, 70_000]),
                (5, &[128 * 1024]),
                (5, &[BLOCK, 1]),
                (100, &[BLOCK - 1]),
            ] {
                let other = compress(&content, encoding, count, sizes);
                assert!(other == layer, "{what}, {encoding}, {count} threads, writes of {sizes:?}");
            }
            assert!(inflate(&layer) == content, "{what}, {encoding}");
            let kind = Decoder::new(&layer[..]).unwrap().compression();
            assert!(kind == encoding.compression() || content.is_empty(), "{what}, {encoding}");
        }
    }
}

#[test]
fn other_programs_read_it() {
    const PYTHON: &str = "import sys, zlib
inflate = zlib.decompressobj(31)
sys.stdout.buffer.write(inflate.decompress(sys.stdin.buffer.read()))
assert inflate.eof and not inflate.unused_data";
    for (what, content) in contents() {
        for encoding in
            [Encoding::Gzip(1), Encoding::GZIP, Encoding::Gzip(9), Encoding::Zstd(1), Encoding::ZSTD]
        {
            let layer = compress(&content, encoding, 2, &[100_000]);
            let readers: &[&[&str]] = match encoding {
                Encoding::Zstd(_) => &[&["zstd", "-dcq"]],
                _ => &[&["gzip", "-dc"], &["pigz", "-dc"], &["python3", "-c", PYTHON]],
            };
            for reader in readers {
                let read = silent(Command::new(reader[0]).args(&reader[1..]), &layer);
                assert!(read == content, "{what}, {encoding}, {}", reader[0]);
            }
        }
    }
}

/// zstd cuts jobs of its own, of 2 MiB and more: none of what they are may show how many threads there are.
#[test]
fn zstd_of_much_content() {
    let content = [text(24_000_000), vec![0; 3_000_000], noise(5_000_000)].concat();
    for (level, length) in [(1, content.len()), (3, content.len()), (19, 700_000)] {
        let content = &content[..length];
        let layer = compress(content, Encoding::Zstd(level), 1, &[usize::MAX]);
        for (count, sizes) in [(2, &[128 * 1024][..]), (3, &[5_000_001]), (3, &[999, 300_000])] {
            let other = compress(content, Encoding::Zstd(level), count, sizes);
            assert!(other == layer, "level {level}, {count} threads, writes of {sizes:?}");
        }
        assert!(inflate(&layer) == content, "level {level}");
    }
}

#[test]
fn headers_say_nothing() {
    for level in 1..=9 {
        // No name, no time, no level, an unknown system (RFC 1952, section 2.3.1).
        let layer = compress(b"text", Encoding::Gzip(level), 1, &[1]);
        assert_eq!(layer[..10], [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255]);
    }
    // One segment or not and a checksum, no dictionary (RFC 8878, section 3.1.1.1.1).
    let layer = compress(b"text", Encoding::ZSTD, 1, &[1]);
    assert_eq!(layer[4] & 0b111, 0b100);
}

#[test]
fn compression_is_worth_it() {
    let content = text(4 * BLOCK);
    let length = |encoding| compress(&content, encoding, 2, &[usize::MAX]).len();
    let gzip = silent(Command::new("gzip").args(["-6", "-c"]), &content).len();
    assert!(length(Encoding::GZIP) < gzip + gzip / 20);
    assert!(length(Encoding::Gzip(9)) <= length(Encoding::GZIP));
    assert!(length(Encoding::GZIP) < length(Encoding::Gzip(1)));
    assert!(length(Encoding::Zstd(19)) < length(Encoding::ZSTD));
    // Noise in a layer, such as files that are compressed already, costs next to nothing.
    let content = noise(4 * BLOCK);
    for encoding in [Encoding::GZIP, Encoding::ZSTD] {
        assert!(compress(&content, encoding, 1, &[usize::MAX]).len() < content.len() + content.len() / 1000);
    }
}

#[test]
fn levels_that_do_not_exist() {
    for encoding in
        [Encoding::Gzip(0), Encoding::Gzip(10), Encoding::Zstd(0), Encoding::Zstd(23), Encoding::Zstd(-5)]
    {
        let error = Encoder::new(Vec::new(), encoding, threads(1)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
    }
}

/// A full disk.
struct Full {
    room: usize,
}

impl Write for Full {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.room == 0 {
            return Err(ErrorKind::StorageFull.into());
        }
        let count = bytes.len().min(self.room);
        self.room -= count;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn errors_of_the_output_come_through() {
    let content = noise(9 * BLOCK);
    for encoding in [Encoding::None, Encoding::Gzip(1), Encoding::GZIP, Encoding::ZSTD] {
        for count in [1, 2, 5] {
            for room in [0, 5, 1000, 2 * BLOCK, 8 * BLOCK] {
                let layer = || {
                    let mut encoder = Encoder::new(Full { room }, encoding, threads(count))?;
                    encoder.write_all(&content)?;
                    encoder.finish()
                };
                let error = layer().err().unwrap();
                assert_eq!(error.kind(), ErrorKind::StorageFull, "{encoding}, {count} threads, {room} bytes");
            }
        }
    }
}

/// Whoever goes on after an error does not end up with a layer that has a hole.
#[test]
fn nothing_goes_on_after_an_error() {
    for count in [1, 2] {
        let mut encoder = Encoder::new(Full { room: BLOCK }, Encoding::GZIP, threads(count)).unwrap();
        assert_eq!(encoder.write_all(&noise(9 * BLOCK)).unwrap_err().kind(), ErrorKind::StorageFull);
        let error = encoder.write_all(&noise(BLOCK + 1)).unwrap_err();
        assert_eq!(error.to_string(), "the layer has lost bytes in an earlier error");
        assert!(encoder.finish().is_err());
    }
}

#[test]
fn dropping_ends_quietly() {
    let content = noise(9 * BLOCK);
    for encoding in ENCODINGS {
        let mut layer = Vec::new();
        let mut encoder = Encoder::new(&mut layer, encoding, threads(3)).unwrap();
        encoder.write_all(&content).unwrap();
        drop(encoder);
        assert!(layer.len() <= content.len());
    }
}

#[test]
fn encoders_may_be_sent() {
    fn sent<T: Send>() {}
    sent::<Encoder<Vec<u8>>>();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    /// Content from pieces of several kinds, writes of any size.
    #[test]
    fn any_content(
        pieces in prop::collection::vec((0..4_u8, 0..400_000_usize), 0..8),
        sizes in prop::collection::vec(1..300_000_usize, 1..6),
        level in 1..=9_u32,
        count in 2..6_usize,
    ) {
        let piece = |&(kind, length): &(u8, usize)| match kind {
            0 => vec![0; length],
            1 => noise(length),
            2 => text(length),
            _ => text(length / 20 + 1).repeat(20),
        };
        let content: Vec<u8> = pieces.iter().flat_map(piece).collect();
        for encoding in [Encoding::Gzip(level), Encoding::Zstd(i32::try_from(level).unwrap())] {
            let layer = compress(&content, encoding, 1, &[usize::MAX]);
            prop_assert!(compress(&content, encoding, count, &sizes) == layer);
            prop_assert!(inflate(&layer) == content);
        }
    }
}
