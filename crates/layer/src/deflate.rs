//! Writing gzip (RFC 1952) on several threads, as pigz does: the content is cut into blocks of one size, each is deflated with what
//! comes before it as a dictionary, and all are put together to one member. Where the cuts are depends on the content's length
//! alone, so that the number of threads never shows.

use std::io::{self, Write};
use std::mem;

use crc32fast::Hasher;
use flate2::{Compress, Compression as Level, FlushCompress, Status};

use crate::workers::Workers;

/// Content of each block but the last. Larger ones are neither smaller nor faster; in them a thread waits longer for another.
const BLOCK: usize = 256 * 1024;

/// As far as deflate looks back.
const DICTIONARY: usize = 32 * 1024;

/// Room for a deflated block: a byte of content takes nine bits at most (literals of fixed codes, which level 1 always has), and
/// there is something between and behind them. One size for all blocks: where deflate cuts its own blocks may depend on it.
const DEFLATED: usize = BLOCK + BLOCK / 4;

/// deflate, no flags, no time, nothing about the level, an unknown system (section 2.3.1).
const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];

/// One member.
pub(crate) struct GzipWriter<W> {
    out: W,
    level: Level,
    /// Filled by writes. A full one waits for the next byte: it may be the last.
    current: Block,
    spare: Vec<Block>,
    /// Deflates on the caller's thread: all blocks, or the only one.
    here: Option<Deflater>,
    threads: usize,
    workers: Workers<Block>,
    checksum: Hasher,
    /// An error left bytes out.
    broken: bool,
}

/// A piece of content, and what it is deflated to.
#[derive(Default)]
struct Block {
    /// The end of the content before, and the content.
    bytes: Vec<u8>,
    /// The length of the former.
    dictionary: usize,
    last: bool,
    deflated: Vec<u8>,
    checksum: Hasher,
}

impl<W: Write> GzipWriter<W> {
    pub(crate) fn new(mut out: W, level: u32, threads: usize) -> io::Result<Self> {
        out.write_all(&HEADER)?;
        let level = Level::new(level);
        let workers = Workers::new(threads, move || {
            let mut deflater = Deflater::new(level);
            Box::new(move |block: &mut Block| deflater.run(block))
        });
        Ok(Self {
            out,
            level,
            current: Block::default(),
            spare: vec![],
            here: None,
            threads,
            workers,
            checksum: Hasher::new(),
            broken: false,
        })
    }

    pub(crate) fn finish(mut self) -> io::Result<W> {
        self.current.last = true;
        let last = mem::take(&mut self.current);
        self.deflate(last)?;
        while let Some(block) = self.workers.oldest()? {
            self.put(block)?;
        }
        // The length modulo 2^32 (section 2.3.1).
        let length = (self.checksum.total_len() & u64::from(u32::MAX)).to_le_bytes();
        self.out.write_all(&self.checksum.finalize().to_le_bytes())?;
        self.out.write_all(&length[..4])?;
        Ok(self.out)
    }

    /// Has the block that is full deflated, and begins the next.
    fn next(&mut self) -> io::Result<()> {
        let mut next = self.spare.pop().unwrap_or_default();
        next.follow(&self.current);
        let full = mem::replace(&mut self.current, next);
        self.deflate(full)
    }

    fn deflate(&mut self, mut block: Block) -> io::Result<()> {
        if mem::replace(&mut self.broken, true) {
            return Err(io::Error::other("the layer has lost bytes in an earlier error"));
        }
        // No thread for the only block.
        if self.threads == 1 || block.last && self.workers.unused() {
            self.here.get_or_insert_with(|| Deflater::new(self.level)).run(&mut block)?;
            self.put(block)?;
        } else {
            while let Some(done) = self.workers.room()? {
                self.put(done)?;
            }
            self.workers.give(block)?;
        }
        self.broken = false;
        Ok(())
    }

    fn put(&mut self, block: Block) -> io::Result<()> {
        self.out.write_all(&block.deflated)?;
        self.checksum.combine(&block.checksum);
        self.spare.push(block);
        Ok(())
    }
}

impl<W: Write> Write for GzipWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.current.room() == 0 && !bytes.is_empty() {
            self.next()?;
        }
        let count = bytes.len().min(self.current.room());
        self.current.bytes.extend_from_slice(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

impl Block {
    /// How much more content fits.
    fn room(&self) -> usize {
        BLOCK + self.dictionary - self.bytes.len()
    }

    /// Becomes the block after a full one.
    fn follow(&mut self, before: &Self) {
        self.bytes.clear();
        self.bytes.extend_from_slice(&before.bytes[before.bytes.len() - DICTIONARY..]);
        self.dictionary = DICTIONARY;
    }
}

/// Deflates blocks, one after the other or not.
struct Deflater {
    level: Level,
    /// [`DEFLATED`] long.
    buffer: Vec<u8>,
}

impl Deflater {
    fn new(level: Level) -> Self {
        Self { level, buffer: vec![0; DEFLATED] }
    }

    fn run(&mut self, block: &mut Block) -> io::Result<()> {
        let (dictionary, content) = block.bytes.split_at(block.dictionary);
        // Never one that has been used: zlib-rs leaves the old window behind when it is reset, and hashes a byte of it with the
        // end of the dictionary. Then a block would be deflated otherwise after one block than after another.
        let mut compress = Compress::new(self.level, false);
        if !dictionary.is_empty() {
            compress.set_dictionary(dictionary)?;
        }
        let flush = if block.last { FlushCompress::Finish } else { FlushCompress::Sync };
        let status = compress.compress(content, &mut self.buffer, flush)?;
        // Lengths of parts of slices.
        let read = usize::try_from(compress.total_in()).unwrap_or(0);
        let written = usize::try_from(compress.total_out()).unwrap_or(0);
        // A flush is complete when there is room behind it.
        let complete = if block.last { status == Status::StreamEnd } else { written < self.buffer.len() };
        if read != content.len() || !complete {
            return Err(io::Error::other("deflate took more room than it can"));
        }
        block.deflated.clear();
        block.deflated.extend_from_slice(&self.buffer[..written]);
        block.checksum = Hasher::new();
        block.checksum.update(content);
        Ok(())
    }
}
