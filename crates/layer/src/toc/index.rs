//! Inflating a layer from its beginning to its end, and noting where it could begin again.

use std::io::{self, BufRead, Chain, Cursor, ErrorKind, Read};

use flate2::{Decompress, FlushDecompress, Status as Flate2Status};
use oci::{Algorithm, Digest, Hasher};
use zlib_rs::{Inflate, InflateFlush, Status};
use zstd::stream::raw::{Decoder as ZstdDecoder, InBuffer, Operation, OutBuffer};

use super::window::{WINDOW, Windows};
use super::{Span, Start, align};
use crate::Compression;

/// How far apart spans begin.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spacing {
    /// Compressed bytes of a span that begins afresh, which costs next to nothing.
    pub(super) afresh: u64,
    /// Compressed bytes of a span that needs a history, ...
    pub(super) within: u64,
    /// ... or inflated bytes.
    pub(super) within_inflated: u64,
    /// Histories may take so many hundredths of the compressed bytes.
    pub(super) percent: u64,
}

impl Spacing {
    /// One part of a file costs a megabyte of compressed bytes at most beside its own; histories are about 1 % of the layer.
    pub(super) const USUAL: Self =
        Self { afresh: 128 << 10, within: 1 << 20, within_inflated: 4 << 20, percent: 2 };
}

/// Where a history would take too much, so many compressed bytes go by before the next is tried.
const PATIENCE: u64 = 128 << 10;

/// What a place in a stream has to inflate to before it is believed, in bytes; or all up to the end of the next block.
const TRIAL: usize = 16 << 10;

/// The most of compressed bytes that a trial keeps.
const TRIAL_INPUT: usize = 256 << 10;

/// gzip with deflate's largest window, as zlib says it.
const GZIP: u8 = 16 + 15;

/// A decoder that notes spans.
pub(super) struct Indexer<R: BufRead> {
    reader: Counted<Chain<Cursor<Vec<u8>>, R>>,
    compression: Compression,
    spacing: Spacing,
    state: State,
    inflated: u64,
    windows: Windows,
    /// Where the next history may be.
    next: u64,
    /// The last of what has been inflated of this member.
    behind: Vec<u8>,
    trial: Option<Trial>,
    /// Of the trial under way. Made once: such pieces, taken and given back among what stays, would leave the memory in holes.
    buffers: Buffers,
}

enum State {
    Plain,
    /// Between members, or behind the last one.
    Between,
    Member(Box<Inflate>),
    Padding,
    /// With whether a frame has begun.
    Zstd(Box<ZstdDecoder<'static>>, bool),
}

/// A place between two blocks, at a bit that is not known yet.
struct Trial {
    /// The byte that holds the last bits before it.
    first: u8,
    at: Mark,
    inflated: u64,
}

/// What a trial is about, and with what it is made.
struct Buffers {
    history: Vec<u8>,
    /// What came since, compressed and inflated.
    input: Vec<u8>,
    output: Vec<u8>,
    inflate: Decompress,
    before: Vec<u8>,
    again: Vec<u8>,
}

impl<R: BufRead> Indexer<R> {
    pub(super) fn new(mut reader: R, spacing: Spacing) -> io::Result<Self> {
        let mut start = Vec::new();
        reader.by_ref().take(4).read_to_end(&mut start)?;
        let compression = Compression::of(&start);
        let state = match compression {
            Compression::None => State::Plain,
            Compression::Gzip => State::Between,
            Compression::Zstd => State::Zstd(Box::new(ZstdDecoder::new()?), false),
        };
        Ok(Self {
            reader: Counted::new(Cursor::new(start).chain(reader)),
            compression,
            spacing,
            state,
            inflated: 0,
            windows: Windows::default(),
            next: 0,
            behind: Vec::new(),
            trial: None,
            buffers: Buffers::new(),
        })
    }

    /// How it is compressed, the number of compressed bytes, and the spans.
    pub(super) fn finish(self) -> (Compression, u64, Vec<Span>) {
        let size = self.reader.at;
        (self.compression, size, self.reader.finish())
    }

    /// Begins a span here, if the last one is long enough.
    fn begin_afresh(&mut self) {
        if self.reader.since() >= self.spacing.afresh || self.reader.spans.is_empty() {
            let mark = self.reader.mark(false);
            self.reader.begin(mark, self.inflated, Start::Afresh);
        }
    }

    fn plain(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.reader.reader.fill_buf()?.is_empty() {
            return Ok(0);
        }
        self.begin_afresh();
        let input = self.reader.reader.fill_buf()?;
        let count =
            input.len().min(out.len()).min(usize::try_from(self.spacing.afresh).unwrap_or(usize::MAX));
        out[..count].copy_from_slice(&input[..count]);
        self.reader.consume(count);
        Ok(count)
    }

