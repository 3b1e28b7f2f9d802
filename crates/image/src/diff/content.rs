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

/// A file's content, and the layer that it is in: which image's, and which one of it.
#[derive(Clone, Debug)]
pub(super) struct Content {
    pub(super) layer: (usize, usize),
    pub(super) body: Body,
}

impl Content {
    /// By what a content is known: where it is.
    fn key(&self) -> ((usize, usize), u64) {
        (self.layer, self.body.offset)
    }

    /// Whether it is known without reading that they are equal.
    pub(super) fn is(&self, other: &Self) -> bool {
        self.body.size == other.body.size && (self.key() == other.key() || self.body.size == 0)
    }
}

/// Which of the pairs are different. Each content is read once, those of a layer in the order in which they lie there.
pub(super) async fn different(pair: &Pair<'_>, pairs: &[(Content, Content)]) -> Result<Vec<bool>, Error> {
    let mut wanted: HashMap<(usize, usize), HashMap<u64, Body>> = HashMap::new();
    for content in pairs.iter().flat_map(|(old, new)| [old, new]) {
        wanted.entry(content.layer).or_default().insert(content.body.offset, content.body.clone());
    }
    let hashed = futures_util::stream::iter(wanted).map(|(layer, bodies)| async move {
        let bodies: Arc<[Body]> = bodies.into_values().collect();
        let hashes = hashes(pair, layer, Arc::clone(&bodies)).await?;
        Ok::<_, Error>((layer, bodies, hashes))
    });
    let mut known: HashMap<((usize, usize), u64), Option<Digest>> = HashMap::new();
    let mut hashed = hashed.buffer_unordered(LAYERS_AT_ONCE);
    while let Some((layer, bodies, hashes)) = hashed.try_next().await? {
        known.extend(bodies.iter().zip(hashes).map(|(body, hash)| ((layer, body.offset), hash)));
    }
    let hash = |content: &Content| known.get(&content.key()).copied().flatten();
    Ok(pairs.iter().map(|(old, new)| hash(old) != hash(new)).collect())
}

async fn hashes(
    pair: &Pair<'_>,
    (side, layer): (usize, usize),
    bodies: Arc<[Body]>,
) -> Result<Vec<Option<Digest>>, Error> {
    let hashes = Arc::new(Mutex::new(vec![None; bodies.len()]));
    let (filled, list) = (Arc::clone(&hashes), bodies.to_vec());
    let read = move |index: usize, stored: &mut dyn io::Read| {
        let mut hashing = Hashing(Algorithm::Sha256.hasher());
        expand(&bodies[index], stored, &mut hashing).map_err(|source| Error::Body { source })?;
        // A list is sound whoever panicked over it.
        filled.lock().unwrap_or_else(PoisonError::into_inner)[index] = Some(hashing.0.finish());
        Ok(())
    };
    pair.sides[side].inside.read(layer, list, read).await?;
    Ok(std::mem::take(&mut *hashes.lock().unwrap_or_else(PoisonError::into_inner)))
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
