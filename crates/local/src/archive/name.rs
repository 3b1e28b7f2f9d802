//! How a person names an archive, or what is in it: `FILE`, `FILE:TAG`, `FILE@DIGEST`; of what docker saved also `FILE:NAME`
//! and `FILE:@POSITION`.

use std::fmt;
use std::path::Path;

use oci::{Reference, Selector, Tag};

use crate::name::{LayoutName, LayoutNameError};

/// What an archive is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArchiveFormat {
    /// `oci-archive:`, an OCI image layout in a tar file.
    Oci,
    /// `docker-archive:`, what `docker save` writes and `docker load` reads.
    Docker,
}

impl ArchiveFormat {
    /// What stands before the colon.
    pub fn prefix(self) -> &'static str {
        match self {
            Self::Oci => "oci-archive",
            Self::Docker => "docker-archive",
        }
    }
}

/// What is meant in an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// A tag or a digest.
    Selector(Selector),
    /// An image by its name, such as `nginx:1.25`.
    Name(String),
    /// An image by its place in the list, from 0.
    Position(u64),
}

/// An archive's file, and what is meant in it. Prints as it is typed, with the format in front.
///
/// An OCI archive is named like a layout ([`LayoutName`]). The name of a docker archive's file ends at its first colon
/// (skopeo, docker-archive).
///
/// ```
/// use local::{ArchiveFormat, ArchiveName, Wanted};
///
/// let name = ArchiveName::parse(ArchiveFormat::Docker, "saved.tar:nginx:1.25")?;
/// assert_eq!(name.file(), std::path::Path::new("saved.tar"));
/// assert_eq!(name.wanted(), Some(&Wanted::Name("nginx:1.25".to_owned())));
/// # Ok::<(), local::ArchiveNameError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArchiveName {
    format: ArchiveFormat,
    file: String,
    wanted: Option<Wanted>,
}

/// Why a text names no archive.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ArchiveNameError {
    /// There is no file in it.
    #[error("could not parse {prefix}:{input}: it names no file")]
    NoFile {
        /// What stands before the colon.
        prefix: &'static str,
        /// What stands behind it.
        input: String,
    },
    /// What follows the `@` is no digest, nor a position.
    #[error("could not parse {prefix}:{input}: {reason}")]
    Wanted {
        /// What stands before the colon.
        prefix: &'static str,
        /// What stands behind it.
        input: String,
        /// Why not.
        reason: String,
    },
}

impl ArchiveName {
    /// A file, whatever its name is, and what is meant in it.
    pub fn new(format: ArchiveFormat, file: String, wanted: Option<Wanted>) -> Self {
        Self { format, file, wanted }
    }

    /// Takes apart what follows the colon.
    ///
    /// # Errors
    /// If there is no file in it, or what it asks for cannot be.
    pub fn parse(format: ArchiveFormat, text: &str) -> Result<Self, ArchiveNameError> {
        let (prefix, input) = (format.prefix(), text.to_owned());
        let wrong = |reason: String| ArchiveNameError::Wanted { prefix, input: input.clone(), reason };
        let no_file = || ArchiveNameError::NoFile { prefix, input: input.clone() };
        if format == ArchiveFormat::Docker
            && let Some((file, wanted)) = text.split_once(':')
            && !text.contains("@sha")
        {
            if file.is_empty() {
                return Err(no_file());
            }
            let wanted = match wanted.strip_prefix('@') {
                Some(position) => Wanted::Position(
                    position
                        .parse()
                        .map_err(|_| wrong(format!("{position:?} is no position; they count from 0")))?,
                ),
                None if wanted.is_empty() => return Err(wrong("nothing follows the colon".to_owned())),
                None => Wanted::Name(wanted.to_owned()),
            };
            return Ok(Self { format, file: file.to_owned(), wanted: Some(wanted) });
        }
        let name: LayoutName = text.parse().map_err(|error| match error {
            LayoutNameError::NoDirectory(_) => no_file(),
            LayoutNameError::Digest { source, .. } => wrong(source.to_string()),
        })?;
        let file = name.directory().to_string_lossy().into_owned();
        Ok(Self { format, file, wanted: name.selector().cloned().map(Wanted::Selector) })
    }

