//! Text that somebody writes: in an editor where there is a terminal, else on standard input.

use std::fs::File;
use std::io::{self, IsTerminal, Read, Seek, Write};
use std::process::Command;

use bytes::Bytes;

use crate::failure::Failure;

/// The most that a document may have, in bytes.
const LIMIT: u64 = 4 << 20;

/// Another document in the place of this one.
pub(crate) async fn document(name: &str, old: &[u8]) -> Result<Bytes, Failure> {
    let (name, old) = (name.to_owned(), old.to_owned());
    blocking(move || {
        let new = if is_interactive() { edit(&name, &mut old.as_slice())? } else { standard_input()? };
        let mut text = Vec::new();
        new.take(LIMIT + 1).read_to_end(&mut text).map_err(|error| failed(&name, &error))?;
        if text.len() as u64 > LIMIT {
            return Err(Failure::new(format_args!("the new {name} has more than {LIMIT} bytes")));
        }
        Ok(text.into())
    })
    .await
}

/// Another file in the place of this one, if there is one.
pub(crate) async fn file(name: &str, old: Option<&File>) -> Result<File, Failure> {
    let name = name.to_owned();
    let old = old.map(File::try_clone).transpose().map_err(|error| failed(&name, &error))?;
    blocking(move || match old {
        Some(mut old) if is_interactive() => edit(&name, &mut old),
        None if is_interactive() => edit(&name, &mut io::empty()),
        _ => standard_input(),
    })
    .await
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    tokio::task::spawn_blocking(work).await.map_err(Failure::new)?
}

/// Whether somebody sits there.
fn is_interactive() -> bool {
    io::stdin().is_terminal() && io::stdout().is_terminal()
}

/// All of standard input, in a file without a name.
fn standard_input() -> Result<File, Failure> {
    let mut file = tempfile::tempfile().map_err(|error| failed("a temporary file", &error))?;
    let read = io::copy(&mut io::stdin().lock(), &mut file).and_then(|_| file.rewind());
    read.map_err(|error| failed("standard input", &error))?;
    Ok(file)
}

/// Lets somebody edit a text.
fn edit(name: &str, old: &mut dyn Read) -> Result<File, Failure> {
    let folder = tempfile::tempdir().map_err(|error| failed("a temporary folder", &error))?;
    let path = folder.path().join(name);
    let mut file = File::create(&path).map_err(|error| failed(name, &error))?;
    io::copy(old, &mut file).and_then(|_| file.flush()).map_err(|error| failed(name, &error))?;
    let editor = std::env::var("EDITOR").ok().filter(|editor| !editor.trim().is_empty());
    let editor = editor.unwrap_or_else(|| "vi".to_owned());
    // It may have arguments of its own.
    let mut words = editor.split_whitespace();
    let status = Command::new(words.next().unwrap_or("vi")).args(words).arg(&path).status();
    match status {
        Ok(status) if status.success() => {}
        Ok(status) => {
            return Err(Failure::new(format_args!("{editor}: {status}; nothing was changed")));
        }
        Err(error) => {
            return Err(Failure::new(format_args!("starting {editor}: {error}"))
                .hint("$EDITOR names the editor; what comes through standard input is taken without one"));
        }
    }
    // An editor may have put another file in its place.
    File::open(&path).map_err(|error| failed(name, &error))
}

fn failed(name: &str, error: &io::Error) -> Failure {
    Failure::new(format_args!("editing {name}: {error}"))
}
