//! What verbs that look into images have in common.

use std::fmt::Write as _;
use std::sync::Arc;

use image::{Inside, Looking};
use layer::{Entry, Kind};
use local::Tables;
use oci::{Descriptor, Digest, Manifest};
use serde::Serialize;
use serde_json::Value;
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
    let Source { store, selector, .. } = context.open(typed).await?;
    let platform = context.settings.platform_or_default();
    let manifest = transfer::select(&*store, &selector, &platform).await?;
    let progress = Arc::new(Progress::read(context.ui.clone()));
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

/// The position of a layer by its number from 1 at the bottom, its digest, or the beginning of that.
pub(crate) fn layer(layers: &[Descriptor], typed: &str) -> Result<usize, Failure> {
    let count = layers.len();
    if let Ok(number) = typed.parse::<usize>()
        && typed.len() < 6
    {
        return number.checked_sub(1).filter(|index| *index < count).ok_or_else(|| {
            Failure::new(format_args!("there is no layer {typed}: the image has {count}, counted from 1"))
        });
    }
    let begins = |layer: &Descriptor| {
        layer.digest.to_string().starts_with(typed) || layer.digest.hex().starts_with(typed)
    };
    let mut found = layers.iter().enumerate().filter(|(_, layer)| begins(layer)).map(|(index, _)| index);
    match (found.next(), found.next()) {
        (Some(index), None) => Ok(index),
        (Some(index), Some(other)) if layers[index].digest == layers[other].digest => Ok(index),
        (Some(_), Some(_)) => Err(Failure::new(format_args!("more than one layer begins with {typed}"))),
        (None, _) => Err(Failure::new(format_args!("the image has no layer {typed}"))
            .hint("`hoist manifest IMAGE --jq '.layers[].digest'` lists them")),
    }
}

/// What made each layer, bottom first, as far as the configuration tells.
pub(crate) async fn instructions(looked: &Looked) -> Result<Vec<Option<String>>, Failure> {
    let Ok(config) = image::config(&*looked.store, &looked.manifest).await else { return Ok(Vec::new()) };
    let Ok(config) = serde_json::from_slice::<Value>(&config) else { return Ok(Vec::new()) };
    let steps = config["history"].as_array().cloned().unwrap_or_default();
    let steps = steps.into_iter().filter(|step| step["empty_layer"] != true);
    Ok(steps.map(|step| step["created_by"].as_str().map(str::to_owned)).collect())
}

/// An instruction in one line, without the shell before it, at most so many letters of it.
pub(crate) fn instruction(created_by: &str, width: usize) -> String {
    let text = created_by.strip_prefix("/bin/sh -c #(nop) ").unwrap_or(created_by);
    let text = text.replacen("/bin/sh -c ", "RUN ", usize::from(text.starts_with("/bin/sh -c ")));
    let text = shown(text.split_whitespace().collect::<Vec<_>>().join(" ").as_bytes());
    if text.chars().count() <= width {
        return text;
    }
    text.chars().take(width.saturating_sub(1)).chain(['…']).collect()
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

/// A path that begins at the root; of the root itself, `/`.
pub(crate) fn absolute(path: &[u8]) -> String {
    format!("/{}", shown(path))
}

/// One entry of an image, for programs and for long lines.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Item {
    pub(crate) path: String,
    #[serde(rename = "type")]
    pub(crate) kind: &'static str,
    /// Octal.
    pub(crate) mode: String,
    pub(crate) uid: u64,
    pub(crate) gid: u64,
    pub(crate) user: String,
    pub(crate) group: String,
    /// In bytes.
    pub(crate) size: u64,
    /// RFC 3339.
    pub(crate) time: String,
    /// Where a link leads.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) target: Option<String>,
    /// The layer that the content comes from, counted from 1 at the bottom.
    pub(crate) layer: usize,
    pub(crate) layer_digest: String,
    /// What became of it, where that is asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) status: Option<&'static str>,
    #[serde(skip)]
    letters: String,
}

impl Item {
    /// An entry of a layer, at a path; `link`: it is a hard link of what is there.
    pub(crate) fn new(
        path: &[u8],
        entry: &Entry,
        layer: usize,
        digest: &Digest,
        link: Option<&[u8]>,
    ) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let metadata = &entry.metadata;
        Self {
            path: format!("/{}", text(path)),
            kind: if link.is_some() { "hardlink" } else { kind(&entry.kind) },
            mode: format!("{:04o}", metadata.mode),
            uid: metadata.uid,
            gid: metadata.gid,
            user: text(&metadata.uname),
            group: text(&metadata.gname),
            size: entry.size(),
            time: time(metadata.mtime),
            target: link.or_else(|| target(&entry.kind)).map(text),
            layer: layer + 1,
            layer_digest: digest.to_string(),
            status: None,
            letters: mode(entry),
        }
    }

    /// The same, with what became of it.
    pub(crate) fn having(self, status: Option<&'static str>) -> Self {
        Self { status, ..self }
    }

    /// The path, and where a link leads.
    pub(crate) fn line(&self) -> String {
        let arrow = if self.kind == "hardlink" { "=" } else { "->" };
        let target = self.target.as_ref().map(|target| format!(" {arrow} {}", shown(target.as_bytes())));
        format!("{}{}", shown(self.path.as_bytes()), target.unwrap_or_default())
    }

    /// Mode, owner, size, time, layer and path; `width` is that of sizes.
    pub(crate) fn long(&self, width: usize) -> String {
        let Self { letters, uid, gid, size, time, layer, .. } = self;
        let owner = format!("{uid}:{gid}");
        format!("{letters} {owner:>9} {size:>width$} {time} {layer:>3} {}", self.line())
    }
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
