mod dry_run;
mod ends;

use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;

use local::ArchiveFormat;
use oci::Selector;
use store::Expected;
use transfer::{CopiedTags, Options, Transfer};

use crate::access::Sides;
use crate::amount::Rate;
use crate::context::Context;
use crate::failure::{Failure, is_closed};
use crate::output::Output;
use crate::place::Place;
use crate::progress::Progress;

use ends::Ends;

/// Copy an image from one place to another, with all platforms and equal digests
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The image or any other artifact; with --all-tags, a repository
    #[arg(value_name = "SRC")]
    pub(crate) source: String,
    /// Where it goes
    #[arg(value_name = "DST")]
    pub(crate) destination: String,
    /// Copy all tags of the repository
    #[arg(short, long)]
    pub(crate) all_tags: bool,
    /// Leave tags alone that exist at the destination
    #[arg(short, long)]
    pub(crate) no_clobber: bool,
    /// Write the tag only if it stands for this digest now, or with `none` only if it does not exist: looked at before
    /// anything moves, and again before the tag is written. Between the look and the write somebody else may come: most
    /// registries do not heed the condition that the write itself has (If-Match) (+)
    #[arg(long, value_name = "DIGEST", conflicts_with = "all_tags")]
    expect: Option<Expected>,
    /// The most that moves at once over one host; 0 leaves it to hoist, which finds out what a host takes
    #[arg(
        short,
        long,
        default_value = "0",
        value_name = "N",
        hide_default_value = true,
        allow_hyphen_values = true
    )]
    pub(crate) jobs: i64,
    /// The most bytes a second in each direction, such as 50M (+)
    #[arg(long, value_name = "RATE")]
    pub(crate) bwlimit: Option<Rate>,
    /// Show what would be done, and do nothing (+)
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) output: Output,
    #[command(flatten)]
    pub(crate) sides: Sides,
}

pub(crate) async fn run(context: &Context, args: Args) -> Result<(), Failure> {
    let (from, to) = (context.place(&args.source)?, context.place(&args.destination)?);
    if args.all_tags {
        for (place, typed) in [(&from, &args.source), (&to, &args.destination)] {
            if place.is_one_image() {
                return Err(Failure::new(format_args!(
                    "{typed} names one image; --all-tags copies a repository"
                ))
                .hint("leave out the tag"));
            }
        }
    }
    if args.no_clobber {
        leave_alone(&to)?;
    }
    if args.output.wants_json() && !args.dry_run {
        return Err(Failure::new("a copy has no result to print as JSON")
            .hint("--json and --jq are for --dry-run; --progress json tells what a copy does"));
    }
    let jobs = usize::try_from(args.jobs).ok().and_then(NonZeroUsize::new);
    let context = &jobs.map_or_else(|| context.clone(), |jobs| context.with_jobs(jobs));
    let (source, destination) = sides(context, &args.sides, &from, &to)?;
    let (contexts, places) = ([&source, &destination], [&from, &to]);
    let ends = if args.all_tags {
        Ends::open_all(contexts, places).await?
    } else {
        Ends::open(contexts, places).await?
    };
    if args.expect.is_some() {
        is_replaceable(&to, ends.image.as_ref())?;
    }
    let default = Options::default();
    let options = Options {
        platform: context.settings.platform().cloned(),
        no_clobber: args.no_clobber,
        expect: args.expect,
        nondistributable: context.settings.nondistributable,
        jobs: jobs.unwrap_or(default.jobs),
        bandwidth: args.bwlimit.map(|rate| rate.0),
        ..default
    };
    let full = ends.image.as_ref().map_or_else(|| to.repository(), |[_, name]| to.named(name));
    let typed = (full, args.destination.clone());
    let progress = Arc::new(Progress::copy(context.ui.clone(), typed));
    let transfer = Transfer::new(ends.source, ends.destination, options, Arc::clone(&progress) as _);
    if args.dry_run {
        let docker = is_for_docker(&to);
        let (ui, output, to) = (&context.ui, &args.output, &args.destination);
        return if let Some([from, name]) = &ends.image {
            let preview = transfer.preview(from, name).await?;
            progress.clear();
            if docker && preview.root.media_type.is_index() {
                return Err(Failure::new(format_args!(
                    "{} is an index, and docker loads one platform",
                    args.source
                ))
                .hint("say which with --platform"));
            }
            dry_run::print(ui, output, to, &preview)
        } else {
            let preview = transfer.preview_tags().await?;
            progress.clear();
            dry_run::print_tags(ui, output, to, &preview)
        };
    }
    progress.log(&format!("Copying from {} to {}", args.source, args.destination));
    match carry_out(&transfer, ends.image.as_ref()).await {
        Ok(summary) => progress.finish(&summary),
        // Whoever read the archive has seen enough.
        Err(error) if is_standard_output(&to) && is_closed(&error) => return Err(Failure::Closed),
        Err(error) => return Err(error.into()),
    }
    Ok(())
}

