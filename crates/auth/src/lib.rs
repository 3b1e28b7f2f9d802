//! Credentials for registries: docker's configuration file, credential helpers, secrets that cannot be printed.
//!
//! A [`Keychain`] answers which [`Credential`] a registry gets. It reads docker's `config.json` and podman's
//! `auth.json`, and asks the credential helpers that the files name. [`login`] and [`logout`] write to docker's file and
//! its helpers. Nothing here reads the process environment: [`Locations`] says where to look.

mod config_file;
mod credential;
mod document;
mod error;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
mod helper;
mod key;
mod keychain;
mod locations;
mod login;
mod object;
mod secret;
mod update;

pub use config_file::DockerConfig;
pub use credential::{Credential, Found, Origin};
pub use error::{Action, Error};
pub use keychain::{HELPER_TIMEOUT, Keychain};
pub use locations::{GITHUB_TOKEN, Locations};
pub use login::{LoggedIn, LoggedOut, login, logout};
pub use secret::{REDACTED, Secret};
