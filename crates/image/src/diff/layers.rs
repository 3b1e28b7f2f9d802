//! Layers that both images have, and those that one of them has.

use std::collections::HashSet;

use oci::{Descriptor, Digest, View};

use super::Side;
use crate::Error;

/// Layers, each digest once, bottom first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Layers {
    /// Those of both.
    pub shared: Vec<Descriptor>,
    /// Those of A alone.
    pub removed: Vec<Descriptor>,
    /// Those of B alone.
    pub added: Vec<Descriptor>,
    /// Both have the same layers, but not in the same order, or not as often.
    pub moved: bool,
}

impl Layers {
    pub(super) fn of(a: &[Descriptor], b: &[Descriptor]) -> Self {
        let (old, new) = (digests(a), digests(b));
        let layers = Self {
            shared: once(b, |digest| old.contains(digest)),
            removed: once(a, |digest| !new.contains(digest)),
            added: once(b, |digest| !old.contains(digest)),
            moved: false,
        };
        let is_other = a.iter().map(|layer| layer.digest).ne(b.iter().map(|layer| layer.digest));
        Self { moved: is_other && layers.removed.is_empty() && layers.added.is_empty(), ..layers }
    }
}

/// What a host that has A downloads for B, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Download {
    /// B's layers that A has not, each digest once.
    pub layers: u64,
    /// B's configuration, unless it is A's.
    pub config: u64,
    /// B's manifest, unless it is A's.
    pub manifest: u64,
}

impl Download {
    pub(super) fn of(a: &Side, b: &Side) -> Result<Self, Error> {
        let config = |side: &Side| match side.manifest.view() {
            Ok(View::Image(image)) => Ok(image.config),
            Ok(View::Index(_)) => Ok(None),
            Err(error) => Err(Error::from(error)),
        };
        let (old, new) = (config(a)?, config(b)?);
        let is_new = |new: &Descriptor| old.as_ref().is_none_or(|old| old.digest != new.digest);
        let added = Layers::of(a.inside.layers(), b.inside.layers()).added;
        let is_same = a.manifest.digest() == b.manifest.digest();
        Ok(Self {
            layers: added.iter().fold(0, |sum, layer| sum.saturating_add(layer.size)),
            config: new.filter(is_new).map_or(0, |config| config.size),
            manifest: if is_same { 0 } else { b.manifest.raw().len() as u64 },
        })
    }

    /// All of it.
    pub fn total(&self) -> u64 {
        self.layers.saturating_add(self.config).saturating_add(self.manifest)
    }
}

fn digests(layers: &[Descriptor]) -> HashSet<Digest> {
    layers.iter().map(|layer| layer.digest).collect()
}

fn once(layers: &[Descriptor], wanted: impl Fn(&Digest) -> bool) -> Vec<Descriptor> {
    let mut seen = HashSet::new();
    layers.iter().filter(|layer| wanted(&layer.digest) && seen.insert(layer.digest)).cloned().collect()
}

#[cfg(test)]
mod tests {
    use oci::{Algorithm, MediaType};

    use super::*;

    #[test]
    fn each_layer_counts_once() {
        let all: Vec<Descriptor> = ["a", "bb", "ccc", "dddd"]
            .map(|text| Descriptor::of(MediaType::OCTET_STREAM, Algorithm::Sha256, text.as_bytes()))
            .into();
        let list = |text: &str| -> Vec<Descriptor> {
            text.bytes().map(|name| all[usize::from(name - b'a')].clone()).collect()
        };
        for (old, new, shared, removed, added, moved) in [
            ("abc", "abd", "ab", "c", "d", false),
            ("ab", "abdd", "ab", "", "d", false),
            ("aab", "ab", "ab", "", "", true),
            ("ab", "ba", "ba", "", "", true),
            ("ab", "ab", "ab", "", "", false),
            ("", "a", "", "", "a", false),
        ] {
            let expected = Layers { shared: list(shared), removed: list(removed), added: list(added), moved };
            assert_eq!(Layers::of(&list(old), &list(new)), expected, "{old} {new}");
        }
    }
}
