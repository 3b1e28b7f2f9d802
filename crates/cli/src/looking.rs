//! What verbs that look into images have in common.

use std::fmt::Write as _;
use std::sync::Arc;

use image::{Inside, Looking};
use layer::{Entry, Kind};
use local::Tables;
use oci::{Manifest, Platform};
use store::Store;

use crate::context::Context;
use crate::failure::Failure;
use crate::place::Source;
use crate::progress::Progress;

/// An image to look into, with what shows how far that is.
pub(crate) struct Looked {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) manifest: Manifest,
    pub(crate) inside: Inside,
    pub(crate) progress: Arc<Progress>,
}

/// Opens an image: of an index that for linux/amd64 or --platform.
pub(crate) async fn open(context: &Context, typed: &str) -> Result<Looked, Failure> {
    let progress = Arc::new(Progress::read(context.ui.clone()));
    let source = context.open(typed).await?;
    open_source(context, source, &context.settings.platform_or_default(), progress).await
}

/// The same, of what is open, for this platform; several may show how far they are together.
pub(crate) async fn open_source(
    context: &Context,
    Source { store, selector, .. }: Source,
    platform: &Platform,
    progress: Arc<Progress>,
) -> Result<Looked, Failure> {
    let manifest = transfer::select(&*store, &selector, platform).await?;
    let looking = Looking {
        tables: tables(context).map(Arc::new),
        observer: Arc::clone(&progress) as _,
        ..Looking::new(Arc::clone(&store))
    };
    let inside = Inside::new(looking, &manifest)?;
    Ok(Looked { store, manifest, inside, progress })
}

/// Where tables of contents are kept, unless nothing is to be.
pub(crate) fn tables(context: &Context) -> Option<Tables> {
    let settings = &context.settings;
    let root = settings.root.as_ref().filter(|_| !settings.forgetful)?;
    Some(Tables::new(root.tables(), settings.cache_size))
}

impl Looked {
    /// Ends what is shown, whatever came of it.
    pub(crate) fn end<T, E: Into<Failure>>(&self, outcome: Result<T, E>) -> Result<T, Failure> {
        self.progress.end(outcome.is_ok());
        outcome.map_err(Into::into)
    }
}

/// A path as it is shown: what is no text is escaped, so that no terminal does as an image says.
pub(crate) fn shown(path: &[u8]) -> String {
    let mut text = String::with_capacity(path.len());
    for chunk in path.utf8_chunks() {
        for c in chunk.valid().chars() {
            if c.is_control() {
                text.extend(c.escape_default());
            } else {
                text.push(c);
            }
        }
        for byte in chunk.invalid() {
            // Writing to a string does not fail.
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
    text
}

/// Type and permissions as `ls -l` writes them.
pub(crate) fn mode(entry: &Entry) -> String {
    let mode = entry.metadata.mode;
    let mut text = String::from(match entry.kind {
        Kind::File(_) => "-",
        Kind::Directory => "d",
        Kind::Symlink(_) => "l",
        Kind::HardLink(_) => "h",
        Kind::CharacterDevice(_) => "c",
        Kind::BlockDevice(_) => "b",
        Kind::Fifo => "p",
    });
    for (shift, special, letters) in [(6, 0o4000, "sS"), (3, 0o2000, "sS"), (0, 0o1000, "tT")] {
        let bits = mode >> shift;
        text.push(if bits & 4 != 0 { 'r' } else { '-' });
        text.push(if bits & 2 != 0 { 'w' } else { '-' });
        let (with, without) = letters.split_at(1);
        text.push_str(match (mode & special != 0, bits & 1 != 0) {
            (true, true) => with,
            (true, false) => without,
            (false, true) => "x",
            (false, false) => "-",
        });
    }
    text
}

/// What is there, in one word.
pub(crate) fn kind(kind: &Kind) -> &'static str {
    match kind {
        Kind::File(_) => "file",
        Kind::Directory => "directory",
        Kind::Symlink(_) => "symlink",
        Kind::HardLink(_) => "hardlink",
        Kind::CharacterDevice(_) => "character-device",
        Kind::BlockDevice(_) => "block-device",
        Kind::Fifo => "fifo",
    }
}

/// A time in UTC, to the second, as RFC 3339 has it.
pub(crate) fn time(time: layer::Time) -> String {
    // What no calendar has is as old as can be.
    let time = jiff::Timestamp::from_second(time.seconds).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Where a link leads, if it is one.
pub(crate) fn target(kind: &Kind) -> Option<&[u8]> {
    match kind {
        Kind::Symlink(target) | Kind::HardLink(target) => Some(target),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use layer::Metadata;

    use super::*;

    #[test]
    fn modes_are_written_as_ls_does() {
        for (bits, kind, text) in [
            (0o644, Kind::Fifo, "prw-r--r--"),
            (0o1777, Kind::Directory, "drwxrwxrwt"),
            (0o4755, Kind::Symlink(b"x"[..].into()), "lrwsr-xr-x"),
            (0o6000, Kind::HardLink(b"x"[..].into()), "h--S--S---"),
        ] {
            let entry = Entry { path: b"x"[..].into(), kind, metadata: Metadata::new(bits) };
            assert_eq!(mode(&entry), text);
        }
    }

    #[test]
    fn no_path_commands_a_terminal() {
        assert_eq!(shown(b"a\x1b[2J\n\xff\xc3\xa9"), "a\\u{1b}[2J\\n\\xffé");
    }
}
