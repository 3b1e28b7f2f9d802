//! Inflating.

use std::io::{self, BufReader, ErrorKind, Read, Write};
use std::num::NonZeroUsize;

use flate2::GzBuilder;
use layer::{Compression, Decoder, Encoder, Encoding};

const TEXT: &[u8] = b"to be or not to be, that is the question, to be or not";

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = Encoder::new(Vec::new(), Encoding::GZIP, NonZeroUsize::MIN).unwrap();
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 3).unwrap();
    encoder.include_checksum(true).unwrap();
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn skippable(bytes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(bytes.len()).unwrap().to_le_bytes();
    [&[0x5a, 0x2a, 0x4d, 0x18], &length[..], bytes].concat()
}

/// Decodes, with buffers of several sizes and readers that give little, always with the same result.
fn decode(bytes: &[u8]) -> io::Result<Vec<u8>> {
    let one = |capacity: usize, step: usize| {
        let mut decoder = Decoder::new(BufReader::with_capacity(capacity, bytes))?;
        let mut out = Vec::new();
        let mut buffer = vec![0; step];
        loop {
            match decoder.read(&mut buffer)? {
                0 => return Ok(out),
                count => out.extend_from_slice(&buffer[..count]),
            }
        }
    };
    let result: io::Result<Vec<u8>> = one(64 * 1024, 64 * 1024);
    for (capacity, step) in [(1, 1), (1, 1000), (7, 13)] {
        let other = one(capacity, step);
        match (&result, &other) {
            (Ok(result), Ok(other)) => assert_eq!(result, other),
            (Err(result), Err(other)) => assert_eq!(result.kind(), other.kind()),
            _ => panic!("{result:?} is not {other:?}"),
        }
    }
    result
}

#[test]
fn what_is_decoded() {
    let named = {
        let builder = GzBuilder::new().filename("a").comment("b").extra([1, 2, 3]).mtime(7);
        let mut encoder = builder.write(Vec::new(), flate2::Compression::best());
        encoder.write_all(TEXT).unwrap();
        encoder.finish().unwrap()
    };
    let twice = [TEXT, TEXT].concat();
    let large: Vec<u8> = (0..3_000_000_u32).map(|number| (number / 7 % 251).to_le_bytes()[0]).collect();
    for (what, bytes, expected, compression) in [
        ("nothing", vec![], &b""[..], Compression::None),
        ("a byte", vec![b'a'], b"a", Compression::None),
        ("half a magic number", vec![0x28, 0xb5, 0x2f], &[0x28, 0xb5, 0x2f], Compression::None),
        ("plain", TEXT.to_vec(), TEXT, Compression::None),
        ("gzip", gzip(TEXT), TEXT, Compression::Gzip),
        ("gzip of nothing", gzip(b""), b"", Compression::Gzip),
        ("gzip with a name", named, TEXT, Compression::Gzip),
        (
            "gzip, many members",
            [gzip(TEXT), gzip(b""), gzip(TEXT), gzip(b"")].concat(),
            &twice,
            Compression::Gzip,
        ),
        ("gzip, padded", [gzip(TEXT), vec![0; 100_000]].concat(), TEXT, Compression::Gzip),
        ("gzip, large", gzip(&large), &large, Compression::Gzip),
        ("zstd", zstd(TEXT), TEXT, Compression::Zstd),
        ("zstd of nothing", zstd(b""), b"", Compression::Zstd),
        ("zstd, many frames", [zstd(TEXT), zstd(b""), zstd(TEXT)].concat(), &twice, Compression::Zstd),
        ("zstd, index last", [zstd(TEXT), skippable(b"index")].concat(), TEXT, Compression::Zstd),
        ("zstd, index first", [skippable(b"index"), zstd(TEXT)].concat(), TEXT, Compression::Zstd),
        ("zstd, large", zstd(&large), &large, Compression::Zstd),
    ] {
        assert_eq!(Decoder::new(&bytes[..]).unwrap().compression(), compression, "{what}");
        assert!(decode(&bytes).unwrap() == expected, "{what}");
    }
}

#[test]
fn what_is_refused() {
    let corrupt = |mut bytes: Vec<u8>, position: usize| {
        bytes[position] ^= 0x55;
        bytes
    };
    let length = gzip(TEXT).len();
    for (what, bytes) in [
        ("gzip, wrong checksum", corrupt(gzip(TEXT), length - 6)),
        ("gzip, wrong length", corrupt(gzip(TEXT), length - 2)),
        ("gzip, wrong method", corrupt(gzip(TEXT), 2)),
        ("gzip, garbage behind", [gzip(TEXT), b"garbage".to_vec()].concat()),
        ("gzip, garbage behind zeros", [gzip(TEXT), vec![0; 10], b"x".to_vec()].concat()),
        ("gzip, a member behind zeros", [gzip(TEXT), vec![0; 10], gzip(TEXT)].concat()),
    ] {
        assert_eq!(decode(&bytes).unwrap_err().kind(), ErrorKind::InvalidData, "{what}");
    }
    let length = zstd(TEXT).len();
    for (what, bytes) in [
        ("zstd, wrong checksum", corrupt(zstd(TEXT), length - 1)),
        ("zstd, garbage behind", [zstd(TEXT), b"garbage".to_vec()].concat()),
    ] {
        assert!(decode(&bytes).is_err(), "{what}");
    }
}

#[test]
fn what_is_cut_short() {
    let whole = [gzip(TEXT), gzip(TEXT)].concat();
    for length in 2..whole.len() {
        if length != whole.len() / 2 {
            assert_eq!(
                decode(&whole[..length]).unwrap_err().kind(),
                ErrorKind::UnexpectedEof,
                "gzip at {length}"
            );
        }
    }
    let whole = [zstd(TEXT), skippable(b"index"), zstd(TEXT)].concat();
    let (first, second) = (zstd(TEXT).len(), zstd(TEXT).len() + skippable(b"index").len());
    for length in 4..whole.len() {
        if length != first && length != second {
            assert_eq!(
                decode(&whole[..length]).unwrap_err().kind(),
                ErrorKind::UnexpectedEof,
                "zstd at {length}"
            );
        }
    }
}

#[test]
fn errors_of_the_reader_come_through() {
    struct Broken<'a>(&'a [u8]);
    impl Read for Broken<'_> {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            if self.0.is_empty() { Err(ErrorKind::ConnectionReset.into()) } else { self.0.read(out) }
        }
    }
    for bytes in [gzip(TEXT), zstd(TEXT), TEXT.to_vec()] {
        let mut decoder = Decoder::new(BufReader::new(Broken(&bytes[..bytes.len() - 1]))).unwrap();
        let error = io::copy(&mut decoder, &mut io::sink()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    }
}

#[test]
fn equal_bytes_give_equal_layers() {
    assert_eq!(gzip(TEXT), gzip(TEXT));
    // No name, no time, an unknown system (RFC 1952, section 2.3.1).
    assert_eq!(gzip(TEXT)[..10], [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255]);
}
