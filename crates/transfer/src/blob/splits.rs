//! Whether it helps to read a blob over several connections; found out with one blob for all.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::machine::{processor_time, processors};

/// How long it is not tried again where it did not help. Links change.
pub(super) const REST: Duration = Duration::from_secs(30);

/// What all blobs bring together, in bytes a second, where nobody waits for connections any more: it is the processor then,
/// or the line.
const ENOUGH: f64 = 300e6;

/// The share of all processors that this process alone uses where more connections bring nothing any more: what they
/// bring has to be taken in, and others want a part too.
const BUSY: f64 = 0.6;

/// How much has to be left of a blob, in bytes, that it may find out: less ends before there is proof.
pub(super) const TRY: u64 = 24 << 20;

/// So many pauses of blobs in turn, without any that several connections brought more meanwhile, and they help no more. When the
/// destination stands still, all that are split pause together.
const PAUSES: u32 = 16;

/// How long is looked at what all bring together.
const WATCH: Duration = Duration::from_millis(150);

/// How many such times show what is usual: more than half of them are no moment in which the destination stands still, or
/// in which that is made up for.
const USUAL: usize = 5;

/// What is known of it. Until somebody has found out, one at a time may try.
#[derive(Debug, Default)]
pub(crate) struct Splits {
    state: Mutex<State>,
    /// Whether it is known to help, for whoever asks often.
    help: AtomicBool,
    /// The bytes that all blobs brought so far.
    brought: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    known: Known,
    /// The blobs under way, by age.
    blobs: BTreeMap<u64, Blob>,
    /// How many of known rate have come to their ends.
    ended: u64,
    /// How often in turn blobs have paused.
    pauses: u32,
    flow: Flow,
}

/// A blob as it was when it was seen last.
#[derive(Clone, Copy, Debug)]
pub(super) struct Blob {
    /// How many bytes are left.
    pub(super) left: u64,
    /// Whether it has one connection and could be what all wait for.
    pub(super) waits: bool,
    /// Whether it has several.
    pub(super) is_split: bool,
    /// What it brought over one connection, in bytes a second; infinite where that is not known yet.
    pub(super) alone: f64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Known {
    #[default]
    Unknown,
    Tried,
    Help,
    /// They do not, and may be tried again from then on.
    Useless(Instant),
}

/// Why a blob is split.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// To find out whether it helps.
    FindOut,
    /// It helps.
    Help,
}

/// What all blobs bring together.
#[derive(Debug, Default)]
struct Flow {
    /// When the time began that is looked at, with how many bytes, and with how much time of the processors.
    since: Option<(Instant, u64, Duration)>,
    /// Bytes a second, of the times before, the latest last: up to [`USUAL`].
    rates: VecDeque<f64>,
    /// How many such times there were since a blob came to its end, or the first began.
    times: usize,
    /// The share of the processors that was used then.
    busy: f64,
}

impl Splits {
    /// A blob of which so many bytes are missing is under way.
    pub(super) fn begin(&self, blob: u64, left: u64) {
        let mut state = self.state();
        state.flow.look(self.total());
        state.blobs.insert(blob, Blob { left, waits: false, is_split: false, alone: f64::INFINITY });
    }

    /// A blob has come to its end.
    pub(super) fn end(&self, blob: u64) {
        let mut state = self.state();
        if state.blobs.remove(&blob).is_some_and(|blob| blob.alone.is_finite()) {
            state.ended += 1;
            // Fewer blobs bring another rate.
            state.flow.times = 0;
        }
    }

    /// How many blobs have come to their ends whose rate was known, and counted.
    pub(super) fn ended(&self) -> u64 {
        self.state().ended
    }

    /// So many bytes of a blob came.
    pub(super) fn brought(&self, bytes: u64) {
        self.brought.fetch_add(bytes, Ordering::Relaxed);
    }

    /// The bytes that all brought so far.
    pub(super) fn total(&self) -> u64 {
        self.brought.load(Ordering::Relaxed)
    }

    /// What all can bring together, each over one connection, in bytes a second.
    pub(super) fn rate(&self) -> f64 {
        let state = self.state();
        state.flow.usual().unwrap_or_else(|| {
            // Where the destination stood still, more comes at once for a moment.
            let alone = state.blobs.values().map(|blob| blob.alone).sum();
            state.flow.latest().min(alone)
        })
    }

