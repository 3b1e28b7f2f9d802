//! All manifests below a root, whatever is wrong with them.
//!
//! Not [`transfer::Graph`]: a copy ends where the first thing is wrong, this goes on.

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use futures_util::{StreamExt, TryStreamExt};
use oci::{Descriptor, Digest, ImageManifest, Manifest, MediaType, Platform, View};
use store::{Kind, Store};
use transfer::Limits;

use super::report::{Findings, Spot};
use super::{REQUESTS, document};

/// What was found below the root.
pub(super) struct Graph {
    /// The manifests that could be read, the root first.
    pub(super) nodes: Vec<Node>,
    /// Entries of indexes that are no manifests, as `BuildKit`'s caches have them.
    pub(super) blobs: Vec<(Spot, Descriptor)>,
    /// Bytes of the manifests.
    pub(super) bytes: u64,
}

/// A manifest.
pub(super) struct Node {
    /// In the order of the walk.
    position: usize,
    /// Where it is, such as `linux/arm64`; empty for the root.
    path: String,
    manifest: Manifest,
    pub(super) content: Content,
    /// The platforms that indexes give for it, and where.
    pub(super) platforms: Vec<(Spot, Platform)>,
}

/// What a manifest is.
pub(super) enum Content {
    /// An image, which has a config.
    Image(ImageManifest),
    /// Anything else with blobs.
    Artifact(ImageManifest),
    /// An index, or what is not looked into.
    Other,
}

/// An entry of an index.
struct Entry {
    position: usize,
    path: String,
    descriptor: Descriptor,
}

impl Entry {
    fn spot(&self) -> Spot {
        Spot::new((self.position, 0), &self.path, "manifest", Some(self.descriptor.digest))
    }
}

impl Graph {
    /// The images: where they are, their configs and themselves.
    pub(super) fn images(&self) -> impl Iterator<Item = (&Node, &Descriptor, &ImageManifest)> {
        self.nodes.iter().filter_map(|node| match &node.content {
            Content::Image(image) => Some((node, image.config.as_ref()?, image)),
            _ => None,
        })
    }
}

impl Node {
    fn spot(&self) -> Spot {
        Spot::new((self.position, 0), &self.path, "manifest", Some(self.manifest.digest()))
    }

    /// Where it is, in a list.
    pub(super) fn name(&self) -> &str {
        if self.path.is_empty() { "image" } else { &self.path }
    }

    pub(super) fn config(&self, config: &Descriptor) -> Spot {
        Spot::new((self.position, 1), &self.path, "config", Some(config.digest))
    }

    /// A layer, counted from zero.
    pub(super) fn layer(&self, at: usize, layer: &Descriptor) -> Spot {
        Spot::new((self.position, at + 2), &self.path, &format!("layer {}", at + 1), Some(layer.digest))
    }

    /// Config and layers.
    pub(super) fn parts<'a>(&self, image: &'a ImageManifest) -> impl Iterator<Item = (Spot, &'a Descriptor)> {
        let config = image.config.iter().map(|config| (self.config(config), config));
        config.chain(image.layers.iter().enumerate().map(|(at, layer)| (self.layer(at, layer), layer)))
    }
}

/// Reads everything below a root, level by level. Each manifest is read once; digests are checked, so there are no
/// cycles.
pub(super) async fn walk(
    store: &dyn Store,
    root: Manifest,
    limits: Limits,
    findings: &mut Findings,
) -> Result<Graph, store::Error> {
    let digest = root.digest();
    let mut walk = Walk {
        store,
        limits,
        graph: Graph { nodes: Vec::new(), blobs: Vec::new(), bytes: root.raw().len() as u64 },
        seen: HashSet::from([digest]),
        entries: Vec::new(),
    };
    let mut level = vec![(0, String::new(), root)];
    for depth in 1.. {
        let fresh = walk.take(level, findings);
        if fresh.is_empty() {
            break;
        }
        let next = if depth < limits.depth { walk.fetch(fresh, findings).await? } else { Err("levels") };
        level = match next {
            Ok(next) => next,
            Err(what) => {
                let problem = format!("there are more {what} below it than are looked at");
                findings.error(&Spot::root(Some(digest)), problem);
                break;
            }
        };
    }
    Ok(walk.compared(findings))
}

/// A manifest that was read: its position in the walk, where it is, and itself.
type Read = (usize, String, Manifest);

struct Walk<'a> {
    store: &'a dyn Store,
    limits: Limits,
    graph: Graph,
    /// The manifests that have been asked for.
    seen: HashSet<Digest>,
    /// The entries of all indexes so far; the first one's position is 1, for the root has none.
    entries: Vec<Entry>,
}

