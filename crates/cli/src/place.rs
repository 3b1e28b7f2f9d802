//! Where an image is, as it was typed: on a registry, or in a place on this machine.

use std::sync::Arc;

use local::{Archive, ArchiveFormat, ArchiveName, Directory, Layout, LayoutName, Wanted};
use oci::{Digest, Reference, Selector, Tag};
use store::Store;

use crate::context::Context;
use crate::failure::Failure;

/// Something in a place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
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

/// What is read from.
pub(crate) struct Source {
    pub(crate) store: Arc<dyn Store>,
    /// What is meant in it.
    pub(crate) selector: Selector,
    pub(crate) place: Place,
}

impl Place {
    /// Takes apart what was typed: a known prefix says where it is, and `docker://` means a registry whatever follows. For
    /// whoever called the program as crane, which knows no prefixes, all are registries.
    pub(crate) fn parse(text: &str, crane: bool) -> Result<Self, Failure> {
        match if crane { None } else { Self::parse_local(text)? } {
            Some(place) => Ok(place),
            None => Ok(Self::Registry(registry_part(text, crane).parse()?)),
        }
    }

    /// Takes apart what was typed as a repository, or as all that is in a place on this machine.
    pub(crate) fn parse_repository(text: &str, crane: bool) -> Result<Self, Failure> {
        let Some(place) = (if crane { None } else { Self::parse_local(text)? }) else {
            let repository = registry_part(text, crane).parse()?;
            return Ok(Self::Registry(Reference::new(repository, Tag::latest().into())));
        };
        if place.is_one_image() {
            let (kind, mend) = match place {
                Self::Layout(_) => {
                    ("a layout", "leave out the tag; a directory whose name has a colon ends with `/`")
                }
                Self::Daemon(_) => ("a repository", "`docker images` lists what a daemon has"),
                _ => ("an archive", "leave out what follows the file's name"),
            };
            return Err(Failure::new(format_args!("{text} names one image, not {kind}")).hint(mend));
        }
        Ok(place)
    }

    /// A place on this machine, if the text begins like one.
    fn parse_local(text: &str) -> Result<Option<Self>, Failure> {
        let Some((prefix, rest)) = text.split_once(':') else { return Ok(None) };
        Ok(Some(match prefix {
            "oci" => Self::Layout(rest.parse()?),
            "oci-archive" => Self::Archive(ArchiveName::parse(ArchiveFormat::Oci, rest)?),
            "docker-archive" => Self::Archive(ArchiveName::parse(ArchiveFormat::Docker, rest)?),
            "dir" if rest.is_empty() => {
                return Err(Failure::new(format_args!("could not parse {text}: it names no directory")));
            }
            "dir" => Self::Directory(rest.to_owned()),
            "docker-daemon" => {
                let name: Reference = rest.parse()?;
                if name.digest().is_some() {
                    return Err(Failure::new(format_args!("{text} asks a docker daemon for a digest"))
                        .hint("it knows images by name and tag"));
                }
                Self::Daemon(name)
            }
            _ => return Ok(None),
        }))
    }

    /// Whether a tag or a digest was typed.
    pub(crate) fn is_one_image(&self) -> bool {
        match self {
            Self::Registry(reference) => reference.tag().is_some() || reference.digest().is_some(),
            Self::Layout(name) => name.selector().is_some(),
            Self::Archive(name) => name.wanted().is_some(),
            Self::Directory(_) => false,
            Self::Daemon(_) => true,
        }
    }