    fn zstd(&mut self, out: &mut [u8]) -> io::Result<usize> {
        loop {
            let ended = self.reader.reader.fill_buf()?.is_empty();
            if let State::Zstd(_, false) = self.state {
                if ended {
                    return Ok(0);
                }
                self.begin_afresh();
            }
            let State::Zstd(decoder, begun) = &mut self.state else { return Ok(0) };
            let input = self.reader.reader.fill_buf()?;
            let (mut from, mut to) = (InBuffer::around(input), OutBuffer::around(&mut *out));
            let hint = decoder.run(&mut from, &mut to)?;
            let (read, written) = (from.pos(), to.pos());
            *begun = hint != 0;
            self.reader.consume(read);
            if written > 0 {
                return Ok(written);
            }
            if ended && hint != 0 {
                return Err(io::Error::new(ErrorKind::UnexpectedEof, "zstd stream is cut short"));
            }
        }
    }

    fn gzip(&mut self, out: &mut [u8]) -> io::Result<usize> {
        loop {
            if matches!(self.state, State::Between) && !self.member()? {
                return Ok(0);
            }
            let input = self.reader.reader.fill_buf()?;
            let Some(inflate) = self.state.member() else {
                if input.is_empty() {
                    return Ok(0);
                }
                if input.iter().any(|byte| *byte != 0) {
                    return Err(invalid("bytes after the end of the gzip stream"));
                }
                let length = input.len();
                self.reader.consume(length);
                continue;
            };
            let ended = input.is_empty();
            let (before_in, before_out) = (inflate.total_in(), inflate.total_out());
            let status = inflate.decompress(input, out, InflateFlush::Block);
            let status = status.map_err(|_| invalid("corrupt gzip stream"))?;
            // Both differences are lengths of parts of slices.
            let read = usize::try_from(inflate.total_in() - before_in).unwrap_or(0);
            let written = usize::try_from(inflate.total_out() - before_out).unwrap_or(0);
            let all_read = read == input.len();
            if self.trial.is_some() {
                self.buffers.input.extend_from_slice(&input[..read]);
                self.buffers.output.extend_from_slice(&out[..written]);
            }
            let last = read.checked_sub(1).map(|last| input[last]);
            self.reader.consume(read);
            remember(&mut self.behind, &out[..written]);
            self.inflated += written as u64;
            // It stopped though it could have gone on: a block ends here, or the header of the member.
            let is_between = status == Status::Ok && !all_read && written < out.len();
            if status == Status::StreamEnd {
                self.state = State::Between;
                self.give_up();
            } else if read == 0 && written == 0 && !is_between {
                return Err(if ended {
                    io::Error::new(ErrorKind::UnexpectedEof, "gzip stream is cut short")
                } else {
                    invalid("corrupt gzip stream")
                });
            }
            self.judge(is_between);
            if let (true, Some(first)) = (is_between && self.inflated > 0, last) {
                self.try_within(first);
            }
            if written > 0 {
                return Ok(written);
            }
        }
    }

    /// Begins a member, if there is one, or comes to the padding behind all.
    fn member(&mut self) -> io::Result<bool> {
        match self.reader.reader.fill_buf()?.first() {
            None => return Ok(false),
            Some(0) => self.state = State::Padding,
            Some(_) => {
                self.begin_afresh();
                self.behind.clear();
                self.state = State::Member(Box::new(Inflate::new(true, GZIP)));
            }
        }
        Ok(true)
    }

    /// Looks whether what has come since a place says enough of it.
    fn judge(&mut self, is_between: bool) {
        let Buffers { input, output, .. } = &self.buffers;
        let is_enough =
            output.len() >= TRIAL || input.len() >= TRIAL_INPUT || is_between && output.len() >= 64;
        let Some(trial) = self.trial.take_if(|_| is_enough) else { return };
        let bits = self.buffers.bits(trial.first);
        match (bits, bits.and_then(|_| self.windows.add(&self.buffers.history).ok())) {
            (Some(bits), Some(window)) => {
                self.reader.begin(trial.at, trial.inflated, Start::Within { bits, window });
            }
            _ => self.give_up(),
        }
    }

    fn give_up(&mut self) {
        self.trial = None;
        self.reader.begun = None;
    }

    /// Notes a place between blocks, if it is time for one.
    fn try_within(&mut self, first: u8) {
        let at = self.reader.at;
        let is_far = self.reader.since() >= self.spacing.within
            || self.inflated - self.reader.spans.last().map_or(0, |span| span.inflated)
                >= self.spacing.within_inflated;
        if self.trial.is_some() || !is_far || at < self.next {
            return;
        }
        if (self.windows.size() + self.windows.usual()) * 100 > at * self.spacing.percent {
            self.next = at + PATIENCE;
            return;
        }
        self.buffers.begin(&self.behind[self.behind.len().saturating_sub(WINDOW)..]);
        self.trial = Some(Trial { first, at: self.reader.mark(true), inflated: self.inflated });
    }
}

impl State {
    fn member(&mut self) -> Option<&mut Inflate> {
        match self {
            Self::Member(inflate) => Some(inflate),
            _ => None,
        }
    }
}

impl Buffers {
    fn new() -> Self {
        Self {
            history: Vec::new(),
            input: Vec::new(),
            output: Vec::new(),
            inflate: Decompress::new(false),
            before: Vec::new(),
            again: Vec::new(),
        }
    }

