//! Inflating from a span on.

use std::fmt;
use std::io::{self, BufRead, Chain, Cursor, ErrorKind, Read};

use flate2::{Decompress, FlushDecompress, Status};

use super::chunk::{Chunk, Chunks};
use super::{ALL, Start, align};
use crate::Compression;
use crate::gzip::Gzip;

/// The checksum and the length at the end of a member of gzip (RFC 1952, section 2.3.1).
const TRAILER: usize = 8;

/// The inflated bytes of a layer from a span on. Where the compressed bytes end, so does this, be it within a stream or not.
pub struct Resumed<'a, R: BufRead>(State<'a, R>);

enum State<'a, R: BufRead> {
    Chunks(Box<Chunks<'a, R>>),
    Plain(R),
    Zstd(zstd::stream::read::Decoder<'static, R>),
    Gzip(Gzip<R>),
    Within(Within<R>),
    /// The end of a member: so many bytes of its trailer are to come.
    Trailer(Chain<Cursor<Vec<u8>>, R>, usize),
    Members(Gzip<Chain<Cursor<Vec<u8>>, R>>),
    Ended,
}

/// Deflate that begins within its stream.
struct Within<R> {
    inflate: Box<Decompress>,
    reader: Chain<Cursor<Vec<u8>>, R>,
    /// How many bytes of the history are to come, which nobody wants.
    history: usize,
}

impl<'a, R: BufRead> Resumed<'a, R> {
    pub(super) fn of_chunks(compression: Compression, chunks: &'a [Chunk], reader: R) -> Self {
        Self(State::Chunks(Box::new(Chunks::new(compression, chunks, reader))))
    }

    pub(super) fn new(compression: Compression, start: &Start, mut reader: R) -> io::Result<Self> {
        Ok(Self(match (start, compression) {
            (Start::Afresh, Compression::None) => State::Plain(reader),
            (Start::Afresh, Compression::Gzip) => State::Gzip(Gzip::new(reader)),
            (Start::Afresh, Compression::Zstd) => {
                State::Zstd(zstd::stream::read::Decoder::with_buffer(reader)?)
            }
            (Start::Within { bits, window }, _) => {
                let history = window.history()?;
                let (mut before, mut first) = (Vec::new(), [0]);
                if *bits == ALL {
                    align::before(&mut before, &history, 0, 0);
                } else {
                    reader.read_exact(&mut first)?;
                    align::before(&mut before, &history, *bits, first[0]);
                }
                State::Within(Within {
                    inflate: Box::new(Decompress::new(false)),
                    reader: Cursor::new(before).chain(reader),
                    history: history.len(),
                })
            }
        }))
    }
}

impl<R: BufRead> Read for Resumed<'_, R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if out.is_empty() {
            return Ok(0);
        }
        loop {
            match &mut self.0 {
                State::Chunks(chunks) => return chunks.read(out),
                State::Plain(reader) => return reader.read(out),
                State::Zstd(reader) => return cut_is_end(reader.read(out)),
                State::Gzip(reader) => return cut_is_end(reader.read(out)),
                State::Members(reader) => return cut_is_end(reader.read(out)),
                State::Ended => return Ok(0),
                State::Within(within) => match within.read(out)? {
                    Some(count) => return Ok(count),
                    None => self.take_trailer(),
                },
                State::Trailer(reader, left) => {
                    let there = reader.fill_buf()?.len();
                    if there == 0 {
                        return Ok(0);
                    }
                    let step = there.min(*left);
                    reader.consume(step);
                    *left -= step;
                    if *left == 0 {
                        self.take_members();
                    }
                }
            }
        }
    }
}

impl<R: BufRead> Resumed<'_, R> {
    fn take_trailer(&mut self) {
        self.0 = match std::mem::replace(&mut self.0, State::Ended) {
            State::Within(within) => State::Trailer(within.reader, TRAILER),
            state => state,
        };
    }

    fn take_members(&mut self) {
        self.0 = match std::mem::replace(&mut self.0, State::Ended) {
            State::Trailer(reader, 0) => State::Members(Gzip::new(reader)),
            state => state,
        };
    }
}

impl<R: BufRead> Within<R> {
    /// The next bytes, 0 where the compressed ones end; `None` at the end of the stream.
    fn read(&mut self, out: &mut [u8]) -> io::Result<Option<usize>> {
        let mut thrown = Vec::new();
        loop {
            let out = if self.history > 0 {
                thrown.resize(self.history, 0);
                &mut thrown[..]
            } else {
                &mut *out
            };
            let input = self.reader.fill_buf()?;
            let ended = input.is_empty();
            let (read, written) = (self.inflate.total_in(), self.inflate.total_out());
            let status = self.inflate.decompress(input, out, FlushDecompress::None);
            let status = status.map_err(|_| io::Error::new(ErrorKind::InvalidData, "corrupt gzip stream"))?;
            // Both differences are lengths of parts of slices.
            let read = usize::try_from(self.inflate.total_in() - read).unwrap_or(0);
            let written = usize::try_from(self.inflate.total_out() - written).unwrap_or(0);
            self.reader.consume(read);
            if self.history > 0 {
                self.history -= written;
            } else if written > 0 {
                return Ok(Some(written));
            }
            if status == Status::StreamEnd {
                return Ok(None);
            }
            if ended && written == 0 {
                return Ok(Some(0));
            }
        }
    }
}

/// The compressed bytes end where a span does, and that may be within a stream.
fn cut_is_end(outcome: io::Result<usize>) -> io::Result<usize> {
    match outcome {
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(0),
        outcome => outcome,
    }
}

impl<R: BufRead> fmt::Debug for Resumed<'_, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resumed").finish_non_exhaustive()
    }
}
