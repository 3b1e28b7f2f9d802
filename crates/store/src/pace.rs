//! How much a host takes at once: found out by trying, given up by half where it refuses.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Mutex as Turnstile, Notify};
use tokio::time::Instant;

/// How many exchanges a host starts with.
const FIRST: f64 = 8.0;

/// Near where a host refused before, one more is tried only after so many full rounds without a refusal, and so many
/// exchanges at least: then few are refused.
const PATIENCE: f64 = 6.0;
const EXCHANGES: f64 = 30.0;

/// What counts as near, as a share of the most that was taken.
const NEAR: f64 = 0.75;

/// So many failed exchanges, less those that succeeded in between, count as a refusal.
const TROUBLE: f64 = 3.0;

/// A host that has answered faster is so near that nobody waits for what lies between.
const HERE: Duration = Duration::from_millis(10);

/// The exchanges with one host: how many there may be, how many there are, and until when there shall be none.
///
/// The limit doubles each round while all goes well, up to a ceiling. Where the host refuses (429, 503) or exchanges break
/// off, it is halved, and then grows by one a round; near where it was refused it grows seldom and loses one at a time, so
/// that it settles there instead of swinging.
pub struct Pace {
    host: String,
    ceiling: f64,
    state: Mutex<State>,
    /// Something has ended, or more may be begun.
    changed: Notify,
    /// Something has ended, for one who was refused.
    freed: Notify,
    /// Those who wait get in by turns, so that one who wants two slots is not passed by all who want one.
    turnstile: Turnstile<()>,
}

#[derive(Debug)]
struct State {
    limit: f64,
    active: usize,
    /// How many were under way when the limit was last used: what becomes of so many says whether there may be more.
    telling: usize,
    /// The most that is known to be taken, once there was a refusal; until then the limit doubles.
    most: Option<f64>,
    /// Exchanges that were under way at the last cut: what they bring home is old news.
    stale: usize,
    trouble: f64,
    paused: Option<Instant>,
    /// How many were refused and wait, in their places, for others to end.
    parked: usize,
    /// The shortest time that an answer took.
    distance: Option<Duration>,
}

/// A place among the exchanges of a host; given back when dropped.
#[derive(Debug)]
pub struct Slot {
    pace: Arc<Pace>,
    count: usize,
}

impl Pace {
    /// For a host that messages call `host`; never more than `ceiling` exchanges at once.
    pub fn new(host: impl Into<String>, ceiling: usize) -> Arc<Self> {
        #[expect(clippy::cast_precision_loss, reason = "nobody has that many connections")]
        let ceiling = ceiling.max(1) as f64;
        let state = State {
            limit: FIRST.min(ceiling),
            active: 0,
            telling: 0,
            most: None,
            stale: 0,
            trouble: 0.0,
            paused: None,
            parked: 0,
            distance: None,
        };
        Arc::new(Self {
            host: host.into(),
            ceiling,
            state: Mutex::new(state),
            changed: Notify::new(),
            freed: Notify::new(),
            turnstile: Turnstile::new(()),
        })
    }

    /// The host's name, in messages and to tell hosts apart.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// How many exchanges there may be at once, by what is known now.
    pub fn limit(&self) -> usize {
        self.state().room()
    }

    /// Waits for one place, or for several at once. More than the limit are given when nothing else is under way.
    pub async fn acquire(self: &Arc<Self>, count: usize) -> Slot {
        let _turn = self.turnstile.lock().await;
        self.enter(count).await;
        Slot { pace: Arc::clone(self), count }
    }

    /// Whether the host is so near that nobody waits for what lies between; `None` before its first answer.
    pub fn is_near(&self) -> Option<bool> {
        self.state().distance.map(|distance| distance < HERE)
    }

    /// An answer of the host began so long after it was asked for.
    pub fn answered(&self, took: Duration) {
        let mut state = self.state();
        state.distance = Some(state.distance.map_or(took, |shortest| shortest.min(took)));
    }

    /// The host took an exchange.
    pub fn accepted(&self) {
        let mut state = self.state();
        state.trouble *= 0.9;
        // A limit that nobody comes near proves nothing.
        if state.telling == 0 {
            return;
        }
        state.telling -= 1;
        let grown = match state.most {
            None => state.limit + 1.0,
            Some(most) if state.limit + 1.0 > most => {
                state.limit + 1.0 / (state.limit * PATIENCE).max(EXCHANGES)
            }
            _ => state.limit + 1.0 / state.limit,
        };
        let more = grown.min(self.ceiling).floor() > state.limit.floor();
        state.limit = grown.min(self.ceiling);
        drop(state);
        if more {
            self.changed.notify_waiters();
        }
    }

