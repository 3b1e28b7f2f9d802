//! The inflated bytes of a layer, read once and kept on their way.

use std::io::{ErrorKind, Read, Write};

use crate::Error;

/// Large enough that a call costs nothing beside its bytes, small enough to stay in the processor's cache.
pub(crate) const BUFFER: usize = 256 * 1024;

/// Reads from one side, writes what it has read to the other, and knows the position.
pub(crate) struct Tee<R, W> {
    reader: R,
    sink: W,
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
    offset: u64,
}

impl<R: Read, W: Write> Tee<R, W> {
    pub(crate) fn new(reader: R, sink: W) -> Self {
        Self { reader, sink, buffer: vec![0; BUFFER].into(), start: 0, end: 0, offset: 0 }
    }

    /// Position of the next byte.
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    /// Reads until `out` is full or the bytes end; how many were read.
    pub(crate) fn read(&mut self, out: &mut [u8]) -> Result<usize, Error> {
        let mut read = 0;
        while read < out.len() {
            let bytes = self.fill()?;
            let count = bytes.len().min(out.len() - read);
            if count == 0 {
                break;
            }
            out[read..read + count].copy_from_slice(&bytes[..count]);
            self.advance(count);
            read += count;
        }
        Ok(read)
    }

    /// Passes over `count` bytes; false when there are fewer.
    pub(crate) fn skip(&mut self, count: u64) -> Result<bool, Error> {
        let mut rest = count;
        while rest > 0 {
            let there = self.fill()?.len();
            if there == 0 {
                return Ok(false);
            }
            let step = usize::try_from(rest).unwrap_or(usize::MAX).min(there);
            self.advance(step);
            rest -= step as u64;
        }
        Ok(true)
    }

    /// Passes over whatever is left, and flushes the sink.
    pub(crate) fn finish(&mut self) -> Result<(), Error> {
        while self.skip(u64::MAX)? {}
        self.sink.flush().map_err(|source| Error::Keep { offset: self.offset, source })
    }

    fn advance(&mut self, count: usize) {
        self.start += count;
        self.offset += count as u64;
    }

    /// The bytes at hand; none at the end.
    fn fill(&mut self) -> Result<&[u8], Error> {
        if self.start == self.end {
            self.start = 0;
            self.end = 0;
            // A full buffer for the sink, even when the reader gives little at a time.
            while self.end < self.buffer.len() {
                match self.reader.read(&mut self.buffer[self.end..]) {
                    Ok(0) => break,
                    Ok(count) => self.end += count,
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    Err(source) => {
                        return Err(Error::Read { offset: self.offset + self.end as u64, source });
                    }
                }
            }
            let kept = self.sink.write_all(&self.buffer[..self.end]);
            kept.map_err(|source| Error::Keep { offset: self.offset, source })?;
        }
        Ok(&self.buffer[self.start..self.end])
    }
}
