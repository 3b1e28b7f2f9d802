//! The newest layers of an image alone: what they say of a path, and what they leave to those below.

use std::collections::BTreeSet;

use crate::entry::Kind;
use crate::path;
use crate::{Merged, Node};

/// What the newest layers make of a file system whose lower layers are not known ([`merge_above`](crate::merge_above)).
#[derive(Clone, Debug, Default)]
pub struct Above<'a> {
    /// What they have.
    pub merged: Merged<'a>,
    /// Paths that they hide, with all below.
    pub hidden: BTreeSet<Box<[u8]>>,
    /// Directories of which they hide the content.
    pub opaque: BTreeSet<Box<[u8]>>,
    /// Directories that they have something in, but no entry of.
    pub implied: Vec<Box<[u8]>>,
    /// There are no layers below.
    pub is_whole: bool,
}

/// What layers say of a path.
#[derive(Clone, Copy, Debug)]
pub enum Seen<'m, 'a> {
    /// It is there.
    Node(&'m Node<'a>),
    /// There is nothing, whatever lower layers have.
    Gone,
    /// There is what lower layers have.
    Below,
}

impl<'a> Above<'a> {
    /// All layers of an image, merged.
    pub fn whole(merged: Merged<'a>) -> Self {
        Self { merged, is_whole: true, ..Self::default() }
    }

    /// What the layers say of a path, which is cleaned and has no symbolic links on it.
    pub fn at(&self, path: &[u8]) -> Seen<'_, 'a> {
        if let Some(index) = self.merged.at(path) {
            return Seen::Node(&self.merged.nodes[index]);
        }
        if self.is_whole || self.hidden.contains(path) || !path.is_empty() && self.is_opaque(b"") {
            return Seen::Gone;
        }
        let is_gone = |above: &[u8]| self.hidden.contains(above) || self.is_opaque(above);
        if path::parents(path).any(is_gone) { Seen::Gone } else { Seen::Below }
    }

    /// Whether what lower layers have in a directory is not seen.
    fn is_opaque(&self, directory: &[u8]) -> bool {
        let is_other = || {
            let node = self.merged.at(directory).map(|index| &self.merged.nodes[index].entry.kind);
            node.is_some_and(|kind| *kind != Kind::Directory)
        };
        self.opaque.contains(directory) || is_other()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Item, Limits, Metadata, Table, TarWriter, merge_above};

    /// A layer of directories (`d/`), symbolic links (`l>target`) and files.
    fn table(entries: &[&str]) -> Table {
        let mut tar = TarWriter::new(Vec::new());
        for entry in entries {
            let metadata = Metadata::new(0o755);
            let (path, item) = match (entry.split_once('>'), entry.strip_suffix('/')) {
                (Some((path, target)), _) => (path, Item::Symlink(target.as_bytes())),
                (_, Some(path)) => (path, Item::Directory),
                _ => (*entry, Item::File(0)),
            };
            tar.begin(path.as_bytes(), &metadata, item).unwrap();
        }
        Table::scan(&tar.finish().unwrap()[..], std::io::sink(), Limits::default()).unwrap()
    }

    fn seen(above: &Above<'_>, path: &str) -> char {
        match above.at(path.as_bytes()) {
            Seen::Node(_) => 'n',
            Seen::Gone => 'g',
            Seen::Below => 'b',
        }
    }

    #[test]
    fn what_is_below_shows_through_where_nothing_hides_it() {
        let tables = [
            table(&[
                "etc/",
                "etc/.wh.gone",
                "etc/file",
                "var/deep/new",
                "opaque/",
                "opaque/.wh..wh..opq",
                "was",
            ]),
            table(&[
                "etc/.wh.file",
                "etc/link>/usr",
                "was/",
                "was/in",
                "lib>usr/lib",
                "lib/x",
                "far/.wh.off",
            ]),
        ];
        let above = merge_above(&tables).unwrap();
        for (path, expected) in [
            ("etc", 'n'),
            ("etc/gone", 'g'),
            ("etc/gone/deep", 'g'),
            ("etc/file", 'g'),
            ("etc/other", 'b'),
            ("etc/link/x", 'g'),
            ("var", 'b'),
            ("var/deep/new", 'n'),
            ("var/deep/old", 'b'),
            ("opaque/old", 'g'),
            ("was", 'n'),
            ("was/old", 'g'),
            ("lib/x", 'g'),
            ("usr/lib/x", 'n'),
            ("far/off", 'g'),
            ("far", 'b'),
        ] {
            assert_eq!(seen(&above, path), expected, "{path}");
        }
        let implied: Vec<&[u8]> = above.implied.iter().map(|path| &**path).collect();
        assert_eq!(implied, [&b"usr"[..], b"usr/lib", b"var", b"var/deep"]);
        // Where this hides something is not known.
        assert!(merge_above(&[table(&["lib>usr/lib", "lib/.wh.x"])]).is_none());
        let whole = Above::whole(crate::merge(&tables[..1]).unwrap());
        assert_eq!(seen(&whole, "etc/other"), 'g');
    }
}
