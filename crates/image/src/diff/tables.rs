//! The tables of two images: which are read, from which of the two places, and what they make together.

use std::collections::HashMap;
use std::sync::Arc;

use futures_util::future::try_join;
use layer::{Above, FindError, Found, Seen, Table, Toc};
use oci::{Descriptor, Digest};

use super::Side;
use crate::Error;
use crate::inside::Known;

/// Two images, and where each layer of theirs is read from.
pub(super) struct Pair<'s> {
    pub(super) sides: [&'s Side; 2],
    /// For each layer of each side: which side, and which layer of it.
    sources: [Vec<(usize, usize)>; 2],
    /// How many layers both have from the bottom on.
    shared: usize,
}

/// The tables of both, without those of the lowest layers, which both have.
pub(super) struct Tables {
    /// How many are not there.
    pub(super) first: usize,
    pub(super) tocs: [Vec<Arc<Toc>>; 2],
}

/// What lies in a layer, wherever the layer is.
pub(super) fn key(layer: &Descriptor) -> (Digest, bool) {
    (layer.digest, layer.media_type.is_layer())
}

/// Whether all layers are the same.
pub(super) fn is_same(sides: [&Side; 2]) -> bool {
    let [a, b] = sides.map(|side| side.inside.layers().iter().map(key));
    a.eq(b)
}

impl<'s> Pair<'s> {
    pub(super) fn new(sides: [&'s Side; 2]) -> Self {
        let mut from = HashMap::new();
        let all =
            |side: usize| sides[side].inside.layers().iter().enumerate().map(move |layer| (side, layer));
        // What costs least: a table that is known, then a place on this machine.
        let cost = |(side, layer): (usize, usize)| {
            // Each side would have a copy of its own of what it opens.
            (!sides[side].inside.is_kept(layer), !sides[side].is_near)
        };
        for (side, (layer, blob)) in all(0).chain(all(1)) {
            let best = from.entry(key(blob)).or_insert((side, layer));
            if cost((side, layer)) < cost(*best) {
                *best = (side, layer);
            }
        }
        let [a, b] = sides.map(|side| side.inside.layers());
        let shared = a.iter().zip(b).take_while(|(a, b)| key(a) == key(b)).count();
        // All of them are there.
        let sources = sides.map(|side| {
            side.inside.layers().iter().filter_map(|blob| from.get(&key(blob)).copied()).collect()
        });
        Self { sides, sources, shared }
    }

    /// Where a layer of a side is read from.
    pub(super) fn source(&self, side: usize, layer: usize) -> (usize, usize) {
        self.sources[side].get(layer).copied().unwrap_or((side, layer))
    }

    /// Whether two layers are one file each, whose digests tell whether they are the same.
    pub(super) fn is_one_file(&self, one: (usize, usize), other: (usize, usize)) -> bool {
        [one, other].iter().all(|(side, layer)| self.sides[*side].inside.known(*layer) == Known::File)
    }

    /// From which layer on tables are read.
    fn first(&self, is_complete: bool) -> usize {
        let is_free = |layer: usize| {
            let (side, layer) = self.source(0, layer);
            let side = self.sides[side];
            side.is_near || side.inside.known(layer) != Known::Nothing
        };
        if is_complete {
            0
        } else {
            (0..self.shared).rev().take_while(|layer| is_free(*layer)).last().unwrap_or(self.shared)
        }
    }

    pub(super) async fn tables(&self, is_complete: bool) -> Result<Tables, Error> {
        let first = self.first(is_complete);
        let mut wanted = [Vec::new(), Vec::new()];
        for side in 0..2 {
            for layer in first..self.sides[side].inside.layers().len() {
                let (side, layer) = self.source(side, layer);
                wanted[side].push(layer);
            }
        }
        let [a, b] = wanted;
        try_join(self.sides[0].inside.make(a), self.sides[1].inside.make(b)).await?;
        let mut tocs = [Vec::new(), Vec::new()];
        for (side, tocs) in tocs.iter_mut().enumerate() {
            for layer in first..self.sides[side].inside.layers().len() {
                let (side, layer) = self.source(side, layer);
                tocs.push(self.sides[side].inside.toc(layer).await?);
            }
        }
        Ok(Tables { first, tocs })
    }

    /// Where a path leads in each of the images, as itself and through a link at its end; `None` for all of both.
    pub(super) async fn below(
        &self,
        path: Option<&[u8]>,
        is_complete: bool,
    ) -> Result<Option<Vec<Vec<u8>>>, Error> {
        let Some(path) = path.filter(|path| path.iter().any(|byte| *byte != b'/')) else { return Ok(None) };
        let mut found = Vec::new();
        let mut lost = None;
        let tables = if self.first(is_complete) == 0 { Some(self.tables(is_complete).await?) } else { None };
        for side in 0..2 {
            for follow in [false, true] {
                let outcome = match &tables {
                    Some(tables) => tables.find(side, path, follow)?,
                    // It asks no more layers than it takes.
                    None => match self.sides[side].inside.find(path, follow).await {
                        Ok(spot) => Ok(spot.path),
                        Err(Error::Path(error)) => Err(error),
                        Err(error) => return Err(error),
                    },
                };
                match outcome {
                    Ok(path) => found.push(path),
                    Err(error) => lost = Some(error),
                }
            }
        }
        match lost {
            Some(error) if found.is_empty() => Err(error.into()),
            _ => Ok(Some(found)),
        }
    }
}

impl Tables {
    /// The tables, by where their layers are read from; those of layers that both have twice. What nodes of [`views`](Self::views) have
    /// is in these.
    pub(super) fn sources(&self, pair: &Pair<'_>) -> impl Iterator<Item = ((usize, usize), &Arc<Toc>)> {
        let of = |side: usize| {
            let layers = self.tocs[side].iter().enumerate();
            layers.map(move |(layer, toc)| (pair.source(side, self.first + layer), toc))
        };
        of(0).chain(of(1))
    }

    pub(super) fn tables(&self) -> [Vec<&Table>; 2] {
        [0, 1].map(|side| self.tocs[side].iter().map(|toc| &toc.table).collect())
    }

    fn find(&self, side: usize, path: &[u8], follow: bool) -> Result<Result<Vec<u8>, FindError>, Error> {
        let tables = self.tables();
        let merged = layer::merge(&tables[side]).map_err(Error::Merge)?;
        Ok(merged.find(path, follow).map(|found| match found {
            Found::Node(index) => merged.nodes[index].path().to_vec(),
            Found::Directory(path) => path,
        }))
    }

    /// What the tables make. `None` where it takes those that are not there, too.
    pub(super) fn views<'t>(&self, tables: &'t [Vec<&Table>; 2]) -> Result<Option<[Above<'t>; 2]>, Error> {
        let [a, b] = tables;
        if self.first == 0 {
            let [a, b] = [layer::merge(a), layer::merge(b)].map(|merged| merged.map_err(Error::Merge));
            return Ok(Some([Above::whole(a?), Above::whole(b?)]));
        }
        let (Some(a), Some(b)) = (layer::merge_above(a), layer::merge_above(b)) else { return Ok(None) };
        let is_plain = !has_conflict(&a, &b) && !has_conflict(&b, &a);
        Ok(is_plain.then_some([a, b]))
    }
}

/// Whether one image names what the other takes for a directory that lower layers have: it may be a symbolic link there, and then equal
/// paths are not the same file.
fn has_conflict(one: &Above<'_>, other: &Above<'_>) -> bool {
    one.implied.iter().any(|path| !matches!(other.at(path), Seen::Below))
}
