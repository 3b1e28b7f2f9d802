//! How many blobs move at once where this machine is what all wait for.
//!
//! Blobs that share a processor and a disk take as long together as one after the other. But side by side they fill the
//! processor's cache, and all come to their ends at once, where the destination writes to the disk what it has kept so far.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use store::Pace;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};

use crate::machine::{Ticks, processors};

/// So many blobs may move for each processor, and so many in any case, whatever the machine does.
const EACH: usize = 2;
const FEW: usize = 4;

/// How long is watched what the machine does.
const WATCH: Duration = Duration::from_millis(150);

/// The blobs that move.
pub(crate) struct Crowd {
    hosts: [Option<Arc<Pace>>; 2],
    ticks: fn() -> Option<Ticks>,
    few: usize,
    state: Mutex<State>,
    /// One has come to its end.
    left: Notify,
}

#[derive(Debug, Default)]
struct State {
    moving: usize,
    /// How many more the machine has room for, by what was seen.
    room: usize,
    /// Since when it is watched.
    since: Option<(Instant, Ticks)>,
}

/// One of the crowd, until it is dropped.
pub(crate) struct Moving(Arc<Crowd>);

impl Crowd {
    /// Blobs that go from one host to another, or to or from this machine.
    pub(crate) fn new(source: Option<Arc<Pace>>, destination: Option<Arc<Pace>>) -> Arc<Self> {
        Self::watching([source, destination], Ticks::now)
    }

    fn watching(hosts: [Option<Arc<Pace>>; 2], ticks: fn() -> Option<Ticks>) -> Arc<Self> {
        let few = FEW.max(processors() * EACH);
        Arc::new(Self { hosts, ticks, few, state: Mutex::default(), left: Notify::new() })
    }

    /// Waits while more blobs would bring nothing.
    pub(crate) async fn join(self: &Arc<Self>) -> Moving {
        loop {
            let left = self.left.notified();
            let mut left = std::pin::pin!(left);
            // From here on no end is missed.
            left.as_mut().enable();
            if self.has_room() {
                return Moving(Arc::clone(self));
            }
            tokio::select! {
                () = left => {}
                () = sleep(WATCH) => {}
            }
        }
    }

    /// Takes room if there is any.
    fn has_room(&self) -> bool {
        let mut state = self.state();
        let has_room = state.moving < self.few || !self.is_near() || state.found_room(self.ticks);
        state.moving += usize::from(has_room);
        has_room
    }

    fn is_near(&self) -> bool {
        self.hosts.iter().flatten().all(|host| host.is_near() == Some(true))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // The state is whole at every moment, so a panic elsewhere does not spoil it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Takes one of the places that the machine was seen to have. Where it had something to spare, as many again may move.
    fn found_room(&mut self, ticks: fn() -> Option<Ticks>) -> bool {
        let now = Instant::now();
        if self.since.is_none_or(|(since, _)| now - since >= WATCH) {
            // What cannot be seen stops nobody.
            let Some(ticks) = ticks() else { return true };
            if let Some((_, before)) = self.since.replace((now, ticks)) {
                self.room = if ticks.were_busy_since(before) { 0 } else { self.moving };
            }
        }
        let has_room = self.room > 0;
        self.room = self.room.saturating_sub(1);
        has_room
    }
}

impl Drop for Moving {
    fn drop(&mut self) {
        self.0.state().moving -= 1;
        self.0.left.notify_one();
    }
}

impl std::fmt::Debug for Moving {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Moving").field(&*self.0.state()).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use futures_util::FutureExt;

    use super::*;

    /// Hosts that answer in so many milliseconds.
    fn hosts(distances: [u64; 2]) -> [Option<Arc<Pace>>; 2] {
        distances.map(|distance| {
            let pace = Pace::new("host", 64);
            pace.answered(Duration::from_millis(distance));
            Some(pace)
        })
    }

    /// How many more may move now.
    fn more(crowd: &Arc<Crowd>) -> Vec<Moving> {
        std::iter::from_fn(|| crowd.join().now_or_never()).take(100).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn few_move_where_the_machine_is_busy() {
        static NOW: AtomicU64 = AtomicU64::new(0);
        let busy = || Some(Ticks { idle: 0, all: NOW.fetch_add(1, Ordering::Relaxed) });
        let crowd = Crowd::watching(hosts([2, 3]), busy);
        let mut moving = more(&crowd);
        assert_eq!(moving.len(), crowd.few);
        tokio::time::sleep(WATCH * 3).await;
        assert_eq!(more(&crowd).len(), 0);
        let waits = tokio::spawn({
            let crowd = Arc::clone(&crowd);
            async move { crowd.join().await }
        });
        tokio::task::yield_now().await;
        moving.pop();
        let joined = waits.await.unwrap();
        assert_eq!(more(&crowd).len(), 0);
        drop(joined);
        assert_eq!(more(&crowd).len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn as_many_again_move_where_it_is_idle() {
        static NOW: AtomicU64 = AtomicU64::new(0);
        let half_idle = || {
            let all = NOW.fetch_add(2, Ordering::Relaxed);
            Some(Ticks { idle: all / 2, all })
        };
        let crowd = Crowd::watching(hosts([2, 3]), half_idle);
        let mut moving = more(&crowd);
        for factor in [2, 4, 8] {
            tokio::time::sleep(WATCH).await;
            moving.extend(more(&crowd));
            assert_eq!(moving.len(), crowd.few * factor);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_for_this_machine_where_a_host_is_far_or_nothing_is_seen() {
        let busy = || Some(Ticks { idle: 0, all: 1 });
        assert_eq!(more(&Crowd::watching(hosts([2, 30]), busy)).len(), 100);
        assert_eq!(more(&Crowd::watching([Some(Pace::new("silent", 8)), None], busy)).len(), 100);
        assert_eq!(more(&Crowd::watching(hosts([2, 3]), || None)).len(), 100);
    }
}
