//! What verbs that look into images have in common.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io::{self, Write};
use std::sync::Arc;

use image::inside::Indexes;
use image::{Inside, Looking};
use layer::{Entry, Kind, Limits, Merged, Node};
use local::Tables;
use oci::{Descriptor, Manifest, Platform};
use serde::Serialize;
use serde_json::Value;
use store::Store;

use crate::context::Context;
use crate::failure::Failure;
use crate::place::{Place, Source};
use crate::progress::Progress;

/// An image to look into, with what shows how far that is.
pub(crate) struct Looked {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) manifest: Manifest,
    pub(crate) inside: Inside,
    pub(crate) progress: Arc<Progress>,
}

/// How tables of contents are come by.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct Reading {
    /// Read the layers themselves: believe no index that the image has, use no table that is kept, and keep none
    #[arg(long)]
    no_index: bool,
    /// Believe SOCI indexes that refer to the image, too; whoever may push to its repository can make one
    #[arg(long, conflicts_with = "no_index")]
    trust_referrers: bool,
    /// Refuse a layer with more entries
    #[arg(long, value_name = "N")]
    max_entries: Option<usize>,
}

/// Opens an image: of an index that for linux/amd64 or --platform.
pub(crate) async fn open(context: &Context, typed: &str, reading: Reading) -> Result<Looked, Failure> {
    let progress = Arc::new(Progress::read(context.ui.clone()));
    let source = context.open(typed).await?;
    open_source(context, source, &context.settings.platform_or_default(), reading, progress).await
}

/// The same, of what is open, for this platform; several may show how far they are together.
pub(crate) async fn open_source(
    context: &Context,
    Source { store, selector, place }: Source,
    platform: &Platform,
    reading: Reading,
    progress: Arc<Progress>,
) -> Result<Looked, Failure> {
    let manifest = transfer::select(&*store, &selector, platform).await?;
    let indexes = match reading {
        Reading { no_index: true, .. } => Indexes::None,
        Reading { trust_referrers: true, .. } => Indexes::Referrers,
        _ => Indexes::Bound,
    };
    let limits = Limits::default();
    let is_far = matches!(place, Place::Registry(_)) && !reading.no_index;
    let whole = if is_far { context.kept(&store) } else { Arc::clone(&store) };
    let looking = Looking {
        whole,
        tables: tables(context).filter(|_| !reading.no_index).map(Arc::new),
        indexes,
        limits: Limits { entries: reading.max_entries.unwrap_or(limits.entries), ..limits },
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

/// One entry of an image, at a path. Made as it is wanted: a large image has many.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row<'a> {
    pub(crate) path: &'a [u8],
    pub(crate) entry: &'a Entry,
    /// Counted from zero at the bottom.
    pub(crate) layer: usize,
    /// The first name of the same file, if it has several.
    pub(crate) link: Option<&'a [u8]>,
    /// What became of it, where that is asked for.
    pub(crate) status: Option<&'static str>,
}

impl<'a> Row<'a> {
    /// A node of a merged file system.
    pub(crate) fn node(merged: &'a Merged<'a>, node: &'a Node<'a>) -> Self {
        let link = node.link().map(|first| merged.nodes[first].path());
        Self { path: node.path(), entry: node.entry, layer: node.layer(), link, status: None }
    }

    /// An entry of a layer as it is.
    pub(crate) fn entry(entry: &'a Entry, layer: usize, status: Option<&'static str>) -> Self {
        Self { path: &entry.path, entry, layer, link: None, status }
    }

    /// Where it leads, if anywhere, behind a sign for how.
    pub(crate) fn target(&self) -> Option<(&'static str, &'a [u8])> {
        match &self.entry.kind {
            Kind::Symlink(target) => Some((" -> ", target)),
            Kind::HardLink(target) => Some((" = /", target)),
            _ => self.link.map(|link| (" = /", link)),
        }
    }

    /// Writes its path; `is_shown`: to a terminal.
    pub(crate) fn write(&self, out: &mut dyn Write, is_shown: bool) -> io::Result<()> {
        out.write_all(b"/")?;
        out.write_all(&printed(self.path, is_shown))
    }

    /// Writes its path, and where it leads.
    pub(crate) fn write_long(&self, out: &mut dyn Write, is_shown: bool) -> io::Result<()> {
        self.write(out, is_shown)?;
        let Some((sign, target)) = self.target() else { return Ok(()) };
        out.write_all(sign.as_bytes())?;
        out.write_all(&printed(target, is_shown))
    }

    /// For programs.
    pub(crate) fn item(&self, layers: &[Descriptor]) -> Item {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let name = |bytes: &[u8]| (!bytes.is_empty()).then(|| text(bytes));
        let metadata = &self.entry.metadata;
        Item {
            path: format!("/{}", text(self.path)),
            kind: kind(&self.entry.kind),
            mode: format!("{:04o}", metadata.mode),
            uid: metadata.owner.uid,
            gid: metadata.owner.gid,
            user: name(&metadata.owner.uname),
            group: name(&metadata.owner.gname),
            size: self.entry.size(),
            time: time(metadata.mtime),
            target: target(&self.entry.kind).map(text),
            same_as: self.link.map(|link| format!("/{}", text(link))),
            layer: self.layer + 1,
            layer_digest: layers[self.layer].digest.to_string(),
            status: self.status,
        }
    }
}

/// One entry of an image, for programs.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Item {
    path: String,
    #[serde(rename = "type")]
    kind: &'static str,
    /// Octal.
    mode: String,
    uid: u64,
    gid: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<String>,
    /// In bytes.
    size: u64,
    /// RFC 3339.
    time: String,
    /// Where a link leads.
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<String>,
    /// The first name of the same file, if this is another.
    #[serde(skip_serializing_if = "Option::is_none")]
    same_as: Option<String>,
    /// The layer that the content comes from, counted from 1 at the bottom.
    layer: usize,
    layer_digest: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<&'static str>,
}

