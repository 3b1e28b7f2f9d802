//! Archives of any kind, as layers of one image: no panic, nothing outside the root, and what is written is what was merged.

#![no_main]

use layer::{Body, Entry, Kind, Limits, Table, merge, write_tar};
use libfuzzer_sys::fuzz_target;

fn scan(bytes: &[u8]) -> Option<Table> {
    let mut kept = Vec::new();
    let table = Table::scan(bytes, &mut kept, Limits { memory: 1 << 24 }).ok()?;
    assert!(kept == bytes && table.size == bytes.len() as u64);
    for entry in &table.entries {
        check(entry, table.size);
    }
    Some(table)
}

fn clean(path: &[u8]) -> bool {
    path.split(|byte| *byte == b'/').all(|name| !matches!(name, b"" | b"." | b"..") && !name.contains(&0))
}

fn check(entry: &Entry, size: u64) {
    assert!(clean(&entry.path) || entry.path.is_empty() && entry.kind == Kind::Directory);
    match &entry.kind {
        Kind::File(body) => {
            assert!(body.offset.checked_add(body.stored).is_some_and(|end| end <= size));
            if let Some(extents) = &body.extents {
                assert!(extents.iter().all(|extent| extent.offset + extent.length <= body.size));
                assert_eq!(extents.iter().map(|extent| extent.length).sum::<u64>(), body.stored);
            }
        }
        Kind::HardLink(target) => assert!(clean(target)),
        _ => {}
    }
}

/// A kind without what another archive of the same files may have otherwise: the place, and empty extents.
fn kind(entry: &Entry) -> Kind {
    let mut kind = entry.kind.clone();
    if let Kind::File(Body { offset, extents, .. }) = &mut kind {
        *offset = 0;
        *extents = extents.take().map(|all| all.into_iter().filter(|extent| extent.length > 0).collect());
    }
    kind
}

fuzz_target!(|input: &[u8]| {
    let [sums, split, bytes @ ..] = input else { return };
    let mut bytes = bytes.to_vec();
    // No fuzzer finds a checksum: one bit for every block of eight says where to put the right one.
    for (index, block) in bytes.as_chunks_mut::<512>().0.iter_mut().enumerate() {
        if sums >> (index % 8) & 1 == 1 {
            block[148..156].fill(b' ');
            let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
            block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        }
    }
    let (lower, upper) = bytes.split_at((usize::from(*split) * 512).min(bytes.len()));
    let layers = [lower.to_vec(), upper.to_vec()];
    let (Some(lower), Some(upper)) = (scan(&layers[0]), scan(&layers[1])) else { return };
    let tables = [lower, upper];
    let Ok(merged) = merge(&tables) else { return };

    let flat = [write_tar(&merged, &layers[..], Vec::new()).expect("what was scanned can be written")];
    let table = [scan(&flat[0]).expect("what was written can be read")];
    let again = merge(&table).expect("what was merged can be merged");
    assert_eq!(again.nodes.len(), merged.nodes.len());
    for (one, other) in merged.nodes.iter().zip(&again.nodes) {
        assert_eq!((&one.path, one.link), (&other.path, other.link));
        assert_eq!(one.entry.metadata, other.entry.metadata);
        assert_eq!(kind(one.entry), kind(other.entry));
    }
});
