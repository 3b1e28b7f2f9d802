use std::fmt::Write;
use std::sync::Arc;

use image::Validation;
use image::validate::Report;
use indicatif::HumanBytes;
use serde::Serialize;

use crate::context::Context;
use crate::failure::Failure;
use crate::output::Output;
use crate::progress::Progress;

/// Check that an image is complete and is what it says
///
/// Follows all manifests, of all platforms unless --platform names one, and reads every blob once: digests, sizes, the
/// config against the layers, compression and archives. Prints `PASS: REF`, or `FAIL: REF:` and what is wrong, further
/// findings behind it; ends with 1 if anything is wrong.
#[derive(Debug, clap::Args)]
#[command(group(clap::ArgGroup::new("what").required(true).args(["image", "remote"])))]
pub(crate) struct Args {
    /// The image or any other artifact (+)
    #[arg(value_name = "IMAGE")]
    image: Option<String>,
    /// The image or any other artifact
    #[arg(long, value_name = "IMAGE")]
    remote: Option<String>,
    /// Do not read layers: only ask whether they are there, and how long they are
    #[arg(long)]
    fast: bool,
    #[command(flatten)]
    output: Output,
}

/// The result as JSON.
#[derive(Serialize)]
struct Document<'a> {
    reference: String,
    valid: bool,
    fast: bool,
    #[serde(flatten)]
    report: &'a Report,
}

pub(crate) async fn run(context: &Context, args: Args) -> Result<(), Failure> {
    // The parser demands one of them.
    let image = args.image.or(args.remote).unwrap_or_default();
    // What a cache has says nothing of what is there.
    let source = context.without_cache().open(&image).await?;
    let progress = Arc::new(Progress::read(context.ui.clone()));
    let mut validation = Validation::new(Arc::clone(&source.store), Arc::clone(&progress) as _);
    validation.fast = args.fast;
    let report = image::validate(validation, &source.selector, context.settings.platform()).await;
    progress.end(report.is_ok());
    let report = report?;
    if args.output.wants_json() {
        let (reference, valid) = (source.name(), report.is_valid());
        args.output.print(&context.ui, &Document { reference, valid, fast: args.fast, report: &report })?;
    } else {
        context.ui.print(text(&image, &report).as_bytes())?;
        for note in report.notes() {
            context.ui.note(&format!("note: {note}"));
        }
        if report.images.len() > 1 {
            context.ui.note(&summary(&report));
        }
    }
    match report.errors().count() {
        0 => Ok(()),
        1 => Err(Failure::new(format_args!("{image} is not valid"))),
        count => Err(Failure::new(format_args!("{image} is not valid, for {count} reasons"))),
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
