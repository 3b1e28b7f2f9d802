//! The one merge: layers become a file system.

use std::borrow::{Borrow, Cow};
use std::collections::HashMap;
use std::num::NonZeroU32;

use crate::entry::{Entry, Kind, Whiteout};
use crate::error::quote;
use crate::path;
use crate::tree::{Id, Lost, ROOT, Source, Tree};
use crate::{Above, Error, Table};

/// A merged file system: its nodes, parents before children, the names of a directory in the order of their bytes.
///
/// Directories that no layer has an entry for, but whose children are there, have no node: whoever unpacks makes them. The
/// root has one, with an empty path, if a layer names it.
#[derive(Clone, Debug, Default)]
pub struct Merged<'a> {
    /// The nodes.
    pub nodes: Vec<Node<'a>>,
}

/// One path of a merged file system. There may be millions of them, so they are small.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node<'a> {
    /// The entry with the node's content and metadata; never a hard link.
    pub entry: &'a Entry,
    /// The path, where it is not the entry's own.
    #[expect(clippy::box_collection, reason = "a slice's length would be a second word")]
    path: Option<Box<Vec<u8>>>,
    layer: u32,
    /// One more than the index.
    link: Option<NonZeroU32>,
}

impl<'a> Node<'a> {
    /// An entry at its own path, in the lowest layer.
    pub fn of(entry: &'a Entry) -> Self {
        Self { entry, path: None, layer: 0, link: None }
    }

    /// Path from the root, cleaned. Not always the entry's own: other names of a file have its entry, too, and an entry below a
    /// symbolic link lands where that leads.
    pub fn path(&self) -> &[u8] {
        self.path.as_deref().map_or(&self.entry.path, Vec::as_slice)
    }

    /// Index of the layer that `entry` is in, from the bottom, from zero.
    pub fn layer(&self) -> usize {
        self.layer as usize
    }

    /// The index of the first node with the same content, when this is a hard link of it.
    pub fn link(&self) -> Option<usize> {
        self.link.map(|link| link.get() as usize - 1)
    }
}

/// Merges layers, the lowest first, as the OCI image specification has it (`layer.md`, "Applying Changesets").
///
/// - Whiteouts hide what *lower* layers have, wherever in their own layer they stand. Other names that begin with `.wh..wh.`
///   belong to AUFS: they are left out, though hard links to them get their content.
/// - The last of equal paths wins. A directory on a directory keeps what is in it and takes the new metadata; everything else
///   replaces what was there, with all that was in it.
/// - A hard link has the content and metadata that its target has at that moment, in its own layer or a lower one, whatever
///   becomes of the target later. Of the names that are left for one file, the first node is the file, the others link to it.
/// - A parent that is a symbolic link is followed, inside the root, and the entry lands where it leads: so do containerd and
///   umoci. A parent that is a file is replaced by a directory, as umoci and overlay file systems have it.
///
/// # Errors
///
/// [`Error::Merge`], naming layer and entry: a hard link whose target is not there or is a directory, more than 255 symbolic
/// links on one path or a path of more than 4095 bytes behind them, a whiteout of nothing, `.` or `..`, more than a million directories that have no entries.
pub fn merge<T: Borrow<Table>>(layers: &[T]) -> Result<Merged<'_>, Error> {
    Merge::new(layers.iter().map(Borrow::borrow).collect(), false).all().map(Merge::finish)
}

/// Merges the newest layers of an image without those below, as far as nothing of these could change what is found: `None` where it
/// could. That is so where an entry stands in a directory that only lower layers may have named, for it may be a symbolic link there, and
/// where a merge would fail. What stands for a hard link to a file that is not in these layers is the hard link itself.
///
/// The layers of nodes count from the first that was given.
pub fn merge_newest<T: Borrow<Table>>(layers: &[T]) -> Option<Merged<'_>> {
    let merge = Merge::new(layers.iter().map(Borrow::borrow).collect(), true).all().ok()?;
    (!merge.is_vague && !merge.tree.has_guessed()).then(|| merge.finish())
}

