//! Where an image is, as a person writes it: on a registry, or in a place on this machine.

use std::fmt;
use std::str::FromStr;

use local::{ArchiveFormat, ArchiveName, ArchiveNameError, LayoutName, LayoutNameError, Wanted};
use oci::{Digest, Reference, ReferenceError, Selector, Tag};

/// Something in a place. Parses as a person writes it, and prints in full.
///
/// | text | |
/// |---|---|
/// | `nginx:1.25`, `HOST/REPOSITORY@DIGEST`, `docker://…` | on a registry |
/// | `oci:DIR`, `oci:DIR:TAG`, `oci:DIR@DIGEST` | in an OCI image layout |
/// | `oci-archive:FILE[:TAG]` | in such a layout in a tar file |
/// | `docker-archive:FILE[:NAME]` | in what `docker save` writes |
/// | `dir:DIR` | in a directory as skopeo writes it |
/// | `docker-daemon:NAME` | at the docker daemon of this machine |
///
/// A known prefix says where it is, and `docker://` means a registry whatever follows.
///
/// ```
/// use hoist::Place;
///
/// let place: Place = "nginx:1.25".parse()?;
/// assert_eq!(place.to_string(), "index.docker.io/library/nginx:1.25");
/// let place: Place = "oci:images/web:1.0".parse()?;
/// assert!(matches!(place, Place::Layout(_)));
/// # Ok::<(), hoist::PlaceError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// On a registry.
    Registry(Reference),
    /// In an OCI image layout.
    Layout(LayoutName),
    /// In an archive.
    Archive(ArchiveName),
    /// In a directory as skopeo writes it, alone.
    Directory(String),
    /// At a docker daemon.
    Daemon(Reference),
}

