//! Archives as docker wrote them before its version 1.10: a folder for each layer, with the inflated archive in it (docker,
//! image/spec/v1.md; moby, image/tarexport).

use std::collections::BTreeMap;
use std::io::{self, Read, Seek, Write};
use std::sync::Arc;

use layer::{Metadata, TarWriter};
use oci::{Algorithm, Digest, ImageConfig, ImageManifest, Manifest, View};
use serde_json::json;

use crate::export::spool;
use crate::spool::Spooled;
use crate::{Error, Export, config};

/// An image for such an archive.
#[derive(Debug)]
pub struct LegacyImage {
    /// Where it is read from, and where its layers are inflated to.
    pub export: Arc<Export>,
    /// What it is.
    pub manifest: Manifest,
    /// What docker is to call it: a repository and a tag.
    pub name: (String, String),
}

/// Writes images, each for one platform, into one archive, and gives it back, flushed. Layers that images share are in it once.
/// It also has the `manifest.json` that docker reads since.
///
/// # Errors
/// [`Error::NotAnImage`], [`Error::LayersDisagree`], [`Error::SpoolLimit`], [`Error::Layer`], [`Error::Output`], [`Error::Store`].
pub async fn write_legacy(images: Vec<LegacyImage>, out: Box<dyn Write + Send>) -> Result<(), Error> {
    let mut archive = Archive {
        tar: TarWriter::new(out),
        written: Vec::new(),
        list: Vec::new(),
        repositories: BTreeMap::new(),
    };
    for image in images {
        let digest = image.manifest.digest();
        let View::Image(view) = image.manifest.view()? else { return Err(Error::NotAnImage(digest)) };
        let text = config(&*image.export.store, &image.manifest).await?;
        let parsed: ImageConfig = serde_json::from_slice(&text).map_err(|source| Error::Document {
            what: "config of manifest",
            digest,
            source,
        })?;
        if parsed.rootfs.diff_ids.len() != view.layers.len() {
            return Err(Error::LayersDisagree(digest));
        }
        let spools = spool(&image.export, &view).await?;
        let write =
            move || archive.add(&view, &text, &parsed.rootfs.diff_ids, spools, &image.name).map(|()| archive);
        archive = tokio::task::spawn_blocking(write).await?.map_err(Error::Output)?;
    }
    tokio::task::spawn_blocking(move || archive.finish()).await?.map_err(Error::Output)
}

struct Archive {
    tar: TarWriter<Box<dyn Write + Send>>,
    /// The names that are in it.
    written: Vec<String>,
    list: Vec<serde_json::Value>,
    /// By repository and tag, the layer on top.
    repositories: BTreeMap<String, BTreeMap<String, String>>,
}

impl Archive {
    fn add(
        &mut self,
        image: &ImageManifest,
        config: &[u8],
        diff_ids: &[Digest],
        mut spools: std::collections::HashMap<Digest, Spooled>,
        (repository, tag): &(String, String),
    ) -> io::Result<()> {
        let config_name = format!("{}.json", Algorithm::Sha256.digest(config).hex());
        self.whole(&config_name, config)?;
        let mut parent: Option<String> = None;
        let mut names = Vec::new();
        for (at, (layer, diff_id)) in image.layers.iter().zip(diff_ids).enumerate() {
            // Equal layers on equal ones are equal; the top also says how the image is run.
            let top = if at + 1 == image.layers.len() { config_name.as_str() } else { "" };
            let text = format!("{} {diff_id} {top}", parent.as_deref().unwrap_or_default());
            let id = Algorithm::Sha256.digest(text.as_bytes()).hex();
            let mut about = json!({ "id": id, "created": "1970-01-01T00:00:00Z" });
            if let Some(parent) = &parent {
                about["parent"] = json!(parent);
            }
            let file = spools.get_mut(&layer.digest).map(|spooled| &mut spooled.file);
            self.layer(&id, &about.to_string(), file)?;
            names.push(format!("{id}/layer.tar"));
            parent = Some(id);
        }
        let name = format!("{repository}:{tag}");
        self.list.push(json!({ "Config": config_name, "RepoTags": [name], "Layers": names }));
        if let Some(top) = parent {
            self.repositories.entry(repository.clone()).or_default().insert(tag.clone(), top);
        }
        Ok(())
    }

    fn layer(&mut self, id: &str, about: &str, file: Option<&mut std::fs::File>) -> io::Result<()> {
        if self.written.iter().any(|name| name == id) {
            return Ok(());
        }
        self.written.push(id.to_owned());
        let name = format!("{id}/layer.tar");
        let Some(file) = file else { return Err(io::ErrorKind::NotFound.into()) };
        let size = file.metadata()?.len();
        file.rewind()?;
        self.tar.file(name.as_bytes(), &Metadata::new(0o644), size, file.take(size))?;
        self.whole(&format!("{id}/json"), about.as_bytes())?;
        self.whole(&format!("{id}/VERSION"), b"1.0")
    }

    /// A small file, once.
    fn whole(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        if self.written.iter().any(|known| known == name) {
            return Ok(());
        }
        self.written.push(name.to_owned());
        self.tar.file(name.as_bytes(), &Metadata::new(0o644), bytes.len() as u64, bytes)
    }

    fn finish(mut self) -> io::Result<()> {
        let list = serde_json::Value::from(std::mem::take(&mut self.list)).to_string();
        self.whole("manifest.json", list.as_bytes())?;
        let repositories = json!(self.repositories).to_string();
        self.whole("repositories", repositories.as_bytes())?;
        self.tar.finish()?.flush()
    }
}
