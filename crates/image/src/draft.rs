//! An image that is being changed: its documents as text, so that nothing else of them changes.

use std::sync::Arc;

use bytes::Bytes;
use layer::Compression;
use oci::json::{self, Object};
use oci::{Algorithm, Descriptor, Digest, ImageConfig, ImageManifest, Manifest, MediaType, Platform, View};
use store::Store;

use crate::{Error, NewLayer, config, windows};

/// An image, or any other artifact, that is being changed. What is not touched stays as it is written.
#[derive(Debug)]
pub struct Draft {
    /// Where it is from.
    store: Arc<dyn Store>,
    original: Digest,
    media_type: MediaType,
    view: ImageManifest,
    manifest: Object,
    /// Read when somebody asks for it.
    config: Option<Config>,
    layers: Vec<NewLayer>,
    borrowed: Vec<(Arc<dyn Store>, Vec<Digest>)>,
}

/// A configuration.
#[derive(Debug)]
struct Config {
    text: Bytes,
    document: Object,
}

/// What has become of it.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) manifest: Manifest,
    /// The configuration, if it is another one.
    pub(crate) config: Option<(Digest, Bytes)>,
    pub(crate) layers: Vec<NewLayer>,
    /// Layers that come from other places.
    pub(crate) borrowed: Vec<(Arc<dyn Store>, Vec<Digest>)>,
    /// The platform that the configuration tells now, if it told another one.
    pub(crate) platform: Option<Platform>,
}

impl Draft {
    /// Begins with a manifest of a place.
    ///
    /// # Errors
    /// [`Error::NotAnImage`] for an index; [`Error::Manifest`]; [`Error::Document`] if it has a key twice.
    pub fn new(store: Arc<dyn Store>, manifest: &Manifest) -> Result<Self, Error> {
        let View::Image(view) = manifest.view()? else { return Err(Error::NotAnImage(manifest.digest())) };
        Ok(Self {
            store,
            original: manifest.digest(),
            media_type: manifest.media_type().clone(),
            view,
            manifest: document("manifest", manifest.digest(), manifest.raw())?,
            config: None,
            layers: Vec::new(),
            borrowed: Vec::new(),
        })
    }

    /// Its digest before any change.
    pub fn original(&self) -> Digest {
        self.original
    }

    /// What its layers, config and annotations were before any change.
    pub fn view(&self) -> &ImageManifest {
        &self.view
    }

    /// Whether it is an image: its configuration is one that tells of a file system.
    pub fn is_image(&self) -> bool {
        let config = self.view.config.as_ref().map(|config| &config.media_type);
        config.is_some_and(|config| [MediaType::OCI_CONFIG, MediaType::DOCKER_CONFIG].contains(config))
    }

    /// The manifest.
    pub fn manifest(&mut self) -> &mut Object {
        &mut self.manifest
    }

    /// The configuration of an image.
    ///
    /// # Errors
    /// [`Error::NotAnImageConfig`] for any other artifact; [`Error::Document`], [`Error::Store`].
    pub async fn config(&mut self) -> Result<&mut Object, Error> {
        if !self.is_image() {
            return Err(Error::NotAnImageConfig(self.original));
        }
        if self.config.is_none() {
            self.config = Some(self.read_config().await?);
        }
        // It has just been put there.
        self.config.as_mut().map(|config| &mut config.document).ok_or(Error::NoConfig(self.original))
    }

    async fn read_config(&self) -> Result<Config, Error> {
        let text = config::of(&*self.store, self.original, self.view.config.as_ref()).await?;
        let digest = self.view.config.as_ref().map_or(self.original, |config| config.digest);
        Ok(Config { document: document("config", digest, &text)?, text })
    }

    /// What the configuration says of layers and platform now.
    ///
    /// # Errors
    /// Those of [`Draft::config`].
    pub async fn config_view(&mut self) -> Result<ImageConfig, Error> {
        let original = self.original;
        let text = self.config().await?.to_string();
        serde_json::from_str(&text).map_err(|source| Error::Document {
            what: "config of manifest",
            digest: original,
            source,
        })
    }

    /// Whether its types are docker's rather than OCI's.
    pub fn is_docker(&self) -> bool {
        self.media_type == MediaType::DOCKER_MANIFEST
    }

    /// Puts a layer on top; `step` is what the history says of it. Of an artifact that is no image, another file.
    ///
    /// # Errors
    /// Those of [`Draft::config`].
    pub async fn append(&mut self, layer: &NewLayer, step: &Object) -> Result<(), Error> {
        let mut layer = layer.clone();
        if self.is_image() {
            let config = self.config().await?;
            if config.read::<String>("os").map_err(invalid)?.is_some_and(|os| os == "windows") {
                layer = tokio::task::spawn_blocking(move || windows::for_windows(layer)).await??;
            }
            let diff_id = layer.diff_id;
            let config = self.config().await?;
            // A history that tells of none of the layers below would be one that is wrong.
            let layers: usize =
                config.read::<Layers>("rootfs").map_err(invalid)?.unwrap_or_default().diff_ids.len();
            let told = config.text("history").is_some_and(|text| text != "null");
            edit_diff_ids(config, |list| list.push(&diff_id))?;
            if told || layers == 0 {
                config.edit_list("history", |list| list.push_text(&step.to_string())).map_err(invalid)?;
            }
        }
        let descriptor = layer.descriptor(self.is_docker());
        self.manifest.edit_list("layers", |list| list.push(&descriptor)).map_err(invalid)?;
        self.layers.push(layer);
        Ok(())
    }

