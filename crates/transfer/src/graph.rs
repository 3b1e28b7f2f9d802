//! The manifests and blobs that a manifest stands on.

use std::collections::{BTreeMap, HashSet};
use std::pin::pin;

use futures_util::future::{Either, ready, select as first_of};
use futures_util::stream::{self, StreamExt, TryStreamExt};
use oci::{Descriptor, Digest, Manifest, Selector, View};
use store::{Kind, Store};

use crate::{Error, reference, schema1, select};

/// How many manifests are asked for at once.
const REQUESTS: usize = 32;

/// Everything reachable from a manifest by children, config and layers. Each digest is there once, so shared parts are
/// walked once; digests are checked, so there are no cycles.
#[derive(Clone, Debug)]
pub struct Graph {
    /// The digest of the manifest that the walk began with.
    pub root: Digest,
    /// The manifests that were read, the root among them.
    pub manifests: BTreeMap<Digest, Node>,
    /// Manifests that the destination has already, and so all below them. They were not read.
    pub existing: Vec<Descriptor>,
}

/// A manifest and what it names directly.
#[derive(Clone, Debug)]
pub struct Node {
    /// The manifest.
    pub manifest: Manifest,
    /// Its children, in its order: manifests of the graph, or what the destination has already.
    pub children: Vec<Digest>,
    /// Its config and layers, in its order, without those that are left out.
    pub blobs: Vec<Descriptor>,
}

/// How large a graph may be. Beyond it a walk ends with [`Error::TooLarge`]: the graph of an image is far smaller, and
/// all of its manifests are held in memory.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Levels of manifests, the root being one: 16 by default.
    pub depth: usize,
    /// Manifests: 20000 by default.
    pub manifests: usize,
    /// Bytes of all manifests together: 64 MiB by default.
    pub bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { depth: 16, manifests: 20_000, bytes: 64 << 20 }
    }
}

/// What a walk goes into.
#[derive(Clone, Copy, Debug, Default)]
pub struct Walk<'a> {
    /// A place whose manifests, found by digest, need no walking: where the graph shall be copied to.
    pub destination: Option<&'a dyn Store>,
    /// Whether the source is asked for a manifest while that place is still asked whether it has it. That saves a round trip
    /// where it has not, and costs a request where it has.
    pub eager: bool,
    /// Whether layers that their owner does not allow to be pushed elsewhere belong to the graph.
    pub nondistributable: bool,
    /// How large the graph may be.
    pub limits: Limits,
}

/// What an entry of an index turned out to be.
enum Found {
    /// With the entries that it lists.
    Manifest(Node, Vec<Descriptor>),
    /// The destination has it.
    Existing(Descriptor),
    /// No manifest: the entry of an index that lists blobs, as `BuildKit`'s caches do.
    Blob(Descriptor),
}

/// An entry of an index and the digest of that index.
struct Entry {
    index: Digest,
    descriptor: Descriptor,
}

impl Graph {
    /// Walks from `root`, a manifest of `source`, level by level, 32 manifests at once. Content embedded in
    /// descriptors (`data`) is not asked for. An entry of unknown type that is no manifest of the source counts as a
    /// blob. Manifests of unknown type are taken with whatever config, layers and children they show.
    ///
    /// # Errors
    /// [`Error::MissingChild`] if the source lacks what an index lists, [`Error::Manifest`] if a manifest is broken,
    /// [`Error::TooLarge`], and [`Error::Source`] or [`Error::Destination`] if a store fails; among these
    /// [`Kind::Unsupported`] for a schema 1 image of a source that cannot tell the length of its layers.
    pub async fn walk(source: &dyn Store, root: Manifest, walk: &Walk<'_>) -> Result<Self, Error> {
        Self::walk_and_tell(source, root, walk, |_| {}).await
    }

    /// The same, and tells the blobs of each manifest as soon as they are known.
    pub(crate) async fn walk_and_tell(
        source: &dyn Store,
        root: Manifest,
        walk: &Walk<'_>,
        tell: impl Fn(&[Descriptor]),
    ) -> Result<Self, Error> {
        let root_digest = root.digest();
        let mut graph = Self { root: root_digest, manifests: BTreeMap::new(), existing: Vec::new() };
        let too_large = |limit: String| Error::TooLarge {
            reference: reference(source, &Selector::Digest(root_digest)),
            limit,
        };
        let Limits { depth, manifests, bytes } = walk.limits;
        let mut seen = HashSet::from([root_digest]);
        let mut held = root.raw().len();
        let mut levels = 1;
        let (node, listed) = read(source, root, walk.nondistributable).await?;
        tell(&node.blobs);
        let mut entries = graph.insert(node, listed, &mut seen);
        while !entries.is_empty() {
            if levels >= depth {
                return Err(too_large(format!("{depth} levels")));
            }
            if seen.len() > manifests {
                return Err(too_large(format!("{manifests} manifests")));
            }
            let mut found = stream::iter(std::mem::take(&mut entries))
                .map(|entry| find(source, walk, entry))
                .buffer_unordered(REQUESTS);
            while let Some((index, found)) = found.try_next().await? {
                match found {
                    Found::Manifest(node, listed) => {
                        held = held.saturating_add(node.manifest.raw().len());
                        if held > bytes {
                            return Err(too_large(format!("{bytes} bytes of manifests")));
                        }
                        tell(&node.blobs);
                        entries.extend(graph.insert(node, listed, &mut seen));
                    }
                    Found::Existing(descriptor) => graph.existing.push(descriptor),
                    Found::Blob(descriptor) => {
                        tell(std::slice::from_ref(&descriptor));
                        if let Some(node) = graph.manifests.get_mut(&index) {
                            node.children.retain(|child| *child != descriptor.digest);
                            node.blobs.push(descriptor);
                        }
                    }
                }
            }
            levels += 1;
        }
        Ok(graph)
    }