/// Why a text names no place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PlaceError {
    /// It is no reference to a registry, nor an image's name at a docker daemon.
    #[error(transparent)]
    Reference(#[from] ReferenceError),
    /// It is no layout.
    #[error(transparent)]
    Layout(#[from] LayoutNameError),
    /// It is no archive.
    #[error(transparent)]
    Archive(#[from] ArchiveNameError),
    /// There is no directory in it.
    #[error("could not parse {0}: it names no directory")]
    NoDirectory(String),
    /// It asks for a digest where images have names only.
    #[error("{0} asks a docker daemon for a digest")]
    DaemonDigest(String),
}

impl Place {
    /// A place on this machine, if the text begins like one.
    ///
    /// # Errors
    /// If it begins like one and is none.
    pub fn on_this_machine(text: &str) -> Result<Option<Self>, PlaceError> {
        let Some((prefix, rest)) = text.split_once(':') else { return Ok(None) };
        Ok(Some(match prefix {
            "oci" => Self::Layout(rest.parse()?),
            "oci-archive" => Self::Archive(ArchiveName::parse(ArchiveFormat::Oci, rest)?),
            "docker-archive" => Self::Archive(ArchiveName::parse(ArchiveFormat::Docker, rest)?),
            "dir" if rest.is_empty() => return Err(PlaceError::NoDirectory(text.to_owned())),
            "dir" => Self::Directory(rest.to_owned()),
            "docker-daemon" => {
                let name: Reference = rest.parse()?;
                if name.digest().is_some() {
                    return Err(PlaceError::DaemonDigest(text.to_owned()));
                }
                Self::Daemon(name)
            }
            _ => return Ok(None),
        }))
    }

    /// Whether a tag or a digest was written.
    pub fn is_one_image(&self) -> bool {
        match self {
            Self::Registry(reference) => reference.tag().is_some() || reference.digest().is_some(),
            Self::Layout(name) => name.selector().is_some(),
            Self::Archive(name) => name.wanted().is_some(),
            Self::Directory(_) => false,
            Self::Daemon(_) => true,
        }
    }

    /// The digest that was written.
    pub fn digest(&self) -> Option<Digest> {
        match self {
            Self::Registry(reference) => reference.digest(),
            Self::Layout(name) => digest_of(name.selector()?),
            Self::Archive(name) => match name.wanted()? {
                Wanted::Selector(selector) => digest_of(selector),
                Wanted::Name(_) | Wanted::Position(_) => None,
            },
            Self::Directory(_) | Self::Daemon(_) => None,
        }
    }

    /// What an image is to be called that is written here, as far as the text says so. A registry and a docker daemon take
    /// `latest` for granted.
    pub fn selector(&self) -> Option<Selector> {
        match self {
            Self::Registry(reference) => Some(reference.selector()),
            Self::Layout(name) => name.selector().cloned(),
            Self::Archive(name) => match name.wanted()? {
                Wanted::Selector(selector) => Some(selector.clone()),
                Wanted::Name(_) => Some(name.tag().unwrap_or(Tag::latest()).into()),
                Wanted::Position(_) => None,
            },
            Self::Directory(_) => None,
            Self::Daemon(name) => Some(name.tag().cloned().unwrap_or(Tag::latest()).into()),
        }
    }

    /// Something in the same repository or layout, in full.
    pub fn named(&self, selector: &Selector) -> String {
        match self {
            Self::Registry(reference) => {
                Reference::new(reference.repository().clone(), selector.clone()).to_string()
            }
            Self::Layout(name) => name.with(selector.clone()).to_string(),
            Self::Archive(name) => name.with(selector.clone()).to_string(),
            Self::Directory(_) | Self::Daemon(_) => self.to_string(),
        }
    }

    /// The repository, or the place on this machine, in full.
    pub fn repository(&self) -> String {
        match self {
            Self::Registry(reference) => reference.repository().to_string(),
            Self::Layout(name) => name.without_selector().to_string(),
            Self::Archive(name) => name.without_wanted().to_string(),
            Self::Directory(_) | Self::Daemon(_) => self.to_string(),
        }
    }
}

fn digest_of(selector: &Selector) -> Option<Digest> {
    match selector {
        Selector::Digest(digest) => Some(*digest),
        Selector::Tag(_) => None,
    }
}

impl FromStr for Place {
    type Err = PlaceError;

    fn from_str(text: &str) -> Result<Self, PlaceError> {
        match Self::on_this_machine(text)? {
            Some(place) => Ok(place),
            None => Ok(Self::Registry(text.strip_prefix("docker://").unwrap_or(text).parse()?)),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Registry(reference) => reference.fmt(f),
            Self::Layout(name) => name.fmt(f),
            Self::Archive(name) => name.fmt(f),
            Self::Directory(path) => write!(f, "dir:{path}"),
            Self::Daemon(name) => write!(f, "docker-daemon:{name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes() {
        for (text, meant) in [
            ("nginx:1", "index.docker.io/library/nginx:1"),
            ("docker://nginx:1", "index.docker.io/library/nginx:1"),
            ("oci:nginx:1", "oci:nginx:1"),
            ("docker://oci:1", "index.docker.io/library/oci:1"),
            ("oci:5000/x", "oci:5000/x"),
            ("oci-archive:a.tar:1", "oci-archive:a.tar:1"),
            ("docker-archive:a.tar:nginx:1", "docker-archive:a.tar:nginx:1"),
            ("docker-daemon:nginx", "docker-daemon:index.docker.io/library/nginx:latest"),
            ("dir:a:1", "dir:a:1"),
            ("dir", "index.docker.io/library/dir:latest"),
            ("docker://dir:1", "index.docker.io/library/dir:1"),
            ("oci", "index.docker.io/library/oci:latest"),
        ] {
            assert_eq!(text.parse::<Place>().unwrap().to_string(), meant);
        }
    }

    #[test]
    fn what_cannot_be() {
        let digest = format!("docker-daemon:nginx@{}", oci::Algorithm::Sha256.digest(b""));
        for nothing in ["oci:", "dir:", "oci-archive:", "docker-archive:", "docker-daemon:", "", &digest] {
            assert!(nothing.parse::<Place>().is_err(), "{nothing}");
        }
    }

    #[test]
    fn names_for_what_is_written() {
        for (text, name) in [
            ("nginx", Some("latest")),
            ("nginx:1", Some("1")),
            ("oci:dir", None),
            ("oci:dir:1", Some("1")),
            ("oci-archive:a.tar", None),
            ("docker-archive:a.tar:nginx:1", Some("1")),
            ("docker-archive:a.tar:nginx", Some("latest")),
            ("docker-archive:a.tar:@0", None),
            ("dir:d", None),
            ("docker-daemon:nginx:1", Some("1")),
        ] {
            let place: Place = text.parse().unwrap();
            assert_eq!(place.selector().map(|name| name.to_string()).as_deref(), name, "{text}");
        }
    }
}
