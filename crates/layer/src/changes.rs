//! What one file system has that another has not: the layer that makes the one of the other.

use std::collections::{HashMap, HashSet};
use std::io::Write;

use crate::entry::{Kind, Metadata};
use crate::path;
use crate::tee::BUFFER;
use crate::write::write_node;
use crate::{Bodies, Error, Item, Merged, Node, TarWriter};

/// One entry of such a layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change<'a> {
    /// What is at this path is gone, with all below it.
    Remove(&'a [u8]),
    /// A node that is new, or another one than was there.
    Put {
        /// Its index in the file system.
        node: usize,
        /// The path of another name of the same file, which comes before it or was there already.
        link: Option<&'a [u8]>,
    },
}

/// What has to be put on `lower` so that it becomes `whole`, where both are merges of the same layers: `lower` of the first few,
/// `whole` of all of them. What is removed comes first, for some runtimes apply a layer entry by entry; then parents before
/// children.
pub fn changes<'a>(lower: &'a Merged<'_>, whole: &'a Merged<'_>) -> Vec<Change<'a>> {
    let now = View::of(whole);
    let before: HashMap<&[u8], &Node<'_>> = lower.nodes.iter().map(|node| (node.path(), node)).collect();
    let kept = |node: &Node<'_>| before.get(node.path()).is_some_and(|old| is_same(old, node));
    // What is there still of the lower file system, by what it is.
    let mut names: HashMap<*const crate::Entry, &[u8]> = HashMap::new();
    for node in whole.nodes.iter().filter(|node| kept(node)) {
        names.entry(std::ptr::from_ref(node.entry)).or_insert(node.path());
    }
    let mut changes: Vec<Change<'_>> = now.removed(lower).into_iter().map(Change::Remove).collect();
    for (at, node) in whole.nodes.iter().enumerate() {
        if kept(node) {
            continue;
        }
        let first = node.link().and_then(|first| whole.nodes.get(first)).map(Node::path);
        let there = names.get(&std::ptr::from_ref(node.entry)).copied();
        let link = there.filter(|_| node.entry.kind != Kind::Directory).or(first);
        changes.push(Change::Put { node: at, link });
    }
    changes
}

/// Writes changes as a layer: a tar archive with whiteouts. `bodies` are all layers'.
///
/// # Errors
///
/// Those of [`write_tar`](crate::write_tar).
pub fn write_changes<W: Write>(
    changes: &[Change<'_>],
    whole: &Merged<'_>,
    bodies: &(impl Bodies + ?Sized),
    out: W,
) -> Result<W, Error> {
    let mut tar = TarWriter::new(out);
    let mut buffer = vec![0; BUFFER];
    for change in changes {
        match change {
            Change::Remove(path) => {
                let (directory, name) = path::split(path);
                let whiteout = match directory {
                    [] => [b".wh.", name].concat(),
                    _ => [directory, b"/.wh.", name].concat(),
                };
                let item = Item::File(0);
                tar.begin(&whiteout, &Metadata::new(0o644), item).map_err(Error::Output)?;
            }
            Change::Put { node, link } => {
                // Changes name nodes of the file system that they were found in.
                write_node(&mut tar, &whole.nodes[*node], *link, bodies, &mut buffer)?;
            }
        }
    }
    tar.finish().map_err(Error::Output)
}

/// Whether two nodes come from the same entry of the same layer.
fn is_same(old: &Node<'_>, new: &Node<'_>) -> bool {
    std::ptr::eq(old.entry, new.entry)
}

/// What is at a path.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Found {
    Nothing,
    Directory,
    /// A directory that no entry names.
    Implied,
    Other,
}

struct View<'a> {
    nodes: HashMap<&'a [u8], &'a Node<'a>>,
    /// All paths that something is below of.
    directories: HashSet<&'a [u8]>,
}

impl<'a> View<'a> {
    fn of(merged: &'a Merged<'_>) -> Self {
        let nodes = merged.nodes.iter().map(|node| (node.path(), node)).collect();
        let mut directories = HashSet::new();
        for node in &merged.nodes {
            for above in path::parents(node.path()) {
                directories.insert(above);
            }
        }
        Self { nodes, directories }
    }

    fn at(&self, path: &[u8]) -> Found {
        match self.nodes.get(path).map(|node| &node.entry.kind) {
            Some(Kind::Directory) => Found::Directory,
            Some(_) => Found::Other,
            None if self.directories.contains(path) => Found::Implied,
            None => Found::Nothing,
        }
    }

    /// What has to be hidden of a file system so that nothing is left of it that is not in this one.
    fn removed<'b>(&self, lower: &'b Merged<'_>) -> Vec<&'b [u8]> {
        let mut removed: Vec<&[u8]> = Vec::new();
        let mut hidden: HashSet<&[u8]> = HashSet::new();
        for node in &lower.nodes {
            let all = path::parents(node.path()).chain([node.path()]);
            for path in all.filter(|path| !path.is_empty()) {
                if hidden.contains(path) {
                    break;
                }
                let named = path.len() == node.path().len();
                match self.at(path) {
                    Found::Directory => {}
                    // It takes the place of what was there.
                    Found::Other => break,
                    Found::Implied if !named => {}
                    // An entry that is gone, but something else is below it now: it would come back with its own metadata.
                    Found::Implied | Found::Nothing => {
                        hidden.insert(path);
                        removed.push(path);
                        break;
                    }
                }
            }
        }
        removed
    }
}
