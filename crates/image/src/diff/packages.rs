//! Packages that are different, by the lists of what installed them.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, BufRead, BufReader, Read};
use std::sync::{Arc, Mutex, PoisonError};

use layer::{Above, Found, Kind, Seen};

use super::content::Content;
use super::files::content;
use super::tables::Pair;
use super::{apk, dpkg};
use crate::Error;

/// Longer lists are not read, in bytes.
const LIMIT: u64 = 16 << 20;

/// The directory of lists of one package each, as distroless images have it.
const SINGLE: &[u8] = b"var/lib/dpkg/status.d";

/// What installs packages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Manager {
    /// Debian's.
    Dpkg,
    /// Alpine's.
    Apk,
}

/// A package that one image has and the other has not, or has in another version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackageChange {
    /// What installed it.
    pub manager: Manager,
    /// Its name; with its architecture where an image has it for several.
    pub name: String,
    /// The version that A has.
    pub old: Option<String>,
    /// The version that B has.
    pub new: Option<String>,
}

/// What is different in packages.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Packages {
    /// The packages, by manager and name.
    pub changes: Vec<PackageChange>,
    /// Whose lists could not be compared: one of them is in a layer that was not read, or is too long.
    pub unclear: Vec<Manager>,
}

/// A package as a list has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Package {
    pub(super) name: String,
    pub(super) architecture: String,
    pub(super) version: String,
}

/// A list of an image.
enum List<'a> {
    File(Content<'a>),
    None,
    /// It may be in layers that were not read.
    Unread,
}

impl Manager {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Dpkg => "dpkg",
            Self::Apk => "apk",
        }
    }

    fn lists(self) -> &'static [&'static str] {
        match self {
            Self::Dpkg => &["var/lib/dpkg/status"],
            Self::Apk => &["lib/apk/db/installed", "usr/lib/apk/db/installed"],
        }
    }

    fn parse(self, text: impl BufRead) -> io::Result<Vec<Package>> {
        match self {
            Self::Dpkg => dpkg::packages(text),
            Self::Apk => apk::packages(text),
        }
    }
}

/// What each manager's reader makes of a list, whatever pieces it comes in: name, architecture, version.
#[cfg(any(test, fuzzing))]
pub(crate) fn read_any(list: &[u8]) -> Vec<Vec<[String; 3]>> {
    let read = |manager: Manager| {
        let read =
            |capacity| manager.parse(BufReader::with_capacity(capacity, list)).expect("memory does not fail");
        let packages = read(64 << 10);
        assert!(packages == read(3));
        packages.into_iter().map(|package| [package.name, package.architecture, package.version]).collect()
    };
    [Manager::Dpkg, Manager::Apk].into_iter().map(read).collect()
}

