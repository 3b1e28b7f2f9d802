//! What was typed as an image, opened with what counts for the command.

use std::sync::Arc;

pub(crate) use hoist::Place;
use local::{Archive, Directory, Layout};
use oci::{Reference, Selector, Tag};
use store::Store;

use crate::context::Context;
use crate::failure::Failure;

/// What is read from.
pub(crate) struct Source {
    pub(crate) store: Arc<dyn Store>,
    /// What is meant in it.
    pub(crate) selector: Selector,
    pub(crate) place: Place,
}

/// Takes apart what was typed: a known prefix says where it is, and `docker://` means a registry whatever follows. For
/// whoever called the program as crane, which knows no prefixes, all are registries.
pub(crate) fn parse(text: &str, crane: bool) -> Result<Place, Failure> {
    Ok(if crane { Place::Registry(text.parse()?) } else { text.parse()? })
}

/// Takes apart what was typed as a repository, or as all that is in a place on this machine.
pub(crate) fn parse_repository(text: &str, crane: bool) -> Result<Place, Failure> {
    let Some(place) = (if crane { None } else { Place::on_this_machine(text)? }) else {
        let repository = if crane { text } else { text.strip_prefix("docker://").unwrap_or(text) };
        return Ok(Place::Registry(Reference::new(repository.parse()?, Tag::latest().into())));
    };
    if place.is_one_image() {
        let (kind, mend) = match place {
            Place::Layout(_) => {
                ("a layout", "leave out the tag; a directory whose name has a colon ends with `/`")
            }
            Place::Daemon(_) => ("a repository", "`docker images` lists what a daemon has"),
            _ => ("an archive", "leave out what follows the file's name"),
        };
        return Err(Failure::new(format_args!("{text} names one image, not {kind}")).hint(mend));
    }
    Ok(place)
}

/// Opens the repository, or the place on this machine, to read from.
pub(crate) async fn store(place: &Place, context: &Context) -> Result<Arc<dyn Store>, Failure> {
    Ok(match place {
        Place::Registry(reference) => context.source(reference.repository())?,
        Place::Layout(name) => Arc::new(Layout::open(name.directory())?),
        Place::Archive(name) => Arc::new(Archive::open(name.format(), name.file()).await?),
        Place::Directory(path) => Arc::new(Directory::open(path)?),
        Place::Daemon(name) => Arc::new(context.daemon()?.save(name).await?),
    })
}

impl Source {
    /// Opens it to read from, and finds out what is meant in it.
    pub(crate) async fn open(place: Place, context: &Context) -> Result<Self, Failure> {
        let (store, selector): (Arc<dyn Store>, _) = match &place {
            Place::Registry(reference) => (store(&place, context).await?, reference.selector()),
            Place::Layout(name) => {
                let layout = Layout::open(name.directory())?;
                let selector = name.selector().cloned().map_or_else(|| layout.only(), Ok)?;
                (Arc::new(layout), selector)
            }
            Place::Archive(name) => {
                let archive = Archive::open(name.format(), name.file()).await?;
                let selector = archive.find(name.wanted())?;
                (Arc::new(archive), selector)
            }
            Place::Directory(path) => {
                let directory = Directory::open(path)?;
                let selector = directory.only()?;
                (Arc::new(directory), selector)
            }
            Place::Daemon(name) => {
                let archive = context.daemon()?.save(name).await?;
                let selector = archive.find(None)?;
                (Arc::new(archive), selector)
            }
        };
        Ok(Self { store, selector, place })
    }

    /// What is meant, in full.
    pub(crate) fn name(&self) -> String {
        self.place.named(&self.selector)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crane_knows_no_prefixes() {
        assert_eq!(parse("oci:1", true).unwrap().to_string(), "index.docker.io/library/oci:1");
        assert_eq!(parse("oci:1:2", false).unwrap().to_string(), "oci:1:2");
        assert!(parse("docker://nginx", true).is_err());
    }
}
