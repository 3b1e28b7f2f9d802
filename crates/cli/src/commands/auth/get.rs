use std::io::Read as _;

use auth::{Credential, Keychain, Secret};
use serde::Serialize;

use super::Server;
use crate::context::Context;
use crate::failure::Failure;
use crate::ui::Ui;

/// What a helper says when it has nothing, on standard output (docker's protocol).
const NOT_FOUND: &str = "credentials not found in native keychain";

/// The user that marks an identity token (docker's protocol).
const TOKEN_USER: &str = "<token>";

/// Print the user and the password for a registry, as a credential helper does
///
/// Where there are none, the exit code is 1. It prints a secret: `hoist auth whoami` says who you are without.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The registry; read from standard input if it is not given. A repository may be named too (+)
    #[arg(value_name = "REGISTRY")]
    registry: Option<String>,
}

pub(crate) async fn run(context: &Context, args: Args) -> Result<(), Failure> {
    let server = match args.registry {
        Some(registry) => registry,
        None => question()?,
    };
    answer(&context.ui, &context.keychain()?, &server).await
}

/// What standard input asks for.
pub(super) fn question() -> Result<String, Failure> {
    let mut text = String::new();
    // More than any name has.
    let read = std::io::stdin().take(64 << 10).read_to_string(&mut text);
    read.map_err(|error| {
        Failure::new(format_args!("reading a registry's name from standard input: {error}"))
    })?;
    Ok(text.trim().to_owned())
}

/// Answers as a credential helper.
pub(super) async fn answer(ui: &Ui, keychain: &Keychain, server: &str) -> Result<(), Failure> {
    let server: Server = server.parse()?;
    let credential = keychain.credential(server.registry.as_str(), server.path()).await?;
    let (username, secret) = match &credential {
        Credential::Basic { username, password } => (username.as_str(), password),
        Credential::IdentityToken { token, .. } => (TOKEN_USER, token),
        // The protocol has no word for a registry's own token.
        Credential::Anonymous | Credential::RegistryToken(_) => {
            ui.println(NOT_FOUND)?;
            return Err(Failure::Silent);
        }
    };
    ui.println(&go_json(&Answer { username, secret })?)
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Answer<'a> {
    username: &'a str,
    #[serde(serialize_with = "exposed")]
    secret: &'a Secret,
}

fn exposed<S: serde::Serializer>(secret: &Secret, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(secret.expose())
}

/// JSON in one line as Go writes it, so that scripts find the bytes that crane prints: what could end an HTML tag or a
/// line of JavaScript is escaped. These characters stand in strings only.
pub(super) fn go_json(document: &impl Serialize) -> Result<String, Failure> {
    let mut text = serde_json::to_string(document).map_err(Failure::new)?;
    for character in ['<', '>', '&', '\u{2028}', '\u{2029}'] {
        if text.contains(character) {
            text = text.replace(character, &format!("\\u{:04x}", u32::from(character)));
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::go_json;

    #[test]
    fn go_escapes_more() {
        assert_eq!(go_json(&"<a>&\u{2028}\"é").unwrap(), r#""\u003ca\u003e\u0026\u2028\"é""#);
    }
}
