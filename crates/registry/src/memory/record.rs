//! What is remembered of one registry, and what becomes of it with what a run has learned. No I/O here.

use std::time::Duration;

use auth::Secret;
use serde::{Deserialize, Serialize, Serializer};

use crate::challenge::Challenge;
use crate::memory::{Features, Moment};
use crate::scope::Scope;
use crate::token;

/// Records of other versions are passed over.
const VERSION: u32 = 1;

/// How long a challenge counts. A registry that changes its token server is believed anew, and passwords do not go to
/// the old one for ever.
const CHALLENGE_LIFE: Duration = Duration::from_hours(24);

/// After so long it is tried again what a registry can do.
const FEATURES_LIFE: Duration = Duration::from_hours(7 * 24);

/// How many tokens are kept.
const MOST_TOKENS: usize = 64;

/// The longest token that is kept, in bytes.
const LONGEST_TOKEN: usize = 16 << 10;

/// What is remembered of a registry.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    version: u32,
    /// What the registry was reached with. A record counts only where that is the same.
    way: String,
    pub(crate) scheme: Option<Scheme>,
    challenge: Option<Named>,
    features: Features,
    /// When the first of the features was seen.
    features_seen: Moment,
    tokens: Vec<KeptToken>,
}

/// How a registry is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Scheme {
    Http,
    Https,
}

impl Scheme {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

/// A challenge, and when a registry named it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Named {
    pub(crate) challenge: Challenge,
    pub(crate) at: Moment,
}

/// An access token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct KeptToken {
    /// Whom it was given to ([`Salt::identity`](super::Salt::identity)).
    pub(crate) identity: String,
    /// What it is for, as scopes are written.
    pub(crate) scopes: String,
    #[serde(serialize_with = "exposed")]
    pub(crate) token: Secret,
    /// When it was asked for.
    pub(crate) asked: Moment,
    /// How many seconds it is good from then on.
    pub(crate) life: u64,
}

fn exposed<S: Serializer>(secret: &Secret, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(secret.expose())
}

impl KeptToken {
    fn scopes(&self) -> Vec<Scope> {
        Scope::parse_list(&self.scopes)
    }

    /// Whether it is still to be used.
    fn is_good(&self, now: Moment) -> bool {
        self.asked.is_within(token::use_of(Duration::from_secs(self.life)), now)
    }
}

/// What a run has learned of a registry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Learned {
    pub(crate) scheme: Option<Scheme>,
    pub(crate) challenge: Option<Named>,
    pub(crate) features: Features,
    pub(crate) tokens: Vec<KeptToken>,
    /// What was remembered, if it did not let us in any more.
    pub(crate) refused: Option<Record>,
}

impl Record {
    /// Reads a record; one that is torn, of another version, or of another way to the registry, is none.
    pub(super) fn parse(text: &[u8], way: &str) -> Option<Self> {
        let record: Self = serde_json::from_slice(text).ok()?;
        (record.version == VERSION && record.way == way).then_some(record)
    }

    pub(super) fn new(way: String) -> Self {
        Self { version: VERSION, way, ..Self::default() }
    }

    pub(super) fn text(&self) -> Vec<u8> {
        // Texts and numbers only: there is no map with odd keys, and nothing that fails by itself.
        serde_json::to_vec(self).expect("a record makes JSON")
    }

    /// The challenge, while it counts.
    pub(crate) fn challenge(&self, now: Moment) -> Option<&Challenge> {
        let Named { challenge, at } = self.challenge.as_ref()?;
        at.is_within(CHALLENGE_LIFE, now).then_some(challenge)
    }

    /// What the registry can do, as far as that was seen lately.
    pub(crate) fn features(&self, now: Moment) -> Features {
        if self.features_seen.is_within(FEATURES_LIFE, now) { self.features } else { Features::default() }
    }

    /// A token for `scopes` that was given to `identity`.
    pub(crate) fn token(&self, identity: &str, scopes: &[Scope], now: Moment) -> Option<&Secret> {
        let fits = |token: &&KeptToken| {
            token.identity == identity && token.is_good(now) && Scope::covers(&token.scopes(), scopes)
        };
        self.tokens.iter().find(fits).map(|token| &token.token)
    }

