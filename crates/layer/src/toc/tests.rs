//! Any part of any layer is what plain inflating gives.
#![expect(clippy::cast_possible_truncation, reason = "positions in vectors")]

use std::io::{Read, Write};
use std::num::NonZeroUsize;

use flate2::write::GzEncoder;
use proptest::prelude::*;

use super::*;
use crate::{Encoder, Encoding, Item, Metadata, TarWriter};

/// So close that small layers have many.
const CLOSE: Spacing = Spacing { afresh: 512, within: 2048, within_inflated: 8192, percent: 10_000 };

/// Bytes that compress like text, like noise or like zeros, piece by piece.
pub(crate) fn content(pieces: &[(u8, u16)]) -> Vec<u8> {
    let mut state = 7_u64;
    let mut next = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 33).to_le_bytes()[0]
    };
    let mut content = Vec::new();
    for (kind, length) in pieces {
        content.extend((0..usize::from(*length)).map(|_| match kind % 3 {
            0 => b"etaoin shrdlu\n"[usize::from(next() % 14)],
            1 => next(),
            _ => 0,
        }));
    }
    content
}

pub(crate) fn tar(content: &[u8]) -> Vec<u8> {
    let mut tar = TarWriter::new(Vec::new());
    tar.file(b"content", &Metadata::new(0o644), content.len() as u64, content).unwrap();
    tar.finish().unwrap()
}

/// A layer in the way of this number.
pub(crate) fn compress(way: u8, bytes: &[u8]) -> Vec<u8> {
    let gzip = |bytes: &[u8], level| {
        let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::new(level));
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    };
    let own = |encoding| {
        let mut encoder = Encoder::new(Vec::new(), encoding, NonZeroUsize::MIN).unwrap();
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    };
    match way {
        0..=9 => gzip(bytes, u32::from(way)),
        10 => bytes.to_vec(),
        11 => own(Encoding::Gzip(6)),
        12 => own(Encoding::Zstd(3)),
        13 => bytes.chunks(3000).flat_map(|part| gzip(part, 6)).collect(),
        14 => bytes.chunks(3000).flat_map(|part| zstd::bulk::compress(part, 3).unwrap()).collect(),
        15 => [gzip(bytes, 6), vec![0; 700]].concat(),
        16 => bytes.chunks(70_000).flat_map(|part| gzip(part, 1)).collect(),
        // Blocks that end where they are flushed, with an empty stored block behind each.
        _ => {
            let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::new(6));
            for part in bytes.chunks(1500) {
                encoder.write_all(part).unwrap();
                encoder.flush().unwrap();
            }
            encoder.finish().unwrap()
        }
    }
}

/// The table of a layer with spans that are close.
pub(crate) fn close(layer: &[u8]) -> Toc {
    Toc::spaced(layer, std::io::sink(), Limits::default(), (CLOSE, None)).unwrap().0
}

fn bytes_of(toc: &Toc) -> Vec<u8> {
    let mut bytes = Vec::new();
    toc.write(&mut bytes).unwrap();
    bytes
}

fn open(bytes: &[u8]) -> Result<Toc, TocError> {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    Toc::open(file)
}

/// A part of a layer, from the spans that have it, which are proven.
pub(crate) fn part(toc: &Toc, layer: &[u8], range: Range<u64>) -> Vec<u8> {
    let slice = |range: Range<u64>| &layer[range.start as usize..range.end as usize];
    let cover = toc.cover(range.clone());
    for span in cover.spans.clone() {
        assert!(toc.proves(span, [slice(toc.compressed(span))]));
        assert!(cover.compressed.start <= toc.compressed(span).start);
        assert!(cover.compressed.end >= toc.compressed(span).end);
    }
    let mut inflated = toc.resume(cover.spans.start, slice(cover.compressed)).unwrap();
    std::io::copy(&mut (&mut inflated).take(cover.skip), &mut std::io::sink()).unwrap();
    let mut found = Vec::new();
    inflated.take(range.end - range.start).read_to_end(&mut found).unwrap();
    found
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn every_part_is_what_inflating_all_gives(
        pieces in prop::collection::vec((any::<u8>(), any::<u16>()), 1..8),
        way in 0..=17_u8,
        parts in prop::collection::vec(any::<(u32, u32)>(), 8),
    ) {
        let inflated = tar(&content(&pieces));
        let layer = compress(way, &inflated);
        let mut kept = Vec::new();
        let toc = Toc::spaced(&layer[..], &mut kept, Limits::default(), (CLOSE, None)).unwrap().0;
        prop_assert_eq!(&kept, &inflated);
        prop_assert_eq!((toc.size, toc.table.size), (layer.len() as u64, inflated.len() as u64));
        prop_assert_eq!(&toc.table, &Table::scan(&inflated[..], std::io::sink(), Limits::default()).unwrap());
        for (one, other) in parts {
            let [one, other] = [one, other].map(|at| u64::from(at) % (inflated.len() as u64 + 1));
            let range = one.min(other)..one.max(other);
            let expected = &inflated[range.start as usize..range.end as usize];
            prop_assert!(part(&toc, &layer, range.clone()) == expected, "{:?} of way {}", range, way);
        }
        let opened = open(&bytes_of(&toc)).unwrap();
        prop_assert_eq!(&opened, &toc);
        // Histories come from the file.
        prop_assert!(part(&opened, &layer, 1..inflated.len() as u64) == inflated[1..]);
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..400), gzip in any::<bool>()) {
        let bytes = if gzip { [&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0][..], &bytes].concat() } else { bytes };
        let _ = Toc::spaced(&bytes[..], std::io::sink(), Limits::default(), (CLOSE, None));
        let _ = open(&bytes);
    }
}

