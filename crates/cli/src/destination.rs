//! Where something is written to.

use std::path::Path;
use std::sync::Arc;

use local::{ArchiveFormat, ArchiveName, Directory, Layout, NewArchive, Wanted};
use oci::{Digest, ImageConfig, Manifest, Reference, Selector, Tag, View};
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

/// Opens a tarball as crane writes them, for docker to load; `-` is standard output.
pub(crate) fn tarball(context: &Context, path: &Path) -> Result<NewArchive, Failure> {
    Ok(match path.to_str() {
        Some("-") => NewArchive::tarball_stream("-", context.ui.writer()?),
        _ => NewArchive::tarball(path)?,
    })
}

/// What docker is to call an image, repository and tag: as it was typed, and by crane's word for a tag where it was a digest.
pub(crate) fn docker_name(typed: &str, place: &Place) -> Result<(String, String), Failure> {
    let Place::Registry(reference) = place else {
        return Err(Failure::new(format_args!("{typed} is not on a registry"))
            .hint("`hoist cp` copies between all places, `docker-archive:FILE:NAME` too"));
    };
    let typed = typed.strip_prefix("docker://").unwrap_or(typed);
    let name = typed.split('@').next().unwrap_or_default();
    Ok(match (reference.digest(), reference.tag()) {
        (Some(_), _) => (reference.repository().to_string(), "i-was-a-digest".to_owned()),
        (None, Some(tag)) => {
            let repository = name.strip_suffix(&format!(":{tag}")).unwrap_or(name);
            (repository.to_owned(), tag.to_string())
        }
        (None, None) => (name.to_owned(), Tag::latest().to_string()),
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

/// Adds an image of a place to a tarball, and what docker is to call it.
pub(crate) async fn add_image(
    archive: &NewArchive,
    store: &dyn Store,
    image: &Manifest,
    name: String,
) -> Result<NewArchive, Failure> {
    let diff_ids = diff_ids(store, image).await?;
    Ok(archive.clone().with_image(image, name, &diff_ids)?)
}

/// The diff IDs of an image with layers that are not to be distributed. Nobody asks for those of others.
async fn diff_ids(store: &dyn Store, image: &Manifest) -> Result<Vec<Digest>, Failure> {
    let View::Image(view) = image.view().map_err(Failure::new)? else { return Ok(Vec::new()) };
    if !view.layers.iter().any(|layer| layer.media_type.is_nondistributable()) {
        return Ok(Vec::new());
    }
    let config = image::config(store, image).await?;
    let config: ImageConfig = serde_json::from_slice(&config)
        .map_err(|error| Failure::new(format_args!("reading the config of {}: {error}", image.digest())))?;
    Ok(config.rootfs.diff_ids)
}
