//! The list of all repositories.

use std::path::Path;

use super::directory::entries;
use super::{Error, Storage};
use crate::page::{Page, Picker};

impl Storage {
    /// The names of one page in the order of their bytes, and whether there are more. A repository is listed while it
    /// has a manifest.
    pub(crate) fn catalog(&self, page: Page) -> Result<(Vec<String>, bool), Error> {
        let mut picker = Picker::new(page);
        walk(&self.layout().repositories(), "", &mut picker)?;
        Ok(picker.finish())
    }
}

/// Offers the repositories below a directory. The order of a walk is not the order of names (`a-b` comes before
/// `a/b`, but behind `a`), so the picker sorts; it also tells which directories need no look.
fn walk(directory: &Path, prefix: &str, picker: &mut Picker) -> Result<(), Error> {
    let mut below = Vec::new();
    entries(directory, |entry, part| {
        if !part.starts_with('_') && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            below.push(part.to_owned());
        }
        true
    })?;
    for part in below {
        let name = format!("{prefix}{part}");
        let path = directory.join(&part);
        if picker.wants(&name) && has_manifests(&path.join("_manifests"))? {
            picker.offer(name.clone());
        }
        let prefix = format!("{name}/");
        if picker.wants(&prefix) {
            walk(&path, &prefix, picker)?;
        }
    }
    Ok(())
}

fn has_manifests(manifests: &Path) -> Result<bool, Error> {
    let mut algorithms = Vec::new();
    entries(manifests, |entry, _| {
        algorithms.push(entry.path());
        true
    })?;
    let mut found = false;
    for algorithm in algorithms {
        entries(&algorithm, |_, _| {
            found = true;
            false
        })?;
    }
    Ok(found)
}
