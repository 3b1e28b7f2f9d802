//! Credentials for registries: docker's configuration file, credential helpers, secrets that cannot be printed.
//!
//! A [`Keychain`] answers which [`Credential`] a registry gets. It reads docker's `config.json` or, where there is
//! none, podman's `auth.json`, and asks the credential helpers that the file names. Nothing here reads the process
//! environment: [`Locations`] says where to look.

mod config_file;
mod credential;
mod error;
mod helper;
mod key;
mod keychain;
mod locations;
mod secret;

pub use config_file::DockerConfig;
pub use credential::{Credential, Found, Origin};
pub use error::Error;
pub use keychain::{HELPER_TIMEOUT, Keychain};
pub use locations::Locations;
pub use secret::{REDACTED, Secret};
