//! What has to hold for every input, however it came: for the fuzz targets, and for the replay of what they found.

use std::io::{self, BufReader, Read};

use crate::{Body, Decoder, Entry, Kind, Limits, Sparse, Table, merge, write_tar};

/// More than the inputs of a fuzzer inflate to in a useful time.
const MOST: u64 = 1 << 20;

fn decode(bytes: &[u8], capacity: usize) -> io::Result<Vec<u8>> {
    let mut out = Vec::new();
    Decoder::new(BufReader::with_capacity(capacity, bytes))?.take(MOST).read_to_end(&mut out)?;
    Ok(out)
}

/// Compressed bytes of any kind: no panic, no endless loop, and the same result whatever pieces they come in.
pub fn decoder(bytes: &[u8]) {
    match (decode(bytes, 64 * 1024), decode(bytes, 3)) {
        (Ok(large), Ok(small)) => assert!(large == small),
        (Err(_), Err(_)) => {}
        // Behind the last byte that is looked at there may be an error.
        (Ok(one), Err(_)) | (Err(_), Ok(one)) => assert_eq!(one.len() as u64, MOST),
    }
}

/// Compressed bytes of any kind: from every point where inflating can begin it gives what it gives from the first byte on; a table of
/// contents of any bytes is none, or one that can be asked for any part.
pub fn toc(bytes: &[u8]) {
    crate::toc::begin_anywhere(bytes, MOST);
    let file = |bytes: &[u8]| {
        let mut file = tempfile::tempfile().expect("a temporary file");
        io::Write::write_all(&mut file, bytes).expect("a few bytes");
        file
    };
    if let Ok(toc) = crate::Toc::open(file(bytes)) {
        let mut again = Vec::new();
        // A history that is damaged is found out when it is read.
        if toc.write(&mut again).is_ok() {
            assert_eq!(crate::Toc::open(file(&again)), Ok(toc));
        }
    }
}

/// A list of entries, as eStargz and zstd:chunked have it, of a layer that holds what is in the list: it is refused, or each content has a
/// place in the layer, behind the one before.
pub fn list(bytes: &[u8]) {
    let limits = Limits { memory: 1 << 22, entries: 1 << 12 };
    if let Some(toc) = crate::index::of_list(bytes, limits) {
        places(&toc, bytes);
    }
}

/// A zTOC, of a layer as long as it says: the same.
pub fn ztoc(bytes: &[u8]) {
    let limits = Limits { memory: 1 << 22, entries: 1 << 12 };
    // The number of compressed bytes is somewhere in it.
    for size in
        bytes.windows(8).step_by(4).filter_map(|bytes| Some(u64::from_le_bytes(bytes.try_into().ok()?)))
    {
        if let Ok(toc) = crate::index::soci::read(bytes, size, limits) {
            places(&toc, bytes);
        }
    }
}

/// Contents lie in spans, which lie in the layer; and whatever the layer is in truth, reading them ends.
fn places(toc: &crate::Toc, layer: &[u8]) {
    for entry in &toc.table.entries {
        assert!(clean(&entry.path) || entry.path.is_empty() && entry.kind == Kind::Directory);
        let Kind::File(body) = &entry.kind else { continue };
        let end = body.offset.checked_add(body.stored()).expect("it is checked");
        let cover = toc.cover(body.offset..end);
        assert!(cover.compressed.start <= cover.compressed.end && cover.compressed.end <= toc.size);
        assert!(
            body.stored() == 0 || !cover.spans.is_empty() && toc.inflated(cover.spans.start) <= body.offset
        );
        let part = |at: u64| usize::try_from(at).map_or(layer.len(), |at| at.min(layer.len()));
        let part = &layer[part(cover.compressed.start)..part(cover.compressed.end)];
        if let Some(mut inflated) = (!cover.spans.is_empty()).then(|| toc.resume(cover.spans.start, part)) {
            let inflated = inflated.as_mut().map(|inflated| inflated.take(MOST));
            let _ = inflated.map(|mut inflated| io::copy(&mut inflated, &mut io::sink()));
        }
    }
    let mut file = tempfile::tempfile().expect("a temporary file");
    toc.write(&mut file).expect("a few bytes");
    assert_eq!(crate::Toc::open(file).as_ref(), Ok(toc));
}

/// Archives of any kind, as layers of one image: nothing outside the root, and what is written is what was merged.
pub fn scan(input: &[u8]) {
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
    let (Some(lower), Some(upper)) = (read(&layers[0]), read(&layers[1])) else { return };
    let tables = [lower, upper];
    let Ok(merged) = merge(&tables) else { return };

    let flat = [write_tar(&merged, &layers[..], Vec::new()).expect("what was scanned can be written")];
    let table = [read(&flat[0]).expect("what was written can be read")];
    let again = merge(&table).expect("what was merged can be merged");
    assert_eq!(again.nodes.len(), merged.nodes.len());
    for (one, other) in merged.nodes.iter().zip(&again.nodes) {
        assert_eq!((one.path(), one.link()), (other.path(), other.link()));
        assert_eq!(one.entry.metadata, other.entry.metadata);
        assert_eq!(kind(one.entry), kind(other.entry));
    }
}

fn read(bytes: &[u8]) -> Option<Table> {
    let mut kept = Vec::new();
    let table = Table::scan(bytes, &mut kept, Limits { memory: 1 << 24, ..Limits::default() }).ok()?;
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
            assert!(body.offset.checked_add(body.stored()).is_some_and(|end| end <= size));
            if let Some(extents) = body.extents() {
                assert!(extents.iter().all(|extent| extent.offset + extent.length <= body.size));
                assert_eq!(extents.iter().map(|extent| extent.length).sum::<u64>(), body.stored());
            }
        }
        Kind::HardLink(target) => assert!(clean(target)),
        _ => {}
    }
}

/// A kind without what another archive of the same files may have otherwise: the place, and empty extents.
fn kind(entry: &Entry) -> Kind {
    let mut kind = entry.kind.clone();
    if let Kind::File(Body { offset, sparse, .. }) = &mut kind {
        *offset = 0;
        if let Some(Sparse { extents, .. }) = sparse.as_deref_mut() {
            *extents = extents.iter().filter(|extent| extent.length > 0).copied().collect();
        }
    }
    kind
}

#[path = "../../../fuzz/replay.rs"]
#[cfg(test)]
mod replay;

#[cfg(test)]
mod tests {
    use super::replay::replay;

    #[test]
    fn compressed_bytes_that_were_found() {
        replay("layer_decoder", super::decoder);
    }

    #[test]
    fn points_at_which_inflating_begins() {
        replay("layer_toc", super::toc);
        replay("layer_decoder", super::toc);
    }

    #[test]
    fn indexes_that_were_found() {
        replay("layer_list", super::list);
        replay("layer_ztoc", super::ztoc);
    }

    #[test]
    fn archives_that_were_found() {
        replay("layer_scan", super::scan);
    }
}
