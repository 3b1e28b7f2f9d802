//! What `docker save` writes besides, or instead of, an OCI image layout: `manifest.json`, configs, and layers as tar files
//! (moby, image/tarexport).
//!
//! Such an image has no manifest with digests. The one that is made here is docker's schema 2, always the same for the same
//! archive: an uncompressed layer's digest is the diff ID that the config gives; a compressed one is known by its name, or is
//! hashed. Where all layers are compressed it is byte for byte the manifest that crane makes of the archive.

use std::collections::{HashMap, HashSet, VecDeque};
use std::path::Path;

use bytes::Bytes;
use layer::Compression;
use oci::{Algorithm, Descriptor, Digest, Manifest, MediaType, Reference, Tag, View};
use serde::Deserialize;

use super::laid::Listed;
use super::table::Table;
use crate::catalog::MANIFEST_LIMIT;
use crate::content::Extent;
use crate::error::Error;
use crate::index::Index;

/// The list of images.
pub(super) const MANIFEST: &str = "manifest.json";

/// The most that is read of the list, and of a config, in bytes.
const LIMIT: u64 = 16 << 20;

/// So many manifests are looked at to find those of the list.
const MOST: usize = 1000;

/// An image of the list.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Entry {
    config: String,
    repo_tags: Option<Vec<String>>,
    layers: Option<Vec<String>>,
}

/// What is used of a config (image specification, config.md).
#[derive(Deserialize)]
struct Config {
    rootfs: RootFs,
}

#[derive(Deserialize)]
struct RootFs {
    diff_ids: Vec<Digest>,
}

/// Images with the manifests that were made for them.
#[derive(Debug)]
pub(super) struct Made {
    pub(super) index: Index,
    pub(super) manifests: HashMap<Digest, Bytes>,
    pub(super) blobs: HashMap<Digest, Extent>,
    /// The manifests in the order of the list.
    pub(super) order: Vec<Digest>,
}

/// The images that the list has.
pub(super) fn list(table: &Table, path: &Path) -> Result<Vec<Entry>, Error> {
    let Some(content) = table.find(MANIFEST) else { return Ok(Vec::new()) };
    serde_json::from_slice(&content.whole(LIMIT)?)
        .map_err(|error| Error::archive(path, format!("{MANIFEST}: {error}")))
}

/// The manifests of a layout in the order of the list that lies beside its index, which is what other tools count by: each
/// is found by its config and layers. `None` where there is no list that tells, or one that names something else.
pub(super) fn order(table: &Table, path: &Path, index: &Index) -> Option<Vec<Digest>> {
    // One that cannot be read is nobody's business while the index tells all.
    let listed = list(table, path).ok()?;
    let mut images: HashMap<(Digest, Vec<Digest>), VecDeque<Digest>> = HashMap::new();
    let mut waiting: VecDeque<Digest> = index.descriptors().map(|entry| entry.digest).collect();
    let mut met = HashSet::new();
    while let Some(digest) = waiting.pop_front().filter(|_| met.len() < MOST) {
        if !met.insert(digest) {
            continue;
        }
        // What is not there, or no manifest, is no image.
        let content = table.find(&blob_name(&digest)).and_then(|content| content.whole(MANIFEST_LIMIT).ok());
        let manifest = content.and_then(|bytes| Manifest::verified(bytes.into(), None, digest).ok());
        match manifest.and_then(|manifest| manifest.view().ok()) {
            Some(View::Image(image)) => {
                let layers = image.layers.iter().map(|layer| layer.digest).collect();
                if let Some(config) = image.config {
                    images.entry((config.digest, layers)).or_default().push_back(digest);
                }
            }
            // A platform each; an index in an index is nothing that docker saves.
            Some(View::Index(children)) if index.entry(&digest).is_some() => {
                waiting.extend(children.manifests.iter().map(|child| child.digest));
            }
            _ => {}
        }
    }
    let found = listed.iter().map(|image| {
        let layers = image.layers.iter().flatten().map(|layer| named(layer)).collect::<Option<_>>()?;
        images.get_mut(&(named(&image.config)?, layers))?.pop_front()
    });
    found.collect::<Option<Vec<_>>>().filter(|order| !order.is_empty())
}

/// Makes manifests for images.
pub(super) fn make(table: &Table, path: &Path, listed: &[Entry]) -> Result<Made, Error> {
    let mut made =
        Made { index: Index::new(), manifests: HashMap::new(), blobs: HashMap::new(), order: Vec::new() };
    for image in listed {
        let descriptor = made.image(table, path, image)?;
        made.order.push(descriptor.digest);
        let failed = |error: serde_json::Error| Error::io(path, error);
        made.index.add(&descriptor).map_err(failed)?;
        for name in image.repo_tags.iter().flatten() {
            made.index.name_in_full(name, &descriptor).map_err(failed)?;
        }
    }
    Ok(made)
}

