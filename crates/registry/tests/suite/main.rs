//! The client against real registries, and against faults that real ones will not show on request.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed, and its panic says where")]

mod auth;
mod bodies;
mod catalog;
mod chunks;
mod conformance;
mod connections;
mod deletion;
mod dialects;
mod entries;
mod manifests;
mod memory;
mod rate_limit;
mod raw;
mod referrers;
mod resume;
mod retries;
mod secrets;
mod support;
mod tags;
mod tls;
mod uploads;
