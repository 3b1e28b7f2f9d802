//! A blob's bytes in order: from one connection, or, where that is what all wait for, from several.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use oci::Descriptor;
use store::{ByteStream, Error as StoreError, Ranges};
use tokio::time::Instant;

use super::ahead::{Ahead, ended_early};
use super::pause::Pause;
use super::question::Question;
use super::splits::{Blob, Purpose, REST, TRY};
use super::window::Room;
use crate::machine::Ticks;
use crate::transfer::Run;
use crate::turns::Turn;

/// The length of a piece that is read ahead, in bytes. Of a long one much waits for those before it, where a blob has many.
const PIECE: u64 = 5 << 19;

/// The same where others wait for connections, so that none has many. Then it counts that short ones cost more: a round trip, and
/// docker-registry reads 4 MiB of its file for each.
const LONG_PIECE: u64 = 4 << 20;

/// How many a blob begins with, beside the one that is handed out as it comes, and the most that it may have where no other waits for
/// help.
const FIRST: u32 = 5;
const MOST: u32 = 15;

/// How much the first connection still reads of a blob that is split, in bytes: about as long as others take to begin.
const LEAD: u64 = 3 << 20;

/// The same where it is to be found out whether that helps.
const TRIAL_LEAD: u64 = 1 << 18;

/// How many pieces that is found out with. Many bring the proof soonest, and all others wait for it.
const MANY: u32 = 12;

/// The same where the destination is far. The line may be what all wait for: then whatever comes out of
/// turn keeps the destination waiting, and it never makes up for that.
const FEW: u32 = 2;

/// So many bytes more than before, of all blobs together, prove that several connections help, if half as many of the one that has them
/// have gone on to the destination: that is more than what lies between us and a link takes at any rate.
const PROOF: f64 = 14e6;

/// The share of what all bring that says nothing: so much are rates off.
const DOUBT: f64 = 0.05;

/// How long is waited for the proof.
const TRIAL: Duration = Duration::from_secs(10);

/// How long it is not tried again where the processors were what was short, and the destination is near.
const BREATH: Duration = Duration::from_millis(500);

/// What takes so long to come had not come before.
const AWAITED: Duration = Duration::from_millis(1);

/// How long is watched before it is decided who waits for whom.
const WATCH: Duration = Duration::from_millis(150);

/// The source is what all wait for if the destination takes less than this share of the time, and the other way round.
const BUSY: f64 = 0.2;

/// Several connections help if they bring so many times as much as one.
const GAIN: f64 = 1.5;

/// So often has the destination to be what all wait for before that counts.
const SURE: u32 = 2;

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
    piece: Option<Ahead>,
    /// The next byte that nobody reads yet.
    next: u64,
    /// How many pieces may be read ahead beside the one that is handed out, if any are and there is room.
    depth: usize,
    /// What the stream has if it was opened again.
    turn: Turn,
    /// What one connection brought, in bytes a second.
    alone: f64,
    watch: Watch,
    /// How often in turn the destination was what all waited for.
    blocked: u32,
    /// Whether it comes from the source itself, which may have more connections.
    far: bool,
    /// While it goes on with one connection, though several help.
    pause: Pause,
    /// Whether it would be split if that helps.
    waits: bool,
    /// The stream is new: its rate is seen once something takes so long to come. What had come before anybody took it says nothing.
    fresh: Option<Duration>,
    /// What was when it was split, until it is known whether that helps.
    trial: Option<Trial>,
    /// The question whether the source sends parts, if it was asked here.
    _question: Option<Question>,
}

/// The beginning of a trial: when it was, the blob's next byte, what all had brought, in bytes, their rate, how many had come to their
/// ends, and what the processors had done.
struct Trial {
    since: Instant,
    at: u64,
    brought: u64,
    rate: f64,
    ended: u64,
    ticks: Option<Ticks>,
}

/// What a trial has brought so far, in bytes: more than usual, of all blobs and of the one that has several connections; and what would
/// have been usual, of all, and of that one alone.
struct Gain {
    all: f64,
    own: f64,
    usual: f64,
    alone: f64,
}

impl Gain {
    /// What it takes from others is no gain: two thirds of its own have to be one of all.
    fn is_proof(&self) -> bool {
        let all = PROOF.max(self.own / 1.5).max(self.usual * DOUBT);
        self.all > all && self.own > (PROOF / 2.0).max(self.alone * (GAIN - 1.0))
    }

