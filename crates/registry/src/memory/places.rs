//! Where blobs lie on a registry: so that a later run may mount them from there.

use oci::Digest;
use serde::{Deserialize, Serialize};

/// Lists of other versions are passed over.
const VERSION: u32 = 1;

/// How many blobs are remembered.
const MOST: usize = 4096;

/// Blobs, and for each the repository that it was last seen to be put into.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Places {
    version: u32,
    /// The newest last.
    blobs: Vec<Place>,
}

/// One blob in one repository.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Place {
    /// Who put it there ([`Salt::identity`](super::Salt::identity)).
    pub(crate) identity: String,
    pub(crate) digest: String,
    /// The repository's path.
    pub(crate) repository: String,
}

impl Places {
    /// Reads a list; one that is torn or of another version is empty.
    pub(super) fn parse(text: &[u8]) -> Self {
        let places: Self = serde_json::from_slice(text).unwrap_or_default();
        if places.version == VERSION { places } else { Self::default() }
    }

    pub(super) fn text(&self) -> Vec<u8> {
        // Texts and numbers only: there is no map with odd keys, and nothing that fails by itself.
        serde_json::to_vec(self).expect("a list makes JSON")
    }

    /// The repository that one of these identities put a blob into last, other than `except`.
    pub(crate) fn of(&self, digest: &Digest, identities: &[String], except: &str) -> Option<&str> {
        let digest = digest.to_string();
        let place = self.blobs.iter().rev().find(|place| {
            place.digest == digest && place.repository != except && identities.contains(&place.identity)
        });
        place.map(|place| place.repository.as_str())
    }

    /// Adds what a run has seen.
    #[must_use]
    pub(super) fn merge(mut self, seen: Vec<Place>) -> Self {
        self.version = VERSION;
        // The last word on each blob counts.
        let mut newest = std::collections::HashSet::new();
        self.blobs.extend(seen);
        self.blobs.reverse();
        self.blobs.retain(|place| newest.insert((place.identity.clone(), place.digest.clone())));
        self.blobs.truncate(MOST);
        self.blobs.reverse();
        self
    }
}

#[cfg(test)]
mod tests {
    use oci::Algorithm;

    use super::*;

    fn digest(n: usize) -> Digest {
        Algorithm::Sha256.digest(&n.to_be_bytes())
    }

    fn place(identity: &str, n: usize, repository: &str) -> Place {
        Place {
            identity: identity.to_owned(),
            digest: digest(n).to_string(),
            repository: repository.to_owned(),
        }
    }

    #[test]
    fn the_last_place_counts() {
        let places = Places::default().merge(vec![place("i", 1, "a"), place("j", 1, "b")]);
        let places = places.merge(vec![place("i", 2, "a"), place("i", 1, "c")]);
        let of = |n, identities: &[&str], except| {
            let identities: Vec<String> = identities.iter().map(ToString::to_string).collect();
            places.of(&digest(n), &identities, except).map(str::to_owned)
        };
        assert_eq!(of(1, &["i"], ""), Some("c".to_owned()));
        assert_eq!(of(1, &["i"], "c"), None);
        assert_eq!(of(1, &["i", "j"], "c"), Some("b".to_owned()));
        assert_eq!(of(1, &[], ""), None);
        assert_eq!(of(3, &["i"], ""), None);
        assert_eq!(Places::parse(&places.text()), places);
        assert_eq!(Places::parse(&places.text()[1..]), Places::default());
        assert_eq!(Places::parse(br#"{"version":2,"blobs":[]}"#), Places::default());
    }

    #[test]
    fn the_oldest_are_forgotten() {
        let many = (0..MOST + 10).map(|n| place("i", n, "a")).collect();
        let places = Places::default().merge(many).merge(vec![place("i", 11, "b")]);
        assert_eq!(places.blobs.len(), MOST);
        let of = |n| places.of(&digest(n), &["i".to_owned()], "");
        assert_eq!((of(9), of(10), of(11), of(MOST + 9)), (None, Some("a"), Some("b"), Some("a")));
        // The list of a registry fits into what is read.
        assert!(places.text().len() < 1 << 20);
    }
}
