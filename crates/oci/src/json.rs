//! JSON that is edited: what is not changed stays as it is written, to the byte.
//!
//! ```
//! use oci::json::Object;
//!
//! let mut config = Object::parse(b"{ \"version\": 1.10,\n  \"config\": {\"User\": \"\\u0061pp\"} }\n")?;
//! config.edit_object("config", |config| config.set("Cmd", &["sh"]))?;
//! assert_eq!(
//!     config.to_string(),
//!     "{ \"version\": 1.10,\n  \"config\": {\"User\": \"\\u0061pp\",\"Cmd\": [\"sh\"]} }\n"
//! );
//! # Ok::<(), oci::json::Error>(())
//! ```

use std::fmt;

use serde::de::{DeserializeOwned, Deserializer, Error as _, MapAccess, Visitor};
use serde::{Deserialize, Serialize, Serializer};
use serde_json::Value;
use serde_json::value::RawValue;

/// Why a text is not the JSON that it should be.
pub type Error = serde_json::Error;

/// An object: its members in their order, as they are written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Object(Sequence);

/// A list: its items in their order, as they are written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct List(Sequence);

/// What stands between two brackets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Sequence {
    /// White space before and after the brackets, and between them where nothing else is.
    before: String,
    inside: String,
    after: String,
    items: Vec<Item>,
}

/// One member or item: `gap`, `label`, `value`, `rest`, and then a comma or the bracket.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Item {
    gap: String,
    /// A member's key, as it is meant; nothing in a list.
    key: String,
    /// A member's key as it is written, with the colon and the white space around it.
    label: String,
    value: String,
    rest: String,
}

impl Object {
    /// Reads a document. It may be edited only if each key stands there once, for readers differ in which one counts.
    ///
    /// # Errors
    /// If it is no JSON object, or a key stands there twice.
    pub fn parse(text: &[u8]) -> Result<Self, Error> {
        let text = std::str::from_utf8(text).map_err(Error::custom)?;
        let members: Members<'_> = serde_json::from_str(text)?;
        for (at, (key, _)) in members.0.iter().enumerate() {
            if members.0[..at].iter().any(|(before, _)| before == key) {
                return Err(Error::custom(format_args!("{key:?} stands there twice")));
            }
        }
        Ok(Self(Sequence::new(text, members.0)))
    }

    /// The keys, in order.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.0.items.iter().map(|item| item.key.as_str())
    }

    /// Whether it has no members.
    pub fn is_empty(&self) -> bool {
        self.0.items.is_empty()
    }

    /// A member's value as it is written.
    pub fn text(&self, key: &str) -> Option<&str> {
        self.0.items.iter().find(|item| item.key == key).map(|item| item.value.as_str())
    }

    /// A member's value; `None` if it is missing or null.
    ///
    /// # Errors
    /// If it is something else than `T`.
    pub fn read<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, Error> {
        match self.text(key) {
            Some(text) => serde_json::from_str(text),
            None => Ok(None),
        }
    }

    /// Gives a member a value, where it stands, or behind all others. One that says the same already stays as it is written.
    ///
    /// # Errors
    /// If the value is none that JSON has.
    pub fn set<T: Serialize + ?Sized>(&mut self, key: &str, value: &T) -> Result<(), Error> {
        self.put(key, serde_json::to_string(value)?)
    }

    fn put(&mut self, key: &str, value: String) -> Result<(), Error> {
        if let Some(item) = self.0.items.iter_mut().find(|item| item.key == key) {
            item.change(value);
            return Ok(());
        }
        let written = serde_json::to_string(key)?;
        let colon = self.0.items.last().and_then(|last| last.label.rsplit_once('"'));
        let label = format!("{written}{}", colon.map_or(":", |(_, colon)| colon));
        self.0.push(key.to_owned(), label, value);
        Ok(())
    }

    /// Takes a member away. Whether it was there.
    pub fn remove(&mut self, key: &str) -> bool {
        let found = self.0.items.iter().position(|item| item.key == key);
        found.map(|at| self.0.remove(at)).is_some()
    }

    /// Edits a member that is an object; one that is missing or null is an empty one. It stays away if nothing comes of it.
    ///
    /// # Errors
    /// If it is something else than an object, or what `edit` says.
    pub fn edit_object<E: From<Error>>(
        &mut self,
        key: &str,
        edit: impl FnOnce(&mut Self) -> Result<(), E>,
    ) -> Result<(), E> {
        let there = self.text(key).filter(|text| *text != "null");
        let mut object = there.map_or_else(|| Ok(Self::default()), |text| Self::parse(text.as_bytes()))?;
        let missing = there.is_none();
        edit(&mut object)?;
        if !(missing && object.is_empty()) {
            self.put(key, object.to_string())?;
        }
        Ok(())
    }

    /// Edits a member that is a list; one that is missing or null is an empty one. It stays away if nothing comes of it.
    ///
    /// # Errors
    /// If it is something else than a list, or what `edit` says.
    pub fn edit_list<E: From<Error>>(
        &mut self,
        key: &str,
        edit: impl FnOnce(&mut List) -> Result<(), E>,
    ) -> Result<(), E> {
        let there = self.text(key).filter(|text| *text != "null");
        let mut list = there.map_or_else(|| Ok(List::default()), |text| List::parse(text.as_bytes()))?;
        let missing = there.is_none();
        edit(&mut list)?;
        if !(missing && list.is_empty()) {
            self.put(key, list.to_string())?;
        }
        Ok(())
    }
}

