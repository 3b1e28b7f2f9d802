//! Credentials: what there is, for whom, and where it is kept.

mod get;
pub(crate) mod helper;
mod login;
mod logout;
mod token;
mod whoami;

use std::str::FromStr;

use oci::{Reference, RegistryName, Repository};

use crate::context::Context;
use crate::failure::Failure;

/// Log in and out of registries, and see with what hoist asks them
///
/// hoist reads the files of docker and podman, and asks the credential helpers that they name. Through a link named
/// docker-credential-hoist it is a credential helper itself (+).
#[derive(Debug, clap::Args)]
#[command(arg_required_else_help = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Get(get::Args),
    Login(login::Args),
    Logout(logout::Args),
    Token(token::Args),
    Whoami(whoami::Args),
}

pub(crate) async fn run(context: &Context, args: Args) -> Result<(), Failure> {
    match args.command {
        Command::Get(args) => get::run(context, args).await,
        Command::Login(args) => login::run(context, args).await,
        Command::Logout(args) => logout::run(context, args).await,
        Command::Token(args) => token::run(context, args).await,
        Command::Whoami(args) => whoami::run(context, args).await,
    }
}

/// Whose credentials are meant: a registry, or a repository on one.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Server {
    registry: RegistryName,
    repository: Option<Repository>,
}

impl Server {
    fn path(&self) -> Option<&str> {
        self.repository.as_ref().map(Repository::path)
    }
}

impl std::fmt::Display for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.repository {
            Some(repository) => repository.fmt(f),
            None => self.registry.fmt(f),
        }
    }
}

impl FromStr for Server {
    type Err = Failure;

    /// A word alone is a registry, and nothing at all is Docker Hub, as for crane. With a scheme it is a URL of the whole
    /// registry, and so is the root of an API; anything else with a path is a repository.
    fn from_str(text: &str) -> Result<Self, Failure> {
        let registry = |host: &str| {
            let name = RegistryName::new(&host.to_ascii_lowercase()).map_err(|(_, problem)| {
                Failure::new(format_args!("{text:?} names no registry: {problem}"))
                    .hint("write a host, such as ghcr.io or localhost:5000")
            })?;
            Ok(Self { registry: name, repository: None })
        };
        if let Some((_, rest)) = text.split_once("://") {
            return registry(rest.split('/').next().unwrap_or_default());
        }
        match text.split_once('/') {
            None if text.is_empty() => Ok(Self { registry: RegistryName::docker_hub(), repository: None }),
            None => registry(text),
            Some((host, "" | "v1" | "v1/" | "v2" | "v2/")) => registry(host),
            Some(_) => {
                let repository = text.parse::<Reference>()?.repository().clone();
                Ok(Self { registry: repository.registry().clone(), repository: Some(repository) })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers() {
        for (text, expected) in [
            ("ghcr.io", "ghcr.io"),
            ("GHCR.io", "ghcr.io"),
            ("https://ghcr.io/", "ghcr.io"),
            ("http://localhost:5000/v2/any", "localhost:5000"),
            ("localhost:5000/", "localhost:5000"),
            ("ghcr.io/v2/", "ghcr.io"),
            ("registry", "registry"),
            ("", "index.docker.io"),
            ("docker.io", "index.docker.io"),
            ("https://index.docker.io/v1/", "index.docker.io"),
            ("ghcr.io/org/app", "ghcr.io/org/app"),
            ("ghcr.io/org/app:1.0", "ghcr.io/org/app"),
            ("org/app", "index.docker.io/org/app"),
        ] {
            assert_eq!(text.parse::<Server>().unwrap().to_string(), expected, "{text}");
        }
        for wrong in ["a b", "https://", "ghcr.io:x", "ghcr.io/UPPER", "https://u:p@h/"] {
            assert!(text_of(wrong.parse::<Server>()).contains(':'), "{wrong}");
        }
    }

    fn text_of(outcome: Result<Server, Failure>) -> String {
        match outcome {
            Err(Failure::Error { text, .. }) => text,
            other => panic!("{other:?}"),
        }
    }
}
