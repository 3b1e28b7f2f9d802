use std::fmt::Write as _;
use std::io::{BufWriter, Write as _};

use image::inside::{Fate, fates};
use layer::{FindError, Found, Merged, Table};
use oci::Descriptor;

use crate::context::Context;
use crate::failure::Failure;
use crate::looking::{self, Item, Looked, absolute, shown};
use crate::output::Output;

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
    pub(crate) layer: Option<String>,
    /// What is hidden too: `-` is deleted, `~` overwritten, `x` a whiteout that hides something
    #[arg(short, long)]
    pub(crate) all: bool,
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
}

pub(crate) async fn run(context: &Context, args: Args) -> Result<(), Failure> {
    let looked = looking::open(context, &args.image).await?;
    if let Some(layer) = &args.layer {
        let layer = looking::layer(looked.inside.layers(), layer)?;
        let toc = looked.end(looked.inside.toc(layer).await)?;
        let items = one_layer(&toc.table, layer, &looked.inside.layers()[layer], args.path.as_bytes())?;
        return print(context, &args, &items);
    }
    let tocs = looked.end(looked.inside.tocs().await)?;
    let tables: Vec<&Table> = tocs.iter().map(|toc| &toc.table).collect();
    let merged = layer::merge(&tables).map_err(image::Error::Merge)?;
    if args.all {
        return print(context, &args, &everything(&looked, &tables, &merged, args.path.as_bytes()));
    }
    let below = merged.below(&found(&merged, args.path.as_bytes())?);
    if args.output.wants_json() {
        let items: Vec<Item> = below.iter().map(|node| item(&looked, &merged, node)).collect();
        return args.output.print(&context.ui, &items);
    }
    // One at a time: there may be millions.
    let width = below.iter().map(|node| node.entry.size().to_string().len()).max().unwrap_or_default();
    let mut out = BufWriter::new(context.ui.writer()?);
    for node in below {
        let line = if args.long { item(&looked, &merged, node).long(width) } else { absolute(&node.path) };
        writeln!(out, "{line}").map_err(|error| Failure::output(&error))?;
    }
    out.flush().map_err(|error| Failure::output(&error))
}

pub(crate) async fn draw(context: &Context, args: Drawn) -> Result<(), Failure> {
    let looked = looking::open(context, &args.image).await?;
    let tocs = looked.end(looked.inside.tocs().await)?;
    let tables: Vec<&Table> = tocs.iter().map(|toc| &toc.table).collect();
    let merged = layer::merge(&tables).map_err(image::Error::Merge)?;
    let top = found(&merged, args.path.as_bytes())?;
    let items: Vec<Item> = merged.below(&top).iter().map(|node| item(&looked, &merged, node)).collect();
    let text = tree(&absolute(&top), &items, args.level.map(usize::from));
    context.ui.print(text.as_bytes())
}

/// The path that was typed, without symbolic links.
fn found(merged: &Merged<'_>, path: &[u8]) -> Result<Vec<u8>, FindError> {
    Ok(match merged.find(path, true)? {
        Found::Node(index) => merged.nodes[index].path.to_vec(),
        Found::Directory(path) => path,
    })
}

fn item(looked: &Looked, merged: &Merged<'_>, node: &layer::Node<'_>) -> Item {
    let digest = &looked.inside.layers()[node.layer].digest;
    let link = node.link.map(|first| &*merged.nodes[first].path);
    Item::new(&node.path, node.entry, node.layer, digest, link)
}

/// The entries of a layer, in the order of its archive.
fn one_layer(table: &Table, layer: usize, blob: &Descriptor, path: &[u8]) -> Result<Vec<Item>, Failure> {
    let path =
        path.split(|byte| *byte == b'/').filter(|part| !part.is_empty()).collect::<Vec<_>>().join(&b'/');
    let is_below = |entry: &[u8]| {
        path.is_empty()
            || entry.strip_prefix(&*path).is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
    };
    let entries = table.entries.iter().filter(|entry| is_below(&entry.path));
    let items: Vec<_> = entries
        .map(|entry| {
            let status = entry.whiteout().map(|_| "whiteout");
            Item::new(&entry.path, entry, layer, &blob.digest, None).having(status)
        })
        .collect();
    if items.is_empty() && !path.is_empty() {
        return Err(Failure::new(format_args!("layer {} has no {}", layer + 1, absolute(&path))));
    }
    Ok(items)
}

