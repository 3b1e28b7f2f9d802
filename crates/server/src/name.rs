//! Repository names by the distribution specification's grammar ("Pulling manifests").

use std::fmt;
use std::str::FromStr;

/// The name of a repository on this server, such as `library/nginx`: parts of `[a-z0-9]+` joined by `.`, `_`, `__` or
/// any number of `-`, the parts of a path joined by `/`, at most 255 characters.
///
/// Made by parsing only. No part begins with anything but a letter or a digit, so a name is safe as a path, and files
/// that begin with `_` can stand beside repositories without ever being one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RepositoryName(String);

/// What is wrong with a repository's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// A name or a part of it is empty, as in `a//b`.
    #[error("a part of the name is empty")]
    Empty,
    /// More than 255 characters.
    #[error("a name has at most 255 characters")]
    TooLong,
    /// A part is not made of lower-case letters, digits and single separators between them.
    #[error("the parts of a name are lower-case letters and digits, joined by '.', '_', '__' or '-'")]
    Grammar,
}

/// The longest name in bytes. Peers agree on it, and it is the longest name of a file.
const MAX_LENGTH: usize = 255;

impl RepositoryName {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for RepositoryName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        if text.len() > MAX_LENGTH {
            return Err(NameError::TooLong);
        }
        for part in text.split('/') {
            check_part(part)?;
        }
        Ok(Self(text.to_owned()))
    }
}

fn check_part(part: &str) -> Result<(), NameError> {
    if part.is_empty() {
        return Err(NameError::Empty);
    }
    let mut separator = String::new();
    let mut begun = false;
    for character in part.chars() {
        match character {
            'a'..='z' | '0'..='9' => {
                let joins = matches!(separator.as_str(), "" | "." | "_" | "__")
                    || separator.chars().all(|character| character == '-');
                if !joins || (!begun && !separator.is_empty()) {
                    return Err(NameError::Grammar);
                }
                separator.clear();
                begun = true;
            }
            '.' | '_' | '-' => separator.push(character),
            _ => return Err(NameError::Grammar),
        }
    }
    if separator.is_empty() { Ok(()) } else { Err(NameError::Grammar) }
}

impl fmt::Display for RepositoryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn grammar() {
        let long = "a".repeat(255);
        for yes in ["a", "0", "library/nginx", "a.b", "a_b", "a__b", "a-b", "a---b", "a/b/c/d", "1/2", &long]
        {
            assert!(yes.parse::<RepositoryName>().is_ok(), "{yes}");
        }
        let longer = "a".repeat(256);
        for no in [
            "", "/", "a/", "/a", "a//b", "A", "a..b", "a___b", "a._b", ".a", "a.", "-a", "a-", "_a", "a_",
            "..", "a/../b", ".", "a b", "a\0", "é", "a:b", "a%2e", "_blobs", "a+b", "a\\b", &longer,
        ] {
            assert!(no.parse::<RepositoryName>().is_err(), "{no:?}");
        }
    }

    proptest! {
        #[test]
        fn whatever_parses_is_a_plain_relative_path(text in "[a-z0-9._/A-Z%-]{0,40}") {
            if let Ok(name) = text.parse::<RepositoryName>() {
                prop_assert_eq!(name.as_str(), &text);
                for part in text.split('/') {
                    prop_assert!(part.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit()));
                }
            }
        }
    }
}
