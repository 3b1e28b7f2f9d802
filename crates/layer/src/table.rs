//! The table of contents of one layer.

use std::io::{Read, Write};

use crate::entry::{Body, Entry, Kind};
use crate::scan::{Caught, Scanner};
use crate::{Error, Limits};

/// What a layer holds: every entry of its tar archive, whiteouts included, in the order of the archive.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    /// The entries. A path can occur more than once; the last one counts.
    pub entries: Vec<Entry>,
    /// Number of bytes of the inflated layer, with all that follows the end of the archive.
    pub size: u64,
}

/// Reads an inflated layer to its end and copies every byte of it to `sink`, as [`Table::scan`] does, but keeps nothing of what it
/// holds. How many bytes there were.
///
/// # Errors
///
/// Those of [`Table::scan`].
pub fn copy_tar(reader: impl Read, sink: impl Write) -> Result<u64, Error> {
    let mut scanner = Scanner::new(reader, sink, Limits { memory: usize::MAX, ..Limits::default() });
    while scanner.entry()?.is_some() {}
    Ok(scanner.finish()?.0)
}

impl Table {
    /// Where an entry stands among [`entries`](Self::entries), in 32 bits, in which merging counts them too; `None` for an entry of
    /// another table. It costs nothing: the reference tells.
    pub fn position(&self, entry: &Entry) -> Option<u32> {
        self.entries.element_offset(entry)?.try_into().ok()
    }

    /// The content of the file that stands there, as [`position`](Self::position) counts; `None` where no file does.
    pub fn body(&self, position: u32) -> Option<&Body> {
        match &self.entries.get(position as usize)?.kind {
            Kind::File(body) => Some(body),
            _ => None,
        }
    }

    /// Reads an inflated layer to its end, copies every byte of it to `sink`, and notes what it holds.
    ///
    /// The formats v7, ustar, star, GNU (old and new) and PAX are read as Go's `archive/tar` reads them, which is what
    /// container runtimes do: entries that are not files have no content whatever size their header claims, global extended
    /// headers change nothing. Where tools read an archive differently (two names for one entry, two extended headers, a
    /// lone block of zeros in the middle), it is refused. A missing end marker is accepted between entries; whatever follows
    /// the marker is read and ignored.
    ///
    /// ```
    /// use layer::{Decoder, Limits, Table};
    ///
    /// let compressed: &[u8] = &[]; // what a registry sent
    /// let mut inflated = Vec::new(); // or an unlinked file
    /// let table = Table::scan(Decoder::new(compressed)?, &mut inflated, Limits::default())?;
    /// assert_eq!(table.entries.len(), 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Read`] and [`Error::Keep`] when reader or sink fail, [`Error::Archive`] when the bytes are no tar archive or
    /// are cut short, [`Error::Entry`] when an entry must not be in a layer, [`Error::Limit`] when the table gets too large.
    pub fn scan(reader: impl Read, sink: impl Write, limits: Limits) -> Result<Self, Error> {
        Ok(Self::of(Scanner::new(reader, sink, limits))?.0)
    }

    /// What a scanner passes, and what it catches.
    pub(crate) fn of(mut scanner: Scanner<impl Read, impl Write>) -> Result<(Self, Option<Caught>), Error> {
        let mut entries = Vec::new();
        while let Some(entry) = scanner.entry()? {
            entries.push(entry);
        }
        entries.shrink_to_fit();
        let (size, caught) = scanner.finish()?;
        Ok((Self { entries, size }, caught))
    }
}
