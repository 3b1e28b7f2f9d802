//! Contents of files, compared by their hashes.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::io::{self, Write};
use std::mem;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::{StreamExt, TryStreamExt};
use layer::{Body, Entry, Toc};
use oci::{Algorithm, Digest, Hasher};

use super::tables::{Pair, Tables};
use crate::Error;
use crate::inside::{Wanted, expand};

/// How many layers are read at once.
const LAYERS_AT_ONCE: usize = 4;

/// More contents, of all layers together, are read layer by layer: then it is not their number of requests that takes the time, and
/// half as many are in memory.
const MANY: usize = 200_000;

/// Enough of the hash of something secret and a content: whoever makes images cannot look for equal ones.
type Print = [u8; 16];

/// A file's content, and the layer that it is in: which image's, and which one of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Content<'a> {
    pub(super) layer: (usize, usize),
    pub(super) body: &'a Body,
    pub(super) entry: &'a Entry,
}

impl Content<'_> {
    /// By what a content is known: where it is.
    fn key(&self) -> ((usize, usize), u64) {
        (self.layer, self.body.offset)
    }

    /// Whether it is known without reading that they are equal.
    pub(super) fn is(&self, other: &Self) -> bool {
        self.body.size == other.body.size && (self.key() == other.key() || self.body.size == 0)
    }
}

/// Contents of a layer, in the order in which they lie there. There may be millions, so they are where their table is.
struct Contents {
    toc: Arc<Toc>,
    entries: Vec<u32>,
}

impl Contents {
    fn body(&self, entry: u32) -> &Body {
        self.toc.table.body(entry).unwrap_or_else(|| unreachable!("only files are noted"))
    }

    fn sort(&mut self) {
        let mut entries = mem::take(&mut self.entries);
        entries.sort_unstable_by_key(|entry| self.body(*entry).offset);
        entries.dedup_by_key(|entry| self.body(*entry).offset);
        self.entries = entries;
    }
}

impl Wanted for Contents {
    fn count(&self) -> usize {
        self.entries.len()
    }

    fn get(&self, index: usize) -> &Body {
        self.body(self.entries[index])
    }
}

/// Which of the pairs are different. Each content is read once, those of a layer in the order in which they lie there.
pub(super) async fn different<'a>(
    pair: &Pair<'_>,
    tables: &Tables,
    pairs: impl Iterator<Item = [Content<'a>; 2]> + Clone,
) -> Result<Vec<bool>, Error> {
    let mut counts: HashMap<(usize, usize), usize> = HashMap::new();
    pairs.clone().flatten().for_each(|content| *counts.entry(content.layer).or_default() += 1);
    let at_once = if counts.values().sum::<usize>() > MANY { 1 } else { LAYERS_AT_ONCE };
    let mut wanted: HashMap<(usize, usize), Contents> = HashMap::new();
    for (layer, toc) in tables.sources(pair) {
        if let Some(count) = counts.get(&layer) {
            let room = || Contents { toc: Arc::clone(toc), entries: Vec::with_capacity(*count) };
            wanted.entry(layer).or_insert_with(room);
        }
    }
    for content in pairs.clone().flatten() {
        if let Some(contents) = wanted.get_mut(&content.layer) {
            contents.entries.extend(contents.toc.table.position(content.entry));
        }
    }
    let random = RandomState::new();
    let secret = [random.hash_one(0), random.hash_one(1)];
    // The compiler does not see through a stream that makes them.
    let hashed: Vec<_> =
        wanted.into_iter().map(|(layer, contents)| prints(pair, layer, contents, secret)).collect();
    let hashed = futures_util::stream::iter(hashed).buffer_unordered(at_once);
    let known: HashMap<(usize, usize), (Arc<Contents>, Vec<Print>)> = hashed.try_collect().await?;
    let print = |content: Content<'_>| {
        let (contents, prints) = known.get(&content.layer)?;
        let offset = |entry: &u32| contents.body(*entry).offset;
        Some(prints[contents.entries.binary_search_by_key(&content.body.offset, offset).ok()?])
    };
    Ok(pairs.map(|[old, new]| print(old) != print(new)).collect())
}

async fn prints(
    pair: &Pair<'_>,
    (side, layer): (usize, usize),
    mut contents: Contents,
    secret: [u64; 2],
) -> Result<((usize, usize), (Arc<Contents>, Vec<Print>)), Error> {
    contents.sort();
    let contents = Arc::new(contents);
    let prints = Arc::new(Mutex::new(vec![Print::default(); contents.count()]));
    let read = {
        let (contents, filled) = (Arc::clone(&contents), Arc::clone(&prints));
        move |index: usize, stored: &mut dyn io::Read| {
            let mut hashing = Hashing(Algorithm::Sha256.hasher());
            for word in secret {
                hashing.0.update(&word.to_ne_bytes());
            }
            expand(contents.get(index), stored, &mut hashing).map_err(|source| Error::Body { source })?;
            let Digest::Sha256(hash) = hashing.0.finish() else {
                unreachable!("it is the hasher of SHA-256")
            };
            // A list is sound whoever panicked over it.
            filled.lock().unwrap_or_else(PoisonError::into_inner)[index].copy_from_slice(&hash[..16]);
            Ok(())
        }
    };
    // It ends well when all of them have been read.
    let bodies = Arc::clone(&contents);
    pair.sides[side].inside.read(layer, bodies, read).await?;
    let prints = mem::take(&mut *prints.lock().unwrap_or_else(PoisonError::into_inner));
    Ok(((side, layer), (contents, prints)))
}

struct Hashing(Hasher);

impl Write for Hashing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
