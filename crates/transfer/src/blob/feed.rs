//! A blob's bytes in order: from one connection, or, where that is what all wait for, from several.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use oci::Descriptor;
use store::{ByteStream, Error as StoreError, Kind, Ranges};
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::transfer::Run;
use crate::turns::Turn;

/// The length of a piece that is read ahead, in bytes. Each waits in memory for those before it.
pub(crate) const PIECE: u64 = 1 << 20;

/// How many pieces of a run may be in memory.
pub(crate) const WINDOW: usize = 28;

/// How long is watched before it is decided who waits for whom.
const WATCH: Duration = Duration::from_millis(200);

/// The source is what all wait for if the destination takes less than this share of the time.
const BUSY: f64 = 0.2;

pub(super) struct Feed {
    run: Arc<Run>,
    blob: Descriptor,
    age: u64,
    /// The connection that the blob began with, until where it is read.
    stream: Option<ByteStream>,
    end: u64,
    /// The next byte that comes out.
    at: u64,
    /// What comes after the stream, in order.
    ahead: VecDeque<Ahead>,
    /// The piece that is being handed out.
    piece: Piece,
    /// The next byte that nobody reads yet.
    next: u64,
    depth: usize,
    waited: Duration,
    wrote: Duration,
}

/// A piece that was read ahead, and the room it takes.
#[derive(Default)]
struct Piece {
    bytes: VecDeque<Bytes>,
    _room: Option<OwnedSemaphorePermit>,
}

/// A piece that is read ahead; given up when dropped.
struct Ahead(JoinHandle<Result<Piece, StoreError>>);

impl Drop for Ahead {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Feed {
    /// The bytes from `start` on, of which `content` gives all.
    pub(super) fn new(run: &Arc<Run>, blob: &Descriptor, start: u64, content: ByteStream) -> Self {
        Self {
            run: Arc::clone(run),
            blob: blob.clone(),
            age: run.turns.age(),
            stream: Some(run.capped(content)),
            end: blob.size,
            at: start,
            ahead: VecDeque::new(),
            piece: Piece::default(),
            next: blob.size,
            depth: 0,
            waited: Duration::ZERO,
            wrote: Duration::ZERO,
        }
    }

    /// The next bytes.
    pub(super) async fn next(&mut self, turn: &mut Turn) -> Option<Result<Bytes, StoreError>> {
        let began = Instant::now();
        let next = self.take(turn).await;
        self.waited += began.elapsed();
        if let Some(Ok(bytes)) = &next {
            self.at += bytes.len() as u64;
        }
        next
    }

    async fn take(&mut self, turn: &mut Turn) -> Option<Result<Bytes, StoreError>> {
        if let Some(stream) = &mut self.stream {
            let next = stream.next().await;
            if self.end == self.blob.size {
                return next;
            }
            // Others read what follows, so the connection ends here.
            let left = self.end.saturating_sub(self.at);
            if let Some(Ok(mut bytes)) = next {
                bytes.truncate(usize::try_from(left).unwrap_or(usize::MAX));
                if !bytes.is_empty() {
                    return Some(Ok(bytes));
                }
            } else if let Some(Err(error)) = next {
                return Some(Err(error));
            }
            self.stream = None;
            turn.end_reading();
        }
        loop {
            if let Some(bytes) = self.piece.bytes.pop_front() {
                return Some(Ok(bytes));
            }
            // Its room is another's now.
            self.piece = Piece::default();
            let mut head = self.ahead.pop_front()?;
            match (&mut head.0).await {
                Ok(Ok(piece)) => self.piece = piece,
                Ok(Err(error)) => return Some(Err(error)),
                Err(error) => std::panic::resume_unwind(error.into_panic()),
            }
            self.read_ahead();
        }
    }

    /// Notes how long the destination took for the last bytes, and decides how much is read ahead.
    pub(super) fn wrote(&mut self, took: Duration) {
        self.wrote += took;
        let total = self.waited + self.wrote;
        if total < WATCH {
            return;
        }
        let starved = self.wrote.as_secs_f64() < BUSY * total.as_secs_f64();
        (self.waited, self.wrote) = (Duration::ZERO, Duration::ZERO);
        if self.depth > 0 {
            self.depth = if starved { (self.depth * 2).min(WINDOW) } else { (self.depth / 2).max(1) };
            self.read_ahead();
        } else if starved && self.blob.size.saturating_sub(self.at) > 4 * PIECE {
            self.split();
        }
    }

    /// Lets others read what comes soon.
    fn split(&mut self) {
        if self.run.turns.are_of_one_host() {
            return;
        }
        match self.run.source.ranges() {
            Ranges::No => return,
            Ranges::Unknown => {
                // One byte tells; what it tells counts the next time.
                let (run, blob) = (Arc::clone(&self.run), self.blob.clone());
                self.run.asks_for_parts.call_once(|| {
                    tokio::spawn(async move {
                        let _turn = run.turns.helper(0).await;
                        drop(run.source.read(&blob, blob.size - 1..blob.size).await);
                    });
                });
                return;
            }
            Ranges::Yes => {}
        }
        self.end = self.at + PIECE;
        self.next = self.end;
        self.depth = 2;
        self.read_ahead();
    }

    fn read_ahead(&mut self) {
        while self.ahead.len() < self.depth && self.next < self.blob.size {
            let part = self.next..self.blob.size.min(self.next + PIECE);
            self.next = part.end;
            let read = read(Arc::clone(&self.run), self.blob.clone(), part, self.age);
            self.ahead.push_back(Ahead(tokio::spawn(read)));
        }
    }
}

/// Reads a piece whole, when there is room for it and a slot.
async fn read(run: Arc<Run>, blob: Descriptor, part: Range<u64>, age: u64) -> Result<Piece, StoreError> {
    // The semaphore is never closed, so this is always a permit. Pieces ask for room in their order, so the first that
    // is waited for always has some.
    let room = Arc::clone(&run.window).acquire_owned().await.ok();
    let _turn = run.turns.helper(age).await;
    let mut left = usize::try_from(part.end - part.start).unwrap_or(usize::MAX);
    let mut piece = Piece { bytes: VecDeque::new(), _room: room };
    let mut stream = run.capped(run.source.read(&blob, part).await?);
    while left > 0 {
        let Some(bytes) = stream.next().await else { break };
        let mut bytes = bytes?;
        bytes.truncate(left);
        left -= bytes.len();
        piece.bytes.push_back(bytes);
    }
    if left > 0 {
        let doing = format!("reading blob {}", blob.digest);
        return Err(StoreError::new(Kind::Interrupted, doing, "a part of it ended early"));
    }
    Ok(piece)
}
