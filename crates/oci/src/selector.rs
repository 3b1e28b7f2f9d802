//! How one manifest of a repository is asked for: by tag or by digest.

use std::fmt;

use crate::Digest;

/// A tag: 1 to 128 characters of `[A-Za-z0-9_.-]`. Made by parsing only, so it is safe in a URL path.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag(String);

impl Tag {
    /// The tag that a reference means when it names none.
    pub fn latest() -> Self {
        Self("latest".to_owned())
    }

    /// Whether it looks like the tag that stands for a digest ([`Digest::fallback_tag`]).
    pub fn is_fallback(&self) -> bool {
        let hex = self.0.strip_prefix("sha256-").or_else(|| self.0.strip_prefix("sha512-"));
        hex.is_some_and(|hex| {
            hex.len() == 64 && hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        })
    }

    /// Checks a tag by crane's rule, which also allows a leading `.` or `-`. `.` and `..` are refused: in a URL they
    /// mean something else.
    ///
    /// # Errors
    /// The place of the fault in `text`, in characters from 0, and what is wrong there.
    pub fn new(text: &str) -> Result<Self, (usize, String)> {
        if text.is_empty() {
            return Err((0, "the tag is empty".to_owned()));
        }
        if let Some((at, character)) = text
            .chars()
            .enumerate()
            .find(|(_, c)| !(c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-')))
        {
            return Err((at, format!("{character:?} may not stand in a tag")));
        }
        if text.len() > 128 {
            return Err((128, format!("a tag has at most 128 characters, this one has {}", text.len())));
        }
        if text == "." || text == ".." {
            return Err((0, format!("{text:?} cannot be a tag")));
        }
        Ok(Self(text.to_owned()))
    }

    /// A text that is made of a tag's characters.
    pub(crate) fn of(text: String) -> Self {
        Self(text)
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What the distribution specification calls a manifest's reference within its repository.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Selector {
    /// Whatever the tag names now.
    Tag(Tag),
    /// Exactly this manifest.
    Digest(Digest),
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tag(tag) => tag.fmt(f),
            Self::Digest(digest) => digest.fmt(f),
        }
    }
}

impl From<Digest> for Selector {
    fn from(digest: Digest) -> Self {
        Self::Digest(digest)
    }
}

impl From<Tag> for Selector {
    fn from(tag: Tag) -> Self {
        Self::Tag(tag)
    }
}
