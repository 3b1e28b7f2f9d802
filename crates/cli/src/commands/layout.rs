use local::{Garbage, Layout};

use crate::context::Context;
use crate::failure::Failure;

/// Tend an OCI layout on this machine
#[derive(Debug, clap::Args)]
#[command(arg_required_else_help = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Gc(Gc),
}

/// Remove blobs that nothing in the layout leads to
///
/// What index.json lists stays, whatever it is, with all that it leads to and whatever refers to that.
#[derive(Debug, clap::Args)]
struct Gc {
    /// The layout's directory
    #[arg(value_name = "DIR")]
    directory: String,
    /// Show what would be removed, and remove nothing (+)
    #[arg(long)]
    dry_run: bool,
}

pub(crate) async fn run(context: &Context, args: Args) -> Result<(), Failure> {
    let Command::Gc(args) = args.command;
    let path = args.directory.strip_prefix("oci:").filter(|_| !context.settings.crane);
    let layout = Layout::open(path.unwrap_or(&args.directory))?;
    let Garbage { blobs, bytes } = layout.collect(args.dry_run).await?;
    for digest in &blobs {
        context.ui.log(&format!("garbage collecting: {digest}"));
    }
    if !context.settings.crane {
        let verb = if args.dry_run { "would be removed" } else { "removed" };
        context.ui.log(&format!("{} blobs {verb} ({})", blobs.len(), indicatif::HumanBytes(bytes)));
    }
    Ok(())
}
