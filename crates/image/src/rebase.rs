//! Puts the layers of an image on another base.

use std::sync::Arc;

use async_trait::async_trait;
use oci::json::Object;
use oci::{Digest, MediaType};
use store::Store;

use crate::append::annotate_base;
use crate::base::{BaseImage, own_steps};
use crate::draft::{edit_diff_ids, invalid, list};
use crate::mutation::set_platform;
use crate::{Base, BaseNote, Created, Draft, Edit, Error};

/// A change of base. Every layer that is not the old base's is kept, and all of the configuration but for layers, history and
/// platform.
#[derive(Debug)]
pub struct Rebase {
    /// What the images are built on.
    pub old: OldBase,
    /// What they shall be built on.
    pub new: Base,
    /// The new base's name, for whoever rebases next.
    pub new_name: Option<String>,
    /// When the images were made.
    pub created: Option<Created>,
}

/// What images are built on.
#[derive(Debug)]
pub enum OldBase {
    /// This.
    Given(Base),
    /// What each says by its annotations, by digest in this place.
    Noted(Arc<dyn Store>),
}

impl Rebase {
    async fn old(&self, draft: &mut Draft) -> Result<BaseImage, Error> {
        let platform = draft.config_view().await?.platform;
        match &self.old {
            OldBase::Given(base) => base.image(&platform).await,
            OldBase::Noted(store) => {
                let digest = BaseNote::read(&draft.view().annotations).and_then(|note| note.digest);
                let digest = digest.ok_or_else(|| Error::NoBase(draft.original()))?;
                Base::find(Arc::clone(store), &digest.into()).await?.image(&platform).await
            }
        }
    }
}

#[async_trait]
impl Edit for Rebase {
    async fn image(&self, draft: &mut Draft) -> Result<(), Error> {
        let mut old = self.old(draft).await?;
        let config = draft.config_view().await?;
        let mut new = self.new.image(&config.platform).await?;
        let differs = |is: &str, was: &str| !was.is_empty() && is != was;
        if differs(&new.platform.os, &config.platform.os)
            || differs(&new.platform.architecture, &config.platform.architecture)
        {
            return Err(Error::OtherPlatform {
                image: draft.original(),
                is: Box::new(config.platform),
                base: Box::new(new.platform),
            });
        }
        if config.rootfs.diff_ids.len() != draft.view().layers.len() {
            return Err(Error::LayersDisagree(draft.original()));
        }
        let count = old.layers_in(draft).await?;
        let told = list(draft.config().await?, "history")?;
        let was = list(old.draft.config().await?, "history")?;
        let now = list(new.draft.config().await?, "history")?;
        let docker = draft.is_docker();
        let own_diff_ids = &config.rootfs.diff_ids[count..];
        let (diff_ids, platform) = (&new.diff_ids, &new.platform);
        let created = self.created;
        let document = draft.config().await?;
        edit_diff_ids(document, |list| {
            list.keep(0..0);
            diff_ids.iter().chain(own_diff_ids).try_for_each(|diff_id| list.push(diff_id))
        })?;
        // Without a history of its own the image has none that would be right.
        if let Some(told) = told {
            let first = own_steps(&told, &was.unwrap_or_default(), count)?;
            let now = now.unwrap_or_default();
            let steps = now.texts().chain(told.texts().skip(first));
            document
                .edit_list("history", |list| {
                    list.keep(0..0);
                    steps.map(str::to_owned).try_for_each(|step| list.push_text(&step))
                })
                .map_err(invalid)?;
        }
        if platform != &config.platform {
            set_platform(document, platform).map_err(invalid)?;
        }
        if let Some(created) = created {
            document.set("created", &created).map_err(invalid)?;
        }
        let base = layers(new.draft.manifest(), docker)?;
        draft
            .manifest()
            .edit_list("layers", |list| {
                let own: Vec<String> = list.texts().skip(count).map(str::to_owned).collect();
                list.keep(0..0);
                base.iter().chain(&own).try_for_each(|layer| list.push_text(layer))
            })
            .map_err(invalid)?;
        annotate_base(draft.manifest(), self.new_name.as_deref(), &new.manifest.digest().to_string())?;
        let digests: Vec<Digest> = new.draft.view().layers.iter().map(|layer| layer.digest).collect();
        draft.borrow_layers(Arc::clone(&self.new.store), digests);
        Ok(())
    }

    fn keeps_files(&self) -> bool {
        false
    }
}

/// A base's layers as they are written, but with the types of the image that they become a part of.
fn layers(manifest: &Object, docker: bool) -> Result<Vec<String>, Error> {
    let mut layers = list(manifest, "layers")?.unwrap_or_default();
    layers.edit_objects(|_, layer| {
        let media_type = layer.read::<MediaType>("mediaType").map_err(invalid)?;
        if let Some(media_type) = media_type.and_then(|media_type| media_type.layer_of(docker)) {
            layer.set("mediaType", &media_type).map_err(invalid)?;
        }
        Ok::<_, Error>(true)
    })?;
    Ok(layers.texts().map(str::to_owned).collect())
}
