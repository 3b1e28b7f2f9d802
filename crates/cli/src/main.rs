//! The `hoist` program.

mod access;
mod app;
mod args;
mod commands;
mod context;
mod failure;
mod jq;
mod json;
mod memory;
mod output;
mod place;
mod progress;
mod rate;
mod settings;
mod tour;
mod ui;
mod versions;

fn main() -> std::process::ExitCode {
    if jq::evaluator::is_meant() { jq::evaluator::main() } else { app::main() }
}