impl List {
    /// Reads a document.
    ///
    /// # Errors
    /// If it is no JSON list.
    pub fn parse(text: &[u8]) -> Result<Self, Error> {
        let text = std::str::from_utf8(text).map_err(Error::custom)?;
        let items: Vec<&RawValue> = serde_json::from_str(text)?;
        Ok(Self(Sequence::new(text, items.into_iter().map(|item| (String::new(), item)).collect())))
    }

    /// How many items there are.
    pub fn len(&self) -> usize {
        self.0.items.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.items.is_empty()
    }

    /// The items as they are written.
    pub fn texts(&self) -> impl Iterator<Item = &str> {
        self.0.items.iter().map(|item| item.value.as_str())
    }

    /// The items.
    ///
    /// # Errors
    /// If one of them is something else than `T`.
    pub fn read<T: DeserializeOwned>(&self) -> Result<Vec<T>, Error> {
        self.texts().map(serde_json::from_str).collect()
    }

    /// Adds an item at the end.
    ///
    /// # Errors
    /// If it is none that JSON has.
    pub fn push<T: Serialize + ?Sized>(&mut self, item: &T) -> Result<(), Error> {
        self.0.push(String::new(), String::new(), serde_json::to_string(item)?);
        Ok(())
    }

    /// Adds an item at the end, as it is written elsewhere: JSON.
    ///
    /// # Errors
    /// If it is not JSON.
    pub fn push_text(&mut self, item: &str) -> Result<(), Error> {
        let item: &RawValue = serde_json::from_str(item)?;
        self.0.push(String::new(), String::new(), item.get().to_owned());
        Ok(())
    }

    /// Gives an item another value; one that says the same already stays as it is written.
    ///
    /// # Errors
    /// If it is none that JSON has.
    ///
    /// # Panics
    /// If there is no such item.
    pub fn set<T: Serialize + ?Sized>(&mut self, at: usize, item: &T) -> Result<(), Error> {
        self.0.items[at].change(serde_json::to_string(item)?);
        Ok(())
    }

    /// Takes an item away.
    ///
    /// # Panics
    /// If there is no such item.
    pub fn remove(&mut self, at: usize) {
        self.0.remove(at);
    }

    /// Edits each item that is an object; the others, and those for which `edit` does nothing, stay as they are. Those for which
    /// it answers `false` are taken away.
    ///
    /// # Errors
    /// If an item has a key twice, or what `edit` says.
    pub fn edit_objects<E: From<Error>>(
        &mut self,
        mut edit: impl FnMut(usize, &mut Object) -> Result<bool, E>,
    ) -> Result<(), E> {
        let mut gone = Vec::new();
        for (at, item) in self.0.items.iter_mut().enumerate() {
            if !item.value.starts_with('{') {
                continue;
            }
            let mut object = Object::parse(item.value.as_bytes())?;
            if edit(at, &mut object)? {
                item.change(object.to_string());
            } else {
                gone.push(at);
            }
        }
        gone.into_iter().rev().for_each(|at| self.0.remove(at));
        Ok(())
    }