/// Copies, and sums up what was done.
async fn carry_out(transfer: &Transfer, image: Option<&[Selector; 2]>) -> Result<String, transfer::Error> {
    let (tags, moved, bytes, mounted, existed) = if let Some([from, to]) = image {
        let copied = transfer.copy(from, to).await?;
        (String::new(), copied.moved, copied.bytes, copied.mounted, copied.existed)
    } else {
        let copied = transfer.copy_tags().await?;
        let CopiedTags { copied: written, existed, skipped, .. } = copied;
        let tags = format!("{written} tags copied, {existed} were there, {skipped} skipped: ");
        (tags, copied.moved, copied.bytes, copied.mounted, copied.blobs_existed)
    };
    transfer.finish().await?;
    let bytes = indicatif::HumanBytes(bytes);
    Ok(format!("{tags}{moved} blobs moved ({bytes}), {mounted} mounted, {existed} were there"))
}

/// Refuses places that are written as a whole and are there already.
fn leave_alone(to: &Place) -> Result<(), Failure> {
    let there = match to {
        Place::Archive(name) => name.file() != Path::new("-") && name.file().exists(),
        Place::Directory(path) => Path::new(path).join("manifest.json").exists(),
        Place::Daemon(_) => {
            return Err(Failure::new("--no-clobber cannot tell what a docker daemon has")
                .hint("`docker image inspect NAME` does"));
        }
        Place::Registry(_) | Place::Layout(_) => false,
    };
    if there {
        return Err(Failure::new(format_args!(
            "{} is there, and --no-clobber leaves it alone",
            to.repository()
        ))
        .hint("it is written as a whole"));
    }
    Ok(())
}

/// Refuses what has no tag that could have changed.
fn is_replaceable(to: &Place, image: Option<&[Selector; 2]>) -> Result<(), Failure> {
    match (to, image) {
        (Place::Registry(_) | Place::Layout(_), Some([_, Selector::Tag(_)])) => Ok(()),
        (Place::Registry(_) | Place::Layout(_), _) => Err(Failure::new(format_args!(
            "{} is written without a tag, and --expect is about one",
            to.repository()
        ))
        .hint("name it: REPOSITORY:TAG, oci:DIR:TAG")),
        _ => Err(Failure::new(format_args!(
            "{} is written as a whole, and --expect is about a tag",
            to.repository()
        ))
        .hint("--no-clobber leaves alone what is there")),
    }
}

fn is_for_docker(place: &Place) -> bool {
    match place {
        Place::Archive(name) => name.format() == ArchiveFormat::Docker,
        place => matches!(place, Place::Daemon(_)),
    }
}

fn is_standard_output(place: &Place) -> bool {
    matches!(place, Place::Archive(name) if name.file() == Path::new("-"))
}

/// The contexts of both sides.
fn sides(context: &Context, sides: &Sides, from: &Place, to: &Place) -> Result<(Context, Context), Failure> {
    let (source, destination) = (context.side(&sides.source), context.side(&sides.destination));
    let (ours, theirs) = (&source.settings.access, &destination.settings.access);
    // One registry's password is no other registry's business.
    if let (Place::Registry(from), Place::Registry(to)) = (from, to)
        && from.repository().registry() != to.repository().registry()
        && context.settings.access.username.is_some()
        && ours.username == theirs.username
    {
        return Err(Failure::new(format_args!(
            "--username does not say whose it is: {} or {}",
            from.repository().registry(),
            to.repository().registry()
        ))
        .hint("write --src-username or --dst-username, and --src-password-file or the like"));
    }
    if ours.reads_stdin() && theirs.reads_stdin() && ours != theirs {
        return Err(Failure::new("standard input holds one password, not two")
            .hint("give one of them with --src-password-file or --dst-password-file"));
    }
    Ok((source, destination))
}