impl Made {
    fn image(&mut self, table: &Table, path: &Path, image: &Entry) -> Result<Descriptor, Error> {
        let wrong = |reason: String| Error::archive(path, reason);
        let find = |name: &str| {
            let missing = || wrong(format!("{MANIFEST} names {name}, which is not there"));
            table.find(name).ok_or_else(missing)
        };
        let content = find(&image.config)?;
        let bytes = content.whole(LIMIT)?;
        let config = Descriptor::of(MediaType::DOCKER_CONFIG, Algorithm::Sha256, &bytes);
        self.blobs.insert(config.digest, content);
        let parsed: Config =
            serde_json::from_slice(&bytes).map_err(|error| wrong(format!("{}: {error}", image.config)))?;
        let (names, diff_ids) = (image.layers.as_deref().unwrap_or_default(), parsed.rootfs.diff_ids);
        if names.len() != diff_ids.len() {
            let (layers, ids) = (names.len(), diff_ids.len());
            return Err(wrong(format!(
                "{MANIFEST} has {layers} layers for {}, its config {ids}",
                image.config
            )));
        }
        let mut layers = Vec::new();
        for (name, diff_id) in names.iter().zip(diff_ids) {
            let layer = find(name)?;
            let start = layer.read(0..layer.length.min(8))?;
            let media_type = match Compression::of(&start) {
                Compression::None => MediaType::DOCKER_LAYER_TAR,
                Compression::Gzip => MediaType::DOCKER_LAYER,
                Compression::Zstd => MediaType::DOCKER_LAYER_ZSTD,
            };
            let digest = match named(name) {
                _ if media_type == MediaType::DOCKER_LAYER_TAR => diff_id,
                // Some name a compressed layer after what is in it.
                Some(digest) if digest != diff_id => digest,
                _ => layer.hash(Algorithm::Sha256)?,
            };
            layers.push(Descriptor::new(media_type, digest, layer.length));
            self.blobs.insert(digest, layer);
        }
        let manifest = serde_json::json!({
            "schemaVersion": 2,
            "mediaType": MediaType::DOCKER_MANIFEST.as_str(),
            "config": described(&config),
            "layers": layers.iter().map(described).collect::<Vec<_>>(),
        });
        let raw = Bytes::from(manifest.to_string());
        let descriptor = Descriptor::of(MediaType::DOCKER_MANIFEST, Algorithm::Sha256, &raw);
        self.manifests.insert(descriptor.digest, raw);
        Ok(descriptor)
    }
}

/// A descriptor as docker and crane write it: the order of its fields is theirs.
fn described(content: &Descriptor) -> serde_json::Value {
    serde_json::json!({
        "mediaType": content.media_type.as_str(),
        "size": content.size,
        "digest": content.digest.to_string(),
    })
}

/// The digest that a file is named after: `blobs/sha256/<hex>` as in a layout, `<hex>.tar.gz` as crane writes it. If it is
/// wrong, whoever reads the blob hears of it.
fn named(name: &str) -> Option<Digest> {
    let last = name.rsplit('/').next()?;
    let hex = last.split('.').next()?;
    format!("sha256:{hex}").parse().ok()
}

/// A name as containerd writes it, in full, and as docker shows it: without the parts of Docker Hub that go without saying.
pub(crate) fn names(name: &Reference) -> (String, String) {
    let tag = name.tag().map_or("latest", Tag::as_str);
    let repository = name.repository().to_string();
    let Some(short) = repository.strip_prefix("index.docker.io/") else {
        let full = format!("{repository}:{tag}");
        return (full.clone(), full);
    };
    let familiar = short.strip_prefix("library/").unwrap_or(short);
    (format!("docker.io/{short}:{tag}"), format!("{familiar}:{tag}"))
}

/// `manifest.json`: what `docker load` goes by.
pub(super) fn list_of(image: &Manifest, name: Option<&Reference>) -> Result<Vec<u8>, Error> {
    let View::Image(image) = image.view()? else { return Ok(b"[]".to_vec()) };
    let layers: Vec<String> = image.layers.iter().map(|layer| blob_name(&layer.digest)).collect();
    let list = serde_json::json!([{
        "Config": image.config.map(|config| blob_name(&config.digest)),
        "RepoTags": name.map(|name| [names(name).1]),
        "Layers": layers,
    }]);
    Ok(list.to_string().into_bytes())
}

/// The config and the layers of an image for one platform.
pub(super) fn parts(image: &Manifest) -> Result<(Digest, Vec<Descriptor>), Error> {
    let digest = image.digest();
    let View::Image(image) = image.view()? else {
        return Err(Error::archive(
            "the archive",
            format!("{digest} is an index, and docker loads one platform"),
        ));
    };
    let none = || Error::archive("the archive", format!("{digest} has no config, which docker needs"));
    let config = image.config.ok_or_else(none)?.digest;
    Ok((config, image.layers))
}

/// `manifest.json` of a tarball.
pub(super) fn list_of_tarball(images: &[Listed]) -> Vec<u8> {
    let mut images: Vec<&Listed> = images.iter().collect();
    images.sort_by(|one, other| one.names.cmp(&other.names));
    let list: Vec<serde_json::Value> = images
        .into_iter()
        .map(|Listed { names, config, layers, foreign, .. }| {
            let mut image = serde_json::json!({
                "Config": config.to_string(),
                "RepoTags": names,
                "Layers": layers.iter().map(layer_name).collect::<Vec<_>>(),
            });
            if !foreign.is_empty() {
                let sources = foreign.iter().map(|(diff_id, layer)| (diff_id.to_string(), source(layer)));
                image["LayerSources"] = serde_json::Value::Object(sources.collect());
            }
            image
        })
        .collect();
    serde_json::Value::from(list).to_string().into_bytes()
}

/// Where docker finds a foreign layer.
fn source(layer: &Descriptor) -> serde_json::Value {
    let mut source = described(layer);
    if !layer.urls.is_empty() {
        source["urls"] = serde_json::json!(layer.urls);
    }
    source
}

/// Where a tarball has a layer, whatever its compression.
pub(super) fn layer_name(digest: &Digest) -> String {
    format!("{}.tar.gz", digest.hex())
}

/// Where a layout has a blob.
pub(super) fn blob_name(digest: &Digest) -> String {
    format!("blobs/{}/{}", digest.algorithm().name(), digest.hex())
}
