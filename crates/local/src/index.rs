//! `index.json`: entries are put and removed, and all else stays as it is written, in its order (image specification,
//! image-layout.md and image-index.md).

use std::collections::BTreeMap;

use oci::json::{List, Object};
use oci::{Descriptor, Digest, MediaType, Reference, Tag};
use serde::Deserialize;
use serde_json::value::RawValue;

/// The name of an entry (image specification, "Pre-Defined Annotation Keys"): a tag, or a whole reference.
const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// containerd's name of an entry: a whole reference.
const CONTAINERD_NAME: &str = "io.containerd.image.name";

const MANIFESTS: &str = "manifests";

/// A layout's list of manifests.
#[derive(Debug)]
pub(crate) struct Index {
    /// All of it, with the list as it was read.
    document: Object,
    entries: Vec<Entry>,
}

/// One manifest.
#[derive(Debug)]
struct Entry {
    raw: Box<RawValue>,
    /// Why not, if it is no descriptor that hoist can work with.
    descriptor: Result<Descriptor, String>,
    name: Option<String>,
    containerd: Option<String>,
}

/// The part of an entry that names it, whatever the rest is.
#[derive(Deserialize)]
struct Named {
    annotations: Option<BTreeMap<String, Option<String>>>,
}

/// What stands behind a tag.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found<'a> {
    Nothing,
    One(&'a Descriptor),
    /// So many different manifests.
    Several(usize),
    /// An entry that cannot be used, and why.
    Broken(&'a str),
}

impl Index {
    /// An index without entries.
    pub(crate) fn new() -> Self {
        let text = format!(r#"{{"schemaVersion":2,"mediaType":"{}"}}"#, MediaType::OCI_INDEX);
        // It is an object, and the media type has nothing to be escaped.
        Self { document: Object::parse(text.as_bytes()).unwrap_or_default(), entries: Vec::new() }
    }

    /// Reads the file.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, String> {
        let invalid = |error: serde_json::Error| error.to_string();
        let document = Object::parse(bytes).map_err(invalid)?;
        // Go writes an empty list as `null`.
        let list: Option<Vec<Box<RawValue>>> = document.read(MANIFESTS).map_err(invalid)?;
        let entries = list.unwrap_or_default().into_iter().map(Entry::new).collect();
        Ok(Self { document, entries })
    }

    /// The file, with every field and every entry as it was written.
    pub(crate) fn to_bytes(&self) -> Result<Vec<u8>, serde_json::Error> {
        let mut document = self.document.clone();
        let mut list = List::default();
        self.entries.iter().try_for_each(|entry| list.push(&entry.raw))?;
        document.set(MANIFESTS, &list)?;
        Ok(document.to_string().into_bytes())
    }

    /// Why an entry is no descriptor that hoist can work with, if there is such a one.
    pub(crate) fn unusable(&self) -> Option<&str> {
        self.entries.iter().find_map(|entry| entry.descriptor.as_ref().err().map(String::as_str))
    }

    /// The descriptors of all usable entries, in order.
    pub(crate) fn descriptors(&self) -> impl Iterator<Item = &Descriptor> {
        self.entries.iter().filter_map(|entry| entry.descriptor.as_ref().ok())
    }

    /// The tags, each once, in order.
    pub(crate) fn tags(&self) -> Vec<Tag> {
        let mut tags = Vec::new();
        for tag in self.entries.iter().filter_map(Entry::tag) {
            if !tags.contains(&tag) {
                tags.push(tag);
            }
        }
        tags
    }

    /// The names as they are written, in order; those that only containerd gave as well.
    pub(crate) fn names(&self) -> impl Iterator<Item = (&str, Digest)> {
        self.entries.iter().filter_map(|entry| {
            let name = entry.containerd.as_deref().or(entry.name.as_deref())?;
            Some((name, entry.descriptor.as_ref().ok()?.digest))
        })
    }

    /// What has a tag. A name that is the tag itself counts before the references that end with it.
    pub(crate) fn find(&self, tag: &Tag) -> Found<'_> {
        let mut digests = BTreeMap::new();
        for entry in self.having(tag) {
            match &entry.descriptor {
                Ok(descriptor) => digests.entry(descriptor.digest).or_insert(descriptor),
                Err(reason) => return Found::Broken(reason),
            };
        }
        match digests.len() {
            0 | 1 => digests.into_values().next().map_or(Found::Nothing, Found::One),
            count => Found::Several(count),
        }
    }

    fn having(&self, tag: &Tag) -> impl Iterator<Item = &Entry> {
        let exact = self.has_name(tag);
        self.entries.iter().filter(move |entry| entry.has(tag, exact))
    }

    fn has_name(&self, tag: &Tag) -> bool {
        self.entries.iter().any(|entry| entry.has(tag, true))
    }

    /// The entry of a digest.
    pub(crate) fn entry(&self, digest: &Digest) -> Option<&Descriptor> {
        self.descriptors().find(|descriptor| descriptor.digest == *digest)
    }

    /// Names a manifest; what had the name loses its entry. Whether anything had to be changed.
    pub(crate) fn name(&mut self, name: &str, manifest: &Descriptor) -> Result<bool, serde_json::Error> {
        let named: Vec<usize> =
            (0..self.entries.len()).filter(|at| self.entries[*at].name.as_deref() == Some(name)).collect();
        if let [at] = named[..]
            && self.entries[at].is_of(&manifest.digest)
        {
            return Ok(false);
        }
        let mut manifest = manifest.clone();
        manifest.annotations.insert(REF_NAME.to_owned(), name.to_owned());
        let entry = Entry::new(serde_json::value::to_raw_value(&manifest)?);
        match named.first() {
            Some(first) => {
                self.entries[*first] = entry;
                let mut at = 0;
                self.entries.retain(|_| {
                    at += 1;
                    !named[1..].contains(&(at - 1))
                });
            }
            None => self.entries.push(entry),
        }
        Ok(true)
    }

    /// Adds an entry whose name is a whole reference, as containerd and docker write it.
    pub(crate) fn name_in_full(
        &mut self,
        name: &str,
        manifest: &Descriptor,
    ) -> Result<(), serde_json::Error> {
        let mut manifest = manifest.clone();
        manifest.annotations.insert(CONTAINERD_NAME.to_owned(), name.to_owned());
        if let Some(tag) = name.parse::<Reference>().ok().and_then(|name| name.tag().cloned()) {
            manifest.annotations.insert(REF_NAME.to_owned(), tag.to_string());
        }
        self.entries.push(Entry::new(serde_json::value::to_raw_value(&manifest)?));
        Ok(())
    }

    /// Adds a manifest without a name, unless it has an entry. Whether anything had to be changed.
    pub(crate) fn add(&mut self, manifest: &Descriptor) -> Result<bool, serde_json::Error> {
        if self.entry(&manifest.digest).is_some() {
            return Ok(false);
        }
        self.entries.push(Entry::new(serde_json::value::to_raw_value(manifest)?));
        Ok(true)
    }

    /// Removes what has a tag. Whether there was anything.
    pub(crate) fn remove_tag(&mut self, tag: &Tag) -> bool {
        let (before, exact) = (self.entries.len(), self.has_name(tag));
        self.entries.retain(|entry| !entry.has(tag, exact));
        self.entries.len() < before
    }

    /// Removes all entries of a digest. Whether there were any.
    pub(crate) fn remove(&mut self, digest: &Digest) -> bool {
        let before = self.entries.len();
        self.entries.retain(|entry| !entry.is_of(digest));
        self.entries.len() < before
    }

    /// The one manifest that is meant when nothing is said, and its tag if it has one: the only one of those with a tag,
    /// or of all if none has. Else how many there are.
    pub(crate) fn only(&self) -> Result<(&Descriptor, Option<Tag>), usize> {
        let named: Vec<&Entry> = self.entries.iter().filter(|entry| entry.tag().is_some()).collect();
        let candidates: Vec<&Entry> = if named.is_empty() { self.entries.iter().collect() } else { named };
        match candidates.first().and_then(|entry| entry.descriptor.as_ref().ok()) {
            Some(only) if candidates.iter().all(|entry| entry.is_of(&only.digest)) => {
                // Of several tags none is more meant than another.
                Ok((only, candidates[0].tag().filter(|_| candidates.len() == 1)))
            }
            _ => Err(candidates.len()),
        }
    }
}

