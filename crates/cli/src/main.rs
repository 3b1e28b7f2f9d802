//! The `hoist` program.

mod access;
mod amount;
mod app;
mod args;
mod change;
mod commands;
mod context;
mod destination;
mod editor;
mod failure;
mod file;
mod heap;
mod jq;
mod json;
mod looking;
mod output;
mod place;
mod progress;
mod root;
mod settings;
mod tour;
mod ui;
mod versions;
mod words;

fn main() -> std::process::ExitCode {
    if jq::evaluator::is_meant() { jq::evaluator::main() } else { app::main() }
}
