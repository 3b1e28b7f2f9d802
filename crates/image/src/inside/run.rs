//! Files that lie near each other in a layer, read with one request.

use std::collections::VecDeque;
use std::io::{self, BufReader, Read};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use futures_util::StreamExt;
use layer::{Compression, Origin, Toc};
use oci::Descriptor;
use tokio::sync::mpsc;

use super::{Looking, Wanted};
use crate::Error;
use crate::feed;

/// Longer spans are not held in memory, in compressed bytes.
const LONG: u64 = 16 << 20;

/// Compressed bytes that nobody wants, but that cost less than another request.
const GAP: u64 = 1 << 20;

/// What is read at a time from what is inflated, in bytes.
const BUFFER: usize = 64 << 10;

type ReadBody = Box<dyn FnMut(usize, &mut dyn Read) -> Result<(), Error> + Send>;

/// Files that are still to be read.
pub(super) struct Run {
    pub(super) bodies: Arc<dyn Wanted>,
    /// The index of the first that is left.
    pub(super) next: usize,
    pub(super) read: ReadBody,
}

impl Run {
    /// The indexes of those that are left.
    pub(super) fn left(&self) -> Range<usize> {
        self.next..self.bodies.count()
    }

    fn ended(self) -> (End, Self) {
        (if self.left().is_empty() { End::Done } else { End::More }, self)
    }
}

/// How a run ended.
pub(super) enum End {
    /// All files have been read.
    Done,
    /// Some are left, farther away.
    More,
    /// The bytes were not those of the table; the file that they were for is left too.
    Wrong,
}

/// Whether a span is too long to be held in memory until it is proven.
pub(super) fn is_long(toc: &Toc, span: usize) -> bool {
    let compressed = toc.compressed(span);
    toc.proves_compressed() && compressed.end - compressed.start > LONG
}

/// Reads files until there is a gap.
pub(super) async fn read(
    looking: &Looking,
    blob: &Descriptor,
    toc: &Arc<Toc>,
    run: Run,
) -> Result<(End, Run), Error> {
    let Some((spans, count)) = near(toc, &run) else {
        // What has no bytes needs none.
        return tokio::task::spawn_blocking(move || empty(run)).await?;
    };
    let compressed = toc.compressed(spans.start).start..toc.compressed(spans.end - 1).end;
    let (sender, feed) = feed::pair();
    let wrong = Arc::new(AtomicBool::new(false));
    let reading = {
        let (toc, wrong, first) = (Arc::clone(toc), Arc::clone(&wrong), spans.start);
        tokio::task::spawn_blocking(move || inflate(&toc, first, count, feed, &wrong, run))
    };
    let sent = feed_spans(looking, blob, toc, (spans, compressed), sender, &wrong).await;
    let outcome = reading.await?;
    sent?;
    outcome
}

/// The spans of the next files that are near each other, and how many files these are; `None` if the next one has no bytes.
fn near(toc: &Toc, run: &Run) -> Option<(Range<usize>, usize)> {
    let cover = |index: usize| {
        let body = run.bodies.get(index);
        if body.stored() == 0 {
            return 0..0;
        }
        let start = body.offset.saturating_sub(toc.lead());
        toc.cover(start..body.offset.saturating_add(body.stored())).spans
    };
    let mut left = run.left().map(cover);
    let mut spans = left.next()?;
    if spans.is_empty() {
        return None;
    }
    let mut count = 1;
    for next in left {
        if !next.is_empty() {
            let end = toc.compressed(spans.end - 1).end;
            if toc.compressed(next.start).start > end + GAP {
                break;
            }
            spans.end = spans.end.max(next.end);
        }
        count += 1;
    }
    Some((spans, count))
}

/// Passes on spans, each when all of it is there and proven; or as they come, if what they inflate to is going to be.
async fn feed_spans(
    looking: &Looking,
    blob: &Descriptor,
    toc: &Toc,
    (spans, compressed): (Range<usize>, Range<u64>),
    sender: mpsc::Sender<Bytes>,
    wrong: &AtomicBool,
) -> Result<(), Error> {
    let mut stream = match blob.embedded() {
        Some(content) => {
            let range =
                usize::try_from(compressed.start).unwrap_or(0)..usize::try_from(compressed.end).unwrap_or(0);
            let part = content.get(range).unwrap_or_default().to_vec();
            futures_util::stream::iter([Ok(Bytes::from(part))]).boxed()
        }
        // One frame: what was read for the table is kept.
        None if toc.proves_compressed() && toc.compression == Compression::Zstd && toc.spans() == 1 => {
            looking.whole.read(blob, compressed.clone()).await?
        }
        None => looking.store.read(blob, compressed.clone()).await?,
    };
    if !toc.proves_compressed() {
        while let Some(piece) = stream.next().await {
            if sender.send(piece?).await.is_err() {
                return Ok(());
            }
        }
        return Ok(());
    }
    // Pieces stay what they are: large buffers that come and go would leave the memory in holes.
    let mut held = Held::default();
    for span in spans.clone() {
        let range = toc.compressed(span);
        let length = usize::try_from(range.end - range.start).unwrap_or(usize::MAX);
        while held.length < length {
            match stream.next().await {
                Some(piece) => held.push(piece?),
                None => break,
            }
        }
        if held.length < length || !toc.proves(span, held.first(length)) {
            wrong.store(true, Ordering::Relaxed);
            return Ok(());
        }
        // The next one may begin with the last byte of this one.
        let own = match toc.compressed_start(span + 1) {
            Some(next) if span + 1 < spans.end => usize::try_from(next - range.start).unwrap_or(length),
            _ => length,
        };
        for piece in held.take(own) {
            if sender.send(piece).await.is_err() {
                // It has all that it wanted.
                return Ok(());
            }
        }
    }
    Ok(())
}

