use futures_util::TryStreamExt;
use oci::{Reference, Repository};
use store::Store;

use crate::context::Context;
use crate::failure::Failure;

/// List the tags in a repository
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The repository, such as `nginx` or `ghcr.io/org/app`
    #[arg(value_name = "REPO")]
    pub(crate) repository: String,
    /// Print full references, not tags alone
    #[arg(long)]
    pub(crate) full_ref: bool,
    /// Leave out tags that stand for digests (`sha256-…`: signatures and the like)
    #[arg(short = 'O', long)]
    pub(crate) omit_digest_tags: bool,
}

pub(crate) async fn run(context: &Context, args: Args) -> Result<(), Failure> {
    let repository: Repository = args.repository.parse()?;
    let store = context.store(&repository)?;
    let mut pages = store.tags();
    // Page by page: the first tags of a large repository are there at once.
    while let Some(page) = pages.try_next().await? {
        let mut lines = String::new();
        for tag in page {
            if args.omit_digest_tags && tag.as_str().starts_with("sha256-") {
                continue;
            }
            let line = if args.full_ref {
                Reference::new(repository.clone(), tag.into()).to_string()
            } else {
                tag.to_string()
            };
            lines.push_str(&line);
            lines.push('\n');
        }
        context.ui.print(lines.as_bytes())?;
    }
    Ok(())
}
