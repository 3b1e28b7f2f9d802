//! What is in a layer and how to get at it: the table of contents, and points at which inflating can begin.

mod align;
mod chunk;
mod file;
mod index;
mod resume;
#[cfg(test)]
pub(crate) mod tests;
mod window;

pub(crate) use chunk::Chunk;
pub(crate) use window::Windows;

use std::io::{self, BufRead, Write};
use std::ops::Range;

use oci::Algorithm;

pub use file::TocError;
use index::{Indexer, Spacing};
pub use resume::Resumed;
use window::Window;

use crate::header::{BLOCK, Header};
use crate::scan::Scanner;
use crate::{Body, Caught, Compression, Entry, Error, Kind, Limits, Metadata, Table, path};

/// A layer's table of contents, and where inflating can begin in it.
///
/// Made by one full read ([`Toc::scan`]) or from an index that somebody else made ([`index`](crate::index)); kept by [`Toc::write`].
/// Then a part of the inflated layer costs the compressed bytes of the spans that it lies in: [`Toc::cover`] says which,
/// [`Toc::proves`] checks them, and [`Toc::resume`] inflates them.
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
/// let cover = toc.cover(body.offset..body.offset + body.stored());
/// let part = &layer[cover.compressed.start as usize..cover.compressed.end as usize];
/// let mut text = String::new();
/// let mut inflated = toc.resume(cover.spans.start, part)?;
/// std::io::copy(&mut (&mut inflated).take(cover.skip), &mut std::io::sink())?;
/// inflated.take(body.stored()).read_to_string(&mut text)?;
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
    /// Who says so.
    pub origin: Origin,
    pub(crate) parts: Parts,
}

/// Where a table of contents comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// From the layer itself, all of which was read.
    Layer,
    /// From the index of an eStargz layer. It knows where contents lie, not where they would in the inflated layer: positions are in
    /// all contents one behind the other, and [`Table::size`] is what the descriptor says, or the sum of the contents.
    Estargz,
    /// From the index of a zstd:chunked layer. Of positions and size the same holds.
    ZstdChunked,
    /// From a zTOC, of SOCI.
    Soci,
}

impl Origin {
    /// The name of the format, as its makers write it; of a layer that was read, `hoist`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Layer => "hoist",
            Self::Estargz => "eStargz",
            Self::ZstdChunked => "zstd:chunked",
            Self::Soci => "SOCI",
        }
    }
}

/// The parts of a layer that can be inflated alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Parts {
    /// It is one file, and has none.
    File,
    /// In order, without gaps. One at least, unless the layer is empty.
    Spans(Vec<Span>),
    /// In order, with gaps: nobody has said what is between them.
    Chunks(Vec<Chunk>),
}

/// A part of a layer that can be inflated without what is before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    /// Position of its first compressed byte.
    pub(crate) compressed: u64,
    /// Position of its first inflated byte.
    pub(crate) inflated: u64,
    pub(crate) start: Start,
    /// SHA-256 of its compressed bytes.
    pub(crate) digest: [u8; 32],
}

/// How inflating begins at a span.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Start {
    /// As at the beginning of a file: a member of gzip, a frame of zstd, a byte that is not compressed.
    Afresh,
    /// Within deflate's stream: with the last so many bits (0 to 8) of the first byte, and with this behind. With less than 8 the
    /// span before has a part of that byte too.
    Within { bits: u8, window: Window },
}

