//! Blobs, and manifests with what lies below them.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256, Sha512};

use crate::Client;
use crate::wire::parameters;

/// How content is named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// `sha256:...`
    Sha256,
    /// `sha512:...`
    Sha512,
}

impl Algorithm {
    /// The digest of `bytes`.
    pub fn digest(self, bytes: &[u8]) -> String {
        match self {
            Self::Sha256 => format!("sha256:{}", hex::encode(Sha256::digest(bytes))),
            Self::Sha512 => format!("sha512:{}", hex::encode(Sha512::digest(bytes))),
        }
    }
}

/// The digest of `bytes`, by the algorithm of `reference` if that is a digest.
pub(crate) fn digest_like(reference: &str, bytes: &[u8]) -> String {
    let algorithm = if reference.starts_with("sha512:") { Algorithm::Sha512 } else { Algorithm::Sha256 };
    algorithm.digest(bytes)
}

/// Some content and what it is.
#[derive(Clone, Debug)]
pub struct Blob {
    /// What it is.
    pub media_type: String,
    /// What it hashes to.
    pub digest: String,
    /// The content.
    pub bytes: Arc<[u8]>,
}

impl Blob {
    /// Content named by its sha256.
    pub fn new(media_type: &str, bytes: &[u8]) -> Self {
        Self::with(Algorithm::Sha256, media_type, bytes)
    }

    /// Content named by the digest of some algorithm.
    pub fn with(algorithm: Algorithm, media_type: &str, bytes: &[u8]) -> Self {
        Self { media_type: media_type.to_owned(), digest: algorithm.digest(bytes), bytes: Arc::from(bytes) }
    }

    /// The content's descriptor.
    pub fn descriptor(&self) -> Value {
        json!({"mediaType": self.media_type, "digest": self.digest, "size": self.bytes.len()})
    }
}

/// A manifest or an index, and all that lies below it.
#[derive(Clone, Debug)]
pub struct Graph {
    /// The manifest's or index's bytes.
    pub manifest: Blob,
    /// What an index says about it: `os/architecture[/variant]`.
    pub platform: Option<String>,
    /// The manifests below an index.
    pub children: Vec<Graph>,
    /// Config and layers, in this order.
    pub blobs: Vec<Blob>,
}

impl Graph {
    /// A manifest written as JSON, named by its sha256, and its blobs. The media type is the manifest's own.
    pub fn leaf(manifest: &Value, blobs: Vec<Blob>) -> Self {
        let media_type = manifest["mediaType"].as_str().unwrap_or_default();
        let manifest = Blob::new(media_type, manifest.to_string().as_bytes());
        Self { manifest, platform: None, children: Vec::new(), blobs }
    }

    /// The manifest as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.manifest.bytes).expect("our own JSON")
    }

    /// Calls `see` with everything below, then with this.
    pub fn visit(&self, see: &mut impl FnMut(&Graph)) {
        for child in &self.children {
            child.visit(see);
        }
        see(self);
    }

    /// Pushes blobs, children and this, in this order; panics unless the registry takes all of them.
    pub fn push(&self, client: &Client, repository: &str, tag: &str) {
        self.visit(&mut |graph| {
            for blob in &graph.blobs {
                push_blob(client, repository, blob);
            }
            push_manifest(client, repository, &graph.manifest.digest, &graph.manifest);
        });
        push_manifest(client, repository, tag, &self.manifest);
    }

    /// Adds this, under a tag, to an OCI layout directory, which is made if it is not there.
    pub fn write_layout(&self, directory: &Path, tag: &str) {
        self.visit(&mut |graph| {
            for blob in graph.blobs.iter().chain([&graph.manifest]) {
                let path = directory.join("blobs").join(blob.digest.replace(':', "/"));
                fs::create_dir_all(path.parent().expect("a directory of blobs")).expect("a directory");
                fs::write(path, &blob.bytes).expect("a blob");
            }
        });
        let path = directory.join("index.json");
        let mut index = match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).expect("an index"),
            Err(_) => json!({
                "schemaVersion": 2,
                "mediaType": "application/vnd.oci.image.index.v1+json",
                "manifests": [],
            }),
        };
        let mut descriptor = self.manifest.descriptor();
        descriptor["annotations"] = json!({"org.opencontainers.image.ref.name": tag});
        index["manifests"].as_array_mut().expect("a list of manifests").push(descriptor);
        fs::write(path, index.to_string()).expect("an index");
        fs::write(directory.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).expect("a marker");
    }
}

fn push_blob(client: &Client, repository: &str, blob: &Blob) {
    let start = client.send("POST", &format!("/v2/{repository}/blobs/uploads/"), &[], &[]);
    assert_eq!(start.status, 202, "starting an upload to {repository}: {}", start.text());
    let location = start.header("location").expect("the upload's place");
    // Absolute or relative: the path is what follows the host.
    let path = match location.split_once("://") {
        Some((_, rest)) => &rest[rest.find('/').expect("a path")..],
        None => location,
    };
    let (_, query) = path.split_once('?').unwrap_or((path, ""));
    assert!(parameters(query, "digest").is_empty(), "{location} has a digest already");
    let joint = if query.is_empty() { '?' } else { '&' };
    let path = format!("{path}{joint}digest={}", blob.digest);
    let headers = [("Content-Type", "application/octet-stream")];
    let reply = client.send("PUT", &path, &headers, &blob.bytes);
    assert_eq!(reply.status, 201, "pushing {} to {repository}: {}", blob.digest, reply.text());
}

fn push_manifest(client: &Client, repository: &str, reference: &str, manifest: &Blob) {
    let path = format!("/v2/{repository}/manifests/{reference}");
    let reply = client.send("PUT", &path, &[("Content-Type", &manifest.media_type)], &manifest.bytes);
    assert_eq!(reply.status, 201, "pushing {repository} {reference}: {}", reply.text());
}
