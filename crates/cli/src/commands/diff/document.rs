//! Differences for programs.

use image::Diff;
use image::diff::{Aspect, Difference, FileChange, How, Setting, Side, State};
use layer::{Entry, Kind};
use oci::Descriptor;
use serde::{Serialize, Serializer};
use serde_json::{Value, json};

use super::text::open_question;
use crate::looking::{self, shown};

/// The result; with `--stat` without what is counted.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Document<'a> {
    a: Value,
    b: Value,
    different: bool,
    /// Whether nothing was left open.
    complete: bool,
    unread: Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    config: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    layers: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    download: Option<Value>,
    files: Files<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    packages: Option<Value>,
}

/// Files, each of which is made as it is written: there may be very many.
enum Files<'a> {
    Counts(Value),
    All(&'a [FileChange]),
}

impl Serialize for Files<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Counts(counts) => counts.serialize(serializer),
            Self::All(files) => serializer.collect_seq(files.iter().map(file)),
        }
    }
}

impl<'a> Document<'a> {
    pub(super) fn new(
        names: &[String],
        sides: &[Side],
        found: &'a Difference,
        how: &Diff,
        stat: bool,
    ) -> Self {
        let image = |side: usize| json!({"reference": names[side], "digest": sides[side].manifest.digest()});
        let unclear = found.files.iter().filter(|change| change.how == How::Unclear).count();
        let layers = &found.layers;
        let list = |layers: &[Descriptor]| if stat { json!(layers.len()) } else { json!(layers) };
        let (config, packages) = (&found.config, &found.packages);
        let config = if stat { json!(config.len()) } else { config.iter().map(setting).collect() };
        let all = !how.files_only;
        Self {
            a: image(0),
            b: image(1),
            different: !found.is_empty(),
            complete: unclear == 0 && packages.unclear.is_empty(),
            unread: json!({"layers": found.unread_layers, "bytes": found.unread_bytes}),
            config: all.then_some(config),
            layers: all.then(|| {
                json!({
                    "shared": list(&layers.shared), "removed": list(&layers.removed),
                    "added": list(&layers.added), "moved": layers.moved,
                })
            }),
            download: all.then(|| {
                let download = &found.download;
                json!({
                    "bytes": download.total(), "layers": download.layers,
                    "config": download.config, "manifest": download.manifest,
                })
            }),
            files: if stat { Files::Counts(counts(found)) } else { Files::All(&found.files) },
            packages: all.then(|| {
                let change = |change: &image::diff::PackageChange| {
                    json!({
                        "manager": change.manager.name(), "name": change.name,
                        "old": change.old, "new": change.new,
                    })
                };
                let changes = if stat {
                    json!(packages.changes.len())
                } else {
                    packages.changes.iter().map(change).collect()
                };
                let unclear: Vec<&str> = packages.unclear.iter().map(|manager| manager.name()).collect();
                json!({"changes": changes, "unclear": unclear})
            }),
        }
    }
}

fn counts(found: &Difference) -> Value {
    let all = [How::Added, How::Removed, How::Changed, How::Unclear];
    let count = |how: How| found.files.iter().filter(|change| change.how == how).count();
    all.into_iter().map(|how| (how.name().to_owned(), json!(count(how)))).collect()
}

fn setting(setting: &Setting) -> Value {
    json!({"what": setting.what, "name": setting.name, "old": setting.old, "new": setting.new})
}

fn file(change: &FileChange) -> Value {
    let aspects: Vec<&str> = change.aspects.iter().map(Aspect::name).collect();
    let rights: Vec<Value> = change
        .privileges()
        .into_iter()
        .map(|(right, turn)| json!({"right": right.name(), "change": turn.name()}))
        .collect();
    let mut file = json!({
        "path": format!("/{}", shown(change.path())),
        "change": change.how.name(),
        "in": aspects,
        "rights": rights,
        "old": state(change.old()),
        "new": state(change.current()),
    });
    if change.how == How::Unclear {
        file["why"] = open_question(change).into();
    }
    file
}

fn state(state: State<'_>) -> Value {
    let Some(Entry { kind, metadata, .. }) = state.entry() else { return Value::Null };
    let mut facts = json!({
        "type": looking::kind(kind),
        "mode": format!("{:04o}", metadata.mode),
        "uid": metadata.owner.uid,
        "gid": metadata.owner.gid,
        "time": looking::time(metadata.mtime),
    });
    if let Kind::File(body) = kind {
        facts["size"] = body.size.into();
    }
    if let Some(target) = looking::target(kind) {
        facts["target"] = shown(target).into();
    }
    facts
}
