//! Makes one layer of all layers of an image, or of those above a base.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use layer::Table;
use oci::Digest;
use tokio::sync::Mutex;

use crate::base::own_steps;
use crate::draft::{edit_diff_ids, invalid, list};
use crate::export::{Layers, spool};
use crate::mutation::step;
use crate::spool::Spooled;
use crate::{Base, Created, Draft, Edit, Error, Export, NewLayer, Packing};

/// Makes one layer of many. The files stay what they are.
#[derive(Debug)]
pub struct Flatten {
    /// Where the layers are read from, and inflated to.
    pub export: Arc<Export>,
    /// How the new layer is made.
    pub packing: Packing,
    /// A base whose layers stay as they are.
    pub above: Option<Base>,
    /// When the images were made.
    pub created: Option<Created>,
    /// One image at a time: each has all processors, and all of the temporary space.
    pub turn: Mutex<()>,
}

impl Flatten {
    /// Makes one layer of all layers of the images that `export` reads.
    pub fn new(export: Export, packing: Packing) -> Self {
        Self { export: Arc::new(export), packing, above: None, created: None, turn: Mutex::default() }
    }
}

#[async_trait]
impl Edit for Flatten {
    async fn image(&self, draft: &mut Draft) -> Result<(), Error> {
        let config = draft.config_view().await?;
        if config.rootfs.diff_ids.len() != draft.view().layers.len() {
            return Err(Error::LayersDisagree(draft.original()));
        }
        let (mut kept, mut base_history) = (0, None);
        if let Some(above) = &self.above {
            let mut base = above.image(&config.platform).await?;
            kept = base.layers_in(draft).await?;
            base_history = list(base.draft.config().await?, "history")?;
        }
        let layer = {
            let _turn = self.turn.lock().await;
            let spools = spool(&self.export, draft.view()).await?;
            let order: Vec<Digest> = draft.view().layers.iter().map(|layer| layer.digest).collect();
            let packing = self.packing.clone();
            tokio::task::spawn_blocking(move || pack(spools, &order, kept, &packing)).await??
        };
        draft.replace_layers(kept, &layer)?;
        let created = self.created;
        let document = draft.config().await?;
        let old = list(document, "history")?;
        edit_diff_ids(document, |list| {
            list.keep(0..kept);
            list.push(&layer.diff_id)
        })?;
        let mut entry = step("hoist flatten", created)?;
        if let Some(old) = &old {
            // What was done is not lost, though there is one layer for all of it.
            entry.set("comment", &old.to_string()).map_err(invalid)?;
            let first = match kept {
                0 => 0,
                _ => own_steps(old, &base_history.unwrap_or_default(), kept)?,
            };
            document
                .edit_list("history", |list| {
                    list.keep(0..first);
                    list.push_text(&entry.to_string())
                })
                .map_err(invalid)?;
        }
        if let Some(created) = created {
            document.set("created", &created).map_err(invalid)?;
        }
        Ok(())
    }

    fn keeps_files(&self) -> bool {
        true
    }
}

/// Merges layers and packs what comes out; the first `kept` of them stay below it.
fn pack(
    spools: HashMap<Digest, Spooled>,
    order: &[Digest],
    kept: usize,
    packing: &Packing,
) -> Result<NewLayer, Error> {
    let (layers, tables) = Layers::of(spools, order);
    let whole = layer::merge(&tables).map_err(Error::Merge)?;
    if kept == 0 {
        return NewLayer::write(packing, |out| layer::write_tar(&whole, &layers, out).map(drop));
    }
    let lower: &[Table] = &tables[..kept];
    let lower = layer::merge(lower).map_err(Error::Merge)?;
    let changes = layer::changes(&lower, &whole);
    NewLayer::write(packing, |out| layer::write_changes(&changes, &whole, &layers, out).map(drop))
}
