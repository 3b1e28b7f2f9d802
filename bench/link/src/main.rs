//! A wide-area link on this machine: stands before a registry and passes everything on, later and slower.
//!
//! usage: `link HOST:PORT [--delay MS] [--rate MBIT] [--shared MBIT] [--cut MIB]`, or with `--check` instead of the place
//!
//! `--delay`: each way. `--rate`: of each connection, in each direction. `--shared`: of all connections together, in
//! each direction. `--cut`: a connection is broken when that much has passed over it, both directions counted.
//!
//! It listens on a free loopback port and says which (`listening on …`). Then it takes orders from standard input, a line
//! each: `count` answers with all counts so far as a line of JSON, `silence SECONDS` stops everything for that long. It
//! ends with its input. `--check` measures itself against what was asked for, and fails when it is off by a tenth.

mod check;
mod count;
mod line;
mod link;
mod pump;

use std::io::{BufRead, Write};
use std::process::ExitCode;
use std::time::Duration;

use link::{Link, Settings};

const MBIT: f64 = 1e6 / 8.0;
const MIB: f64 = 1_048_576.0;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("link: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[String]) -> Result<(), String> {
    let (place, options) = arguments.split_first().ok_or("where to? HOST:PORT")?;
    let settings = settings(options)?;
    if place == "--check" {
        return check::check(&settings);
    }
    let link = Link::start(place, settings).map_err(|error| format!("listening: {error}"))?;
    say(&format!("listening on {}", link.address()))?;
    for order in std::io::stdin().lock().lines() {
        let order = order.map_err(|error| format!("reading orders: {error}"))?;
        match order.split_once(' ') {
            None if order == "count" => say(&link.counts().json())?,
            Some(("silence", seconds)) => link.silence(Duration::from_secs_f64(number(seconds)?)),
            _ => return Err(format!("no order: {order:?}")),
        }
    }
    Ok(())
}

fn settings(options: &[String]) -> Result<Settings, String> {
    let mut settings = Settings::default();
    for pair in options.chunks(2) {
        let [name, value] = pair else { return Err(format!("{}: no value", pair[0])) };
        let value = number(value)?;
        match name.as_str() {
            "--delay" => settings.delay = Duration::from_secs_f64(value / 1e3),
            "--rate" => settings.rate = Some(value * MBIT),
            "--shared" => settings.shared = Some(value * MBIT),
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "a positive number of bytes"
            )]
            "--cut" => settings.cut = Some((value * MIB) as u64),
            _ => return Err(format!("no option: {name:?}")),
        }
    }
    Ok(settings)
}

fn number(text: &str) -> Result<f64, String> {
    text.parse().ok().filter(|value| *value > 0.0).ok_or(format!("no number above 0: {text:?}"))
}

fn say(line: &str) -> Result<(), String> {
    let mut output = std::io::stdout().lock();
    writeln!(output, "{line}").and_then(|()| output.flush()).map_err(|error| format!("writing: {error}"))
}
