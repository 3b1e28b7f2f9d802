use std::fmt::Write as _;

use image::inside::{Fate, fates};
use indicatif::HumanBytes;
use layer::{Kind, Table};
use serde::Serialize;

use crate::context::Context;
use crate::failure::Failure;
use crate::looking::{self, Reading};
use crate::output::Output;

/// Show an image layer by layer: what made it, how large it is, what of it is wasted (+)
///
/// From the bottom on, a line each: number, compressed size, its files and their bytes, the bytes of those that layers above delete or
/// overwrite, and the instruction that made it.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The image
    #[arg(value_name = "IMAGE")]
    pub(crate) image: String,
    /// Instructions as long as they are
    #[arg(long)]
    pub(crate) no_trunc: bool,
    #[command(flatten)]
    pub(crate) reading: Reading,
    #[command(flatten)]
    pub(crate) output: Output,
}

/// A line.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    layer: usize,
    digest: String,
    /// Compressed, in bytes.
    size: u64,
    files: usize,
    /// Those of its files, in bytes.
    file_bytes: u64,
    wasted: u64,
    whiteouts: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    created_by: Option<String>,
}

pub(crate) async fn run(context: &Context, args: Args) -> Result<(), Failure> {
    let looked = looking::open(context, &args.image, args.reading).await?;
    let instructions = looking::instructions(&looked).await?;
    let tocs = looked.end(looked.inside.tocs().await)?;
    let tables: Vec<&Table> = tocs.iter().map(|toc| &toc.table).collect();
    let merged = layer::merge(&tables).map_err(image::Error::Merge)?;
    let mut layers = Vec::new();
    for (index, fates) in fates(&tables, &merged).iter().enumerate() {
        let blob = &looked.inside.layers()[index];
        let mut layer = Row {
            layer: index + 1,
            digest: blob.digest.to_string(),
            size: blob.size,
            files: 0,
            file_bytes: 0,
            wasted: 0,
            whiteouts: 0,
            created_by: instructions.get(index).cloned().flatten(),
        };
        for (entry, fate) in tables[index].entries.iter().zip(fates) {
            layer.whiteouts += usize::from(*fate == Fate::Whiteout);
            if let (Kind::File(body), false) = (&entry.kind, *fate == Fate::Whiteout) {
                layer.files += 1;
                layer.file_bytes += body.size;
                layer.wasted += if *fate == Fate::Present { 0 } else { body.size };
            }
        }
        layers.push(layer);
    }
    if args.output.wants_json() {
        return args.output.print(&context.ui, &layers);
    }
    let size = |bytes: u64| HumanBytes(bytes).to_string();
    let mut text =
        format!("{:>3} {:>10} {:>7} {:>10} {:>10}  {}\n", "#", "SIZE", "FILES", "BYTES", "WASTED", "MADE BY");
    for layer in &layers {
        let made_by = layer.created_by.as_deref().unwrap_or_default();
        let made_by = looking::instruction(made_by, if args.no_trunc { usize::MAX } else { 80 });
        let (bytes, wasted) = (size(layer.file_bytes), size(layer.wasted));
        // Writing to a string does not fail.
        let _ = writeln!(
            text,
            "{:>3} {:>10} {:>7} {bytes:>10} {wasted:>10}  {made_by}",
            layer.layer,
            size(layer.size),
            layer.files
        );
    }
    context.ui.print(text.as_bytes())
}