/// All entries of all layers, by their paths, the newest first.
fn everything(looked: &Looked, tables: &[&Table], merged: &Merged<'_>, path: &[u8]) -> Vec<Item> {
    let fates = fates(tables, merged);
    let mut items = Vec::new();
    for (layer, table) in tables.iter().enumerate() {
        let digest = &looked.inside.layers()[layer].digest;
        for (entry, fate) in table.entries.iter().zip(&fates[layer]) {
            let status = match fate {
                Fate::Present => "present",
                Fate::Overwritten => "overwritten",
                Fate::Deleted => "deleted",
                Fate::Whiteout => "whiteout",
            };
            let item = Item::new(&entry.path, entry, layer, digest, None);
            items.push((entry.path.clone(), item.having(Some(status))));
        }
    }
    let prefix =
        path.split(|byte| *byte == b'/').filter(|part| !part.is_empty()).collect::<Vec<_>>().join(&b'/');
    items.retain(|(path, _)| {
        prefix.is_empty()
            || path.strip_prefix(&*prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
    });
    let parts = |path: &[u8]| path.split(|byte| *byte == b'/').map(<[u8]>::to_vec).collect::<Vec<_>>();
    items.sort_by_cached_key(|(path, item)| (parts(path), std::cmp::Reverse(item.layer)));
    items.into_iter().map(|(_, item)| item).collect()
}

fn print(context: &Context, args: &Args, items: &[Item]) -> Result<(), Failure> {
    if args.output.wants_json() {
        return args.output.print(&context.ui, &items);
    }
    let width = items.iter().map(|item| item.size.to_string().len()).max().unwrap_or_default();
    let mut text = String::new();
    for item in items {
        let mark = match item.status {
            _ if !args.all && args.layer.is_none() => "",
            Some("deleted") => "- ",
            Some("overwritten") => "~ ",
            Some("whiteout") => "x ",
            _ => "  ",
        };
        let line = if args.long { item.long(width) } else { shown(item.path.as_bytes()) };
        // Writing to a string does not fail.
        let _ = writeln!(text, "{mark}{line}");
    }
    context.ui.print(text.as_bytes())
}

/// Items, parents before children, below a path, drawn.
fn tree(top: &str, items: &[Item], level: Option<usize>) -> String {
    let depth = |item: &Item| item.path.trim_end_matches('/').matches('/').count();
    let above = if top == "/" { 0 } else { top.matches('/').count() };
    let items: Vec<(usize, &Item)> = items
        .iter()
        .map(|item| (depth(item).saturating_sub(above), item))
        .filter(|(depth, _)| *depth > 0 && level.is_none_or(|level| *depth <= level))
        .collect();
    // Whether one of the same level comes before the level ends: told from behind.
    let mut more: Vec<bool> = Vec::new();
    let mut lasts = vec![false; items.len()];
    for (index, (depth, _)) in items.iter().enumerate().rev() {
        more.truncate(*depth);
        more.resize(*depth, false);
        lasts[index] = !std::mem::replace(&mut more[depth - 1], true);
    }
    let mut text = format!("{top}\n");
    let mut ended: Vec<bool> = Vec::new();
    for ((depth, item), last) in items.iter().zip(lasts) {
        ended.resize(*depth, false);
        ended[depth - 1] = last;
        for above in &ended[..depth - 1] {
            text.push_str(if *above { "    " } else { "│   " });
        }
        text.push_str(if last { "└── " } else { "├── " });
        let line = item.line();
        let parent = item.path.rfind('/').map_or(0, |slash| slash + 1);
        text.push_str(&line[shown(&item.path.as_bytes()[..parent]).len()..]);
        text.push('\n');
    }
    text
}