/// Merges the newest layers of an image, and notes where what those below have shows through. Directories that only lower layers may have
/// named are taken for directories. `None` where that cannot be told, and where a merge would fail.
///
/// The layers of nodes count from the first that was given; hard links are as in [`merge_newest`].
pub fn merge_above<T: Borrow<Table>>(layers: &[T]) -> Option<Above<'_>> {
    let merge = Merge::new(layers.iter().map(Borrow::borrow).collect(), true).all().ok()?;
    if merge.is_lost {
        return None;
    }
    let mut above = Above { hidden: merge.hidden.iter().cloned().collect(), ..Above::default() };
    above.opaque.extend(merge.swept.iter().cloned());
    above.merged = merge.finish_noting(|path, is_named, was_cleared| {
        if !is_named && !path.is_empty() {
            above.implied.push(path.into());
        }
        if was_cleared {
            above.opaque.insert(path.into());
        }
    });
    Some(above)
}

struct Merge<'a> {
    layers: Vec<&'a Table>,
    tree: Tree<'a>,
    /// Entries that hard links were made to, with their first node.
    linked: HashMap<Source, Option<NonZeroU32>>,
    /// There are layers below that are not known.
    is_part: bool,
    /// These could have had a say.
    is_vague: bool,
    /// What was hidden there, and in which directories all was, if these are not known.
    hidden: Vec<Box<[u8]>>,
    swept: Vec<Box<[u8]>>,
    /// It is not known where something was hidden.
    is_lost: bool,
}

type Problem = Cow<'static, str>;

impl<'a> Merge<'a> {
    fn new(layers: Vec<&'a Table>, is_part: bool) -> Self {
        let entries = layers.iter().map(|table| table.entries.len()).sum();
        Self {
            layers,
            tree: Tree::new(entries),
            linked: HashMap::new(),
            is_part,
            is_vague: false,
            hidden: Vec::new(),
            swept: Vec::new(),
            is_lost: false,
        }
    }

    fn all(mut self) -> Result<Self, Error> {
        for layer in 0..self.layers.len() {
            let table = self.layers[layer];
            for (index, entry) in table.entries.iter().enumerate() {
                let source = Source::new(layer, index).map_err(Problem::from);
                source.and_then(|source| self.apply(entry, source)).map_err(|problem| Error::Merge {
                    layer,
                    path: quote(&entry.path),
                    problem,
                })?;
            }
        }
        Ok(self)
    }

    fn apply(&mut self, entry: &'a Entry, source: Source) -> Result<(), Problem> {
        let layer = source.layer;
        let (directory, name) = path::split(&entry.path);
        match (Whiteout::of(name), &entry.kind) {
            (Some(Whiteout::Hide(b"" | b"." | b"..")), _) => return Err("whiteout names nothing".into()),
            (Some(Whiteout::Hide(name)), _) => {
                let found = self.tree.find(directory)?;
                if let Some(path) = self.real(found, directory) {
                    self.hidden.push(if path.is_empty() {
                        name.into()
                    } else {
                        [&*path, name].join(&b'/').into()
                    });
                }
                match found {
                    Some(directory) => self.tree.hide(directory, name, layer),
                    None => self.is_vague = true,
                }
            }
            (Some(Whiteout::Opaque), _) => {
                let found = self.tree.find(directory)?;
                let swept = self.real(found, directory);
                self.swept.extend(swept);
                match found {
                    Some(directory) => self.tree.sweep(directory, layer),
                    None => self.is_vague = true,
                }
            }
            (_, Kind::HardLink(target)) => {
                let source = match self.target(target) {
                    Err(_) if self.is_part => source,
                    found => found?,
                };
                self.linked.insert(source, None);
                self.put(directory, name, source, layer)?;
            }
            _ => self.put(directory, name, source, layer)?,
        }
        Ok(())
    }

