//! Tags: a small file each, holding a digest.

use std::str;

use oci::{Digest, Tag};

use super::directory::{entries, read, remove};
use super::{Error, RepositoryName, Storage};
use crate::page::{Page, Picker};

impl Storage {
    /// What a tag names now.
    pub(crate) fn tag(&self, name: &RepositoryName, tag: &Tag) -> Result<Option<Digest>, Error> {
        let content = read(&self.layout().tag(name, tag))?;
        Ok(content.and_then(|content| str::from_utf8(&content).ok()?.trim().parse().ok()))
    }

    pub(super) fn set_tag(&self, name: &RepositoryName, tag: &Tag, digest: Digest) -> Result<(), Error> {
        if self.tag(name, tag)? == Some(digest) {
            return Ok(());
        }
        self.write(&self.layout().tag(name, tag), &[digest.to_string().as_bytes(), b"\n"])
    }

    /// Removes a tag, and nothing else; false if there is none.
    pub(crate) fn delete_tag(&self, name: &RepositoryName, tag: &Tag) -> Result<bool, Error> {
        let _repository = self.lock_repository(name);
        remove(&self.layout().tag(name, tag))
    }

    /// The tags of one page in the order of their bytes, and whether there are more; `None` if there is no such
    /// repository.
    pub(crate) fn tags(
        &self,
        name: &RepositoryName,
        page: Page,
    ) -> Result<Option<(Vec<String>, bool)>, Error> {
        if !self.has_repository(name) {
            return Ok(None);
        }
        let mut picker = Picker::new(page);
        entries(&self.layout().tags(name), |_, tag| {
            picker.offer(tag.to_owned());
            true
        })?;
        Ok(Some(picker.finish()))
    }

    /// Removes the tags that name a manifest.
    pub(super) fn delete_tags_of(&self, name: &RepositoryName, digest: Digest) -> Result<(), Error> {
        let mut tags = Vec::new();
        entries(&self.layout().tags(name), |_, tag| {
            tags.extend(Tag::new(tag));
            true
        })?;
        for tag in tags {
            if self.tag(name, &tag)? == Some(digest) {
                remove(&self.layout().tag(name, &tag))?;
            }
        }
        Ok(())
    }
}
