use oci::Descriptor;
use serde::Serialize;

use crate::context::Context;
use crate::failure::Failure;
use crate::output::Output;
use crate::place::Source;

/// Print the digest of an image
///
/// With --platform, that of the image for it: what a host of that platform pulls.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The image or any other artifact
    #[arg(value_name = "IMAGE")]
    pub(crate) image: String,
    /// Print the full reference, REPOSITORY@DIGEST
    #[arg(long)]
    pub(crate) full_ref: bool,
    #[command(flatten)]
    pub(crate) output: Output,
}

/// The image's descriptor, with the platform that was asked for, and the reference that means nothing else.
#[derive(Serialize)]
struct Document {
    reference: String,
    #[serde(flatten)]
    image: Descriptor,
}

pub(crate) async fn run(context: &Context, args: Args) -> Result<(), Failure> {
    let Source { store, selector, place } = context.open(&args.image).await?;
    let image = match context.settings.platform() {
        Some(platform) => {
            let manifest = transfer::select(&*store, &selector, platform).await?;
            Descriptor { platform: Some(platform.clone()), ..manifest.descriptor() }
        }
        None => store.resolve(&selector).await?,
    };
    let named = place.named(&image.digest.into());
    if args.output.wants_json() {
        return args.output.print(&context.ui, &Document { reference: named, image });
    }
    if args.full_ref {
        return context.ui.println(&named);
    }
    context.ui.println(&image.digest.to_string())
}
