use std::num::NonZeroUsize;

use futures_util::TryStreamExt;
use oci::{RegistryName, Repository};

use crate::context::Context;
use crate::failure::Failure;
use crate::output::Output;

/// List the repositories in a registry
///
/// In the registry's order, page by page. Docker Hub and many other public registries do not tell.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The registry, such as `localhost:5000` or `registry.example.com`
    #[arg(value_name = "REGISTRY")]
    pub(crate) registry: String,
    /// Print REGISTRY/REPOSITORY, not the repository alone
    #[arg(long)]
    pub(crate) full_ref: bool,
    /// Stop after so many (+)
    #[arg(long, value_name = "N")]
    pub(crate) limit: Option<NonZeroUsize>,
    #[command(flatten)]
    pub(crate) output: Output,
}

pub(crate) async fn run(context: &Context, args: Args) -> Result<(), Failure> {
    let registry: RegistryName = args.registry.parse()?;
    let shown = |repository: &Repository| {
        if args.full_ref { repository.to_string() } else { repository.path().to_owned() }
    };
    let mut left = args.limit.map_or(usize::MAX, NonZeroUsize::get);
    let mut all = Vec::new();
    let mut pages = context.client()?.catalog(&registry);
    while left > 0
        && let Some(page) = pages.try_next().await?
    {
        let page = &page[..page.len().min(left)];
        left -= page.len();
        let names = page.iter().map(shown);
        if args.output.wants_json() {
            all.extend(names);
        } else {
            context.ui.print(names.map(|name| name + "\n").collect::<String>().as_bytes())?;
        }
    }
    if args.output.wants_json() {
        let document = serde_json::json!({"registry": registry.as_str(), "repositories": all});
        return args.output.print(&context.ui, &document);
    }
    Ok(())
}