/// All bits of a byte.
pub(crate) const ALL: u8 = 8;

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
        Ok(Self::spaced(compressed, sink, limits, (Spacing::USUAL, None))?.0)
    }

    /// The same for who wants a file, too: the last in the layer that has this cleaned path, unless it is large. The bytes are to be
    /// used when the layer has proved to be what it should be.
    ///
    /// # Errors
    ///
    /// Those of [`Table::scan`].
    pub fn scan_wanting(
        compressed: impl BufRead,
        path: &[u8],
        limits: Limits,
    ) -> Result<(Self, Option<Caught>), Error> {
        Self::spaced(compressed, io::sink(), limits, (Spacing::USUAL, Some(path)))
    }

    fn spaced(
        compressed: impl BufRead,
        sink: impl Write,
        limits: Limits,
        (spacing, wanted): (Spacing, Option<&[u8]>),
    ) -> Result<(Self, Option<Caught>), Error> {
        let mut indexer =
            Indexer::new(compressed, spacing).map_err(|source| Error::Read { offset: 0, source })?;
        let mut scanner = Scanner::new(&mut indexer, sink, limits);
        if let Some(path) = wanted {
            scanner = scanner.wanting(path);
        }
        let (table, caught) = Table::of(scanner)?;
        let (compression, size, spans) = indexer.finish();
        let toc = Self { table, compression, size, origin: Origin::Layer, parts: Parts::Spans(spans) };
        Ok((toc, caught))
    }

    /// The table of what is one file as a whole, of this name and so many bytes. It has no spans.
    pub fn of_file(name: &[u8], size: u64) -> Self {
        let kind = Kind::File(Body::whole(0, size));
        // What cannot be a path has no directories.
        let path = path::confine(name).ok().filter(|path| !path.is_empty());
        let path = path
            .unwrap_or_else(|| name.iter().map(|byte| if *byte == b'/' { b'_' } else { *byte }).collect());
        let entry = Entry { path, kind, metadata: Metadata::new(0o644) };
        Self {
            table: Table { entries: vec![entry], size },
            compression: Compression::None,
            size,
            origin: Origin::Layer,
            parts: Parts::File,
        }
    }

    /// Whether it is of one file as a whole.
    pub fn is_of_file(&self) -> bool {
        self.parts == Parts::File
    }

    /// How many spans there are.
    pub fn spans(&self) -> usize {
        match &self.parts {
            Parts::File => 0,
            Parts::Spans(spans) => spans.len(),
            Parts::Chunks(chunks) => chunks.len(),
        }
    }

    /// Number of bytes that the points take which are not free, for whoever shows it: histories of deflate.
    pub fn points_size(&self) -> u64 {
        let size = |span: &Span| match &span.start {
            Start::Afresh => 0,
            Start::Within { window, .. } => u64::from(window.len()),
        };
        let Parts::Spans(spans) = &self.parts else { return 0 };
        spans.iter().map(size).sum()
    }

    /// The spans that have these inflated bytes.
    pub fn cover(&self, inflated: Range<u64>) -> Cover {
        let before = |is: &dyn Fn(u64) -> bool| match &self.parts {
            Parts::File => 0,
            Parts::Spans(spans) => spans.partition_point(|span| is(span.inflated)),
            Parts::Chunks(chunks) => chunks.partition_point(|chunk| is(chunk.inflated)),
        };
        let first = before(&|at| at <= inflated.start).saturating_sub(1);
        let last = before(&|at| at < inflated.end).max(first);
        if first == last {
            return Cover { spans: first..last, compressed: 0..0, skip: 0 };
        }
        Cover {
            spans: first..last,
            compressed: self.compressed(first).start..self.compressed(last - 1).end,
            skip: inflated.start.saturating_sub(self.inflated(first)),
        }
    }

    /// The compressed bytes of a span. Neighbours may share one byte, of which each has some bits; spans of an index may have all
    /// in common, and may have others between them.
    pub fn compressed(&self, span: usize) -> Range<u64> {
        match &self.parts {
            Parts::File => 0..0,
            Parts::Chunks(chunks) => chunks[span].compressed.clone(),
            Parts::Spans(spans) => {
                let end = match spans.get(span + 1) {
                    Some(Span { compressed, start: Start::Within { bits, .. }, .. }) => {
                        compressed + u64::from(*bits < ALL)
                    }
                    Some(Span { compressed, start: Start::Afresh, .. }) => *compressed,
                    None => self.size,
                };
                spans[span].compressed..end
            }
        }
    }

    /// Position of the first compressed byte of a span, if there is such a span.
    pub fn compressed_start(&self, span: usize) -> Option<u64> {
        (span < self.spans()).then(|| self.compressed(span).start)
    }

    /// Position of the first inflated byte of a span.
    pub fn inflated(&self, span: usize) -> u64 {
        match &self.parts {
            Parts::File => 0,
            Parts::Spans(spans) => spans[span].inflated,
            Parts::Chunks(chunks) => chunks[span].inflated,
        }
    }

    /// Whether the compressed bytes of a span are proven before they are inflated, by [`proves`](Self::proves). If not, what they
    /// inflate to is: [`resume`](Self::resume) gives an error (`InvalidData`) in place of what is wrong, or instead of the last of
    /// it if the span has more than 8 MiB.
    pub fn proves_compressed(&self) -> bool {
        matches!(self.parts, Parts::Spans(_))
    }

    /// Whether these are the compressed bytes of a span, in any pieces.
    pub fn proves<'b>(&self, span: usize, pieces: impl IntoIterator<Item = &'b [u8]>) -> bool {
        let Parts::Spans(spans) = &self.parts else { return true };
        let mut hasher = Algorithm::Sha256.hasher();
        pieces.into_iter().for_each(|piece| hasher.update(piece));
        matches!(hasher.finish(), oci::Digest::Sha256(hash) if hash == spans[span].digest)
    }

    /// How many inflated bytes before that of a file tell whether it is where the table says ([`confirms`](Self::confirms)): the
    /// table may be somebody's whose word is all that there is.
    pub fn lead(&self) -> u64 {
        if self.origin == Origin::Soci { BLOCK as u64 } else { 0 }
    }

    /// Whether the bytes before those of a file say that they are of such a file.
    pub fn confirms(&self, lead: &[u8], body: &Body) -> bool {
        let Some(block) = lead.first_chunk() else { return self.lead() == 0 };
        let is_file = |header: Header<'_>| {
            matches!(header.kind(), 0 | b'0' | b'7') && header.size().is_ok_and(|size| size == body.stored())
        };
        Header::parse(block).is_ok_and(is_file)
    }

    /// Inflates from a span on; `compressed` gives the layer's bytes from its first on, and may end wherever another span does.
    ///
    /// # Errors
    ///
    /// If there is no memory for the decompressor, or the history is damaged.
    pub fn resume<R: BufRead>(&self, span: usize, compressed: R) -> std::io::Result<Resumed<'_, R>> {
        match &self.parts {
            Parts::File => Resumed::new(Compression::None, &Start::Afresh, compressed),
            Parts::Spans(spans) => Resumed::new(self.compression, &spans[span].start, compressed),
            Parts::Chunks(chunks) => Ok(Resumed::of_chunks(self.compression, &chunks[span..], compressed)),
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
    let toc = Toc { table, compression, size, origin: Origin::Layer, parts: Parts::Spans(spans.clone()) };
    for (number, span) in spans.iter().enumerate() {
        let part = |range: Range<u64>| range.start as usize..range.end as usize;
        assert!(toc.proves(number, [&bytes[part(toc.compressed(number))]]));
        let mut rest = Vec::new();
        let resumed = toc.resume(number, &bytes[part(span.compressed..size)]);
        resumed.and_then(|mut resumed| resumed.read_to_end(&mut rest)).expect("it could be read before");
        assert!(rest == inflated[part(span.inflated..toc.table.size)], "span {number}");
    }
}
