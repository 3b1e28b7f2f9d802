use crate::context::Context;
use crate::failure::Failure;
use crate::tour;

/// Watch a session with a registry, on this machine alone
///
/// Starts two registries on free ports of this machine, pushes a small image for eight platforms to one of them, and
/// runs a session for real: each command is printed as one would type it, with its output. Needs no network, takes
/// seconds, and leaves nothing behind.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Leave the registries running until Ctrl-C, and say how to reach them
    #[arg(long)]
    pub(crate) keep: bool,
}

pub(crate) async fn run(context: &Context, args: Args) -> Result<(), Failure> {
    tour::run(context, args.keep).await
}
