//! Where an image is, as it was typed: on a registry, or in a layout on this machine.

use std::sync::Arc;

use local::{Layout, LayoutName};
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
}

/// What is read from.
pub(crate) struct Source {
    pub(crate) store: Arc<dyn Store>,
    /// What is meant in it.
    pub(crate) selector: Selector,
    pub(crate) place: Place,
}

impl Place {
    /// Takes apart what was typed. `oci:` means a layout, `docker://` a registry whatever follows; for whoever called
    /// the program as crane, which knows no prefixes, all are registries.
    pub(crate) fn parse(text: &str, crane: bool) -> Result<Self, Failure> {
        if crane {
            return Ok(Self::Registry(text.parse()?));
        }
        if let Some(name) = text.strip_prefix("oci:") {
            return Ok(Self::Layout(name.parse()?));
        }
        Ok(Self::Registry(text.strip_prefix("docker://").unwrap_or(text).parse()?))
    }

    /// Takes apart what was typed as a repository, or a layout.
    pub(crate) fn parse_repository(text: &str, crane: bool) -> Result<Self, Failure> {
        if !crane && text.starts_with("oci:") {
            let place = Self::parse(text, crane)?;
            if place.is_one_image() {
                return Err(Failure::new(format_args!("{text} names one image, not a layout"))
                    .hint("leave out the tag; a directory whose name has a colon ends with `/`"));
            }
            return Ok(place);
        }
        let text = if crane { text } else { text.strip_prefix("docker://").unwrap_or(text) };
        Ok(Self::Registry(Reference::new(text.parse()?, Tag::latest().into())))
    }

    /// Whether a tag or a digest was typed.
    pub(crate) fn is_one_image(&self) -> bool {
        match self {
            Self::Registry(reference) => reference.tag().is_some() || reference.digest().is_some(),
            Self::Layout(name) => name.selector().is_some(),
        }
    }

    /// The digest that was typed.
    pub(crate) fn digest(&self) -> Option<Digest> {
        match self {
            Self::Registry(reference) => reference.digest(),
            Self::Layout(name) => match name.selector()? {
                Selector::Digest(digest) => Some(*digest),
                Selector::Tag(_) => None,
            },
        }
    }

    /// Something in the same repository or layout, in full.
    pub(crate) fn named(&self, selector: &Selector) -> String {
        match self {
            Self::Registry(reference) => {
                Reference::new(reference.repository().clone(), selector.clone()).to_string()
            }
            Self::Layout(name) => name.with(selector.clone()).to_string(),
        }
    }

    /// The repository or the layout, in full.
    pub(crate) fn repository(&self) -> String {
        match self {
            Self::Registry(reference) => reference.repository().to_string(),
            Self::Layout(name) => name.without_selector().to_string(),
        }
    }

    /// Opens it to read from, and finds out what is meant in it.
    pub(crate) fn open(self, context: &Context) -> Result<Source, Failure> {
        let selector = match &self {
            Self::Registry(reference) => reference.selector(),
            Self::Layout(name) => match name.selector() {
                Some(selector) => selector.clone(),
                None => Layout::open(name.directory())?.only()?,
            },
        };
        Ok(Source { store: self.store(context)?, selector, place: self })
    }

    /// Opens the repository or the layout to read from.
    pub(crate) fn store(&self, context: &Context) -> Result<Arc<dyn Store>, Failure> {
        Ok(match self {
            Self::Registry(reference) => Arc::new(context.store(reference.repository())?),
            Self::Layout(name) => Arc::new(Layout::open(name.directory())?),
        })
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
        };
        for (text, meant) in [
            ("nginx:1", "index.docker.io/library/nginx:1"),
            ("docker://nginx:1", "index.docker.io/library/nginx:1"),
            ("oci:nginx:1", "oci:nginx:1"),
            ("docker://oci:1", "index.docker.io/library/oci:1"),
            ("oci:5000/x", "oci:5000/x"),
            ("oci", "index.docker.io/library/oci:latest"),
        ] {
            assert_eq!(named(text, false), meant);
        }
        assert_eq!(named("oci:1", true), "index.docker.io/library/oci:1");
        assert!(Place::parse("docker://nginx", true).is_err());
        assert!(Place::parse("oci:", false).is_err());
    }
}
