use auth::Origin;
use serde_json::{Value, json};

use super::Server;
use crate::context::Context;
use crate::failure::Failure;
use crate::output::Output;

/// Say with what hoist asks a registry, and where it comes from (+)
///
/// Never the secret itself. The registry is not asked.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The registry, or a repository on one
    #[arg(value_name = "REGISTRY[/REPO]")]
    server: String,
    #[command(flatten)]
    output: Output,
}

pub(crate) async fn run(context: &Context, args: Args) -> Result<(), Failure> {
    let server: Server = args.server.parse()?;
    let found = context.keychain()?.find(server.registry.as_str(), server.path()).await?;
    let locations = Context::locations();
    let files: Vec<_> = locations.files().map(|path| (path, path.is_file())).collect();
    if args.output.wants_json() {
        let files =
            files.iter().map(|(path, there)| json!({"path": path.display().to_string(), "exists": there}));
        let document = json!({
            "server": server.to_string(),
            "kind": found.credential.kind(),
            "username": found.credential.username(),
            "source": source(&found.origin),
            "files": files.collect::<Value>(),
        });
        return args.output.print(&context.ui, &document);
    }
    if found.origin != Origin::Nowhere {
        return context.ui.println(&format!("{}, from {}", found.credential, found.origin));
    }
    let mut text = format!("anonymous: nothing has credentials for {server}\n");
    for (path, there) in files {
        let absent = if there { "" } else { " (not there)" };
        text += &["looked at ", &path.display().to_string(), absent, "\n"].concat();
    }
    context.ui.print(text.as_bytes())
}

fn source(origin: &Origin) -> Value {
    match origin {
        Origin::Nowhere => Value::Null,
        Origin::File { path, key } => json!({"kind": "file", "path": path.display().to_string(), "key": key}),
        Origin::Helper { path, name, server } => {
            json!({"kind": "helper", "name": name, "asked": server, "path": path.display().to_string()})
        }
        Origin::Variable { name } => json!({"kind": "variable", "name": name}),
        Origin::Given => json!({"kind": "command line"}),
    }
}
