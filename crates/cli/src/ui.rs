//! The only place that prints. Results go to standard output, exact to the byte; everything else to standard error.

use std::fs::File;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, PoisonError};

use anstream::ColorChoice;
use indicatif::MultiProgress;
use serde::Serialize;

use crate::failure::Failure;
use crate::json;
use crate::progress::{Choice, Document, Shown};

/// What is written at a time of a result that comes in small pieces, in bytes.
const BUFFER: usize = 64 << 10;

/// Where output goes, and how it looks there.
#[derive(Clone)]
pub(crate) struct Ui {
    out: Sink,
    err: Sink,
    /// Standard output is a terminal that shows colours.
    pub(crate) out_colour: bool,
    /// Standard error is a terminal that shows colours.
    pub(crate) err_colour: bool,
    /// In which form transfers show themselves.
    pub(crate) shown: Shown,
    pub(crate) bars: MultiProgress,
    warnings: Arc<Mutex<Vec<String>>>,
}

#[derive(Clone)]
enum Sink {
    Stdout,
    Stderr,
    Memory(Arc<Mutex<Vec<u8>>>),
}

impl Sink {
    fn write(&self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Stdout => {
                let mut out = io::stdout().lock();
                out.write_all(bytes)?;
                out.flush()
            }
            Self::Stderr => io::stderr().lock().write_all(bytes),
            Self::Memory(buffer) => {
                buffer.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
                Ok(())
            }
        }
    }
}

impl Ui {
    /// The program's own standard output and error.
    pub(crate) fn standard() -> Self {
        let colour = |choice| !matches!(choice, ColorChoice::Never);
        Self {
            out: Sink::Stdout,
            err: Sink::Stderr,
            out_colour: colour(anstream::AutoStream::choice(&io::stdout())),
            err_colour: colour(anstream::AutoStream::choice(&io::stderr())),
            shown: Choice::Auto.shown(can_draw()),
            bars: MultiProgress::new(),
            warnings: Arc::default(),
        }
    }

    /// Keeps what is printed, for a command that is run within another; returns where results and notes end up.
    pub(crate) fn captured() -> (Self, Captured) {
        let captured = Captured { out: Arc::default(), err: Arc::default() };
        let ui = Self {
            out: Sink::Memory(Arc::clone(&captured.out)),
            err: Sink::Memory(Arc::clone(&captured.err)),
            out_colour: false,
            err_colour: false,
            shown: Shown::Plain,
            bars: MultiProgress::with_draw_target(indicatif::ProgressDrawTarget::hidden()),
            warnings: Arc::default(),
        };
        (ui, captured)
    }

    /// The same, in the form that was asked for.
    pub(crate) fn showing(self, choice: Choice) -> Self {
        Self { shown: choice.shown(can_draw()), ..self }
    }

    /// Prints a part of the result.
    pub(crate) fn print(&self, bytes: &[u8]) -> Result<(), Failure> {
        self.out.write(bytes).map_err(|error| Failure::output(&error))
    }

    /// Prints a line of the result.
    pub(crate) fn println(&self, line: &str) -> Result<(), Failure> {
        self.print(format!("{line}\n").as_bytes())
    }

    /// Prints a JSON document: for people with colour and a line end, for programs as it is.
    pub(crate) fn json(&self, document: &[u8]) -> Result<(), Failure> {
        if self.out_colour { self.print(&json::coloured(document)) } else { self.print(document) }
    }

    /// Whether results have colours.
    pub(crate) fn is_coloured(&self) -> bool {
        self.out_colour
    }

    /// Prints a JSON document without colours, piece by piece.
    pub(crate) fn stream_json(&self, document: &impl Serialize) -> Result<(), Failure> {
        let mut out = BufWriter::with_capacity(BUFFER, self.writer()?);
        let written = serde_json::to_writer_pretty(&mut out, document).map_err(io::Error::from);
        let written = written.and_then(|()| out.write_all(b"\n")).and_then(|()| out.flush());
        written.map_err(|error| Failure::output(&error))
    }

    /// Standard output for much data, unbuffered.
    pub(crate) fn writer(&self) -> Result<Box<dyn Write + Send>, Failure> {
        match &self.out {
            Sink::Memory(buffer) => Ok(Box::new(Shared(Arc::clone(buffer)))),
            Sink::Stdout | Sink::Stderr => {
                let descriptor = io::stdout().as_fd().try_clone_to_owned();
                Ok(Box::new(File::from(descriptor.map_err(|error| Failure::output(&error))?)))
            }
        }
    }

