//! Media types of manifests, configs and layers (image specification, media-types.md) and docker's own ones.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Serialize};

/// A media type, without parameters.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MediaType(Cow<'static, str>);

macro_rules! known {
    ($($(#[$doc:meta])* $name:ident = $text:literal;)*) => {
        impl MediaType {
            $($(#[$doc])* pub const $name: Self = Self(Cow::Borrowed($text));)*
        }
    };
}

known! {
    /// An OCI image index.
    OCI_INDEX = "application/vnd.oci.image.index.v1+json";
    /// An OCI image manifest, also of any other artifact.
    OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json";
    /// An OCI image's configuration.
    OCI_CONFIG = "application/vnd.oci.image.config.v1+json";
    /// An OCI layer: a plain tar.
    OCI_LAYER = "application/vnd.oci.image.layer.v1.tar";
    /// An OCI layer: tar and gzip.
    OCI_LAYER_GZIP = "application/vnd.oci.image.layer.v1.tar+gzip";
    /// An OCI layer: tar and zstd.
    OCI_LAYER_ZSTD = "application/vnd.oci.image.layer.v1.tar+zstd";
    /// The two bytes `{}` that stand where an artifact has no configuration.
    OCI_EMPTY = "application/vnd.oci.empty.v1+json";
    /// The artifact manifest of an earlier draft, which some registries still hold.
    OCI_ARTIFACT = "application/vnd.oci.artifact.manifest.v1+json";
    /// Docker's manifest list.
    DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json";
    /// Docker's image manifest, version 2 schema 2.
    DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json";
    /// Docker's image configuration.
    DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json";
    /// Docker's layer: tar and gzip.
    DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip";
    /// Docker's layer: a plain tar.
    DOCKER_LAYER_TAR = "application/vnd.docker.image.rootfs.diff.tar";
    /// Docker's layer: tar and zstd.
    DOCKER_LAYER_ZSTD = "application/vnd.docker.image.rootfs.diff.tar.zstd";
    /// Docker's manifest, version 2 schema 1, unsigned.
    DOCKER_SCHEMA1 = "application/vnd.docker.distribution.manifest.v1+json";
    /// Docker's manifest, version 2 schema 1, signed.
    DOCKER_SCHEMA1_SIGNED = "application/vnd.docker.distribution.manifest.v1+prettyjws";
    /// Bytes of unknown meaning.
    OCTET_STREAM = "application/octet-stream";
}

impl MediaType {
    /// A media type as a header or a document names it; parameters such as `charset` are dropped.
    pub fn new(text: &str) -> Self {
        Self(Cow::Owned(text.split(';').next().unwrap_or_default().trim().to_owned()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What a server says of a document that it does not know: any JSON, any text, any bytes.
    pub fn is_generic(&self) -> bool {
        matches!(
            self.as_str(),
            "" | "application/octet-stream" | "application/json" | "text/plain" | "text/json"
        )
    }

    /// An OCI index or a docker manifest list.
    pub fn is_index(&self) -> bool {
        matches!(self, t if *t == Self::OCI_INDEX || *t == Self::DOCKER_LIST)
    }

    /// The manifest of one image or artifact: OCI's, docker's schema 2, or the early artifact manifest.
    pub fn is_image(&self) -> bool {
        [Self::OCI_MANIFEST, Self::DOCKER_MANIFEST, Self::OCI_ARTIFACT].contains(self)
    }

    /// Docker's schema 1, signed or not.
    pub fn is_schema1(&self) -> bool {
        *self == Self::DOCKER_SCHEMA1 || *self == Self::DOCKER_SCHEMA1_SIGNED
    }

    /// Something a registry keeps as a manifest rather than as a blob.
    pub fn is_manifest(&self) -> bool {
        self.is_index() || self.is_image() || self.is_schema1()
    }

    /// Whether a manifest cannot be of both types: one is an index's and the other an image's, or docker's schema 1's.
    /// Types of no manifest contradict nothing.
    pub(crate) fn contradicts(&self, other: &Self) -> bool {
        let kind = |of: &Self| (of.is_index(), of.is_image(), of.is_schema1());
        self.is_manifest() && other.is_manifest() && kind(self) != kind(other)
    }

    /// A layer of a file system, packed in whatever way.
    pub fn is_layer(&self) -> bool {
        self.0.starts_with("application/vnd.oci.image.layer.")
            || self.0.starts_with("application/vnd.docker.image.rootfs.")
    }

    /// What docker calls a layer that is packed in this way, or OCI does; `None` if that is what it is called already, or it is
    /// no layer that both know.
    pub fn layer_of(&self, docker: bool) -> Option<Self> {
        let pairs = [
            (Self::OCI_LAYER, Self::DOCKER_LAYER_TAR),
            (Self::OCI_LAYER_GZIP, Self::DOCKER_LAYER),
            (Self::OCI_LAYER_ZSTD, Self::DOCKER_LAYER_ZSTD),
        ];
        let pair = pairs.into_iter().find(|(oci, dockers)| self == if docker { oci } else { dockers });
        pair.map(|(oci, dockers)| if docker { dockers } else { oci })
    }

    /// A layer that its owner does not allow to be pushed elsewhere: OCI's non-distributable and docker's foreign
    /// layers. Registries usually do not hold them; a descriptor's `urls` say where they are.
    pub fn is_nondistributable(&self) -> bool {
        self.0.starts_with("application/vnd.oci.image.layer.nondistributable.v1.tar")
            || self.0.starts_with("application/vnd.docker.image.rootfs.foreign.diff.tar")
    }
}

impl fmt::Display for MediaType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for MediaType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_dropped() {
        assert_eq!(
            MediaType::new(" application/vnd.oci.image.index.v1+json; charset=utf-8"),
            MediaType::OCI_INDEX
        );
    }

    #[test]
    fn kinds() {
        assert!(MediaType::new("application/json; charset=utf-8").is_generic());
        assert!(MediaType::new("").is_generic() && !MediaType::OCI_MANIFEST.is_generic());
        assert!(MediaType::DOCKER_LIST.is_index() && MediaType::DOCKER_LIST.is_manifest());
        assert!(MediaType::OCI_ARTIFACT.is_image());
        assert!(MediaType::DOCKER_SCHEMA1_SIGNED.is_schema1());
        assert!(!MediaType::OCI_LAYER_ZSTD.is_manifest());
        let foreign = MediaType::new("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip");
        assert!(foreign.is_nondistributable());
        assert!(!MediaType::OCI_LAYER.is_nondistributable());
        assert!(
            foreign.is_layer() && MediaType::DOCKER_LAYER.is_layer() && MediaType::OCI_LAYER_ZSTD.is_layer()
        );
        assert!(!MediaType::new("application/vnd.cncf.helm.chart.content.v1.tar+gzip").is_layer());
        assert_eq!(MediaType::OCI_LAYER_ZSTD.layer_of(true), Some(MediaType::DOCKER_LAYER_ZSTD));
        assert_eq!(MediaType::DOCKER_LAYER.layer_of(false), Some(MediaType::OCI_LAYER_GZIP));
        assert_eq!(MediaType::DOCKER_LAYER.layer_of(true), None);
    }
}
