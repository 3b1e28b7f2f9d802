//! Differences for people.

use std::io::{self, Write};

use image::Diff;
use image::diff::{Aspect, Difference, FileChange, How, PackageChange, Setting, State, Turn};
use indicatif::HumanBytes;
use layer::{Entry, Kind};
use serde_json::Value;

use crate::looking::{self, shown};

/// All sections that have something, A's and B's full names first; nothing where nothing is different. Files alone are lines alone.
pub(super) fn all(out: &mut dyn Write, names: &[String], found: &Difference, how: &Diff) -> io::Result<()> {
    if how.files_only {
        return found.files.iter().try_for_each(|change| file(out, change));
    }
    if found.is_empty() && found.download.total() == 0 {
        return Ok(());
    }
    for (side, name) in ["A", "B"].iter().zip(names) {
        writeln!(out, "{side} {name}")?;
    }
    section(out, "Config", &found.config, setting)?;
    layers(out, found)?;
    section(out, "Files", &found.files, file)?;
    let rights: Vec<_> = found.files.iter().filter(|change| !change.privileges().is_empty()).collect();
    section(out, "Rights", &rights, |out, change| rights_of(out, change))?;
    section(out, "Packages", &found.packages.changes, package)
}

/// Counts and bytes.
pub(super) fn stat(out: &mut dyn Write, found: &Difference, how: &Diff) -> io::Result<()> {
    if !how.files_only {
        writeln!(out, "config    {} changed", found.config.len())?;
        let layers = &found.layers;
        let (shared, removed, added) = (layers.shared.len(), layers.removed.len(), layers.added.len());
        writeln!(out, "layers    {shared} shared, {removed} removed, {added} added")?;
        let total = found.download.total();
        writeln!(out, "download  {total} bytes ({})", HumanBytes(total))?;
    }
    let [added, removed, changed] = [How::Added, How::Removed, How::Changed].map(|how| count(found, how));
    let unclear = match unclear(found) {
        0 => String::new(),
        count => format!(", {count} unclear"),
    };
    writeln!(out, "files     {added} added, {removed} removed, {changed} changed{unclear}")?;
    let rights = found.files.iter().map(|change| change.privileges().len()).sum::<usize>();
    writeln!(out, "rights    {rights} changed")?;
    if !how.files_only {
        let count = |wanted: (bool, bool)| {
            let is = |change: &&PackageChange| (change.old.is_some(), change.new.is_some()) == wanted;
            found.packages.changes.iter().filter(is).count()
        };
        let (added, removed, changed) = (count((false, true)), count((true, false)), count((true, true)));
        let unclear = found.packages.unclear.iter().map(|manager| format!(", {} unclear", manager.name()));
        let unclear: String = unclear.collect();
        writeln!(out, "packages  {added} added, {removed} removed, {changed} changed{unclear}")?;
    }
    Ok(())
}

/// How many files are left open.
pub(super) fn unclear(found: &Difference) -> usize {
    count(found, How::Unclear)
}

/// What is said of a file that is left open.
pub(super) fn open_question(change: &FileChange) -> &'static str {
    match (change.old(), change.current()) {
        (State::Unread, State::There(_)) => "put by B",
        (State::There(_), State::Unread) => "put by A",
        (State::Unread, _) => "hidden by B",
        (_, State::Unread) => "hidden by A",
        _ => "put by both, once as a hard link to what was not read",
    }
}

fn count(found: &Difference, how: How) -> usize {
    found.files.iter().filter(|change| change.how == how).count()
}

fn section<T>(
    out: &mut dyn Write,
    title: &str,
    items: &[T],
    write: impl Fn(&mut dyn Write, &T) -> io::Result<()>,
) -> io::Result<()> {
    if items.is_empty() {
        return Ok(());
    }
    writeln!(out, "\n{title}")?;
    items.iter().try_for_each(|item| write(out, item))
}

fn mark<T, U>(old: Option<T>, new: Option<U>) -> char {
    match (old, new) {
        (None, _) => '+',
        (_, None) => '-',
        _ => '~',
    }
}

/// What an image says, so that no terminal does as it says.
fn quoted(value: &Value) -> String {
    shown(value.to_string().as_bytes())
}

