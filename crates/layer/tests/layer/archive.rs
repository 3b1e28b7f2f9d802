//! Layers for tests, from few words.

use std::io::Write as _;

use layer::{Body, Entry, Item, Kind, Limits, Merged, Metadata, Table, TarWriter, write_tar};

/// An archive of `a/` (directory), `a=content` (file), `a->target` (symbolic link), `a=>target` (hard link).
pub(crate) fn archive(entries: &[&str]) -> Vec<u8> {
    let mut tar = TarWriter::new(Vec::new());
    let metadata = Metadata::new(0o644);
    for entry in entries {
        if let Some((path, target)) = entry.split_once("=>") {
            tar.begin(path.as_bytes(), &metadata, Item::HardLink(target.as_bytes())).unwrap();
        } else if let Some((path, target)) = entry.split_once("->") {
            tar.begin(path.as_bytes(), &metadata, Item::Symlink(target.as_bytes())).unwrap();
        } else if let Some(path) = entry.strip_suffix('/') {
            tar.begin(path.as_bytes(), &metadata, Item::Directory).unwrap();
        } else {
            let (path, content) = entry.split_once('=').unwrap_or((entry, ""));
            tar.file(path.as_bytes(), &metadata, content.len() as u64, content.as_bytes()).unwrap();
        }
    }
    tar.finish().unwrap()
}

/// The table of an archive, whose bytes must have been kept as they are.
pub(crate) fn scan(archive: &[u8]) -> Result<Table, layer::Error> {
    let mut kept = Vec::new();
    let table = Table::scan(archive, &mut kept, Limits::default())?;
    assert_eq!(kept, archive);
    assert_eq!(table.size, archive.len() as u64);
    Ok(table)
}

/// The content of a file, its holes filled.
pub(crate) fn content(archive: &[u8], body: &Body) -> Vec<u8> {
    let offset = usize::try_from(body.offset).unwrap();
    let mut stored = &archive[offset..offset + usize::try_from(body.stored()).unwrap()];
    let Some(extents) = body.extents() else { return stored.to_vec() };
    let mut content = vec![0; usize::try_from(body.size).unwrap()];
    for extent in extents {
        let (start, length) =
            (usize::try_from(extent.offset).unwrap(), usize::try_from(extent.length).unwrap());
        let (head, tail) = stored.split_at(length);
        content[start..start + length].copy_from_slice(head);
        stored = tail;
    }
    content
}

/// A merged file system in the words of [`archive`].
pub(crate) fn listing(merged: &Merged<'_>, archives: &[Vec<u8>]) -> Vec<String> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let line = |node: &layer::Node<'_>| {
        let path = text(node.path());
        if let Some(first) = node.link() {
            return format!("{path}=>{}", text(merged.nodes[first].path()));
        }
        match &node.entry.kind {
            Kind::File(body) => format!("{path}={}", text(&content(&archives[node.layer()], body))),
            Kind::Directory => format!("{path}/"),
            Kind::Symlink(target) => format!("{path}->{}", text(target)),
            other => format!("{path} {other:?}"),
        }
    };
    merged.nodes.iter().map(line).collect()
}

/// Merges archives and writes the result as one.
pub(crate) fn flatten(archives: &[Vec<u8>]) -> Vec<u8> {
    let tables: Vec<_> = archives.iter().map(|archive| scan(archive).unwrap()).collect();
    write_tar(&layer::merge(&tables).unwrap(), archives, Vec::new()).unwrap()
}

/// An archive of one entry with a content.
pub(crate) fn single(path: &[u8], metadata: &Metadata, item: Item<'_>, content: &[u8]) -> Vec<u8> {
    let mut tar = TarWriter::new(Vec::new());
    tar.begin(path, metadata, item).unwrap();
    tar.write_all(content).unwrap();
    tar.finish().unwrap()
}

/// The only entry of an archive.
pub(crate) fn only(archive: &[u8]) -> Entry {
    let mut table = scan(archive).unwrap();
    assert_eq!(table.entries.len(), 1);
    table.entries.remove(0)
}
