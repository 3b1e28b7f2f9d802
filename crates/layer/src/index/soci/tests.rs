//! zTOCs written with the builder of `flatbuffers`, from points at any bit of a byte.
#![expect(clippy::cast_possible_truncation, reason = "positions in vectors")]

use std::io::Write as _;

use flatbuffers::{FlatBufferBuilder, UnionWIPOffset, WIPOffset};
use oci::Algorithm;
use proptest::prelude::*;

use super::*;
use crate::toc::tests::{close, compress, content, part, tar};

/// A point: the next whole byte, the inflated position, the bits before, the history.
type Point = (u64, u64, u8, Vec<u8>);

/// The points of a gzip layer of one member.
fn points(toc: &Toc) -> Vec<Point> {
    let Parts::Spans(spans) = &toc.parts else { panic!("it has spans") };
    let point = |span: &Span| match &span.start {
        Start::Afresh => (10, 0, 0, Vec::new()),
        Start::Within { bits, window } => {
            (span.compressed + 1, span.inflated, *bits, window.history().unwrap())
        }
    };
    spans.iter().map(point).collect()
}

fn checkpoints(points: &[Point], is_first: bool) -> Vec<u8> {
    let mut bytes = (points.len() as u32).to_le_bytes().to_vec();
    bytes.extend(4096_u64.to_le_bytes());
    for (at, inflated, bits, history) in &points[usize::from(is_first)..] {
        bytes.extend(at.to_le_bytes());
        bytes.extend(inflated.to_le_bytes());
        bytes.push(*bits);
        bytes.resize(bytes.len() + HISTORY - history.len(), 0);
        bytes.extend(history);
    }
    bytes
}

/// SHA-256 of the bytes of each span.
fn digests(points: &[Point], layer: &[u8]) -> Vec<String> {
    let start = |point: &Point| point.0 as usize - usize::from(point.2 > 0);
    let end = |number: usize| points.get(number + 1).map_or(layer.len(), |next| next.0 as usize);
    let digest = |(number, point)| Algorithm::Sha256.digest(&layer[start(point)..end(number)]).to_string();
    points.iter().enumerate().map(digest).collect()
}

/// A zTOC of a layer, in the numbers of fields of `ztoc.fbs`.
fn ztoc(
    size: usize,
    inflated: u64,
    algorithm: i8,
    (digests, checkpoints): (&[String], &[u8]),
    entries: &[Entry],
) -> Vec<u8> {
    let mut builder = FlatBufferBuilder::new();
    let list = entries.iter().map(|entry| file(&mut builder, entry)).collect::<Vec<_>>();
    let list = builder.create_vector(&list);
    let start = builder.start_table();
    builder.push_slot_always(slot(0), list);
    let toc = builder.end_table(start);
    let digests = digests.iter().map(|digest| builder.create_string(digest)).collect::<Vec<_>>();
    let digests = builder.create_vector(&digests);
    let checkpoints = builder.create_vector(checkpoints);
    let start = builder.start_table();
    builder.push_slot(slot(0), algorithm, 1_i8);
    builder.push_slot_always(slot(2), digests);
    builder.push_slot_always(slot(3), checkpoints);
    let compression = builder.end_table(start);
    let version = builder.create_string("0.9");
    let start = builder.start_table();
    builder.push_slot_always(slot(0), version);
    builder.push_slot(slot(2), (size as u64).cast_signed(), 0);
    builder.push_slot(slot(3), inflated.cast_signed(), 0);
    builder.push_slot_always(slot(4), toc);
    builder.push_slot_always(slot(5), compression);
    let root = builder.end_table(start);
    builder.finish_minimal(root);
    builder.finished_data().to_vec()
}

