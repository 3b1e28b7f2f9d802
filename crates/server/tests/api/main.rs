//! The server over real connections: what the specification's conformance suite asserts, and what it does not look at.

#![expect(clippy::unwrap_used, reason = "a test ends where something is not as it should be")]

mod blobs;
mod client;
mod lists;
mod manifests;
mod referrers;
mod restart;
mod transport;
mod uploads;
