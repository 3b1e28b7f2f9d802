//! What the tests of verbs that change images have in common: registries of both kinds, images that are written by hand, and
//! what a name stands for afterwards.

use std::collections::BTreeMap;

use serde_json::Value;
use testkit::images::{Algorithm, Blob, Graph, Layer};
use testkit::{Cli, Client, DockerRegistry, HoistServer, Outcome};

use crate::support::{is_log, logged};

pub(crate) const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub(crate) const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
pub(crate) const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
pub(crate) const DOCKER_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar";
const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";

/// A registry whose images change.
pub(crate) enum Registry {
    Docker(Box<DockerRegistry>),
    Hoist(HoistServer),
}

/// A manifest as a registry has it.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(crate) digest: String,
    pub(crate) media_type: String,
    pub(crate) text: String,
    pub(crate) json: Value,
    /// An image's configuration.
    pub(crate) config: Option<String>,
}

/// The same on docker-registry and on hoist's own server.
pub(crate) fn on_both(test: impl Fn(&Cli, &Registry)) {
    for registry in [Registry::docker(), Registry::hoist()] {
        test(&Cli::new(), &registry);
    }
}

impl Registry {
    pub(crate) fn docker() -> Self {
        Self::Docker(Box::new(DockerRegistry::plain()))
    }

    pub(crate) fn hoist() -> Self {
        Self::Hoist(HoistServer::start())
    }

    pub(crate) fn address(&self) -> &str {
        match self {
            Self::Docker(registry) => registry.address(),
            Self::Hoist(server) => server.address(),
        }
    }

    pub(crate) fn push(&self, graph: &Graph, repository: &str, tag: &str) {
        graph.push(&Client::new(self.address()), &format!("demo/{repository}"), tag);
    }

    /// A name in `demo/`.
    pub(crate) fn name(&self, rest: &str) -> String {
        format!("{}/demo/{rest}", self.address())
    }

    /// What a name in `demo/` stands for; `None` if nothing.
    pub(crate) fn look(&self, name: &str) -> Option<Found> {
        let name = name.strip_prefix(&self.name("")).unwrap_or(name);
        let (repository, reference) = name.split_once('@').or(name.split_once(':')).unwrap();
        let client = Client::new(self.address());
        let all = [OCI_MANIFEST, OCI_INDEX, DOCKER_MANIFEST, DOCKER_LIST].join(", ");
        let path = format!("/v2/demo/{repository}/manifests/{reference}");
        let reply = client.send("GET", &path, &[("Accept", &all)], &[]);
        if reply.status == 404 {
            return None;
        }
        assert_eq!(reply.status, 200, "{}", reply.text());
        let json: Value = serde_json::from_slice(&reply.body).unwrap();
        let config = json["config"]["digest"].as_str().map(|digest| {
            let config = client.get(&format!("/v2/demo/{repository}/blobs/{digest}"));
            assert_eq!(config.status, 200, "{}", config.text());
            assert_eq!(json["config"]["size"], config.body.len());
            config.text()
        });
        Some(Found {
            digest: Algorithm::Sha256.digest(&reply.body),
            media_type: reply.header("content-type").unwrap().to_owned(),
            text: reply.text(),
            json,
            config,
        })
    }

    /// What a name in `demo/` stands for.
    #[track_caller]
    pub(crate) fn found(&self, name: &str) -> Found {
        self.look(name).unwrap_or_else(|| panic!("there is no {name}"))
    }

    /// The images of an index.
    pub(crate) fn children(&self, repository: &str, index: &Found) -> Vec<Found> {
        let entries = index.json["manifests"].as_array().unwrap();
        let digests = entries.iter().map(|entry| entry["digest"].as_str().unwrap());
        digests.map(|digest| self.found(&format!("{repository}@{digest}"))).collect()
    }

    /// A command that succeeded as all of these do: the result in full on standard output, logs beside it, and no temporary
    /// files left. Gives what the name stands for.
    #[track_caller]
    pub(crate) fn changed(&self, cli: &Cli, outcome: &Outcome, name: &str) -> Found {
        outcome.success();
        let found = self.found(name);
        let name = name.strip_prefix(&self.name("")).unwrap_or(name);
        let (repository, _) = name.split_once('@').or(name.split_once(':')).unwrap();
        let printed = format!("{}@{}\n", self.name(repository), found.digest);
        assert_eq!(outcome.stdout(), printed, "{outcome}");
        assert!(outcome.stderr().lines().all(is_log), "{outcome}");
        let last = format!("{}: digest: {} size: {}", self.name(name), found.digest, found.text.len());
        let line = logged(&outcome.stderr()).pop().unwrap();
        assert!(line == last || line.starts_with("existing manifest: "), "{line}\n{last}");
        crate::support::assert_empty(&cli.tmp());
        found
    }
}

