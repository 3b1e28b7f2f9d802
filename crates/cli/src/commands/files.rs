use std::io::{self, BufWriter, Write};

use image::inside::{Fate, LayerChoice, fates};
use layer::{Entry, FindError, Found, Merged, Node, Table, is_within, path_order};
use oci::Descriptor;

use crate::context::Context;
use crate::failure::Failure;
use crate::looking::{self, Reading, Row, Widths, absolute, printed};
use crate::output::{Each, Output};

/// List the files of an image, without pulling it (+)
///
/// The merged file system, or one layer as it is. Of an index, of the image for linux/amd64 or --platform; PATH may lead over symbolic
/// links. The first time all layers are read, and a table of each is kept; after that no byte of a layer moves. Of an artifact, the
/// titles of its files.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The image or any other artifact
    #[arg(value_name = "IMAGE")]
    pub(crate) image: String,
    /// What is below this path alone
    #[arg(value_name = "PATH", default_value = "/", hide_default_value = true)]
    pub(crate) path: String,
    /// Mode, owner, size in bytes, time, and the layer it comes from, counted from 1 at the bottom
    #[arg(short, long)]
    pub(crate) long: bool,
    /// One layer as it is: its number from 1 at the bottom, or its digest, or the beginning of that
    #[arg(long, value_name = "LAYER")]
    pub(crate) layer: Option<LayerChoice>,
    /// What is hidden too: `-` is deleted, `~` overwritten, `x` a whiteout that hides something
    #[arg(short, long)]
    pub(crate) all: bool,
    #[command(flatten)]
    pub(crate) reading: Reading,
    #[command(flatten)]
    pub(crate) output: Output,
}

/// Draw the files of an image as a tree, without pulling it (+)
///
/// As `files` lists them.
#[derive(Debug, clap::Args)]
pub(crate) struct Drawn {
    /// The image or any other artifact
    #[arg(value_name = "IMAGE")]
    image: String,
    /// What is below this path alone
    #[arg(value_name = "PATH", default_value = "/", hide_default_value = true)]
    path: String,
    /// No deeper than so many levels
    #[arg(short = 'L', long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    level: Option<u16>,
    #[command(flatten)]
    pub(crate) reading: Reading,
}

pub(crate) async fn run(context: &Context, args: Args) -> Result<(), Failure> {
    let looked = looking::open(context, &args.image, args.reading).await?;
    let layers = looked.inside.layers();
    if let Some(layer) = &args.layer {
        // One that is there more than once is the same everywhere.
        let layer = layer.among(layers)?[0];
        let toc = looked.end(looked.inside.toc(layer).await)?;
        return print(context, &args, layers, one_layer(&toc.table, layer, args.path.as_bytes())?);
    }
    let tocs = looked.end(looked.inside.tocs().await)?;
    let tables: Vec<&Table> = tocs.iter().map(|toc| &toc.table).collect();
    let merged = layer::merge(&tables).map_err(image::Error::Merge)?;
    if args.all {
        let spots = everything(&tables, merged, args.path.as_bytes());
        return print(context, &args, layers, spots.iter().map(Spot::row));
    }
    let nodes = merged.below(&found(&merged, args.path.as_bytes())?);
    print(context, &args, layers, nodes.iter().map(|node| Row::node(&merged, node)))
}

pub(crate) async fn draw(context: &Context, args: Drawn) -> Result<(), Failure> {
    let looked = looking::open(context, &args.image, args.reading).await?;
    let tocs = looked.end(looked.inside.tocs().await)?;
    let tables: Vec<&Table> = tocs.iter().map(|toc| &toc.table).collect();
    let merged = layer::merge(&tables).map_err(image::Error::Merge)?;
    let top = found(&merged, args.path.as_bytes())?;
    let mut out = BufWriter::new(context.ui.writer()?);
    let drawn = tree(&merged, &top, args.level.map(usize::from), &mut out, context.ui.is_terminal());
    drawn.and_then(|()| out.flush()).map_err(|error| Failure::output(&error))
}

/// The path that was typed, without symbolic links.
fn found(merged: &Merged<'_>, path: &[u8]) -> Result<Vec<u8>, FindError> {
    Ok(match merged.find(path, true)? {
        Found::Node(index) => merged.nodes[index].path().to_vec(),
        Found::Directory(path) => path,
    })
}

/// A path as entries have it.
fn clean(path: &[u8]) -> Vec<u8> {
    path.split(|byte| *byte == b'/').filter(|part| !part.is_empty()).collect::<Vec<_>>().join(&b'/')
}

