//! What is in a layer and how to get at it: the table of contents, and points at which inflating can begin.

mod align;
mod file;
mod index;
mod resume;
#[cfg(test)]
mod tests;
mod window;

use std::io::{BufRead, Write};
use std::ops::Range;

use oci::Algorithm;

pub use file::TocError;
use index::{Indexer, Spacing};
pub use resume::Resumed;
use window::Window;

use crate::{Body, Compression, Entry, Error, Kind, Limits, Metadata, Table, path};

/// A layer's table of contents, and where inflating can begin in it.
///
/// Made by one full read ([`Toc::scan`]); kept by [`Toc::write`]. Then a part of the inflated layer costs the compressed bytes of
/// the spans that it lies in: [`Toc::cover`] says which, [`Toc::proves`] checks them, and [`Toc::resume`] inflates them.
///
/// ```
/// use std::io::{Read, Write};
/// use std::num::NonZeroUsize;
///
/// use layer::{Encoder, Encoding, Kind, Limits, Metadata, TarWriter, Toc};
///
/// let mut tar = TarWriter::new(Vec::new());
/// tar.file(b"etc/motd", &Metadata::new(0o644), 6, &b"hello\n"[..])?;
/// let mut layer = Encoder::new(Vec::new(), Encoding::Gzip(6), NonZeroUsize::MIN)?;
/// layer.write_all(&tar.finish()?)?;
/// let layer = layer.finish()?;
///
/// let toc = Toc::scan(&layer[..], std::io::sink(), Limits::default())?;
/// let Kind::File(body) = &toc.table.entries[0].kind else { panic!("it is a file") };
/// let cover = toc.cover(body.offset..body.offset + body.stored);
/// let part = &layer[cover.compressed.start as usize..cover.compressed.end as usize];
/// let mut text = String::new();
/// let mut inflated = toc.resume(cover.spans.start, part)?;
/// std::io::copy(&mut (&mut inflated).take(cover.skip), &mut std::io::sink())?;
/// inflated.take(body.stored).read_to_string(&mut text)?;
/// assert_eq!(text, "hello\n");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Toc {
    /// What the layer holds.
    pub table: Table,
    /// How it is compressed.
    pub compression: Compression,
    /// Number of compressed bytes.
    pub size: u64,
    /// The parts that can be inflated alone, in order, without gaps. One at least, unless the layer is empty.
    spans: Vec<Span>,
}

/// A part of a layer that can be inflated without what is before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// Position of its first compressed byte.
    compressed: u64,
    /// Position of its first inflated byte.
    inflated: u64,
    start: Start,
    /// SHA-256 of its compressed bytes.
    digest: [u8; 32],
}

/// How inflating begins at a span.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Start {
    /// As at the beginning of a file: a member of gzip, a frame of zstd, a byte that is not compressed.
    Afresh,
    /// Within deflate's stream: with the last so many bits (0 to 7) of the first byte, and with this behind.
    Within { bits: u8, window: Window },
}

/// The spans that a part of an inflated layer lies in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cover {
    /// Their positions in the list.
    pub spans: Range<usize>,
    /// Their compressed bytes.
    pub compressed: Range<u64>,
    /// How many of their first inflated bytes come before the part.
    pub skip: u64,
}

impl Toc {
    /// Reads a compressed layer to its end, writes what it inflates to, to `sink`, and notes what is where. As for
    /// [`Table::scan`], of which the rest is said there.
    ///
    /// # Errors
    ///
    /// Those of [`Table::scan`].
    pub fn scan(compressed: impl BufRead, sink: impl Write, limits: Limits) -> Result<Self, Error> {
        Self::spaced(compressed, sink, limits, Spacing::USUAL)
    }

    fn spaced(
        compressed: impl BufRead,
        sink: impl Write,
        limits: Limits,
        spacing: Spacing,
    ) -> Result<Self, Error> {
        let mut indexer =
            Indexer::new(compressed, spacing).map_err(|source| Error::Read { offset: 0, source })?;
        let table = Table::scan(&mut indexer, sink, limits)?;
        let (compression, size, spans) = indexer.finish();
        Ok(Self { table, compression, size, spans })
    }

    /// The table of what is one file as a whole, of this name and so many bytes. It has no spans.
    pub fn of_file(name: &[u8], size: u64) -> Self {
        let kind = Kind::File(Body { offset: 0, stored: size, size, extents: None });
        // What cannot be a path has no directories.
        let path = path::confine(name).ok().filter(|path| !path.is_empty());
        let path = path
            .unwrap_or_else(|| name.iter().map(|byte| if *byte == b'/' { b'_' } else { *byte }).collect());
        let entry = Entry { path, kind, metadata: Metadata::new(0o644) };
        Self {
            table: Table { entries: vec![entry], size },
            compression: Compression::None,
            size,
            spans: Vec::new(),
        }
    }