    /// Puts a layer in the place of all those from `start` on.
    pub(crate) fn replace_layers(&mut self, start: usize, layer: &NewLayer) -> Result<(), Error> {
        let descriptor = layer.descriptor(self.is_docker());
        self.manifest
            .edit_list("layers", |list| {
                list.keep(0..start);
                list.push(&descriptor)
            })
            .map_err(invalid)?;
        self.layers.push(layer.clone());
        Ok(())
    }

    /// Notes that layers come from another place.
    pub(crate) fn borrow_layers(&mut self, store: Arc<dyn Store>, layers: Vec<Digest>) {
        self.borrowed.push((store, layers));
    }

    /// Puts another configuration in the place of its own.
    ///
    /// # Errors
    /// [`Error::Document`] if it is not JSON that can be edited, [`Error::NoConfig`] if there is none to be replaced.
    pub fn replace_config(&mut self, text: &[u8]) -> Result<(), Error> {
        let digest = self.view.config.as_ref().map(|config| config.digest);
        let digest = digest.ok_or(Error::NoConfig(self.original))?;
        let document = document("new config for", digest, text)?;
        self.config = Some(Config { text: Bytes::new(), document });
        Ok(())
    }

    /// Puts another manifest in the place of its own; its type is the one that is given, or that it names, or that it had.
    ///
    /// # Errors
    /// [`Error::Document`] if it is not JSON that can be edited.
    pub fn replace_manifest(&mut self, text: &[u8], media_type: Option<MediaType>) -> Result<(), Error> {
        self.manifest = document("new manifest for", self.original, text)?;
        let named = self.manifest.read("mediaType").map_err(invalid)?;
        if let Some(media_type) = media_type.or(named) {
            self.media_type = media_type;
        }
        Ok(())
    }

    /// The documents as they are now.
    pub(crate) fn finish(mut self) -> Result<Finished, Error> {
        let mut changed = None;
        let mut platform = None;
        if let Some(Config { text, document }) = self.config {
            let new = document.to_string();
            let told = |text| serde_json::from_slice::<ImageConfig>(text).ok().map(|config| config.platform);
            platform = told(new.as_bytes()).filter(|new| told(&text).as_ref() != Some(new));
            if new.as_bytes() != &*text {
                let digest = Algorithm::Sha256.digest(new.as_bytes());
                self.manifest
                    .edit_object("config", |config| {
                        config.remove("data");
                        config.set("digest", &digest)?;
                        config.set("size", &new.len())
                    })
                    .map_err(invalid)?;
                changed = Some((digest, Bytes::from(new)));
            }
        }
        let manifest = Manifest::new(self.manifest.to_string().into(), Some(self.media_type))?;
        Ok(Finished { manifest, config: changed, layers: self.layers, borrowed: self.borrowed, platform })
    }
}

/// The part of a configuration that names its layers.
#[derive(Default, serde::Deserialize)]
struct Layers {
    #[serde(default)]
    diff_ids: Vec<serde::de::IgnoredAny>,
}

/// Edits the list of the inflated layers' digests.
pub(crate) fn edit_diff_ids(
    config: &mut Object,
    edit: impl FnOnce(&mut json::List) -> Result<(), json::Error>,
) -> Result<(), Error> {
    config
        .edit_object("rootfs", |rootfs| {
            if rootfs.is_empty() {
                rootfs.set("type", "layers")?;
            }
            rootfs.edit_list("diff_ids", edit)
        })
        .map_err(invalid)
}

/// A document that is to be edited.
pub(crate) fn document(what: &'static str, digest: Digest, text: &[u8]) -> Result<Object, Error> {
    Object::parse(text).map_err(|source| Error::Document { what, digest, source })
}

/// A list in a document; `None` if it is missing or null.
pub(crate) fn list(document: &Object, key: &str) -> Result<Option<json::List>, Error> {
    let text = document.text(key).filter(|text| *text != "null");
    text.map(|text| json::List::parse(text.as_bytes())).transpose().map_err(invalid)
}

/// A part of a document that is not what it should be.
pub(crate) fn invalid(source: json::Error) -> Error {
    Error::Edit(source)
}

impl NewLayer {
    /// What a manifest says of it: with OCI's types, or docker's.
    pub fn descriptor(&self, docker: bool) -> Descriptor {
        let media_type = match (self.compression, docker) {
            (Compression::None, false) => MediaType::OCI_LAYER,
            (Compression::Gzip, false) => MediaType::OCI_LAYER_GZIP,
            (Compression::Zstd, false) => MediaType::OCI_LAYER_ZSTD,
            (Compression::None, true) => MediaType::DOCKER_LAYER_TAR,
            (Compression::Gzip, true) => MediaType::DOCKER_LAYER,
            (Compression::Zstd, true) => MediaType::DOCKER_LAYER_ZSTD,
        };
        Descriptor::new(media_type, self.digest, self.size)
    }
}
