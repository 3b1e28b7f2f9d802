//! Layers from end to end: inflated, scanned, merged, written, and read by other programs.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod archive;
mod changes;
mod decoder;
mod encoder;
mod hostile;
mod indexes;
mod merge;
mod oracle;
mod programs;
mod writer;
