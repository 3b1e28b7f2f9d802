//! A piece of a blob that is read before it is its turn.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt;
use oci::Descriptor;
use store::{Error as StoreError, Kind};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinHandle;

use super::window::{Keep, Room};
use crate::transfer::Run;

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
    /// Begins to read when there is a slot.
    pub(super) fn new(run: &Arc<Run>, blob: &Descriptor, part: Range<u64>, age: u64, room: Room) -> Self {
        let room = Arc::new(room);
        let (sender, bytes) = unbounded_channel();
        let reading = tokio::spawn(read(Arc::clone(run), blob.clone(), part, age, Arc::clone(&room), sender));
        Self { bytes, reading, _room: room }
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

async fn read(
    run: Arc<Run>,
    blob: Descriptor,
    part: Range<u64>,
    age: u64,
    room: Arc<Room>,
    sender: UnboundedSender<Result<Kept, StoreError>>,
) {
    let _turn = run.turns.helper(age).await;
    if let Err(error) = pass(&run, &blob, part, &room, &sender).await {
        let _ = sender.send(Err(error));
    }
}

/// Hands out what has come.
async fn pass(
    run: &Run,
    blob: &Descriptor,
    part: Range<u64>,
    room: &Room,
    sender: &UnboundedSender<Result<Kept, StoreError>>,
) -> Result<(), StoreError> {
    let mut left = usize::try_from(part.end - part.start).unwrap_or(usize::MAX);
    let mut stream = run.capped(run.source.read(blob, part).await?);
    while left > 0 {
        let Some(bytes) = stream.next().await else { break };
        let mut bytes = bytes?;
        bytes.truncate(left);
        left -= bytes.len();
        run.splits.brought(bytes.len() as u64);
        for bytes in bytes.chunks(Room::MOST) {
            let kept = room.keep(bytes.len()).await;
            // What was read with it takes as much again, and would wait too.
            let bytes = Bytes::copy_from_slice(bytes);
            if sender.send(Ok((bytes, kept))).is_err() {
                // It is about to be given up.
                return Ok(());
            }
        }
    }
    if left > 0 { Err(ended_early(blob)) } else { Ok(()) }
}

/// What came of a part of a blob was not all.
pub(super) fn ended_early(blob: &Descriptor) -> StoreError {
    let doing = format!("reading blob {}", blob.digest);
    StoreError::new(Kind::Interrupted, doing, "a part of it ended early")
}
