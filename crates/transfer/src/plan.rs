//! What a transfer has to do, decided without any I/O.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap, HashSet};

use oci::{Descriptor, Digest, Repository};
use store::{Error as StoreError, Kind};

use crate::graph::Node;
use crate::{Error, Graph};

/// What has to be done so that a destination can name the root of a graph.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The blobs to bring, the largest first, each digest once. They come before all manifests.
    pub blobs: Vec<Move>,
    /// The manifests to write by digest, in waves: what a wave refers to stands in an earlier one. The root is not
    /// among them; it comes after all, under the name that is wanted for it.
    pub waves: Vec<Vec<Digest>>,
    /// The bytes of the blobs together, as their descriptors have it; mounts save some of them.
    pub bytes: u64,
}

/// A blob to bring.
#[derive(Clone, Debug)]
pub struct Move {
    /// The blob.
    pub blob: Descriptor,
    /// A repository of the destination's registry that has it and that it may be mounted from.
    pub origin: Option<Repository>,
}

/// Decides what is to be done to copy `graph` to a place that has the blobs of `present`, and that can mount from
/// `origin` if one is given. Blobs of manifests that the destination has already do not even stand in the graph.
///
/// ```
/// # use std::collections::HashSet;
/// # use bytes::Bytes;
/// # use oci::{Manifest, Tag};
/// # use store::{MemoryStore, Store};
/// use transfer::{Graph, Walk, plan};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let source = MemoryStore::new("source");
/// # let root = Manifest::new(Bytes::from_static(b"{\"manifests\":[]}"), None)?;
/// let graph = Graph::walk(&source, root, &Walk::default()).await?;
/// let plan = plan(&graph, &HashSet::new(), None);
/// println!("{} blobs, {} bytes", plan.blobs.len(), plan.bytes);
/// # Ok(())
/// # }
/// ```
#[expect(clippy::implicit_hasher, reason = "the set is made for this call")]
pub fn plan(graph: &Graph, present: &HashSet<Digest>, origin: Option<&Repository>) -> Plan {
    let mut met = HashSet::new();
    let mut blobs: Vec<Move> = graph
        .manifests
        .values()
        .flat_map(|node| &node.blobs)
        .filter(|blob| !present.contains(&blob.digest) && met.insert(blob.digest))
        .map(|blob| Move { blob: blob.clone(), origin: origin.cloned() })
        .collect();
    blobs.sort_by_key(|step| (Reverse(step.blob.size), step.blob.digest));
    let bytes = blobs.iter().fold(0, |sum: u64, step| sum.saturating_add(step.blob.size));
    Plan { blobs, waves: waves(graph), bytes }
}

/// Sorts all manifests but the root from the leaves up (Kahn's algorithm, a level at a time).
pub(crate) fn waves(graph: &Graph) -> Vec<Vec<Digest>> {
    let mut parents: BTreeMap<Digest, Vec<Digest>> = BTreeMap::new();
    let mut missing: BTreeMap<Digest, usize> = BTreeMap::new();
    for (digest, node) in &graph.manifests {
        let children: HashSet<&Digest> =
            node.children.iter().filter(|child| graph.manifests.contains_key(child)).collect();
        missing.insert(*digest, children.len());
        for child in children {
            parents.entry(*child).or_default().push(*digest);
        }
    }
    let mut waves = Vec::new();
    let mut ready: Vec<Digest> =
        missing.iter().filter(|(_, missing)| **missing == 0).map(|(digest, _)| *digest).collect();
    while !ready.is_empty() {
        let mut next = Vec::new();
        for parent in ready.iter().filter_map(|digest| parents.get(digest)).flatten() {
            if let Some(missing) = missing.get_mut(parent) {
                *missing -= 1;
                if *missing == 0 {
                    next.push(*parent);
                }
            }
        }
        ready.retain(|digest| *digest != graph.root);
        if !ready.is_empty() {
            waves.push(ready);
        }
        ready = next;
    }
    waves
}

/// Everything that a graph consists of, in the order in which it lies best: the blobs of each manifest as it names them, the
/// manifests, the root. Manifests have to agree on the lengths of blobs.
pub(crate) fn contents(graph: &Graph) -> Result<Vec<Descriptor>, Error> {
    let mut lengths = HashMap::new();
    for node in graph.manifests.values() {
        for blob in &node.blobs {
            let length = *lengths.entry(blob.digest).or_insert(blob.size);
            if length != blob.size {
                let doing = format!("reading manifest {}", node.manifest.digest());
                let (digest, size) = (blob.digest, blob.size);
                let reason =
                    format!("it says that {digest} has {size} bytes, and another that it has {length}");
                return Err(Error::Source(StoreError::new(Kind::Invalid, doing, reason)));
            }
        }
    }
    let waves = waves(graph);
    let manifests: Vec<&Node> = waves
        .iter()
        .flatten()
        .chain([&graph.root])
        .filter_map(|digest| graph.manifests.get(digest))
        .collect();
    let mut met = HashSet::new();
    let blobs = manifests.iter().flat_map(|node| &node.blobs).filter(|blob| met.insert(blob.digest)).cloned();
    let blobs: Vec<Descriptor> = blobs.collect();
    Ok(blobs.into_iter().chain(manifests.iter().map(|node| node.manifest.descriptor())).collect())
}
