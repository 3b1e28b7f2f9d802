//! What became of the entries of all layers in the merged file system, and which of them had to do with a path.

use std::collections::HashMap;

use layer::{Entry, Kind, Merged, Table, Whiteout, is_within};

/// What became of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is in the merged file system.
    Present,
    /// Something else has its path.
    Overwritten,
    /// Nothing has its path.
    Deleted,
    /// It is no file but hides some of lower layers.
    Whiteout,
}

/// What became of each entry of each layer, in the order of the tables.
pub fn fates(tables: &[&Table], merged: &Merged<'_>) -> Vec<Vec<Fate>> {
    let mut visible: Vec<*const Entry> =
        merged.nodes.iter().map(|node| std::ptr::from_ref(node.entry)).collect();
    visible.sort_unstable();
    // The paths of hard links, and whether something above has them, too.
    let links = tables
        .iter()
        .flat_map(|table| &table.entries)
        .filter(|entry| matches!(entry.kind, Kind::HardLink(_)));
    let mut links: HashMap<&[u8], bool> = links.map(|entry| (&*entry.path, false)).collect();
    let mut fates: Vec<Vec<Fate>> = Vec::with_capacity(tables.len());
    for table in tables.iter().rev() {
        let mut own = Vec::with_capacity(table.entries.len());
        for entry in table.entries.iter().rev() {
            let is_last = links.get_mut(&*entry.path).is_none_or(|seen| !std::mem::replace(seen, true));
            own.push(fate(entry, is_last, &visible, merged));
        }
        own.reverse();
        fates.push(own);
    }
    fates.reverse();
    fates
}

fn fate(entry: &Entry, is_last: bool, visible: &[*const Entry], merged: &Merged<'_>) -> Fate {
    if entry.whiteout().is_some() {
        return Fate::Whiteout;
    }
    let is_visible = match entry.kind {
        // A node has the entry of the file that it is a link to.
        Kind::HardLink(_) => is_last && merged.find(&entry.path, false).is_ok(),
        _ => visible.binary_search(&std::ptr::from_ref(entry)).is_ok(),
    };
    if is_visible {
        return Fate::Present;
    }
    match merged.find(&entry.path, false) {
        Ok(_) => Fate::Overwritten,
        Err(_) => Fate::Deleted,
    }
}

/// What a layer did to a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Touch<'a> {
    /// The layer, counted from the bottom.
    pub layer: usize,
    /// What its entry did.
    pub deed: Deed,
    /// The entry.
    pub entry: &'a Entry,
}

/// What an entry did to a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    /// It put something there.
    Wrote,
    /// It is a whiteout of it, or of a directory above it.
    Removed,
    /// It hides what lower layers have in a directory above it.
    Cleared,
    /// It put something that is no directory in the place of a directory above it.
    Replaced,
}

/// All that layers did to a path (clean, without symbolic links), from the bottom on; in one layer in the order of its archive.
pub fn touches<'a>(tables: &[&'a Table], path: &[u8]) -> Vec<Touch<'a>> {
    let mut touches = Vec::new();
    for (layer, table) in tables.iter().enumerate() {
        let deeds = table.entries.iter().filter_map(|entry| Some((deed(entry, path)?, entry)));
        touches.extend(deeds.map(|(deed, entry)| Touch { layer, deed, entry }));
    }
    touches
}

fn deed(entry: &Entry, path: &[u8]) -> Option<Deed> {
    let (directory, _) = entry.split();
    match entry.whiteout() {
        Some(Whiteout::Hide(name)) => {
            let hidden = if directory.is_empty() { name.to_vec() } else { [directory, b"/", name].concat() };
            is_within(path, &hidden).then_some(Deed::Removed)
        }
        Some(Whiteout::Opaque) => (path != directory && is_within(path, directory)).then_some(Deed::Cleared),
        Some(Whiteout::Bookkeeping) => None,
        None if *entry.path == *path => Some(Deed::Wrote),
        None => (entry.kind != Kind::Directory && is_within(path, &entry.path)).then_some(Deed::Replaced),
    }
}

#[cfg(test)]
mod tests {
    use layer::{Item, Limits, Metadata, TarWriter};

    use super::*;

    fn table(entries: &[&str]) -> Table {
        let mut tar = TarWriter::new(Vec::new());
        for entry in entries {
            let item = match (entry.strip_suffix('/'), entry.split_once('=')) {
                (Some(path), _) => (path, Item::Directory),
                (_, Some((path, target))) => (path, Item::HardLink(target.as_bytes())),
                _ => (*entry, Item::File(0)),
            };
            tar.begin(item.0.as_bytes(), &Metadata::new(0o644), item.1).unwrap();
        }
        Table::scan(&tar.finish().unwrap()[..], std::io::sink(), Limits::default()).unwrap()
    }

    #[test]
    fn every_entry_has_a_fate() {
        use Fate::{Deleted, Overwritten, Present, Whiteout};
        let tables = [
            table(&["etc/", "etc/a", "etc/b", "etc/hard=etc/a", "gone/", "gone/x"]),
            table(&["etc/", "etc/b", "etc/.wh.a", ".wh.gone"]),
        ];
        let tables: Vec<&Table> = tables.iter().collect();
        let merged = layer::merge(&tables).unwrap();
        assert_eq!(
            fates(&tables, &merged),
            // What has another name is still there.
            [
                vec![Overwritten, Present, Overwritten, Present, Deleted, Deleted],
                vec![Present, Present, Whiteout, Whiteout]
            ]
        );
    }

    #[test]
    fn a_path_knows_who_touched_it() {
        let tables = [
            table(&["a/", "a/b/", "a/b/c"]),
            table(&["a/", "a/.wh..wh..opq", "a/b/", "a/b/c"]),
            table(&["a/b"]),
            table(&[".wh.a", "x"]),
        ];
        let tables: Vec<&Table> = tables.iter().collect();
        let deeds: Vec<_> =
            touches(&tables, b"a/b/c").into_iter().map(|touch| (touch.layer, touch.deed)).collect();
        assert_eq!(
            deeds,
            [(0, Deed::Wrote), (1, Deed::Cleared), (1, Deed::Wrote), (2, Deed::Replaced), (3, Deed::Removed)]
        );
        assert_eq!(touches(&tables, b"ab").len(), 0);
    }
}
