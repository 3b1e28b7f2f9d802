//! What hoist's own tests stand on: real registries and peers, faults on demand, test images, a hermetic command line.
//!
//! Everything listens on a free loopback port, is ready when its constructor returns, and is gone when it is dropped.
//! Nothing here is async: a test may call it from anywhere. Nothing here uses hoist's own crates to make or to judge
//! content, so that it is an independent check of them; only [`HoistServer`] runs one.
//!
//! ```no_run
//! use testkit::{Cli, DockerRegistry, images};
//!
//! let registry = DockerRegistry::plain();
//! registry.push(&images::eight_platforms(), "demo/web", "1.0");
//! let outcome = Cli::new().hoist(["ls", &format!("{}/demo/web", registry.address())]).run();
//! assert_eq!(outcome.success(), "1.0\n");
//! ```
#![expect(
    clippy::missing_panics_doc,
    reason = "everything here panics when the machine does not do what the test needs: that is how a test fails"
)]

mod certificate;
mod cli;
mod docker;
mod docker_registry;
mod faults;
mod hoist_server;
mod http;
pub mod images;
pub mod lazy;
mod listener;
mod name_server;
mod network;
mod outcome;
pub mod peers;
mod process;
mod proxy;
mod relay;
mod token_server;
mod wire;

pub use certificate::{Authority, Certificate};
pub use cli::{Cli, Invocation, Running};
pub use docker::Docker;
pub use docker_registry::{DockerRegistry, Setup};
pub use faults::{Answer, Dialect, FaultRegistry, Ping, Route};
pub use hoist_server::HoistServer;
pub use http::{Client, Reply};
pub use name_server::NameServer;
pub use network::{Network, Room};
pub use outcome::Outcome;
pub use proxy::ForwardProxy;
pub use relay::Relay;
pub use token_server::TokenServer;
pub use wire::Request;

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks; a test that panicked elsewhere while it held the lock has already failed, and its panic is the one to see.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
