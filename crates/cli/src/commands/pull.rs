use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::ValueEnum;
use image::{Export, LegacyImage};
use local::Layout;
use oci::Selector;
use store::Store;
use transfer::{Options, Transfer};

use crate::context::Context;
use crate::destination;
use crate::failure::{Failure, is_closed};
use crate::file::NewFile;
use crate::place::{Place, Source};
use crate::progress::Progress;

/// Pull images into a file, or into an OCI layout
///
/// As `tarball` and `legacy`, which docker loads, the images for linux/amd64 or --platform; as `oci`, all platforms unless --platform
/// names one. An image that is pulled into a layout again takes the place of the one that had its name.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The images, and then the file or directory that they go to; `-` is standard output
    // One of them may stand before a flag, and others behind it.
    #[arg(value_name = "IMAGE... PATH", num_args = 1.., required = true)]
    pub(crate) words: Vec<String>,
    /// What is written: an archive for docker, one for docker before 1.10, or an OCI layout
    #[arg(long, value_enum, default_value = "tarball", value_name = "FORMAT")]
    pub(crate) format: Format,
    /// Write the full name of each image into the layout, as crane does with this; hoist always does
    #[arg(long)]
    pub(crate) annotate_ref: bool,
    /// The same as --cache
    #[arg(short = 'c', value_name = "DIR", hide = true)]
    pub(crate) short_cache: Option<PathBuf>,
}

/// What is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    Tarball,
    Legacy,
    Oci,
}

pub(crate) async fn run(context: &Context, mut args: Args) -> Result<(), Failure> {
    let (Some(path), false) = (args.words.pop(), args.words.is_empty()) else {
        return Err(Failure::new("the following required arguments were not provided: <PATH>")
            .hint("the file or directory stands behind the images; `-` is standard output"));
    };
    let context = &match args.short_cache.take() {
        Some(cache) => context.with_cache(cache),
        None => context.clone(),
    };
    match args.format {
        Format::Tarball => tarball(context, &args.words, &path).await,
        Format::Legacy => legacy(context, &args.words, &path).await,
        Format::Oci => layout(context, &args, &path).await,
    }
}

async fn tarball(context: &Context, images: &[String], path: &str) -> Result<(), Failure> {
    let archive = destination::tarball(context, Path::new(path))?;
    let platform = context.settings.platform_or_default();
    for typed in images {
        let Source { store, selector, place } = context.open(typed).await?;
        let (repository, tag) = destination::docker_name(typed, &place)?;
        let image = transfer::select(&*store, &selector, &platform).await?;
        let name = format!("{repository}:{tag}");
        let archive = destination::add_image(&archive, &*store, &image, name).await?;
        // What a file lacks nobody loads.
        let options = Options { nondistributable: true, ..Options::default() };
        copy(context, store, Arc::new(archive), image.digest().into(), (typed, path), options).await?;
    }
    Ok(archive.finish().await?)
}

async fn legacy(context: &Context, images: &[String], path: &str) -> Result<(), Failure> {
    let platform = context.settings.platform_or_default();
    let progress = Arc::new(Progress::read(context.ui.clone()));
    let mut legacy = Vec::new();
    for typed in images {
        let Source { store, selector, place } = context.open(typed).await?;
        let name = destination::docker_name(typed, &place)?;
        let manifest = transfer::select(&*store, &selector, &platform).await?;
        let export = Arc::new(Export {
            store,
            observer: Arc::clone(&progress) as _,
            spool_folder: std::env::temp_dir(),
            spool_limit: Export::DEFAULT_SPOOL_LIMIT,
        });
        legacy.push(LegacyImage { export, manifest, name });
    }
    let file = match path {
        "-" => None,
        path => Some(NewFile::at(Path::new(path))?),
    };
    let out = file.as_ref().map_or_else(|| context.ui.writer(), NewFile::writer)?;
    let outcome = image::write_legacy(legacy, out).await;
    progress.end(outcome.is_ok());
    outcome?;
    file.map_or(Ok(()), NewFile::keep)
}

async fn layout(context: &Context, args: &Args, path: &str) -> Result<(), Failure> {
    let layout = Layout::create(path)?;
    let named = args.annotate_ref || !context.settings.crane;
    for typed in &args.words {
        let Source { store, selector, place } = context.open(typed).await?;
        let root = match context.settings.platform() {
            Some(platform) => transfer::select(&*store, &selector, platform).await?.digest(),
            None => store.resolve(&selector).await?.digest,
        };
        let mut layout = layout.clone().with_root(root);
        if let (true, Place::Registry(reference)) = (named, &place) {
            layout = layout.with_name(reference.to_string());
        }
        let options = Options { nondistributable: context.settings.nondistributable, ..Options::default() };
        copy(context, store, Arc::new(layout), root.into(), (typed, path), options).await?;
    }
    Ok(())
}

async fn copy(
    context: &Context,
    from: Arc<dyn Store>,
    to: Arc<dyn Store>,
    root: Selector,
    (typed, path): (&str, &str),
    options: Options,
) -> Result<(), Failure> {
    let progress = Arc::new(Progress::read(context.ui.clone()));
    let transfer = Transfer::new(from, to, options, Arc::clone(&progress) as _);
    match transfer.copy(&root, &root).await {
        Ok(copied) => {
            let bytes = indicatif::HumanBytes(copied.bytes);
            progress.finish(&format!("{typed}: {} blobs ({bytes}) to {path}", copied.moved));
            Ok(())
        }
        Err(error) if path == "-" && is_closed(&error) => Err(Failure::Closed),
        Err(error) => Err(error.into()),
    }
}