    /// Where not even half of its own is one of all, or soon not a quarter, it is none.
    fn is_taken_from_others(&self) -> bool {
        self.own > PROOF.max(4.0 * self.all) || self.own > (2.0 * PROOF).max(2.0 * self.all)
    }
}

/// Who waited for whom since `from`, a byte of the blob.
#[derive(Default)]
struct Watch {
    from: u64,
    waited: Duration,
    wrote: Duration,
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.run.splits.end(self.age);
        self.end_trial();
    }
}

impl Feed {
    /// The bytes from `start` on, of which `content` gives all. `far`: it is the source that does, and not this machine.
    pub(super) fn new(run: &Arc<Run>, blob: &Descriptor, start: u64, content: ByteStream, far: bool) -> Self {
        let age = run.turns.age();
        let left = blob.size.saturating_sub(start);
        run.splits.begin(age, left);
        let large = far && left >= TRY && blob.embedded().is_none();
        Self {
            run: Arc::clone(run),
            blob: blob.clone(),
            age,
            stream: Some(if far { run.capped(content) } else { content }),
            end: blob.size,
            at: start,
            ahead: VecDeque::new(),
            piece: None,
            next: blob.size,
            depth: 0,
            turn: Turn::default(),
            alone: 0.0,
            watch: Watch { from: start, ..Watch::default() },
            blocked: 0,
            far,
            pause: Pause::default(),
            waits: false,
            fresh: Some(AWAITED),
            trial: None,
            _question: large.then(|| Question::ask(run, blob)).flatten(),
        }
    }

    /// The next bytes.
    pub(super) async fn next(&mut self, turn: &mut Turn) -> Option<Result<Bytes, StoreError>> {
        let began = Instant::now();
        let next = self.take(turn).await;
        let waited = began.elapsed();
        self.watch.waited += waited;
        if let Some(Ok(bytes)) = &next {
            self.at += bytes.len() as u64;
        }
        if self.fresh.is_some_and(|least| waited >= least) {
            self.fresh = None;
            self.watch = Watch { from: self.at, ..Watch::default() };
        }
        next
    }

    async fn take(&mut self, turn: &mut Turn) -> Option<Result<Bytes, StoreError>> {
        let is_shared = self.end < self.blob.size;
        if is_shared && self.at >= self.end && self.stream.take().is_some() {
            // Others read what follows, so the connection ends here.
            self.turn = Turn::default();
            turn.end_reading();
        }
        if let Some(stream) = &mut self.stream {
            let mut next = stream.next().await;
            match &mut next {
                Some(Ok(bytes)) if is_shared => {
                    bytes.truncate(usize::try_from(self.end - self.at).unwrap_or(usize::MAX));
                }
                None if is_shared => next = Some(Err(ended_early(&self.blob))),
                _ => {}
            }
            self.count(next.as_ref());
            return next;
        }
        loop {
            if let Some(piece) = &mut self.piece {
                let next = piece.next().await;
                if next.is_some() {
                    return next;
                }
                // Its room is for the next.
                self.piece = None;
                self.read_ahead();
            }
            self.piece = self.ahead.pop_front();
            match &self.piece {
                None if self.next < self.blob.size => return self.rejoin().await,
                None => return None,
                // It waits as those behind it do.
                Some(piece) if piece.is_whole() => {}
                Some(_) => self.read_ahead(),
            }
        }
    }

    /// Counts what came over the one connection.
    fn count(&self, next: Option<&Result<Bytes, StoreError>>) {
        if let Some(Ok(bytes)) = next {
            self.run.splits.brought(bytes.len() as u64);
        }
    }

    /// Goes on with one connection.
    async fn rejoin(&mut self) -> Option<Result<Bytes, StoreError>> {
        self.depth = 0;
        self.turn = self.run.turns.helper(self.age).await;
        let mut stream = match self.run.source.read(&self.blob, self.next..self.blob.size).await {
            Ok(stream) => self.run.capped(stream),
            Err(error) => return Some(Err(error)),
        };
        let first = stream.next().await;
        self.count(first.as_ref());
        (self.stream, self.end, self.next) = (Some(stream), self.blob.size, self.blob.size);
        self.fresh = Some(Duration::ZERO);
        first
    }

