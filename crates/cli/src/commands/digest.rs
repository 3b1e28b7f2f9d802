use oci::{Descriptor, Reference, Selector};
use serde::Serialize;
use store::Store;

use crate::context::Context;
use crate::failure::Failure;
use crate::output::Output;

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
    let (store, reference) = context.open(&args.image)?;
    let selector = reference.selector();
    let image = match context.settings.platform.one() {
        Some(platform) => {
            let manifest = transfer::select(&store, &selector, platform).await?;
            Descriptor { platform: Some(platform.clone()), ..manifest.descriptor() }
        }
        None => store.resolve(&selector).await?,
    };
    let named = Reference::new(reference.repository().clone(), Selector::Digest(image.digest));
    if args.output.wants_json() {
        return args.output.print(&context.ui, &Document { reference: named.to_string(), image });
    }
    if args.full_ref {
        return context.ui.println(&named.to_string());
    }
    context.ui.println(&image.digest.to_string())
}
