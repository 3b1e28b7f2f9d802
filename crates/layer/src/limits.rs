//! What a table may cost, and what it costs so far.

use std::collections::HashSet;
use std::sync::Arc;

use crate::{Body, Entry, Error, Kind, Owner, Sparse};

/// Bounds on what a layer may cost.
///
/// Beside these, an entry's extended headers, and the map of a sparse file, have at most 1 MiB (as in Go's `archive/tar`), and a
/// path at most 4095 bytes (as in Linux).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Memory for one table, in bytes: about 120 bytes an entry and what its path, links and attributes have. The default,
    /// 1 GiB, holds five million files with paths of usual length.
    pub memory: usize,
    /// Entries of one table. The default is as many as the memory is enough for.
    pub entries: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { memory: 1 << 30, entries: usize::MAX }
    }
}

/// Counts what the entries of one table cost.
pub(crate) struct Meter {
    /// Few, on every entry.
    owners: HashSet<Arc<Owner>>,
    /// The last one, which mostly is the next too.
    owner: Arc<Owner>,
    entries: usize,
    /// Estimate of what the entries have so far, in bytes.
    memory: usize,
    limits: Limits,
}

impl Meter {
    pub(crate) fn new(limits: Limits) -> Self {
        Self { owners: HashSet::new(), owner: Arc::default(), entries: 0, memory: 0, limits }
    }

    /// One copy of every owner.
    pub(crate) fn owner(&mut self, (uid, gid): (u64, u64), (uname, gname): (&[u8], &[u8])) -> Arc<Owner> {
        let last = &self.owner;
        if (last.uid, last.gid) != (uid, gid) || (&*last.uname, &*last.gname) != (uname, gname) {
            let owner = Owner { uid, gid, uname: uname.into(), gname: gname.into() };
            self.owner = if let Some(known) = self.owners.get(&owner) {
                Arc::clone(known)
            } else {
                let bytes = size_of_val(&owner) + uname.len() + gname.len() + 64;
                self.memory = self.memory.saturating_add(bytes);
                let owner = Arc::new(owner);
                self.owners.insert(Arc::clone(&owner));
                owner
            };
        }
        Arc::clone(&self.owner)
    }

    /// Counts what an entry costs.
    pub(crate) fn account(&mut self, entry: &Entry) -> Result<(), Error> {
        /// What the allocator adds.
        const ALLOCATION: usize = 16;
        let kind = match &entry.kind {
            Kind::Symlink(target) | Kind::HardLink(target) => target.len() + ALLOCATION,
            Kind::File(Body { sparse: Some(sparse), .. }) => {
                size_of::<Sparse>() + size_of_val(&*sparse.extents) + 2 * ALLOCATION
            }
            _ => 0,
        };
        let records = entry.metadata.xattrs.iter().chain(&*entry.metadata.records);
        let records: usize = records
            .map(|record| record.name.len() + record.value.len() + size_of_val(record) + 2 * ALLOCATION)
            .sum();
        let all = size_of_val(entry) + entry.path.len() + ALLOCATION + kind + records;
        self.add(all)?;
        self.entries += 1;
        if self.entries > self.limits.entries {
            return Err(Error::TooMany { limit: self.limits.entries });
        }
        Ok(())
    }

    /// Counts so many bytes more.
    pub(crate) fn add(&mut self, bytes: usize) -> Result<(), Error> {
        self.memory = self.memory.saturating_add(bytes);
        if self.memory > self.limits.memory {
            return Err(Error::Limit { limit: self.limits.memory });
        }
        Ok(())
    }
}
