//! hoist as a credential helper of docker, podman and crane, through a link named `docker-credential-hoist`.

use std::ffi::{OsStr, OsString};
use std::path::Path;

use auth::{Keychain, Locations};

use super::get;
use crate::failure::Failure;
use crate::ui::Ui;

/// Whether the program was called through the link.
pub(crate) fn is_called(program: &OsStr) -> bool {
    Path::new(program).file_stem().is_some_and(|name| name == "docker-credential-hoist")
}

/// Does what the protocol asks for. An error is told on standard output, where the protocol has its place.
pub(crate) async fn run(ui: &Ui, action: Option<OsString>) -> Result<(), Failure> {
    match act(ui, action).await {
        Err(Failure::Error { text, .. }) => {
            ui.println(&text)?;
            Err(Failure::Silent)
        }
        other => other,
    }
}

async fn act(ui: &Ui, action: Option<OsString>) -> Result<(), Failure> {
    let keychain = || Keychain::load(&Locations::from_lookup(|name| std::env::var_os(name)));
    match action.as_deref().and_then(OsStr::to_str) {
        Some("get") => get::answer(ui, &keychain()?, &get::question()?).await,
        Some("list") => ui.println(&get::go_json(&keychain()?.users())?),
        Some("version") => ui.println(concat!("docker-credential-hoist ", env!("CARGO_PKG_VERSION"))),
        Some(action @ ("store" | "erase")) => Err(Failure::new(format_args!(
            "docker-credential-hoist cannot {action}: hoist reads credentials from the files of docker and podman; \
             `hoist auth login` writes there"
        ))),
        _ => Err(Failure::new("usage: docker-credential-hoist <get|list|version>")),
    }
}