    fn begin(&mut self, history: &[u8]) {
        self.history.clear();
        self.history.extend_from_slice(history);
        self.input.clear();
        self.output.clear();
    }

    /// The number of bits of the first byte that are still to be read: that with which what comes inflates to what came. Where
    /// several do, they mean the same, as before a stored block, which begins at the next byte.
    fn bits(&mut self, first: u8) -> Option<u8> {
        (0..8).find(|bits| self.inflates(*bits, first))
    }

    fn inflates(&mut self, bits: u8, first: u8) -> bool {
        let Self { history, input, output, inflate, before, again: out } = self;
        inflate.reset(false);
        out.resize(history.len() + output.len(), 0);
        align::before(before, history, bits, first);
        for input in [&before[..], input] {
            let mut input = input;
            loop {
                // Lengths of parts of slices.
                let (read, written) = (inflate.total_in(), usize::try_from(inflate.total_out()).unwrap_or(0));
                match inflate.decompress(input, &mut out[written..], FlushDecompress::None) {
                    Ok(Flate2Status::StreamEnd) | Err(_) => return false,
                    Ok(Flate2Status::Ok | Flate2Status::BufError) => {}
                }
                let read = usize::try_from(inflate.total_in() - read).unwrap_or(0);
                input = &input[read..];
                let now = usize::try_from(inflate.total_out()).unwrap_or(0);
                let is_stuck = read == 0 && now == written;
                if input.is_empty() || is_stuck || now == out.len() {
                    break;
                }
            }
        }
        inflate.total_out() == out.len() as u64 && out[history.len()..] == **output
    }
}

impl<R: BufRead> Read for Indexer<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if out.is_empty() {
            return Ok(0);
        }
        if self.compression == Compression::Gzip {
            return self.gzip(out);
        }
        let count = if self.compression == Compression::None { self.plain(out) } else { self.zstd(out) }?;
        self.inflated += count as u64;
        Ok(count)
    }
}

/// Keeps the last [`WINDOW`] bytes.
fn remember(behind: &mut Vec<u8>, new: &[u8]) {
    if new.len() >= WINDOW {
        behind.clear();
        behind.extend_from_slice(&new[new.len() - WINDOW..]);
        return;
    }
    // Twice as much, so that not every piece moves all of it.
    if behind.len() + new.len() > 2 * WINDOW {
        behind.drain(..behind.len() - (WINDOW - new.len()));
    }
    behind.extend_from_slice(new);
}

/// A reader that counts what is consumed, and hashes each span of it.
struct Counted<R> {
    reader: R,
    at: u64,
    /// The last byte that was consumed.
    last: u8,
    /// Of the span that is under way.
    hasher: Hasher,
    /// Of the span that begins where the last mark is.
    begun: Option<Hasher>,
    spans: Vec<Span>,
}

/// Where a span may begin: its first byte, and the hash of what ends there.
struct Mark {
    at: u64,
    ended: Hasher,
}

impl<R: BufRead> Counted<R> {
    fn new(reader: R) -> Self {
        let hasher = Algorithm::Sha256.hasher();
        Self { reader, at: 0, last: 0, hasher, begun: None, spans: Vec::new() }
    }

    /// Passes over bytes that [`fill_buf`](BufRead::fill_buf) gave.
    fn consume(&mut self, length: usize) {
        // They lie in the buffer, which nobody needs to fill.
        if let (Ok(bytes), true) = (self.reader.fill_buf(), length > 0) {
            let bytes = &bytes[..length];
            self.hasher.update(bytes);
            if let Some(begun) = &mut self.begun {
                begun.update(bytes);
            }
            self.last = bytes[length - 1];
            self.at += length as u64;
        }
        self.reader.consume(length);
    }

    /// Compressed bytes of the span that is under way.
    fn since(&self) -> u64 {
        self.at - self.spans.last().map_or(0, |span| span.compressed)
    }

    /// A mark here, or at the byte before, which is then a part of both spans.
    fn mark(&mut self, shared: bool) -> Mark {
        let mut begun = Algorithm::Sha256.hasher();
        if shared {
            begun.update(&[self.last]);
        }
        self.begun = Some(begun);
        Mark { at: self.at - u64::from(shared), ended: self.hasher.clone() }
    }

    /// Begins a span at the last mark.
    fn begin(&mut self, mark: Mark, inflated: u64, start: Start) {
        if let Some(last) = self.spans.last_mut() {
            last.digest = hash(mark.ended);
        }
        if let Some(begun) = self.begun.take() {
            self.hasher = begun;
        }
        self.spans.push(Span { compressed: mark.at, inflated, start, digest: [0; 32] });
    }

    fn finish(mut self) -> Vec<Span> {
        if let Some(last) = self.spans.last_mut() {
            last.digest = hash(self.hasher);
        }
        self.spans
    }
}

fn hash(hasher: Hasher) -> [u8; 32] {
    match hasher.finish() {
        Digest::Sha256(hash) => hash,
        Digest::Sha512(_) => unreachable!("all hashers here are of SHA-256"),
    }
}

fn invalid(problem: &'static str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, problem)
}
