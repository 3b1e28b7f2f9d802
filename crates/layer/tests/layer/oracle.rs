//! The merge against a model that is too simple to be wrong: paths in a map, searched from end to end.

use std::collections::BTreeMap;

use layer::{Kind, merge, merge_newest};
use proptest::prelude::*;

use crate::archive::{archive, flatten, listing, scan};

/// A file system as a map from a path, as its components, to what is there.
#[derive(Clone, Default)]
struct Model {
    nodes: BTreeMap<Vec<String>, Node>,
}

#[derive(Clone)]
struct Node {
    layer: usize,
    /// What it is, in the words of `archive`; `None` for a directory without an entry.
    what: Option<What>,
}

#[derive(Clone, PartialEq)]
enum What {
    Directory,
    /// Target, and a number that hard links of one thing share.
    Symlink(String, usize),
    /// Content, and such a number.
    File(String, usize),
}

impl Model {
    fn apply(&mut self, layer: usize, number: usize, entry: &str) -> Result<(), ()> {
        let end = entry.find(['=', '-']).unwrap_or(entry.len());
        let path: Vec<String> = entry[..end].trim_end_matches('/').split('/').map(str::to_owned).collect();
        let (name, directory) = path.split_last().unwrap();
        if let Some(hidden) = name.strip_prefix(".wh.") {
            let Some(mut place) = self.resolve(directory, None)? else { return Ok(()) };
            let own = if hidden == ".wh..opq" {
                0
            } else {
                place.push(hidden.to_owned());
                1
            };
            self.hide(&place, own, layer);
            return Ok(());
        }
        let what = if let Some((_, target)) = entry.split_once("=>") {
            let target: Vec<String> = target.split('/').map(str::to_owned).collect();
            let (name, directory) = target.split_last().unwrap();
            let mut place = self.resolve(directory, None)?.ok_or(())?;
            place.push(name.clone());
            match self.nodes.get(&place).and_then(|node| node.what.clone()) {
                None | Some(What::Directory) => return Err(()),
                Some(what) => what,
            }
        } else if let Some((_, target)) = entry.split_once("->") {
            What::Symlink(target.to_owned(), number)
        } else if entry.ends_with('/') {
            What::Directory
        } else {
            What::File(entry[end + 1..].to_owned(), number)
        };
        let mut place = self.resolve(directory, Some(layer))?.ok_or(())?;
        place.push(name.clone());
        let stays = what == What::Directory
            && matches!(self.nodes.get(&place), Some(Node { what: None | Some(What::Directory), .. }));
        if !stays {
            self.nodes.retain(|path, _| !path.starts_with(&place));
        }
        self.nodes.insert(place, Node { layer, what: Some(what) });
        Ok(())
    }

    /// Where a directory really is.
    fn resolve(&mut self, path: &[String], make: Option<usize>) -> Result<Option<Vec<String>>, ()> {
        let mut at: Vec<String> = Vec::new();
        let mut rest = path.to_vec();
        let mut hops = 0;
        while !rest.is_empty() {
            let name = rest.remove(0);
            if name.is_empty() || name == "." {
                continue;
            }
            if name == ".." {
                at.pop();
                continue;
            }
            at.push(name);
            let what = self.nodes.get(&at).map(|node| node.what.clone());
            match what {
                Some(None | Some(What::Directory)) => {}
                Some(Some(What::Symlink(target, _))) => {
                    hops += 1;
                    if hops > 255 {
                        return Err(());
                    }
                    at.pop();
                    if target.starts_with('/') {
                        at.clear();
                    }
                    rest.splice(0..0, target.split('/').map(str::to_owned));
                }
                _ => {
                    let Some(layer) = make else { return Ok(None) };
                    self.nodes.insert(at.clone(), Node { layer, what: None });
                }
            }
        }
        Ok(Some(at))
    }

    /// Hides all below `place` that is of lower layers, and `place` itself when `own` is 1.
    fn hide(&mut self, place: &[String], own: usize, layer: usize) {
        let below = |path: &Vec<String>| path.starts_with(place) && path.len() >= place.len() + 1 - own;
        let paths: Vec<_> = self.nodes.keys().filter(|path| below(path)).cloned().collect();
        for path in paths {
            let used = self.nodes.iter().any(|(other, node)| other.starts_with(&path) && node.layer == layer);
            let node = self.nodes.get_mut(&path).unwrap();
            if !used {
                self.nodes.remove(&path);
            } else if node.layer != layer {
                node.what = None;
            }
        }
    }

