//! hoist from end to end: the real program against real registries, beside real peers, and with input that is not right.

#![expect(clippy::unwrap_used, reason = "a test ends where something is not as it should be")]

mod article;
mod auth;
mod cache;
mod catalog;
mod closed;
mod completion;
mod copies;
mod crane;
mod credentials;
mod damage;
mod delete;
mod dialects;
mod disk;
mod doctor;
mod expect;
mod exports;
mod guard;
mod help;
mod json;
mod layouts;
mod ls;
mod man;
mod memory;
mod pace;
mod peers;
mod places;
mod progress;
mod proxies;
mod ratelimit;
mod recipes;
mod references;
mod referrers;
mod requests;
mod secrets;
mod self_contained;
mod signals;
mod statuses;
mod support;
mod tarballs;
mod tls;
mod tour;
mod tree;
mod unreachable;
mod validate;
