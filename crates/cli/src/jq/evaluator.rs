//! The process that evaluates an expression: it reads one, compiles it, reads a document, and writes the result.

use std::io::{self, Read, Write};
use std::process::ExitCode;
use std::thread;

use super::frame::{Frame, Kind, read_block};
use super::program::{End, Output, Program};

/// What the program is called with to be that process.
pub(crate) const NAME: &str = "__jq";

/// How much stack an evaluation has, in bytes. Only what is used takes memory.
const STACK: usize = 256 << 20;

/// So much of the result is written at once, in bytes.
const BATCH: usize = 32 << 10;

/// Whether this process is one.
pub(crate) fn is_meant() -> bool {
    let mut arguments = std::env::args_os().skip(1);
    arguments.next().is_some_and(|argument| argument == NAME) && arguments.next().is_none()
}

/// Evaluates. Whatever goes wrong is told in a frame, or by an end without one.
pub(crate) fn main() -> ExitCode {
    let evaluation = thread::Builder::new().stack_size(STACK).spawn(evaluate);
    let outcome = match evaluation {
        Ok(evaluation) => evaluation.join().unwrap_or_else(|_| Err(io::ErrorKind::Other.into())),
        Err(error) => Frame::write(&mut io::stdout(), Kind::Failed, format!("no stack: {error}").as_bytes()),
    };
    if outcome.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn evaluate() -> io::Result<()> {
    let mut input = io::stdin().lock();
    let expression = String::from_utf8(read_block(&mut input)?).map_err(|_| io::ErrorKind::InvalidData)?;
    let mut out = Batch { pending: Vec::new(), kind: Kind::Done };
    let program = match Program::compile(&expression) {
        Ok(program) => program,
        Err(reason) => return out.frame(Kind::Failed, reason.as_bytes()),
    };
    out.frame(Kind::Ready, b"")?;
    let document = read_block(&mut input)?;
    drop(input);
    thread::spawn(watch);
    let end = program.run(&document, &mut |output| match output {
        Output::Raw(text) => out.add(Kind::Raw, text),
        Output::Json(text) => out.add(Kind::Json, text),
        Output::Note(text) => out.frame(Kind::Note, text),
    });
    out.flush()?;
    match end {
        End::Done => out.frame(Kind::Done, b""),
        End::Failed(reason) => out.frame(Kind::Failed, reason.as_bytes()),
        End::Closed => Ok(()),
    }?;
    // What is built too deep to be freed need not be.
    std::process::exit(0)
}

/// Ends the process when whoever started it is gone.
fn watch() {
    let _ = io::stdin().lock().read(&mut [0]);
    std::process::exit(0)
}

/// Values that wait to be written together.
struct Batch {
    pending: Vec<u8>,
    kind: Kind,
}

impl Batch {
    fn add(&mut self, kind: Kind, text: &[u8]) -> io::Result<()> {
        if self.kind != kind {
            self.flush()?;
            self.kind = kind;
        }
        self.pending.extend_from_slice(text);
        if self.pending.len() >= BATCH { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let pending = std::mem::take(&mut self.pending);
        write(self.kind, &pending)
    }

    /// Writes a frame behind what waits.
    fn frame(&mut self, kind: Kind, content: &[u8]) -> io::Result<()> {
        self.flush()?;
        write(kind, content)
    }
}

fn write(kind: Kind, content: &[u8]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    Frame::write(&mut out, kind, content)?;
    out.flush()
}
