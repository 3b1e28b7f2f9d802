use crate::context::Context;
use crate::failure::Failure;
use crate::output::Filter;
use crate::place::Source;

/// Print the configuration of an image
///
/// Byte for byte as the registry has it; on a terminal in colour. Of an index, that of the image for linux/amd64 or
/// --platform.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The image or any other artifact
    #[arg(value_name = "IMAGE")]
    pub(crate) image: String,
    #[command(flatten)]
    pub(crate) filter: Filter,
}

pub(crate) async fn run(context: &Context, args: Args) -> Result<(), Failure> {
    let Source { store, selector, .. } = context.open(&args.image).await?;
    let platform = context.settings.platform_or_default();
    let manifest = transfer::select(&*store, &selector, &platform).await?;
    args.filter.print(&context.ui, &image::config(&*store, &manifest).await?)
}