    /// Takes a manifest in, and returns those of its entries that nobody has seen.
    fn insert(&mut self, node: Node, listed: Vec<Descriptor>, seen: &mut HashSet<Digest>) -> Vec<Entry> {
        let index = node.manifest.digest();
        self.manifests.insert(index, node);
        let new = listed.into_iter().filter(|entry| seen.insert(entry.digest));
        new.map(|descriptor| Entry { index, descriptor }).collect()
    }
}

/// Takes a manifest apart: itself with its blobs, and the entries that have to be looked into.
async fn read(
    source: &dyn Store,
    manifest: Manifest,
    nondistributable: bool,
) -> Result<(Node, Vec<Descriptor>), Error> {
    let invalid = |source_error| Error::Manifest {
        reference: reference(source, &manifest.digest().into()),
        source: source_error,
    };
    let mut blobs = Vec::new();
    let mut listed = Vec::new();
    if manifest.media_type().is_schema1() {
        let mut met = HashSet::new();
        for digest in schema1::layers(&manifest).map_err(invalid)? {
            if met.insert(digest) {
                blobs.push(source.resolve_blob(&digest).await.map_err(Error::Source)?);
            }
        }
    } else {
        match manifest.view() {
            Ok(View::Image(image)) => blobs = image.config.into_iter().chain(image.layers).collect(),
            Ok(View::Index(index)) => listed = index.manifests,
            // A type of its own may use these fields for something else; then its bytes are all there is to copy.
            Err(_) if !manifest.media_type().is_manifest() => {}
            Err(error) => return Err(invalid(error)),
        }
    }
    blobs.retain(|blob| nondistributable || !blob.media_type.is_nondistributable());
    let children = listed.iter().map(|entry| entry.digest).collect();
    Ok((Node { manifest, children, blobs }, listed))
}

/// Looks for an entry of an index at the destination, where a question costs less than a manifest does, and at the source.
async fn find(source: &dyn Store, walk: &Walk<'_>, entry: Entry) -> Result<(Digest, Found), Error> {
    let Entry { index, descriptor } = entry;
    let selector = descriptor.digest.into();
    let destination = walk.destination.filter(|_| !source.is_new(&descriptor));
    let looked = async {
        match destination {
            Some(destination) => existing(destination, &selector).await,
            None => Ok(None),
        }
    };
    let (looked, fetched) = (pin!(looked), pin!(fetch(source, walk, &index, &descriptor)));
    let (looked, fetched) = if walk.eager {
        match first_of(looked, fetched).await {
            Either::Left((looked, fetched)) => (looked?, Either::Left(fetched)),
            Either::Right((fetched, looked)) => (looked.await?, Either::Right(ready(fetched))),
        }
    } else {
        (looked.await?, Either::Left(fetched))
    };
    let found = match looked {
        Some(existing) => Found::Existing(existing),
        None => fetched.await?,
    };
    Ok((index, found))
}

/// Reads an entry of an index at the source.
async fn fetch(
    source: &dyn Store,
    walk: &Walk<'_>,
    index: &Digest,
    descriptor: &Descriptor,
) -> Result<Found, Error> {
    let index = reference(source, &(*index).into());
    match select::child(source, &index, descriptor).await {
        Ok(manifest) => {
            let (node, listed) = read(source, manifest, walk.nondistributable).await?;
            Ok(Found::Manifest(node, listed))
        }
        Err(Error::MissingChild { .. }) if !descriptor.media_type.is_manifest() => {
            Ok(Found::Blob(descriptor.clone()))
        }
        Err(error) => Err(error),
    }
}

/// What the destination has under a name. Registries that hide what one may not read deny instead of saying no, as
/// crane takes it too.
pub(crate) async fn existing(
    destination: &dyn Store,
    selector: &Selector,
) -> Result<Option<Descriptor>, Error> {
    match destination.resolve(selector).await {
        Ok(descriptor) => Ok(Some(descriptor)),
        Err(error) if matches!(error.kind(), Kind::NotFound | Kind::Denied) => Ok(None),
        Err(error) => Err(Error::Destination(error)),
    }
}
