//! A blob in order, of which several parts are on their way at once.

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use oci::Descriptor;
use store::{ByteStream, Error, Ranges, Store};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bytes of a part, which are held until it is their turn.
const PART: u64 = 1 << 20;

/// The most parts that are held at once, of all blobs together.
const PARTS: usize = 8;

/// Room for parts, for blobs that are read side by side.
#[derive(Clone, Debug)]
pub(crate) struct Room(Arc<Semaphore>);

impl Default for Room {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(PARTS)))
    }
}

/// Where a part takes longer, several connections bring more than one.
const SLOW: Duration = Duration::from_millis(40);

/// Begins to read a whole blob: over one connection where that is fast, or where nothing else is known to work.
pub(crate) async fn read(
    store: &Arc<dyn Store>,
    blob: &Descriptor,
    room: &Room,
) -> Result<ByteStream, Error> {
    // It is to be worth the question.
    if store.pace().is_none() || store.ranges() == Ranges::No || blob.size < 4 * PART {
        return store.read(blob, 0..blob.size).await;
    }
    let began = Instant::now();
    let first = part(Arc::clone(store), blob.clone(), 0..PART, room.clone()).await?;
    let is_slow = began.elapsed() > SLOW;
    let rest = if is_slow && store.ranges() == Ranges::Yes {
        let starts = (PART..blob.size).step_by(usize::try_from(PART).unwrap_or(usize::MAX));
        let (store, blob, room) = (Arc::clone(store), blob.clone(), room.clone());
        let parts = stream::iter(starts).map(move |start| {
            let range = start..blob.size.min(start + PART);
            part(Arc::clone(&store), blob.clone(), range, room.clone())
        });
        let in_order = parts.buffered(PARTS);
        in_order.flat_map(|part| part.unwrap_or_else(|error| stream::iter([Err(error)]).boxed())).boxed()
    } else {
        store.read(blob, PART..blob.size).await?
    };
    Ok(first.chain(rest).boxed())
}

/// Reads a part, as soon as there is room for it.
async fn part(
    store: Arc<dyn Store>,
    blob: Descriptor,
    range: Range<u64>,
    room: Room,
) -> Result<BoxStream<'static, Result<Bytes, Error>>, Error> {
    // The semaphore is never closed, so this is always a permit.
    let permit: Option<OwnedSemaphorePermit> = room.0.acquire_owned().await.ok();
    // The host may have refused so many.
    let _slot = match store.pace() {
        Some(pace) => Some(pace.acquire(1).await),
        None => None,
    };
    let mut left = usize::try_from(range.end - range.start).unwrap_or(usize::MAX);
    let mut pieces = Vec::new();
    let mut bytes = store.read(&blob, range).await?;
    while left > 0 {
        let Some(piece) = bytes.next().await else { break };
        let mut piece = piece?;
        piece.truncate(left);
        left -= piece.len();
        pieces.push(piece);
    }
    // Room is made when the last of them is taken.
    let held = stream::iter(pieces).map(move |piece| {
        let _held = &permit;
        Ok(piece)
    });
    Ok(held.boxed())
}