    /// The format.
    pub fn format(&self) -> ArchiveFormat {
        self.format
    }

    /// The file; `-` is standard input or output.
    pub fn file(&self) -> &Path {
        Path::new(&self.file)
    }

    /// What is meant in it, if that was said.
    pub fn wanted(&self) -> Option<&Wanted> {
        self.wanted.as_ref()
    }

    /// The tag that was typed, also as the end of a name.
    pub fn tag(&self) -> Option<Tag> {
        match self.wanted()? {
            Wanted::Selector(Selector::Tag(tag)) => Some(tag.clone()),
            Wanted::Name(name) => name.parse::<Reference>().ok()?.tag().cloned(),
            _ => None,
        }
    }

    /// The file alone.
    #[must_use]
    pub fn without_wanted(&self) -> Self {
        Self { wanted: None, ..self.clone() }
    }

    /// Something else in the same file.
    #[must_use]
    pub fn with(&self, selector: Selector) -> Self {
        Self { wanted: Some(Wanted::Selector(selector)), ..self.clone() }
    }
}

impl fmt::Display for ArchiveName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.format.prefix(), self.file)?;
        match &self.wanted {
            None => Ok(()),
            Some(Wanted::Selector(Selector::Tag(tag))) => write!(f, ":{tag}"),
            Some(Wanted::Selector(Selector::Digest(digest))) => write!(f, "@{digest}"),
            Some(Wanted::Name(name)) => write!(f, ":{name}"),
            Some(Wanted::Position(position)) => write!(f, ":@{position}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use oci::Algorithm;

    use super::*;

    #[test]
    fn as_people_type_them() {
        use ArchiveFormat::{Docker, Oci};
        let digest = Algorithm::Sha256.digest(b"");
        let with_digest = format!("a.tar@{digest}");
        let tag = || Some(Wanted::Selector(Selector::Tag(Tag::new("1.0").unwrap())));
        let name = |name: &str| Some(Wanted::Name(name.to_owned()));
        for (format, text, file, wanted) in [
            (Oci, "a.tar", "a.tar", None),
            (Oci, "-", "-", None),
            (Oci, "dir/a.tar:1.0", "dir/a.tar", tag()),
            (Oci, &with_digest, "a.tar", Some(Wanted::Selector(digest.into()))),
            (Docker, "a.tar", "a.tar", None),
            (Docker, "a.tar:nginx:1.0", "a.tar", name("nginx:1.0")),
            (Docker, "a.tar:host:5000/x/y:1.0", "a.tar", name("host:5000/x/y:1.0")),
            (Docker, "a.tar:@1", "a.tar", Some(Wanted::Position(1))),
            (Docker, &with_digest, "a.tar", Some(Wanted::Selector(digest.into()))),
        ] {
            let parsed = ArchiveName::parse(format, text).unwrap();
            assert_eq!((parsed.file(), parsed.wanted()), (Path::new(file), wanted.as_ref()), "{text}");
            assert_eq!(parsed.to_string(), format!("{}:{text}", format.prefix()));
        }
    }

    #[test]
    fn what_cannot_be() {
        for (format, text, reason) in [
            (ArchiveFormat::Oci, "", "oci-archive:: it names no file"),
            (ArchiveFormat::Oci, "a@sha256:00", "64 hexadecimal"),
            (ArchiveFormat::Docker, ":x", "names no file"),
            (ArchiveFormat::Docker, "a.tar:", "nothing follows"),
            (ArchiveFormat::Docker, "a.tar:@x", "no position"),
        ] {
            let error = ArchiveName::parse(format, text).unwrap_err().to_string();
            assert!(error.contains(reason), "{error}");
        }
    }
}