    /// Notes how long the destination took for the last bytes, and decides how much is read ahead.
    pub(super) fn wrote(&mut self, took: Duration) {
        self.watch.wrote += took;
        self.judge_trial();
        if self.waits && self.run.splits.known_to_help() {
            self.split();
        }
        let total = (self.watch.waited + self.watch.wrote).as_secs_f64();
        if total < WATCH.as_secs_f64() {
            return;
        }
        let busy = self.watch.wrote.as_secs_f64() / total;
        #[expect(clippy::cast_precision_loss, reason = "megabytes")]
        let rate = (self.at - self.watch.from) as f64 / total;
        self.watch = Watch { from: self.at, ..Watch::default() };
        let is_blocked = busy > 1.0 - BUSY;
        // Where it helps, or costs little to find out, the processor may be what keeps both sides busy.
        let both_may_be_busy = self.run.splits.known_to_help() || self.run.comes_from_afar();
        let starved = if both_may_be_busy { !is_blocked } else { busy < BUSY };
        self.blocked = if is_blocked { self.blocked + 1 } else { 0 };
        if self.depth > 0 && !is_blocked && rate > self.alone * GAIN {
            self.pause.forget();
            self.run.splits.gained();
        }
        let left = self.blob.size.saturating_sub(self.at);
        let has_one_connection = self.has_one_connection();
        if has_one_connection {
            self.alone = rate;
        }
        self.waits = self.far && !is_blocked && !self.pause.is_on() && has_one_connection && is_long(left);
        let is_split = self.depth > 0;
        self.run.splits.note(self.age, Blob { left, waits: self.waits, is_split, alone: self.alone });
        if !is_split {
            if self.waits && starved {
                self.split();
            }
        } else if self.trial.is_none() && self.run.splits.gives_way(self.age) {
            self.depth = 0;
        } else if self.blocked >= SURE && rate < self.alone * GAIN {
            // The destination takes no more than one connection brings: at all, or while it stands still.
            if self.trial.is_some() || self.run.splits.paused() {
                self.give_up(REST);
            } else {
                self.pause.begin();
                self.depth = 0;
            }
        } else if self.blocked > 0 {
            self.depth = (self.depth / 2).max(1);
        } else if starved && self.trial.is_none() && self.next < self.blob.size {
            let most = if self.run.splits.are_wanted() { FIRST } else { MOST };
            self.depth = (self.depth * 2).min(most as usize);
            self.read_ahead();
        }
    }

    /// Whether it is clear by now that several connections bring more than one.
    #[expect(clippy::cast_precision_loss, reason = "megabytes")]
    fn judge_trial(&mut self) {
        let Some(Trial { since, at, brought, rate, ended, ticks }) = self.trial else { return };
        if self.run.splits.ended() != ended {
            // What all bring now is to be compared with something else.
            self.depth = 0;
            return self.end_trial();
        }
        let took = since.elapsed();
        let more = |bytes: u64, rate: f64| bytes as f64 - rate * took.as_secs_f64();
        let gain = Gain {
            all: more(self.run.splits.total() - brought, rate),
            own: more(self.at - at, self.alone),
            usual: rate * took.as_secs_f64(),
            alone: self.alone * took.as_secs_f64(),
        };
        if gain.is_proof() {
            self.run.splits.help();
            self.trial = None;
            // The others want some too.
            self.depth = self.depth.min(FIRST as usize);
        } else if took > TRIAL || gain.is_taken_from_others() {
            self.give_up(rest(self.run.is_far(), ticks.zip(Ticks::now())));
        }
    }

    /// Several connections bring no more than one; nobody tries again for so long.
    fn give_up(&mut self, rest: Duration) {
        self.run.splits.are_useless(rest);
        (self.trial, self.depth) = (None, 0);
    }

    /// Whether the rest comes over one connection; not so while others still have a part of it.
    fn has_one_connection(&self) -> bool {
        self.stream.is_some() && self.end == self.blob.size
    }

