mod document;
mod text;

use std::io::{BufWriter, Write};
use std::sync::Arc;

use image::Diff;
use image::diff::{Difference, Side};
use oci::Platform;

use crate::context::Context;
use crate::failure::Failure;
use crate::looking::{self, Looked, Reading};
use crate::output::Output;
use crate::place::{Place, Source};
use crate::progress::Progress;
use crate::settings::PlatformChoice;

/// Show what is different between two images, without pulling them (+)
///
/// Configuration, layers and what a host that has A downloads for B, files, rights to run as somebody else, packages of dpkg and apk: `+` is
/// in B alone, `-` in A alone, `~` in both but not the same. A and B may be anywhere; of an index, the image for linux/amd64 or --platform,
/// which given twice is A's and B's.
///
/// Layers that both have at the bottom are not downloaded. What those above put or hide there is marked `?` where that leaves open what the
/// other image has; --complete reads them, once. What was looked into before is known, and so is what is on this machine: then no `?` is
/// left.
#[derive(Debug, clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
pub(crate) struct Args {
    /// The one image
    #[arg(value_name = "A")]
    pub(crate) a: String,
    /// The other one
    #[arg(value_name = "B")]
    pub(crate) b: String,
    /// Compare files at this path and below it alone
    #[arg(value_name = "PATH")]
    pub(crate) path: Option<String>,
    /// Compare files alone, at this path and below it; `/` for all
    #[arg(long, value_name = "PATH", conflicts_with = "path")]
    pub(crate) files_only: Option<String>,
    /// Read the layers that both have, too
    #[arg(long)]
    pub(crate) complete: bool,
    /// Let a file count as the same if its time alone is another
    #[arg(long)]
    pub(crate) ignore_times: bool,
    /// Print counts and bytes only
    #[arg(long)]
    pub(crate) stat: bool,
    /// End with 1 if anything is different; what is marked `?` is then read where nothing else tells
    #[arg(long)]
    pub(crate) exit_code: bool,
    #[command(flatten)]
    pub(crate) reading: Reading,
    #[command(flatten)]
    pub(crate) output: Output,
}

pub(crate) async fn run(context: &Context, args: Args) -> Result<(), Failure> {
    let places = [context.place(&args.a)?, context.place(&args.b)?];
    let progress = Arc::new(Progress::read(context.ui.clone()));
    let (mut sides, mut names) = (Vec::new(), Vec::new());
    for (place, platform) in places.into_iter().zip(platforms(context)) {
        let is_near = !matches!(place, Place::Registry(_));
        let source = Source::open(place, context).await?;
        let place = source.place.clone();
        let opened =
            looking::open_source(context, source, &platform, args.reading, Arc::clone(&progress)).await;
        let Looked { store, manifest, inside, .. } = opened.inspect_err(|_| progress.end(false))?;
        names.push(place.named(&manifest.digest().into()));
        sides.push(Side { store, manifest, inside, is_near });
    }
    let path = args.files_only.as_ref().or(args.path.as_ref());
    let mut how = Diff {
        ignores_times: args.ignore_times,
        is_complete: args.complete,
        below: path.map(|path| path.as_bytes().to_vec()),
        files_only: args.files_only.is_some(),
    };
    let mut found = image::diff(&sides[0], &sides[1], &how).await;
    if args.exit_code && found.as_ref().is_ok_and(|found| !found.is_certain()) {
        how.is_complete = true;
        found = image::diff(&sides[0], &sides[1], &how).await;
    }
    progress.end(found.is_ok());
    let found = found?;
    if args.output.wants_json() {
        let document = document::Document::new(&names, &sides, &found, &how, args.stat);
        args.output.print(&context.ui, &document)?;
    } else {
        let mut out = BufWriter::new(context.ui.writer()?);
        let written = if args.stat {
            text::stat(&mut out, &found, &how)
        } else {
            text::all(&mut out, &names, &found, &how)
        };
        written.and_then(|()| out.flush()).map_err(|error| Failure::output(&error))?;
        if let Some(note) = note(&found) {
            context.ui.note(&note);
        }
    }
    if args.exit_code && !found.is_empty() { Err(Failure::Silent) } else { Ok(()) }
}

/// A's and B's platform.
fn platforms(context: &Context) -> [Platform; 2] {
    let settings = &context.settings;
    match settings.platforms.as_slice() {
        [PlatformChoice::One(a), PlatformChoice::One(b)] => [a.clone(), b.clone()],
        _ => [settings.platform_or_default(), settings.platform_or_default()],
    }
}

/// What is to be said of what was left open.
fn note(found: &Difference) -> Option<String> {
    let unclear = text::unclear(found);
    let packages: Vec<&str> = found.packages.unclear.iter().map(|manager| manager.name()).collect();
    let what = match (unclear, packages.is_empty()) {
        (0, true) => return None,
        (0, false) => format!("packages of {} were not compared", packages.join(" and ")),
        (_, true) => "what the other image has is not known where `?` stands".to_owned(),
        (_, false) => {
            format!(
                "what the other image has is not known where `?` stands, and packages of {} were not compared",
                packages.join(" and ")
            )
        }
    };
    let layers = match found.unread_layers {
        0 => return Some(format!("note: {what}")),
        1 => "a layer that both have was not read".to_owned(),
        count => format!("{count} layers that both have were not read"),
    };
    let size = indicatif::HumanBytes(found.unread_bytes);
    Some(format!("note: {what}: {layers} ({size}); --complete reads what is missing"))
}