    /// The digest that was typed.
    pub(crate) fn digest(&self) -> Option<Digest> {
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

    /// Something in the same repository or layout, in full.
    pub(crate) fn named(&self, selector: &Selector) -> String {
        match self {
            Self::Registry(reference) => {
                Reference::new(reference.repository().clone(), selector.clone()).to_string()
            }
            Self::Layout(name) => name.with(selector.clone()).to_string(),
            Self::Archive(name) => name.with(selector.clone()).to_string(),
            Self::Directory(path) => format!("dir:{path}"),
            Self::Daemon(name) => format!("docker-daemon:{name}"),
        }
    }

    /// The repository, or the place on this machine, in full.
    pub(crate) fn repository(&self) -> String {
        match self {
            Self::Registry(reference) => reference.repository().to_string(),
            Self::Layout(name) => name.without_selector().to_string(),
            Self::Archive(name) => name.without_wanted().to_string(),
            Self::Directory(path) => format!("dir:{path}"),
            Self::Daemon(name) => format!("docker-daemon:{name}"),
        }
    }

    /// Opens it to read from, and finds out what is meant in it.
    pub(crate) async fn open(self, context: &Context) -> Result<Source, Failure> {
        let (store, selector): (Arc<dyn Store>, _) = match &self {
            Self::Registry(reference) => (self.store(context).await?, reference.selector()),
            Self::Layout(name) => {
                let layout = Layout::open(name.directory())?;
                let selector = name.selector().cloned().map_or_else(|| layout.only(), Ok)?;
                (Arc::new(layout), selector)
            }
            Self::Archive(name) => {
                let archive = Archive::open(name.format(), name.file()).await?;
                let selector = archive.find(name.wanted())?;
                (Arc::new(archive), selector)
            }
            Self::Directory(path) => {
                let directory = Directory::open(path)?;
                let selector = directory.only()?;
                (Arc::new(directory), selector)
            }
            Self::Daemon(name) => {
                let archive = context.daemon()?.save(name).await?;
                let selector = archive.find(None)?;
                (Arc::new(archive), selector)
            }
        };
        Ok(Source { store, selector, place: self })
    }

    /// Opens the repository, or the place on this machine, to read from.
    pub(crate) async fn store(&self, context: &Context) -> Result<Arc<dyn Store>, Failure> {
        Ok(match self {
            Self::Registry(reference) => context.source(reference.repository())?,
            Self::Layout(name) => Arc::new(Layout::open(name.directory())?),
            Self::Archive(name) => Arc::new(Archive::open(name.format(), name.file()).await?),
            Self::Directory(path) => Arc::new(Directory::open(path)?),
            Self::Daemon(name) => Arc::new(context.daemon()?.save(name).await?),
        })
    }
}

fn registry_part(text: &str, crane: bool) -> &str {
    if crane { text } else { text.strip_prefix("docker://").unwrap_or(text) }
}

fn digest_of(selector: &Selector) -> Option<Digest> {
    match selector {
        Selector::Digest(digest) => Some(*digest),
        Selector::Tag(_) => None,
    }
}

impl Source {
    /// What is meant, in full.
    pub(crate) fn name(&self) -> String {
        self.place.named(&self.selector)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes() {
        let named = |text: &str, crane| match Place::parse(text, crane).unwrap() {
            Place::Registry(reference) => reference.to_string(),
            Place::Layout(name) => name.to_string(),
            Place::Archive(name) => name.to_string(),
            Place::Directory(path) => format!("dir:{path}"),
            Place::Daemon(name) => format!("docker-daemon:{name}"),
        };
        for (text, meant) in [
            ("nginx:1", "index.docker.io/library/nginx:1"),
            ("docker://nginx:1", "index.docker.io/library/nginx:1"),
            ("oci:nginx:1", "oci:nginx:1"),
            ("docker://oci:1", "index.docker.io/library/oci:1"),
            ("oci:5000/x", "oci:5000/x"),
            ("oci-archive:a.tar:1", "oci-archive:a.tar:1"),
            ("docker-archive:a.tar:nginx:1", "docker-archive:a.tar:nginx:1"),
            ("dir:a:1", "dir:a:1"),
            ("dir", "index.docker.io/library/dir:latest"),
            ("docker://dir:1", "index.docker.io/library/dir:1"),
            ("oci", "index.docker.io/library/oci:latest"),
        ] {
            assert_eq!(named(text, false), meant);
        }
        assert_eq!(named("oci:1", true), "index.docker.io/library/oci:1");
        assert!(Place::parse("docker://nginx", true).is_err());
        for nothing in ["oci:", "dir:", "oci-archive:", "docker-archive:"] {
            assert!(Place::parse(nothing, false).is_err());
        }
    }
}
