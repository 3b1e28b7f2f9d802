//! Digests: an algorithm and the hash it gave, as `sha256:<hex>` (image specification, descriptor.md, "Digests").

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::Digest as _;
use sha2::digest::common::hazmat::{SerializableState, SerializedState};

use crate::Tag;

/// A hash algorithm that content is addressed by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Algorithm {
    /// SHA-256, what everybody writes.
    Sha256,
    /// SHA-512, which registries may accept.
    Sha512,
}

impl Algorithm {
    /// The name before the colon of a digest.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
        }
    }

    /// A hasher that has seen nothing yet: the fastest.
    pub fn hasher(self) -> Hasher {
        match self {
            Self::Sha256 if !is_fast() => {
                Hasher(State::Assembly(ring::digest::Context::new(&ring::digest::SHA256)))
            }
            Self::Sha256 | Self::Sha512 => self.resumable(),
        }
    }

    /// The same, but one whose [`Hasher::state`] can be kept.
    pub fn resumable(self) -> Hasher {
        Hasher(match self {
            Self::Sha256 => State::Sha256(sha2::Sha256::new()),
            Self::Sha512 => State::Sha512(sha2::Sha512::new()),
        })
    }

    /// The hasher whose [`Hasher::state`] this is; `None` if it is none of this algorithm.
    pub fn resume(self, state: &[u8]) -> Option<Hasher> {
        fn read<T: SerializableState>(state: &[u8]) -> Option<T> {
            T::deserialize(&SerializedState::<T>::try_from(state).ok()?).ok()
        }
        Some(Hasher(match self {
            Self::Sha256 => State::Sha256(read(state)?),
            Self::Sha512 => State::Sha512(read(state)?),
        }))
    }

    /// The digest of `bytes`.
    pub fn digest(self, bytes: &[u8]) -> Digest {
        let mut hasher = self.hasher();
        hasher.update(bytes);
        hasher.finish()
    }
}

/// A running hash. Cloning it keeps a checkpoint.
#[derive(Clone)]
pub struct Hasher(State);

#[derive(Clone)]
enum State {
    Sha256(sha2::Sha256),
    /// Half as much again and more where the processor has no instructions for it; but its state cannot be kept.
    Assembly(ring::digest::Context),
    Sha512(sha2::Sha512),
}

impl Hasher {
    /// Hashes the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        match &mut self.0 {
            State::Sha256(hasher) => hasher.update(bytes),
            State::Assembly(hasher) => hasher.update(bytes),
            State::Sha512(hasher) => hasher.update(bytes),
        }
    }

    /// The hash so far, for [`Algorithm::resume`] in another process. It holds up to one block of the content itself.
    /// `None` unless it is one that can be kept: [`Algorithm::resumable`].
    pub fn state(&self) -> Option<Vec<u8>> {
        match &self.0 {
            State::Sha256(hasher) => Some(hasher.serialize().to_vec()),
            State::Assembly(_) => None,
            State::Sha512(hasher) => Some(hasher.serialize().to_vec()),
        }
    }

    /// The algorithm.
    pub fn algorithm(&self) -> Algorithm {
        match self.0 {
            State::Sha256(_) | State::Assembly(_) => Algorithm::Sha256,
            State::Sha512(_) => Algorithm::Sha512,
        }
    }

    /// The digest of all bytes seen.
    pub fn finish(self) -> Digest {
        match self.0 {
            State::Sha256(hasher) => Digest::Sha256(hasher.finalize().into()),
            State::Assembly(hasher) => {
                let mut hash = [0; 32];
                hash.copy_from_slice(hasher.finish().as_ref());
                Digest::Sha256(hash)
            }
            State::Sha512(hasher) => Digest::Sha512(hasher.finalize().into()),
        }
    }
}

impl fmt::Debug for Hasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Hasher").field(&self.algorithm()).finish()
    }
}

/// Whether the processor hashes by itself, or at least nobody is faster than `sha2`.
fn is_fast() -> bool {
    #[cfg(target_arch = "x86_64")]
    return std::arch::is_x86_feature_detected!("sha");
    #[cfg(not(target_arch = "x86_64"))]
    true
}

/// The digest of some content. Prints and parses as `algorithm:hex`, lower case only.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Digest {
    /// 32 bytes.
    Sha256([u8; 32]),
    /// 64 bytes.
    Sha512([u8; 64]),
}

impl Digest {
    /// The algorithm that made it.
    pub fn algorithm(&self) -> Algorithm {
        match self {
            Self::Sha256(_) => Algorithm::Sha256,
            Self::Sha512(_) => Algorithm::Sha512,
        }
    }

    /// The hash in lower-case hexadecimal.
    pub fn hex(&self) -> String {
        match self {
            Self::Sha256(bytes) => hex::encode(bytes),
            Self::Sha512(bytes) => hex::encode(bytes),
        }
    }

