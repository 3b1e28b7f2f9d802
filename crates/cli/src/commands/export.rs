use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use image::Export;
use local::{ArchiveFormat, ArchiveName};

use crate::amount::Size;
use crate::context::Context;
use crate::failure::Failure;
use crate::file::NewFile;
use crate::place::{Place, Source};
use crate::progress::Progress;

/// Write the merged file system of an image as a tar archive
///
/// Of an index, that of the image for linux/amd64 or --platform. The inflated layers wait in a temporary file in
/// $TMPDIR until all have proved right; nothing of a damaged image is written. `-` as IMAGE is an archive with one image
/// on standard input, as docker, crane and hoist write it: of docker's kind, or an OCI image layout, compressed or not.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The image or any other artifact; `-` is an archive on standard input
    #[arg(value_name = "IMAGE")]
    pub(crate) image: String,
    /// The archive; `-`, or nothing, is standard output
    #[arg(value_name = "TARBALL", default_value = "-", hide_default_value = true)]
    pub(crate) tarball: String,
    /// The most that the inflated layers may take of temporary space, such as 20G (+)
    #[arg(long, value_name = "SIZE", default_value_t = Size(Export::DEFAULT_SPOOL_LIMIT))]
    pub(crate) spool_limit: Size,
}

pub(crate) async fn run(context: &Context, args: Args) -> Result<(), Failure> {
    if args.tarball != "-" && !args.tarball.is_empty() {
        let file = NewFile::at(Path::new(&args.tarball))?;
        write(context, &args, file.writer()?).await?;
        return file.keep();
    }
    let out = context.ui.writer()?;
    let outcome = write(context, &args, out).await;
    if matches!(outcome, Err(Failure::Error { .. })) {
        // Nothing at all would be a whole, empty archive to some readers: this is a header that breaks off. If that
        // cannot be written either, there is nobody left to mislead.
        let _ = context.ui.print(&[b'!'; 100]);
    }
    outcome
}

async fn write(context: &Context, args: &Args, out: Box<dyn Write + Send>) -> Result<(), Failure> {
    let place = if args.image == "-" {
        // A layout is read as what it is in an archive of docker's kind too.
        Place::Archive(ArchiveName::new(ArchiveFormat::Docker, "-".to_owned(), None))
    } else {
        context.place(&args.image)?
    };
    let Source { store, selector, .. } = Source::open(place, context).await?;
    let platform = context.settings.platform_or_default();
    let manifest = transfer::select(&*store, &selector, &platform).await?;
    let progress = Arc::new(Progress::read(context.ui.clone()));
    let export = Export {
        store,
        observer: Arc::clone(&progress) as _,
        spool_folder: std::env::temp_dir(),
        spool_limit: args.spool_limit.0,
    };
    let outcome = image::export(export, &manifest, out).await;
    progress.end(outcome.is_ok());
    Ok(outcome?)
}
