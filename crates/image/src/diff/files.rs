//! Files that are different.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use layer::{Above, Entry, Kind, Node, Seen, Toc, is_within, path_order};

use super::aspect::{Aspect, Aspects, aspects};
use super::content::{Content, different};
use super::tables::{Pair, Tables};
use crate::Error;

/// A path at which the images are different, or may be. There may be millions of them, so they are small.
#[derive(Clone)]
pub struct FileChange {
    /// The path, where it is not that of the entry that is there.
    #[expect(clippy::box_collection, reason = "a slice's length would be a second word")]
    path: Option<Box<Vec<u8>>>,
    /// What became of it.
    pub how: How,
    /// In what they are different, where both have something.
    pub aspects: Aspects,
    /// Whether what A and B have is known; then the tables in which it is, if there is something, and where in them.
    is_read: [bool; 2],
    tocs: [Option<Arc<Toc>>; 2],
    entries: [u32; 2],
}

impl FileChange {
    /// What is seen in images with these tables, of which the nodes are.
    fn new(
        path: &[u8],
        how: How,
        seen: [Seen<'_, '_>; 2],
        aspects: Aspects,
        tocs: &[Vec<Arc<Toc>>; 2],
    ) -> Self {
        let mut change =
            Self { path: None, how, aspects, is_read: [true; 2], tocs: [None, None], entries: [0; 2] };
        for side in 0..2 {
            match seen[side] {
                Seen::Node(node) => {
                    let toc = &tocs[side][node.layer()];
                    if let Some(entry) = toc.table.position(node.entry) {
                        change.entries[side] = entry;
                        change.tocs[side] = Some(Arc::clone(toc));
                    }
                }
                Seen::Gone => {}
                Seen::Below => change.is_read[side] = false,
            }
        }
        if change.named().is_none_or(|entry| *entry.path != *path) {
            change.path = Some(Box::new(path.to_vec()));
        }
        change
    }

    /// The path, without `/` at its ends; empty for the root. `DIR/*` for what layers that were not read may have in a directory.
    pub fn path(&self) -> &[u8] {
        // Without an entry it has one of its own.
        match &self.path {
            Some(path) => path,
            None => self.named().map_or(&[], |entry| &entry.path),
        }
    }

    /// What A has.
    pub fn old(&self) -> State<'_> {
        self.state(0)
    }

    /// What B has.
    pub fn current(&self) -> State<'_> {
        self.state(1)
    }

    fn state(&self, side: usize) -> State<'_> {
        match &self.tocs[side] {
            // The number was found there.
            Some(toc) => State::There(&toc.table.entries[self.entries[side] as usize]),
            None if self.is_read[side] => State::Absent,
            None => State::Unread,
        }
    }

    /// The entry that the path may be of.
    fn named(&self) -> Option<&Entry> {
        self.state(1).entry().or(self.state(0).entry())
    }
}

impl fmt::Debug for FileChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileChange")
            .field("path", &self.path().escape_ascii().to_string())
            .field("how", &self.how)
            .field("old", &self.old())
            .field("new", &self.current())
            .field("aspects", &self.aspects)
            .finish_non_exhaustive()
    }
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State<'a> {
    /// This; a hard link only where it leads to what was not read.
    There(&'a Entry),
    /// Nothing.
    Absent,
    /// What the layers have that were not read, if they have anything.
    Unread,
}

impl<'a> State<'a> {
    /// The entry, if there is one.
    pub fn entry(self) -> Option<&'a Entry> {
        match self {
            Self::There(entry) => Some(entry),
            _ => None,
        }
    }
}

/// Where the content of a node is; `None` if it is no file.
pub(super) fn content<'a>(
    pair: &Pair<'_>,
    side: usize,
    first: usize,
    node: &Node<'a>,
) -> Option<Content<'a>> {
    let Kind::File(body) = &node.entry.kind else { return None };
    Some(Content { layer: pair.source(side, first + node.layer()), body, entry: node.entry })
}

/// Compares what is in and below some paths, or all.
pub(super) async fn changes(
    pair: &Pair<'_>,
    tables: &Tables,
    [a, b]: &[Above<'_>; 2],
    below: Option<&[Vec<u8>]>,
    ignores_times: bool,
) -> Result<Vec<FileChange>, Error> {
    let Tables { first, tocs } = tables;
    let one_sided = |path: &[u8], old, new| one_sided(path, [old, new], tocs);
    let changed = |old, new, aspects| changed(old, new, aspects, tocs);
    let (olds, news) = (&a.merged.nodes, &b.merged.nodes);
    // Room that is not needed costs no memory, but lists that grow leave holes in it.
    let mut found = Vec::with_capacity(olds.len().saturating_add(news.len()));
    // Files of both whose contents have to be read, by their positions.
    let mut unread: Vec<(u32, u32)> = Vec::with_capacity(olds.len().min(news.len()));
    for old in olds.iter().filter(|node| is_wanted(node.path(), below)) {
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
            (Some(was), Some(is)) if !aspects.contains(Aspect::Content) && !was.is(&is) => {
                if pair.is_one_file(was.layer, is.layer) {
                    aspects.insert(Aspect::Content);
                } else {
                    unread.extend(position(olds, old).zip(position(news, new)));
                    continue;
                }
            }
            _ => {}
        }
        found.extend(changed(old, new, aspects));
    }
    for new in news.iter().filter(|node| is_wanted(node.path(), below)) {
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
    let unread = unread.iter().map(|(old, new)| (&olds[*old as usize], &news[*new as usize]));
    let contents = unread
        .clone()
        .filter_map(|(old, new)| Some([content(pair, 0, *first, old)?, content(pair, 1, *first, new)?]));
    let different = different(pair, tables, contents).await?;
    for ((old, new), differs) in unread.zip(different) {
        let mut aspects = aspects(old.entry, new.entry, ignores_times);
        if differs {
            aspects.insert(Aspect::Content);
        }
        found.extend(changed(old, new, aspects));
    }
    found.sort_unstable_by(|a, b| path_order(a.path(), b.path()));
    Ok(found)
}

/// Where a node stands, in 32 bits, in which merging counts them too.
fn position(nodes: &[Node<'_>], node: &Node<'_>) -> Option<u32> {
    nodes.element_offset(node)?.try_into().ok()
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
    aspects: Aspects,
    tocs: &[Vec<Arc<Toc>>; 2],
) -> Option<FileChange> {
    let seen = [Seen::Node(old), Seen::Node(new)];
    (!aspects.is_empty()).then(|| FileChange::new(old.path(), How::Changed, seen, aspects, tocs))
}

fn one_sided(path: &[u8], seen: [Seen<'_, '_>; 2], tocs: &[Vec<Arc<Toc>>; 2]) -> FileChange {
    let how = match seen {
        [Seen::Gone, Seen::Node(_)] => How::Added,
        [Seen::Node(_), Seen::Gone] => How::Removed,
        _ => How::Unclear,
    };
    FileChange::new(path, how, seen, Aspects::default(), tocs)
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
