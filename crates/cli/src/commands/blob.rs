use futures_util::TryStreamExt;

use crate::context::Context;
use crate::failure::Failure;
use crate::place;

/// Print a blob of a repository
///
/// The digest is checked while the bytes pass; the last ones are held back until it has proved right.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The blob, as REPOSITORY@DIGEST
    #[arg(value_name = "BLOB")]
    pub(crate) blob: String,
}

pub(crate) async fn run(context: &Context, args: Args) -> Result<(), Failure> {
    let place = context.place(&args.blob)?;
    let Some(digest) = place.digest() else {
        return Err(Failure::new(format_args!("a blob is named by its digest: {} has none", args.blob))
            .hint("write REPOSITORY@sha256:…, as `hoist manifest` shows it"));
    };
    let store = place::store(&place, context).await?;
    let blob = store.resolve_blob(&digest).await?;
    let mut bytes = store::verified(store.read(&blob, 0..blob.size).await?, &blob);
    while let Some(piece) = bytes.try_next().await? {
        context.ui.print(&piece)?;
    }
    Ok(())
}
