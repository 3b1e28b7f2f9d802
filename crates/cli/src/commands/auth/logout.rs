use auth::Origin;

use super::{Server, login};
use crate::context::Context;
use crate::failure::Failure;
use crate::root;

/// Log out of a registry: forget the user and the password for it
///
/// In docker's configuration file, in the credential helper that it names, and what hoist itself remembers of the
/// registry. What podman keeps stays; hoist says so if it still answers.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The registry
    #[arg(value_name = "SERVER")]
    server: String,
}

pub(crate) async fn run(context: &Context, args: Args) -> Result<(), Failure> {
    let Server { registry, .. } = args.server.parse()?;
    root::forget(&context.ui, &registry);
    let forgotten = auth::logout(&Context::locations(), registry.as_str()).await.map_err(login::hinted)?;
    context.ui.log(&format!("logged out via {}", forgotten.path.display()));
    // Done it is, whatever else is wrong with the files.
    if let Ok(keychain) = context.keychain()
        && let Ok(found) = keychain.find(registry.as_str(), None).await
        && found.origin != Origin::Nowhere
    {
        context.ui.note(&format!("hint: {registry} still gets {}, from {}", found.credential, found.origin));
    }
    Ok(())
}