    fn listing(&self) -> Vec<String> {
        let mut first: Vec<(&What, String)> = Vec::new();
        let mut lines = Vec::new();
        for (path, node) in &self.nodes {
            let path = path.join("/");
            let Some(what) = &node.what else { continue };
            let known = first.iter().find(|(known, _)| *what != What::Directory && *known == what);
            lines.push(match (what, known) {
                (_, Some((_, first))) => format!("{path}=>{first}"),
                (What::Directory, None) => format!("{path}/"),
                (What::Symlink(target, _), None) => format!("{path}->{target}"),
                (What::File(content, _), None) => format!("{path}={content}"),
            });
            first.push((what, path));
        }
        lines
    }
}

pub(crate) fn entry() -> impl Strategy<Value = String> {
    let name = || prop_oneof![Just("a"), Just("b"), Just("c"), Just("d")];
    let path = || proptest::collection::vec(name(), 1..4).prop_map(|names| names.join("/"));
    let parent =
        || proptest::collection::vec(name(), 0..3).prop_map(|names| [names, vec![""]].concat().join("/"));
    let target = prop_oneof![
        path(),
        path().prop_map(|path| format!("/{path}")),
        path().prop_map(|path| format!("../{path}")),
        (path(), path()).prop_map(|(from, to)| format!("{from}/../{to}")),
    ];
    prop_oneof![
        4 => (path(), 0..100).prop_map(|(path, content)| format!("{path}={content}")),
        3 => path().prop_map(|path| format!("{path}/")),
        1 => (path(), target).prop_map(|(path, target)| format!("{path}->{target}")),
        2 => (path(), path()).prop_map(|(path, target)| format!("{path}=>{target}")),
        2 => (parent(), name()).prop_map(|(parent, name)| format!("{parent}.wh.{name}=")),
        1 => parent().prop_map(|parent| format!("{parent}.wh..wh..opq=")),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    /// What the newest layers say alone, the whole image says too.
    #[test]
    fn the_newest_layers_never_say_what_the_image_does_not(
        layers in proptest::collection::vec(proptest::collection::vec(entry(), 0..10), 2..5),
    ) {
        let mut good: Vec<Vec<&str>> = Vec::new();
        for layer in &layers {
            good.push(Vec::new());
            let at = good.len() - 1;
            for entry in layer {
                good[at].push(entry);
                let tables: Vec<_> = good.iter().map(|entries| scan(&archive(entries)).unwrap()).collect();
                if merge(&tables).is_err() {
                    good[at].pop();
                }
            }
        }
        let tables: Vec<_> = good.iter().map(|entries| scan(&archive(entries)).unwrap()).collect();
        let whole = merge(&tables).unwrap();
        for first in 1..tables.len() {
            let Some(newest) = merge_newest(&tables[first..]) else { continue };
            for node in newest.nodes.iter().filter(|node| !matches!(node.entry.kind, Kind::HardLink(_))) {
                let found = whole.at(node.path()).map(|index| (whole.nodes[index].layer(), whole.nodes[index].entry));
                prop_assert_eq!(found, Some((node.layer() + first, node.entry)), "{:?} from {}", good, first);
            }
        }
    }

    #[test]
    fn the_merge_is_what_the_model_says(
        layers in proptest::collection::vec(proptest::collection::vec(entry(), 0..10), 1..5),
    ) {
        // Entries that do not fit are left out, so that what comes after them is tested, too.
        let mut good: Vec<Vec<&str>> = Vec::new();
        let mut model = Model::default();
        let mut number = 0;
        for (index, layer) in layers.iter().enumerate() {
            good.push(Vec::new());
            for entry in layer {
                number += 1;
                let before = model.clone();
                good[index].push(entry);
                if model.apply(index, number, entry).is_err() {
                    model = before;
                    let tables: Vec<_> = good.iter().map(|entries| scan(&archive(entries)).unwrap()).collect();
                    prop_assert!(merge(&tables).is_err(), "{:?}", good);
                    good[index].pop();
                }
            }
        }
        let archives: Vec<_> = good.iter().map(|entries| archive(entries)).collect();
        let tables: Vec<_> = archives.iter().map(|archive| scan(archive).unwrap()).collect();
        let merged = merge(&tables).unwrap();
        let lines = listing(&merged, &archives);
        prop_assert_eq!(&lines, &model.listing(), "{:?}", good);

        // The result is a layer like any other.
        let flat = [flatten(&archives)];
        prop_assert_eq!(listing(&merge(&[scan(&flat[0]).unwrap()]).unwrap(), &flat), lines);
    }
}