fn setting(out: &mut dyn Write, setting: &Setting) -> io::Result<()> {
    let Setting { what, name, old, new } = setting;
    let mark = mark(old.as_ref(), new.as_ref());
    let name =
        name.iter().fold(shown(what.as_bytes()), |what, name| format!("{what} {}", shown(name.as_bytes())));
    let is_set = |value: &Value| *value == Value::Bool(true);
    match (old, new) {
        (Some(old), Some(new)) => writeln!(out, "{mark} {name}: {} → {}", quoted(old), quoted(new)),
        (Some(value), None) | (None, Some(value)) if !is_set(value) => {
            writeln!(out, "{mark} {name}: {}", quoted(value))
        }
        _ => writeln!(out, "{mark} {name}"),
    }
}

fn layers(out: &mut dyn Write, found: &Difference) -> io::Result<()> {
    let (layers, download) = (&found.layers, found.download.total());
    writeln!(out, "\nLayers")?;
    let bytes = layers.shared.iter().map(|layer| layer.size).sum();
    writeln!(out, "  {} shared, {}", layers.shared.len(), HumanBytes(bytes))?;
    if layers.moved {
        writeln!(out, "~ in another order, or not as often")?;
    }
    for (mark, list) in [('-', &layers.removed), ('+', &layers.added)] {
        for layer in list {
            writeln!(out, "{mark} {} {}", layer.digest, HumanBytes(layer.size))?;
        }
    }
    let size = HumanBytes(download);
    writeln!(out, "  a host that has A downloads {download} bytes for B ({size})")
}

fn file(out: &mut dyn Write, change: &FileChange) -> io::Result<()> {
    let path = shown(change.path());
    match (change.how, change.old(), change.current()) {
        (How::Added, _, new) => writeln!(out, "+ /{path}{}", facts(new)),
        (How::Removed, old, _) => writeln!(out, "- /{path}{}", facts(old)),
        (How::Unclear, ..) => writeln!(out, "? /{path} {}", open_question(change)),
        (How::Changed, State::There(old), State::There(new)) => {
            let aspects: Vec<String> =
                change.aspects.iter().map(|aspect| differs(aspect, old, new)).collect();
            writeln!(out, "~ /{path} {}", aspects.join(", "))
        }
        // What changed is in both.
        (How::Changed, ..) => Ok(()),
    }
}

/// What is at a path that one image has alone.
fn facts(state: State<'_>) -> String {
    match state.entry() {
        Some(Entry { kind: Kind::Directory, .. }) => "/".to_owned(),
        Some(Entry { kind: Kind::Symlink(target), .. }) => format!(" -> {}", shown(target)),
        Some(entry) if entry.size() > 0 => format!(" {}", HumanBytes(entry.size())),
        _ => String::new(),
    }
}

/// One thing in which two entries are different.
fn differs(aspect: Aspect, old: &Entry, new: &Entry) -> String {
    let (was, is) = (&old.metadata, &new.metadata);
    let target = |entry: &Entry| shown(looking::target(&entry.kind).unwrap_or_default());
    let name = aspect.name();
    match aspect {
        Aspect::Type => format!("{} → {}", looking::kind(&old.kind), looking::kind(&new.kind)),
        Aspect::Mode => format!("{name} {:04o} → {:04o}", was.mode, is.mode),
        Aspect::Owner => format!("{name} {} → {}", looking::owner(old), looking::owner(new)),
        Aspect::Size => format!("{name} {} → {}", old.size(), new.size()),
        Aspect::Target => format!("{name} {} → {}", target(old), target(new)),
        Aspect::Time => format!("{name} {} → {}", looking::time(was.mtime), looking::time(is.mtime)),
        Aspect::Device | Aspect::Content | Aspect::Attributes => name.to_owned(),
    }
}

fn rights_of(out: &mut dyn Write, change: &FileChange) -> io::Result<()> {
    let path = shown(change.path());
    for (right, turn) in change.privileges() {
        let mark = match turn {
            Turn::Gained => '+',
            Turn::Lost => '-',
            Turn::Changed => '~',
            Turn::Unclear => '?',
        };
        writeln!(out, "{mark} /{path} {}", right.name())?;
    }
    Ok(())
}

fn package(out: &mut dyn Write, change: &PackageChange) -> io::Result<()> {
    let PackageChange { manager, name, old, new } = change;
    let mark = mark(old.as_ref(), new.as_ref());
    let versions: Vec<String> =
        [old, new].into_iter().flatten().map(|version| shown(version.as_bytes())).collect();
    writeln!(out, "{mark} {} {} {}", manager.name(), shown(name.as_bytes()), versions.join(" → "))
}
