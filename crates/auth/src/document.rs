//! A file of credentials as text: members are put and removed, and all others stay as they are written, in their order.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{MapAccess, Visitor};
use serde::ser::{Serialize, Serializer};
use serde::{Deserialize, Deserializer};
use serde_json::ser::PrettyFormatter;
use serde_json::value::RawValue;
use zeroize::Zeroizing;

const AUTHS: &str = "auths";

/// A value under `auths` that is to be written.
#[derive(Clone, Copy, Debug, Default, serde::Serialize)]
pub(crate) struct NewEntry<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(crate) auth: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(crate) identitytoken: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(crate) registrytoken: &'a str,
}

/// The file, without copies of what is secret in it.
pub(crate) struct Document<'a> {
    members: Object<Member<'a>>,
    /// The length of the old text and of what was added, to write it in one piece.
    length: usize,
}

enum Member<'a> {
    Kept(&'a RawValue),
    Auths(Object<Auth<'a>>),
}

enum Auth<'a> {
    Kept(&'a RawValue),
    New(NewEntry<'a>),
}

impl<'a> Document<'a> {
    /// Reads an object; white space is an empty one.
    pub(crate) fn parse(text: &'a [u8]) -> serde_json::Result<Self> {
        let members: Object<&'a RawValue> = match text.trim_ascii() {
            [] => Object::default(),
            text => serde_json::from_slice(text)?,
        };
        let member = |(key, value): (String, &'a RawValue)| {
            if key != AUTHS {
                return Ok((key, Member::Kept(value)));
            }
            // Go reads a null as if nothing stood there.
            let auths: Option<Object<&'a RawValue>> = serde_json::from_str(value.get())?;
            let auths = auths.unwrap_or_default().0.into_iter();
            let auths = auths.map(|(key, value)| (key, Auth::Kept(value))).collect();
            Ok((key, Member::Auths(Object(auths))))
        };
        let members = members.0.into_iter().map(member).collect::<serde_json::Result<_>>()?;
        Ok(Self { members: Object(members), length: text.len() })
    }

    /// Makes `entry` the value of `key` under `auths`; whether that changed anything.
    pub(crate) fn set(&mut self, key: &str, entry: NewEntry<'a>) -> serde_json::Result<bool> {
        if !self.members.0.iter().any(|(name, _)| name == AUTHS) {
            self.members.0.push((AUTHS.to_owned(), Member::Auths(Object::default())));
        }
        // Of what is written twice the last counts, of `auths` as of a key in it.
        let auths = self.members.0.iter_mut().rev().find_map(|(_, member)| member.auths());
        let Some(auths) = auths else { return Ok(false) };
        let new = Zeroizing::new(serde_json::to_string(&entry)?);
        match auths.0.iter_mut().rfind(|(name, _)| name == key) {
            Some((_, Auth::Kept(old))) if old.get() == new.as_str() => return Ok(false),
            Some((_, value)) => *value = Auth::New(entry),
            None => auths.0.push((key.to_owned(), Auth::New(entry))),
        }
        // Indentation and the quotes of an escape are more than they need.
        self.length += 128 + 6 * key.len() + new.len() * 2;
        Ok(true)
    }

    /// Removes keys from `auths`; whether one of them was there.
    pub(crate) fn remove(&mut self, keys: &[String]) -> bool {
        let mut any = false;
        for auths in self.members.0.iter_mut().filter_map(|(_, member)| member.auths()) {
            let before = auths.0.len();
            auths.0.retain(|(key, _)| !keys.contains(key));
            any |= auths.0.len() < before;
        }
        any
    }

    /// The text, laid out as docker does: with tabs, and without a line end behind it.
    pub(crate) fn write(&self) -> serde_json::Result<Zeroizing<Vec<u8>>> {
        // Members may move to lines of their own.
        let members = self.members.0.iter().map(|(_, member)| match member {
            Member::Kept(_) => 1,
            Member::Auths(auths) => 1 + auths.0.len(),
        });
        let layout = 16 * (2 + members.sum::<usize>());
        let mut text = Zeroizing::new(Vec::with_capacity(self.length + layout));
        let formatter = PrettyFormatter::with_indent(b"\t");
        self.members.serialize(&mut serde_json::Serializer::with_formatter(&mut *text, formatter))?;
        Ok(text)
    }
}

impl<'a> Member<'a> {
    fn auths(&mut self) -> Option<&mut Object<Auth<'a>>> {
        match self {
            Self::Auths(auths) => Some(auths),
            Self::Kept(_) => None,
        }
    }
}

/// A JSON object in the order in which it is written.
struct Object<T>(Vec<(String, T)>);

impl<T> Default for Object<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Members<T> {
            type Value = Object<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object<T>, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Object(members))
            }
        }

        deserializer.deserialize_map(Members(PhantomData))
    }
}

impl<T: Serialize> Serialize for Object<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(key, value)| (key, value)))
    }
}

impl Serialize for Member<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Kept(value) => value.serialize(serializer),
            Self::Auths(auths) => auths.serialize(serializer),
        }
    }
}