    /// Whether there is nothing in it.
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Its challenge, its tokens, or both; `None` if that is nothing.
    pub(crate) fn part(&self, challenge: bool, tokens: bool) -> Option<Self> {
        let challenge = self.challenge.clone().filter(|_| challenge);
        let tokens = if tokens { self.tokens.clone() } else { Vec::new() };
        let some = challenge.is_some() || !tokens.is_empty();
        some.then(|| Self { challenge, tokens, ..Self::default() })
    }

    /// Whether a token is one of these.
    pub(crate) fn has(&self, token: &Secret) -> bool {
        self.tokens.iter().any(|kept| kept.token == *token)
    }

    /// What is to be remembered after a run that learned this. What others have written since the run began stays.
    #[must_use]
    pub(super) fn merge(mut self, learned: Learned, now: Moment) -> Self {
        if let Some(refused) = learned.refused {
            self.challenge.take_if(|challenge| Some(&*challenge) == refused.challenge.as_ref());
            self.tokens.retain(|token| !refused.tokens.contains(token));
        }
        self.scheme = learned.scheme.or(self.scheme);
        let named = self.challenge.take().filter(|old| old.at.is_within(CHALLENGE_LIFE, now));
        self.challenge = match (named, learned.challenge) {
            (Some(old), Some(new)) if old.at.wall > new.at.wall => Some(old),
            (old, new) => new.or(old),
        };
        let known = self.features(now);
        let features = learned.features.or(known);
        if features == Features::default() {
            self.features_seen = Moment::default();
        } else if known == Features::default() {
            self.features_seen = now;
        }
        self.features = features;
        for token in learned.tokens {
            let scopes = token.scopes();
            self.tokens
                .retain(|old| old.identity != token.identity || !Scope::covers(&scopes, &old.scopes()));
            self.tokens.push(token);
        }
        self.tokens.retain(|token| token.token.expose().len() <= LONGEST_TOKEN && token.is_good(now));
        let surplus = self.tokens.len().saturating_sub(MOST_TOKENS);
        self.tokens.drain(..surplus);
        self
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::challenge::Bearer;

    const NOW: u64 = 1_000_000;

    fn at(wall: u64) -> Moment {
        Moment { wall, up: wall }
    }

    fn token(identity: &str, scopes: &str, token: &str, asked: u64) -> KeptToken {
        KeptToken {
            identity: identity.to_owned(),
            scopes: scopes.to_owned(),
            token: Secret::new(token),
            asked: at(asked),
            life: 300,
        }
    }

    fn bearer(named: u64) -> Named {
        let bearer = Bearer { realm: "https://h/t".to_owned(), service: None, scopes: Vec::new() };
        Named { challenge: Challenge::Bearer(bearer), at: at(named) }
    }

    fn with_tokens(tokens: Vec<KeptToken>) -> Record {
        Record { tokens, ..Record::new("w".to_owned()) }
    }

    #[test]
    fn tokens_end_with_their_life_whatever_the_clock_says() {
        let record = with_tokens(vec![token("i", "repository:a:pull", "t", NOW)]);
        let scopes = [Scope::pull("a")];
        let good = |record: &Record, now| record.token("i", &scopes, now).is_some();
        // Renewed when a tenth of the life is left.
        for (now, expected) in [
            (at(NOW), true),
            (at(NOW + 269), true),
            (at(NOW + 270), false),
            (at(NOW - 1), false),
            (at(0), false),
            (at(u64::MAX), false),
            (Moment { wall: NOW + 100, up: NOW + 290 }, false),
            (Moment { wall: NOW + 100, up: 3 }, true),
        ] {
            assert_eq!(good(&record, now), expected, "{now:?}");
        }
        let mut long = record.clone();
        long.tokens[0].life = u64::MAX;
        assert!(good(&long, at(NOW + 3600)) && !good(&long, at(NOW + 24 * 3600)));
    }

    #[test]
    fn tokens_are_for_whom_and_what_they_were_given() {
        let record = with_tokens(vec![token("i", "repository:a:pull,push", "t", NOW)]);
        let found = |identity, scope| record.token(identity, &[scope], at(NOW)).is_some();
        assert!(found("i", Scope::pull("a")) && found("i", Scope::push("a")));
        assert!(!found("j", Scope::pull("a")) && !found("i", Scope::pull("b")));
        assert!(!found("i", Scope::delete("a")));
    }

    #[test]
    fn what_two_runs_learned_is_all_kept() {
        let learned = |path: &str| Learned {
            tokens: vec![token("i", &format!("repository:{path}:pull"), path, NOW)],
            ..Learned::default()
        };
        let record = Record::new("w".to_owned()).merge(learned("a"), at(NOW)).merge(learned("b"), at(NOW));
        let names = |record: &Record| -> Vec<String> {
            record.tokens.iter().map(|token| token.token.expose().to_owned()).collect()
        };
        assert_eq!(names(&record), ["a", "b"]);
        // A token that is good for more takes the place of the other, of the same identity.
        let more = Learned {
            tokens: vec![
                token("i", "repository:a:pull,push", "c", NOW),
                token("j", "repository:b:pull", "d", NOW),
            ],
            ..Learned::default()
        };
        let record = record.merge(more, at(NOW));
        assert_eq!(names(&record), ["b", "c", "d"]);
        // What was refused goes; what has come since stays.
        let seen = Record { tokens: record.tokens[..2].to_vec(), ..record.clone() };
        let record = record.merge(Learned { refused: Some(seen), ..Learned::default() }, at(NOW));
        assert_eq!(names(&record), ["d"]);
    }

    #[test]
    fn challenges_and_features_get_old() {
        let features = Features { head: Some(false), ..Features::default() };
        let first = Learned { challenge: Some(bearer(NOW)), features, ..Learned::default() };
        let record = Record::new("w".to_owned()).merge(first, at(NOW));
        let day = 24 * 3600;
        for (now, challenge, known) in [
            (NOW, true, true),
            (NOW + day - 1, true, true),
            (NOW + day, false, true),
            (NOW + 7 * day, false, false),
            (NOW - 1, false, false),
        ] {
            assert_eq!(record.challenge(at(now)).is_some(), challenge, "{now}");
            assert_eq!(record.features(at(now)) == features, known, "{now}");
        }
        // What is seen later adds to it, and does not make it younger.
        let ranges = Features { ranges: Some(true), ..Features::default() };
        let more = Learned { features: ranges, ..Learned::default() };
        let record = record.merge(more, at(NOW + day));
        assert_eq!(record.features(at(NOW + day)), ranges.or(features));
        assert_eq!(record.features(at(NOW + 7 * day)), Features::default());
        // The later challenge counts, in whatever order they are written.
        let older = Learned { challenge: Some(bearer(NOW - 5)), ..Learned::default() };
        let record = Record::new("w".to_owned())
            .merge(Learned { challenge: Some(bearer(NOW)), ..Learned::default() }, at(NOW))
            .merge(older, at(NOW));
        assert_eq!(record.challenge, Some(bearer(NOW)));
    }

    #[test]
    fn only_whole_records_of_the_same_way_count() {
        let record = with_tokens(vec![token("i", "a:b", "t", NOW)]);
        let text = record.text();
        assert_eq!(Record::parse(&text, "w"), Some(record));
        assert_eq!(Record::parse(&text, "v"), None);
        for end in 0..text.len() {
            assert_eq!(Record::parse(&text[..end], "w"), None);
        }
        let other = String::from_utf8(text).unwrap().replace("\"version\":1", "\"version\":2");
        assert_eq!(Record::parse(other.as_bytes(), "w"), None);
        assert_eq!(Record::parse(b"\xff\x00{}", "w"), None);
    }

    proptest! {
        #[test]
        fn merging_keeps_the_bounds(
            asked in proptest::collection::vec((0u64..2000, 0usize..40, 0u64..4000), 0..200),
            now in 0u64..3000,
        ) {
            let tokens = asked.iter().map(|&(asked, path, life)| {
                let scopes = format!("repository:r{path}:pull");
                KeptToken { life, ..token(["i", "j"][path % 2], &scopes, &format!("{asked}{path}"), asked) }
            });
            let learned = Learned { tokens: tokens.collect(), ..Learned::default() };
            let record = Record::new("w".to_owned()).merge(learned, at(now));
            prop_assert!(record.tokens.len() <= MOST_TOKENS);
            for token in &record.tokens {
                let age = now.checked_sub(token.asked.wall);
                prop_assert!(age.is_some_and(|age| age < token.life), "{age:?} of {}", token.life);
            }
            // What was written is read again, and merging nothing changes nothing.
            let read = Record::parse(&record.text(), "w");
            prop_assert_eq!(read.as_ref(), Some(&record));
            prop_assert_eq!(record.clone().merge(Learned::default(), at(now)), record);
        }
    }
}