impl Entry {
    fn new(raw: Box<RawValue>) -> Self {
        let descriptor =
            serde_json::from_str(raw.get()).map_err(|error: serde_json::Error| error.to_string());
        let named = serde_json::from_str(raw.get()).ok().and_then(|named: Named| named.annotations);
        let mut named = named.unwrap_or_default();
        let (name, containerd) = (named.remove(REF_NAME).flatten(), named.remove(CONTAINERD_NAME).flatten());
        Self { raw, descriptor, name, containerd }
    }

    fn is_of(&self, digest: &Digest) -> bool {
        self.descriptor.as_ref().is_ok_and(|descriptor| descriptor.digest == *digest)
    }

    /// Whether it has a tag: as its name, or also at the end of it.
    fn has(&self, tag: &Tag, exact: bool) -> bool {
        if exact { self.name.as_deref() == Some(tag.as_str()) } else { self.tag().as_ref() == Some(tag) }
    }

    /// Its tag, however it is written.
    fn tag(&self) -> Option<Tag> {
        let of = |name: &str| match Tag::new(name) {
            Ok(tag) => Some(tag),
            Err(_) => name.parse::<Reference>().ok()?.tag().cloned(),
        };
        self.name.as_deref().and_then(of).or_else(|| self.containerd.as_deref().and_then(of))
    }
}

