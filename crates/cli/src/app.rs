//! From the command line to an exit code.

use std::error::Error as _;
use std::ffi::{OsStr, OsString};
use std::future::Future;
use std::process::ExitCode;
use std::time::Duration;

use clap::CommandFactory;
use clap::error::ErrorKind;

use crate::args::{Args, Command};
use crate::commands::{self, auth::helper};
use crate::context::{Context, Scratch};
use crate::failure::Failure;
use crate::heap;
use crate::jq;
use crate::settings::{Settings, is_crane};
use crate::ui::Ui;

/// How long work that cannot be cancelled may go on behind a command that has ended.
const LAST_BREATH: Duration = Duration::from_millis(200);

pub(crate) fn main() -> ExitCode {
    let ui = Ui::standard();
    let program = std::env::args_os().next().unwrap_or_else(|| OsString::from("hoist"));
    if helper::is_called(&program) {
        return help(&ui, std::env::args_os().nth(1));
    }
    let args = match Args::read(std::env::args_os()) {
        Ok(args) => args,
        Err(error) => return usage(&ui, &error),
    };
    let Some(command) = args.command else {
        ui.note(&Args::command().render_help().to_string());
        return ExitCode::SUCCESS;
    };
    let ui = ui.showing(args.global.progress);
    if args.global.verbose {
        log_requests();
    }
    let outcome = match &command {
        Command::Version(args) => commands::version::run(&ui, args).map(|()| None),
        _ => Settings::new(&args.global, &program, |name| std::env::var(name).ok())
            .and_then(|settings| start(command, settings, &ui)),
    };
    end(&ui, &program, outcome)
}

/// hoist as a credential helper.
fn help(ui: &Ui, action: Option<OsString>) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let outcome = runtime
        .map_err(|error| Failure::new(format_args!("starting: {error}")))
        .and_then(|runtime| runtime.block_on(helper::run(ui, action)));
    end(ui, OsStr::new("hoist"), outcome.map(|()| None))
}

/// What a command leaves behind.
fn end(ui: &Ui, program: &OsStr, outcome: Result<Option<Signal>, Failure>) -> ExitCode {
    match outcome {
        Ok(None) => {
            ui.print_warnings();
            ExitCode::SUCCESS
        }
        Ok(Some(signal)) => {
            ui.stopped(signal.text());
            ExitCode::from(if is_crane(program) { 1 } else { signal.code() })
        }
        Err(Failure::Closed) => ExitCode::SUCCESS,
        Err(failure) => {
            ui.fail(&failure);
            ExitCode::FAILURE
        }
    }
}

/// Help and version are results; everything else that the parser says is an error in one line.
fn usage(ui: &Ui, error: &clap::Error) -> ExitCode {
    if let Some(invalid) = error.source().and_then(|source| source.downcast_ref::<jq::Invalid>()) {
        ui.fail(&Failure::new(invalid));
        return ExitCode::FAILURE;
    }
    let text = error.render().to_string();
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        // Whoever closed the output does not want the help.
        let _ = ui.print(text.as_bytes());
        return ExitCode::SUCCESS;
    }
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        ui.note(&text);
        return ExitCode::SUCCESS;
    }
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let first = lines.next().unwrap_or_default();
    let mut cause = first.strip_prefix("error: ").unwrap_or(first).to_owned();
    let mut hints = Vec::new();
    for line in lines {
        if let Some(tip) = line.strip_prefix("tip: ") {
            hints.push(tip.to_owned());
        } else if line.starts_with("[possible values: ") {
            hints.push(line.trim_matches(['[', ']']).to_owned());
        } else if line.starts_with('<') || line.starts_with("--") {
            // The arguments that are missing stand each on a line of its own.
            cause = format!("{cause} {line}");
        }
    }
    hints.push("--help shows what may be given".to_owned());
    ui.fail(&Failure::Error { text: cause, hints });
    ExitCode::FAILURE
}

/// What ended a command from outside.
#[derive(Clone, Copy)]
enum Signal {
    Interrupt,
    Terminate,
}

impl Signal {
    fn code(self) -> u8 {
        match self {
            Self::Interrupt => 130,
            Self::Terminate => 143,
        }
    }

    fn text(self) -> &'static str {
        match self {
            Self::Interrupt => "interrupted",
            Self::Terminate => "terminated",
        }
    }
}

fn start(command: Command, settings: Settings, ui: &Ui) -> Result<Option<Signal>, Failure> {
    heap::keep_freed();
    let threads = std::thread::available_parallelism().map_or(2, usize::from).min(4);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads)
        .enable_all()
        .build()
        .map_err(|error| Failure::new(format_args!("starting threads: {error}")))?;
    // Temporary folders outlive the runtime: when they are removed nothing writes there any more.
    let scratch = Scratch::default();
    let context = Context::new(settings, ui.clone(), scratch.clone());
    let work = context.clone();
    let outcome = runtime.block_on(until_signal(async move { commands::run(command, &work).await }));
    context.remember();
    runtime.shutdown_timeout(LAST_BREATH);
    scratch.remove();
    outcome
}

/// Runs to the end, or until a signal comes. Then the work is dropped, and with it what it had begun. It is a task of
/// its own, so that a signal is heard also while it waits for whoever reads the output.
async fn until_signal(
    work: impl Future<Output = Result<(), Failure>> + Send + 'static,
) -> Result<Option<Signal>, Failure> {
    use tokio::signal::unix::{SignalKind, signal};
    let failed = |error| Failure::new(format_args!("listening for signals: {error}"));
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    let mut work = tokio::spawn(work);
    let signal = tokio::select! {
        outcome = &mut work => {
            // Nobody cancels the task here, so what it did not return is a panic, which has been reported.
            return outcome.unwrap_or_else(|error| Err(Failure::new(error))).map(|()| None);
        }
        _ = interrupt.recv() => Signal::Interrupt,
        _ = terminate.recv() => Signal::Terminate,
    };
    work.abort();
    // What the work holds is given back before the program ends, unless it is stuck in its output.
    let _ = tokio::time::timeout(LAST_BREATH, work).await;
    Ok(Some(signal))
}

/// `-v`: requests and answers on standard error.
fn log_requests() {
    use tracing_subscriber::Layer;
    use tracing_subscriber::layer::SubscriberExt;
    let ours = tracing_subscriber::filter::filter_fn(|metadata| metadata.target().starts_with("hoist"));
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .with_target(false)
        .with_level(false)
        .without_time()
        .with_filter(ours);
    // A second subscriber cannot be: this runs once.
    let _ = tracing::subscriber::set_global_default(tracing_subscriber::registry().with(lines));
}
