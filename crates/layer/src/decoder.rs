//! From the bytes that a registry keeps to the bytes of the tar archive.

use std::fmt;
use std::io::{self, BufRead, Chain, Cursor, Read};

use crate::gzip::Gzip;

/// How a layer is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// gzip (RFC 1952).
    Gzip,
    /// Zstandard (RFC 8878).
    Zstd,
}

impl Compression {
    /// Tells from the first four bytes (fewer at the end of a short stream).
    ///
    /// The media type of a layer is not asked: registries are full of layers that have the wrong one.
    pub fn of(start: &[u8]) -> Self {
        match start {
            [0x1f, 0x8b, ..] => Self::Gzip,
            // A frame, or a frame that readers skip (RFC 8878, section 3.1.2): some writers put their index first.
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Self::Zstd,
            _ => Self::None,
        }
    }
}

/// Inflates a layer: gzip with any number of members, zstd with any number of frames, or plain bytes.
///
/// A stream that is cut short ends in `UnexpectedEof`; one that is corrupt, or has other bytes than zeros behind a
/// gzip stream, in `InvalidData`. The compressed bytes are always read to their end, so that a digest over them is
/// complete when the reader gives no more. zstd may ask for a window of 128 MiB, which is its own default bound.
///
/// Give it a reader with a buffer of 128 to 256 KiB, and read into one as large.
pub struct Decoder<R: BufRead> {
    compression: Compression,
    stream: Stream<Whole<R>>,
}

/// A reader whose first bytes have been looked at.
type Whole<R> = Chain<Cursor<Vec<u8>>, R>;

enum Stream<R: BufRead> {
    Plain(R),
    Gzip(Gzip<R>),
    Zstd(zstd::stream::read::Decoder<'static, R>),
}

impl<R: BufRead> Decoder<R> {
    /// Reads the first bytes and chooses.
    ///
    /// # Errors
    ///
    /// When the reader fails, or there is no memory for a zstd context.
    pub fn new(mut reader: R) -> io::Result<Self> {
        let mut start = Vec::new();
        reader.by_ref().take(4).read_to_end(&mut start)?;
        let compression = Compression::of(&start);
        let reader = Cursor::new(start).chain(reader);
        let stream = match compression {
            Compression::None => Stream::Plain(reader),
            Compression::Gzip => Stream::Gzip(Gzip::new(reader)),
            Compression::Zstd => Stream::Zstd(zstd::stream::read::Decoder::with_buffer(reader)?),
        };
        Ok(Self { compression, stream })
    }

    /// What was found.
    pub fn compression(&self) -> Compression {
        self.compression
    }
}

impl<R: BufRead> Read for Decoder<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        match &mut self.stream {
            Stream::Plain(reader) => reader.read(out),
            Stream::Gzip(reader) => reader.read(out),
            Stream::Zstd(reader) => reader.read(out),
        }
    }
}

impl<R: BufRead> fmt::Debug for Decoder<R> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Decoder").field("compression", &self.compression).finish_non_exhaustive()
    }
}
