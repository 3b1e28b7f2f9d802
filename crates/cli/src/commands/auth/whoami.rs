use auth::{Credential, Origin};
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
            "kind": kind(&found.credential),
            "username": username(&found.credential),
            "source": source(&found.origin),
            "files": files.collect::<Value>(),
        });
        return args.output.print(&context.ui, &document);
    }
    if found.origin != Origin::Nowhere {
        return context.ui.println(&format!("{}, from {}", who(&found.credential), whence(&found.origin)));
    }
    let mut text = format!("anonymous: nothing has credentials for {server}\n");
    for (path, there) in files {
        let absent = if there { "" } else { " (not there)" };
        text += &["looked at ", &path.display().to_string(), absent, "\n"].concat();
    }
    context.ui.print(text.as_bytes())
}

/// A credential in words, without what is secret.
pub(super) fn who(credential: &Credential) -> String {
    match credential {
        Credential::Anonymous => "nothing".to_owned(),
        Credential::Basic { username, .. } if username.is_empty() => "a password without a user".to_owned(),
        Credential::Basic { username, .. } => username.clone(),
        Credential::IdentityToken { username, .. } if username.is_empty() => "an identity token".to_owned(),
        Credential::IdentityToken { username, .. } => format!("an identity token of {username}"),
        Credential::RegistryToken(_) => "a registry token".to_owned(),
    }
}

/// Who gave it, in words.
pub(super) fn whence(origin: &Origin) -> String {
    match origin {
        Origin::Nowhere => "nowhere".to_owned(),
        Origin::File { path, key } => format!("the entry {key:?} in {}", path.display()),
        Origin::Helper { path, name, server } => {
            format!("docker-credential-{name}, asked for {server:?} as {} says", path.display())
        }
        Origin::Variable { name } => format!("the variable {name}"),
        Origin::Given => "the command line".to_owned(),
    }
}

fn kind(credential: &Credential) -> &'static str {
    match credential {
        Credential::Anonymous => "anonymous",
        Credential::Basic { .. } => "basic",
        Credential::IdentityToken { .. } => "identity-token",
        Credential::RegistryToken(_) => "registry-token",
    }
}

fn username(credential: &Credential) -> Option<&str> {
    match credential {
        Credential::Basic { username, .. } | Credential::IdentityToken { username, .. } => {
            Some(username.as_str()).filter(|username| !username.is_empty())
        }
        Credential::Anonymous | Credential::RegistryToken(_) => None,
    }
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