fn file(builder: &mut FlatBufferBuilder<'_>, entry: &Entry) -> WIPOffset<UnionWIPOffset> {
    let Kind::File(body) = &entry.kind else { panic!("files alone") };
    let name = builder.create_string(str::from_utf8(&entry.path).unwrap());
    let kind = builder.create_string("reg");
    let start = builder.start_table();
    builder.push_slot_always(slot(0), name);
    builder.push_slot_always(slot(1), kind);
    builder.push_slot(slot(2), body.offset.cast_signed(), 0);
    builder.push_slot(slot(3), body.size.cast_signed(), 0);
    builder.push_slot(slot(5), i64::from(entry.metadata.mode), 0);
    builder.end_table(start).as_union_value()
}

/// Where a field's number stands in a table's list: 4 bytes of lengths, then 2 for each.
fn slot(number: u16) -> u16 {
    4 + 2 * number
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn every_part_is_what_inflating_all_gives(
        pieces in prop::collection::vec((any::<u8>(), any::<u16>()), 1..8),
        way in 2..=9_u8,
        is_first in any::<bool>(),
        parts in prop::collection::vec(any::<(u32, u32)>(), 8),
        flips in prop::collection::vec(any::<(prop::sample::Index, u8)>(), 1..4),
    ) {
        let inflated = tar(&content(&pieces));
        let layer = compress(way, &inflated);
        let own = close(&layer);
        let points = points(&own);
        let compression = (&digests(&points, &layer)[..], &checkpoints(&points, is_first)[..]);
        let mut bytes = ztoc(layer.len(), inflated.len() as u64, 1, compression, &own.table.entries);
        let toc = read(&bytes, layer.len() as u64, Limits::default()).unwrap();
        prop_assert_eq!((&toc.table, toc.spans()), (&own.table, own.spans()));
        for (one, other) in parts {
            let [one, other] = [one, other].map(|at| u64::from(at) % (inflated.len() as u64 + 1));
            let range = one.min(other)..one.max(other);
            let expected = &inflated[range.start as usize..range.end as usize];
            prop_assert!(part(&toc, &layer, range.clone()) == expected, "{:?}", range);
        }
        let Kind::File(body) = &toc.table.entries[0].kind else { panic!("a file") };
        let lead = part(&toc, &layer, body.offset - toc.lead()..body.offset);
        let longer = Body { size: body.size + 1, ..body.clone() };
        prop_assert_eq!((toc.confirms(&lead, body), toc.confirms(&lead, &longer)), (true, false));
        // Whatever is damaged, nothing panics.
        for (at, byte) in flips {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Ok(toc) = read(&bytes, layer.len() as u64, Limits::default()) {
            let all = toc.cover(0..toc.table.size);
            prop_assert!(all.compressed.end <= layer.len() as u64);
            for span in all.spans {
                let range = toc.compressed(span);
                let _ = toc.proves(span, [&layer[range.start as usize..range.end as usize]]);
            }
        }
    }
}

#[test]
fn what_is_not_of_the_layer_is_refused() {
    let inflated = tar(&content(&[(0, 60_000); 4]));
    let layer = compress(6, &inflated);
    let own = close(&layer);
    let points = points(&own);
    let (digests, size) = (digests(&points, &layer), layer.len() as u64);
    let made = |inflated: u64, points: &[Point], entry: Entry| {
        let bytes = ztoc(layer.len(), inflated, 1, (&digests, &checkpoints(points, false)), &[entry]);
        read(&bytes, size, Limits::default()).map_err(|error| error.to_string())
    };
    let entry = own.table.entries[0].clone();
    let length = inflated.len() as u64;
    made(length, &points, entry.clone()).unwrap();
    let refused = |outcome: Result<Toc, String>, problem: &str| {
        let error = outcome.unwrap_err();
        assert!(error.contains(problem), "{problem}: {error}");
    };
    let bytes = ztoc(layer.len(), length, 1, (&digests, &checkpoints(&points, false)), &[]);
    refused(read(&bytes, size + 1, Limits::default()).map_err(|error| error.to_string()), "of another layer");
    let elsewhere = |offset, stored| Entry { kind: Kind::File(Body::whole(offset, stored)), ..entry.clone() };
    for (offset, stored) in [(0, 1), (511, 1), (length, 1), (600, u64::MAX >> 1), (1 << 62, 1 << 62)] {
        refused(made(length, &points, elsewhere(offset, stored)), "outside of the layer");
    }
    refused(made(length, &points, Entry { path: b"../x"[..].into(), ..entry.clone() }), "`..`");
    let mut twice = points.clone();
    twice[2] = twice[1].clone();
    refused(made(length, &twice, entry.clone()), "damaged");
    let mut outside = points.clone();
    outside.last_mut().unwrap().0 = size;
    refused(made(length, &outside, entry.clone()), "damaged");
    refused(made(length, &points[1..], entry), "damaged");
    for length in 0..bytes.len().min(400) {
        assert!(read(&bytes[..length], size, Limits::default()).is_err());
    }
}

/// Offsets may lead to one place as often as they like: a small zTOC is no reason to copy one record a thousand times.
#[test]
fn what_is_named_many_times_counts_each_time() {
    let mut builder = FlatBufferBuilder::new();
    let [name, kind, record, value] =
        ["file", "reg", "user.note", &"x".repeat(1 << 16)].map(|text| builder.create_string(text));
    let start = builder.start_table();
    builder.push_slot_always(slot(0), record);
    builder.push_slot_always(slot(1), value);
    let record = builder.end_table(start).as_union_value();
    let records = builder.create_vector(&vec![record; 1000]);
    let start = builder.start_table();
    builder.push_slot_always(slot(0), name);
    builder.push_slot_always(slot(1), kind);
    builder.push_slot_always(slot(13), records);
    let entry = builder.end_table(start).as_union_value();
    let entries = builder.create_vector(&[entry]);
    let start = builder.start_table();
    builder.push_slot_always(slot(0), entries);
    let toc = builder.end_table(start);
    let digests = builder.create_vector::<WIPOffset<&str>>(&[]);
    let mut checkpoints = 2_i32.to_le_bytes().to_vec();
    checkpoints.extend(1_u64.to_le_bytes());
    checkpoints.extend(0_u64.to_le_bytes());
    let checkpoints = builder.create_vector(&checkpoints);
    let start = builder.start_table();
    builder.push_slot(slot(0), 2_i8, 1);
    builder.push_slot_always(slot(2), digests);
    builder.push_slot_always(slot(3), checkpoints);
    let compression = builder.end_table(start);
    let start = builder.start_table();
    builder.push_slot_always(slot(4), toc);
    builder.push_slot_always(slot(5), compression);
    let root = builder.end_table(start);
    builder.finish_minimal(root);
    let limits = Limits { memory: 1 << 22, ..Limits::default() };
    assert!(matches!(read(builder.finished_data(), 0, limits), Err(Error::Limit { .. })));
}

#[test]
fn plain_archives_have_spans_of_one_length() {
    let archive = tar(&content(&[(0, 10_000)]));
    let span = 4096_u64;
    let digests: Vec<String> =
        archive.chunks(4096).map(|part| Algorithm::Sha256.digest(part).to_string()).collect();
    let mut checkpoints = 2_i32.to_le_bytes().to_vec();
    checkpoints.write_all(&span.to_le_bytes()).unwrap();
    checkpoints.write_all(&(archive.len() as u64).to_le_bytes()).unwrap();
    let own = close(&archive);
    let made = |span: &[String]| {
        let bytes = ztoc(archive.len(), archive.len() as u64, 2, (span, &checkpoints), &own.table.entries);
        read(&bytes, archive.len() as u64, Limits::default())
    };
    let toc = made(&digests).unwrap();
    assert_eq!((toc.compression, toc.spans(), &toc.table), (Compression::None, digests.len(), &own.table));
    assert_eq!(part(&toc, &archive, 700..9000), archive[700..9000]);
    assert!(made(&digests[1..]).is_err());
}