    /// Returns when it is seen that all together bring so little that connections may be what they wait for.
    pub(super) async fn are_slow(&self) {
        self.look();
        loop {
            tokio::time::sleep(WATCH).await;
            if !self.look() {
                return;
            }
        }
    }

    /// Whether nothing is waited for but this machine, or the line.
    fn look(&self) -> bool {
        let mut state = self.state();
        state.flow.look(self.total());
        state.flow.is_enough()
    }

    /// Notes how a blob is.
    pub(super) fn note(&self, age: u64, blob: Blob) {
        let mut state = self.state();
        state.flow.look(self.total());
        state.blobs.insert(age, blob);
    }

    /// Whether a blob that waits may be split now, and what for. Who is to find out has to say what came of it. `patient`: to try
    /// costs more than to wait until it is clear what is usual.
    pub(super) fn may(&self, blob: u64, patient: bool) -> Option<Purpose> {
        let mut state = self.state();
        let left = state.blobs.get(&blob)?.left;
        if state.flow.is_enough() {
            return None;
        }
        let mut others = state.blobs.iter().filter(|(age, _)| **age != blob).map(|(_, other)| other);
        match state.known {
            Known::Help => (!others.any(|other| other.is_longer(left))).then_some(Purpose::Help),
            Known::Tried => None,
            Known::Useless(until) if Instant::now() < until => None,
            // Others may take what a blob had that has just ended, or the line may stand idle: it has to be seen first.
            _ if (patient || state.ended > 0) && state.flow.usual().is_none() => None,
            Known::Unknown | Known::Useless(_) => {
                // To try may cost a moment; that is not the one to lose it whom all wait for in the end, if there is another.
                let mut others = others.filter(|other| other.left >= TRY).peekable();
                let may = left >= TRY && (others.peek().is_none() || others.any(|other| other.left > left));
                if may {
                    state.known = Known::Tried;
                }
                may.then_some(Purpose::FindOut)
            }
        }
    }

    /// Whether others wait to be split, so that who is has enough.
    pub(super) fn are_wanted(&self) -> bool {
        self.state().blobs.values().any(|blob| blob.waits)
    }

    /// Whether a blob that is split has to give way to one that waits, of which more is left: that is who all wait for in the end. Only
    /// the shortest does, and where the other may have what it had.
    pub(super) fn gives_way(&self, blob: u64) -> bool {
        let state = self.state();
        let Some(left) = state.blobs.get(&blob).map(|blob| blob.left) else { return false };
        let is_shortest = state.blobs.values().all(|other| !other.is_split || left <= other.left);
        let may = state.known == Known::Help && !state.flow.is_enough();
        is_shortest && may && state.blobs.values().any(|other| other.is_longer(left))
    }

    /// Several connections brought more than one.
    pub(super) fn help(&self) {
        let mut state = self.state();
        state.known = Known::Help;
        self.help.store(true, Ordering::Relaxed);
    }

    /// Whether that is known.
    pub(super) fn known_to_help(&self) -> bool {
        self.help.load(Ordering::Relaxed)
    }

    /// A blob goes on with one connection, as the destination takes no more. Whether that has been so for too long.
    pub(super) fn paused(&self) -> bool {
        let mut state = self.state();
        state.pauses += 1;
        state.pauses > PAUSES
    }

    /// Several connections brought a blob more than one.
    pub(super) fn gained(&self) {
        self.state().pauses = 0;
    }

    /// They brought no more than one; nobody tries again for so long.
    pub(super) fn are_useless(&self, rest: Duration) {
        let mut state = self.state();
        state.known = Known::Useless(Instant::now() + rest);
        state.pauses = 0;
        self.help.store(false, Ordering::Relaxed);
    }