/// Compares the lists of all managers.
pub(super) async fn changes(
    pair: &Pair<'_>,
    first: usize,
    views: &[Above<'_>; 2],
) -> Result<Packages, Error> {
    let mut packages = Packages::default();
    for manager in [Manager::Dpkg, Manager::Apk] {
        let mut paths: BTreeSet<Vec<u8>> =
            manager.lists().iter().map(|path| path.as_bytes().to_vec()).collect();
        if manager == Manager::Dpkg {
            paths.insert([SINGLE, b"*"].join(&b'/'));
            paths.extend(views.iter().flat_map(singles));
        }
        let mut sides = [Vec::new(), Vec::new()];
        let mut is_clear = true;
        for path in paths {
            match [0, 1].map(|side| list(pair, side, first, &views[side], &path)) {
                [List::Unread, List::Unread] => {}
                [List::Unread, _] | [_, List::Unread] => is_clear = false,
                [List::File(old), List::File(new)] if old.is(&new) => {}
                lists => {
                    for (side, list) in sides.iter_mut().zip(lists) {
                        if let List::File(content) = list {
                            is_clear &= content.body.size <= LIMIT;
                            // Two names may lead to one list.
                            if !side.iter().any(|known: &Content<'_>| known.is(&content)) {
                                side.push(content);
                            }
                        }
                    }
                }
            }
        }
        if !is_clear {
            packages.unclear.push(manager);
            continue;
        }
        let [old, new] = sides;
        let (old, new) = (read(pair, manager, old).await?, read(pair, manager, new).await?);
        packages.changes.extend(compare(manager, &old, &new));
    }
    Ok(packages)
}

/// The lists of one package each.
fn singles(view: &Above<'_>) -> Vec<Vec<u8>> {
    let directory = match view.merged.find(SINGLE, true) {
        Ok(Found::Node(index)) => view.merged.nodes[index].path().to_vec(),
        Ok(Found::Directory(path)) => path,
        Err(_) => return Vec::new(),
    };
    let nodes = view.merged.below(&directory).iter().filter(|node| {
        let is_list = !node.path().ends_with(b".md5sums");
        is_list && matches!(node.entry.kind, Kind::File(_) | Kind::Symlink(_) | Kind::HardLink(_))
    });
    nodes.map(|node| [SINGLE, &node.path()[directory.len()..]].concat()).collect()
}

fn list<'a>(pair: &Pair<'_>, side: usize, first: usize, view: &Above<'a>, path: &[u8]) -> List<'a> {
    let seen = match view.merged.find(path, true) {
        Ok(Found::Node(index)) => Seen::Node(&view.merged.nodes[index]),
        _ => view.at(path),
    };
    match seen {
        Seen::Node(node) => match content(pair, side, first, node) {
            Some(content) => List::File(content),
            // Links lead to layers that were not read.
            None if !view.is_whole && node.entry.kind != Kind::Directory => List::Unread,
            None => List::None,
        },
        Seen::Gone => List::None,
        Seen::Below => List::Unread,
    }
}

async fn read(pair: &Pair<'_>, manager: Manager, lists: Vec<Content<'_>>) -> Result<Vec<Package>, Error> {
    let mut packages = Vec::new();
    let mut layers: BTreeMap<(usize, usize), Vec<(usize, layer::Body)>> = BTreeMap::new();
    for (position, list) in lists.into_iter().enumerate() {
        layers.entry(list.layer).or_default().push((position, list.body.clone()));
    }
    for ((side, layer), mut lists) in layers {
        lists.sort_by_key(|(_, body)| body.offset);
        let (positions, bodies): (Vec<usize>, Vec<layer::Body>) = lists.into_iter().unzip();
        let found = Arc::new(Mutex::new(BTreeMap::new()));
        let filled = Arc::clone(&found);
        let parse = move |index: usize, stored: &mut dyn Read| {
            let packages = manager.parse(BufReader::new(stored)).map_err(|source| Error::Body { source })?;
            // A map is sound whoever panicked over it.
            filled.lock().unwrap_or_else(PoisonError::into_inner).insert(positions[index], packages);
            Ok(())
        };
        pair.sides[side].inside.read(layer, Arc::new(bodies), parse).await?;
        let found = std::mem::take(&mut *found.lock().unwrap_or_else(PoisonError::into_inner));
        packages.extend(found.into_values().flatten());
    }
    Ok(packages)
}

type Versions<'p> = BTreeMap<&'p str, BTreeMap<&'p str, &'p str>>;

/// Versions by name, then by architecture.
fn versions(packages: &[Package]) -> Versions<'_> {
    let mut versions = Versions::new();
    for package in packages {
        versions.entry(&package.name).or_default().insert(&package.architecture, &package.version);
    }
    versions
}

fn compare(manager: Manager, old: &[Package], new: &[Package]) -> Vec<PackageChange> {
    let (old, new) = (versions(old), versions(new));
    let names: BTreeSet<&str> = old.keys().chain(new.keys()).copied().collect();
    let mut changes = Vec::new();
    let mut put = |name: String, old: Option<&&str>, new: Option<&&str>| {
        if old != new {
            let text = |version: Option<&&str>| version.map(|version| (*version).to_owned());
            changes.push(PackageChange { manager, name, old: text(old), new: text(new) });
        }
    };
    let none = BTreeMap::new();
    for name in names {
        let (old, new) = (old.get(name).unwrap_or(&none), new.get(name).unwrap_or(&none));
        if old.len() <= 1 && new.len() <= 1 {
            put(name.to_owned(), old.values().next(), new.values().next());
            continue;
        }
        let architectures: BTreeSet<&str> = old.keys().chain(new.keys()).copied().collect();
        for architecture in architectures {
            put(format!("{name}:{architecture}"), old.get(architecture), new.get(architecture));
        }
    }
    changes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packages(text: &str) -> Vec<Package> {
        let words = text.split_whitespace().map(|word| word.split('/').collect::<Vec<_>>());
        let package = |parts: Vec<&str>| Package {
            name: parts[0].into(),
            architecture: parts[1].into(),
            version: parts[2].into(),
        };
        words.map(package).collect()
    }

    #[test]
    fn versions_are_compared_by_name() {
        for (old, new, expected) in [
            ("a/x/1 b/x/1", "a/x/1 b/x/2 c/x/1", "b:1>2 c:>1"),
            // Another platform's packages are the same ones.
            ("a/amd64/1 b/amd64/1", "a/arm64/1", "b:1>"),
            ("a/amd64/1", "a/amd64/1 a/i386/1", "a:i386:>1"),
            ("a/amd64/1 a/i386/1", "a/amd64/2 a/i386/2", "a:amd64:1>2 a:i386:1>2"),
        ] {
            let changes = compare(Manager::Dpkg, &packages(old), &packages(new));
            let text = |version: &Option<String>| version.clone().unwrap_or_default();
            let found: Vec<String> = changes
                .iter()
                .map(|change| format!("{}:{}>{}", change.name, text(&change.old), text(&change.new)))
                .collect();
            assert_eq!(found.join(" "), expected, "{old}, {new}");
        }
    }
}
