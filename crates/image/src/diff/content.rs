//! Contents of files, compared by their hashes.

use std::collections::HashMap;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::{StreamExt, TryStreamExt};
use layer::Body;
use oci::{Algorithm, Digest, Hasher};

use super::tables::Pair;
use crate::Error;
use crate::inside::expand;

/// How many layers are read at once.
const LAYERS_AT_ONCE: usize = 4;

/// More contents, of all layers together, are read layer by layer: then it is not their number of requests that takes the time, and
/// half as many are in memory.
const MANY: usize = 200_000;

/// A file's content, and the layer that it is in: which image's, and which one of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Content<'a> {
    pub(super) layer: (usize, usize),
    pub(super) body: &'a Body,
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

/// The contents of a layer, in the order in which they lie there.
struct Hashed<'a> {
    bodies: Vec<&'a Body>,
    hashes: Vec<[u8; 32]>,
}

/// Which of the pairs are different. Each content is read once, those of a layer in the order in which they lie there.
pub(super) async fn different<'a>(
    pair: &Pair<'_>,
    pairs: impl Iterator<Item = [Content<'a>; 2]> + Clone,
) -> Result<Vec<bool>, Error> {
    let mut counts: HashMap<(usize, usize), usize> = HashMap::new();
    pairs.clone().flatten().for_each(|content| *counts.entry(content.layer).or_default() += 1);
    let at_once = if counts.values().sum::<usize>() > MANY { 1 } else { LAYERS_AT_ONCE };
    let room = |(layer, count)| (layer, Vec::with_capacity(count));
    let mut wanted: HashMap<(usize, usize), Vec<&Body>> = counts.into_iter().map(room).collect();
    for content in pairs.clone().flatten() {
        wanted.entry(content.layer).or_default().push(content.body);
    }
    // The compiler does not see through a stream that makes them.
    let hashed: Vec<_> = wanted.into_iter().map(|(layer, bodies)| hashes(pair, layer, bodies)).collect();
    let hashed = futures_util::stream::iter(hashed).buffer_unordered(at_once);
    let known: HashMap<(usize, usize), Hashed<'_>> = hashed.try_collect().await?;
    let hash = |content: Content<'_>| {
        let Hashed { bodies, hashes } = known.get(&content.layer)?;
        Some(hashes[bodies.binary_search_by_key(&content.body.offset, |body| body.offset).ok()?])
    };
    Ok(pairs.map(|[old, new]| hash(old) != hash(new)).collect())
}

async fn hashes<'a>(
    pair: &Pair<'_>,
    (side, layer): (usize, usize),
    mut bodies: Vec<&'a Body>,
) -> Result<((usize, usize), Hashed<'a>), Error> {
    bodies.sort_unstable_by_key(|body| body.offset);
    bodies.dedup_by_key(|body| body.offset);
    let wanted: Arc<[Body]> = bodies.iter().map(|body| (*body).clone()).collect();
    let hashes = Arc::new(Mutex::new(vec![[0; 32]; bodies.len()]));
    let read = {
        let (wanted, filled) = (Arc::clone(&wanted), Arc::clone(&hashes));
        move |index: usize, stored: &mut dyn io::Read| {
            let mut hashing = Hashing(Algorithm::Sha256.hasher());
            expand(&wanted[index], stored, &mut hashing).map_err(|source| Error::Body { source })?;
            let Digest::Sha256(hash) = hashing.0.finish() else {
                unreachable!("it is the hasher of SHA-256")
            };
            // A list is sound whoever panicked over it.
            filled.lock().unwrap_or_else(PoisonError::into_inner)[index] = hash;
            Ok(())
        }
    };
    // It ends well when all of them have been read.
    pair.sides[side].inside.read(layer, wanted, read).await?;
    let hashes = std::mem::take(&mut *hashes.lock().unwrap_or_else(PoisonError::into_inner));
    Ok(((side, layer), Hashed { bodies, hashes }))
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
