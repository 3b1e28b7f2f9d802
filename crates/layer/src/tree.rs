//! A file system in the making: what merging knows after so many layers.
//!
//! Nodes stand in one vector and name each other by index, so that neither depth nor number of entries meets the stack. There is one for
//! each entry of all layers, so they are small: 48 bytes, and some ten in the index of names.

use std::hash::{BuildHasher, RandomState};
use std::iter;

use hashbrown::HashTable;

use crate::entry::Kind;
use crate::path::PATH_MAX;

/// Index of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Id(u32);

/// The root, which is always there, and nobody's child.
pub(crate) const ROOT: Id = Id(0);

/// Which entry a node has its content and metadata from: index of the layer, and index of the entry there. Nodes that are hard
/// links of each other have the same one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Source {
    pub(crate) entry: u32,
    pub(crate) layer: u16,
}

impl Source {
    pub(crate) fn new(layer: usize, entry: usize) -> Result<Self, Lost> {
        let layer = layer.try_into().map_err(|_| Lost::Layers)?;
        Ok(Self { layer, entry: numbered(entry)? })
    }
}

struct Node<'a> {
    name: &'a [u8],
    parent: Id,
    /// The next of its directory's children, those that were hidden among them; the root where there is none.
    next: Id,
    /// A directory's child that came last, likewise; the index of a symbolic link's target.
    below: u32,
    /// The entry that the content is from, unless no entry names it.
    source: Source,
    /// The last layer that had an entry for this node. Only meaningful with a source.
    layer: u16,
    /// The last layer that put anything here or below.
    touched: u16,
    /// The last layer below which everything here has been hidden: nothing below this node is older.
    swept: u16,
    /// Bytes of the path from the root; at most [`PATH_MAX`].
    length: u16,
    what: What,
    /// Something that is no directory was here, so that nothing is left of what lower layers had below.
    cleared: bool,
    /// It is hidden, and its directory's child no more.
    gone: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum What {
    /// A directory that no entry names: one of its children needs it.
    Implicit,
    Directory,
    Symlink,
    Other,
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
    /// More than the 32 bits count that a node has for it.
    Entries,
    /// More than 16 bits count.
    Layers,
}

