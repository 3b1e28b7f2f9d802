//! How a person names a layout, or what is in it: `DIR`, `DIR:TAG`, `DIR@DIGEST`.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use oci::{Digest, DigestError, Selector, Tag};

/// A layout's directory, and what is meant in it. Prints as it is typed, with `oci:` in front.
///
/// What follows the last colon is a tag if it can be one; a directory whose name ends like that is written with a `/`
/// behind it. What follows the last `@` is a digest if it begins like one.
///
/// ```
/// use local::LayoutName;
///
/// let name: LayoutName = "images/web:1.0".parse()?;
/// assert_eq!(name.directory(), std::path::Path::new("images/web"));
/// assert_eq!(name.to_string(), "oci:images/web:1.0");
/// # Ok::<(), local::LayoutNameError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayoutName {
    directory: String,
    selector: Option<Selector>,
}

/// Why a text names no layout.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LayoutNameError {
    /// There is no directory in it.
    #[error("could not parse oci:{0}: it names no directory")]
    NoDirectory(String),
    /// What follows the `@` is no digest.
    #[error("could not parse oci:{input}: {source}")]
    Digest {
        /// What was given, without `oci:`.
        input: String,
        /// Why not.
        source: DigestError,
    },
}

impl LayoutName {
    /// Something in a directory.
    pub fn new(directory: impl Into<String>, selector: Option<Selector>) -> Self {
        Self { directory: directory.into(), selector }
    }

    /// The directory.
    pub fn directory(&self) -> &Path {
        Path::new(&self.directory)
    }

    /// What is meant in it, if that was said.
    pub fn selector(&self) -> Option<&Selector> {
        self.selector.as_ref()
    }

    /// The directory alone.
    #[must_use]
    pub fn without_selector(&self) -> Self {
        Self { selector: None, ..self.clone() }
    }

    /// Something else in the same directory.
    #[must_use]
    pub fn with(&self, selector: Selector) -> Self {
        Self { selector: Some(selector), ..self.clone() }
    }
}

impl FromStr for LayoutName {
    type Err = LayoutNameError;

    fn from_str(text: &str) -> Result<Self, LayoutNameError> {
        let (directory, selector) = match text.rsplit_once('@') {
            Some((directory, digest)) if is_meant_as_digest(digest) => {
                let digest: Digest = digest
                    .parse()
                    .map_err(|source| LayoutNameError::Digest { input: text.to_owned(), source })?;
                // As in a reference to a registry, a tag beside a digest is a note.
                (tagged(directory).0, Some(Selector::Digest(digest)))
            }
            _ => {
                let (directory, tag) = tagged(text);
                (directory, tag.map(Selector::Tag))
            }
        };
        if directory.is_empty() {
            return Err(LayoutNameError::NoDirectory(text.to_owned()));
        }
        Ok(Self::new(directory, selector))
    }
}

/// Whether what follows an `@` is a digest, or was to be one: a path may have an `@` too.
fn is_meant_as_digest(text: &str) -> bool {
    text.starts_with("sha256:") || text.starts_with("sha512:")
}

fn tagged(text: &str) -> (&str, Option<Tag>) {
    match text.rsplit_once(':').map(|(directory, tag)| (directory, Tag::new(tag))) {
        Some((directory, Ok(tag))) => (directory, Some(tag)),
        _ => (text, None),
    }
}

impl fmt::Display for LayoutName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.selector {
            None => write!(f, "oci:{}", self.directory),
            Some(Selector::Tag(tag)) => write!(f, "oci:{}:{tag}", self.directory),
            Some(Selector::Digest(digest)) => write!(f, "oci:{}@{digest}", self.directory),
        }
    }
}

#[cfg(test)]
mod tests {
    use oci::Algorithm;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn as_people_type_them() {
        let digest = Algorithm::Sha256.digest(b"");
        for (text, directory, selector) in [
            ("dir", "dir", None),
            ("./dir/", "./dir/", None),
            ("dir:1.0", "dir", Some("1.0".to_owned())),
            ("/a/b:c/d:latest", "/a/b:c/d", Some("latest".to_owned())),
            ("a:b/c", "a:b/c", None),
            ("a:1:2", "a:1", Some("2".to_owned())),
            ("a:1:2/", "a:1:2/", None),
            ("a:", "a:", None),
            (&format!("dir@{digest}"), "dir", Some(digest.to_string())),
            (&format!("dir:1@{digest}"), "dir", Some(digest.to_string())),
            (&format!("d@r/x@{digest}"), "d@r/x", Some(digest.to_string())),
            ("user@host/dir:1", "user@host/dir", Some("1".to_owned())),
            ("docker.io/x:y", "docker.io/x", Some("y".to_owned())),
            ("..", "..", None),
        ] {
            let name: LayoutName = text.parse().unwrap();
            assert_eq!(name.directory(), Path::new(directory), "{text}");
            assert_eq!(name.selector().map(ToString::to_string), selector, "{text}");
        }
    }

    #[test]
    fn what_cannot_be() {
        for (text, reason) in [
            ("", "names no directory"),
            (":1", "names no directory"),
            ("dir@sha256:00", "64 hexadecimal"),
            ("dir@sha256:zz", "'z'"),
        ] {
            let error = text.parse::<LayoutName>().unwrap_err().to_string();
            assert!(error.contains(reason), "{error}");
        }
    }

    proptest! {
        #[test]
        fn printing_is_parsing(text in "[a-z:@/.]{0,12}(@sha256:)?") {
            if let Ok(name) = text.parse::<LayoutName>() {
                let printed = name.to_string();
                let again: LayoutName = printed.strip_prefix("oci:").unwrap().parse().unwrap();
                prop_assert_eq!(again, name);
            }
        }
    }
}