    /// Whether results are read by a person, on a terminal that does as it is told.
    pub(crate) fn is_terminal(&self) -> bool {
        matches!(self.out, Sink::Stdout) && io::stdout().is_terminal()
    }

    /// Says something about the work, with the time, in the shape of crane's log lines.
    pub(crate) fn log(&self, text: &str) {
        if self.shown == Shown::Json {
            return self.object(&Document::Note { message: text });
        }
        let now = jiff::ZonedDateTime::now().strftime("%Y/%m/%d %H:%M:%S");
        self.note(&format!("{now} {text}"));
    }

    /// Prints a line that is no result.
    pub(crate) fn note(&self, line: &str) {
        if self.shown == Shown::Json {
            return self.object(&Document::Note { message: line });
        }
        self.write(line);
    }

    /// Prints an object for programs.
    pub(crate) fn object(&self, document: &Document<'_>) {
        self.write(&document.line());
    }

    /// Writes a line to standard error, above the bars. It may be gone; there is nobody to tell then.
    fn write(&self, line: &str) {
        let _ = if self.shown == Shown::Bars && !self.bars.is_hidden() {
            self.bars.println(line)
        } else {
            self.err.write(format!("{line}\n").as_bytes())
        };
    }

    /// How many lines the terminal shows.
    pub(crate) fn height(&self) -> usize {
        match &self.err {
            Sink::Memory(_) => 24,
            Sink::Stdout | Sink::Stderr => {
                rustix::termios::tcgetwinsize(io::stderr()).map_or(24, |size| usize::from(size.ws_row))
            }
        }
    }

    /// Asks for something that is typed on the same line.
    pub(crate) fn ask(&self, question: &str) {
        let _ = self.err.write(question.as_bytes());
    }

    /// Keeps a registry's warning for the end.
    pub(crate) fn warn(&self, text: &str) {
        self.warnings.lock().unwrap_or_else(PoisonError::into_inner).push(text.to_owned());
    }

    /// Prints the warnings, each once, as crane does when a command has ended well.
    pub(crate) fn print_warnings(&self) {
        let mut warnings = std::mem::take(&mut *self.warnings.lock().unwrap_or_else(PoisonError::into_inner));
        warnings.sort();
        warnings.dedup();
        for text in warnings {
            if self.shown == Shown::Json {
                self.object(&Document::Warned { message: &text });
                continue;
            }
            let tag = if self.err_colour { "\u{1b}[33m[WARNING]\u{1b}[0m" } else { "[WARNING]" };
            self.note(&format!("{tag}: {text}"));
        }
    }

    /// Prints what ended a command from outside.
    pub(crate) fn stopped(&self, text: &str) {
        match self.shown {
            Shown::Json => self.object(&Document::Error { message: text, hints: &[] }),
            _ => self.note(text),
        }
    }

    /// Prints why a command failed.
    pub(crate) fn fail(&self, failure: &Failure) {
        let Failure::Error { text, hints } = failure else { return };
        if self.shown == Shown::Json {
            return self.object(&Document::Error { message: text, hints });
        }
        let paint = |code: &str, text: &str| {
            if self.err_colour { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
        };
        self.note(&format!("{} {text}", paint("1;31", "Error:")));
        for hint in hints {
            self.note(&format!("{} {hint}", paint("1;36", "hint:")));
        }
    }
}

/// Whether standard error is a terminal on which lines can be drawn again.
fn can_draw() -> bool {
    io::stderr().is_terminal() && std::env::var_os("TERM").is_some_and(|name| name != "dumb")
}

/// What a captured command printed.
pub(crate) struct Captured {
    out: Arc<Mutex<Vec<u8>>>,
    err: Arc<Mutex<Vec<u8>>>,
}

impl Captured {
    /// The result.
    pub(crate) fn out(&self) -> Vec<u8> {
        self.out.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The notes, as text.
    pub(crate) fn err(&self) -> String {
        String::from_utf8_lossy(&self.err.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
    }
}

struct Shared(Arc<Mutex<Vec<u8>>>);

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