impl Walk<'_> {
    /// Checks the manifests of one level; which entries are to be fetched for the next one.
    fn take(&mut self, level: Vec<Read>, findings: &mut Findings) -> Range<usize> {
        let first = self.entries.len();
        for (position, path, manifest) in level {
            let mut node = Node { position, path, manifest, content: Content::Other, platforms: Vec::new() };
            match document::check(&node.manifest, &node.spot(), findings) {
                Some(View::Image(image)) => node.content = content(image),
                Some(View::Index(index)) => {
                    for (path, descriptor) in paths(&node.path, index.manifests) {
                        let entry = Entry { position: self.entries.len() + 1, path, descriptor };
                        findings.embedded(&entry.spot(), &entry.descriptor);
                        self.entries.push(entry);
                    }
                }
                None => {}
            }
            self.graph.nodes.push(node);
        }
        first..self.entries.len()
    }

    /// Fetches what the entries lead to, unless it has been; an error is what there is too much of.
    async fn fetch(
        &mut self,
        entries: Range<usize>,
        findings: &mut Findings,
    ) -> Result<Result<Vec<Read>, &'static str>, store::Error> {
        let entries = &self.entries[entries];
        let fresh: Vec<(usize, Descriptor)> = entries
            .iter()
            .enumerate()
            .filter(|(_, entry)| self.seen.insert(entry.descriptor.digest))
            .map(|(at, entry)| (at, entry.descriptor.clone()))
            .collect();
        if self.seen.len() > self.limits.manifests {
            return Ok(Err("manifests"));
        }
        let store = self.store;
        let mut found = futures_util::stream::iter(fresh)
            .map(|(at, descriptor)| fetch(store, at, descriptor))
            .buffer_unordered(REQUESTS);
        let mut level = Vec::new();
        while let Some((at, found)) = found.try_next().await? {
            let entry = &entries[at];
            match found {
                Found::Manifest(manifest) => {
                    self.graph.bytes += manifest.raw().len() as u64;
                    level.push((entry.position, entry.path.clone(), manifest));
                    if self.graph.bytes > self.limits.bytes as u64 {
                        return Ok(Err("bytes of manifests"));
                    }
                }
                Found::Blob => self.graph.blobs.push((entry.spot(), entry.descriptor.clone())),
                Found::Missing => findings.missing(&entry.spot()),
                Found::Wrong(problem) => findings.error(&entry.spot(), problem),
            }
        }
        // Answers come in any order; the walk has that of the documents.
        level.sort_by_key(|(position, ..)| *position);
        Ok(Ok(level))
    }

    /// Compares all entries with what they lead to, which may be the same manifest for several.
    fn compared(self, findings: &mut Findings) -> Graph {
        let mut graph = self.graph;
        let nodes: HashMap<Digest, usize> =
            graph.nodes.iter().enumerate().map(|(at, node)| (node.manifest.digest(), at)).collect();
        for entry in self.entries {
            let Some(at) = nodes.get(&entry.descriptor.digest) else { continue };
            let (node, spot) = (&mut graph.nodes[*at], entry.spot());
            document::check_reference(&entry.descriptor, &node.manifest, &spot, findings);
            node.platforms.extend(entry.descriptor.platform.map(|platform| (spot, platform)));
        }
        graph
    }
}

/// What an entry of an index turned out to be.
enum Found {
    Manifest(Manifest),
    Blob,
    Missing,
    Wrong(String),
}

/// Fetches what the entry of number `at` leads to.
async fn fetch(store: &dyn Store, at: usize, entry: Descriptor) -> Result<(usize, Found), store::Error> {
    let found = match store.manifest(&entry.digest.into()).await {
        Ok(manifest) if manifest.digest() == entry.digest => Found::Manifest(manifest),
        // A graph of checked digests has no cycles.
        Ok(manifest) => Found::Wrong(format!("digest mismatch: the content is {}", manifest.digest())),
        Err(error) => match error.kind() {
            Kind::NotFound if entry.media_type.is_manifest() => Found::Missing,
            Kind::NotFound => Found::Blob,
            Kind::Invalid => Found::Wrong(error.cause().to_string()),
            _ => return Err(error),
        },
    };
    Ok((at, found))
}

/// An image has the config of one; everything else is an artifact.
fn content(image: ImageManifest) -> Content {
    let of_image =
        |config: &Descriptor| [MediaType::OCI_CONFIG, MediaType::DOCKER_CONFIG].contains(&config.media_type);
    if image.config.as_ref().is_some_and(of_image) { Content::Image(image) } else { Content::Artifact(image) }
}

/// The entries of an index with names that tell them apart: the platform, or else their number.
fn paths(above: &str, entries: Vec<Descriptor>) -> Vec<(String, Descriptor)> {
    let name = |at: usize, entry: &Descriptor| match &entry.platform {
        Some(platform) if platform.os != "unknown" => platform.to_string(),
        _ => format!("entry {}", at + 1),
    };
    let mut met: HashMap<String, usize> = HashMap::new();
    for (at, entry) in entries.iter().enumerate() {
        *met.entry(name(at, entry)).or_default() += 1;
    }
    let path = |(at, entry): (usize, Descriptor)| {
        let mut name = name(at, &entry);
        if met.get(&name).is_some_and(|count| *count > 1) {
            name = format!("{name} (entry {})", at + 1);
        }
        (if above.is_empty() { name } else { format!("{above}: {name}") }, entry)
    };
    entries.into_iter().enumerate().map(path).collect()
}