    /// The host refused an exchange because there are too many, and asks to be left alone for so long.
    pub fn refused(&self, patience: Option<Duration>) {
        let mut state = self.state();
        if let Some(until) = patience.map(|patience| Instant::now() + patience) {
            state.paused = Some(state.paused.map_or(until, |paused| paused.max(until)));
        }
        if state.stale == 0 {
            state.cut();
        }
    }

    /// Waits, with a place in hand, until another exchange has ended: then the host may take the one that it refused.
    pub async fn freed(&self) {
        self.state().parked += 1;
        let _parked = Parked(self);
        self.freed.notified().await;
    }

    /// An exchange broke off. Once is chance; when it goes on, there may be too many.
    pub fn failed(&self) {
        let mut state = self.state();
        state.trouble += 1.0;
        if state.trouble > TROUBLE && state.stale == 0 {
            state.cut();
        }
    }

    /// How long the host still wants to be left alone.
    pub fn pause(&self) -> Option<Duration> {
        self.state().pause()
    }

    async fn enter(&self, count: usize) {
        loop {
            let changed = self.changed.notified();
            let mut changed = std::pin::pin!(changed);
            // From here on no change is missed.
            changed.as_mut().enable();
            let pause = {
                let mut state = self.state();
                let pause = state.pause();
                if pause.is_none() && (state.active + count <= state.room() || state.active == 0) {
                    state.active += count;
                    if state.active * 2 >= state.room() {
                        state.telling = state.active;
                    }
                    return;
                }
                pause
            };
            match pause {
                Some(pause) => tokio::time::sleep(pause).await,
                None => changed.await,
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // The state is whole at every moment, so a panic elsewhere does not spoil it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// How many exchanges the limit allows.
    fn room(&self) -> usize {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a small count, never below one"
        )]
        let room = self.limit as usize;
        room
    }

    fn pause(&mut self) -> Option<Duration> {
        let left = self.paused?.checked_duration_since(Instant::now()).filter(|left| !left.is_zero());
        if left.is_none() {
            self.paused = None;
        }
        left
    }

    #[expect(clippy::cast_precision_loss, reason = "a small count")]
    fn cut(&mut self) {
        let active = self.active.max(1) as f64;
        let below = (active - 1.0).max(1.0);
        self.limit = match self.most {
            // One more was tried and refused: one less, as before.
            Some(most) if active > most * NEAR => below.min(self.limit),
            _ => (active.min(self.limit) / 2.0).floor().max(1.0),
        };
        self.most = Some(below);
        (self.trouble, self.telling) = (0.0, 0);
        self.stale = self.active;
    }

    fn leave(&mut self, count: usize) {
        self.active = self.active.saturating_sub(count);
        self.stale = self.stale.saturating_sub(count);
        if self.active == 0 {
            self.telling = 0;
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let parked = {
            let mut state = self.pace.state();
            state.leave(self.count);
            state.parked > 0
        };
        if parked {
            self.pace.freed.notify_one();
        }
        self.pace.changed.notify_waiters();
    }
}

/// One who waits in [`Pace::freed`].
struct Parked<'a>(&'a Pace);

impl Drop for Parked<'_> {
    fn drop(&mut self) {
        self.0.state().parked -= 1;
    }
}

