use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use image::{Append, Created, Files, LayerContent, NewLayer};

use super::mutate;
use crate::change::{Care, Compress, Delivery, Time};
use crate::context::Context;
use crate::failure::Failure;
use crate::place::{Place, Source};
use crate::words;

/// Put layers on top of an image, or of nothing
///
/// A layer is a tar archive, plain or compressed, or `-` for one on standard input. Directories and files of this machine become
/// layers too: in the order of their names, owned by root, from 1970, unless something else is said, so that equal files make
/// equal layers. Of a base that is an index, the image for linux/amd64 or --platform is taken; `--platform all` puts the layers on
/// every image of it.
#[derive(Debug, clap::Args)]
#[command(group(clap::ArgGroup::new("layers").required(true).multiple(true).args(["new_layer", "add"])))]
pub(crate) struct Args {
    /// Layers to put on top: archives, or directories (+) whose content goes to `/`
    #[arg(short = 'f', long = "new_layer", value_name = "FILE", alias = "new-layer")]
    pub(crate) new_layer: Vec<String>,
    /// Files and directories to put on top, behind the others, each a layer: SRC:DEST, or SRC for `/` (+)
    #[arg(long, value_name = "SRC[:DEST]")]
    pub(crate) add: Vec<String>,
    /// Who owns the files of directories and of --add: UID[:GID] in numbers (+)
    #[arg(long, value_name = "UID[:GID]", default_value = "0:0")]
    pub(crate) chown: Owner,
    /// The permissions of these files, in octal; directories get execution where there is reading (+)
    #[arg(long, value_name = "MODE")]
    pub(crate) mode: Option<Mode>,
    /// The name for the result
    #[arg(short = 't', long = "new_tag", value_name = "IMAGE", alias = "new-tag")]
    pub(crate) new_tag: String,
    /// The image to put them on
    #[arg(short, long, value_name = "IMAGE")]
    pub(crate) base: Option<String>,
    /// A file for the result, an archive for docker; then nothing goes to a registry
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// Write down in annotations what the image is built on, so that it can be rebased
    #[arg(long)]
    pub(crate) set_base_image_annotations: bool,
    /// Without a base, make an image of OCI's types rather than docker's
    #[arg(long, conflicts_with = "base")]
    pub(crate) oci_empty_base: bool,
    #[command(flatten)]
    pub(crate) time: Time,
    #[command(flatten)]
    pub(crate) compress: Compress,
    #[command(flatten)]
    pub(crate) care: Care,
}

/// `--chown`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Owner(u64, u64);

impl FromStr for Owner {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (user, group) = text.split_once(':').unwrap_or((text, text));
        match (user.parse(), group.parse()) {
            (Ok(user), Ok(group)) => Ok(Self(user, group)),
            _ => Err("write it in numbers, as 1000 or 1000:1000"),
        }
    }
}

/// `--mode`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mode(u32);

impl FromStr for Mode {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mode = u32::from_str_radix(text, 8).ok().filter(|mode| *mode <= 0o7777);
        mode.map(Self).ok_or("write it in octal, as 755 or 0644")
    }
}

pub(crate) async fn run(context: &Context, args: Args) -> Result<(), Failure> {
    // What is wrong with the name is known before a layer is made.
    context.place(&args.new_tag)?;
    let created = args.time.created(context)?;
    let base = match &args.base {
        Some(base) => Some(context.open(base).await?),
        None => None,
    };
    let append = Append {
        layers: layers(context, &args, created).await?,
        annotate: args.set_base_image_annotations && base.is_some(),
        base_name: base.as_ref().and_then(|base| match &base.place {
            Place::Registry(reference) if reference.digest().is_none() => Some(reference.to_string()),
            _ => None,
        }),
        created,
        ..Append::by("hoist append")
    };
    let (store, root) = match &base {
        Some(Source { store, selector, .. }) if context.settings.all_platforms() => {
            (Arc::clone(store), store.manifest(selector).await?)
        }
        Some(Source { store, selector, .. }) => {
            let platform = context.settings.platform_or_default();
            (Arc::clone(store), transfer::select(&**store, selector, &platform).await?)
        }
        None => {
            context.ui.log("base unspecified, using empty image");
            image::empty(&context.settings.platform_or_default(), !args.oci_empty_base)?
        }
    };
    let edited = image::edit(store, root, None, &append).await?;
    let delivery = Delivery {
        edited,
        from: base.iter().map(|base| &base.place).collect(),
        to: &args.new_tag,
        own: None,
        by_digest: false,
        before: None,
        care: args.care,
    };
    match &args.output {
        Some(file) => delivery.save(context, file).await,
        None => delivery.send(context).await,
    }
}

async fn layers(context: &Context, args: &Args, created: Option<Created>) -> Result<Vec<NewLayer>, Failure> {
    let mut layers = Vec::new();
    let given = words::all(&args.new_layer);
    for path in given.map_err(|problem| Failure::new(format_args!("--new_layer: {problem}")))? {
        layers.push(if Path::new(&path).is_dir() {
            files(context, args, (&path, "/"), created).await?
        } else {
            mutate::layer(context, &path, args.compress).await?
        });
    }
    for word in &args.add {
        let (source, target) = word.rsplit_once(':').unwrap_or((word, "/"));
        layers.push(files(context, args, (source, target), created).await?);
    }
    Ok(layers)
}

async fn files(
    context: &Context,
    args: &Args,
    (source, target): (&str, &str),
    time: Option<Created>,
) -> Result<NewLayer, Failure> {
    let Owner(user, group) = args.chown;
    let files = Files {
        source: source.into(),
        target: target.to_owned(),
        owner: (user, group),
        mode: args.mode.map(|mode| mode.0),
        time,
    };
    args.compress.layer(context, source, LayerContent::Files(files), None).await
}
