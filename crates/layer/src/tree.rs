//! A file system in the making: what merging knows after so many layers.
//!
//! Nodes stand in one vector and name each other by index, so that neither depth nor number of entries meets the stack.

use std::collections::BTreeMap;

use crate::entry::Kind;
use crate::path::PATH_MAX;

/// Index of a node.
pub(crate) type Id = usize;

/// The root, which is always there.
pub(crate) const ROOT: Id = 0;

/// Which entry a node has its content and metadata from: index of the layer, and index of the entry there. Nodes that are hard
/// links of each other have the same one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Source {
    pub(crate) layer: usize,
    pub(crate) entry: usize,
}

pub(crate) struct Node<'a> {
    name: &'a [u8],
    parent: Id,
    /// Bytes of the path from the root.
    length: usize,
    what: What<'a>,
    /// The last layer that had an entry for this node. Only meaningful with a source.
    layer: usize,
    /// The last layer that put anything here or below.
    touched: usize,
    /// The last layer below which everything here has been hidden: nothing below this node is older.
    swept: usize,
    /// Something that is no directory was here, so that nothing is left of what lower layers had below.
    cleared: bool,
    children: BTreeMap<&'a [u8], Id>,
}

#[derive(Clone, Copy)]
enum What<'a> {
    /// A directory that no entry names: one of its children needs it.
    Implicit,
    Directory(Source),
    Symlink(Source, &'a [u8]),
    Other(Source),
}

/// Why a path leads nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lost {
    /// More symbolic links than [`HOPS`] on one path.
    Loop,
    /// Symbolic links made one merge walk further than [`WALK`].
    Walk,
    /// Symbolic links lead to a path that no system opens.
    Long,
    /// More directories without entries than [`IMPLICIT`] allows.
    Directories,
}

/// As many symbolic links as containerd follows on one path (Linux itself gives up after 40).
const HOPS: usize = 255;

/// Bytes of paths that one merge walks behind symbolic links. Millions of files behind links of usual length need less; layers
/// that are made to take long do not get further. It also bounds the memory for paths that are not an entry's own.
const WALK: usize = 256 << 20;

/// Nodes beside two for each entry: a path of a few letters and a thousand slashes needs a thousand directories, and each takes a
/// hundred times the memory that it has in the path.
const IMPLICIT: usize = 1 << 20;

pub(crate) struct Tree<'a> {
    nodes: Vec<Node<'a>>,
    /// The most nodes that there may be.
    limit: usize,
    /// Bytes of paths walked behind symbolic links so far.
    walked: usize,
    /// A directory was made that no entry had named.
    guessed: bool,
}

impl<'a> Tree<'a> {
    /// A tree for so many entries, empty.
    pub(crate) fn new(entries: usize) -> Self {
        let limit = entries.saturating_mul(2).saturating_add(IMPLICIT);
        // Nearly each has a node, and growing would take as much again.
        let nodes = Vec::with_capacity(entries.saturating_add(1));
        let mut tree = Self { nodes, limit, walked: 0, guessed: false };
        tree.nodes.push(Node::new(&[], ROOT, 0));
        tree
    }

    /// How many nodes there are, those among them that nothing leads to.
    pub(crate) fn len(&self) -> usize {
        self.nodes.len()
    }

    /// What the node has its content from; `None` for an implicit directory.
    pub(crate) fn source(&self, id: Id) -> Option<Source> {
        match self.nodes[id].what {
            What::Implicit => None,
            What::Directory(source) | What::Symlink(source, _) | What::Other(source) => Some(source),
        }
    }

    pub(crate) fn is_directory(&self, id: Id) -> bool {
        matches!(self.nodes[id].what, What::Implicit | What::Directory(_))
    }

    /// Whether a directory had to be made, at any time, that no entry had named so far.
    pub(crate) fn has_guessed(&self) -> bool {
        self.guessed
    }

    /// Whether it is a directory now, but was something else before.
    pub(crate) fn was_cleared(&self, id: Id) -> bool {
        self.is_directory(id) && self.nodes[id].cleared
    }

    /// Whether a symbolic link is on the way to a directory, as far as that is there.
    pub(crate) fn has_link_on(&self, directory: &[u8]) -> bool {
        let mut at = ROOT;
        for component in directory.split(|byte| *byte == b'/') {
            let Some(child) = self.child(at, component) else { return false };
            if matches!(self.nodes[child].what, What::Symlink(..)) {
                return true;
            }
            at = child;
        }
        false
    }