    /// The tag that stands for this digest where a registry has no referrers API: `sha256-<hex>`, the hash cut to 64
    /// characters (distribution specification, "Referrers Tag Schema").
    pub fn fallback_tag(&self) -> Tag {
        let mut hex = self.hex();
        hex.truncate(64);
        Tag::of(format!("{}-{hex}", self.algorithm().name()))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.algorithm().name(), self.hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Why a text is not a digest.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DigestError {
    /// There is no colon.
    #[error("a digest is written algorithm:hex, like sha256:0123…")]
    NoAlgorithm,
    /// An algorithm other than sha256 and sha512.
    #[error("unknown digest algorithm {0:?} (sha256 and sha512 are known)")]
    UnknownAlgorithm(String),
    /// Too few or too many characters behind the colon.
    #[error("a {algorithm} digest has {expected} hexadecimal characters, this one has {found}")]
    Length {
        /// The algorithm's name.
        algorithm: &'static str,
        /// How many there should be.
        expected: usize,
        /// How many there are.
        found: usize,
    },
    /// A character that is not a lower-case hexadecimal one.
    #[error("{character:?} is not a lower-case hexadecimal character")]
    Character {
        /// The character.
        character: char,
        /// Its place in the text, in characters from 0.
        position: usize,
    },
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        let (name, encoded) = text.split_once(':').ok_or(DigestError::NoAlgorithm)?;
        let algorithm = match name {
            "sha256" => Algorithm::Sha256,
            "sha512" => Algorithm::Sha512,
            other => return Err(DigestError::UnknownAlgorithm(other.to_owned())),
        };
        if let Some((at, character)) =
            encoded.chars().enumerate().find(|(_, c)| !matches!(c, '0'..='9' | 'a'..='f'))
        {
            return Err(DigestError::Character { character, position: name.len() + 1 + at });
        }
        let length =
            |expected| DigestError::Length { algorithm: algorithm.name(), expected, found: encoded.len() };
        match algorithm {
            Algorithm::Sha256 => {
                let mut bytes = [0; 32];
                hex::decode_to_slice(encoded, &mut bytes).map_err(|_| length(64))?;
                Ok(Self::Sha256(bytes))
            }
            Algorithm::Sha512 => {
                let mut bytes = [0; 64];
                hex::decode_to_slice(encoded, &mut bytes).map_err(|_| length(128))?;
                Ok(Self::Sha512(bytes))
            }
        }
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(|error| serde::de::Error::custom(format_args!("{text:?}: {error}")))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const EMPTY: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn hashes_and_prints() {
        assert_eq!(Algorithm::Sha256.digest(b"").to_string(), EMPTY);
        assert!(Algorithm::Sha512.digest(b"").to_string().starts_with("sha512:cf83e1357eefb8bd"));
        assert_eq!(EMPTY.parse::<Digest>().unwrap(), Algorithm::Sha256.digest(b""));
    }

    /// Whatever the processor of whoever runs the tests has.
    #[test]
    fn all_ways_give_the_same() {
        let content = vec![7; 100_000];
        let assembly = Hasher(State::Assembly(ring::digest::Context::new(&ring::digest::SHA256)));
        for mut hasher in [assembly, Algorithm::Sha256.resumable(), Algorithm::Sha256.hasher()] {
            assert_eq!(hasher.algorithm(), Algorithm::Sha256);
            content.chunks(777).for_each(|piece| hasher.update(piece));
            assert_eq!(hasher.finish(), Algorithm::Sha256.digest(&content));
        }
    }

    #[test]
    fn fallback_tags_fit_a_tag() {
        let [short, long] = [Algorithm::Sha256, Algorithm::Sha512].map(|algorithm| algorithm.digest(b""));
        assert_eq!(short.fallback_tag().as_str(), EMPTY.replace(':', "-"));
        assert_eq!(long.fallback_tag().as_str(), format!("sha512-{}", &long.hex()[..64]));
        for tag in [short, long].map(|digest| digest.fallback_tag()) {
            assert!(tag.is_fallback());
            assert_eq!(Tag::new(tag.as_str()), Ok(tag));
        }
        for other in
            ["latest", "sha256-", &EMPTY[..70].replace(':', "-"), &format!("{}.sig", EMPTY.replace(':', "-"))]
        {
            assert!(!Tag::new(other).unwrap().is_fallback(), "{other}");
        }
    }

    #[test]
    fn says_what_is_wrong() {
        let wrong = |text: &str| text.parse::<Digest>().unwrap_err();
        assert_eq!(wrong("sha256"), DigestError::NoAlgorithm);
        assert_eq!(wrong("md5:00"), DigestError::UnknownAlgorithm("md5".into()));
        assert_eq!(wrong("sha256:00"), DigestError::Length { algorithm: "sha256", expected: 64, found: 2 });
        assert_eq!(wrong(&EMPTY.replace('e', "E")), DigestError::Character { character: 'E', position: 7 });
    }

    proptest! {
        #[test]
        fn never_panics(text in "\\PC{0,80}") {
            let _ = text.parse::<Digest>();
        }

        #[test]
        fn hashes_go_on(before in proptest::collection::vec(any::<u8>(), 0..300), after in "[a-z]{0,300}") {
            for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
                let mut hasher = algorithm.resumable();
                hasher.update(&before);
                let state = hasher.state().unwrap();
                let mut resumed = algorithm.resume(&state).unwrap();
                resumed.update(after.as_bytes());
                let whole = [&before, after.as_bytes()].concat();
                prop_assert_eq!(resumed.finish(), algorithm.digest(&whole));
                prop_assert!(algorithm.resume(&state[1..]).is_none());
            }
        }

        #[test]
        fn states_never_panic(state in proptest::collection::vec(any::<u8>(), 0..300)) {
            for (algorithm, length) in [(Algorithm::Sha256, 105), (Algorithm::Sha512, 209)] {
                let mut exact = state.clone();
                exact.resize(length, 0);
                for state in [&state, &exact] {
                    if let Some(hasher) = algorithm.resume(state) {
                        hasher.finish();
                    }
                }
            }
        }

        #[test]
        fn round_trips(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
                let digest = algorithm.digest(&bytes);
                prop_assert_eq!(digest.to_string().parse::<Digest>().unwrap(), digest);
            }
        }
    }
}