impl Serialize for Auth<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Kept(value) => value.serialize(serializer),
            Self::New(entry) => entry.serialize(serializer),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn set(text: &str, key: &str, auth: &str) -> String {
        let mut document = Document::parse(text.as_bytes()).unwrap();
        assert!(document.set(key, NewEntry { auth, ..NewEntry::default() }).unwrap());
        String::from_utf8(document.write().unwrap().to_vec()).unwrap()
    }

    fn remove(text: &str, keys: &[&str]) -> Option<String> {
        let mut document = Document::parse(text.as_bytes()).unwrap();
        let keys: Vec<String> = keys.iter().map(|&key| key.to_owned()).collect();
        let changed = document.remove(&keys);
        changed.then(|| String::from_utf8(document.write().unwrap().to_vec()).unwrap())
    }

    #[test]
    fn as_docker_lays_it_out() {
        let one = "{\n\t\"auths\": {\n\t\t\"h\": {\n\t\t\t\"auth\": \"a\"\n\t\t}\n\t}\n}";
        assert_eq!(set("", "h", "a"), one);
        assert_eq!(set(" \n", "h", "a"), one);
        assert_eq!(set("{\"auths\": null}", "h", "a"), one);
        assert_eq!(set(one, "h", "b"), one.replace("\"a\"", "\"b\""));
        assert_eq!(remove(one, &["h"]).unwrap(), "{\n\t\"auths\": {}\n}");
        assert_eq!(remove(one, &["g"]), None);
        assert_eq!(remove("", &["g"]), None);
    }

    #[test]
    fn what_is_not_meant_stays_as_it_is_written() {
        let text = r#"{"z": 1.10, "auths": {"b": {"auth" : "x", "more": [1e2]}, "a": {}}, "n": 123456789012345678901,
            "HttpHeaders": {"é": "\u00e9"}, "a": null}"#;
        let new = set(text, "a", "y");
        for kept in [
            "\"z\": 1.10,",
            r#""b": {"auth" : "x", "more": [1e2]},"#,
            "\"n\": 123456789012345678901,",
            r#""HttpHeaders": {"é": "\u00e9"},"#,
            "\"a\": null\n}",
        ] {
            assert!(new.contains(kept), "{kept} {new}");
        }
        let places = ["\"z\"", "\"b\"", "\"a\": {", "\"n\"", "HttpHeaders", "null"]
            .map(|part| new.find(part).unwrap());
        assert!(places.is_sorted(), "{new}");
    }

    #[test]
    fn of_a_key_that_is_written_twice_the_last_counts() {
        let new = set(r#"{"auths": {"h": {"auth": "a"}, "h": {"auth": "b"}}}"#, "h", "c");
        assert!(new.find("\"a\"") < new.find("\"c\"") && !new.contains("\"b\""), "{new}");
        assert_eq!(remove(&new, &["h"]).unwrap(), "{\n\t\"auths\": {}\n}");
        // So it is of `auths`, and nothing of what is removed stays in the other.
        let new = set(r#"{"auths": {"h": {"auth": "a"}}, "auths": null}"#, "h", "c");
        assert!(new.find("\"a\"") < new.find("\"c\""), "{new}");
        assert_eq!(remove(&new, &["h"]).unwrap(), "{\n\t\"auths\": {},\n\t\"auths\": {}\n}");
    }

    #[test]
    fn what_is_so_already_is_no_change() {
        let mut document = Document::parse(br#"{"auths":{"h":{}}}"#).unwrap();
        assert!(!document.set("h", NewEntry::default()).unwrap());
        assert!(document.set("g", NewEntry::default()).unwrap());
    }

    proptest! {
        #[test]
        fn a_key_that_is_put_and_removed_leaves_what_was_there(
            keys in proptest::collection::vec("[a-z\"\\\\é]{0,4}", 0..5),
            key in "[a-z\"\\\\]{5,8}",
            secret in "\\PC{0,9}",
        ) {
            let mut text = String::new();
            for other in &keys {
                text = set(&text, other, &format!("{secret}!"));
            }
            let before = if text.is_empty() { "{\n\t\"auths\": {}\n}".to_owned() } else { text.clone() };
            let with = set(&text, &key, &secret);
            prop_assert_ne!(&with, &before);
            prop_assert_eq!(remove(&with, &[&key]).unwrap(), before);
        }

        #[test]
        fn the_text_is_written_without_growing(
            keys in proptest::collection::vec("[a-z\"\n]{0,9}", 0..5),
            secret in "\\PC{0,40}",
        ) {
            let entry = |key: &String| (key.clone(), serde_json::json!({"auth": secret}));
            let old = serde_json::json!({"auths": keys.iter().map(entry).collect::<serde_json::Map<_, _>>(), "x": 1});
            let old = old.to_string();
            let mut document = Document::parse(old.as_bytes()).unwrap();
            document.set("new", NewEntry { auth: &secret, ..NewEntry::default() }).unwrap();
            let expected = document.length;
            let text = document.write().unwrap();
            prop_assert!(text.len() <= expected + 16 * (3 + 1 + keys.len() + 1), "{} {}", text.len(), expected);
        }
    }
}