/// A position, as a node has it.
fn numbered(position: usize) -> Result<u32, Lost> {
    position.try_into().map_err(|_| Lost::Entries)
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
    /// The children that are there, by directory and name.
    index: HashTable<Id>,
    hasher: RandomState,
    /// The targets of all symbolic links that were put.
    targets: Vec<&'a [u8]>,
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
        let index = HashTable::with_capacity(entries);
        let hasher = RandomState::new();
        let mut tree = Self { nodes, index, hasher, targets: Vec::new(), limit, walked: 0, guessed: false };
        tree.nodes.push(Node::new(&[], ROOT, 0));
        tree
    }

    /// Makes room: nobody looks anything up any more.
    pub(crate) fn end(&mut self) {
        self.index = HashTable::new();
    }

    /// How many nodes there are, those among them that nothing leads to.
    pub(crate) fn len(&self) -> usize {
        self.nodes.len()
    }

    fn node(&self, id: Id) -> &Node<'a> {
        &self.nodes[id.0 as usize]
    }

    fn node_mut(&mut self, id: Id) -> &mut Node<'a> {
        &mut self.nodes[id.0 as usize]
    }

    /// What the node has its content from; `None` for an implicit directory.
    pub(crate) fn source(&self, id: Id) -> Option<Source> {
        let node = self.node(id);
        (node.what != What::Implicit).then_some(node.source)
    }

    pub(crate) fn is_directory(&self, id: Id) -> bool {
        self.node(id).what.is_directory()
    }

    /// Whether a directory had to be made, at any time, that no entry had named so far.
    pub(crate) fn has_guessed(&self) -> bool {
        self.guessed
    }

    /// Whether it is a directory now, but was something else before.
    pub(crate) fn was_cleared(&self, id: Id) -> bool {
        self.is_directory(id) && self.node(id).cleared
    }

    /// Whether a symbolic link is on the way to a directory, as far as that is there.
    pub(crate) fn has_link_on(&self, directory: &[u8]) -> bool {
        let mut at = ROOT;
        for component in directory.split(|byte| *byte == b'/') {
            let Some(child) = self.child(at, component) else { return false };
            if self.node(child).what == What::Symlink {
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
            names.push(self.node(id).name);
            id = self.node(id).parent;
        }
        names.reverse();
        names.join(&b'/')
    }

    pub(crate) fn name(&self, id: Id) -> &'a [u8] {
        self.node(id).name
    }

    /// The children that are there, in no order.
    pub(crate) fn children(&self, id: Id) -> impl Iterator<Item = Id> {
        self.list(id).filter(|child| !self.node(*child).gone)
    }

    /// The children, those that were hidden among them, the newest first.
    fn list(&self, id: Id) -> impl Iterator<Item = Id> {
        let node = self.node(id);
        let first = if node.what.is_directory() { Id(node.below) } else { ROOT };
        iter::successors(Some(first), |id| Some(self.node(*id).next)).take_while(|id| *id != ROOT)
    }

    pub(crate) fn child(&self, directory: Id, name: &[u8]) -> Option<Id> {
        let hash = self.hasher.hash_one((directory, name));
        self.index.find(hash, |id| self.node(*id).is(directory, name)).copied()
    }

    /// Takes a child out of the index. The list of its directory keeps it.
    fn forget(&mut self, child: Id) {
        let Node { parent, name, .. } = *self.node_mut(child);
        self.node_mut(child).gone = true;
        let hash = self.hasher.hash_one((parent, name));
        if let Ok(entry) = self.index.find_entry(hash, |id| *id == child) {
            entry.remove();
        }
    }

    /// Finds a directory, through symbolic links that are followed inside the root; `None` when there is none.
    pub(crate) fn find(&mut self, directory: &'a [u8]) -> Result<Option<Id>, Lost> {
        self.walk(directory, None)
    }

    /// Finds a directory, or makes it for `layer`: what is missing becomes implicit, and so does a file in the way, as umoci
    /// and overlay file systems have it.
    pub(crate) fn make(&mut self, directory: &'a [u8], layer: u16) -> Result<Id, Lost> {
        // With a layer to make directories for, a walk ends at one.
        self.walk(directory, Some(layer)).map(|found| found.unwrap_or(ROOT))
    }

    fn walk(&mut self, directory: &'a [u8], make: Option<u16>) -> Result<Option<Id>, Lost> {
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
                    at = self.node(at).parent;
                    continue;
                }
                _ => {}
            }
            at = match (self.child(at, component), make) {
                (Some(child), _) if self.is_directory(child) => child,
                (Some(child), _) if self.node(child).what == What::Symlink => {
                    hops += 1;
                    if hops > HOPS {
                        return Err(Lost::Loop);
                    }
                    let target = self.targets[self.node(child).below as usize];
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
    pub(crate) fn place(&mut self, directory: Id, name: &'a [u8], layer: u16) -> Result<Id, Lost> {
        self.child(directory, name).map_or_else(|| self.add(directory, name, layer), Ok)
    }

    /// Puts an entry at a node. A directory on a directory merges with it; everything else replaces what was there.
    pub(crate) fn put(&mut self, id: Id, source: Source, kind: &'a Kind, layer: u16) -> Result<(), Lost> {
        let what = match kind {
            Kind::Directory => What::Directory,
            Kind::Symlink(_) => What::Symlink,
            _ => What::Other,
        };
        if what == What::Directory && self.is_directory(id) {
            self.node_mut(id).what = what;
            self.touch(id, layer);
        } else {
            self.replace(id, what, layer);
        }
        if let Kind::Symlink(target) = kind {
            self.node_mut(id).below = numbered(self.targets.len())?;
            self.targets.push(target);
        }
        let node = self.node_mut(id);
        (node.source, node.layer) = (source, layer);
        Ok(())
    }

    /// Makes a node something else, with nothing below.
    fn replace(&mut self, id: Id, what: What, layer: u16) {
        let mut child = if self.is_directory(id) { Id(self.node(id).below) } else { ROOT };
        while child != ROOT {
            // What is further below is found by nobody.
            self.forget(child);
            child = self.node(child).next;
        }
        let node = self.node_mut(id);
        node.below = ROOT.0;
        node.what = what;
        node.layer = layer;
        node.cleared |= !what.is_directory();
        self.touch(id, layer);
    }

    fn add(&mut self, parent: Id, name: &'a [u8], layer: u16) -> Result<Id, Lost> {
        let above = if parent == ROOT { 0 } else { usize::from(self.node(parent).length) + 1 };
        let length = above + name.len();
        let Some(length) = u16::try_from(length).ok().filter(|_| length <= PATH_MAX) else {
            return Err(Lost::Long);
        };
        if self.nodes.len() > self.limit {
            return Err(Lost::Directories);
        }
        let id = Id(numbered(self.nodes.len())?);
        // Only directories have anything below.
        let next = Id(std::mem::replace(&mut self.node_mut(parent).below, id.0));
        self.nodes.push(Node { next, length, ..Node::new(name, parent, layer) });
        let hash = |id: &Id| {
            let node = &self.nodes[id.0 as usize];
            self.hasher.hash_one((node.parent, node.name))
        };
        self.index.insert_unique(hash(&id), id, hash);
        self.touch(parent, layer);
        Ok(id)
    }

    /// Notes that a layer put something at a node. Above one that is noted already, all are.
    fn touch(&mut self, mut id: Id, layer: u16) {
        while self.node(id).touched != layer {
            self.node_mut(id).touched = layer;
            id = self.node(id).parent;
        }
    }

    /// Hides what layers below `layer` have at this name, and keeps what `layer` itself has.
    pub(crate) fn hide(&mut self, directory: Id, name: &[u8], layer: u16) {
        let Some(child) = self.child(directory, name) else { return };
        if self.node(child).touched == layer {
            self.age(child, layer);
            self.sweep(child, layer);
        } else {
            self.forget(child);
        }
    }

    /// Hides what layers below `layer` have in a directory.
    ///
    /// Directories without anything of `layer` go at once; each of the others is visited once a layer, however many
    /// whiteouts name it and its parents.
    pub(crate) fn sweep(&mut self, directory: Id, layer: u16) {
        let mut rest = vec![directory];
        while let Some(id) = rest.pop() {
            if self.node(id).swept == layer {
                continue;
            }
            self.node_mut(id).swept = layer;
            let mut child = if self.is_directory(id) { Id(self.node(id).below) } else { continue };
            self.node_mut(id).below = ROOT.0;
            while child != ROOT {
                let Node { next, gone, touched, .. } = *self.node_mut(child);
                if !gone && touched == layer {
                    self.age(child, layer);
                    rest.push(child);
                    self.node_mut(child).next = Id(std::mem::replace(&mut self.node_mut(id).below, child.0));
                } else if !gone {
                    self.forget(child);
                }
                child = next;
            }
        }
    }

    /// A directory that is hidden itself, but has something of `layer` in it, is left as one that no entry names.
    fn age(&mut self, id: Id, layer: u16) {
        if self.node(id).layer != layer {
            self.node_mut(id).what = What::Implicit;
        }
    }
}

impl What {
    fn is_directory(self) -> bool {
        matches!(self, Self::Implicit | Self::Directory)
    }
}

impl<'a> Node<'a> {
    /// A directory that a layer needs.
    fn new(name: &'a [u8], parent: Id, layer: u16) -> Self {
        Self {
            name,
            parent,
            next: ROOT,
            below: ROOT.0,
            source: Source { entry: 0, layer },
            layer,
            touched: layer,
            swept: layer,
            length: 0,
            what: What::Implicit,
            cleared: false,
            gone: false,
        }
    }

    /// Whether it is, or was, this child of a directory.
    fn is(&self, directory: Id, name: &[u8]) -> bool {
        self.parent == directory && self.name == name
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
        assert_eq!([directory, old, new].map(|id| tree.node(id).swept), [1, 1, 1]);
        assert_eq!(tree.children(directory).collect::<Vec<_>>(), [old]);
        tree.hide(ROOT, b"d", 2);
        assert_eq!(tree.children(ROOT).count(), 0);
        // Nothing was done below what went as a whole.
        assert_eq!(tree.node(directory).swept, 1);
    }

    /// Each entry of an image has one.
    #[test]
    fn nodes_are_small() {
        assert_eq!(size_of::<Node<'_>>(), 48);
    }

    #[test]
    fn links_lead_round_and_stop() {
        let source = Source { layer: 0, entry: 0 };
        let links: Vec<Kind> =
            ["b", "/a/", "x/../a"].map(|target| Kind::Symlink(target.as_bytes().into())).into();
        let mut tree = Tree::new(10);
        for (name, kind) in ["a", "b", "c"].into_iter().zip(&links) {
            let id = tree.place(ROOT, name.as_bytes(), 0).unwrap();
            tree.put(id, source, kind, 0).unwrap();
        }
        assert_eq!(tree.find(b"a"), Err(Lost::Loop));
        // Nothing is made for who only looks.
        assert_eq!(tree.find(b"c"), Ok(None));
        assert_eq!(tree.make(b"c", 0), Err(Lost::Loop));
        assert_eq!(tree.find(b"x").map(|found| found.is_some()), Ok(true));
        assert_eq!(tree.find(b"../../x/.."), Ok(Some(ROOT)));
    }
}
