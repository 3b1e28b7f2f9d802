use std::fmt::Write;
use std::sync::Arc;

use image::Addition;
use oci::{Index, Manifest, Platform, Selector, View};

use crate::change::{self, Delivery, Target};
use crate::context::Context;
use crate::failure::Failure;
use crate::place::{Place, Source};
use crate::settings::PlatformChoice;

/// List, extend and filter an index
#[derive(Debug, clap::Args)]
#[command(arg_required_else_help = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Append(Append),
    Filter(Filter),
    List(List),
}

/// Add manifests to an index, or make an index of them
///
/// An image gets the platform that its configuration tells. What the index lists already is not listed again.
#[derive(Debug, clap::Args)]
struct Append {
    /// The index to extend; without it, an empty one
    #[arg(value_name = "INDEX")]
    index: Option<String>,
    /// Images and indexes to add
    #[arg(value_name = "IMAGE")]
    images: Vec<String>,
    /// The same, as a flag
    #[arg(short, long, value_name = "IMAGE")]
    manifest: Vec<String>,
    /// Add what an index lists rather than the index itself
    #[arg(long, num_args = 0..=1, require_equals = true, default_value_t = true, default_missing_value = "true", action = clap::ArgAction::Set)]
    flatten: bool,
    /// Without a base, make a list of docker's type rather than an OCI index
    #[arg(long)]
    docker_empty_base: bool,
    #[command(flatten)]
    target: Target,
}

/// Keep only some platforms of an index
///
/// --platform may be given several times. Attestations stay with their images; other entries without a platform go.
#[derive(Debug, clap::Args)]
struct Filter {
    /// The index
    #[arg(value_name = "INDEX")]
    index: String,
    #[command(flatten)]
    target: Target,
}

/// List what an index has, one line each
#[derive(Debug, clap::Args)]
struct List {
    /// The index
    #[arg(value_name = "INDEX")]
    index: String,
    #[command(flatten)]
    output: crate::output::Output,
}

pub(crate) async fn run(context: &Context, args: Args) -> Result<(), Failure> {
    match args.command {
        Command::Append(args) => append(context, args).await,
        Command::Filter(args) => filter(context, args).await,
        Command::List(args) => list(context, args).await,
    }
}

async fn append(context: &Context, args: Append) -> Result<(), Failure> {
    let manifests = crate::words::all(&args.manifest);
    let manifests = manifests.map_err(|problem| Failure::new(format_args!("--manifest: {problem}")))?;
    let (store, root, own, mut from) = if let Some(index) = &args.index {
        let Source { store, selector, place } =
            change::open(context, index, args.target.tag.as_deref()).await?;
        let root = store.manifest(&selector).await?;
        index_view(index, &root)?;
        (store, root, Some(selector), vec![place])
    } else {
        if args.target.tag.is_none() {
            return Err(Failure::new("there is neither an index to extend nor a name for a new one")
                .hint("name the index first, or write -t for the new one"));
        }
        context.ui.log("base unspecified, using empty index");
        let (store, root) = image::empty_index(args.docker_empty_base)?;
        (store, root, None, Vec::new())
    };
    let mut additions = Vec::new();
    for image in args.images.iter().chain(&manifests) {
        let Source { store, selector, place } = context.open(image).await?;
        let manifest = match context.settings.platform() {
            Some(platform) => transfer::select(&*store, &selector, platform).await?,
            None => store.manifest(&selector).await?,
        };
        additions.push(Addition { store, manifest });
        from.push(place);
    }
    let edited = image::append_to_index(store, &root, additions, args.flatten).await?;
    send(context, edited, &from, (args.index.as_deref(), own), &args.target).await
}

async fn filter(context: &Context, args: Filter) -> Result<(), Failure> {
    let Source { store, selector, place } =
        change::open(context, &args.index, args.target.tag.as_deref()).await?;
    let root = store.manifest(&selector).await?;
    index_view(&args.index, &root)?;
    let wanted = &context.settings.platforms;
    let keep = |platform: &Platform| {
        wanted.is_empty()
            || wanted.iter().any(|wanted| match wanted {
                PlatformChoice::All => true,
                PlatformChoice::One(wanted) => wanted.accepts(platform),
            })
    };
    let edited = image::filter_index(Arc::clone(&store), &root, keep).map_err(|error| match error {
        image::Error::NothingToChange(_) => nothing_left(&args.index, &root),
        error => error.into(),
    })?;
    send(context, edited, &[place], (Some(&args.index), Some(selector)), &args.target).await
}

/// That a filter would leave nothing.
fn nothing_left(index: &str, root: &Manifest) -> Failure {
    let failure = Failure::new(format_args!("{index} has no image for any of these platforms"));
    let Ok(View::Index(view)) = root.view() else { return failure };
    let mut offered: Vec<String> =
        view.manifests.iter().filter_map(|entry| entry.platform.as_ref()).map(ToString::to_string).collect();
    offered.dedup();
    failure.hint(format!("it has {}", offered.join(", ")))
}

async fn send(
    context: &Context,
    edited: image::Edited,
    from: &[Place],
    (index, own): (Option<&str>, Option<Selector>),
    target: &Target,
) -> Result<(), Failure> {
    let delivery = Delivery {
        edited,
        from: from.iter().collect(),
        // One of them is there.
        to: target.tag.as_deref().or(index).unwrap_or_default(),
        own: own.filter(|_| target.tag.is_none()),
        by_digest: false,
        before: None,
        care: target.care,
    };
    delivery.send(context).await
}

async fn list(context: &Context, args: List) -> Result<(), Failure> {
    let source = context.open(&args.index).await?;
    let root = source.store.manifest(&source.selector).await?;
    let index = index_view(&args.index, &root)?;
    if args.output.wants_json() {
        return args.output.print(&context.ui, &index.manifests);
    }
    let mut text = row("Digest", "MediaType", "Platform");
    for entry in &index.manifests {
        let platform = entry.platform.as_ref().map_or("-".to_owned(), ToString::to_string);
        text += &row(&entry.digest.to_string(), entry.media_type.as_str(), &platform);
    }
    context.ui.print(text.as_bytes())
}

/// What an index lists; `name` is what was typed for it.
fn index_view(name: &str, root: &Manifest) -> Result<Index, Failure> {
    match root.view().map_err(Failure::new)? {
        View::Index(index) => Ok(index),
        View::Image(_) => Err(Failure::new(format_args!("{name} is one image, not an index"))
            .hint("`hoist index append -m IMAGE -t NAME` makes an index of it")),
    }
}

/// A line in crane's columns.
fn row(digest: &str, media_type: &str, platform: &str) -> String {
    let mut row = String::new();
    // Writing to a string does not fail.
    let _ = writeln!(row, "{digest:<70} {media_type:<20} {platform}");
    row
}
