//! Finding a path in a merged file system, as the kernel would inside its root.

use std::cmp::Ordering;

use crate::entry::Kind;
use crate::error::quote;
use crate::path::PATH_MAX;
use crate::{Merged, Node};

/// As many symbolic links as Linux follows on one path (`path_resolution(7)`).
const HOPS: usize = 40;

/// What a path leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// The node of this index.
    Node(usize),
    /// A directory that no layer has an entry for, with its path.
    Directory(Vec<u8>),
}

/// Why a path leads nowhere.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FindError {
    /// There is nothing of this name.
    #[error("there is no {} in the image", rooted(.0))]
    NotFound(Vec<u8>),
    /// What is no directory has nothing in it.
    #[error("{} is not a directory in the image", rooted(.0))]
    NotADirectory(Vec<u8>),
    /// Symbolic links lead round.
    #[error("more than 40 symbolic links on the way to {}", rooted(.0))]
    Loop(Vec<u8>),
    /// Symbolic links make a path that no system opens.
    #[error("symbolic links lead {} to a path of more than 4095 bytes", rooted(.0))]
    Long(Vec<u8>),
}

impl Merged<'_> {
    /// The node at a path that has no symbolic links on it, cleaned, without `/` at its ends.
    pub fn at(&self, path: &[u8]) -> Option<usize> {
        self.nodes.binary_search_by(|node| path_order(node.path(), path)).ok()
    }

    /// The nodes below a path, of the directory itself as the first, if it has one.
    pub fn below(&self, path: &[u8]) -> &[Node<'_>] {
        if path.is_empty() {
            return &self.nodes;
        }
        let first = self.nodes.partition_point(|node| path_order(node.path(), path) == Ordering::Less);
        let rest = &self.nodes[first..];
        let count = rest.iter().take_while(|node| is_within(node.path(), path)).count();
        &rest[..count]
    }

    /// What a path leads to. It begins at the root, and may have `.`, `..` and superfluous slashes. Symbolic links are followed, the
    /// last component too if `follow` says so, or a slash is behind it.
    ///
    /// # Errors
    ///
    /// If it leads nowhere.
    pub fn find(&self, path: &[u8], follow: bool) -> Result<Found, FindError> {
        let follow = follow || path.ends_with(b"/");
        let mut at: Vec<u8> = Vec::new();
        let mut rest: Vec<Vec<u8>> = components(path);
        let mut hops = 0;
        while let Some(component) = rest.pop() {
            if component == b".." {
                at.truncate(at.iter().rposition(|byte| *byte == b'/').unwrap_or(0));
                continue;
            }
            let length = at.len();
            if length > 0 {
                at.push(b'/');
            }
            at.extend(&component);
            if at.len() > PATH_MAX {
                return Err(FindError::Long(path.to_vec()));
            }
            let node = self.at(&at).map(|index| &self.nodes[index].entry.kind);
            match node {
                Some(Kind::Directory) => {}
                Some(Kind::Symlink(target)) if follow || !rest.is_empty() => {
                    hops += 1;
                    if hops > HOPS {
                        return Err(FindError::Loop(path.to_vec()));
                    }
                    rest.extend(components(target));
                    at.truncate(if target.starts_with(b"/") { 0 } else { length });
                }
                Some(_) if rest.is_empty() => {}
                Some(_) => return Err(FindError::NotADirectory(at)),
                None if self.below(&at).is_empty() => return Err(FindError::NotFound(at)),
                None => {}
            }
        }
        Ok(self.at(&at).map_or(Found::Directory(at), Found::Node))
    }
}

/// A path as messages have it.
fn rooted(path: &[u8]) -> String {
    let slash: &[u8] = if path.starts_with(b"/") { b"" } else { b"/" };
    quote(&[slash, path].concat())
}

/// The components of a path that lead somewhere, the last one first.
fn components(path: &[u8]) -> Vec<Vec<u8>> {
    let parts = path.split(|byte| *byte == b'/').filter(|part| !part.is_empty() && *part != b".");
    let mut parts: Vec<_> = parts.map(<[u8]>::to_vec).collect();
    parts.reverse();
    parts
}

/// The order of nodes in a merged file system: parents before children, the names of a directory in the order of their bytes.
pub fn path_order(one: &[u8], other: &[u8]) -> Ordering {
    match (one.is_empty(), other.is_empty()) {
        (true, true) => Ordering::Equal,
        (true, false) => Ordering::Less,
        (false, true) => Ordering::Greater,
        (false, false) => one.split(|byte| *byte == b'/').cmp(other.split(|byte| *byte == b'/')),
    }
}

