//! Referrers: for each subject a directory, in it the descriptor of each manifest that refers to it. One file each,
//! so that two writers never lose each other's entry.

use oci::Digest;

use super::directory::{entries, read, remove};
use super::{Error, RepositoryName, Storage};
use crate::page::{Page, Picker};

/// What a manifest says about another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Referrer {
    pub(crate) subject: Digest,
    /// The descriptor that the list of referrers shows, as JSON.
    pub(crate) descriptor: Vec<u8>,
}

/// A digest and the descriptor that is listed for it.
type Entry = (String, Vec<u8>);

impl Storage {
    pub(super) fn put_referrer(
        &self,
        name: &RepositoryName,
        digest: Digest,
        referrer: &Referrer,
    ) -> Result<(), Error> {
        let path = self.layout().referrers(name, referrer.subject).join(digest.to_string());
        if read(&path)?.as_ref() == Some(&referrer.descriptor) {
            return Ok(());
        }
        self.write(&path, &[&referrer.descriptor])
    }

    pub(super) fn delete_referrer(
        &self,
        name: &RepositoryName,
        digest: Digest,
        subject: Digest,
    ) -> Result<(), Error> {
        remove(&self.layout().referrers(name, subject).join(digest.to_string())).map(|_| ())
    }

    /// One page of a subject's referrers in the order of their digests: each digest with its descriptor, and whether
    /// there are more. An entry whose manifest is not there (yet, or any more) is passed over.
    pub(crate) fn referrers(
        &self,
        name: &RepositoryName,
        subject: Digest,
        page: Page,
    ) -> Result<(Vec<Entry>, bool), Error> {
        let directory = self.layout().referrers(name, subject);
        let mut picker = Picker::new(page);
        entries(&directory, |_, file| {
            let there = |digest: Digest| self.layout().manifest(name, digest).exists();
            if picker.wants(file) && file.parse().is_ok_and(there) {
                picker.offer(file.to_owned());
            }
            true
        })?;
        let (digests, more) = picker.finish();
        let mut referrers = Vec::with_capacity(digests.len());
        for digest in digests {
            if let Some(descriptor) = read(&directory.join(&digest))? {
                referrers.push((digest, descriptor));
            }
        }
        Ok((referrers, more))
    }
}
