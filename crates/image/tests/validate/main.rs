//! Graphs that are right, and graphs that are wrong in one way each.

#![expect(clippy::unwrap_used, reason = "a test fails where something is not as it should be")]

mod artifacts;
mod graphs;
mod images;
mod manifests;
mod place;
mod properties;