    /// Whether it is of one file as a whole.
    pub fn is_of_file(&self) -> bool {
        self.spans.is_empty() && !self.table.entries.is_empty()
    }

    /// How many spans there are.
    pub fn spans(&self) -> usize {
        self.spans.len()
    }

    /// Number of bytes that the points take which are not free, for whoever shows it: histories of deflate.
    pub fn points_size(&self) -> u64 {
        let size = |span: &Span| match &span.start {
            Start::Afresh => 0,
            Start::Within { window, .. } => u64::from(window.len()),
        };
        self.spans.iter().map(size).sum()
    }

    /// The spans that have these inflated bytes.
    pub fn cover(&self, inflated: Range<u64>) -> Cover {
        let first = self.spans.partition_point(|span| span.inflated <= inflated.start).saturating_sub(1);
        let last = self.spans.partition_point(|span| span.inflated < inflated.end).max(first);
        let start = self.spans.get(first).map_or((0, 0), |span| (span.compressed, span.inflated));
        let end = if last == first { start.0 } else { self.end(last - 1) };
        Cover { spans: first..last, compressed: start.0..end, skip: inflated.start.saturating_sub(start.1) }
    }

    /// The compressed bytes of a span. Neighbours may share one byte, of which each has some bits.
    pub fn compressed(&self, span: usize) -> Range<u64> {
        self.spans[span].compressed..self.end(span)
    }

    /// Position of the first compressed byte of a span, if there is such a span.
    pub fn compressed_start(&self, span: usize) -> Option<u64> {
        self.spans.get(span).map(|span| span.compressed)
    }

    /// Position of the first inflated byte of a span.
    pub fn inflated(&self, span: usize) -> u64 {
        self.spans[span].inflated
    }

    /// Whether these are the compressed bytes of a span.
    pub fn proves(&self, span: usize, bytes: &[u8]) -> bool {
        let digest = Algorithm::Sha256.digest(bytes);
        matches!(digest, oci::Digest::Sha256(hash) if hash == self.spans[span].digest)
    }

    /// Inflates from a span on; `compressed` gives the layer's bytes from its first on, and may end wherever another span does.
    ///
    /// # Errors
    ///
    /// If there is no memory for the decompressor, or the history is damaged.
    pub fn resume<R: BufRead>(&self, span: usize, compressed: R) -> std::io::Result<Resumed<R>> {
        Resumed::new(self.compression, &self.spans[span].start, compressed)
    }

    fn end(&self, span: usize) -> u64 {
        match self.spans.get(span + 1) {
            Some(Span { compressed, start: Start::Within { .. }, .. }) => compressed + 1,
            Some(Span { compressed, start: Start::Afresh, .. }) => *compressed,
            None => self.size,
        }
    }
}

/// Inflates bytes to at most `most`, then from each span on, and checks that it is the same.
#[cfg(any(test, fuzzing))]
#[expect(clippy::cast_possible_truncation, reason = "positions in slices")]
pub(crate) fn begin_anywhere(bytes: &[u8], most: u64) {
    use std::io::Read;

    let close = Spacing { afresh: 16, within: 32, within_inflated: 64, percent: 1_000_000 };
    let Ok(mut indexer) = Indexer::new(bytes, close) else { return };
    let mut inflated = Vec::new();
    if (&mut indexer).take(most).read_to_end(&mut inflated).is_err() || inflated.len() as u64 == most {
        return;
    }
    let mut plain = Vec::new();
    let decoded = crate::Decoder::new(bytes).and_then(|mut decoder| decoder.read_to_end(&mut plain));
    assert!(decoded.is_ok() && plain == inflated);
    let (compression, size, spans) = indexer.finish();
    assert_eq!(size, bytes.len() as u64);
    let table = Table { entries: Vec::new(), size: inflated.len() as u64 };
    let toc = Toc { table, compression, size, spans };
    for (number, span) in toc.spans.iter().enumerate() {
        let part = |range: Range<u64>| range.start as usize..range.end as usize;
        assert!(toc.proves(number, &bytes[part(toc.compressed(number))]));
        let mut rest = Vec::new();
        let resumed = toc.resume(number, &bytes[part(span.compressed..size)]);
        resumed.and_then(|mut resumed| resumed.read_to_end(&mut rest)).expect("it could be read before");
        assert!(rest == inflated[part(span.inflated..toc.table.size)], "span {number}");
    }
}
