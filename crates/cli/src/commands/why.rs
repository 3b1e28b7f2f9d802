use std::fmt::Write as _;

use image::inside::{Deed, Touch, touches};
use layer::{Found, Table};
use serde::Serialize;

use crate::context::Context;
use crate::failure::Failure;
use crate::looking::{self, Item, absolute};
use crate::output::Output;

/// Show which layers wrote or removed a path (+)
///
/// From the bottom on, a line each: the layer, what it did, and what it wrote. Symbolic links on the way are followed as far as they
/// lead in the merged file system.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The image
    #[arg(value_name = "IMAGE")]
    pub(crate) image: String,
    /// The path, from the root
    #[arg(value_name = "PATH")]
    pub(crate) path: String,
    #[command(flatten)]
    pub(crate) output: Output,
}

/// What a layer did.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Step {
    layer: usize,
    layer_digest: String,
    action: &'static str,
    /// What made that layer, if the image tells.
    #[serde(skip_serializing_if = "Option::is_none")]
    created_by: Option<String>,
    entry: Item,
}

pub(crate) async fn run(context: &Context, args: Args) -> Result<(), Failure> {
    let looked = looking::open(context, &args.image).await?;
    let tocs = looked.end(looked.inside.tocs().await)?;
    let tables: Vec<&Table> = tocs.iter().map(|toc| &toc.table).collect();
    let merged = layer::merge(&tables).map_err(image::Error::Merge)?;
    let typed = args.path.as_bytes();
    let path = match merged.find(typed, false) {
        Ok(Found::Node(index)) => merged.nodes[index].path.to_vec(),
        Ok(Found::Directory(path)) => path,
        // What is not there any more is called as it was typed.
        Err(_) => {
            typed.split(|byte| *byte == b'/').filter(|part| !part.is_empty()).collect::<Vec<_>>().join(&b'/')
        }
    };
    let touches = touches(&tables, &path);
    if touches.is_empty() {
        return Err(Failure::new(format_args!("no layer has anything to do with {}", absolute(&path))));
    }
    let instructions = looking::instructions(&looked).await?;
    let step = |touch: &Touch<'_>| {
        let digest = &looked.inside.layers()[touch.layer].digest;
        Step {
            layer: touch.layer + 1,
            layer_digest: digest.to_string(),
            action: match touch.deed {
                Deed::Wrote => "wrote",
                Deed::Removed => "removed",
                Deed::Cleared => "cleared",
                Deed::Replaced => "replaced",
            },
            created_by: instructions.get(touch.layer).cloned().flatten(),
            entry: Item::new(&touch.entry.path, touch.entry, touch.layer, digest, None),
        }
    };
    let steps: Vec<Step> = touches.iter().map(step).collect();
    if args.output.wants_json() {
        return args.output.print(&context.ui, &steps);
    }
    let width = steps.iter().map(|step| step.entry.size.to_string().len()).max().unwrap_or_default();
    let mut text = String::new();
    for step in &steps {
        let Step { layer, action, created_by, entry, .. } = step;
        // Writing to a string does not fail.
        let _ = writeln!(text, "{layer:>3}  {action:<8}  {}", entry.long(width));
        if let Some(created_by) = created_by {
            let _ = writeln!(text, "               {}", looking::instruction(created_by, 100));
        }
    }
    context.ui.print(text.as_bytes())
}
