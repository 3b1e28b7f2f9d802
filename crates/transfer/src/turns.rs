//! Whose turn it is to move bytes: over all copies of a run, the largest blob first.

use std::collections::BTreeMap;
use std::future::Future;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use store::{Pace, Slot};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::task::AbortHandle;

use crate::crowd::{Crowd, Moving};

/// Gives turns to those who wait. One task takes slots for blobs, always the destination's before the source's; another
/// takes the source's for helpers. So nobody waits for a slot with one that the others need to go on.
pub(crate) struct Turns {
    source: Option<Arc<Pace>>,
    destination: Option<Arc<Pace>>,
    jobs: Arc<Semaphore>,
    crowd: Arc<Crowd>,
    blobs: Arc<Line>,
    helpers: Arc<Line>,
    /// Begun with the first who waits, as that needs a runtime.
    dispatchers: OnceLock<[AbortHandle; 2]>,
}

/// The right to move bytes, until it is dropped.
#[derive(Debug, Default)]
pub(crate) struct Turn {
    source: Option<Slot>,
    _destination: Option<Slot>,
    moving: Option<Moving>,
    _job: Option<OwnedSemaphorePermit>,
}

impl Turn {
    /// Gives back the right to read; what is held for both sides together stays.
    pub(crate) fn end_reading(&mut self) {
        self.source = None;
    }

    /// Lets another blob move: what is left of this one is its last piece, and that the destination keeps it.
    pub(crate) fn end_moving(&mut self) {
        self.moving = None;
    }
}

impl Turns {
    /// Turns at the paces of both sides, with no more blobs than `jobs` at once.
    pub(crate) fn new(source: Option<Arc<Pace>>, destination: Option<Arc<Pace>>, jobs: NonZeroUsize) -> Self {
        Self {
            jobs: Arc::new(Semaphore::new(jobs.get().min(Semaphore::MAX_PERMITS))),
            crowd: Crowd::new(source.clone(), destination.clone()),
            source,
            destination,
            blobs: Arc::default(),
            helpers: Arc::default(),
            dispatchers: OnceLock::new(),
        }
    }

    /// Waits for the turn of a blob of `size` bytes: to read it and to write it. The largest comes first.
    pub(crate) async fn blob(&self, size: u64) -> Turn {
        self.begin();
        self.blobs.wait(u64::MAX - size).await
    }

    /// Waits for a turn to read one more part of a blob that is under way. The blob that began first comes first: `age`
    /// says when; and of its parts the one for which this was called first, whenever it is waited for.
    pub(crate) fn helper(&self, age: u64) -> impl Future<Output = Turn> + Send + use<> {
        self.begin();
        self.helpers.wait(age)
    }

    /// Whether both sides are one host. Then a blob keeps both its slots, and none is to spare for helpers.
    pub(crate) fn are_of_one_host(&self) -> bool {
        matches!((&self.source, &self.destination), (Some(source), Some(destination)) if Arc::ptr_eq(source, destination))
    }

    /// A number that is larger for whatever begins later.
    pub(crate) fn age(&self) -> u64 {
        let mut waiting = self.helpers.waiting();
        waiting.arrived += 1;
        waiting.arrived
    }

    fn begin(&self) {
        self.dispatchers.get_or_init(|| {
            let (source, destination) = (self.source.clone(), self.destination.clone());
            let (jobs, crowd) = (Arc::clone(&self.jobs), Arc::clone(&self.crowd));
            let blob =
                move || for_blob(source.clone(), destination.clone(), Arc::clone(&jobs), Arc::clone(&crowd));
            let source = self.source.clone();
            let helper = move || for_helper(source.clone());
            [
                tokio::spawn(Arc::clone(&self.blobs).dispatch(blob)).abort_handle(),
                tokio::spawn(Arc::clone(&self.helpers).dispatch(helper)).abort_handle(),
            ]
        });
    }
}

impl Drop for Turns {
    fn drop(&mut self) {
        for dispatcher in self.dispatchers.get().into_iter().flatten() {
            dispatcher.abort();
        }
    }
}

