//! Images in a place on this machine, whatever kind of place it is.

use std::path::Path;
use std::sync::Arc;

use oci::{Digest, Manifest, Selector};
use store::{Error as StoreError, Store};

use crate::archive::Archive;
use crate::blocking;
use crate::catalog::Catalog;
use crate::directory::{self, Directory};
use crate::error::Error;
use crate::layout::Layout;
use crate::make;

/// A place to read images from.
#[derive(Clone, Debug)]
pub enum Bundle {
    /// An OCI image layout.
    Layout(Layout),
    /// An archive, of whatever format.
    Archive(Archive),
    /// A directory as skopeo writes it, with one image.
    Directory(Directory),
}

/// An image of a bundle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// What it is called there: a tag or a whole reference.
    pub name: Option<String>,
    /// The digest of its manifest.
    pub digest: Digest,
}

impl Bundle {
    /// What a path leads to, told by what is there; `-` is standard input.
    ///
    /// # Errors
    /// [`Kind::NotFound`](store::Kind::NotFound) if nothing is there, [`Kind::Invalid`](store::Kind::Invalid) if it is nothing with images.
    pub async fn open(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        let path = path.as_ref();
        if path == Path::new("-") || !path.is_dir() {
            return Archive::sniff(path).await.map(Self::Archive);
        }
        let there = |name: &str| path.join(name).symlink_metadata().is_ok();
        if there(make::MARKER) || there("index.json") {
            return Layout::open(path).map(Self::Layout);
        }
        if there(directory::MANIFEST) {
            return Directory::open(path).map(Self::Directory);
        }
        Err(Error::NoBundle(path.to_owned()).doing(format!("opening {}", path.display())))
    }

    /// It as a store.
    pub fn store(&self) -> Arc<dyn Store> {
        match self.clone() {
            Self::Layout(layout) => Arc::new(layout),
            Self::Archive(archive) => Arc::new(archive),
            Self::Directory(directory) => Arc::new(directory),
        }
    }

    /// The images that it lists, in order.
    ///
    /// # Errors
    /// If it cannot be read.
    pub async fn members(&self) -> Result<Vec<Member>, StoreError> {
        let listing = format!("looking into {}", self.store().name());
        blocking::with(self, listing, |bundle| {
            let index = match bundle {
                Self::Layout(layout) => layout.index()?,
                Self::Archive(archive) => archive.index()?,
                Self::Directory(_) => return Ok(Vec::new()),
            };
            let member = |(name, of): (Option<&str>, &oci::Descriptor)| Member {
                name: name.map(str::to_owned),
                digest: of.digest,
            };
            Ok(index.list().map(member).collect())
        })
        .await
    }

    /// What is meant when nothing is said: its only image, or the only one that has a name.
    ///
    /// # Errors
    /// [`Kind::NotFound`](store::Kind::NotFound) if it has none, [`Kind::Other`](store::Kind::Other) if it has several.
    pub fn only(&self) -> Result<Selector, StoreError> {
        match self {
            Self::Layout(layout) => layout.only(),
            Self::Archive(archive) => archive.find(None),
            Self::Directory(directory) => directory.only(),
        }
    }

    /// The image of a name: a tag, a whole reference, or a digest.
    ///
    /// # Errors
    /// [`Kind::NotFound`](store::Kind::NotFound) if it is not there, with the names of what is.
    pub fn find(&self, name: &str) -> Result<Selector, StoreError> {
        match self {
            Self::Layout(layout) => layout.find(name),
            Self::Archive(archive) => archive.find(Some(&crate::Wanted::Name(name.to_owned()))),
            Self::Directory(directory) => match name.parse::<Digest>() {
                Ok(digest) => Ok(digest.into()),
                Err(_) => {
                    let missing = Error::NoImage { wanted: name.to_owned(), others: Vec::new() };
                    Err(missing.doing(format!("looking into {directory}")))
                }
            },
        }
    }

    /// Its list of images as an index, if it has such a list: a directory has none, nor has what older versions of docker saved.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn list(&self) -> Result<Option<Manifest>, StoreError> {
        match self {
            Self::Layout(layout) => layout.list().map(Some),
            Self::Archive(archive) => archive.list(),
            Self::Directory(_) => Ok(None),
        }
    }
}
