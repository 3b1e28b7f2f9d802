//! Where everything lies below the root. Paths are made from parsed values alone, never from a request's text.

use std::path::{Path, PathBuf};

use oci::{Digest, Tag};
use uuid::Uuid;

use crate::name::RepositoryName;

/// The content of a blob or of an upload, beside the names of the repositories that have it.
pub(super) const CONTENT: &str = "_content";

#[derive(Debug)]
pub(super) struct Layout {
    root: PathBuf,
}

impl Layout {
    pub(super) fn new(root: PathBuf) -> Self {
        Self { root }
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    pub(super) fn format(&self) -> PathBuf {
        self.root.join("format")
    }

    /// The directories that always exist.
    pub(super) fn permanent(&self) -> [PathBuf; 4] {
        [self.root.join("blobs"), self.repositories(), self.uploads(), self.temporaries()]
    }

    pub(super) fn temporaries(&self) -> PathBuf {
        self.root.join("tmp")
    }

    pub(super) fn temporary(&self) -> PathBuf {
        self.temporaries().join(Uuid::new_v4().to_string())
    }

    pub(super) fn uploads(&self) -> PathBuf {
        self.root.join("uploads")
    }

    pub(super) fn upload(&self, id: Uuid) -> PathBuf {
        self.uploads().join(id.hyphenated().to_string())
    }

    pub(super) fn blob(&self, digest: Digest) -> PathBuf {
        let hex = digest.hex();
        let mut path = self.root.join("blobs");
        path.extend([digest.algorithm().name(), &hex[..2], &hex]);
        path
    }

    pub(super) fn repositories(&self) -> PathBuf {
        self.root.join("repositories")
    }

    pub(super) fn repository(&self, name: &RepositoryName) -> PathBuf {
        self.repositories().join(name.as_str())
    }

    pub(super) fn manifests(&self, name: &RepositoryName) -> PathBuf {
        self.repository(name).join("_manifests")
    }

    pub(super) fn manifest(&self, name: &RepositoryName, digest: Digest) -> PathBuf {
        let mut path = self.manifests(name);
        path.extend([digest.algorithm().name(), &digest.hex()]);
        path
    }

    pub(super) fn tags(&self, name: &RepositoryName) -> PathBuf {
        self.repository(name).join("_tags")
    }

    pub(super) fn tag(&self, name: &RepositoryName, tag: &Tag) -> PathBuf {
        self.tags(name).join(tag.as_str())
    }

    pub(super) fn referrers(&self, name: &RepositoryName, subject: Digest) -> PathBuf {
        self.repository(name).join("_referrers").join(subject.to_string())
    }
}

/// The file whose presence beside some content says that a repository has it: its name, with `+` for `/`.
pub(super) fn member(name: &RepositoryName) -> String {
    name.as_str().replace('/', "+")
}
