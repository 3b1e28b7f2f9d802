//! How much of a run is read before its turn, and how much of that may be in memory.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How many pieces may be under way at once.
const PIECES: usize = 24;

/// How many bytes of them may be in memory, besides what each has for itself. What finds no room waits where it is: in the buffers of
/// its connection, and at the source.
const BYTES: usize = 6 << 20;

/// What each piece has for itself, in bytes: the one whose turn it is goes on whatever the others keep.
const OWN: usize = 128 << 10;

/// The room for pieces that are read before their turn.
#[derive(Debug)]
pub(crate) struct Window {
    pieces: Arc<Semaphore>,
    bytes: Arc<Semaphore>,
}

/// The room of one piece.
pub(super) struct Room {
    _piece: OwnedSemaphorePermit,
    own: Arc<Semaphore>,
    common: Arc<Semaphore>,
}

/// The right to keep some bytes, until it is dropped.
pub(super) struct Keep {
    _bytes: Option<OwnedSemaphorePermit>,
}

impl Default for Window {
    fn default() -> Self {
        Self { pieces: Arc::new(Semaphore::new(PIECES)), bytes: Arc::new(Semaphore::new(BYTES)) }
    }
}

impl Window {
    /// How many more pieces may be under way.
    pub(super) fn free(&self) -> usize {
        self.pieces.available_permits()
    }

    /// Room for a piece, if there is any.
    pub(super) fn room(&self) -> Option<Room> {
        let piece = Arc::clone(&self.pieces).try_acquire_owned().ok()?;
        Some(Room { _piece: piece, own: Arc::new(Semaphore::new(OWN)), common: Arc::clone(&self.bytes) })
    }
}

impl Room {
    /// The longest that may be kept at once, in bytes.
    pub(super) const MOST: usize = OWN;

    /// Waits until so many bytes may be kept, [`Self::MOST`] at most.
    pub(super) async fn keep(&self, bytes: usize) -> Keep {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        let room = tokio::select! {
            biased;
            room = Arc::clone(&self.own).acquire_many_owned(bytes) => room,
            room = Arc::clone(&self.common).acquire_many_owned(bytes) => room,
        };
        // The semaphores are never closed, so this is always a permit.
        Keep { _bytes: room.ok() }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    /// So many bytes at once, until there is no room.
    fn fill(room: &Room) -> Vec<Keep> {
        std::iter::from_fn(|| room.keep(Room::MOST).now_or_never()).collect()
    }

    #[test]
    fn each_has_room_when_another_has_taken_all() {
        let window = Window::default();
        let [first, second] = [(); 2].map(|()| window.room().unwrap());
        let mut all = fill(&first);
        assert_eq!(all.len() * Room::MOST, OWN + BYTES);
        let own = fill(&second);
        assert_eq!(own.len() * Room::MOST, OWN);
        all.pop();
        let given = fill(&second);
        assert_eq!(given.len(), 1, "what one gives back another may have");
        drop(own);
        assert_eq!(fill(&second).len(), 1);
    }

    #[test]
    fn so_many_pieces_and_no_more() {
        let window = Window::default();
        let mut rooms: Vec<Room> = std::iter::from_fn(|| window.room()).take(PIECES + 1).collect();
        assert_eq!((rooms.len(), window.free()), (PIECES, 0));
        rooms.pop();
        assert_eq!((window.free(), window.room().is_some()), (1, true));
    }
}