#[cfg(test)]
mod tests {
    use oci::Algorithm;
    use proptest::prelude::*;

    use super::*;

    fn manifest(content: &str) -> Descriptor {
        Descriptor::of(MediaType::OCI_MANIFEST, Algorithm::Sha256, content.as_bytes())
    }

    fn entry(content: &str, annotations: &str) -> String {
        let Descriptor { media_type, digest, size, .. } = manifest(content);
        format!(
            r#"{{ "x": 1.10, "mediaType":"{media_type}","digest":"{digest}","size":{size},"annotations":{annotations}}}"#
        )
    }

    fn tag(text: &str) -> Tag {
        Tag::new(text).unwrap()
    }

    fn text(index: &Index) -> String {
        String::from_utf8(index.to_bytes().unwrap()).unwrap()
    }

    #[test]
    fn what_is_not_changed_stays_as_written() {
        let one = entry("one", r#"{"org.opencontainers.image.ref.name":"1"}"#);
        let odd = r#"{"digest":"blake3:00", "size" : 1e2}"#;
        let json =
            format!(r#"{{"schemaVersion":2,"manifests":[{one}, {odd}],"annotations":{{ "a": 1.0 }}}}"#);
        let mut index = Index::parse(json.as_bytes()).unwrap();
        assert_eq!(text(&index), json.replace(", {\"digest", ",{\"digest"));
        assert!(!index.name("1", &manifest("one")).unwrap(), "it has that name");
        assert!(index.name("2", &manifest("two")).unwrap());
        let written = text(&index);
        assert!(written.contains(&one) && written.contains(odd), "{written}");
        assert!(written.ends_with(r#"],"annotations":{ "a": 1.0 }}"#), "{written}");
        assert_eq!(index.tags(), [tag("1"), tag("2")]);
    }

    #[test]
    fn a_name_is_replaced_where_it_stands() {
        let mut index = Index::new();
        for (name, content) in [("1", "one"), ("2", "two"), ("1", "three")] {
            assert!(index.name(name, &manifest(content)).unwrap());
        }
        assert_eq!(index.tags(), [tag("1"), tag("2")]);
        assert_eq!(index.find(&tag("1")), Found::One(index.descriptors().next().unwrap()));
        assert_eq!(index.descriptors().next().unwrap().digest, manifest("three").digest);
        assert!(!index.add(&manifest("two")).unwrap());
        assert!(index.add(&manifest("one")).unwrap());
        assert!(index.remove_tag(&tag("1")) && !index.remove_tag(&tag("1")));
        assert!(index.remove(&manifest("two").digest) && !index.remove(&manifest("two").digest));
        assert_eq!(index.descriptors().count(), 1);
    }

    #[test]
    fn names_as_others_write_them() {
        let list = [
            entry("one", r#"{"org.opencontainers.image.ref.name":"docker.io/library/nginx:1"}"#),
            entry(
                "two",
                r#"{"io.containerd.image.name":"docker.io/library/nginx:2","org.opencontainers.image.ref.name":"2"}"#,
            ),
            entry("three", r#"{"io.containerd.image.name":"docker.io/library/nginx:3"}"#),
            entry("four", r#"{"org.opencontainers.image.ref.name":"4"}"#),
            entry("five", r#"{"org.opencontainers.image.ref.name":"quay.io/a/b:4"}"#),
            entry("six", r#"{"org.opencontainers.image.ref.name":"6"}"#),
            entry("seven", r#"{"org.opencontainers.image.ref.name":"6"}"#),
            entry("eight", "null"),
        ];
        let index = Index::parse(format!(r#"{{"manifests":[{}]}}"#, list.join(",")).as_bytes()).unwrap();
        assert_eq!(index.tags(), ["1", "2", "3", "4", "6"].map(tag));
        for (name, content) in [("1", "one"), ("2", "two"), ("3", "three"), ("4", "four")] {
            let Found::One(found) = index.find(&tag(name)) else { panic!("{name}") };
            assert_eq!(found.digest, manifest(content).digest);
        }
        assert_eq!(index.find(&tag("6")), Found::Several(2));
        assert_eq!(index.find(&tag("8")), Found::Nothing);
        assert_eq!(index.only().unwrap_err(), 7);
    }

    #[test]
    fn the_only_one() {
        let mut index = Index::new();
        assert_eq!(index.only(), Err(0));
        index.add(&manifest("one")).unwrap();
        assert_eq!(index.only().unwrap(), (&manifest("one"), None));
        index.add(&manifest("two")).unwrap();
        assert_eq!(index.only(), Err(2));
        index.name("3", &manifest("three")).unwrap();
        assert_eq!(index.only().unwrap().1, Some(tag("3")));
        index.name("4", &manifest("three")).unwrap();
        assert_eq!(index.only().unwrap(), (index.entry(&manifest("three").digest).unwrap(), None));
    }

    #[test]
    fn what_is_broken_is_told() {
        let broken = r#"{"digest":"sha256:00","size":1,"mediaType":"x","annotations":{"org.opencontainers.image.ref.name":"1"}}"#;
        let index = Index::parse(format!(r#"{{"manifests":[{broken}]}}"#).as_bytes()).unwrap();
        assert!(matches!(index.find(&tag("1")), Found::Broken(reason) if reason.contains("sha256:00")));
        for json in ["", "[]", "{", r#"{"manifests":{}}"#, r#"{"manifests":[],"manifests":[]}"#] {
            assert!(Index::parse(json.as_bytes()).is_err(), "{json}");
        }
        assert_eq!(Index::parse(br#"{"manifests":null}"#).unwrap().only(), Err(0));
    }

    proptest! {
        #[test]
        fn never_panics(json in "\\PC{0,80}") {
            let _ = Index::parse(json.as_bytes());
        }

        /// Each name means what it was given to last, and all else is left alone.
        #[test]
        fn names_are_a_map(steps in proptest::collection::vec((0..4_u8, 0..4_u8, any::<bool>()), 0..20)) {
            let foreign = entry("foreign", r#"{"org.opencontainers.image.ref.name":"a/b:x"}"#);
            let mut index = Index::parse(format!(r#"{{"manifests":[{foreign}]}}"#).as_bytes()).unwrap();
            let mut expected = BTreeMap::new();
            for (name, content, puts) in steps {
                let (name, manifest) = (tag(&name.to_string()), manifest(&content.to_string()));
                if puts {
                    index.name(name.as_str(), &manifest).unwrap();
                    expected.insert(name, manifest.digest);
                } else {
                    prop_assert_eq!(index.remove_tag(&name), expected.remove(&name).is_some());
                }
                index = Index::parse(&index.to_bytes().unwrap()).unwrap();
            }
            prop_assert!(text(&index).contains(&foreign));
            for name in (0..4).map(|name: u8| tag(&name.to_string())) {
                let found = match index.find(&name) { Found::One(found) => Some(&found.digest), _ => None };
                prop_assert_eq!(found, expected.get(&name));
            }
        }
    }
}
