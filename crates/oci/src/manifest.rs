//! Manifests: the bytes as they came, and a view of them.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::descriptor::nullable;
use crate::{Algorithm, Descriptor, Digest, MediaType};

/// A manifest of any kind. The bytes are the truth; nothing is ever written from the view.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    raw: Bytes,
    media_type: MediaType,
    digest: Digest,
}

/// Why a document is not a manifest that hoist can work with.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// The bytes hash to something else than was asked for.
    #[error("digest mismatch: expected {expected}, the manifest is {found}")]
    Mismatch {
        /// The digest that was asked for.
        expected: Digest,
        /// The digest of what came.
        found: Digest,
    },
    /// It is not a JSON object, or a field has a wrong type.
    #[error("manifest {digest} is not valid: {reason}")]
    Invalid {
        /// Of the document.
        digest: Digest,
        /// What the JSON parser says.
        reason: String,
    },
    /// It could be read as an image and as an index (CVE-2021-41190).
    #[error("manifest {digest} has both layers and manifests, so it could mean two things; refused")]
    Ambiguous {
        /// Of the document.
        digest: Digest,
    },
    /// Its own media type is of one kind, and the one that it is sent as of another (image specification, manifest.md and
    /// image-index.md, `mediaType`).
    #[error(
        "manifest {digest} is sent as {sent}, but calls itself {own}, so it could mean two things; refused"
    )]
    Contradiction {
        /// Of the document.
        digest: Digest,
        /// What its sender calls it.
        sent: MediaType,
        /// What it calls itself.
        own: MediaType,
    },
    /// Docker's schema 1, which has no config and no typed layers.
    #[error(
        "manifest {digest} is a docker schema 1 image; its bytes can be copied, but nothing can be read from it"
    )]
    Schema1 {
        /// Of the document.
        digest: Digest,
    },
}

/// What a manifest holds.
#[expect(clippy::large_enum_variant, reason = "a view is made, matched and dropped, never stored")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum View {
    /// One image or artifact.
    Image(ImageManifest),
    /// A list of manifests.
    Index(Index),
}

/// One image or artifact (image specification, manifest.md).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageManifest {
    /// The configuration; the early artifact manifest has none.
    pub config: Option<Descriptor>,
    /// The layers, bottom first; of an artifact, its files.
    pub layers: Vec<Descriptor>,
    /// The type of an artifact that is not an image.
    pub artifact_type: Option<String>,
    /// The manifest that this one says something about.
    pub subject: Option<Descriptor>,
    /// Annotations.
    pub annotations: BTreeMap<String, String>,
}

/// A list of manifests, usually one a platform (image specification, image-index.md).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Index {
    /// The entries, in the document's order.
    pub manifests: Vec<Descriptor>,
    /// The type of an artifact that is no image for several platforms.
    pub artifact_type: Option<String>,
    /// The manifest that this one says something about.
    pub subject: Option<Descriptor>,
    /// Annotations.
    pub annotations: BTreeMap<String, String>,
}

/// A manifest that says something about another, as the list of all that do shows it (distribution specification, "Listing
/// Referrers").
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Referrer {
    /// What it says something about.
    pub subject: Digest,
    /// Its descriptor, with its annotations and its artifact type: of an image without one, the media type of its config.
    pub descriptor: Descriptor,
}

impl View {
    /// How the manifest stands in the list of what refers to its subject; `None` if it has none. `descriptor` is the manifest's own.
    pub fn referrer(&self, mut descriptor: Descriptor) -> Option<Referrer> {
        let (subject, artifact_type, config, annotations) = match self {
            Self::Image(image) => {
                (&image.subject, &image.artifact_type, image.config.as_ref(), &image.annotations)
            }
            Self::Index(index) => (&index.subject, &index.artifact_type, None, &index.annotations),
        };
        let subject = subject.as_ref()?.digest;
        let config = config.map(|config| config.media_type.as_str());
        let mut types = [artifact_type.as_deref(), config].into_iter().flatten();
        descriptor.artifact_type = types.find(|text| !text.is_empty()).map(str::to_owned);
        descriptor.annotations = annotations.clone();
        Some(Referrer { subject, descriptor })
    }
}

