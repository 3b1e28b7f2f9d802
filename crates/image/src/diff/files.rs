//! Files that are different.

use std::collections::BTreeSet;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use layer::{Above, Entry, Kind, Node, Seen, Toc, is_within, path_order};

use super::aspect::{Aspect, aspects};
use super::content::{Content, different};
use super::tables::{Pair, Tables};
use crate::Error;

/// A path at which the images are different, or may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileChange {
    /// The path, without `/` at its ends; empty for the root. `DIR/*` for what layers that were not read may have in a directory.
    pub path: Vec<u8>,
    /// What became of it.
    pub how: How,
    /// What A has.
    pub old: State,
    /// What B has.
    pub new: State,
    /// In what they are different, where both have something.
    pub aspects: Vec<Aspect>,
}

/// What became of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// B has it, A has not.
    Added,
    /// A has it, B has not.
    Removed,
    /// Both have it, but not the same.
    Changed,
    /// One of them puts or hides it, and what layers that both have say of it was not read.
    Unclear,
}

impl How {
    /// In one word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Added => "added",
            Self::Removed => "removed",
            Self::Changed => "changed",
            Self::Unclear => "unclear",
        }
    }
}

/// What an image has at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// This; a hard link only where it leads to what was not read.
    There(Listed),
    /// Nothing.
    Absent,
    /// What the layers have that were not read, if they have anything.
    Unread,
}

/// An entry, where it is in its table: of a large image there are many.
#[derive(Clone)]
pub struct Listed {
    toc: Arc<Toc>,
    index: usize,
}

impl Deref for Listed {
    type Target = Entry;

    fn deref(&self) -> &Entry {
        &self.toc.table.entries[self.index]
    }
}

impl PartialEq for Listed {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Listed {}

impl fmt::Debug for Listed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl State {
    /// What is seen in an image with these tables, of which the nodes are.
    fn of(seen: Seen<'_, '_>, tocs: &[Arc<Toc>]) -> Self {
        match seen {
            Seen::Node(node) => {
                let toc = &tocs[node.layer()];
                match toc.table.entries.element_offset(node.entry) {
                    Some(index) => Self::There(Listed { toc: Arc::clone(toc), index }),
                    // Nodes are of these tables.
                    None => Self::Unread,
                }
            }
            Seen::Gone => Self::Absent,
            Seen::Below => Self::Unread,
        }
    }

