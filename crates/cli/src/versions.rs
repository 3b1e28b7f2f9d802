//! Tags as versions: which they are, how they follow each other, and which of them a range takes.
//!
//! Tags are not semantic versions: `1.25` and `v1` lack numbers, `22.04` begins one with 0, and `1.25.3-alpine` is no
//! early 1.25.3 but another build of it.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use semver::{BuildMetadata, Prerelease, VersionReq};

/// What makes a suffix a version before the release; any other suffix is a variant of it.
const EARLY: [&str; 16] = [
    "alpha",
    "beta",
    "canary",
    "dev",
    "ea",
    "eap",
    "m",
    "milestone",
    "next",
    "nightly",
    "pre",
    "preview",
    "rc",
    "snapshot",
    "unstable",
    "test",
];

/// A tag that is a version: numbers between dots, perhaps behind a `v`, perhaps with a suffix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Version {
    numbers: Vec<u64>,
    suffix: Suffix,
}

/// Before `1.25.3` come its early versions, then its variants.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Suffix {
    Early(Prerelease),
    Variant(String),
    None,
}

impl Version {
    /// The version that a tag is, if it is one.
    pub(crate) fn of(tag: &str) -> Option<Self> {
        let text = tag.strip_prefix(['v', 'V']).unwrap_or(tag);
        let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let (numbers, rest) = text.split_at(end);
        let numbers = numbers.split('.').map(|number| number.parse().ok()).collect::<Option<Vec<u64>>>()?;
        let suffix = match rest.strip_prefix(['-', '_', '+']) {
            Some(suffix) => match early(suffix, false) {
                Some(early) => Suffix::Early(early),
                None => Suffix::Variant(suffix.to_owned()),
            },
            None if rest.is_empty() => Suffix::None,
            // 3.13.0rc1, 3.13.0b2
            None => Suffix::Early(early(rest, true)?),
        };
        Some(Self { numbers, suffix })
    }

    fn number(&self, at: usize) -> u64 {
        self.numbers.get(at).copied().unwrap_or(0)
    }

    fn semantic(&self) -> semver::Version {
        semver::Version {
            major: self.number(0),
            minor: self.number(1),
            patch: self.number(2),
            pre: if let Suffix::Early(early) = &self.suffix { early.clone() } else { Prerelease::EMPTY },
            build: BuildMetadata::EMPTY,
        }
    }
}

/// A suffix that makes a version an early one, so that `rc10` follows `rc9`. Behind a number without a dash `a1` and
/// `b1` do too.
fn early(suffix: &str, attached: bool) -> Option<Prerelease> {
    let suffix = suffix.to_ascii_lowercase();
    let (word, rest) =
        suffix.split_at(suffix.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(suffix.len()));
    let short = attached && matches!(word, "a" | "b") && rest.starts_with(|c: char| c.is_ascii_digit());
    // `m` alone is a size, not a milestone.
    let known = EARLY.contains(&word) && (word != "m" || rest.starts_with(|c: char| c.is_ascii_digit()));
    if !known && !short {
        return None;
    }
    let mut parts: Vec<String> = Vec::new();
    for character in suffix.chars() {
        let same =
            |last: &&mut String| last.starts_with(|c: char| c.is_ascii_digit()) == character.is_ascii_digit();
        match parts
            .last_mut()
            .filter(|last| character.is_ascii_alphanumeric() && !last.is_empty() && same(last))
        {
            Some(last) => last.push(character),
            None if character.is_ascii_alphanumeric() => parts.push(character.to_string()),
            None => parts.push(String::new()),
        }
    }
    let part = |part: &String| match part.trim_start_matches('0') {
        "" => "0".to_owned(),
        number => number.to_owned(),
    };
    let parts: Vec<String> = parts.iter().filter(|text| !text.is_empty()).map(part).collect();
    Prerelease::new(&parts.join(".")).ok()
}

impl Ord for Version {
    fn cmp(&self, other: &Self) -> Ordering {
        let length = self.numbers.len().max(other.numbers.len());
        let numbers =
            (0..length).map(|at| self.number(at).cmp(&other.number(at))).find(|order| order.is_ne());
        // `1.25` moves on, so it comes before the `1.25.0` that it was.
        let precision = || self.numbers.len().cmp(&other.numbers.len());
        numbers.unwrap_or_else(|| self.suffix.cmp(&other.suffix).then_with(precision))
    }
}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// A range of versions, such as `>=1.24, <2` or `1.25`: comparisons that all have to hold, and `||` between choices. A
/// version without an operator means all that it begins: `1.25` is `1.25.*`.
#[derive(Clone, Debug)]
pub(crate) struct Range(Vec<VersionReq>);

/// Why a text is no range.
#[derive(Debug)]
pub(crate) struct RangeError(String);

impl fmt::Display for RangeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; write a range such as '>=1.24, <2' or '1.25'", self.0)
    }
}

impl std::error::Error for RangeError {}

impl Range {
    /// Whether a tag is a version in this range. Variants count as the version that they are a variant of; early
    /// versions are taken only by a comparison with an early version of the same numbers.
    pub(crate) fn takes(&self, tag: &str) -> bool {
        let version = Version::of(tag).map(|version| version.semantic());
        version.is_some_and(|version| self.0.iter().any(|range| range.matches(&version)))
    }
}

impl FromStr for Range {
    type Err = RangeError;

