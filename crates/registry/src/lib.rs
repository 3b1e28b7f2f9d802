//! Registries as stores: a client of the OCI distribution protocol.
//!
//! A [`Client`] knows the way to every registry: https or http, credentials, tokens, retries. A repository on one is a
//! [`RegistryStore`], and so a [`store::Store`].
//!
//! ```no_run
//! use auth::{Keychain, Locations};
//! use oci::Reference;
//! use registry::{Client, Options};
//! use store::Store;
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let keychain = Keychain::load(&Locations::from_lookup(|name| std::env::var_os(name)))?;
//! let client = Client::new(Options::default(), keychain);
//! let reference: Reference = "nginx:1.25".parse()?;
//! let manifest = client.repository(reference.repository()).manifest(&reference.selector()).await?;
//! println!("{} is {}", reference, manifest.digest());
//! # Ok(())
//! # }
//! ```

mod access;
mod ahead;
mod body;
mod catalog;
mod challenge;
mod client;
mod content_range;
pub mod doctor;
mod elsewhere;
mod error;
mod exchange;
mod explain;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
mod guard;
mod host;
mod journal;
mod link;
mod memory;
mod names;
mod options;
mod pages;
mod ping;
mod proxies;
mod rate_limit;
mod redact;
mod repository;
mod resolve;
mod retry;
mod scheme;
mod scope;
mod shared;
mod tls;
mod token;
mod transport;
mod trouble;
mod upload;
mod warning;

pub use access::AccessToken;
pub use client::Client;
pub use error::{ClockSkew, Error, RegistryError, StatusError};
pub use guard::AllowedHost;
pub use journal::{forget_uploads, tidy_uploads};
pub use memory::{forget, forget_all};
pub use options::Options;
pub use rate_limit::RateLimit;
pub use repository::{Referrers, ReferrersSource, RegistryStore};
pub use retry::Retries;
pub use tls::{Identity, Tls, TlsError, read_certificates};
pub use transport::Trusted;
pub use trouble::Trouble;