    /// The entry, if there is one.
    pub fn entry(&self) -> Option<&Entry> {
        match self {
            Self::There(entry) => Some(entry),
            _ => None,
        }
    }
}

/// Where the content of a node is; `None` if it is no file.
pub(super) fn content(pair: &Pair<'_>, side: usize, first: usize, node: &Node<'_>) -> Option<Content> {
    let Kind::File(body) = &node.entry.kind else { return None };
    Some(Content { layer: pair.source(side, first + node.layer()), body: body.clone() })
}

/// Compares what is in and below some paths, or all.
pub(super) async fn changes(
    pair: &Pair<'_>,
    Tables { first, tocs }: &Tables,
    [a, b]: &[Above<'_>; 2],
    below: Option<&[Vec<u8>]>,
    ignores_times: bool,
) -> Result<Vec<FileChange>, Error> {
    let one_sided = |path: &[u8], old, new| one_sided(path, [old, new], tocs);
    let changed = |old, new, aspects| changed(old, new, aspects, tocs);
    let mut found = Vec::new();
    // Paths that have the same header, or another, and contents that have to be read.
    let (mut paths, mut contents) = (Vec::new(), Vec::new());
    for old in a.merged.nodes.iter().filter(|node| is_wanted(node.path(), below)) {
        let seen = b.at(old.path());
        let Seen::Node(new) = seen else {
            found.push(one_sided(old.path(), Seen::Node(old), seen));
            continue;
        };
        if is_unread_link(old) != is_unread_link(new) {
            found.push(one_sided(old.path(), Seen::Node(old), Seen::Node(new)));
            continue;
        }
        let mut aspects = aspects(old.entry, new.entry, ignores_times);
        match (content(pair, 0, *first, old), content(pair, 1, *first, new)) {
            (Some(was), Some(is)) if !aspects.contains(&Aspect::Content) && !was.is(&is) => {
                if pair.is_one_file(was.layer, is.layer) {
                    aspects.push(Aspect::Content);
                } else {
                    paths.push((old, new, aspects));
                    contents.push((was, is));
                    continue;
                }
            }
            _ => {}
        }
        found.extend(changed(old, new, aspects));
    }
    for new in b.merged.nodes.iter().filter(|node| is_wanted(node.path(), below)) {
        let seen = a.at(new.path());
        if !matches!(seen, Seen::Node(_)) {
            found.push(one_sided(new.path(), seen, Seen::Node(new)));
        }
    }
    for (hiding, other, is_new) in [(a, b, false), (b, a, true)] {
        for path in hidden(hiding, other).iter().filter(|path| is_wanted(path, below)) {
            let (old, new) = if is_new { (Seen::Below, Seen::Gone) } else { (Seen::Gone, Seen::Below) };
            found.push(one_sided(path, old, new));
        }
    }
    let different = different(pair, &contents).await?;
    for ((old, new, mut aspects), differs) in paths.into_iter().zip(different) {
        if differs {
            aspects.push(Aspect::Content);
            aspects.sort();
        }
        found.extend(changed(old, new, aspects));
    }
    found.sort_by(|a, b| path_order(&a.path, &b.path));
    Ok(found)
}

fn is_unread_link(node: &Node<'_>) -> bool {
    matches!(node.entry.kind, Kind::HardLink(_))
}

fn is_wanted(path: &[u8], below: Option<&[Vec<u8>]>) -> bool {
    below.is_none_or(|below| below.iter().any(|directory| is_within(path, directory)))
}

fn changed(
    old: &Node<'_>,
    new: &Node<'_>,
    aspects: Vec<Aspect>,
    tocs: &[Vec<Arc<Toc>>; 2],
) -> Option<FileChange> {
    let change = |aspects| FileChange {
        path: old.path().to_vec(),
        how: How::Changed,
        old: State::of(Seen::Node(old), &tocs[0]),
        new: State::of(Seen::Node(new), &tocs[1]),
        aspects,
    };
    (!aspects.is_empty()).then(|| change(aspects))
}

fn one_sided(path: &[u8], [old, new]: [Seen<'_, '_>; 2], tocs: &[Vec<Arc<Toc>>; 2]) -> FileChange {
    let how = match (&old, &new) {
        (Seen::Gone, Seen::Node(_)) => How::Added,
        (Seen::Node(_), Seen::Gone) => How::Removed,
        _ => How::Unclear,
    };
    let (old, new) = (State::of(old, &tocs[0]), State::of(new, &tocs[1]));
    FileChange { path: path.to_vec(), how, old, new, aspects: Vec::new() }
}

/// Where one image hides what layers that were not read may have, and the other does not.
fn hidden(hiding: &Above<'_>, other: &Above<'_>) -> BTreeSet<Vec<u8>> {
    let mut found = BTreeSet::new();
    let below =
        |directory: &[u8]| if directory.is_empty() { b"*".to_vec() } else { [directory, b"*"].join(&b'/') };
    let is_below = |path: &[u8]| matches!(other.at(path), Seen::Below);
    for path in &hiding.hidden {
        if is_below(path) {
            // What stands there anew tells it itself.
            if !matches!(hiding.at(path), Seen::Node(_)) {
                found.insert(path.to_vec());
            }
        } else if is_below(&below(path)) {
            found.insert(below(path));
        }
    }
    found.extend(hiding.opaque.iter().map(|path| below(path)).filter(|path| is_below(path)));
    found
}
