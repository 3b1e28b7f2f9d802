//! The `hoist` program.

mod access;
mod app;
mod args;
mod commands;
mod context;
mod failure;
mod json;
mod output;
mod progress;
mod settings;
mod tour;
mod ui;

fn main() -> std::process::ExitCode {
    app::main()
}
