use std::io::{BufWriter, Write as _};

use image::inside::{Deed, Touch, touches};
use layer::{Found, Table};
use serde::Serialize;

use crate::context::Context;
use crate::failure::Failure;
use crate::looking::{self, Item, Reading, Row, Widths, absolute};
use crate::output::Output;

/// Show which layers wrote or removed a path (+)
///
/// From the bottom on: what a layer did, with which entry (mode, owner, size, time, layer, path), and what made that layer. Symbolic links on the way are followed as far as they
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
    pub(crate) reading: Reading,
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
    let looked = looking::open(context, &args.image, args.reading).await?;
    let tocs = looked.end(looked.inside.tocs().await)?;
    let tables: Vec<&Table> = tocs.iter().map(|toc| &toc.table).collect();
    let merged = layer::merge(&tables).map_err(image::Error::Merge)?;
    let typed = args.path.as_bytes();
    let path = match merged.find(typed, false) {
        Ok(Found::Node(index)) => merged.nodes[index].path().to_vec(),
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
    let layers = looked.inside.layers();
    let rows: Vec<Row<'_>> = touches.iter().map(|touch| Row::entry(touch.entry, touch.layer, None)).collect();
    let created_by = |layer: usize| instructions.get(layer).cloned().flatten();
    if args.output.wants_json() {
        let steps = touches.iter().zip(&rows).map(|(touch, row)| Step {
            layer: touch.layer + 1,
            layer_digest: layers[touch.layer].digest.to_string(),
            action: action(touch),
            created_by: created_by(touch.layer),
            entry: row.item(layers),
        });
        return args.output.print(&context.ui, &steps.collect::<Vec<_>>());
    }
    let widths = Widths::of(rows.iter().copied());
    let is_shown = context.ui.is_terminal();
    let mut out = BufWriter::new(context.ui.writer()?);
    let done = touches.iter().zip(&rows).try_for_each(|(touch, row)| {
        write!(out, "{:<8}  {}", action(touch), widths.before(row))?;
        row.write_long(&mut out, is_shown)?;
        match created_by(touch.layer) {
            Some(created_by) => writeln!(out, "\n          {}", looking::instruction(&created_by, 100)),
            None => writeln!(out),
        }
    });
    done.and_then(|()| out.flush()).map_err(|error| Failure::output(&error))
}

fn action(touch: &Touch<'_>) -> &'static str {
    match touch.deed {
        Deed::Wrote => "wrote",
        Deed::Removed => "removed",
        Deed::Cleared => "cleared",
        Deed::Replaced => "replaced",
    }
}