/// Everything that any kind of manifest may have; which kind it is shows in what is there.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    media_type: Option<String>,
    config: Option<Descriptor>,
    layers: Option<Vec<Descriptor>>,
    /// The early artifact manifest's name for layers.
    blobs: Option<Vec<Descriptor>>,
    manifests: Option<Vec<Descriptor>>,
    artifact_type: Option<String>,
    subject: Option<Descriptor>,
    #[serde(default, deserialize_with = "nullable")]
    annotations: BTreeMap<String, String>,
}

/// The part of a document that says what it is. Only presence counts, so the values stay unparsed.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Outline<'a> {
    media_type: Option<String>,
    #[serde(borrow)]
    config: Option<&'a RawValue>,
    #[serde(borrow)]
    layers: Option<&'a RawValue>,
    #[serde(borrow)]
    blobs: Option<&'a RawValue>,
    #[serde(borrow)]
    manifests: Option<&'a RawValue>,
    #[serde(borrow)]
    fs_layers: Option<&'a RawValue>,
}

impl Outline<'_> {
    fn is_ambiguous(&self) -> bool {
        self.manifests.is_some() && (self.layers.is_some() || self.blobs.is_some() || self.config.is_some())
    }

    /// What the document is when neither it nor its sender says so.
    fn guess(&self) -> MediaType {
        if let Some(media_type) = &self.media_type {
            MediaType::new(media_type)
        } else if self.manifests.is_some() {
            MediaType::OCI_INDEX
        } else if self.fs_layers.is_some() {
            MediaType::DOCKER_SCHEMA1
        } else {
            MediaType::OCI_MANIFEST
        }
    }
}

impl Manifest {
    /// Takes a document whose digest is not known yet; it is computed with SHA-256. `media_type` is what the sender
    /// called it; where that is missing or says nothing, the document's own word counts.
    ///
    /// # Errors
    /// [`ManifestError::Invalid`] if it is not a JSON object, [`ManifestError::Ambiguous`] if it could be read in two
    /// ways.
    pub fn new(raw: Bytes, media_type: Option<MediaType>) -> Result<Self, ManifestError> {
        let digest = Algorithm::Sha256.digest(&raw);
        Self::parse(raw, media_type, digest)
    }

    /// Takes a document that was asked for by digest, and checks it.
    ///
    /// # Errors
    /// Those of [`Manifest::new`], and [`ManifestError::Mismatch`] before any of them.
    pub fn verified(
        raw: Bytes,
        media_type: Option<MediaType>,
        expected: Digest,
    ) -> Result<Self, ManifestError> {
        let found = expected.algorithm().digest(&raw);
        if found != expected {
            return Err(ManifestError::Mismatch { expected, found });
        }
        Self::parse(raw, media_type, expected)
    }

    fn parse(raw: Bytes, media_type: Option<MediaType>, digest: Digest) -> Result<Self, ManifestError> {
        let outline: Outline<'_> = serde_json::from_slice(&raw)
            .map_err(|error| ManifestError::Invalid { digest, reason: error.to_string() })?;
        if outline.is_ambiguous() {
            return Err(ManifestError::Ambiguous { digest });
        }
        let said = media_type.filter(|media_type| !media_type.is_generic());
        let media_type = said.unwrap_or_else(|| outline.guess());
        Ok(Self { raw, media_type, digest })
    }

    /// The bytes, exactly as they came.
    pub fn raw(&self) -> &Bytes {
        &self.raw
    }

    /// What it is, as its sender or the document itself says.
    pub fn media_type(&self) -> &MediaType {
        &self.media_type
    }

    /// What the bytes hash to.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// Its descriptor, without platform and annotations.
    pub fn descriptor(&self) -> Descriptor {
        Descriptor::new(self.media_type.clone(), self.digest, self.raw.len() as u64)
    }

