//! Where something is written to.

use std::path::Path;
use std::sync::Arc;

use local::{ArchiveFormat, ArchiveName, Directory, Layout, NewArchive, Wanted};
use oci::{Reference, Selector};
use store::Store;

use crate::context::Context;
use crate::failure::Failure;
use crate::place::Place;

/// Opens a place to write to. `from` is where what is written comes from, the most of it first; `root` is what it is to be
/// called, for one image.
pub(crate) fn open(
    context: &Context,
    to: &Place,
    from: &[&Place],
    root: Option<&Selector>,
) -> Result<Arc<dyn Store>, Failure> {
    match to {
        Place::Registry(reference) => {
            let origins = from.iter().filter_map(|place| match place {
                Place::Registry(from) => Some(from.repository()),
                _ => None,
            });
            let store = context.store(reference.repository())?;
            Ok(Arc::new(store.for_push(origins)))
        }
        Place::Layout(name) => {
            let layout = Layout::create(name.directory())?;
            Ok(match root {
                Some(Selector::Digest(digest)) => Arc::new(layout.with_root(*digest)),
                _ => Arc::new(layout),
            })
        }
        Place::Archive(name) => archive(context, name, from.first().copied(), root),
        Place::Daemon(name) => {
            let archive =
                NewArchive::stream(ArchiveFormat::Docker, to.repository(), context.daemon()?.load());
            Ok(Arc::new(archive.with_docker_name(name)))
        }
        Place::Directory(path) => {
            let Some(root) = root else {
                return Err(Failure::new(format_args!("dir:{path} holds one image, not all tags"))
                    .hint("`oci:DIR` and `oci-archive:FILE` hold any number of tags"));
            };
            let directory = Directory::create(path)?;
            Ok(match root {
                Selector::Digest(digest) => Arc::new(directory.with_root(*digest)),
                Selector::Tag(_) => Arc::new(directory),
            })
        }
    }
}

/// Opens a file for docker to load; `-` is standard output.
pub(crate) fn file_for_docker(
    context: &Context,
    file: &Path,
    docker_name: Option<&Reference>,
    root: &Selector,
) -> Result<Arc<dyn Store>, Failure> {
    let format = ArchiveFormat::Docker;
    let archive = if file == Path::new("-") {
        NewArchive::stream(format, "docker-archive:-".to_owned(), context.ui.writer()?)
    } else {
        NewArchive::create(format, file)?
    };
    let archive = match docker_name {
        Some(name) => archive.with_docker_name(name),
        None => archive,
    };
    Ok(match root {
        Selector::Digest(digest) => Arc::new(archive.with_root(*digest)),
        Selector::Tag(_) => Arc::new(archive),
    })
}

fn archive(
    context: &Context,
    name: &ArchiveName,
    from: Option<&Place>,
    root: Option<&Selector>,
) -> Result<Arc<dyn Store>, Failure> {
    let format = name.format();
    if format == ArchiveFormat::Docker && root.is_none() {
        return Err(Failure::new(format_args!("{name} holds one image, not all tags"))
            .hint("`oci-archive:FILE` holds any number of tags"));
    }
    let archive = if name.file() == Path::new("-") {
        NewArchive::stream(format, name.without_wanted().to_string(), context.ui.writer()?)
    } else {
        NewArchive::create(format, name.file())?
    };
    let archive = match (name.wanted(), from, root) {
        (Some(Wanted::Name(typed)), ..) => archive.with_docker_name(&typed.parse()?),
        // As docker would have it after a pull.
        (_, Some(Place::Registry(from)), Some(Selector::Tag(tag))) if format == ArchiveFormat::Docker => {
            archive.with_docker_name(&Reference::new(from.repository().clone(), tag.clone().into()))
        }
        _ => archive,
    };
    Ok(match root {
        Some(Selector::Digest(digest)) => Arc::new(archive.with_root(*digest)),
        _ => Arc::new(archive),
    })
}
