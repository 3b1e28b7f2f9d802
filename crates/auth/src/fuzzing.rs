//! What has to hold for every input, however it came: for the fuzz targets, and for the replay of what they found.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;
use serde_json::value::RawValue;

use crate::document::NewEntry;
use crate::update::{Change, changed};
use crate::{Credential, DockerConfig, Error, Secret, key};

/// Docker's and podman's files: nothing in them makes reading or asking panic, what is printed does not depend on what is
/// secret, and a change leaves everything else as it was written.
pub fn config(input: &[u8]) {
    let path = Path::new("config.json");
    let config = match DockerConfig::parse(path, input) {
        Ok(config) => config,
        Err(error) => {
            assert!(matches!(&error, Error::Parse { .. }));
            printable(&error.to_string());
            assert!(
                changed(path, input, Change::Remove(&[])).is_err(),
                "what is not understood is left alone"
            );
            return;
        }
    };
    for (name, _) in config.http_headers() {
        assert!(!name.eq_ignore_ascii_case("user-agent"));
    }
    let written = Members::keys(input);
    for key in &written.auths {
        let normal = key::normalise(key);
        assert!(config.spellings(&normal).contains(key), "{key:?}");
        assert!(config.spellings(&normal).iter().all(|spelling| key::normalise(spelling) == normal));
    }
    for key in written
        .auths
        .iter()
        .chain(&written.helpers)
        .map(|key| key::normalise(key))
        .chain(["ghcr.io".to_owned()])
    {
        ask(&config, &key);
    }
    for (key, credential) in config.entries() {
        let (_, answer) = config.entry(key).expect("it is not broken").expect("it is there");
        assert_eq!(answer, credential);
    }
    let registries = written.auths.iter().take(3).map(|key| key::normalise(key));
    for registry in registries.chain(["registry.example".to_owned()]) {
        log_in_and_out(path, input, &registry);
    }
}

/// Asks what the keychain asks.
fn ask(config: &DockerConfig, key: &str) {
    assert_eq!(key::normalise(key), key, "a normal key stays");
    let server = key::server(key);
    assert_eq!(key::normalise(&server), key::normalise(key));
    for (name, _) in config.helper(key).into_iter().chain(config.registry_helper(key, &server)) {
        assert!(!matches!(name, "" | "hoist"), "{name:?}");
    }
    for candidate in key::candidates(key, Some("team/app")) {
        match config.entry(&candidate) {
            Ok(None) => {}
            Ok(Some((written, credential))) => {
                assert_eq!(key::normalise(written), candidate);
                assert_ne!(credential, Credential::Anonymous);
                assert_eq!(format!("{credential:?}"), format!("{:?}", with_another_secret(&credential)));
            }
            Err(error) => {
                assert!(matches!(&error, Error::Entry { key, .. } if key::normalise(key) == candidate));
                printable(&error.to_string());
            }
        }
    }
}

fn with_another_secret(credential: &Credential) -> Credential {
    let other = Secret::new("another");
    match credential.clone() {
        Credential::Anonymous => Credential::Anonymous,
        Credential::Basic { username, .. } => Credential::Basic { username, password: other },
        Credential::IdentityToken { username, .. } => {
            Credential::IdentityToken { username, password: other.clone(), token: other }
        }
        Credential::RegistryToken(_) => Credential::RegistryToken(other),
    }
}

/// What was put is found, what was removed is not, and nothing else changes.
fn log_in_and_out(path: &Path, old: &[u8], registry: &str) {
    let server = key::server(registry);
    // "user:password".
    let entry = NewEntry { auth: "dXNlcjpwYXNzd29yZA==", ..NewEntry::default() };
    let new = match changed(path, old, Change::Set(&server, entry)) {
        Ok(Some(new)) => new,
        Ok(None) => old.to_vec().into(),
        // Not UTF-8 where nobody looks.
        Err(error) => {
            assert!(matches!(error, Error::Parse { .. }) && Members::of(old).is_none(), "{error}");
            return;
        }
    };
    let config = DockerConfig::parse(path, &new).expect("what was written can be read");
    let (written, credential) = config.entry(registry).expect("it is not broken").expect("it is there");
    assert_eq!(written, server);
    assert_eq!(credential, Credential::basic("user", Secret::new("password")));
    let again = changed(path, &new, Change::Set(&server, entry)).expect("it could be written before");
    assert!(again.is_none_or(|again| again == new));

    let keys = config.spellings(registry);
    let gone = changed(path, &new, Change::Remove(&keys))
        .expect("it could be written before")
        .expect("it was there");
    let config = DockerConfig::parse(path, &gone).expect("what was written can be read");
    assert!(config.entry(registry).expect("nothing is there").is_none());

    let [old, new, gone] = [old, &new, &gone].map(|text| Members::of(text).expect("it is JSON"));
    assert_eq!((&old.others, &old.others), (&new.others, &gone.others));
    let without = |members: &Members, keys: &[String]| {
        let mut auths = members.auths.clone();
        auths.retain(|key, _| !keys.contains(key));
        auths
    };
    assert_eq!(without(&old, std::slice::from_ref(&server)), without(&new, std::slice::from_ref(&server)));
    assert_eq!(without(&old, &keys), gone.auths);
}

/// The members of a file, as they are written.
struct Members {
    auths: BTreeMap<String, String>,
    others: BTreeMap<String, String>,
}

type Raw = BTreeMap<String, Box<RawValue>>;

impl Members {
    fn of(text: &[u8]) -> Option<Self> {
        let text = if text.trim_ascii().is_empty() { b"{}" } else { text };
        let texts = |raw: Raw| raw.into_iter().map(|(key, value)| (key, value.get().to_owned())).collect();
        let mut others: Raw = serde_json::from_slice(text).ok()?;
        let auths: Option<Raw> =
            others.remove("auths").map_or(Ok(None), |raw| serde_json::from_str(raw.get())).ok()?;
        Some(Self { auths: texts(auths.unwrap_or_default()), others: texts(others) })
    }

    fn keys(text: &[u8]) -> Keys {
        let whole: Value = serde_json::from_slice(text).unwrap_or_default();
        let keys = |name: &str| {
            whole[name].as_object().into_iter().flat_map(|object| object.keys().cloned()).collect()
        };
        Keys { auths: keys("auths"), helpers: keys("credHelpers") }
    }
}

/// The keys of a file, as they are written.
struct Keys {
    auths: Vec<String>,
    helpers: Vec<String>,
}

/// What is written in a file must not be able to steer the terminal.
fn printable(text: &str) {
    assert!(!text.contains(char::is_control), "{text:?}");
}

#[path = "../../../fuzz/replay.rs"]
#[cfg(test)]
mod replay;

#[cfg(test)]
mod tests {
    #[test]
    fn files_that_were_found() {
        super::replay::replay("auth_config", super::config);
    }
}