    /// Who tried ended without knowing.
    pub(super) fn are_unknown(&self) {
        let mut state = self.state();
        if state.known == Known::Tried {
            state.known = Known::Unknown;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // The state is whole at every moment, so a panic elsewhere does not spoil it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Blob {
    /// Whether it waits, and more of it is left than so many bytes. What it had left is a moment old.
    fn is_longer(&self, left: u64) -> bool {
        self.waits && self.left / 10 * 9 > left
    }
}

impl Flow {
    /// `brought` are the bytes so far.
    fn look(&mut self, brought: u64) {
        let now = Instant::now();
        let Some((since, before, used)) = self.since else {
            self.since = Some((now, brought, processor_time()));
            return;
        };
        let took = now - since;
        if took >= WATCH {
            let all = processor_time();
            #[expect(clippy::cast_precision_loss, reason = "rates need no more digits")]
            let (bytes, processors) = ((brought - before) as f64, processors() as f64);
            let took = took.as_secs_f64();
            let busy = all.saturating_sub(used).as_secs_f64() / took / processors;
            if self.rates.len() == USUAL {
                self.rates.pop_front();
            }
            self.rates.push_back(bytes / took);
            self.times += 1;
            (self.since, self.busy) = (Some((now, brought, all)), busy);
        }
    }

    /// Bytes a second, of the time before.
    fn latest(&self) -> f64 {
        self.rates.back().copied().unwrap_or_default()
    }

    /// What most of the times before were like; `None` while the blobs have not been the same for as long.
    fn usual(&self) -> Option<f64> {
        let mut rates: Vec<f64> = self.rates.iter().copied().collect();
        rates.sort_by(f64::total_cmp);
        (self.times >= USUAL).then(|| rates[USUAL / 2])
    }

    fn is_enough(&self) -> bool {
        self.latest() > ENOUGH || self.busy > BUSY
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A blob with one connection.
    fn one(left: u64, waits: bool) -> Blob {
        Blob { left, waits, is_split: false, alone: 1e6 }
    }

    /// Blobs of so many MiB, numbered from 0, each waiting.
    fn waiting<const N: usize>(left: [u64; N]) -> Splits {
        let splits = Splits::default();
        for (blob, left) in (0..).zip(left.map(|left| left << 20)) {
            splits.begin(blob, left);
            splits.note(blob, one(left, true));
        }
        splits
    }

    #[tokio::test(start_paused = true)]
    async fn one_finds_out_for_all_and_not_the_largest() {
        let splits = waiting([90, 85, 82]);
        let may = || [0, 1, 2].map(|blob| splits.may(blob, false));
        assert_eq!(may(), [None, Some(Purpose::FindOut), None]);
        splits.are_unknown();
        assert_eq!(may(), [None, Some(Purpose::FindOut), None]);
        splits.are_useless(REST);
        splits.are_unknown();
        assert_eq!(may(), [None; 3]);
        tokio::time::sleep(REST).await;
        assert_eq!(may(), [None, Some(Purpose::FindOut), None]);
        let short = REST / 10;
        splits.are_useless(short);
        assert_eq!(may(), [None; 3]);
        tokio::time::sleep(short).await;
        assert_eq!(may(), [None, Some(Purpose::FindOut), None]);
        splits.help();
        splits.are_unknown();
        assert_eq!(may(), [Some(Purpose::Help); 3]);
    }

    #[tokio::test]
    async fn one_alone_finds_out_itself() {
        let splits = waiting([90]);
        splits.begin(1, 80 << 20);
        assert_eq!(splits.may(0, false), None);
        splits.end(1);
        assert_eq!(splits.may(0, false), Some(Purpose::FindOut));
        // Those that are too small to find out do not stand in the way.
        let splits = waiting([90, 9, 8]);
        assert_eq!([2, 1, 0].map(|blob| splits.may(blob, false)), [None, None, Some(Purpose::FindOut)]);
    }

    #[tokio::test]
    async fn the_blob_that_has_most_left_comes_first() {
        let splits = waiting([80, 50]);
        splits.help();
        assert_eq!([0, 1].map(|blob| splits.may(blob, false)), [Some(Purpose::Help), None]);
        assert!(splits.are_wanted());
        // It has others by now.
        splits.note(0, one(80 << 20, false));
        assert_eq!(splits.may(1, false), Some(Purpose::Help));
        splits.end(1);
        assert!(!splits.are_wanted());
    }

    #[tokio::test]
    async fn who_is_split_gives_way_to_one_that_has_more_left() {
        let splits = waiting([50, 40, 30]);
        splits.help();
        assert_eq!([0, 1].map(|blob| splits.may(blob, false)), [Some(Purpose::Help), None]);
        let split = |left: u64| Blob { is_split: true, ..one(left << 20, false) };
        splits.note(0, split(37));
        assert!(!splits.gives_way(0), "by little");
        splits.note(0, split(35));
        assert!(splits.gives_way(0));
        assert!(splits.may(1, false).is_some());
        splits.note(2, split(30));
        assert_eq!([0, 2].map(|blob| splits.gives_way(blob)), [false, true], "one is enough");
        splits.are_useless(REST);
        assert!(!splits.gives_way(2), "nobody would have what it had");
        splits.help();
        splits.note(1, one(40 << 20, false));
        assert!(!splits.gives_way(2), "none waits");
    }

    #[tokio::test]
    async fn pauses_in_turn_are_believed() {
        let splits = waiting([50]);
        splits.help();
        assert!((0..PAUSES).all(|_| !splits.paused()));
        splits.gained();
        assert!((0..PAUSES).all(|_| !splits.paused()));
        assert!(splits.paused());
        splits.are_useless(REST);
        assert!(!splits.known_to_help() && !splits.paused(), "it begins anew");
    }

    #[tokio::test(start_paused = true)]
    async fn a_moment_of_more_is_no_rate() {
        let splits = Splits::default();
        splits.begin(0, 80 << 20);
        splits.begin(1, 80 << 20);
        tokio::time::sleep(WATCH).await;
        splits.brought(7_500_000);
        splits.note(0, Blob { alone: 20e6, ..one(80 << 20, true) });
        assert!((splits.rate() - 50e6).abs() < 1.0, "that of one is not known");
        splits.note(1, Blob { alone: 20e6, ..one(80 << 20, true) });
        assert!((splits.rate() - 40e6).abs() < 1.0);
        for _ in 0..60 {
            tokio::time::sleep(WATCH).await;
            splits.brought(7_500_000);
            splits.note(0, Blob { alone: 20e6, ..one(80 << 20, true) });
        }
        assert!((splits.rate() - 50e6).abs() < 1e5, "it is no moment any more");
        splits.end(1);
        assert_eq!(splits.ended(), 1);
        for _ in 0..USUAL {
            tokio::time::sleep(WATCH).await;
            splits.brought(4_500_000);
            splits.note(0, Blob { alone: 20e6, ..one(80 << 20, true) });
        }
        assert!((splits.rate() - 30e6).abs() < 1e5, "without what the other brought");
    }

    /// Others take over what a blob had that has just ended, where all share a line, and their rates do not say so yet.
    #[tokio::test(start_paused = true)]
    async fn nobody_finds_out_while_the_rate_without_another_is_not_known() {
        let splits = waiting([90, 85, 80]);
        assert_eq!(splits.may(1, true), None, "it has just begun");
        let pass = async |bytes: [u64; USUAL]| {
            for bytes in bytes {
                tokio::time::sleep(WATCH).await;
                splits.brought(bytes);
                splits.note(1, one(85 << 20, true));
            }
        };
        pass([7_500_000; USUAL]).await;
        splits.end(2);
        assert_eq!((splits.ended(), splits.may(1, false)), (1, None));
        // In two of these times the destination stood still, or made up for it.
        pass([0, 7_500_000, 7_500_000, 15_000_000, 7_500_000]).await;
        assert!((splits.rate() - 50e6).abs() < 1e5, "{}", splits.rate());
        assert_eq!(splits.may(1, false), Some(Purpose::FindOut));
    }

    #[test]
    fn the_line_or_the_processors_may_be_what_all_wait_for() {
        for (rate, busy, enough) in
            [(50e6, 0.59, false), (50e6, 0.61, true), (299e6, 0.1, false), (301e6, 0.1, true)]
        {
            let flow = Flow { rates: [rate].into(), busy, ..Flow::default() };
            assert_eq!(flow.is_enough(), enough, "{rate} {busy}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn none_is_split_where_all_together_are_fast() {
        let splits = waiting([80, 70]);
        splits.help();
        for (brought, may) in [(600 << 20, None), (10 << 20, Some(Purpose::Help))] {
            tokio::time::sleep(Duration::from_secs(1)).await;
            splits.brought(brought);
            splits.note(0, one(80 << 20, true));
            assert_eq!(splits.may(0, false), may, "{brought}");
        }
    }
}
