//! What configurations say otherwise.

use std::collections::BTreeSet;

use oci::{MediaType, View};
use serde_json::{Map, Value};

use super::Side;
use crate::Error;

/// Something that a configuration says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// What it is: `platform`, `env`, `entrypoint`, `cmd`, `label`, `user`, `workdir`, `port`, `volume`; other members of `config` by the name
    /// that they have there.
    pub what: String,
    /// Which of several: a variable, a label's key, a port, a volume.
    pub name: Option<String>,
    /// What A says.
    pub old: Option<Value>,
    /// What B says.
    pub new: Option<Value>,
}

/// The configuration, if it is an image's.
pub(super) async fn read(side: &Side) -> Result<Value, Error> {
    let View::Image(image) = side.manifest.view()? else { return Ok(Value::Null) };
    let Some(config) = &image.config else { return Ok(Value::Null) };
    let known =
        ["application/vnd.oci.image.config.v1+json", "application/vnd.docker.container.image.v1+json"];
    if !known.map(MediaType::new).contains(&config.media_type) {
        return Ok(Value::Null);
    }
    let bytes = crate::config(&*side.store, &side.manifest).await?;
    serde_json::from_slice(&bytes).map_err(|source| Error::Document {
        what: "config",
        digest: config.digest,
        source,
    })
}

/// What is different, by the kind of it, then by name.
pub(super) fn changes(old: &Value, new: &Value) -> Vec<Setting> {
    let (mut old, mut new) = (settings(old), settings(new));
    let names: BTreeSet<(usize, String, Option<String>)> = old.keys().chain(new.keys()).cloned().collect();
    let changes = names.into_iter().map(|key| {
        let (old, new) = (old.remove(&key), new.remove(&key));
        Setting { what: key.1, name: key.2, old, new }
    });
    changes.filter(|change| change.old != change.new).collect()
}

type Settings = std::collections::BTreeMap<(usize, String, Option<String>), Value>;

/// The members of `config`, and what they are called by who sets them.
const MEMBERS: [(&str, &str); 8] = [
    ("Env", "env"),
    ("Entrypoint", "entrypoint"),
    ("Cmd", "cmd"),
    ("Labels", "label"),
    ("User", "user"),
    ("WorkingDir", "workdir"),
    ("ExposedPorts", "port"),
    ("Volumes", "volume"),
];

fn settings(document: &Value) -> Settings {
    let mut settings = Settings::new();
    let part = |name: &str| document.get(name).and_then(Value::as_str).filter(|part| !part.is_empty());
    let platform: Vec<&str> = ["os", "architecture", "variant"].into_iter().filter_map(part).collect();
    if !platform.is_empty() {
        settings.insert((0, "platform".to_owned(), None), platform.join("/").into());
    }
    for (name, value) in document.get("config").and_then(Value::as_object).into_iter().flatten() {
        let known = MEMBERS.iter().position(|(member, _)| member == name);
        let what = known.map_or(name.as_str(), |at| MEMBERS[at].1);
        let mut put = |name: Option<&str>, value: Value| {
            let at = known.map_or(MEMBERS.len(), |at| at) + 1;
            settings.insert((at, what.to_owned(), name.map(str::to_owned)), value);
        };
        match (what, value) {
            // What is empty says nothing, whoever writes it.
            _ if is_nothing(value) => {}
            ("env", Value::Array(variables)) => {
                for variable in variables.iter().filter_map(Value::as_str) {
                    let (name, value) = variable.split_once('=').unwrap_or((variable, ""));
                    put(Some(name), value.into());
                }
            }
            ("label", Value::Object(labels)) => {
                labels.iter().for_each(|(key, value)| put(Some(key), value.clone()));
            }
            ("port" | "volume", Value::Object(set)) => {
                set.keys().for_each(|key| put(Some(key), Value::Bool(true)));
            }
            _ => put(None, value.clone()),
        }
    }
    settings
}

fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(members) => Map::is_empty(members),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_setting_by_its_name() {
        let old = json!({"os": "linux", "architecture": "amd64", "created": "1", "config": {
            "Env": ["PATH=/bin", "A=1"], "Cmd": ["sh"], "Labels": null, "User": "", "StopSignal": "9",
            "ExposedPorts": {"80/tcp": {}}, "Tty": false, "Entrypoint": [],
        }});
        let new = json!({"os": "linux", "architecture": "arm64", "variant": "v8", "created": "2", "config": {
            "Env": ["A=2", "PATH=/bin", "B="], "Cmd": ["sh", "-c"], "Labels": {"x": "y"}, "WorkingDir": "/srv",
            "Volumes": {"/data": {}}, "StopSignal": "9",
        }});
        let text = |value: &Option<Value>| value.as_ref().map_or("-".to_owned(), Value::to_string);
        let found: Vec<String> = changes(&old, &new)
            .iter()
            .map(|change| {
                let name = change.name.as_deref().unwrap_or("");
                format!("{} {name} {} {}", change.what, text(&change.old), text(&change.new))
            })
            .collect();
        let expected = [
            r#"platform  "linux/amd64" "linux/arm64/v8""#,
            r#"env A "1" "2""#,
            r#"env B - """#,
            r#"cmd  ["sh"] ["sh","-c"]"#,
            r#"label x - "y""#,
            r#"workdir  - "/srv""#,
            "port 80/tcp true -",
            "volume /data - true",
        ];
        assert_eq!(found, expected);
        assert!(changes(&Value::Null, &json!([])).is_empty());
    }
}