    /// Takes all items away but those of a range.
    pub fn keep(&mut self, range: std::ops::Range<usize>) {
        for at in (0..self.len()).rev().filter(|at| !range.contains(at)) {
            self.0.remove(at);
        }
    }
}

impl Sequence {
    /// Takes a text apart between its values, which point into it.
    fn new(text: &str, values: Vec<(String, &RawValue)>) -> Self {
        // The first bracket: before it is nothing but white space.
        let open = text.find(['{', '[']).unwrap_or_default();
        let close = text.rfind(['}', ']']).unwrap_or(text.len());
        let mut sequence = Self {
            before: text[..open].to_owned(),
            inside: String::new(),
            after: text.get(close + 1..).unwrap_or_default().to_owned(),
            items: Vec::with_capacity(values.len()),
        };
        if values.is_empty() {
            text.get(open + 1..close).unwrap_or_default().clone_into(&mut sequence.inside);
        }
        // Behind the bracket, or behind the value before.
        let mut end = open + 1;
        for (key, value) in values {
            let value = value.get();
            let start = value.as_ptr() as usize - text.as_ptr() as usize;
            let mut between = &text[end..start];
            if let Some(last) = sequence.items.last_mut() {
                let (rest, gap) = between.split_once(',').unwrap_or((between, ""));
                rest.clone_into(&mut last.rest);
                between = gap;
            }
            let label = between.find('"').unwrap_or(between.len());
            sequence.items.push(Item {
                gap: between[..label].to_owned(),
                key,
                label: between[label..].to_owned(),
                value: value.to_owned(),
                rest: String::new(),
            });
            end = start + value.len();
        }
        if let Some(last) = sequence.items.last_mut() {
            text[end..close].clone_into(&mut last.rest);
        }
        sequence
    }

    /// Adds one at the end, laid out as the one before.
    fn push(&mut self, key: String, label: String, value: String) {
        let (gap, rest) = match &mut self.items[..] {
            [] => (String::new(), std::mem::take(&mut self.inside)),
            [.., before, last] => (last.gap.clone(), std::mem::replace(&mut last.rest, before.rest.clone())),
            [only] => (only.gap.clone(), std::mem::take(&mut only.rest)),
        };
        self.items.push(Item { gap, key, label, value, rest });
    }

    fn remove(&mut self, at: usize) {
        let last = at + 1 == self.items.len();
        let item = self.items.remove(at);
        if let (true, Some(end)) = (last, self.items.last_mut()) {
            end.rest = item.rest;
        } else if let (0, Some(first)) = (at, self.items.first_mut()) {
            first.gap = item.gap;
        }
    }

    fn write(&self, f: &mut fmt::Formatter<'_>, [open, close]: [char; 2]) -> fmt::Result {
        write!(f, "{}{open}{}", self.before, self.inside)?;
        for (at, Item { gap, label, value, rest, .. }) in self.items.iter().enumerate() {
            let comma = if at == 0 { "" } else { "," };
            write!(f, "{comma}{gap}{label}{value}{rest}")?;
        }
        write!(f, "{close}{}", self.after)
    }
}

impl Item {
    /// Gives it a new value, unless that says the same. Numbers are the same only if they are written the same.
    fn change(&mut self, value: String) {
        let same =
            |old: &str| match (serde_json::from_str::<Value>(old), serde_json::from_str::<Value>(&value)) {
                (Ok(old), Ok(new)) => old == new && !old.is_number() && !old.is_object() && !old.is_array(),
                _ => false,
            };
        if !same(&self.value) {
            self.value = value;
        }
    }
}

impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.write(f, ['{', '}'])
    }
}

impl fmt::Display for List {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.write(f, ['[', ']'])
    }
}

impl Serialize for Object {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        raw(self).map_err(serde::ser::Error::custom)?.serialize(serializer)
    }
}

impl Serialize for List {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        raw(self).map_err(serde::ser::Error::custom)?.serialize(serializer)
    }
}

fn raw(written: &impl ToString) -> Result<Box<RawValue>, Error> {
    RawValue::from_string(written.to_string())
}

/// The members of an object, in its order.
struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Each;

        impl<'de> Visitor<'de> for Each {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(Each)
    }
}
