use oci::{RegistryName, Repository};

use crate::context::Context;
use crate::failure::Failure;
use crate::output::Output;

/// Print how often a registry may still be asked (+)
///
/// As the registry tells it, with whatever credentials there are. Asking costs nothing on Docker Hub. Registries that
/// tell only with an image want a repository: its `latest` is asked for, not pulled.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The registry, or a repository on it
    #[arg(value_name = "REGISTRY", default_value = "docker.io")]
    pub(crate) registry: String,
    #[command(flatten)]
    pub(crate) output: Output,
}

pub(crate) async fn run(context: &Context, args: Args) -> Result<(), Failure> {
    let (registry, repository): (RegistryName, Option<Repository>) = if args.registry.contains('/') {
        let repository: Repository = args.registry.parse()?;
        (repository.registry().clone(), Some(repository))
    } else {
        (args.registry.parse()?, None)
    };
    let found = context.impatient()?.rate_limit(&registry, repository.as_ref()).await?;
    let told = found.is_some();
    let found = found.unwrap_or_default();
    if args.output.wants_json() {
        let document = serde_json::json!({
            "registry": registry.as_str(),
            "limit": found.limit,
            "remaining": found.remaining,
            "window": found.window,
            "source": found.source,
            "retryAfter": found.retry_after,
        });
        return args.output.print(&context.ui, &document);
    }
    if !told {
        return context.ui.println(&format!("{registry} tells no limits"));
    }
    let count = match (found.remaining, found.limit) {
        (Some(remaining), Some(limit)) => format!("{remaining} of {limit} left"),
        (Some(remaining), None) => format!("{remaining} left"),
        (None, limit) => format!("{} at most", limit.unwrap_or_default()),
    };
    let window = found.window.map(|window| format!(" in this window of {}", length(window)));
    let source = found.source.map(|source| format!(", counted for {source}"));
    let wait = found.retry_after.map(|wait| format!("; it asks to wait {}", length(wait)));
    let (window, source, wait) =
        (window.unwrap_or_default(), source.unwrap_or_default(), wait.unwrap_or_default());
    context.ui.println(&format!("{registry}: {count}{window}{source}{wait}"))
}

/// A length of time, in the largest unit that it is a whole number of.
fn length(seconds: u64) -> String {
    let (number, unit) = match seconds {
        1.. if seconds.is_multiple_of(3600) => (seconds / 3600, "h"),
        1.. if seconds.is_multiple_of(60) => (seconds / 60, "min"),
        _ => (seconds, "s"),
    };
    format!("{number} {unit}")
}

#[cfg(test)]
mod tests {
    use super::length;

    #[test]
    fn lengths() {
        for (seconds, expected) in [(0, "0 s"), (59, "59 s"), (60, "1 min"), (90, "90 s"), (21600, "6 h")] {
            assert_eq!(length(seconds), expected);
        }
    }
}
