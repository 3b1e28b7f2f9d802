use std::fmt::Write;
use std::sync::Arc;

use image::Validation;
use image::validate::Report;
use indicatif::HumanBytes;
use local::{ArchiveFormat, ArchiveName};
use serde::Serialize;

use crate::context::Context;
use crate::failure::Failure;
use crate::output::Output;
use crate::place::{Place, Source};
use crate::progress::Progress;

/// Check that an image is complete and is what it says
///
/// Follows all manifests, of all platforms unless --platform names one, and reads every blob once: digests, sizes, the
/// config against the layers, compression and archives. Prints `PASS: REF`, or `FAIL: REF:` and what is wrong, further
/// findings behind it; ends with 1 if anything is wrong. With --tarball and an image, both are checked; --json is an array
/// then.
#[derive(Debug, clap::Args)]
#[command(group(clap::ArgGroup::new("what").required(true).multiple(true).args(["image", "remote", "tarball"])))]
pub(crate) struct Args {
    /// The image or any other artifact (+)
    #[arg(value_name = "IMAGE", conflicts_with = "remote")]
    image: Option<String>,
    /// The image or any other artifact
    #[arg(long, value_name = "IMAGE")]
    remote: Option<String>,
    /// An archive with one image, as `docker save`, `crane pull` and hoist write it
    #[arg(long, value_name = "PATH")]
    tarball: Option<String>,
    /// Do not read layers: only ask whether they are there, and how long they are
    #[arg(long)]
    fast: bool,
    #[command(flatten)]
    output: Output,
}

/// What was found out of an image.
struct Checked {
    /// As it was typed.
    typed: String,
    reference: String,
    report: Report,
}

/// The result as JSON.
#[derive(Serialize)]
struct Document<'a> {
    reference: &'a str,
    valid: bool,
    fast: bool,
    #[serde(flatten)]
    report: &'a Report,
}

pub(crate) async fn run(context: &Context, args: Args) -> Result<(), Failure> {
    let (mut all, json) = (Vec::new(), args.output.wants_json());
    let mut places = Vec::new();
    if let Some(path) = args.tarball {
        let name = ArchiveName::new(ArchiveFormat::Docker, path.clone(), None);
        places.push((path, Place::Archive(name)));
    }
    if let Some(image) = args.image.or(args.remote) {
        let place = context.place(&image)?;
        places.push((image, place));
    }
    for (typed, place) in places {
        let checked = check(context, typed, place, args.fast).await?;
        if !json {
            tell(context, &checked)?;
        }
        all.push(checked);
    }
    if json {
        let documents: Vec<Document<'_>> = all.iter().map(|checked| checked.document(args.fast)).collect();
        match documents.as_slice() {
            [only] => args.output.print(&context.ui, only)?,
            both => args.output.print(&context.ui, &both)?,
        }
    }
    let wrong: Vec<&Checked> = all.iter().filter(|checked| !checked.report.is_valid()).collect();
    let names = wrong.iter().map(|checked| checked.typed.as_str()).collect::<Vec<_>>().join(" and ");
    let verb = if wrong.len() > 1 { "are" } else { "is" };
    match wrong.iter().map(|checked| checked.report.errors().count()).sum() {
        0 => Ok(()),
        1 => Err(Failure::new(format_args!("{names} {verb} not valid"))),
        count => Err(Failure::new(format_args!("{names} {verb} not valid, for {count} reasons"))),
    }
}

async fn check(context: &Context, typed: String, place: Place, fast: bool) -> Result<Checked, Failure> {
    // What a cache has says nothing of what is there.
    let source = Source::open(place, &context.without_cache()).await?;
    let progress = Arc::new(Progress::read(context.ui.clone()));
    let mut validation = Validation::new(Arc::clone(&source.store), Arc::clone(&progress) as _);
    validation.fast = fast;
    let report = image::validate(validation, &source.selector, context.settings.platform()).await;
    progress.end(report.is_ok());
    Ok(Checked { typed, reference: source.name(), report: report? })
}

fn tell(context: &Context, Checked { typed, report, .. }: &Checked) -> Result<(), Failure> {
    context.ui.print(text(typed, report).as_bytes())?;
    for note in report.notes() {
        context.ui.note(&format!("note: {note}"));
    }
    if report.images.len() > 1 {
        context.ui.note(&summary(report));
    }
    Ok(())
}

impl Checked {
    fn document(&self, fast: bool) -> Document<'_> {
        let Self { reference, report, .. } = self;
        Document { reference, valid: report.is_valid(), fast, report }
    }
}

/// crane's line, and one for each further finding.
fn text(image: &str, report: &Report) -> String {
    let mut errors = report.errors();
    let Some(first) = errors.next() else { return format!("PASS: {image}\n") };
    errors.fold(format!("FAIL: {image}: {first}\n"), |mut text, finding| {
        // Writing to a string does not fail.
        let _ = writeln!(text, "{finding}");
        text
    })
}

/// What was checked.
fn summary(report: &Report) -> String {
    format!(
        "checked {} manifests, {} blobs, {} read: {}",
        report.manifests,
        report.blobs,
        HumanBytes(report.bytes),
        report.images.join(", ")
    )
}