    /// Lets others read what comes soon, where that may help and there is room.
    fn split(&mut self) {
        let left = self.blob.size.saturating_sub(self.at);
        let lead = LEAD.min(left / 3);
        // There may be fewer left.
        let first = u32::try_from((left - lead).div_ceil(PIECE)).unwrap_or(FIRST).min(FIRST);
        let room = self.run.window.free() >= first as usize && is_long(left);
        if !room || self.run.source.ranges() != Ranges::Yes || self.run.turns.are_of_one_host() {
            return;
        }
        let is_far = self.run.is_far();
        let Some(purpose) = self.run.splits.may(self.age, is_far) else { return };
        self.trial = (purpose == Purpose::FindOut).then(|| {
            let splits = &self.run.splits;
            Trial {
                since: Instant::now(),
                at: self.at,
                brought: splits.total(),
                rate: splits.rate(),
                ended: splits.ended(),
                ticks: Ticks::now(),
            }
        });
        let half = u32::try_from(left / 2 / PIECE).unwrap_or(u32::MAX);
        let (depth, lead) = match purpose {
            Purpose::FindOut => (if is_far { FEW } else { MANY.min(half) }, TRIAL_LEAD),
            Purpose::Help => (first, lead),
        };
        let rooms: Vec<Room> = (0..depth).map_while(|_| self.run.window.room()).collect();
        if rooms.is_empty() {
            // Others have taken it.
            return self.end_trial();
        }
        (self.depth, self.blocked, self.waits) = (rooms.len(), 0, false);
        self.end = self.at + lead;
        self.next = self.end;
        self.run.splits.note(self.age, Blob { left, waits: false, is_split: true, alone: self.alone });
        for room in rooms {
            if self.next < self.blob.size {
                self.read_piece(room);
            }
        }
    }

    /// Lets others find out what is not known.
    fn end_trial(&mut self) {
        if self.trial.take().is_some() {
            self.run.splits.are_unknown();
        }
    }

    fn read_ahead(&mut self) {
        while self.ahead.len() < self.depth && self.next < self.blob.size {
            let Some(room) = self.run.window.room() else { return };
            self.read_piece(room);
        }
    }

    /// Begins to read the next piece that nobody reads yet.
    fn read_piece(&mut self, room: Room) {
        // Long ones would make a trial longer.
        let is_short = self.trial.is_some() || !self.run.splits.are_wanted();
        let length = if is_short { PIECE } else { LONG_PIECE };
        let part = self.next..self.blob.size.min(self.next + length);
        self.next = part.end;
        self.ahead.push_back(Ahead::new(&self.run, &self.blob, part, self.age, room));
    }
}

/// How long it is not tried again after a trial without proof, with what the processors had done when it began and when it ended. Where
/// it is they that the others lack, it may help as soon as they have less to do; but each trial costs something where the destination is
/// far.
fn rest(is_far: bool, ticks: Option<(Ticks, Ticks)>) -> Duration {
    let were_busy = ticks.is_some_and(|(before, after)| after.were_busy_since(before));
    if were_busy && !is_far { BREATH } else { REST }
}

/// Whether so much of a blob is left that it is worth splitting.
fn is_long(left: u64) -> bool {
    left > 2 * PIECE
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Megabytes more than usual, of all and of the one; and what would have been usual. Proof, none for ever, or neither yet.
    fn judged([all, own, usual, alone]: [f64; 4]) -> (bool, bool) {
        let gain = Gain { all: all * 1e6, own: own * 1e6, usual: usual * 1e6, alone: alone * 1e6 };
        (gain.is_proof(), gain.is_taken_from_others())
    }

    #[test]
    fn what_busy_processors_hide_is_tried_again_soon() {
        let after = |idle: u64| Some((Ticks { idle: 10, all: 100 }, Ticks { idle: 10 + idle, all: 200 }));
        assert_eq!([after(24), after(25), None].map(|ticks| rest(false, ticks)), [BREATH, REST, REST]);
        assert_eq!(rest(true, after(0)), REST, "each trial costs something");
    }

    #[test]
    fn more_for_one_is_no_gain_of_all() {
        let (proof, none, open) = ((true, false), (false, true), (false, false));
        for (gain, verdict) in [
            // Each connection brings as much as the others: a capped source.
            ([15.0, 15.0, 30.0, 3.0], proof),
            ([13.0, 13.0, 30.0, 3.0], open),
            // A full line: what one gets more others lack.
            ([0.0, 13.0, 200.0, 13.0], open),
            ([0.0, 15.0, 200.0, 13.0], none),
            ([5.0, 15.0, 200.0, 13.0], open),
            ([10.0, 29.0, 200.0, 13.0], none),
            ([18.0, 29.0, 300.0, 13.0], open),
            // All bring more, but not for that: the blob itself is bound by its upload, or the rate was off by little.
            ([20.0, 6.0, 200.0, 60.0], open),
            ([20.0, 8.0, 200.0, 60.0], open),
            ([20.0, 20.0, 900.0, 30.0], open),
        ] {
            assert_eq!(judged(gain), verdict, "{gain:?}");
        }
    }
}
