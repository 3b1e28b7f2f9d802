//! Images from layers, indexes from images.

use serde_json::{Value, json};

use super::graph::{Algorithm, Blob, Graph};
use super::tree::{Compression, Layer};

/// Whose media types an image has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// `application/vnd.oci.image...`
    Oci,
    /// `application/vnd.docker...`, schema 2.
    Docker,
}

impl Dialect {
    fn manifest(self) -> &'static str {
        match self {
            Self::Oci => "application/vnd.oci.image.manifest.v1+json",
            Self::Docker => "application/vnd.docker.distribution.manifest.v2+json",
        }
    }

    fn index(self) -> &'static str {
        match self {
            Self::Oci => "application/vnd.oci.image.index.v1+json",
            Self::Docker => "application/vnd.docker.distribution.manifest.list.v2+json",
        }
    }

    fn config(self) -> &'static str {
        match self {
            Self::Oci => "application/vnd.oci.image.config.v1+json",
            Self::Docker => "application/vnd.docker.container.image.v1+json",
        }
    }

    fn layer(self, compression: Compression) -> &'static str {
        match (self, compression) {
            (Self::Oci, Compression::None) => "application/vnd.oci.image.layer.v1.tar",
            (Self::Oci, Compression::Gzip) => "application/vnd.oci.image.layer.v1.tar+gzip",
            (Self::Oci, Compression::Zstd) => "application/vnd.oci.image.layer.v1.tar+zstd",
            (Self::Docker, Compression::None) => "application/vnd.docker.image.rootfs.diff.tar",
            (Self::Docker, Compression::Gzip) => "application/vnd.docker.image.rootfs.diff.tar.gzip",
            (Self::Docker, Compression::Zstd) => "application/vnd.docker.image.rootfs.diff.tar.zstd",
        }
    }
}

/// An image to be built.
#[derive(Clone, Debug)]
pub struct Image {
    layers: Vec<Layer>,
    platform: String,
    dialect: Dialect,
    algorithm: Algorithm,
    entrypoint: Vec<String>,
}

impl Image {
    /// An image of these layers, the lowest first: OCI, sha256, linux/amd64 unless told otherwise.
    pub fn new(layers: impl IntoIterator<Item = Layer>) -> Self {
        Self {
            layers: layers.into_iter().collect(),
            platform: "linux/amd64".to_owned(),
            dialect: Dialect::Oci,
            algorithm: Algorithm::Sha256,
            entrypoint: Vec::new(),
        }
    }

    /// `os/architecture[/variant]`.
    #[must_use]
    pub fn platform(mut self, platform: &str) -> Self {
        platform.clone_into(&mut self.platform);
        self
    }

    /// Whose media types it has.
    #[must_use]
    pub fn dialect(mut self, dialect: Dialect) -> Self {
        self.dialect = dialect;
        self
    }

    /// How its parts are named.
    #[must_use]
    pub fn algorithm(mut self, algorithm: Algorithm) -> Self {
        self.algorithm = algorithm;
        self
    }

    /// What it runs.
    #[must_use]
    pub fn entrypoint(mut self, command: &[&str]) -> Self {
        self.entrypoint = command.iter().map(|&word| word.to_owned()).collect();
        self
    }

    /// Builds it.
    pub fn build(self) -> Graph {
        let Self { layers, platform, dialect, algorithm, entrypoint } = self;
        let mut config = platform_json(&platform);
        config["created"] = json!("2025-01-01T00:00:00Z");
        config["config"] = json!({"Env": ["PATH=/bin"]});
        if !entrypoint.is_empty() {
            config["config"]["Entrypoint"] = json!(entrypoint);
        }
        let diff_ids: Vec<String> = layers.iter().map(|layer| algorithm.digest(&layer.tar())).collect();
        config["rootfs"] = json!({"type": "layers", "diff_ids": diff_ids});
        let step =
            |number| json!({"created": "2025-01-01T00:00:00Z", "created_by": format!("layer {number}")});
        config["history"] = (1..=layers.len()).map(step).collect();

        let config = Blob::with(algorithm, dialect.config(), config.to_string().as_bytes());
        let layers = layers
            .iter()
            .map(|layer| Blob::with(algorithm, dialect.layer(layer.compressed_with()), &layer.compressed()));
        let blobs: Vec<Blob> = [config].into_iter().chain(layers).collect();
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": dialect.manifest(),
            "config": blobs[0].descriptor(),
            "layers": blobs[1..].iter().map(Blob::descriptor).collect::<Vec<_>>(),
        });
        let manifest = Blob::with(algorithm, dialect.manifest(), manifest.to_string().as_bytes());
        Graph { manifest, platform: Some(platform), children: Vec::new(), blobs }
    }
}

/// An index of these, in order; in docker's media types if the first is.
pub fn index(children: impl IntoIterator<Item = Graph>) -> Graph {
    let children: Vec<Graph> = children.into_iter().collect();
    let first = children.first().map_or("", |child| child.manifest.media_type.as_str());
    let dialect = if first.contains("docker") { Dialect::Docker } else { Dialect::Oci };
    let entry = |child: &Graph| {
        let mut descriptor = child.manifest.descriptor();
        if let Some(platform) = &child.platform {
            descriptor["platform"] = platform_json(platform);
        }
        descriptor
    };
    let index = json!({
        "schemaVersion": 2,
        "mediaType": dialect.index(),
        "manifests": children.iter().map(entry).collect::<Vec<_>>(),
    });
    Graph { children, ..Graph::leaf(&index, Vec::new()) }
}

fn platform_json(platform: &str) -> Value {
    let mut parts = platform.split('/');
    let mut part = || parts.next();
    let (os, architecture, variant) = (part(), part(), part());
    let mut json = json!({"architecture": architecture, "os": os});
    if let Some(variant) = variant {
        json["variant"] = json!(variant);
    }
    json
}