#[test]
fn layers_of_all_ways_have_spans() {
    let inflated =
        tar(&content(&[(0, 60_000), (1, 30_000), (0, 60_000), (2, 60_000), (0, 60_000)].repeat(4)));
    for way in 0..=17 {
        let layer = compress(way, &inflated);
        let toc = close(&layer);
        // One frame of zstd cannot be cut, nor one block of deflate, which is all that zlib-rs makes at level 1.
        assert!(
            if [1, 12].contains(&way) { toc.spans() == 1 } else { toc.spans() > 4 },
            "way {way}: {}",
            toc.spans()
        );
        for span in 0..toc.spans() {
            let (from, to) = (toc.inflated(span), inflated.len() as u64);
            assert!(part(&toc, &layer, from..to) == inflated[from as usize..], "way {way}, span {span}");
        }
    }
}

#[test]
fn damage_is_noticed() {
    let layer = compress(6, &tar(&content(&[(0, 60_000); 10])));
    let toc = close(&layer);
    let range = toc.compressed(2);
    let mut part = layer[range.start as usize..range.end as usize].to_vec();
    assert!(toc.proves(2, [&part[..]]));
    part[10] ^= 1;
    assert!(!toc.proves(2, [&part[..]]));
    let mut bytes = bytes_of(&toc);
    assert_eq!(open(b"hoisttc0 of something else"), Err(TocError::Version));
    for length in [0, 10, 20, bytes.len() / 2, bytes.len() - 1] {
        assert_eq!(open(&bytes[..length]), Err(TocError::Damaged), "{length}");
    }
    // In the last history: it is found out when it is needed.
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    let opened = open(&bytes).unwrap();
    assert!(opened.resume(opened.spans() - 1, &layer[..]).is_err());
    bytes[100] ^= 1;
    assert_eq!(open(&bytes), Err(TocError::Damaged));
}

#[test]
fn the_usual_spacing_keeps_histories_small() {
    let mut noise = content(&[(0, 65_000), (1, 8000)]);
    for _ in 0..6 {
        noise = content(&[(0, 65_000), (1, 9000)]).into_iter().chain(noise.into_iter().rev()).collect();
        let more = noise.clone();
        noise.extend(more.iter().map(|byte| byte.rotate_left(1)));
    }
    let layer = compress(6, &tar(&noise));
    let toc = Toc::scan(&layer[..], std::io::sink(), Limits::default()).unwrap();
    assert!(toc.spans() > 2, "{} spans of {} bytes", toc.spans(), layer.len());
    assert!(toc.points_size() <= layer.len() as u64 / 50);
}

#[test]
fn a_file_is_caught_on_the_way() {
    let write = |files: &[(&str, &[u8])]| {
        let mut tar = TarWriter::new(Vec::new());
        for (path, content) in files {
            tar.begin(path.as_bytes(), &Metadata::new(0o644), Item::File(content.len() as u64)).unwrap();
            tar.write_all(content).unwrap();
        }
        tar.finish().unwrap()
    };
    let wanting = |layer: &[u8], path: &str| {
        let (toc, caught) = Toc::scan_wanting(layer, path.as_bytes(), Limits::default()).unwrap();
        assert_eq!(toc, Toc::scan(layer, std::io::sink(), Limits::default()).unwrap());
        caught.map(|caught| {
            assert!(toc.table.entries.iter().any(|entry| entry.kind == Kind::File(caught.body.clone())));
            (caught.body.offset, caught.stored)
        })
    };
    let block = [7; BLOCK];
    let layer = write(&[("a/b", b"old"), ("a/c", &block), ("a/b", b"new!"), ("d", b"")]);
    assert_eq!(wanting(&layer, "a/b"), Some((5 * BLOCK as u64, b"new!".to_vec())));
    assert_eq!(wanting(&layer, "a/c"), Some((3 * BLOCK as u64, block.to_vec())));
    assert_eq!(wanting(&layer, "d"), Some((7 * BLOCK as u64, Vec::new())));
    assert_eq!([wanting(&layer, "a"), wanting(&layer, "")], [None, None]);
    // A large one hides the small one before it.
    let most = vec![1; 1 << 20];
    let more = vec![1; most.len() + 1];
    assert_eq!(wanting(&write(&[("a", &most)]), "a").map(|(_, stored)| stored == most), Some(true));
    assert_eq!(wanting(&write(&[("a", b"old"), ("a", &more)]), "a"), None);
    // What is cut short is so for everybody.
    for length in [3 * BLOCK + 1, 3 * BLOCK + 511] {
        let cut = |path: &[u8]| {
            Toc::scan_wanting(&layer[..length], path, Limits::default()).unwrap_err().to_string()
        };
        assert_eq!(cut(b"a/c"), cut(b"x"));
    }
}
