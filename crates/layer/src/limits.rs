//! What a table may cost, and what it costs so far.

use std::collections::HashSet;
use std::sync::Arc;

use crate::{Body, Entry, Error, Kind};

/// Bounds on what a layer may cost.
///
/// Beside these, an entry's extended headers, and the map of a sparse file, have at most 1 MiB (as in Go's `archive/tar`), and a
/// path at most 4095 bytes (as in Linux).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Memory for one table, in bytes: about 200 bytes an entry and what its path, links and attributes have. The default,
    /// 1 GiB, holds four million files with paths of usual length.
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
    /// Names of owners and groups: few, on every entry.
    names: HashSet<Arc<[u8]>>,
    entries: usize,
    /// Estimate of what the entries have so far, in bytes.
    memory: usize,
    limits: Limits,
}

impl Meter {
    pub(crate) fn new(limits: Limits) -> Self {
        Self { names: HashSet::new(), entries: 0, memory: 0, limits }
    }

    /// One copy of every name.
    pub(crate) fn name(&mut self, name: &[u8]) -> Arc<[u8]> {
        if let Some(known) = self.names.get(name) {
            return Arc::clone(known);
        }
        let name: Arc<[u8]> = name.into();
        self.memory = self.memory.saturating_add(name.len() + 64);
        self.names.insert(Arc::clone(&name));
        name
    }

    /// Counts what an entry costs.
    pub(crate) fn account(&mut self, entry: &Entry) -> Result<(), Error> {
        /// What the allocator adds.
        const ALLOCATION: usize = 16;
        let kind = match &entry.kind {
            Kind::Symlink(target) | Kind::HardLink(target) => target.len() + ALLOCATION,
            Kind::File(Body { extents: Some(extents), .. }) => size_of_val(&**extents) + ALLOCATION,
            _ => 0,
        };
        let records = entry.metadata.xattrs.iter().chain(&entry.metadata.records);
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
