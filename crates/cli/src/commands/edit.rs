use std::sync::Arc;

use image::{Append, Edited, Export, ImageFile, Overlay, ReplaceConfig, ReplaceManifest};
use oci::{Manifest, MediaType};

use crate::change::{self, Compress, Delivery, Target, Time};
use crate::context::Context;
use crate::editor;
use crate::failure::Failure;
use crate::place::Source;
use crate::progress::Progress;

/// Edit the configuration, the manifest or a file of an image
///
/// On a terminal in $EDITOR; else what comes through standard input takes the place of what is there. Of an index, the image for
/// linux/amd64 or --platform is edited, and the index with it; `manifest` edits the index itself unless --platform is given.
#[derive(Debug, clap::Args)]
#[command(arg_required_else_help = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Config(Config),
    Manifest(EditManifest),
    Fs(Fs),
}

/// Edit the configuration
#[derive(Debug, clap::Args)]
struct Config {
    /// The image
    #[arg(value_name = "IMAGE")]
    image: String,
    #[command(flatten)]
    target: Target,
}

/// Edit the manifest
#[derive(Debug, clap::Args)]
struct EditManifest {
    /// The image or any other artifact
    #[arg(value_name = "IMAGE")]
    image: String,
    /// The media type that it is sent as; without it, the one that it names, or the one that it had
    #[arg(short, long, value_name = "TYPE")]
    media_type: Option<String>,
    #[command(flatten)]
    target: Target,
}

/// Edit a file, in a layer of its own
///
/// A file that is new can be read and executed by all.
#[derive(Debug, clap::Args)]
struct Fs {
    /// The image
    #[arg(value_name = "IMAGE")]
    image: String,
    /// The path of the file in the image
    #[arg(short, long, value_name = "PATH")]
    filename: String,
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    time: Time,
    #[command(flatten)]
    compress: Compress,
}

pub(crate) async fn run(context: &Context, args: Args) -> Result<(), Failure> {
    match args.command {
        Command::Config(args) => config(context, args).await,
        Command::Manifest(args) => manifest(context, args).await,
        Command::Fs(args) => file(context, args).await,
    }
}

async fn config(context: &Context, args: Config) -> Result<(), Failure> {
    let source = change::open(context, &args.image, args.target.tag.as_deref()).await?;
    let root = source.store.manifest(&source.selector).await?;
    let platform = context.settings.platform_or_default();
    let image = transfer::choose(&*source.store, &source.selector, root.clone(), &platform).await?;
    let old = image::config(&*source.store, &image).await?;
    let new = editor::document("config.json", &old).await?;
    let edit = ReplaceConfig(new);
    let edited = image::edit(Arc::clone(&source.store), root, Some(&platform), &edit).await?;
    send(context, &source, edited, &args.image, &args.target).await
}

async fn manifest(context: &Context, args: EditManifest) -> Result<(), Failure> {
    let source = change::open(context, &args.image, args.target.tag.as_deref()).await?;
    let root = source.store.manifest(&source.selector).await?;
    let media_type = args.media_type.as_deref().map(MediaType::new);
    let edited = if let Some(platform) = context.settings.platform() {
        let image = transfer::choose(&*source.store, &source.selector, root.clone(), platform).await?;
        let new = editor::document("manifest.json", image.raw()).await?;
        let edit = ReplaceManifest(new, media_type);
        image::edit(Arc::clone(&source.store), root, Some(platform), &edit).await?
    } else {
        let new = editor::document("manifest.json", root.raw()).await?;
        let media_type = media_type.or_else(|| named(&new)).unwrap_or_else(|| root.media_type().clone());
        let root = Manifest::new(new, Some(media_type)).map_err(Failure::new)?;
        let mut store = Overlay::over(Arc::clone(&source.store));
        store.add_manifest(root.clone());
        Edited { store, root, images: 1, notes: Vec::new() }
    };
    send(context, &source, edited, &args.image, &args.target).await
}

/// The media type that a document names.
fn named(document: &[u8]) -> Option<MediaType> {
    let document = oci::json::Object::parse(document).ok()?;
    document.read::<MediaType>("mediaType").ok().flatten()
}

async fn file(context: &Context, args: Fs) -> Result<(), Failure> {
    let source = change::open(context, &args.image, args.target.tag.as_deref()).await?;
    let root = source.store.manifest(&source.selector).await?;
    let platform = context.settings.platform_or_default();
    let image = transfer::choose(&*source.store, &source.selector, root.clone(), &platform).await?;
    let progress = Arc::new(Progress::read(context.ui.clone()));
    let export = Export {
        store: Arc::clone(&source.store),
        observer: Arc::clone(&progress) as _,
        spool_folder: std::env::temp_dir(),
        spool_limit: Export::DEFAULT_SPOOL_LIMIT,
    };
    let found = ImageFile::find(export, &image, &args.filename).await;
    progress.end(found.is_ok());
    let name = args.filename.rsplit('/').next().unwrap_or_default();
    let new = match found? {
        Some(old) => {
            let new = editor::file(name, Some(&old.content)).await?;
            ImageFile { content: new, ..old }
        }
        None => ImageFile::new(&args.filename, editor::file(name, None).await?),
    };
    let append = Append {
        layers: vec![new.layer(args.compress.packing()).await?],
        created: args.time.created(context)?,
        ..Append::by("hoist edit fs")
    };
    let edited = image::edit(Arc::clone(&source.store), root, Some(&platform), &append).await?;
    send(context, &source, edited, &args.image, &args.target).await
}

async fn send(
    context: &Context,
    source: &Source,
    edited: Edited,
    image: &str,
    target: &Target,
) -> Result<(), Failure> {
    let delivery = Delivery {
        edited,
        from: vec![&source.place],
        to: target.tag.as_deref().unwrap_or(image),
        own: target.tag.is_none().then(|| source.selector.clone()),
        by_digest: false,
        before: None,
        care: target.care,
    };
    delivery.send_by_name(context).await
}
