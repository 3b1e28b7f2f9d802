//! What may be typed. Flags are crane's, and some more; the doc comments are the help.

use clap::{Parser, Subcommand};

use crate::commands;
use crate::settings::PlatformChoice;

/// Look into, copy and serve container images and every other OCI artifact, without a container runtime.
///
/// A crane command line works unchanged. What goes beyond crane is marked with (+).
#[derive(Debug, Parser)]
#[command(name = "hoist", version, args_override_self = true, disable_help_subcommand = false)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Options of all verbs")]
pub(crate) struct Global {
    /// Allow plain http and any TLS certificate
    #[arg(long, global = true, default_value = "false", default_missing_value = "true", num_args = 0..=1, require_equals = true, hide_possible_values = true, hide_default_value = true, value_name = "BOOL")]
    pub(crate) insecure: bool,
    /// The platform to take of an index: os/arch[/variant][:osversion], `all`, or `host` for this machine's (+)
    #[arg(long, global = true, default_value = "all", value_name = "PLATFORM")]
    pub(crate) platform: PlatformChoice,
    /// Also push layers that their owner does not allow to be distributed
    #[arg(long, global = true, default_value = "false", default_missing_value = "true", num_args = 0..=1, require_equals = true, hide_possible_values = true, hide_default_value = true, value_name = "BOOL")]
    pub(crate) allow_nondistributable_artifacts: bool,
    /// Show all requests and answers, without secrets
    #[arg(short, long, global = true, default_value = "false", default_missing_value = "true", num_args = 0..=1, require_equals = true, hide_possible_values = true, hide_default_value = true, value_name = "BOOL")]
    pub(crate) verbose: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Blob(commands::blob::Args),
    Config(commands::config::Args),
    #[command(visible_alias = "cp")]
    Copy(commands::copy::Args),
    Digest(commands::digest::Args),
    Export(commands::export::Args),
    Ls(commands::ls::Args),
    Manifest(commands::manifest::Args),
    #[command(subcommand)]
    Registry(commands::registry::Command),
    Tag(commands::tag::Args),
    Tour(commands::tour::Args),
    Version(commands::version::Args),
}