/// The columns of long lines.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Widths {
    owner: usize,
    size: usize,
    layer: usize,
}

impl Widths {
    pub(crate) fn of<'a>(rows: impl IntoIterator<Item = Row<'a>>) -> Self {
        rows.into_iter().fold(Self::default(), |widths, row| Self {
            owner: widths.owner.max(owner(row.entry).len()),
            size: widths.size.max(row.entry.size().to_string().len()),
            layer: widths.layer.max((row.layer + 1).to_string().len()),
        })
    }

    /// What stands before the path: mode, owner, size, time, layer.
    pub(crate) fn before(self, row: &Row<'_>) -> String {
        let entry = row.entry;
        format!(
            "{} {:<owner$} {:>size$} {} {:>layer$} ",
            mode(entry),
            owner(entry),
            entry.size(),
            time(entry.metadata.mtime),
            row.layer + 1,
            owner = self.owner,
            size = self.size,
            layer = self.layer,
        )
    }
}

/// By numbers: names differ from image to image.
pub(crate) fn owner(entry: &Entry) -> String {
    let owner = &entry.metadata.owner;
    format!("{}:{}", owner.uid, owner.gid)
}

/// A path as it is printed: as it is shown where that is on a terminal, else its bytes.
pub(crate) fn printed(path: &[u8], is_shown: bool) -> Cow<'_, [u8]> {
    if is_shown { shown(path).into_bytes().into() } else { path.into() }
}

/// A line of a file as it is shown: as a path is, but a tabulator is one.
pub(crate) fn shown_line(line: &[u8]) -> String {
    line.split(|byte| *byte == b'\t').map(shown).collect::<Vec<_>>().join("\t")
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

/// Where a link leads, if it is one.
pub(crate) fn target(kind: &Kind) -> Option<&[u8]> {
    match kind {
        Kind::Symlink(target) | Kind::HardLink(target) => Some(target),
        _ => None,
    }
}

/// A time in UTC, to the second, as RFC 3339 has it.
pub(crate) fn time(time: layer::Time) -> String {
    // What no calendar has is as old as can be.
    let time = jiff::Timestamp::from_second(time.seconds()).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
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
        assert_eq!(shown_line(b"\ta\x1b[2J\t\r"), "\ta\\u{1b}[2J\t\\r");
    }
}
