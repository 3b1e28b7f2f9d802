use std::io::{self, IsTerminal as _, Read as _};

use auth::{Credential, Keychain, Secret};
use store::Kind;
use zeroize::Zeroizing;

use super::Server;
use crate::context::Context;
use crate::failure::Failure;
use crate::root;
use crate::ui::Ui;

/// Log in to a registry: keep a user and a password for it
///
/// They go where docker keeps them: into the credential helper that docker's configuration file names, else into the
/// file. On a terminal hoist asks for what is not given.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The registry, such as `ghcr.io` or `localhost:5000`
    #[arg(value_name = "SERVER")]
    server: String,
    /// The user
    #[arg(short, long, default_value = "", hide_default_value = true)]
    username: String,
    /// The password; others on this machine may see it in the list of processes
    #[arg(short, long, default_value = "", hide_default_value = true, allow_hyphen_values = true)]
    password: String,
    /// Read the password from standard input
    #[arg(long)]
    password_stdin: bool,
    /// Ask the registry first whether it takes them, and keep nothing if not (+)
    #[arg(long)]
    check: bool,
}

pub(crate) async fn run(context: &Context, args: Args) -> Result<(), Failure> {
    let Server { registry, .. } = args.server.parse()?;
    let ui = &context.ui;
    let mut username = args.username;
    let mut password = Secret::new(args.password);
    if args.password_stdin {
        password = read_password()?;
    } else if io::stdin().is_terminal() {
        if username.is_empty() {
            username = ask_username(ui).await?;
        }
        if password.expose().is_empty() && !username.is_empty() {
            password = ask_password().await?;
            if password.expose().is_empty() {
                return Err(Failure::new("password required"));
            }
        }
    }
    if username.is_empty() {
        let missing = if password.expose().is_empty() { "username and password" } else { "username" };
        return Err(Failure::new(format_args!("{missing} required"))
            .hint("give -u USER and --password-stdin; on a terminal hoist asks"));
    }
    let credential = Credential::Basic { username, password };
    if args.check {
        let keychain = Keychain::load(&Context::locations())?.given(credential.clone());
        // Whether it is kept is not known yet.
        let mut context = context.clone();
        context.settings.root = None;
        let client = context.client_of(keychain)?;
        let looked = client.check(&registry).await.map_err(|error| match error.kind() {
            Kind::Unauthorized | Kind::Denied => Failure::new(&error)
                .hint("the registry does not take this user and password; nothing was kept"),
            _ => Failure::from(error),
        })?;
        if !looked {
            ui.note(&format!("hint: {registry} lets everybody in, so it did not look at the password"));
        }
    }
    let unencrypted =
        matches!(&credential, Credential::Basic { password, .. } if !password.expose().is_empty());
    let kept = auth::login(&Context::locations(), registry.as_str(), &credential).await.map_err(hinted)?;
    if kept.helper.is_none() && unencrypted {
        ui.note(&format!(
            "hint: the password lies unencrypted in {}; a credential helper (\"credsStore\") keeps it safe",
            kept.path.display()
        ));
    }
    root::forget(ui, &registry);
    ui.log(&format!("logged in via {}", kept.path.display()));
    Ok(())
}

/// Where to keep them is the user's to say.
pub(super) fn hinted(error: auth::Error) -> Failure {
    let no_place = matches!(error, auth::Error::NoPlace { .. });
    let failure = Failure::from(error);
    if no_place { failure.hint("set HOME, or DOCKER_CONFIG to a folder") } else { failure }
}

/// Standard input without the line end that `echo` puts there.
fn read_password() -> Result<Secret, Failure> {
    let mut text = Zeroizing::new(String::with_capacity(64 << 10));
    let read = io::stdin().read_to_string(&mut text);
    read.map_err(|error| Failure::new(format_args!("reading the password from standard input: {error}")))?;
    let line = text.strip_suffix('\n').unwrap_or(&text);
    Ok(Secret::new(line.strip_suffix('\r').unwrap_or(line)))
}

async fn ask_username(ui: &Ui) -> Result<String, Failure> {
    ui.ask("Username: ");
    let line = blocking(|| {
        let mut line = String::new();
        io::stdin().read_line(&mut line).map(|_| line)
    });
    Ok(line.await?.trim().to_owned())
}

async fn ask_password() -> Result<Secret, Failure> {
    blocking(|| rpassword::prompt_password("Password: ")).await.map(Secret::new)
}

/// Waits for somebody who types, beside the threads that work.
async fn blocking<T: Send + 'static>(
    read: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, Failure> {
    let outcome = tokio::task::spawn_blocking(read).await.map_err(Failure::new)?;
    outcome.map_err(|error| Failure::new(format_args!("reading from the terminal: {error}")))
}
