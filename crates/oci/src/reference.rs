//! References as people type them, by the rules that crane accepts.

use std::fmt;
use std::str::FromStr;

use crate::repository::split;
use crate::{Digest, DigestError, Repository, Selector, Tag};

/// A repository and what is meant in it: a tag, a digest, or both (then the digest counts and the tag is a note).
/// Without either, `latest` is meant. Prints canonically, with registry and `library/`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference {
    repository: Repository,
    tag: Option<Tag>,
    digest: Option<Digest>,
}

/// Why a text is not a reference.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("could not parse reference: {input}: {reason} (at character {})", position + 1)]
pub struct ReferenceError {
    /// What was given.
    pub input: String,
    /// The place of the fault, in characters from 0.
    pub position: usize,
    /// What is wrong there.
    pub reason: String,
}

impl Reference {
    /// A tag or a digest in `repository`.
    pub fn new(repository: Repository, selector: Selector) -> Self {
        match selector {
            Selector::Tag(tag) => Self { repository, tag: Some(tag), digest: None },
            Selector::Digest(digest) => Self { repository, tag: None, digest: Some(digest) },
        }
    }

    /// The repository.
    pub fn repository(&self) -> &Repository {
        &self.repository
    }

    /// The tag that was written, also beside a digest.
    pub fn tag(&self) -> Option<&Tag> {
        self.tag.as_ref()
    }

    /// The digest that was written.
    pub fn digest(&self) -> Option<Digest> {
        self.digest
    }

    /// What to ask the registry for: the digest if there is one, else the tag, else `latest`.
    pub fn selector(&self) -> Selector {
        match (&self.digest, &self.tag) {
            (Some(digest), _) => Selector::Digest(*digest),
            (None, Some(tag)) => Selector::Tag(tag.clone()),
            (None, None) => Selector::Tag(Tag::latest()),
        }
    }
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        let fail = |position, reason| ReferenceError { input: text.to_owned(), position, reason };
        let (name, digest) = match text.split_once('@') {
            None => (text, None),
            Some((name, digest)) => {
                let start = name.chars().count() + 1;
                if let Some(at) = digest.chars().position(|c| c == '@') {
                    return Err(fail(start + at, "a reference has one '@' only".to_owned()));
                }
                let parsed = digest.parse::<Digest>().map_err(|error| {
                    let at = match error {
                        DigestError::Character { position, .. } => position,
                        _ => 0,
                    };
                    fail(start + at, error.to_string())
                })?;
                (name, Some(parsed))
            }
        };
        let (repository, tag) = match name.rsplit_once(':') {
            Some((repository, tag)) if !tag.contains(['/', ']']) => {
                let start = repository.chars().count() + 1;
                (repository, Some(Tag::new(tag).map_err(|(at, reason)| fail(start + at, reason))?))
            }
            _ => (name, None),
        };
        let repository = split(repository).map_err(|(at, reason)| fail(at, reason))?;
        Ok(Self { repository, tag, digest })
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.selector() {
            Selector::Tag(tag) => write!(f, "{}:{tag}", self.repository),
            Selector::Digest(digest) => write!(f, "{}@{digest}", self.repository),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn canonical(text: &str) -> String {
        text.parse::<Reference>().unwrap_or_else(|error| panic!("{error}")).to_string()
    }

    #[test]
    fn defaults_and_aliases() {
        for (typed, meant) in [
            ("nginx", "index.docker.io/library/nginx:latest"),
            ("docker.io/nginx:1", "index.docker.io/library/nginx:1"),
            ("index.docker.io/nginx", "index.docker.io/library/nginx:latest"),
            ("registry-1.docker.io/bitnami/redis", "index.docker.io/bitnami/redis:latest"),
            ("joshrosso/nginx", "index.docker.io/joshrosso/nginx:latest"),
            ("localhost/app", "localhost/app:latest"),
            ("localhost:5000/app", "localhost:5000/app:latest"),
            ("127.0.0.1:5000/a/b/c:v1.0-rc_1", "127.0.0.1:5000/a/b/c:v1.0-rc_1"),
            ("[::1]:5000/app:x", "[::1]:5000/app:x"),
            ("[::1]/app", "[::1]/app:latest"),
            ("ghcr.io/a/b", "ghcr.io/a/b:latest"),
            ("host:5000/x", "host:5000/x:latest"),
            ("a", "index.docker.io/library/a:latest"),
            ("a.b", "index.docker.io/library/a.b:latest"),
            ("quay.io/a//b", "quay.io/a//b:latest"),
            ("x:.hidden", "index.docker.io/library/x:.hidden"),
        ] {
            assert_eq!(canonical(typed), meant, "{typed}");
        }
    }

    #[test]
    fn a_digest_wins_over_a_tag() {
        let reference: Reference = format!("nginx:1.25@{DIGEST}").parse().unwrap();
        assert_eq!(reference.to_string(), format!("index.docker.io/library/nginx@{DIGEST}"));
        assert_eq!(reference.tag().map(Tag::as_str), Some("1.25"));
        assert!(matches!(reference.selector(), Selector::Digest(_)));
    }

    #[test]
    fn errors_point_at_the_character() {
        for (typed, position) in [
            ("", 0),
            ("NGINX", 0),
            ("ghcr.io/Foo/bar", 8),
            ("nginx:", 6),
            ("nginx:1 2", 7),
            ("nginx@", 6),
            ("nginx@sha256:zz", 13),
            ("nginx@md5:00", 6),
            (&format!("nginx@{DIGEST}@{DIGEST}"), 77),
            ("host:port/x", 5),
            ("a/../b", 2),
            ("x:..", 2),
            ("ghcr.io/", 8),
            ("caf\u{e9}/x", 3),
        ] {
            let error = typed.parse::<Reference>().unwrap_err();
            assert_eq!(error.position, position, "{error}");
            assert!(error.to_string().starts_with("could not parse reference: "), "{error}");
        }
        assert_eq!(
            "nginx:1 2".parse::<Reference>().unwrap_err().to_string(),
            "could not parse reference: nginx:1 2: ' ' may not stand in a tag (at character 8)"
        );
    }

    proptest! {
        #[test]
        fn never_panics_and_points_inside(text in "\\PC{0,60}") {
            if let Err(error) = text.parse::<Reference>() {
                prop_assert!(error.position <= text.chars().count());
            }
        }

        #[test]
        fn printing_is_canonical(
            host in "([a-z]{1,8}\\.[a-z]{2,3}|localhost|10\\.0\\.0\\.1|\\[::1\\])(:[1-9][0-9]{0,3})?/|",
            path in "[a-z0-9]{1,8}(/[a-z0-9_-]{1,8}){0,2}",
            tag in "(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,12})?",
        ) {
            let reference: Reference = format!("{host}{path}{tag}").parse().unwrap();
            let printed = reference.to_string();
            prop_assert_eq!(printed.parse::<Reference>().unwrap().to_string(), printed);
        }
    }
}