/// Bytes that have come, in pieces.
#[derive(Default)]
struct Held {
    pieces: VecDeque<Bytes>,
    length: usize,
}

impl Held {
    fn push(&mut self, piece: Bytes) {
        self.length += piece.len();
        self.pieces.push_back(piece);
    }

    /// The first so many bytes.
    fn first(&self, mut count: usize) -> impl Iterator<Item = &[u8]> {
        self.pieces.iter().map_while(move |piece| {
            let part = &piece[..piece.len().min(count)];
            count -= part.len();
            (!part.is_empty()).then_some(part)
        })
    }

    /// Takes the first so many bytes, of those that are there.
    fn take(&mut self, mut count: usize) -> Vec<Bytes> {
        let mut taken = Vec::new();
        while let Some(piece) = self.pieces.front_mut().filter(|_| count > 0) {
            let part = piece.split_to(piece.len().min(count));
            if piece.is_empty() {
                self.pieces.pop_front();
            }
            count -= part.len();
            self.length -= part.len();
            taken.push(part);
        }
        taken
    }
}

/// Inflates from a span on and reads so many files of what comes.
fn inflate(
    toc: &Toc,
    span: usize,
    count: usize,
    feed: feed::Feed,
    wrong: &AtomicBool,
    mut run: Run,
) -> Result<(End, Run), Error> {
    let mut at = toc.inflated(span);
    let Ok(inflated) = toc.resume(span, feed) else { return Ok((End::Wrong, run)) };
    let mut inflated = BufReader::with_capacity(BUFFER, inflated);
    for index in run.left().take(count) {
        let body = run.bodies.get(index);
        if body.stored() == 0 {
            (run.read)(index, &mut io::empty())?;
            run.next = index + 1;
            continue;
        }
        // Files that lie within each other, which no tar has, are read again.
        let Some(skip) = body.offset.checked_sub(at + toc.lead()) else { break };
        let before = before(&mut inflated, skip, toc.lead());
        if before.as_ref().is_ok_and(|lead| !toc.confirms(lead, body)) {
            return Ok((End::Wrong, run));
        }
        let has_begun = before.is_ok();
        let mut stored = Counted { reader: (&mut inflated).take(body.stored()), count: 0, failed: false };
        let outcome = match before {
            Ok(_) => (run.read)(index, &mut stored),
            Err(source) => Err(Error::Body { source }),
        };
        // What an index of others leads to is what it says, or the index is wrong.
        let is_unproven = toc.origin != Origin::Layer && (stored.failed || !has_begun);
        if is_unproven || (outcome.is_err() || stored.failed) && wrong.load(Ordering::Relaxed) {
            return Ok((End::Wrong, run));
        }
        outcome?;
        at = body.offset + stored.count;
        run.next = index + 1;
    }
    Ok(run.ended())
}

/// Passes over so many bytes, and gives so many behind them.
fn before(inflated: &mut impl Read, skip: u64, lead: u64) -> io::Result<Vec<u8>> {
    let skipped = io::copy(&mut inflated.take(skip), &mut io::sink())?;
    let mut read = Vec::new();
    inflated.take(lead).read_to_end(&mut read)?;
    if (skipped, read.len() as u64) == (skip, lead) {
        Ok(read)
    } else {
        Err(io::ErrorKind::UnexpectedEof.into())
    }
}

/// Reads the files at the front that have no bytes.
fn empty(mut run: Run) -> Result<(End, Run), Error> {
    for index in run.left() {
        if run.bodies.get(index).stored() > 0 {
            break;
        }
        (run.read)(index, &mut io::empty())?;
        run.next = index + 1;
    }
    Ok(run.ended())
}

/// What is stored of a file: ends with an error where the bytes end too early.
struct Counted<R> {
    reader: io::Take<R>,
    count: u64,
    failed: bool,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let read = self.reader.read(out);
        match &read {
            Ok(0) if !out.is_empty() && self.reader.limit() > 0 => {
                self.failed = true;
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            Ok(count) => self.count += *count as u64,
            Err(_) => self.failed = true,
        }
        read
    }
}
