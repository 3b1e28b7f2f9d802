//! `--jq`: what a jq expression makes of a result.
//!
//! An expression may recurse without end or build a value too deep to be freed, which ends the process that evaluates
//! it. So that is another one: the program itself, called as [`evaluator::NAME`], with an empty environment.

pub(crate) mod evaluator;
mod frame;
mod program;
mod text;

use std::fmt;
use std::io::{self, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use self::frame::{Frame, Kind};
use crate::failure::Failure;
use crate::json;
use crate::ui::Ui;

/// A jq expression, compiled, in a process that waits for the document.
#[derive(Clone, Debug)]
pub(crate) struct Expression {
    text: String,
    /// Until the first document.
    evaluator: Arc<Mutex<Option<Evaluator>>>,
}

/// Why a text is no expression, in one line.
#[derive(Debug)]
pub(crate) struct Invalid(String);

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Invalid {}

impl Expression {
    /// Compiles an expression. An argument's parser calls this: what is wrong shows before any request.
    pub(crate) fn new(text: &str) -> Result<Self, Invalid> {
        let evaluator = Evaluator::start(text).map_err(Invalid)?;
        Ok(Self { text: text.to_owned(), evaluator: Arc::new(Mutex::new(Some(evaluator))) })
    }

    /// Prints what it makes of a JSON document: strings raw, everything else as JSON, each on lines of its own.
    pub(crate) fn print(&self, ui: &Ui, document: &[u8]) -> Result<(), Failure> {
        let waiting = self.evaluator.lock().unwrap_or_else(PoisonError::into_inner).take();
        let mut evaluator = match waiting {
            Some(evaluator) => evaluator,
            None => Evaluator::start(&self.text).map_err(Failure::new)?,
        };
        evaluator.send(document).map_err(|error| self.failure(error))?;
        loop {
            let frame = evaluator.next().map_err(|error| self.failure(error))?;
            match frame.kind {
                Kind::Raw if ui.out_colour => ui.print(&json::harmless(&frame.content))?,
                Kind::Raw => ui.print(&frame.content)?,
                Kind::Json => ui.json(&frame.content)?,
                Kind::Note => ui.note(String::from_utf8_lossy(&frame.content).trim_end_matches('\n')),
                Kind::Failed => return Err(self.failure(String::from_utf8_lossy(&frame.content))),
                Kind::Ready | Kind::Done => return Ok(()),
            }
        }
    }

    fn failure(&self, reason: impl fmt::Display) -> Failure {
        Failure::new(about(&self.text, &reason))
    }
}

/// An error's text: the expression, and what is wrong.
fn about(expression: &str, reason: &impl fmt::Display) -> String {
    format!("--jq {:?}: {reason}", text::shortened(expression))
}

/// The process that evaluates an expression.
#[derive(Debug)]
struct Evaluator {
    child: Child,
    /// Open until the end: where it ends, the process does.
    input: Option<ChildStdin>,
    output: Option<BufReader<ChildStdout>>,
}

impl Evaluator {
    fn start(expression: &str) -> Result<Self, String> {
        let starting =
            |error: io::Error| about(expression, &format_args!("starting its evaluation: {error}"));
        let mut command = Command::new(program().map_err(starting)?);
        command.arg(evaluator::NAME).env_clear().stdin(Stdio::piped()).stdout(Stdio::piped());
        // Local time is the user's.
        command.envs(std::env::var_os("TZ").map(|zone| ("TZ", zone)));
        let mut child = command.stderr(Stdio::null()).spawn().map_err(starting)?;
        let (input, output) = (child.stdin.take(), child.stdout.take().map(BufReader::new));
        let mut evaluator = Self { child, input, output };
        let verdict = evaluator.send(expression.as_bytes()).and_then(|()| evaluator.next());
        match verdict {
            Ok(Frame { kind: Kind::Ready, .. }) => Ok(evaluator),
            Ok(frame) => Err(about(expression, &String::from_utf8_lossy(&frame.content))),
            Err(reason) => Err(about(expression, &reason)),
        }
    }

    fn send(&mut self, bytes: &[u8]) -> Result<(), String> {
        let Some(input) = &mut self.input else { return Err(self.end()) };
        let sent = frame::write_block(input, bytes).and_then(|()| input.flush());
        sent.map_err(|_| self.end())
    }

    fn next(&mut self) -> Result<Frame, String> {
        let Some(output) = &mut self.output else { return Err(self.end()) };
        Frame::read(output).map_err(|_| self.end())
    }

    /// Why it ended before it was done: nothing else stops it than its stack and its memory.
    fn end(&mut self) -> String {
        drop(self.input.take());
        let status = match self.child.wait() {
            Ok(status) => status.to_string(),
            Err(error) => error.to_string(),
        };
        format!("the expression recurses too deeply, or needs too much memory ({status})")
    }
}

impl Drop for Evaluator {
    fn drop(&mut self) {
        // It may have ended, which is as well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// This program, also where its file has been replaced since it was started.
fn program() -> io::Result<PathBuf> {
    if cfg!(target_os = "linux") { Ok("/proc/self/exe".into()) } else { std::env::current_exe() }
}
