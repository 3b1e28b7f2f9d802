//! Manifests: a file each and repository, holding a line with the media type and then the bytes as they came.

use bytes::Bytes;
use oci::{Digest, Selector, Tag};

use super::directory::{read, remove};
use super::{Error, Referrer, RepositoryName, Storage};

/// A manifest that a repository has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StoredManifest {
    pub(crate) digest: Digest,
    pub(crate) media_type: String,
    pub(crate) raw: Bytes,
}

/// A manifest to be stored.
#[derive(Debug)]
pub(crate) struct NewManifest {
    pub(crate) digest: Digest,
    /// One line.
    pub(crate) media_type: String,
    pub(crate) raw: Bytes,
    /// What the repository must have as blobs.
    pub(crate) blobs: Vec<Digest>,
    /// What the repository must have as manifests.
    pub(crate) manifests: Vec<Digest>,
    /// What the repository must have as either.
    pub(crate) either: Vec<Digest>,
    /// What the manifest says about another one.
    pub(crate) referrer: Option<Referrer>,
}

impl Storage {
    /// Whether something was ever stored under this name.
    pub(crate) fn has_repository(&self, name: &RepositoryName) -> bool {
        self.layout().manifests(name).is_dir()
    }

    fn has_manifest(&self, name: &RepositoryName, digest: Digest) -> bool {
        self.layout().manifest(name, digest).exists()
    }

    /// Reads a manifest by tag or digest.
    pub(crate) fn manifest(
        &self,
        name: &RepositoryName,
        selector: &Selector,
    ) -> Result<Option<StoredManifest>, Error> {
        let digest = match selector {
            Selector::Digest(digest) => *digest,
            Selector::Tag(tag) => match self.tag(name, tag)? {
                Some(digest) => digest,
                None => return Ok(None),
            },
        };
        let content = read(&self.layout().manifest(name, digest))?;
        Ok(content.and_then(|content| parse(digest, &content.into())))
    }

    /// Stores a manifest, then its tags. If the repository lacks something that the manifest refers to, that is
    /// returned and nothing is stored.
    pub(crate) fn put_manifest(
        &self,
        name: &RepositoryName,
        manifest: &NewManifest,
        tags: &[Tag],
    ) -> Result<Vec<Digest>, Error> {
        let _repository = self.lock_repository(name);
        let missing = self.missing(name, manifest);
        if !missing.is_empty() {
            return Ok(missing);
        }
        // The list of referrers passes over manifests that are not there, so both appear with the manifest itself.
        if let Some(referrer) = &manifest.referrer {
            self.put_referrer(name, manifest.digest, referrer)?;
        }
        let path = self.layout().manifest(name, manifest.digest);
        let content: [&[u8]; 3] = [manifest.media_type.as_bytes(), b"\n", &manifest.raw];
        if read(&path)? != Some(content.concat()) {
            self.write(&path, &content)?;
        }
        for tag in tags {
            self.set_tag(name, tag, manifest.digest)?;
        }
        Ok(Vec::new())
    }

    fn missing(&self, name: &RepositoryName, manifest: &NewManifest) -> Vec<Digest> {
        let blobs = manifest.blobs.iter().filter(|digest| !self.has_blob(name, **digest));
        let manifests = manifest.manifests.iter().filter(|digest| !self.has_manifest(name, **digest));
        let either = (manifest.either.iter())
            .filter(|digest| !self.has_manifest(name, **digest) && !self.has_blob(name, **digest));
        let mut missing: Vec<Digest> = blobs.chain(manifests).chain(either).copied().collect();
        missing.sort_unstable();
        missing.dedup();
        missing
    }

    /// Removes a manifest and its tags; false if the repository has it not. `subject` is what it says it refers to.
    pub(crate) fn delete_manifest(
        &self,
        name: &RepositoryName,
        digest: Digest,
        subject: Option<Digest>,
    ) -> Result<bool, Error> {
        let _repository = self.lock_repository(name);
        if !self.has_manifest(name, digest) {
            return Ok(false);
        }
        self.delete_tags_of(name, digest)?;
        let removed = remove(&self.layout().manifest(name, digest))?;
        if let Some(subject) = subject {
            self.delete_referrer(name, digest, subject)?;
        }
        Ok(removed)
    }
}

fn parse(digest: Digest, content: &Bytes) -> Option<StoredManifest> {
    let end = content.iter().position(|byte| *byte == b'\n')?;
    let media_type = std::str::from_utf8(content.get(..end)?).ok()?.to_owned();
    Some(StoredManifest { digest, media_type, raw: content.slice(end + 1..) })
}
