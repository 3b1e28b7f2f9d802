//! Chunks of contents, as an index names them: inflated one by one, and proven by what they inflate to.

use std::io::{self, BufRead, ErrorKind, Read, Take};
use std::ops::Range;

use oci::{Algorithm, Digest, Hasher};

use crate::Compression;
use crate::gzip::Gzip;

/// Longer chunks are not held in memory until they are proven, in bytes. The usual ones are: 4 MiB in eStargz, 64 KiB in zstd:chunked.
const HELD: u64 = 8 << 20;

/// What is passed over at a time, in bytes.
const SKIPPED: usize = 8 << 10;

/// A content of a layer, or a part of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Chunk {
    /// The compressed bytes that inflate to it, from the beginning of a member or frame on. Several may have the same.
    pub(crate) compressed: Range<u64>,
    /// How many inflated bytes of these come before it.
    pub(crate) skip: u64,
    /// Where it begins, in all contents one behind the other.
    pub(crate) inflated: u64,
    /// Its inflated bytes.
    pub(crate) length: u64,
    /// SHA-256 of these.
    pub(crate) digest: [u8; 32],
}

/// The contents from a chunk on.
pub(super) struct Chunks<'a, R: BufRead> {
    compression: Compression,
    /// Those to come, of which the first may have begun.
    rest: &'a [Chunk],
    /// Position of the reader's next byte.
    at: u64,
    state: State<R>,
    /// Of the first chunk, all of which has been proven.
    held: io::Cursor<Vec<u8>>,
}

enum State<R: BufRead> {
    /// Between members.
    Between(R),
    Member(Box<Member<R>>),
    /// Behind an error.
    Failed,
}

/// Compressed bytes that are being inflated.
struct Member<R: BufRead> {
    compressed: Range<u64>,
    inflate: Inflate<Take<R>>,
    /// How many bytes it has given.
    given: u64,
    /// Of the chunk under way, and how many bytes of it are to come.
    hasher: Hasher,
    left: u64,
}

enum Inflate<R: BufRead> {
    Gzip(Gzip<R>),
    Zstd(zstd::stream::read::Decoder<'static, R>),
}

impl<'a, R: BufRead> Chunks<'a, R> {
    pub(super) fn new(compression: Compression, chunks: &'a [Chunk], reader: R) -> Self {
        let at = chunks.first().map_or(0, |chunk| chunk.compressed.start);
        Self { compression, rest: chunks, at, state: State::Between(reader), held: io::Cursor::default() }
    }

    /// Comes to the first chunk.
    fn begin(&mut self, chunk: &Chunk) -> io::Result<&mut Member<R>> {
        let state = std::mem::replace(&mut self.state, State::Failed);
        let mut member = match state {
            State::Failed => return Err(invalid("it went wrong before")),
            State::Member(member) if member.compressed == chunk.compressed => member,
            State::Member(member) => {
                let Member { inflate, compressed, .. } = *member;
                let mut reader = inflate.into_inner();
                let left = reader.limit();
                skip(&mut reader, left)?;
                self.at = compressed.end;
                Box::new(self.open(chunk, reader.into_inner())?)
            }
            State::Between(reader) => Box::new(self.open(chunk, reader)?),
        };
        let before = chunk.skip.checked_sub(member.given).ok_or_else(|| invalid("chunks overlap"))?;
        skip(&mut member.inflate, before)?;
        (member.given, member.left, member.hasher) = (chunk.skip, chunk.length, Algorithm::Sha256.hasher());
        self.state = State::Member(member);
        match &mut self.state {
            State::Member(member) => Ok(member),
            _ => Err(invalid("it went wrong before")),
        }
    }

    fn open(&self, chunk: &Chunk, mut reader: R) -> io::Result<Member<R>> {
        let compressed = chunk.compressed.clone();
        skip(&mut reader, compressed.start.checked_sub(self.at).ok_or_else(|| invalid("chunks overlap"))?)?;
        let reader = reader.take(compressed.end - compressed.start);
        let inflate = match self.compression {
            Compression::Zstd => Inflate::Zstd(zstd::stream::read::Decoder::with_buffer(reader)?),
            _ => Inflate::Gzip(Gzip::new(reader)),
        };
        Ok(Member { compressed, inflate, given: 0, hasher: Algorithm::Sha256.hasher(), left: 0 })
    }

    fn next(&mut self, out: &mut [u8]) -> io::Result<usize> {
        loop {
            let count = self.held.read(out)?;
            if count > 0 {
                return Ok(count);
            }
            let Some((chunk, rest)) = self.rest.split_first() else { return Ok(0) };
            let has_begun = matches!(&self.state, State::Member(member) if member.left > 0);
            if has_begun && let State::Member(member) = &mut self.state {
                let count = member.read(out)?;
                if member.left == 0 {
                    member.prove(chunk)?;
                    self.rest = rest;
                }
                return Ok(count);
            }
            let member = self.begin(chunk)?;
            if chunk.length <= HELD {
                // At most 8 MiB.
                let mut held = vec![0; usize::try_from(chunk.length).unwrap_or(0)];
                let mut filled = 0;
                while filled < held.len() {
                    filled += member.read(&mut held[filled..])?;
                }
                member.prove(chunk)?;
                self.held = io::Cursor::new(held);
                self.rest = rest;
            }
        }
    }
}

impl<R: BufRead> Read for Chunks<'_, R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let read = if out.is_empty() { Ok(0) } else { self.next(out) };
        if read.is_err() {
            self.state = State::Failed;
        }
        read
    }
}

impl<R: BufRead> Member<R> {
    /// Bytes of the chunk under way; one at least.
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).map_or(out.len(), |left| left.min(out.len()));
        let count = self.inflate.read(&mut out[..most])?;
        if count == 0 {
            return Err(io::Error::new(ErrorKind::UnexpectedEof, "a chunk is cut short"));
        }
        self.hasher.update(&out[..count]);
        self.given += count as u64;
        self.left -= count as u64;
        Ok(count)
    }

    /// Whether the chunk, all of which has been read, is what it should be.
    fn prove(&mut self, chunk: &Chunk) -> io::Result<()> {
        let hasher = std::mem::replace(&mut self.hasher, Algorithm::Sha256.hasher());
        if hasher.finish() == Digest::Sha256(chunk.digest) {
            Ok(())
        } else {
            Err(invalid("a chunk is not what the index says"))
        }
    }
}

impl<R: BufRead> Inflate<R> {
    fn into_inner(self) -> R {
        match self {
            Self::Gzip(gzip) => gzip.into_inner(),
            Self::Zstd(zstd) => zstd.finish(),
        }
    }
}

impl<R: BufRead> Read for Inflate<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Gzip(gzip) => gzip.read(out),
            Self::Zstd(zstd) => zstd.read(out),
        }
    }
}

/// Passes over so many bytes, all of which have to be there.
fn skip(reader: &mut impl Read, mut count: u64) -> io::Result<()> {
    let mut passed = [0; SKIPPED];
    while count > 0 {
        let most = usize::try_from(count).map_or(SKIPPED, |count| count.min(SKIPPED));
        match reader.read(&mut passed[..most])? {
            0 => return Err(io::Error::new(ErrorKind::UnexpectedEof, "the layer is cut short")),
            read => count -= read as u64,
        }
    }
    Ok(())
}

fn invalid(problem: &'static str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, problem)
}
