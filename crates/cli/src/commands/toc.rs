use std::io;

use image::inside::Known;
use indicatif::HumanBytes;
use layer::{Origin, Toc};
use serde::Serialize;

use crate::context::Context;
use crate::failure::Failure;
use crate::looking::{self, Reading};
use crate::output::Output;

/// Make the tables of contents of an image's layers, and show what they cost (+)
///
/// `files`, `cat` and the like make them when they need them; this makes all of them ahead. They are kept where `cache ls tables`
/// shows them.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The image or any other artifact
    #[arg(value_name = "IMAGE")]
    pub(crate) image: String,
    #[command(flatten)]
    pub(crate) reading: Reading,
    #[command(flatten)]
    pub(crate) output: Output,
}

/// What is known of a layer.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Layer {
    digest: String,
    /// In bytes, compressed and not.
    size: u64,
    inflated: u64,
    entries: usize,
    /// The parts that can be read alone.
    spans: usize,
    /// The kept table, and what of it are the histories with which inflating begins; in bytes.
    table: u64,
    histories: u64,
    /// Whether the layer was read for it just now.
    made: bool,
    /// Who made it: `hoist`, or whoever made the index that the image has.
    origin: &'static str,
}

pub(crate) async fn run(context: &Context, args: Args) -> Result<(), Failure> {
    let looked = looking::open(context, &args.image, args.reading).await?;
    looked.inside.prepare().await;
    let known: Vec<Known> =
        (0..looked.inside.layers().len()).map(|layer| looked.inside.known(layer)).collect();
    let tocs = looked.end(looked.inside.tocs().await)?;
    let layers = looked.inside.layers().iter().zip(known).zip(&tocs).map(|((layer, known), toc)| Layer {
        digest: layer.digest.to_string(),
        size: layer.size,
        inflated: toc.table.size,
        entries: toc.table.entries.len(),
        spans: toc.spans(),
        table: if known == Known::File { 0 } else { length(toc) },
        histories: toc.points_size(),
        made: known == Known::Nothing && toc.origin == Origin::Layer,
        origin: toc.origin.name(),
    });
    let layers: Vec<Layer> = layers.collect();
    if args.output.wants_json() {
        return args.output.print(&context.ui, &layers);
    }
    let size = |bytes: u64| HumanBytes(bytes).to_string();
    let line = |layer: &Layer| {
        let Layer { digest, entries, spans, .. } = layer;
        let (bytes, inflated, table) = (size(layer.size), size(layer.inflated), size(layer.table));
        let how = match layer.origin {
            origin if origin != Origin::Layer.name() => format!("of {origin}"),
            _ if layer.made => "made".to_owned(),
            _ => "kept".to_owned(),
        };
        format!(
            "{digest}  {bytes:>10} of {inflated:>10}  {entries:>7} entries  {spans:>5} spans  {table:>10}  {how}\n"
        )
    };
    context.ui.print(layers.iter().map(line).collect::<String>().as_bytes())
}

/// How long a table is that is kept.
fn length(toc: &Toc) -> u64 {
    let mut counted = Counted(0);
    // Counting does not fail; a history that cannot be read has no length.
    let _ = toc.write(&mut counted);
    counted.0
}

struct Counted(u64);

impl io::Write for Counted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