async fn for_blob(
    source: Option<Arc<Pace>>,
    destination: Option<Arc<Pace>>,
    jobs: Arc<Semaphore>,
    crowd: Arc<Crowd>,
) -> Turn {
    // The semaphore is never closed, so this is always a permit.
    let job = jobs.acquire_owned().await.ok();
    let moving = Some(crowd.join().await);
    if let (Some(source), Some(destination)) = (&source, &destination)
        && Arc::ptr_eq(source, destination)
    {
        return Turn { source: None, _destination: Some(destination.acquire(2).await), moving, _job: job };
    }
    let destination = slot(destination).await;
    Turn { source: slot(source).await, _destination: destination, moving, _job: job }
}

async fn for_helper(source: Option<Arc<Pace>>) -> Turn {
    Turn { source: slot(source).await, ..Turn::default() }
}

async fn slot(pace: Option<Arc<Pace>>) -> Option<Slot> {
    match pace {
        Some(pace) => Some(pace.acquire(1).await),
        None => None,
    }
}

/// Those who wait for one kind of turn: by rank, the lowest first, and by arrival.
#[derive(Default)]
struct Line {
    waiting: Mutex<Waiting>,
    changed: Notify,
}

#[derive(Default)]
struct Waiting {
    arrived: u64,
    turns: BTreeMap<(u64, u64), oneshot::Sender<Turn>>,
}

impl Line {
    fn wait(&self, rank: u64) -> impl Future<Output = Turn> + Send + use<> {
        let (sender, receiver) = oneshot::channel();
        {
            let mut waiting = self.waiting();
            waiting.arrived += 1;
            let arrived = waiting.arrived;
            waiting.turns.insert((rank, arrived), sender);
        }
        self.changed.notify_one();
        // The dispatcher ends with the run only, and nobody waits then.
        async { receiver.await.unwrap_or_default() }
    }

    /// Takes one turn after the other for those who wait. Who comes first is decided when the turn is there.
    async fn dispatch<F: Future<Output = Turn>>(self: Arc<Self>, take: impl Fn() -> F) {
        loop {
            if !self.is_wanted() {
                self.changed.notified().await;
                continue;
            }
            let mut turn = take().await;
            while let Some(sender) = self.first() {
                match sender.send(turn) {
                    Ok(()) => break,
                    // It does not wait any more.
                    Err(back) => turn = back,
                }
            }
        }
    }

    fn is_wanted(&self) -> bool {
        let mut waiting = self.waiting();
        waiting.turns.retain(|_, sender| !sender.is_closed());
        !waiting.turns.is_empty()
    }

    fn first(&self) -> Option<oneshot::Sender<Turn>> {
        self.waiting().turns.pop_first().map(|(_, sender)| sender)
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        // The line is whole at every moment, so a panic elsewhere does not spoil it.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn turns(jobs: usize, pace: Option<&Arc<Pace>>) -> Turns {
        Turns::new(pace.cloned(), pace.cloned(), jobs.try_into().unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn the_largest_comes_first_and_the_absent_not_at_all() {
        let turns = Arc::new(turns(1, None));
        let first = turns.blob(1).await;
        let order = Arc::new(Mutex::new(Vec::new()));
        let waiting = [5, 9, 7, 9].map(|size| {
            let (turns, order) = (Arc::clone(&turns), Arc::clone(&order));
            tokio::spawn(async move {
                let _turn = turns.blob(size).await;
                order.lock().unwrap().push(size);
            })
        });
        tokio::time::sleep(Duration::from_secs(1)).await;
        waiting[2].abort();
        drop(first);
        for task in waiting {
            let _ = task.await;
        }
        assert_eq!(*order.lock().unwrap(), [9, 9, 5]);
    }

    /// Blobs that need help wait for it with their turns in hand; there is always some.
    #[tokio::test(start_paused = true)]
    async fn nobody_waits_forever() {
        for one_host in [true, false] {
            let (here, there) = (Pace::new("here", 1), Pace::new("there", 2));
            let there = if one_host { Arc::clone(&here) } else { there };
            let turns = Arc::new(Turns::new(Some(here), Some(there), 8.try_into().unwrap()));
            let tasks = (0..20).map(|size| {
                let turns = Arc::clone(&turns);
                tokio::spawn(async move {
                    let mut turn = turns.blob(size).await;
                    tokio::task::yield_now().await;
                    turn.end_reading();
                    if !one_host {
                        let _help = turns.helper(turns.age()).await;
                        tokio::task::yield_now().await;
                    }
                })
            });
            let all = futures_util::future::join_all(tasks);
            tokio::time::timeout(Duration::from_mins(1), all).await.expect("all had their turns");
        }
    }
}