    /// What it holds. The shape of the document decides; its media type has to agree, and so has the one that the document
    /// itself names, where both are known: an image's type of docker for OCI's is no harm, an index for an image is.
    ///
    /// # Errors
    /// [`ManifestError::Schema1`] for docker's schema 1, [`ManifestError::Contradiction`] where the two types are of
    /// different kinds, [`ManifestError::Invalid`] where a field is wrong.
    pub fn view(&self) -> Result<View, ManifestError> {
        let invalid = |reason: String| ManifestError::Invalid { digest: self.digest, reason };
        if self.media_type.is_schema1() {
            return Err(ManifestError::Schema1 { digest: self.digest });
        }
        let document: Document =
            serde_json::from_slice(&self.raw).map_err(|error| invalid(error.to_string()))?;
        if let Some(own) = document.media_type.as_deref().map(MediaType::new)
            && own.contradicts(&self.media_type)
        {
            return Err(ManifestError::Contradiction {
                digest: self.digest,
                sent: self.media_type.clone(),
                own,
            });
        }
        let is_index = document.manifests.is_some();
        if is_index && self.media_type.is_image() || !is_index && self.media_type.is_index() {
            // An index whose list is missing or null is an empty one; an image with a list is not an image.
            let is_image = document.layers.is_some() || document.blobs.is_some() || document.config.is_some();
            if is_index || is_image {
                return Err(invalid(format!("it is sent as {}, which it is not", self.media_type)));
            }
        }
        if is_index || self.media_type.is_index() {
            return Ok(View::Index(Index {
                manifests: document.manifests.unwrap_or_default(),
                artifact_type: document.artifact_type,
                subject: document.subject,
                annotations: document.annotations,
            }));
        }
        Ok(View::Image(ImageManifest {
            config: document.config,
            layers: document.layers.or(document.blobs).unwrap_or_default(),
            artifact_type: document.artifact_type,
            subject: document.subject,
            annotations: document.annotations,
        }))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn manifest(json: &str) -> Result<Manifest, ManifestError> {
        Manifest::new(Bytes::copy_from_slice(json.as_bytes()), None)
    }

    #[test]
    fn bytes_are_kept() {
        let json = "{ \"schemaVersion\":2,\n\t\"manifests\" : [ ] , \"x\": 1.10 }\n";
        let read = manifest(json).unwrap();
        assert_eq!(read.raw(), json.as_bytes());
        assert_eq!(*read.media_type(), MediaType::OCI_INDEX);
        assert_eq!(read.digest(), Algorithm::Sha256.digest(json.as_bytes()));
        assert!(matches!(read.view(), Ok(View::Index(index)) if index.manifests.is_empty()));
    }

    #[test]
    fn kinds_are_told_apart() {
        assert_eq!(*manifest(r#"{"fsLayers":[]}"#).unwrap().media_type(), MediaType::DOCKER_SCHEMA1);
        assert!(matches!(manifest(r#"{"fsLayers":[]}"#).unwrap().view(), Err(ManifestError::Schema1 { .. })));
        let artifact =
            manifest(r#"{"mediaType":"application/vnd.oci.artifact.manifest.v1+json","blobs":[]}"#);
        assert!(matches!(artifact.unwrap().view(), Ok(View::Image(image)) if image.config.is_none()));
        let list = Manifest::new(Bytes::from_static(b"{\"manifests\":null}"), Some(MediaType::DOCKER_LIST));
        assert!(matches!(list.unwrap().view(), Ok(View::Index(_))));
    }

    #[test]
    fn bad_documents_are_refused() {
        assert!(matches!(manifest("<html>"), Err(ManifestError::Invalid { .. })));
        assert!(matches!(manifest("[]"), Err(ManifestError::Invalid { .. })));
        assert!(matches!(manifest(r#"{"layers":[],"manifests":[]}"#), Err(ManifestError::Ambiguous { .. })));
        assert!(matches!(manifest(r#"{"config":{},"manifests":[]}"#), Err(ManifestError::Ambiguous { .. })));
        let index_called_image =
            Manifest::new(Bytes::from_static(b"{\"manifests\":[]}"), Some(MediaType::OCI_MANIFEST));
        assert!(matches!(index_called_image.unwrap().view(), Err(ManifestError::Invalid { .. })));
        let wrong = Manifest::verified(Bytes::from_static(b"{}"), None, Algorithm::Sha512.digest(b"{ }"));
        assert!(matches!(wrong, Err(ManifestError::Mismatch { .. })));
        let layer = manifest(r#"{"layers":[{"mediaType":"x","digest":"sha256:0","size":1}]}"#).unwrap();
        assert!(layer.view().unwrap_err().to_string().contains("sha256:0"));
    }

    #[test]
    fn contradicting_types_are_refused() {
        const ARTIFACT: &str = r#"{"mediaType":"application/vnd.oci.artifact.manifest.v1+json"}"#;
        const INDEX: &str = r#"{"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}"#;
        const IMAGE: &str = r#"{"mediaType":"application/vnd.oci.image.manifest.v1+json","layers":[]}"#;
        const LIST: &str =
            r#"{"mediaType":"application/vnd.docker.distribution.manifest.list.v2+json","manifests":[]}"#;
        const OTHER: &str = r#"{"mediaType":"application/vnd.example+json","manifests":[]}"#;
        let view = |json: &str, sent: MediaType| {
            let read = Manifest::new(Bytes::copy_from_slice(json.as_bytes()), Some(sent)).unwrap();
            read.view()
        };
        for (json, sent) in [
            (ARTIFACT, MediaType::OCI_INDEX),
            (ARTIFACT, MediaType::DOCKER_LIST),
            (INDEX, MediaType::OCI_MANIFEST),
            (IMAGE, MediaType::OCI_INDEX),
            (r#"{"mediaType":"application/vnd.docker.distribution.manifest.v2+json"}"#, MediaType::OCI_INDEX),
            (
                r#"{"mediaType":"application/vnd.docker.distribution.manifest.v1+json","fsLayers":[]}"#,
                MediaType::DOCKER_MANIFEST,
            ),
        ] {
            let refused = view(json, sent.clone());
            assert!(
                matches!(refused, Err(ManifestError::Contradiction { .. })),
                "{json} as {sent}: {refused:?}"
            );
        }
        // Whoever says no more than "JSON" contradicts nobody, nor does a document without a type, nor one of docker's
        // names for what OCI has too.
        for (json, sent) in [
            (INDEX, MediaType::new("application/json; charset=utf-8")),
            (INDEX, MediaType::new("text/plain")),
            (INDEX, MediaType::DOCKER_LIST),
            (LIST, MediaType::OCI_INDEX),
            (IMAGE, MediaType::DOCKER_MANIFEST),
            (IMAGE, MediaType::new("application/vnd.example+json")),
            (ARTIFACT, MediaType::OCI_MANIFEST),
            (OTHER, MediaType::OCI_INDEX),
            (r#"{"manifests":[]}"#, MediaType::OCI_INDEX),
            (r#"{"mediaType":"","manifests":[]}"#, MediaType::OCI_INDEX),
            (r#"{"mediaType":null,"layers":[]}"#, MediaType::OCI_MANIFEST),
        ] {
            assert!(view(json, sent.clone()).is_ok(), "{json} as {sent}");
        }
        // Without a word of its own a document shows by its shape that it is something else.
        for (json, sent) in
            [(r#"{"blobs":[]}"#, MediaType::OCI_INDEX), (r#"{"manifests":[]}"#, MediaType::OCI_ARTIFACT)]
        {
            assert!(matches!(view(json, sent), Err(ManifestError::Invalid { .. })), "{json}");
        }
        for sent in [MediaType::DOCKER_SCHEMA1, MediaType::DOCKER_SCHEMA1_SIGNED] {
            assert!(matches!(view(r#"{"fsLayers":[]}"#, sent), Err(ManifestError::Schema1 { .. })));
        }
    }

    proptest! {
        #[test]
        fn never_panics(json in "\\PC{0,80}") {
            if let Ok(read) = manifest(&json) {
                let _ = read.view();
            }
        }
    }
}
