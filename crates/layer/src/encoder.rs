//! From the bytes of a tar archive to the bytes that a registry keeps.

use std::fmt;
use std::io::{self, ErrorKind, Write};
use std::num::NonZeroUsize;

use zstd::zstd_safe::CParameter;

use crate::Encoding;
use crate::deflate::GzipWriter;

/// Compresses what is written on up to `threads` threads; bytes depend on content and encoding alone, never on threads, sizes of
/// writes or timing.
///
/// They are equal for one version of hoist: other tools, and later versions of the libraries, compress the same content to other
/// bytes. gzip is one member whose header says nothing, with neither name nor time; zstd is one frame with a checksum, as `zstd`
/// writes it.
///
/// Call [`finish`](Self::finish) at the end; dropped before it, what was written is cut short and no thread is left behind.
/// `flush` passes on what is compressed already and no more, for the bytes would tell where it was called.
///
/// With gzip and one thread the caller's thread does the work. gzip takes less than 5 MiB of memory a thread, zstd about 30 MiB at
/// level 3 and 90 MiB at level 19.
pub struct Encoder<W: Write> {
    encoding: Encoding,
    stream: Stream<W>,
}

enum Stream<W: Write> {
    Plain(W),
    Gzip(Box<GzipWriter<W>>),
    Zstd(zstd::stream::write::Encoder<'static, W>),
}

/// More threads than any machine is faster for, and fewer than either compressor refuses: zstd takes no more than 64 on a 32-bit
/// machine.
const MOST_THREADS: NonZeroUsize = NonZeroUsize::new(64).expect("not zero");

/// The highest level of zstd whose jobs are made small, and how small, in bytes: its own choice, four windows, takes twice the
/// memory and compresses no better.
const SMALL_JOBS: i32 = 9;
const JOB: u32 = 2 << 20;

impl<W: Write> Encoder<W> {
    /// Begins a layer in `out`.
    ///
    /// # Errors
    ///
    /// When `out` refuses the header, there is no memory for a zstd context, or the level is none
    /// ([`InvalidInput`](ErrorKind::InvalidInput)).
    pub fn new(out: W, encoding: Encoding, threads: NonZeroUsize) -> io::Result<Self> {
        encoding.check().map_err(|problem| io::Error::new(ErrorKind::InvalidInput, problem))?;
        let threads = threads.min(MOST_THREADS).get();
        let stream = match encoding {
            Encoding::None => Stream::Plain(out),
            Encoding::Gzip(level) => Stream::Gzip(Box::new(GzipWriter::new(out, level, threads)?)),
            Encoding::Zstd(level) => {
                let mut encoder = zstd::stream::write::Encoder::new(out, level)?;
                encoder.include_checksum(true)?;
                // One worker too: it cuts the content as many do, which the way without workers does not.
                encoder.multithread(u32::try_from(threads).unwrap_or(1))?;
                if level <= SMALL_JOBS {
                    encoder.set_parameter(CParameter::JobSize(JOB))?;
                }
                Stream::Zstd(encoder)
            }
        };
        Ok(Self { encoding, stream })
    }

    /// Writes what is left and ends the layer. Gives back `out`, which it does not flush.
    ///
    /// # Errors
    ///
    /// When `out` refuses bytes or a thread has failed.
    pub fn finish(self) -> io::Result<W> {
        match self.stream {
            Stream::Plain(out) => Ok(out),
            Stream::Gzip(gzip) => gzip.finish(),
            Stream::Zstd(zstd) => zstd.finish(),
        }
    }
}

impl<W: Write> Write for Encoder<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.stream {
            Stream::Plain(out) => out.write(bytes),
            Stream::Gzip(gzip) => gzip.write(bytes),
            // An empty write could begin the frame without anything in it.
            Stream::Zstd(_) if bytes.is_empty() => Ok(0),
            Stream::Zstd(zstd) => zstd.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.stream {
            Stream::Plain(out) => out.flush(),
            Stream::Gzip(gzip) => gzip.flush(),
            Stream::Zstd(zstd) => zstd.get_mut().flush(),
        }
    }
}

impl<W: Write> fmt::Debug for Encoder<W> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Encoder").field("encoding", &self.encoding).finish_non_exhaustive()
    }
}
