//! Inflated layers in temporary files, within bounds that all layers of an image share.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use layer::{Decoder, Limits, Table};
use oci::Digest;

use crate::Error;
use crate::feed::Feed;

/// The memory that the tables of all layers of an image may take, in bytes: enough for some eight million files.
const TABLES: usize = 2 << 30;

/// What is written at a time, in bytes.
const BUFFER: usize = 256 << 10;

/// What one entry of a table takes besides its path, in bytes, roughly.
const ENTRY: usize = 200;

/// An inflated layer, and what is in it; nothing for what is no tar.
pub(crate) struct Spooled {
    pub(crate) file: File,
    pub(crate) table: Table,
}

/// What the layers of an image may take together.
pub(crate) struct Budget {
    /// The folder of the temporary files. They have no name, so that nothing of them stays behind.
    folder: PathBuf,
    /// Bytes of temporary space: all, and what is left of them.
    limit: u64,
    room: AtomicU64,
    /// Bytes of memory that are left for tables.
    memory: AtomicUsize,
    /// How many layers are inflated at once.
    share: usize,
    /// The temporary space has failed: nothing more needs to be fetched.
    failed: AtomicBool,
}

impl Budget {
    pub(crate) fn new(folder: &Path, limit: u64, share: usize) -> Self {
        Self {
            folder: folder.to_owned(),
            limit,
            room: AtomicU64::new(limit),
            memory: AtomicUsize::new(TABLES),
            share,
            failed: AtomicBool::new(false),
        }
    }

    /// Whether inflating has ended for a reason of its own.
    pub(crate) fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Relaxed)
    }

    fn failure(&self, source: io::Error) -> Error {
        self.failed.store(true, Ordering::Relaxed);
        Error::Spool { folder: self.folder.display().to_string(), source }
    }

    fn take(&self, bytes: usize) -> Result<(), Error> {
        let takes = |room: u64| room.checked_sub(bytes as u64);
        self.room.fetch_update(Ordering::Relaxed, Ordering::Relaxed, takes).map(drop).map_err(|_| {
            self.failed.store(true, Ordering::Relaxed);
            Error::SpoolLimit(self.limit)
        })
    }

    /// Inflates one layer; with `is_tar`, notes what is in it. Blocks.
    pub(crate) fn inflate(&self, digest: Digest, feed: Feed, is_tar: bool) -> Result<Spooled, Error> {
        let file = tempfile::tempfile_in(&self.folder).map_err(|error| self.failure(error))?;
        let file = BufWriter::with_capacity(BUFFER, file);
        let mut spool = Spool { file, budget: self, failure: None };
        let scanned = self.scan(feed, &mut spool, is_tar);
        // What failed here is the cause of whatever the scan says.
        if let Some(failure) = spool.failure {
            return Err(failure);
        }
        let table = scanned.map_err(|source| Error::Layer { layer: digest, source })?;
        let file = spool.file.into_inner().map_err(|error| self.failure(error.into_error()))?;
        Ok(Spooled { file, table })
    }

    fn scan(&self, feed: Feed, spool: &mut Spool<'_>, is_tar: bool) -> Result<Table, layer::Error> {
        let unreadable = |source| layer::Error::Read { offset: 0, source };
        let mut decoder = Decoder::new(feed).map_err(unreadable)?;
        if !is_tar {
            return io::copy(&mut decoder, spool).map(|_| Table::default()).map_err(unreadable);
        }
        let memory = self.memory.load(Ordering::Relaxed) / self.share;
        let table = Table::scan(decoder, spool, Limits { memory, ..Limits::default() })?;
        let cost = table.entries.iter().fold(0, |sum: usize, entry| sum + ENTRY + entry.path.len());
        let spend = |memory: usize| Some(memory.saturating_sub(cost));
        // The closure never refuses.
        let _ = self.memory.fetch_update(Ordering::Relaxed, Ordering::Relaxed, spend);
        Ok(table)
    }
}

/// The temporary file of a layer.
struct Spool<'a> {
    file: BufWriter<File>,
    budget: &'a Budget,
    failure: Option<Error>,
}

impl Write for Spool<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.budget.take(bytes.len());
        let written =
            written.and_then(|()| self.file.write_all(bytes).map_err(|error| self.budget.failure(error)));
        written.map(|()| bytes.len()).map_err(|failure| {
            self.failure = Some(failure);
            io::ErrorKind::StorageFull.into()
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