    /// The path of a node that is in the tree.
    pub(crate) fn path(&self, mut id: Id) -> Vec<u8> {
        let mut names = Vec::new();
        while id != ROOT {
            names.push(self.nodes[id].name);
            id = self.nodes[id].parent;
        }
        names.reverse();
        names.join(&b'/')
    }

    pub(crate) fn name(&self, id: Id) -> &'a [u8] {
        self.nodes[id].name
    }

    /// The children, in the order of their names' bytes.
    pub(crate) fn children(&self, id: Id) -> impl DoubleEndedIterator<Item = Id> {
        self.nodes[id].children.values().copied()
    }

    pub(crate) fn child(&self, directory: Id, name: &[u8]) -> Option<Id> {
        self.nodes[directory].children.get(name).copied()
    }

    /// Finds a directory, through symbolic links that are followed inside the root; `None` when there is none.
    pub(crate) fn find(&mut self, directory: &'a [u8]) -> Result<Option<Id>, Lost> {
        self.walk(directory, None)
    }

    /// Finds a directory, or makes it for `layer`: what is missing becomes implicit, and so does a file in the way, as umoci
    /// and overlay file systems have it.
    pub(crate) fn make(&mut self, directory: &'a [u8], layer: usize) -> Result<Id, Lost> {
        // With a layer to make directories for, a walk ends at one.
        self.walk(directory, Some(layer)).map(|found| found.unwrap_or(ROOT))
    }

    fn walk(&mut self, directory: &'a [u8], make: Option<usize>) -> Result<Option<Id>, Lost> {
        let mut at = ROOT;
        // What is left to walk: targets of links on top of the path that they stood in.
        let mut rest = vec![directory];
        let mut hops = 0;
        while let Some(path) = rest.pop() {
            let (component, tail) = match path.iter().position(|byte| *byte == b'/') {
                Some(slash) => (&path[..slash], Some(&path[slash + 1..])),
                None => (path, None),
            };
            rest.extend(tail);
            if hops > 0 {
                self.walked += component.len() + 1;
                if self.walked > WALK {
                    return Err(Lost::Walk);
                }
            }
            match component {
                b"" | b"." => continue,
                // The parent of the root is the root. Paths of entries have no `..`, targets of links have.
                b".." => {
                    at = self.nodes[at].parent;
                    continue;
                }
                _ => {}
            }
            at = match (self.child(at, component), make) {
                (Some(child), _) if self.is_directory(child) => child,
                (Some(child), _) if let What::Symlink(_, target) = self.nodes[child].what => {
                    hops += 1;
                    if hops > HOPS {
                        return Err(Lost::Loop);
                    }
                    rest.push(target);
                    if target.starts_with(b"/") { ROOT } else { at }
                }
                (_, None) => return Ok(None),
                (Some(child), Some(layer)) => {
                    self.guessed = true;
                    self.replace(child, What::Implicit, layer);
                    child
                }
                (None, Some(layer)) => {
                    self.guessed = true;
                    self.add(at, component, layer)?
                }
            };
        }
        Ok(Some(at))
    }

    /// The node of this name in a directory, made when there is none. It is for the caller to [`put`](Self::put) something.
    pub(crate) fn place(&mut self, directory: Id, name: &'a [u8], layer: usize) -> Result<Id, Lost> {
        self.child(directory, name).map_or_else(|| self.add(directory, name, layer), Ok)
    }

    /// Puts an entry at a node. A directory on a directory merges with it; everything else replaces what was there.
    pub(crate) fn put(&mut self, id: Id, source: Source, kind: &'a Kind, layer: usize) {
        let what = match kind {
            Kind::Directory => What::Directory(source),
            Kind::Symlink(target) => What::Symlink(source, target),
            _ => What::Other(source),
        };
        if matches!(what, What::Directory(_)) && self.is_directory(id) {
            self.nodes[id].what = what;
            self.touch(id, layer);
        } else {
            self.replace(id, what, layer);
        }
        self.nodes[id].layer = layer;
    }

    fn replace(&mut self, id: Id, what: What<'a>, layer: usize) {
        let node = &mut self.nodes[id];
        node.what = what;
        node.layer = layer;
        node.cleared |= matches!(what, What::Symlink(..) | What::Other(_));
        node.children.clear();
        self.touch(id, layer);
    }

    fn add(&mut self, parent: Id, name: &'a [u8], layer: usize) -> Result<Id, Lost> {
        let id = self.nodes.len();
        let above = if parent == ROOT { 0 } else { self.nodes[parent].length + 1 };
        let length = above + name.len();
        if length > PATH_MAX {
            return Err(Lost::Long);
        }
        if id > self.limit {
            return Err(Lost::Directories);
        }
        self.nodes.push(Node { length, ..Node::new(name, parent, layer) });
        self.nodes[parent].children.insert(name, id);
        self.touch(parent, layer);
        Ok(id)
    }

    /// Notes that a layer put something at a node. Above one that is noted already, all are.
    fn touch(&mut self, mut id: Id, layer: usize) {
        while self.nodes[id].touched != layer {
            self.nodes[id].touched = layer;
            id = self.nodes[id].parent;
        }
    }

    /// Hides what layers below `layer` have at this name, and keeps what `layer` itself has.
    pub(crate) fn hide(&mut self, directory: Id, name: &[u8], layer: usize) {
        let Some(child) = self.child(directory, name) else { return };
        if self.nodes[child].touched == layer {
            self.age(child, layer);
            self.sweep(child, layer);
        } else {
            self.nodes[directory].children.remove(name);
        }
    }

    /// Hides what layers below `layer` have in a directory.
    ///
    /// Directories without anything of `layer` go at once; each of the others is visited once a layer, however many
    /// whiteouts name it and its parents.
    pub(crate) fn sweep(&mut self, directory: Id, layer: usize) {
        let mut rest = vec![directory];
        while let Some(id) = rest.pop() {
            if self.nodes[id].swept == layer {
                continue;
            }
            self.nodes[id].swept = layer;
            let mut children = std::mem::take(&mut self.nodes[id].children);
            children.retain(|_, child| self.nodes[*child].touched == layer);
            for child in children.values() {
                self.age(*child, layer);
                rest.push(*child);
            }
            self.nodes[id].children = children;
        }
    }

    /// A directory that is hidden itself, but has something of `layer` in it, is left as one that no entry names.
    fn age(&mut self, id: Id, layer: usize) {
        if self.nodes[id].layer != layer {
            self.nodes[id].what = What::Implicit;
        }
    }
}

