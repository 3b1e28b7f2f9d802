use crate::context::Context;
use crate::failure::Failure;
use crate::output::Filter;
use crate::place::Source;

/// Print the manifest of an image
///
/// Byte for byte as the registry has it; on a terminal in colour. With --platform, that of the image for it.
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
    let manifest = match context.settings.platform() {
        None => store.manifest(&selector).await?,
        Some(platform) => transfer::select(&*store, &selector, platform).await?,
    };
    args.filter.print(&context.ui, manifest.raw())
}
