//! Where a hash can go on.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// More than these are thinned out.
const MOST: usize = 64;

/// So many of the last ones stay as close together as they are.
const CLOSE: usize = 16;

/// The state of a hash after so many bytes, at several places, in order.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Checkpoints(Vec<Checkpoint>);

/// The state of a hash behind the first `at` bytes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Checkpoint {
    pub(crate) at: u64,
    #[serde(serialize_with = "encode", deserialize_with = "decode")]
    pub(crate) state: Vec<u8>,
}

impl Checkpoints {
    /// Adds a state that lies behind the others. Registries are seldom far behind, so where there are many, the older
    /// ones get fewer.
    pub(crate) fn note(&mut self, at: u64, state: Vec<u8>) {
        if at <= self.last() {
            return;
        }
        self.0.push(Checkpoint { at, state });
        if self.0.len() > MOST {
            let close = self.0.len() - CLOSE;
            let mut index = 0;
            self.0.retain(|_| {
                index += 1;
                index > close || index % 2 == 1
            });
        }
    }

    /// Drops those that nobody needs because the first `at` bytes are safe.
    pub(crate) fn confirm(&mut self, at: u64) {
        let needed = self.0.partition_point(|checkpoint| checkpoint.at <= at).saturating_sub(1);
        self.0.drain(..needed);
    }

    /// The last one that does not lie behind the first `at` bytes.
    pub(crate) fn before(&self, at: u64) -> Option<&Checkpoint> {
        self.0[..self.0.partition_point(|checkpoint| checkpoint.at <= at)].last()
    }

    /// How far the last one is; 0 where there is none.
    pub(crate) fn last(&self) -> u64 {
        self.0.last().map_or(0, |checkpoint| checkpoint.at)
    }

    /// Whether they are in order.
    pub(super) fn is_sound(&self) -> bool {
        self.0.is_sorted_by(|one, next| one.at < next.at)
    }
}

fn encode<S: Serializer>(state: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&STANDARD.encode(state))
}

fn decode<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    let text = String::deserialize(deserializer)?;
    STANDARD.decode(text).map_err(serde::de::Error::custom)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(places: &[u64]) -> Checkpoints {
        let mut checkpoints = Checkpoints::default();
        for &at in places {
            checkpoints.note(at, vec![]);
        }
        checkpoints
    }

    #[test]
    fn the_nearest_counts() {
        let mut checkpoints = of(&[8, 16, 16, 24]);
        let before = |checkpoints: &Checkpoints, at| checkpoints.before(at).map(|found| found.at);
        for (at, expected) in [(7, None), (8, Some(8)), (23, Some(16)), (24, Some(24)), (99, Some(24))] {
            assert_eq!(before(&checkpoints, at), expected, "{at}");
        }
        checkpoints.confirm(4);
        assert_eq!(checkpoints, of(&[8, 16, 24]));
        checkpoints.confirm(20);
        assert_eq!(checkpoints, of(&[16, 24]));
        checkpoints.confirm(24);
        assert_eq!((checkpoints.last(), before(&checkpoints, 23)), (24, None));
    }

    proptest! {
        #[test]
        fn many_stay_few(steps in proptest::collection::vec(1..100_u64, 0..500)) {
            let mut checkpoints = Checkpoints::default();
            let mut places = Vec::new();
            for step in steps {
                places.push(checkpoints.last() + step);
                checkpoints.note(checkpoints.last() + step, vec![]);
                prop_assert!(checkpoints.is_sound() && checkpoints.0.len() <= MOST);
                let close = &places[places.len().saturating_sub(CLOSE)..];
                for at in close {
                    prop_assert_eq!(checkpoints.before(*at).map(|found| found.at), Some(*at));
                }
                prop_assert_eq!(checkpoints.0[0].at, places[0]);
            }
        }
    }
}
