//! What is different between two images: configuration, layers, files, packages.
//!
//! Layers at the bottom that both have are not read where they are not known: what is above them says enough of most files, and what it
//! does not say is told as such ([`How::Unclear`]).

mod apk;
mod aspect;
mod config;
mod content;
mod dpkg;
mod files;
mod layers;
mod packages;
mod privilege;
mod tables;

use std::sync::Arc;

use futures_util::future::try_join;
use oci::Manifest;
use store::Store;

pub use aspect::{Aspect, Aspects};
pub use config::Setting;
pub use files::{FileChange, How, State};
pub use layers::{Download, Layers};
pub use packages::{Manager, PackageChange, Packages};
pub use privilege::{Privilege, Turn};

#[cfg(any(test, fuzzing))]
pub(crate) use packages::read_any;

use crate::{Error, Inside};

/// One of two images.
#[derive(Clone, Debug)]
pub struct Side {
    /// Where it is.
    pub store: Arc<dyn Store>,
    /// Its manifest.
    pub manifest: Manifest,
    /// Its layers.
    pub inside: Inside,
    /// It is on this machine: reading it costs no download.
    pub is_near: bool,
}

/// How images are compared.
#[derive(Clone, Debug, Default)]
pub struct Diff {
    /// A file whose time alone is another counts as the same.
    pub ignores_times: bool,
    /// Layers that both have are read, too, if they are not known: then nothing is unclear.
    pub is_complete: bool,
    /// Only files at this path and below it are compared.
    pub below: Option<Vec<u8>>,
    /// Only files are compared.
    pub files_only: bool,
}

/// What is different between image A and image B.
#[derive(Clone, Debug, Default)]
pub struct Difference {
    /// What the configuration says otherwise.
    pub config: Vec<Setting>,
    /// The layers.
    pub layers: Layers,
    /// What a host that has A downloads for B.
    pub download: Download,
    /// Files that are different, in the order of their paths.
    pub files: Vec<FileChange>,
    /// Packages that are different.
    pub packages: Packages,
    /// How many layers that both have were not read, from the bottom on.
    pub unread_layers: usize,
    /// How many bytes these have.
    pub unread_bytes: u64,
}

impl Difference {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        let layers = &self.layers;
        let none = layers.removed.is_empty() && layers.added.is_empty() && !layers.moved;
        none && self.config.is_empty() && self.files.is_empty() && self.packages.changes.is_empty()
    }

    /// Whether it is known that there is one, or that there is none.
    pub fn is_certain(&self) -> bool {
        let files_are = self.files.iter().any(|change| change.how != How::Unclear);
        let is_sure = files_are
            || !self.layers.removed.is_empty()
            || !self.layers.added.is_empty()
            || self.layers.moved;
        let is_sure = is_sure || !self.config.is_empty() || !self.packages.changes.is_empty();
        is_sure || self.files.is_empty() && self.packages.unclear.is_empty()
    }
}

/// Compares two images. Layers are read that only one of them has, and of those that both have what is said in [`Diff::is_complete`];
/// or if they are on this machine ([`Side::is_near`]). Contents of equal length are read from the layers that they are in.
///
/// # Errors
/// [`Error::Path`] if neither image has [`Diff::below`], and those of [`Inside`]'s methods.
pub async fn diff(a: &Side, b: &Side, how: &Diff) -> Result<Difference, Error> {
    let mut found = Difference {
        layers: Layers::of(a.inside.layers(), b.inside.layers()),
        download: Download::of(a, b)?,
        ..Difference::default()
    };
    if a.manifest.digest() == b.manifest.digest() {
        return Ok(found);
    }
    if how.files_only {
        found.layers = Layers::default();
    } else {
        let (old, new) = try_join(config::read(a), config::read(b)).await?;
        found.config = config::changes(&old, &new);
    }
    if tables::is_same([a, b]) {
        return Ok(found);
    }
    a.inside.prepare().await;
    b.inside.prepare_beside(&a.inside).await;
    let pair = tables::Pair::new([a, b]);
    let below = pair.below(how.below.as_deref(), how.is_complete).await?;
    let tables = pair.tables(how.is_complete).await?;
    let merged = tables.tables();
    if let Some(views) = tables.views(&merged)? {
        return compare(&pair, &tables, &views, below.as_deref(), how, found).await;
    }
    // What is below decides.
    let tables = pair.tables(true).await?;
    let merged = tables.tables();
    match tables.views(&merged)? {
        Some(views) => compare(&pair, &tables, &views, below.as_deref(), how, found).await,
        None => Ok(found),
    }
}

async fn compare(
    pair: &tables::Pair<'_>,
    tables: &tables::Tables,
    views: &[layer::Above<'_>; 2],
    below: Option<&[Vec<u8>]>,
    how: &Diff,
    mut found: Difference,
) -> Result<Difference, Error> {
    found.files = files::changes(pair, tables, views, below, how.ignores_times).await?;
    if !how.files_only {
        found.packages = packages::changes(pair, tables.first, views).await?;
    }
    let unread = &pair.sides[0].inside.layers()[..tables.first];
    found.unread_layers = unread.len();
    found.unread_bytes = unread.iter().map(|layer| layer.size).sum();
    Ok(found)
}