impl Found {
    #[track_caller]
    pub(crate) fn config(&self) -> Value {
        serde_json::from_str(self.config.as_ref().unwrap()).unwrap()
    }

    /// Media types of the layers.
    pub(crate) fn layer_types(&self) -> Vec<&str> {
        self.layers().map(|layer| layer["mediaType"].as_str().unwrap()).collect()
    }

    pub(crate) fn layer_digests(&self) -> Vec<&str> {
        self.layers().map(|layer| layer["digest"].as_str().unwrap()).collect()
    }

    fn layers(&self) -> impl Iterator<Item = &Value> {
        self.json["layers"].as_array().unwrap().iter()
    }

    pub(crate) fn diff_ids(&self) -> Vec<String> {
        serde_json::from_value(self.config()["rootfs"]["diff_ids"].clone()).unwrap()
    }

    /// What the history says of each step; `""` for nothing.
    pub(crate) fn steps(&self) -> Vec<String> {
        let steps = self.config()["history"].as_array().cloned().unwrap_or_default();
        steps.iter().map(|step| step["created_by"].as_str().unwrap_or_default().to_owned()).collect()
    }

    pub(crate) fn annotations(&self) -> BTreeMap<String, String> {
        serde_json::from_value(self.json["annotations"].clone()).unwrap_or_default()
    }
}

/// An image whose documents are written by hand. In the configuration `DIFF_ID` stands for the only layer's, in the manifest
/// `CONFIG`, `CONFIG_SIZE`, `LAYER` and `LAYER_SIZE` for digests and sizes.
pub(crate) fn written(layer: &Layer, config: &str, manifest: &str) -> Graph {
    let config = config.replace("DIFF_ID", &Algorithm::Sha256.digest(&layer.tar()));
    let config = Blob::new(OCI_CONFIG, config.as_bytes());
    let layer = Blob::new(&format!("{OCI_LAYER}+gzip"), &layer.compressed());
    let manifest = fill(manifest, &config, &layer);
    let manifest = Blob::new(OCI_MANIFEST, manifest.as_bytes());
    Graph { manifest, platform: Some("linux/amd64".into()), children: Vec::new(), blobs: vec![config, layer] }
}

/// A manifest as it is written for this configuration and layer.
pub(crate) fn fill(manifest: &str, config: &Blob, layer: &Blob) -> String {
    manifest
        .replace("CONFIG_SIZE", &config.bytes.len().to_string())
        .replace("CONFIG", &config.digest)
        .replace("LAYER_SIZE", &layer.bytes.len().to_string())
        .replace("LAYER", &layer.digest)
}

/// An index of images for amd64 and arm64, of an attestation of the first, and of an artifact.
pub(crate) fn attested() -> Graph {
    let images = ["linux/amd64", "linux/arm64"]
        .map(|platform| testkit::images::Image::new([layer(platform)]).platform(platform).build());
    let attestation = testkit::images::Image::new([Layer::new().file("statement", "{}")])
        .platform("unknown/unknown")
        .build();
    let mut index = testkit::images::index([images[0].clone(), images[1].clone(), attestation]);
    let mut json = index.json();
    json["manifests"][2]["annotations"] = serde_json::json!({
        "vnd.docker.reference.type": "attestation-manifest",
        "vnd.docker.reference.digest": images[0].manifest.digest,
    });
    index.manifest = Blob::new(OCI_INDEX, json.to_string().as_bytes());
    index
}

/// A small layer.
pub(crate) fn layer(text: &str) -> Layer {
    Layer::new().directory("app").file("app/text", text)
}

/// One line of an error and nothing done: the tag still stands for what it did.
#[track_caller]
pub(crate) fn refused(cli: &Cli, registry: &Registry, arguments: &[&str], cause: &str, tag: &str) {
    let before = registry.look(tag).map(|found| found.digest);
    let outcome = cli.hoist(arguments).run();
    crate::support::refused(cli, &outcome, cause);
    assert_eq!(registry.look(tag).map(|found| found.digest), before, "{outcome}");
}
