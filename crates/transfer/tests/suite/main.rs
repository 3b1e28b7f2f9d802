//! Copies between stores in memory that count, refuse and break.

#![expect(clippy::unwrap_used, reason = "these are tests, and so are their helpers")]

mod bounds;
mod copies;
mod deletions;
mod faults;
mod graphs;
mod images;
mod kinds;
mod link;
mod listing;
mod pairs;
mod parts;
mod place;
mod tags;