    fn from_str(text: &str) -> Result<Self, RangeError> {
        text.split("||").map(choice).collect::<Result<_, _>>().map(Self)
    }
}

fn choice(text: &str) -> Result<VersionReq, RangeError> {
    let mut comparisons = Vec::new();
    for part in text.split(',') {
        let before = comparisons.len();
        let mut operator = String::new();
        for word in part.split_whitespace() {
            operator.push_str(word);
            if word.contains(|c: char| !"<>=~^".contains(c)) {
                comparisons.push(comparison(&std::mem::take(&mut operator)));
            }
        }
        if comparisons.len() == before || !operator.is_empty() {
            return Err(RangeError("a version is missing".to_owned()));
        }
    }
    let comparisons = comparisons.join(", ");
    VersionReq::parse(&comparisons).map_err(|error| RangeError(error.to_string()))
}

/// One comparison in the words of the semver crate, which knows no `v`, no leading zeros, and another meaning of a
/// version alone.
fn comparison(text: &str) -> String {
    let (operator, version) = text.split_at(text.find(|c: char| !"<>=~^".contains(c)).unwrap_or(text.len()));
    let version = version.strip_prefix(['v', 'V']).unwrap_or(version);
    let (numbers, suffix) = version.split_at(version.find(['-', '+']).unwrap_or(version.len()));
    let number = |number: &str| match number.trim_start_matches('0') {
        "" if !number.is_empty() => "0".to_owned(),
        rest => rest.to_owned(),
    };
    let numbers: Vec<String> = numbers.split('.').map(number).collect();
    let open = numbers.iter().any(|number| matches!(number.as_str(), "*" | "x" | "X"));
    let operator = if operator.is_empty() && !open { "=" } else { operator };
    let early =
        suffix.strip_prefix('-').and_then(|suffix| early(suffix, false)).map(|early| format!("-{early}"));
    format!("{operator}{}{}", numbers.join("."), early.as_deref().unwrap_or(suffix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order() {
        let sorted = [
            "0.9",
            "1",
            "1.0.0",
            "1.9.0",
            "1.10.0-alpha",
            "1.10.0-beta.2",
            "1.10.0-rc.9",
            "1.10.0-rc10",
            "1.10.0-alpine",
            "1.10.0-slim",
            "1.10",
            "v1.10.0",
            "1.10.0.1",
            "3.13.0a1",
            "3.13.0b2",
            "3.13.0rc1",
            "3.13.0",
            "22.04",
            "20240101",
        ];
        for pair in sorted.windows(2) {
            let [first, second] = [pair[0], pair[1]].map(|tag| Version::of(tag).unwrap());
            assert!(first < second, "{pair:?}: {first:?} {second:?}");
        }
    }

    #[test]
    fn what_is_no_version() {
        for tag in [
            "latest",
            "",
            "v",
            "vx",
            "alpine-3",
            "1.",
            "1..2",
            ".1",
            "3fd1c2",
            "1.x",
            "1.25alpine",
            "99999999999999999999",
            "sha256-e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        ] {
            assert_eq!(Version::of(tag), None, "{tag}");
        }
    }

    #[test]
    fn ranges() {
        let tags = [
            "latest",
            "1",
            "1.24.9",
            "1.25",
            "1.25.3",
            "v1.25.4",
            "1.25.3-alpine",
            "1.26.0-rc1",
            "1.26.0",
            "2.0.0",
            "22.04",
        ];
        for (range, expected) in [
            ("1.25", "1.25 1.25.3 v1.25.4 1.25.3-alpine"),
            ("v1.25", "1.25 1.25.3 v1.25.4 1.25.3-alpine"),
            ("1.25.x", "1.25 1.25.3 v1.25.4 1.25.3-alpine"),
            ("=1.25.3", "1.25.3 1.25.3-alpine"),
            ("1", "1 1.24.9 1.25 1.25.3 v1.25.4 1.25.3-alpine 1.26.0"),
            (">=1.25, <2", "1.25 1.25.3 v1.25.4 1.25.3-alpine 1.26.0"),
            (">= 1.25 < 2", "1.25 1.25.3 v1.25.4 1.25.3-alpine 1.26.0"),
            (">1.25", "1.26.0 2.0.0 22.04"),
            ("~1.24.1 || 2", "1.24.9 2.0.0"),
            ("^1.25.4", "v1.25.4 1.26.0"),
            ("1.26.0-rc1", "1.26.0-rc1"),
            (">=1.26.0-rc.0, <2", "1.26.0-rc1 1.26.0"),
            (">=22.04", "22.04"),
            ("*", "1 1.24.9 1.25 1.25.3 v1.25.4 1.25.3-alpine 1.26.0 2.0.0 22.04"),
        ] {
            let parsed: Range = range.parse().unwrap();
            let taken: Vec<&str> = tags.into_iter().filter(|tag| parsed.takes(tag)).collect();
            assert_eq!(taken.join(" "), expected, "{range}");
        }
    }

    #[test]
    fn what_is_no_range() {
        for range in ["", " ", ">=", ">=x", "1.25,", "1 ||", "1.2.3.4", "!=1", "latest", "1.2 - 1.4", "=>1"] {
            let error = range.parse::<Range>().unwrap_err().to_string();
            assert!(error.ends_with("'1.25'") && !error.contains('\n'), "{error}");
        }
    }
}