/// Whether a clean path is another one, or below it; all are below the root, which is empty.
pub fn is_within(path: &[u8], directory: &[u8]) -> bool {
    directory.is_empty()
        || path.strip_prefix(directory).is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Item, Limits, Metadata, Table, TarWriter, merge, merge_newest};

    /// A layer of directories (`d/`), symbolic links (`l>target`), hard links (`h=target`) and files.
    fn table(entries: &[&str]) -> Table {
        let mut tar = TarWriter::new(Vec::new());
        for entry in entries {
            let metadata = Metadata::new(0o755);
            let (path, item) = match (entry.split_once('>'), entry.split_once('='), entry.strip_suffix('/')) {
                (Some((path, target)), _, _) => (path, Item::Symlink(target.as_bytes())),
                (_, Some((path, target)), _) => (path, Item::HardLink(target.as_bytes())),
                (_, _, Some(path)) => (path, Item::Directory),
                _ => (*entry, Item::File(0)),
            };
            tar.begin(path.as_bytes(), &metadata, item).unwrap();
        }
        Table::scan(&tar.finish().unwrap()[..], std::io::sink(), Limits::default()).unwrap()
    }

    fn find(merged: &Merged<'_>, path: &str, follow: bool) -> String {
        match merged.find(path.as_bytes(), follow) {
            Ok(Found::Node(index)) => String::from_utf8_lossy(merged.nodes[index].path()).into_owned(),
            Ok(Found::Directory(path)) => format!("{}/", String::from_utf8_lossy(&path)),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn paths_lead_where_the_kernel_has_them() {
        let tables = [table(&[
            "a/",
            "a/b/",
            "a/b/file",
            "a.b",
            "a/to>/a/b",
            "a/up>../a.b",
            "loop>loop",
            "out>../../a/to/",
            "deep/er/file",
            "nowhere>none",
        ])];
        let merged = merge(&tables).unwrap();
        for (path, follow, expected) in [
            ("a/b/file", true, "a/b/file"),
            ("//a/./b/../b//file", true, "a/b/file"),
            ("a/to/file", false, "a/b/file"),
            ("a/to", false, "a/to"),
            ("a/to/", false, "a/b"),
            ("a/to", true, "a/b"),
            ("a/up", true, "a.b"),
            ("out/file", true, "a/b/file"),
            ("out/../b", true, "a/b"),
            ("..", true, "/"),
            ("", true, "/"),
            ("deep", true, "deep/"),
            ("deep/er/file", true, "deep/er/file"),
            ("loop", false, "loop"),
            ("loop", true, "more than 40 symbolic links on the way to \"/loop\""),
            ("loop/x", false, "more than 40 symbolic links on the way to \"/loop/x\""),
            ("a/b/file/x", true, "\"/a/b/file\" is not a directory in the image"),
            ("a.b/..", true, "\"/a.b\" is not a directory in the image"),
            ("a/c", true, "there is no \"/a/c\" in the image"),
            ("nowhere", true, "there is no \"/none\" in the image"),
        ] {
            assert_eq!(find(&merged, path, follow), expected, "{path}");
        }
        let below = |path: &str| merged.below(path.as_bytes()).len();
        assert_eq!([below("a"), below("a/b"), below("deep"), below("none"), below("")], [5, 2, 1, 0, 10]);
    }

    #[test]
    fn the_newest_layers_say_what_they_can() {
        let lower = table(&["usr/", "usr/lib/", "usr/lib/so", "lib>usr/lib", "etc/", "etc/old", "file"]);
        // All parents are there.
        let clear = table(&["etc/", "etc/new", "etc/.wh.old", "hard=file"]);
        let both = [lower.clone(), clear.clone()];
        let whole = merge(&both).unwrap();
        let newest = merge_newest(&both[1..]).unwrap();
        assert_eq!(find(&newest, "etc/new", true), find(&whole, "etc/new", true));
        let hard = &newest.nodes[newest.at(b"hard").unwrap()];
        assert!(matches!(hard.entry.kind, Kind::HardLink(_)));
        // `lib` is a link in the layer below.
        for vague in [&["lib/more"][..], &["lib/.wh.so"], &["lib/.wh..wh..opq"], &["a/", "a/b/c"]] {
            assert_eq!(merge_newest(&[table(vague)]).map(|merged| merged.nodes.len()), None, "{vague:?}");
        }
    }
}
