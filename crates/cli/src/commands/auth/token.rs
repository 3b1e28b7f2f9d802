use oci::Repository;
use serde::Serialize;

use super::get::go_json;
use crate::context::Context;
use crate::failure::Failure;

/// Get a token for a repository from its registry's token server
///
/// It is for pulling, and prints a secret, for `curl` and the like. Tokens end after some minutes.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The repository
    #[arg(value_name = "REPO")]
    repository: String,
    /// Print the token as an HTTP header, without a line end
    #[arg(short = 'H', long)]
    header: bool,
    /// Ask for the right to push too
    #[arg(long)]
    push: bool,
    /// Ask for the right to mount blobs from this repository too
    #[arg(short, long, value_name = "REPO", value_delimiter = ',')]
    mount: Vec<String>,
}

/// As crane prints it: what the server does not say is empty.
#[derive(Serialize)]
struct Answer<'a> {
    token: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    access_token: &'a str,
    refresh_token: &'a str,
    expires_in: u64,
}

pub(crate) async fn run(context: &Context, args: Args) -> Result<(), Failure> {
    let repository: Repository = args.repository.parse()?;
    let mut mounts = Vec::new();
    for mount in &args.mount {
        let mount: Repository = mount.parse()?;
        if mount.registry() != repository.registry() {
            return Err(Failure::new(format_args!(
                "{mount} is not on {}, and blobs are mounted within one registry",
                repository.registry()
            ))
            .hint(format!("write --mount {}/REPO", repository.registry())));
        }
        mounts.push(mount);
    }
    let mut store = context.store(&repository)?;
    if args.push {
        store = store.for_push(None);
    }
    let access = store.token(&mounts).await?;
    if args.header {
        return context.ui.print(format!("Authorization: Bearer {}", access.token.expose()).as_bytes());
    }
    let answer = Answer {
        token: access.token.expose(),
        access_token: access.access_token.as_ref().map_or("", |token| token.expose()),
        refresh_token: access.refresh_token.as_ref().map_or("", |token| token.expose()),
        expires_in: access.expires_in.unwrap_or_default(),
    };
    context.ui.println(&go_json(&answer)?)
}
