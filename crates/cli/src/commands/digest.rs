use oci::{Reference, Selector};
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

pub(crate) async fn run(context: &Context, args: Args) -> Result<(), Failure> {
    let (store, reference) = context.open(&args.image)?;
    let selector = reference.selector();
    let digest = match context.settings.platform.one() {
        Some(platform) => transfer::select(&store, &selector, platform).await?.digest(),
        None => store.resolve(&selector).await?.digest,
    };
    let named = Reference::new(reference.repository().clone(), Selector::Digest(digest));
    if args.output.wants_json() {
        let document = serde_json::json!({"reference": named.to_string(), "digest": digest.to_string()});
        return args.output.print(&context.ui, &document);
    }
    if args.full_ref {
        return context.ui.println(&named.to_string());
    }
    context.ui.println(&digest.to_string())
}
