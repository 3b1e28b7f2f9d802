mod names;

use std::ffi::OsString;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::{CommandFactory, ValueEnum};
use clap_complete::engine::{ArgValueCompleter, CompletionCandidate, complete as candidates};

use crate::context::Context;
use crate::failure::Failure;
use crate::ui::Ui;

/// Print a script that completes command lines, tags included
///
/// For this shell: `source <(hoist completion bash)`, also for zsh; `hoist completion fish | source`;
/// `hoist completion powershell | Out-String | Invoke-Expression`. For all: the same in ~/.bashrc and the like.
///
/// It completes verbs, flags and platforms, and asks registries for what they have: the tags of the repository that was
/// typed and the repositories of the registry, with your credentials, for two seconds at most.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The shell that the script is for
    #[arg(value_name = "SHELL")]
    shell: Shell,
    /// Complete without descriptions
    #[arg(long)]
    no_descriptions: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Shell {
    Bash,
    Zsh,
    Fish,
    Powershell,
}

impl Shell {
    fn script(self) -> &'static str {
        match self {
            Self::Bash => include_str!("bash.sh"),
            Self::Zsh => include_str!("zsh.zsh"),
            Self::Fish => include_str!("fish.fish"),
            Self::Powershell => include_str!("powershell.ps1"),
        }
    }
}

pub(crate) fn run(ui: &Ui, args: &Args) -> Result<(), Failure> {
    // The script completes the name that it was asked for by: hoist, or a link to it such as crane.
    let program = std::env::args_os().next().unwrap_or_default();
    let name = std::path::Path::new(&program).file_stem().and_then(|name| name.to_str());
    let usual = |name: &&str| name.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c));
    let name = name.filter(usual).unwrap_or("hoist");
    let verb = if args.no_descriptions { BARE } else { DESCRIBED };
    let function = name.replace(['.', '-'], "_");
    let script = args.shell.script();
    ui.print(script.replace("FUNCTION", &function).replace("NAME", name).replace("COMPLETE", verb).as_bytes())
}

/// What completion scripts call the program with, before the words of the line without its name. These names and the
/// answer are those of Go's cobra, so that the scripts of crane work when hoist has taken its place.
const DESCRIBED: &str = "__complete";
const BARE: &str = "__completeNoDesc";

/// The last line of the answer: what the shell should do, added up.
const NO_SPACE: u8 = 2;
const NO_FILES: u8 = 4;
const KEEP_ORDER: u8 = 32;

/// The words of a line to complete; the last is what stands before the cursor.
#[derive(Debug)]
pub(crate) struct Request {
    words: Vec<String>,
    described: bool,
}

impl Request {
    /// The request that a command line is, if it is one.
    pub(crate) fn of(line: &[OsString]) -> Option<Self> {
        let (verb, words) = line.get(1..)?.split_first()?;
        let described = match verb.to_str()? {
            DESCRIBED => true,
            BARE => false,
            _ => return None,
        };
        let mut words: Vec<String> = words.iter().map(|word| word.to_string_lossy().into_owned()).collect();
        match words.last_mut() {
            // What older PowerShells make of an empty word.
            Some(last) if last == "\"\"" => last.clear(),
            Some(_) => {}
            None => words.push(String::new()),
        }
        Some(Self { words, described })
    }

    /// The words behind which options may be found; never one that would read standard input.
    pub(crate) fn options(&self) -> impl Iterator<Item = &str> {
        let whole = self.words.len().saturating_sub(1);
        self.words[..whole].iter().map(String::as_str).filter(|word| !word.contains("password-stdin"))
    }
}

/// Answers a completion script. Whatever goes wrong leaves candidates out, and is not told.
pub(crate) async fn complete(context: &Context, request: Request) -> Result<(), Failure> {
    // The search is synchronous, and asks registries in between.
    let names = names::Names::new(context.with_ui(Ui::captured().0), request.words.clone());
    let (ui, described) = (context.ui.clone(), request.described);
    let answer = tokio::task::spawn_blocking(move || answer(request.words, described, names)).await;
    ui.print(answer.unwrap_or_else(|_| format!(":{NO_FILES}\n")).as_bytes())
}

fn answer(words: Vec<String>, described: bool, names: names::Names) -> String {
    let current = words.last().cloned().unwrap_or_default();
    // A flag's value is answered without the flag.
    let flag = current.split_once('=').filter(|_| current.starts_with('-')).map(|(flag, _)| flag.len() + 1);
    let files = Arc::new(AtomicBool::new(false));
    let mut command = with_completers(crate::args::Args::command(), &Arc::new(names), &files);
    let line = std::iter::once("hoist".to_owned()).chain(words).map(OsString::from).collect::<Vec<_>>();
    let last = line.len() - 1;
    let found = candidates(&mut command, line, last, None).unwrap_or_default();
    let is_flag = |value: &str| value.starts_with("--") || (value.len() == 2 && value.starts_with('-'));
    let mut directive = KEEP_ORDER;
    let mut answer = String::new();
    for candidate in &found {
        let value = candidate.get_value().to_string_lossy();
        // Flags are for those who begin to type one.
        if current.is_empty() && is_flag(&value) {
            continue;
        }
        let Some(value) = value.get(flag.unwrap_or(0)..) else { continue };
        if value.ends_with([':', '/', '@']) {
            directive |= NO_SPACE;
        }
        answer.push_str(value);
        if let Some(help) = candidate.get_help().filter(|_| described) {
            answer.push('\t');
            answer.push_str(help.to_string().lines().next().unwrap_or_default());
        }
        answer.push('\n');
    }
    if !files.load(Ordering::Relaxed) {
        directive |= NO_FILES;
    }
    answer + &format!(":{directive}\n")
}

/// Gives the arguments of all verbs their completers, by what they are called in the help.
fn with_completers(
    command: clap::Command,
    names: &Arc<names::Names>,
    files: &Arc<AtomicBool>,
) -> clap::Command {
    let add = |argument: clap::Arg| {
        let called = argument.get_value_names().and_then(|names| names.first()).map(ToString::to_string);
        let (names, files) = (Arc::clone(names), Arc::clone(files));
        let completer = |kind| {
            ArgValueCompleter::new(move |current: &std::ffi::OsStr| {
                let found = current.to_str().map(|current| names.complete(kind, current)).unwrap_or_default();
                found.into_iter().map(CompletionCandidate::new).collect::<Vec<_>>()
            })
        };
        match called.as_deref() {
            Some("IMAGE" | "SRC" | "DST") => argument.add(completer(names::Wanted::Image)),
            Some("REPO") => argument.add(completer(names::Wanted::Repository)),
            Some("BLOB") => argument.add(completer(names::Wanted::Blob)),
            Some("PLATFORM") => argument.add(completer(names::Wanted::Platform)),
            Some("TARBALL" | "DIR" | "FILE" | "PATH") => {
                argument.add(ArgValueCompleter::new(move |_: &std::ffi::OsStr| {
                    files.store(true, Ordering::Relaxed);
                    Vec::new()
                }))
            }
            _ => argument,
        }
    };
    command.mut_args(add).mut_subcommands(|below| with_completers(below, names, files))
}
