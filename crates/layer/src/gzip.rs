//! Reading gzip (RFC 1952), member after member.

use std::io::{self, BufRead, ErrorKind, Read};

use flate2::{Decompress, FlushDecompress, Status};

/// Inflates every member of a gzip file, checks each one's checksum and length, and accepts nothing but zeros after the last,
/// as `gzip` itself does (tapes and block devices fill up with them).
///
/// flate2's own reader for many members refuses the zeros; it is as fast.
pub(crate) struct Gzip<R> {
    reader: R,
    state: State,
}

enum State {
    /// At the beginning of a member, or behind the last.
    Between,
    Member(Box<Decompress>),
    Padding,
}

/// The exponent of deflate's window, which is always of this size in gzip.
const WINDOW_BITS: u8 = 15;

impl<R: BufRead> Gzip<R> {
    pub(crate) fn new(reader: R) -> Self {
        Self { reader, state: State::Between }
    }

    /// The reader, wherever it is.
    pub(crate) fn into_inner(self) -> R {
        self.reader
    }
}

impl<R: BufRead> Read for Gzip<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if out.is_empty() {
            return Ok(0);
        }
        loop {
            let input = self.reader.fill_buf()?;
            match &mut self.state {
                State::Between => match input.first() {
                    None => return Ok(0),
                    Some(0) => self.state = State::Padding,
                    Some(_) => self.state = State::Member(Box::new(Decompress::new_gzip(WINDOW_BITS))),
                },
                State::Padding => {
                    if input.is_empty() {
                        return Ok(0);
                    }
                    if input.iter().any(|byte| *byte != 0) {
                        return Err(invalid("bytes after the end of the gzip stream"));
                    }
                    let length = input.len();
                    self.reader.consume(length);
                }
                State::Member(inflate) => {
                    let (read, written) = (inflate.total_in(), inflate.total_out());
                    let status = inflate.decompress(input, out, FlushDecompress::None);
                    let status = status.map_err(|_| invalid("corrupt gzip stream"))?;
                    let ended = input.is_empty();
                    // Both differences are lengths of parts of slices.
                    let read = usize::try_from(inflate.total_in() - read).unwrap_or(0);
                    let written = usize::try_from(inflate.total_out() - written).unwrap_or(0);
                    self.reader.consume(read);
                    if status == Status::StreamEnd {
                        self.state = State::Between;
                    } else if read == 0 && written == 0 {
                        return Err(if ended {
                            io::Error::new(ErrorKind::UnexpectedEof, "gzip stream is cut short")
                        } else {
                            invalid("corrupt gzip stream")
                        });
                    }
                    if written > 0 {
                        return Ok(written);
                    }
                }
            }
        }
    }
}

fn invalid(problem: &'static str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, problem)
}