/// The entries of a layer, in the order of its archive.
fn one_layer<'a>(
    table: &'a Table,
    layer: usize,
    path: &[u8],
) -> Result<impl Iterator<Item = Row<'a>> + Clone, Failure> {
    let path = clean(path);
    let is_there = table.entries.iter().any(|entry| is_within(&entry.path, &path));
    if !is_there && !path.is_empty() {
        return Err(Failure::new(format_args!("layer {} has no {}", layer + 1, absolute(&path))));
    }
    let entries = table.entries.iter().filter(move |entry| is_within(&entry.path, &path));
    Ok(entries.map(move |entry| Row::entry(entry, layer, entry.whiteout().map(|_| "whiteout"))))
}

/// An entry, whatever became of it.
struct Spot<'a> {
    entry: &'a Entry,
    layer: u32,
    fate: Fate,
}

impl<'a> Spot<'a> {
    fn row(&self) -> Row<'a> {
        let status = match self.fate {
            Fate::Present => "present",
            Fate::Overwritten => "overwritten",
            Fate::Deleted => "deleted",
            Fate::Whiteout => "whiteout",
        };
        Row::entry(self.entry, self.layer as usize, Some(status))
    }
}

/// All entries of all layers, by their paths, the newest first.
fn everything<'a>(tables: &[&'a Table], merged: Merged<'_>, path: &[u8]) -> Vec<Spot<'a>> {
    let (fates, path) = (fates(tables, &merged), clean(path));
    drop(merged);
    let mut spots = Vec::new();
    for ((layer, table), fates) in (0..).zip(tables).zip(fates) {
        let within = table.entries.iter().zip(fates).filter(|(entry, _)| is_within(&entry.path, &path));
        spots.extend(within.map(|(entry, fate)| Spot { entry, layer, fate }));
    }
    spots.sort_by(|one, other| {
        path_order(&one.entry.path, &other.entry.path).then(other.layer.cmp(&one.layer))
    });
    spots
}

fn print<'a>(
    context: &Context,
    args: &Args,
    layers: &[Descriptor],
    mut rows: impl Iterator<Item = Row<'a>> + Clone,
) -> Result<(), Failure> {
    if args.output.wants_json() {
        let items = Each(|| rows.clone().map(|row| row.item(layers)));
        return args.output.print(&context.ui, &items);
    }
    let widths = if args.long { Widths::of(rows.clone()) } else { Widths::default() };
    let is_shown = context.ui.is_terminal();
    let mut out = BufWriter::new(context.ui.writer()?);
    let done = rows.try_for_each(|row| {
        out.write_all(match row.status {
            _ if !args.all && args.layer.is_none() => b"",
            Some("deleted") => b"- ",
            Some("overwritten") => b"~ ",
            Some("whiteout") => b"x ",
            _ => b"  ",
        })?;
        if args.long {
            out.write_all(widths.before(&row).as_bytes())?;
            row.write_long(&mut out, is_shown)?;
        } else {
            row.write(&mut out, is_shown)?;
        }
        out.write_all(b"\n")
    });
    done.and_then(|()| out.flush()).map_err(|error| Failure::output(&error))
}

/// Draws what is below a path.
fn tree(
    merged: &Merged<'_>,
    top: &[u8],
    level: Option<usize>,
    out: &mut dyn Write,
    is_shown: bool,
) -> io::Result<()> {
    let depth = |path: &[u8]| {
        if path.is_empty() { 0 } else { path.split(|byte| *byte == b'/').count() }
    };
    let above = depth(top);
    let nodes: Vec<(usize, &Node<'_>)> = merged
        .below(top)
        .iter()
        .map(|node| (depth(node.path()).saturating_sub(above), node))
        .filter(|(depth, _)| *depth > 0 && level.is_none_or(|level| *depth <= level))
        .collect();
    // Whether one of the same level comes before the level ends: told from behind.
    let mut more: Vec<bool> = Vec::new();
    let mut lasts = vec![false; nodes.len()];
    for (index, (depth, _)) in nodes.iter().enumerate().rev() {
        more.truncate(*depth);
        more.resize(*depth, false);
        lasts[index] = !std::mem::replace(&mut more[depth - 1], true);
    }
    out.write_all(b"/")?;
    out.write_all(&printed(top, is_shown))?;
    out.write_all(b"\n")?;
    let mut ended: Vec<bool> = Vec::new();
    for ((depth, node), last) in nodes.iter().zip(lasts) {
        let row = Row::node(merged, node);
        ended.resize(*depth, false);
        ended[depth - 1] = last;
        for above in &ended[..depth - 1] {
            out.write_all(if *above { "    " } else { "│   " }.as_bytes())?;
        }
        out.write_all(if last { "└── " } else { "├── " }.as_bytes())?;
        let name = row.path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
        out.write_all(&printed(name, is_shown))?;
        if let Some((sign, target)) = row.target() {
            out.write_all(sign.as_bytes())?;
            out.write_all(&printed(target, is_shown))?;
        }
        out.write_all(b"\n")?;
    }
    Ok(())
}