impl fmt::Debug for Pace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pace")
            .field("host", &self.host)
            .field("state", &*self.state())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    /// Exchanges with a host that takes `capacity` at once, each as long as the others. Returns where the limit stood
    /// after each round, and how many of the last thousand exchanges were refused.
    async fn rounds(pace: &Arc<Pace>, capacity: usize, rounds: usize) -> (Vec<usize>, usize) {
        let mut limits = Vec::new();
        let mut outcomes = Vec::new();
        for _ in 0..rounds {
            let mut slots = Vec::new();
            while slots.len() < pace.limit() {
                slots.push(pace.acquire(1).await);
            }
            for nth in 0..slots.len() {
                outcomes.push(nth < capacity);
                if nth < capacity { pace.accepted() } else { pace.refused(None) }
            }
            drop(slots);
            limits.push(pace.limit());
        }
        let refused = outcomes.iter().rev().take(1000).filter(|taken| !**taken).count();
        (limits, refused)
    }

    #[tokio::test]
    async fn it_doubles_up_to_the_ceiling() {
        let pace = Pace::new("host", 32);
        let (limits, refused) = rounds(&pace, 1000, 5).await;
        assert_eq!((limits, refused), (vec![16, 32, 32, 32, 32], 0));
        assert_eq!(Pace::new("host", 1).limit(), 1);
    }

    /// Exchanges that end while others begin, or that end all together, say the same.
    #[tokio::test]
    async fn it_doubles_however_exchanges_end() {
        let pace = Pace::new("host", 64);
        for limit in [16, 32] {
            let mut slots = Vec::new();
            while slots.len() < pace.limit() {
                slots.push(pace.acquire(1).await);
            }
            while !slots.is_empty() {
                pace.accepted();
                slots.pop();
            }
            assert_eq!(pace.limit(), limit);
        }
        let _few = [pace.acquire(1).await, pace.acquire(1).await];
        for _ in 0..10 {
            pace.accepted();
        }
        assert_eq!(pace.limit(), 32);
    }

    #[tokio::test]
    async fn it_settles_below_what_is_refused() {
        for capacity in [1, 2, 6, 20] {
            let pace = Pace::new("host", 64);
            let (limits, refused) = rounds(&pace, capacity, 2000).await;
            let settled = &limits[1000..];
            let lowest = settled.iter().min().unwrap();
            assert!(*lowest + 1 >= capacity && *settled.iter().max().unwrap() <= capacity + 1, "{settled:?}");
            assert!(refused < 50, "{refused} of 1000 refused at {capacity}");
        }
    }

    #[tokio::test]
    async fn what_was_under_way_at_a_cut_does_not_cut_again() {
        let pace = Pace::new("host", 64);
        rounds(&pace, 1000, 2).await;
        let slots = [pace.acquire(8).await, pace.acquire(8).await];
        for _ in 0..16 {
            pace.refused(None);
        }
        assert_eq!(pace.limit(), 8);
        drop(slots);
        // Less is taken than before, though nothing new was tried.
        let _slots = pace.acquire(8).await;
        pace.refused(None);
        assert_eq!(pace.limit(), 4);
    }

    #[tokio::test]
    async fn breaking_off_counts_when_it_goes_on() {
        let pace = Pace::new("host", 64);
        let _slot = pace.acquire(4).await;
        pace.failed();
        pace.accepted();
        assert!(pace.limit() >= 4);
        for _ in 0..4 {
            pace.failed();
        }
        assert_eq!(pace.limit(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_begun_while_a_host_wants_to_be_left_alone() {
        let pace = Pace::new("host", 4);
        pace.refused(Some(Duration::from_secs(7)));
        assert!(pace.acquire(1).now_or_never().is_none());
        let before = Instant::now();
        let slot = pace.acquire(1).await;
        assert!(before.elapsed() >= Duration::from_secs(7));
        drop(slot);
        assert!(pace.acquire(1).now_or_never().is_some());
    }

    #[tokio::test]
    async fn who_was_refused_hears_of_a_place_that_is_free() {
        let pace = Pace::new("host", 4);
        let [one, other] = [pace.acquire(1).await, pace.acquire(1).await];
        let refused = [pace.freed(), pace.freed()];
        let [mut first, mut second] = refused.map(Box::pin);
        assert!((&mut first).now_or_never().is_none() && (&mut second).now_or_never().is_none());
        drop(one);
        let woken = [(&mut first).now_or_never(), (&mut second).now_or_never()];
        assert_eq!(woken, [Some(()), None]);
        drop(other);
        second.await;
        drop(first);
        // Nothing is left over for who is refused later.
        drop(pace.acquire(1).await);
        assert!(pace.freed().now_or_never().is_none());
    }

    #[tokio::test]
    async fn several_places_come_at_once_or_alone() {
        let pace = Pace::new("host", 1);
        let both = pace.acquire(2).await;
        assert!(pace.acquire(1).now_or_never().is_none());
        drop(both);
        assert!(pace.acquire(1).now_or_never().is_some());
    }
}
