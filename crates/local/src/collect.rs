//! Removes from a layout what its index does not lead to.

use std::collections::{HashMap, HashSet};

use oci::Digest;
use serde_json::Value;
use store::Error as StoreError;

use crate::blocking;
use crate::catalog::{Catalog, MANIFEST_LIMIT};
use crate::error::Error;
use crate::folder::Folder;
use crate::layout::Layout;

/// The algorithms whose directories are looked into; all others are left alone.
const ALGORITHMS: [&str; 2] = ["sha256", "sha512"];

/// What nothing leads to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Garbage {
    /// The digests.
    pub blobs: Vec<Digest>,
    /// The length of all of them together, in bytes.
    pub bytes: u64,
}

impl Layout {
    /// Finds what nothing in the layout leads to, and removes it unless `keep` is set.
    ///
    /// What the index lists is kept, whatever its media type, with every digest that stands anywhere in it, and so on down;
    /// and manifests whose subject is kept. Meanwhile nobody who locks as hoist does writes to the layout.
    ///
    /// # Errors
    /// [`Kind::Other`](store::Kind::Other) if somebody is writing to it, [`Kind::Invalid`](store::Kind::Invalid) if what
    /// is listed is damaged, so that nobody knows what it leads to: then nothing is removed.
    pub async fn collect(&self, keep: bool) -> Result<Garbage, StoreError> {
        let doing = format!("collecting garbage in {self}");
        blocking::with(self, doing, move |layout| collect(layout, keep)).await
    }
}

fn collect(layout: &Layout, keep: bool) -> Result<Garbage, Error> {
    let Some(blobs) = layout.folder()?.folder("blobs")? else { return Ok(Garbage::default()) };
    if !blobs.claim()? {
        return Err(Error::Busy(layout.folder()?.path().to_owned()));
    }
    let all = all(&blobs)?;
    let index = layout.index()?;
    if let Some(reason) = index.unusable() {
        return Err(Error::Index { path: layout.index_path(), reason: reason.to_owned() });
    }
    let listed = index.descriptors().map(|entry| (entry.digest, entry.media_type.is_manifest())).collect();
    let mut reached = Reached { layout, listed, digests: HashSet::new() };
    for entry in index.descriptors() {
        reached.visit(entry.digest)?;
    }
    reached.add_referrers(&all)?;
    let mut garbage = Garbage::default();
    for digest in all.into_iter().filter(|digest| !reached.digests.contains(digest)) {
        let Some(folder) = blobs.folder(digest.algorithm().name())? else { continue };
        garbage.bytes += folder.length(&digest.hex())?.unwrap_or_default();
        if !keep {
            folder.remove(&digest.hex())?;
        }
        garbage.blobs.push(digest);
    }
    Ok(garbage)
}

/// All blobs; what is called otherwise is none, and left alone.
fn all(blobs: &Folder) -> Result<Vec<Digest>, Error> {
    let mut all = Vec::new();
    for algorithm in ALGORITHMS {
        if let Some(folder) = blobs.folder(algorithm)? {
            let names = folder.names()?;
            all.extend(names.iter().filter_map(|name| format!("{algorithm}:{name}").parse::<Digest>().ok()));
        }
    }
    all.sort_unstable();
    Ok(all)
}

/// What is kept.
struct Reached<'a> {
    layout: &'a Layout,
    /// What the index lists, and whether it says that it is a manifest.
    listed: HashMap<Digest, bool>,
    digests: HashSet<Digest>,
}

impl Reached<'_> {
    /// Keeps a blob, and all that it leads to.
    fn visit(&mut self, digest: Digest) -> Result<(), Error> {
        let mut waiting = vec![digest];
        while let Some(digest) = waiting.pop() {
            if self.digests.insert(digest)
                && let Some(document) = self.document(&digest)?
            {
                digests_in(&document, &mut waiting);
            }
        }
        Ok(())
    }

    /// What may lead further: any small content, as no list of media types is complete.
    fn document(&self, digest: &Digest) -> Result<Option<Vec<u8>>, Error> {
        let content = match self.layout.blob(digest) {
            // Not every layout has all of its images.
            Err(Error::NoBlob(_)) => return Ok(None),
            content => content?,
        };
        let is_manifest = self.listed.get(digest).copied().unwrap_or_default();
        if content.length > MANIFEST_LIMIT && !is_manifest {
            return Ok(None);
        }
        let bytes = content.whole(MANIFEST_LIMIT)?;
        // What is damaged could have led anywhere.
        let found = digest.algorithm().digest(&bytes);
        if found == *digest { Ok(Some(bytes)) } else { Err(Error::Altered { path: content.path, found }) }
    }

    /// Keeps manifests whose subject is kept, though no index lists them.
    fn add_referrers(&mut self, all: &[Digest]) -> Result<(), Error> {
        let mut others = Vec::new();
        for digest in all.iter().filter(|digest| !self.digests.contains(digest)) {
            // What is damaged here is nobody's.
            let document = self.document(digest).ok().flatten();
            let document = document.and_then(|bytes| serde_json::from_slice::<Value>(&bytes).ok());
            let subject = document.as_ref().and_then(|document| document["subject"]["digest"].as_str());
            if let Some(subject) = subject.and_then(|subject| subject.parse::<Digest>().ok()) {
                others.push((*digest, subject));
            }
        }
        loop {
            let before = self.digests.len();
            for (digest, subject) in &others {
                if self.digests.contains(subject) {
                    self.visit(*digest)?;
                }
            }
            if self.digests.len() == before {
                return Ok(());
            }
        }
    }
}

/// Every digest that stands anywhere in a document, whatever the document is.
fn digests_in(document: &[u8], found: &mut Vec<Digest>) {
    for (algorithm, length) in [("sha256:", 64), ("sha512:", 128)] {
        let beginnings = document.windows(algorithm.len()).enumerate();
        for (at, _) in beginnings.filter(|(_, window)| *window == algorithm.as_bytes()) {
            let text = document.get(at..at + algorithm.len() + length).map(std::str::from_utf8);
            found.extend(text.and_then(Result::ok).and_then(|text| text.parse::<Digest>().ok()));
        }
    }
}
