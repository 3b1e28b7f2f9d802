//! What may be typed. Flags are crane's, and some more; the doc comments are the help.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::error::ErrorKind::DisplayHelp;
use clap::{ArgAction, CommandFactory, FromArgMatches, Parser, Subcommand};

use registry::AllowedHost;

use crate::access::Access;
use crate::amount::Size;
use crate::commands;
use crate::progress::Choice;
use crate::settings::PlatformChoice;

/// Look into, copy and serve container images and every other OCI artifact, without a container runtime.
///
/// A crane command line works unchanged. What goes beyond crane is marked with (+). Switches take a value too, as Go's
/// do: `--insecure=false`.
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
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
pub(crate) struct Global {
    /// Allow plain http and any TLS certificate
    #[arg(long, global = true)]
    pub(crate) insecure: bool,
    /// The platform to take of an index: `os/arch[/variant][:osversion]`, `all`, or `host` for this machine's (+)
    ///
    /// Given several times, the last one counts; `index filter` takes several, `diff` one for each image.
    #[arg(long, global = true, value_name = "PLATFORM")]
    pub(crate) platform: Vec<PlatformChoice>,
    /// Also push layers that their owner does not allow to be distributed
    #[arg(long, global = true)]
    pub(crate) allow_nondistributable_artifacts: bool,
    /// Show all requests and answers, without secrets
    #[arg(short, long, global = true)]
    pub(crate) verbose: bool,
    /// A place that registries may send hoist to though it is private: a host, HOST:PORT, or a range such as
    /// `10.0.0.0/8` (+)
    #[arg(long, global = true, value_name = "HOST")]
    pub(crate) allow_host: Vec<AllowedHost>,
    /// Keep blobs that come from registries in this directory, and take from there what it has (`$HOIST_CACHE`) (+)
    #[arg(long, global = true, value_name = "DIR", alias = "cache_path")]
    pub(crate) cache: Option<PathBuf>,
    /// The most that is kept there, such as 500M or 20GiB; the longest unused goes (2GiB, or `$HOIST_CACHE_SIZE`) (+)
    #[arg(long, global = true, value_name = "SIZE")]
    pub(crate) cache_size: Option<Size>,
    /// Neither use nor keep what is remembered of registries between runs, nor a cache (+)
    #[arg(long, global = true)]
    pub(crate) no_cache: bool,
    /// How far a transfer is: bars on a terminal and lines elsewhere, or what is named here (+)
    #[arg(long, global = true, value_enum, default_value = "auto", value_name = "FORM")]
    pub(crate) progress: Choice,
    #[command(flatten)]
    pub(crate) access: Access,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Append(Box<commands::append::Args>),
    Auth(commands::auth::Args),
    Blob(commands::blob::Args),
    Cache(commands::cache::Args),
    Cat(commands::cat::Args),
    Catalog(commands::catalog::Args),
    /// What the scripts of `completion` call; no verb of its own.
    #[command(skip)]
    Complete(commands::completion::Request),
    Completion(commands::completion::Args),
    Config(commands::config::Args),
    #[command(visible_alias = "cp")]
    Copy(Box<commands::copy::Args>),
    Delete(commands::delete::Args),
    Diff(commands::diff::Args),
    Digest(commands::digest::Args),
    Doctor(commands::doctor::Args),
    Edit(commands::edit::Args),
    Export(commands::export::Args),
    Extract(commands::extract::Args),
    Files(commands::files::Args),
    Find(Box<commands::find::Args>),
    Flatten(commands::flatten::Args),
    Grep(commands::grep::Args),
    History(commands::history::Args),
    Index(commands::index::Args),
    Layout(commands::layout::Args),
    Ls(commands::ls::Args),
    Man(commands::man::Args),
    Manifest(commands::manifest::Args),
    Mutate(Box<commands::mutate::Args>),
    Pull(commands::pull::Args),
    Push(commands::push::Args),
    Ratelimit(commands::ratelimit::Args),
    Rebase(commands::rebase::Args),
    Referrers(commands::referrers::Args),
    Registry(commands::registry::Args),
    Tag(commands::tag::Args),
    Toc(commands::toc::Args),
    Tour(commands::tour::Args),
    Tree(commands::files::Drawn),
    Validate(commands::validate::Args),
    Version(commands::version::Args),
    Why(commands::why::Args),
}

impl Args {
    /// Parses a command line, the program's name first.
    pub(crate) fn read(words: impl IntoIterator<Item = OsString>) -> Result<Self, clap::Error> {
        let words: Vec<OsString> = words.into_iter().collect();
        if let Some(request) = commands::completion::Request::of(&words) {
            let global = match Self::global_of(&request) {
                Some(global) => global,
                None => Self::parsed(&words[..1])?.global,
            };
            return Ok(Self { global, command: Some(Command::Complete(request)) });
        }
        Self::parsed(&words)
    }

    /// The options of all verbs on a line that is not whole yet, as far as they can be read.
    fn global_of(request: &commands::completion::Request) -> Option<Global> {
        let line = ["hoist"].into_iter().chain(request.options());
        let matches = go_switches(Self::command()).ignore_errors(true).try_get_matches_from(line).ok()?;
        Global::from_arg_matches(&matches).ok()
    }

    fn parsed(words: &[OsString]) -> Result<Self, clap::Error> {
        let failed = match go_switches(Self::command()).try_get_matches_from(words) {
            Ok(matches) => return Self::from_arg_matches(&matches),
            Err(error) => error,
        };
        // The help of switches as switches: what they take besides is told in one place.
        match Self::command().try_get_matches_from(words) {
            Err(help) if failed.kind() == DisplayHelp && help.kind() == DisplayHelp => Err(help),
            _ => Err(failed),
        }
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
    fn completion_goes_by_the_options_that_were_typed() {
        for (line, insecure, platform) in [
            ("hoist __complete manifest --insecure --platform linux/arm64 x", true, true),
            ("hoist __complete --insecure=true ls --platform=linux/arm64 --full-ref x", true, true),
            ("hoist __complete ls --platform linux x", false, false),
            ("hoist __complete manifest --insecure", false, false),
            ("hoist __complete manifest --password-stdin --help x", false, false),
            ("hoist __complete", false, false),
        ] {
            let args = read(line).unwrap();
            assert!(matches!(args.command, Some(Command::Complete(_))), "{line}");
            let found = (
                args.global.insecure,
                args.global.platform != [PlatformChoice::All] && !args.global.platform.is_empty(),
            );
            assert_eq!(found, (insecure, platform), "{line}");
            assert!(!args.global.access.reads_stdin(), "{line}");
        }
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