impl<'a> Node<'a> {
    /// A directory that a layer needs.
    fn new(name: &'a [u8], parent: Id, layer: usize) -> Self {
        Self {
            name,
            parent,
            length: 0,
            what: What::Implicit,
            layer,
            touched: layer,
            swept: layer,
            cleared: false,
            children: BTreeMap::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a layer has hidden once it does not look at again, however many whiteouts it has.
    #[test]
    fn a_directory_is_swept_once_a_layer() {
        let mut tree = Tree::new(10);
        let old = tree.make(b"d/old", 0).unwrap();
        let new = tree.make(b"d/old/new", 1).unwrap();
        let directory = tree.child(ROOT, b"d").unwrap();
        tree.hide(ROOT, b"d", 1);
        assert_eq!([directory, old, new].map(|id| tree.nodes[id].swept), [1, 1, 1]);
        assert_eq!(tree.children(directory).collect::<Vec<_>>(), [old]);
        tree.hide(ROOT, b"d", 2);
        assert_eq!(tree.children(ROOT).count(), 0);
        // Nothing was done below what went as a whole.
        assert_eq!(tree.nodes[directory].swept, 1);
    }

    #[test]
    fn links_lead_round_and_stop() {
        let source = Source { layer: 0, entry: 0 };
        let links: Vec<Kind> =
            ["b", "/a/", "x/../a"].map(|target| Kind::Symlink(target.as_bytes().into())).into();
        let mut tree = Tree::new(10);
        for (name, kind) in ["a", "b", "c"].into_iter().zip(&links) {
            let id = tree.place(ROOT, name.as_bytes(), 0).unwrap();
            tree.put(id, source, kind, 0);
        }
        assert_eq!(tree.find(b"a"), Err(Lost::Loop));
        // Nothing is made for who only looks.
        assert_eq!(tree.find(b"c"), Ok(None));
        assert_eq!(tree.make(b"c", 0), Err(Lost::Loop));
        assert_eq!(tree.find(b"x").map(|found| found.is_some()), Ok(true));
        assert_eq!(tree.find(b"../../x/.."), Ok(Some(ROOT)));
    }
}