    /// Where a directory is that something is hidden in, if that matters for layers below.
    fn real(&mut self, found: Option<Id>, directory: &[u8]) -> Option<Box<[u8]>> {
        if !self.is_part {
            return None;
        }
        self.is_lost |= found.is_none() && self.tree.has_link_on(directory);
        Some(found.map_or_else(|| directory.into(), |id| self.tree.path(id).into()))
    }

    /// The entry whose content is at a path.
    fn target(&mut self, target: &'a [u8]) -> Result<Source, Problem> {
        let (directory, name) = path::split(target);
        let found = self.tree.find(directory)?.and_then(|directory| self.tree.child(directory, name));
        let Some(id) = found else {
            return Err(format!("hard link to {}, which is not there", quote(target)).into());
        };
        let source = self.tree.source(id).filter(|_| !self.tree.is_directory(id));
        source.ok_or_else(|| format!("hard link to {}, which is a directory", quote(target)).into())
    }

    fn put(
        &mut self,
        directory: &'a [u8],
        name: &'a [u8],
        source: Source,
        layer: u16,
    ) -> Result<(), Problem> {
        // An empty name is the root's, which a table only has directories for.
        let id = if name.is_empty() {
            ROOT
        } else {
            let directory = self.tree.make(directory, layer)?;
            self.tree.place(directory, name, layer)?
        };
        Ok(self.tree.put(id, source, &self.entry(source).kind, layer)?)
    }

    fn entry(&self, source: Source) -> &'a Entry {
        // Sources are made from positions in these vectors, which do not change.
        &self.layers[usize::from(source.layer)].entries[source.entry as usize]
    }

    fn finish(self) -> Merged<'a> {
        self.finish_noting(|_, _, _| {})
    }

    /// Tells of every path besides, whether an entry names it, and whether it is a directory that was something else before.
    fn finish_noting(mut self, mut note: impl FnMut(&[u8], bool, bool)) -> Merged<'a> {
        self.tree.end();
        let mut nodes = Vec::with_capacity(self.tree.len());
        let mut path = Vec::new();
        // Nodes to visit, with the length of their directory's path.
        let mut rest: Vec<(Id, usize)> = vec![(ROOT, 0)];
        while let Some((id, length)) = rest.pop() {
            path.truncate(length);
            if length > 0 {
                path.push(b'/');
            }
            path.extend_from_slice(self.tree.name(id));
            note(&path, self.tree.source(id).is_some(), self.tree.was_cleared(id));
            if let Some(source) = self.tree.source(id) {
                let entry = self.entry(source);
                let link = match self.linked.get_mut(&source) {
                    Some(first) => {
                        let link = *first;
                        // There are no more nodes than can be counted.
                        *first = link.or_else(|| NonZeroU32::new(u32::try_from(nodes.len() + 1).ok()?));
                        link
                    }
                    None => None,
                };
                let path = (*entry.path != *path).then(|| Box::new(path.clone()));
                nodes.push(Node { entry, path, layer: source.layer.into(), link });
            }
            let visible = |id: &Id| Whiteout::of(self.tree.name(*id)) != Some(Whiteout::Bookkeeping);
            let above = rest.len();
            rest.extend(self.tree.children(id).filter(visible).map(|id| (id, path.len())));
            // The last is the next.
            rest[above..].sort_unstable_by(|a, b| self.tree.name(b.0).cmp(self.tree.name(a.0)));
        }
        Merged { nodes }
    }
}

impl From<Lost> for Problem {
    fn from(lost: Lost) -> Self {
        match lost {
            Lost::Loop => "more than 255 symbolic links on the way".into(),
            Lost::Walk => "symbolic links lead too far around".into(),
            Lost::Directories => "too many directories without entries of their own".into(),
            Lost::Entries => "more than four billion entries".into(),
            Lost::Layers => "more than 65535 layers".into(),
            Lost::Long => "symbolic links lead to a path of more than 4095 bytes".into(),
        }
    }
}
