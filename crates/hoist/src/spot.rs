//! Places that have been opened.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use image::{Edit, Edited};
use local::{Archive, ArchiveFormat, ArchiveName, Daemon, Directory, Layout, NewArchive, Wanted};
use oci::{Manifest, Reference, Selector};
use registry::Client;
use store::{Error, Kind, Silent, Store};
use transfer::{Copied, Options, Transfer};

use crate::Place;

/// A store, and what is meant in it: what is read, or what something is to be called.
#[derive(Clone, Debug)]
pub struct Spot {
    /// Where it is.
    pub store: Arc<dyn Store>,
    /// What it is called there.
    pub selector: Selector,
}

impl Place {
    /// Opens it to read from, and finds out what is meant in it: of a place on this machine, its only image unless something
    /// else is written.
    ///
    /// # Errors
    /// [`Kind::NotFound`] if it is not there; [`Kind::Other`] if it is not said which of several images is meant. A registry
    /// is not asked yet.
    pub async fn open(&self, client: &Client) -> Result<Spot, Error> {
        let (store, selector): (Arc<dyn Store>, _) = match self {
            Self::Registry(reference) => {
                (Arc::new(client.repository(reference.repository())), reference.selector())
            }
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
                let archive = Daemon::default().save(name).await?;
                let selector = archive.find(None)?;
                (Arc::new(archive), selector)
            }
        };
        Ok(Spot { store, selector })
    }

    /// Opens it to write to, or makes it. What comes there is mostly from `from`: its blobs may be mounted from there, and it
    /// keeps that name unless another one is written. An archive is there when [`Store::finish`] has returned, and until then
    /// what was there before.
    ///
    /// # Errors
    /// [`Kind::Other`] if a directory has other content, [`Kind::NotFound`] if there is none for an archive;
    /// [`Kind::Unsupported`] for standard output: [`NewArchive::stream`] writes to any stream.
    pub fn create(&self, client: &Client, from: &Spot) -> Result<Spot, Error> {
        let selector = self.selector().unwrap_or_else(|| from.selector.clone());
        let store: Arc<dyn Store> = match self {
            Self::Registry(reference) => {
                Arc::new(client.repository(reference.repository()).for_push(from.store.origin()))
            }
            Self::Layout(name) => {
                let layout = Layout::create(name.directory())?;
                Arc::new(match selector {
                    Selector::Digest(digest) => layout.with_root(digest),
                    Selector::Tag(_) => layout,
                })
            }
            Self::Archive(name) => Arc::new(archive(name, from, &selector)?),
            Self::Directory(path) => {
                let directory = Directory::create(path)?;
                Arc::new(match selector {
                    Selector::Digest(digest) => directory.with_root(digest),
                    Selector::Tag(_) => directory,
                })
            }
            Self::Daemon(name) => {
                let load = Daemon::default().load();
                let archive = NewArchive::stream(ArchiveFormat::Docker, self.to_string(), load);
                Arc::new(archive.with_docker_name(name))
            }
        };
        Ok(Spot { store, selector })
    }
}

fn archive(name: &ArchiveName, from: &Spot, selector: &Selector) -> Result<NewArchive, Error> {
    if name.file() == Path::new("-") {
        let reason = "a program writes there by itself";
        return Err(Error::new(Kind::Unsupported, format!("creating {name}"), reason));
    }
    let archive = NewArchive::create(name.format(), name.file())?;
    let archive = match (name.wanted(), selector, from.store.origin()) {
        (Some(Wanted::Name(written)), ..) => match written.parse() {
            Ok(written) => archive.with_docker_name(&written),
            Err(error) => return Err(Error::new(Kind::Other, format!("creating {name}"), error)),
        },
        // As docker would have it after a pull.
        (None, Selector::Tag(_), Some(repository)) if name.format() == ArchiveFormat::Docker => {
            archive.with_docker_name(&Reference::new(repository.clone(), selector.clone()))
        }
        _ => archive,
    };
    Ok(match selector {
        Selector::Digest(digest) => archive.with_root(*digest),
        Selector::Tag(_) => archive,
    })
}

impl Spot {
    /// The manifest.
    ///
    /// # Errors
    /// Those of [`Store::manifest`].
    pub async fn manifest(&self) -> Result<Manifest, Error> {
        self.store.manifest(&self.selector).await
    }

    /// Changes what is here, all images of it: [`image::edit`]. Nothing is written; a [`Spot`] of the result can be copied.
    ///
    /// # Errors
    /// Those of [`image::edit`].
    pub async fn edit(&self, edit: &dyn Edit) -> Result<Edited, image::Error> {
        image::edit(Arc::clone(&self.store), self.manifest().await?, None, edit).await
    }

    /// Copies what is here, all platforms of it, and completes the place where it comes to. A [`Transfer`] does the same with
    /// options, and tells how far it is.
    ///
    /// # Errors
    /// Those of [`Transfer::copy`] and [`Transfer::finish`].
    pub async fn copy_to(&self, to: &Self) -> Result<Copied, transfer::Error> {
        let (source, destination) = (Arc::clone(&self.store), Arc::clone(&to.store));
        let transfer = Transfer::new(source, destination, Options::default(), Arc::new(Silent));
        let copied = transfer.copy(&self.selector, &to.selector).await?;
        transfer.finish().await?;
        Ok(copied)
    }
}

impl From<Edited> for Spot {
    fn from(edited: Edited) -> Self {
        Self { selector: edited.root.digest().into(), store: Arc::new(edited.store) }
    }
}

/// As messages name it, such as `localhost:5000/nginx:1.25`.
impl fmt::Display for Spot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.selector {
            Selector::Tag(tag) => write!(f, "{}:{tag}", self.store.name()),
            Selector::Digest(digest) => write!(f, "{}@{digest}", self.store.name()),
        }
    }
}
