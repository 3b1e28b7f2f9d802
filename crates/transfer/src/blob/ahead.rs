//! A piece of a blob that is read before it is its turn.

use std::future::Future;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use oci::Descriptor;
use store::{Error as StoreError, Kind};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::window::{Keep, Room};
use crate::transfer::Run;
use crate::turns::Turn;

/// How long a connection waits for room: longer than docker-registry writes a blob to its disk, and shorter than servers wait for who
/// reads nothing.
const PATIENCE: Duration = Duration::from_secs(2);

/// A piece that is read ahead, as it comes; given up when dropped.
pub(super) struct Ahead {
    bytes: UnboundedReceiver<Result<Kept, StoreError>>,
    reading: JoinHandle<()>,
    /// Another piece has it when this one has been handed out.
    _room: Arc<Room>,
}

/// Bytes that wait, and their room.
type Kept = (Bytes, Keep);

impl Ahead {
    /// Begins to read when there is a slot; of those of a blob the first that was made comes first.
    pub(super) fn new(run: &Arc<Run>, blob: &Descriptor, part: Range<u64>, age: u64, room: Room) -> Self {
        let (sender, bytes) = unbounded_channel();
        let room = Arc::new(room);
        let turn = run.turns.helper(age);
        let piece =
            Piece { run: Arc::clone(run), blob: blob.clone(), part, age, room: Arc::clone(&room), sender };
        Self { bytes, reading: tokio::spawn(piece.read(turn)), _room: room }
    }

    /// Whether nothing of it is to come any more.
    pub(super) fn is_whole(&self) -> bool {
        self.reading.is_finished()
    }

    /// The next bytes, when they are there.
    pub(super) async fn next(&mut self) -> Option<Result<Bytes, StoreError>> {
        let next = self.bytes.recv().await.map(|kept| kept.map(|(bytes, _)| bytes));
        if next.is_none()
            && let Err(error) = (&mut self.reading).await
        {
            std::panic::resume_unwind(error.into_panic());
        }
        next
    }
}

impl Drop for Ahead {
    fn drop(&mut self) {
        self.reading.abort();
    }
}

/// What the task works on that reads a piece.
struct Piece {
    run: Arc<Run>,
    blob: Descriptor,
    /// What is still to be read.
    part: Range<u64>,
    age: u64,
    room: Arc<Room>,
    sender: UnboundedSender<Result<Kept, StoreError>>,
}

impl Piece {
    async fn read(mut self, turn: impl Future<Output = Turn>) {
        let mut turn = turn.await;
        loop {
            if let Err(error) = self.pass(turn).await {
                let _ = self.sender.send(Err(error));
                return;
            }
            if self.part.is_empty() || self.sender.is_closed() {
                return;
            }
            turn = self.run.turns.helper(self.age).await;
        }
    }

    /// Hands out what comes, to the end, or until a long wait for room.
    async fn pass(&mut self, turn: Turn) -> Result<(), StoreError> {
        let mut connection =
            Some((self.run.capped(self.run.source.read(&self.blob, self.part.clone()).await?), turn));
        while let Some((stream, _)) = &mut connection
            && !self.part.is_empty()
        {
            let mut bytes = stream.next().await.ok_or_else(|| ended_early(&self.blob))??;
            bytes.truncate(usize::try_from(self.part.end - self.part.start).unwrap_or(usize::MAX));
            self.part.start += bytes.len() as u64;
            self.run.splits.brought(bytes.len() as u64);
            for bytes in bytes.chunks(Room::MOST) {
                let kept = if let Ok(kept) = timeout(PATIENCE, self.room.keep(bytes.len())).await {
                    kept
                } else {
                    // Others may have the connection and the slot meanwhile.
                    connection = None;
                    self.room.keep(bytes.len()).await
                };
                // What was read with it takes as much again, and would wait too.
                let bytes = Bytes::copy_from_slice(bytes);
                if self.sender.send(Ok((bytes, kept))).is_err() {
                    // It is about to be given up.
                    return Ok(());
                }
            }
        }
        Ok(())
    }
}

/// What came of a part of a blob was not all.
pub(super) fn ended_early(blob: &Descriptor) -> StoreError {
    let doing = format!("reading blob {}", blob.digest);
    StoreError::new(Kind::Interrupted, doing, "a part of it ended early")
}
