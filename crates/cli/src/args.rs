//! What may be typed. Flags are crane's, and some more; the doc comments are the help.

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{ArgAction, CommandFactory, FromArgMatches, Parser, Subcommand};

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
    #[arg(long, global = true)]
    pub(crate) insecure: bool,
    /// The platform to take of an index: `os/arch[/variant][:osversion]`, `all`, or `host` for this machine's (+)
    #[arg(long, global = true, default_value = "all", value_name = "PLATFORM")]
    pub(crate) platform: PlatformChoice,
    /// Also push layers that their owner does not allow to be distributed
    #[arg(long, global = true)]
    pub(crate) allow_nondistributable_artifacts: bool,
    /// Show all requests and answers, without secrets
    #[arg(short, long, global = true)]
    pub(crate) verbose: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Auth(commands::auth::Args),
    Blob(commands::blob::Args),
    Config(commands::config::Args),
    #[command(visible_alias = "cp")]
    Copy(commands::copy::Args),
    Digest(commands::digest::Args),
    Export(commands::export::Args),
    Ls(commands::ls::Args),
    Manifest(commands::manifest::Args),
    Registry(commands::registry::Args),
    Tag(commands::tag::Args),
    Tour(commands::tour::Args),
    Version(commands::version::Args),
}

impl Args {
    /// Parses a command line, the program's name first.
    pub(crate) fn read(words: impl IntoIterator<Item = std::ffi::OsString>) -> Result<Self, clap::Error> {
        Self::from_arg_matches(&go_switches(Self::command()).try_get_matches_from(words)?)
    }
}

/// How Go writes a switch's value.
const BOOLS: [&str; 12] = ["true", "false", "1", "0", "t", "f", "T", "F", "TRUE", "FALSE", "True", "False"];

/// Makes every switch of a command and of those below it take a value too, as Go's flags do: `--insecure=false`.
fn go_switches(command: clap::Command) -> clap::Command {
    let switch = |argument: clap::Arg| {
        if !matches!(argument.get_action(), ArgAction::SetTrue) {
            return argument;
        }
        argument
            .action(ArgAction::Set)
            .num_args(0..=1)
            .require_equals(true)
            .default_value("false")
            .default_missing_value("true")
            .value_parser(PossibleValuesParser::new(BOOLS).map(|value| value.starts_with(['t', 'T', '1'])))
            .value_name("BOOL")
            .hide_possible_values(true)
            .hide_default_value(true)
    };
    command.mut_args(switch).mut_subcommands(go_switches)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Args, clap::Error> {
        Args::read(line.split(' ').map(Into::into))
    }

    #[test]
    fn the_command_line_is_consistent() {
        go_switches(Args::command()).debug_assert();
    }

    #[test]
    fn switches_take_go_s_values() {
        for (line, insecure, full_ref) in [
            ("hoist ls x", false, false),
            ("hoist ls --full-ref --insecure x", true, true),
            ("hoist --insecure=true ls x --full-ref=false", true, false),
            ("hoist ls --insecure=1 --full-ref=T x", true, true),
            ("hoist ls --insecure --insecure=f x", false, false),
        ] {
            let args = read(line).unwrap();
            let Some(Command::Ls(ls)) = args.command else { panic!("{line}") };
            assert_eq!((args.global.insecure, ls.full_ref), (insecure, full_ref), "{line}");
        }
        assert!(read("hoist ls --insecure=maybe x").is_err());
    }
}
