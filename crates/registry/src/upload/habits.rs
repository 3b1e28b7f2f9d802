//! What is known of how a registry takes blobs.

use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use oci::Digest;

use crate::memory::Features;

/// So small a blob is sent with the request that would open its session, though the registry may not know that, and then
/// gets it again.
const UNASKED: u64 = 64 << 10;

/// The same where the registry is known to take it: no more than another blob in flight has in memory.
const OFFERED: u64 = 256 << 10;

/// So many sessions are asked for as mounts from anywhere before it counts as not offered: the answer to one is a session
/// as well where the registry has the blob nowhere.
const ANONYMOUS: u8 = 3;

/// So many sessions of one blob have to be lost with a request that broke off before it counts as the way of the line; any
/// line breaks once, and then under all blobs.
const BREAKS: u32 = 2;

/// How long a request may be, in bytes, where longer ones broke off and their sessions were lost.
const SAFE: RangeInclusive<u64> = 1 << 20..=64 << 20;

/// The longest piece that a connection gets, in bytes. Long ones cost both sides less; on a slow line, taking a short one
/// shows that something moves.
const LONG: usize = 512 << 10;
const SHORT: usize = 128 << 10;

/// The line is not slow if it takes so many bytes in turn, each piece in this time: more than the buffers of one upload
/// hold. Those of several do; then one long piece of each tells.
const SURE: usize = 8 << 20;
const QUICK: Duration = Duration::from_millis(50);

/// What is known; shared by all that write to the host.
#[derive(Debug, Default)]
pub(crate) struct Habits(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    /// Whether a blob may come with the first request.
    single: Option<bool>,
    /// The longest body that is tried, in bytes, since longer ones were refused.
    most: Option<u64>,
    /// Whether mounts without an origin were honoured.
    mounts: bool,
    /// How many were not.
    unmounted: u8,
    /// Blobs of which a request broke off, as long as they are under way.
    broken: HashMap<Digest, Broken>,
    /// Whether that is the way of the line.
    breaks: bool,
    /// The fewest bytes that one of the requests had got whose sessions were lost.
    fewest: Option<u64>,
    /// How many bytes in turn were taken quickly, of whatever blobs.
    quick: usize,
}

/// A blob of which a request broke off.
#[derive(Debug, Default)]
struct Broken {
    /// How many bytes the last one had got, until it is known what became of the session.
    sent: Option<u64>,
    /// How many sessions were lost.
    losses: u32,
}

impl Habits {
    /// What earlier runs have seen.
    pub(crate) fn of(features: Features) -> Self {
        let Features { single_post: single, longest_body: most, anonymous_mount, .. } = features;
        let mounts = anonymous_mount == Some(true);
        Self(Mutex::new(Known { single, most, mounts, ..Known::default() }))
    }

    /// What later runs may begin with. That mounts from anywhere were not honoured says little: the blobs may have been
    /// nowhere.
    pub(crate) fn features(&self) -> Features {
        let known = self.known();
        Features {
            single_post: known.single,
            longest_body: known.most,
            anonymous_mount: known.mounts.then_some(true),
            ..Features::default()
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The largest blob that is sent without a session, in bytes. Without any there is not even that for an empty one.
    pub(super) fn small(&self) -> Option<u64> {
        match self.known().single {
            None => Some(UNASKED),
            Some(true) => Some(OFFERED),
            Some(false) => None,
        }
    }

    /// Notes what came of a blob without a session.
    pub(super) fn took_single(&self, taken: bool) {
        self.known().single = Some(taken);
    }

    /// The longest body that the registry, a proxy before it or the line to it may take; `None` if nothing speaks against
    /// any.
    pub(super) fn most(&self) -> Option<u64> {
        let known = self.known();
        let safe = known.fewest.filter(|_| known.breaks);
        // Much of what was sent had not even left this machine.
        let safe = safe.map(|fewest| (fewest / 4).clamp(*SAFE.start(), *SAFE.end()));
        known.most.into_iter().chain(safe).min()
    }

    /// Notes that a request broke off after so many bytes.
    pub(super) fn broke_off(&self, blob: &Digest, sent: u64) {
        self.known().broken.entry(*blob).or_default().sent = Some(sent);
    }

    /// Notes that a blob is there, or given up.
    pub(super) fn ended(&self, blob: &Digest) {
        self.known().broken.remove(blob);
    }

    /// Notes that the registry has lost a blob's session. If it went with a request that broke off here, shorter ones may
    /// come through.
    pub(super) fn lost(&self, blob: &Digest) {
        let mut known = self.known();
        let Some(broken) = known.broken.get_mut(blob) else { return };
        let Some(sent) = broken.sent.take() else { return };
        broken.losses += 1;
        let often = broken.losses >= BREAKS;
        known.breaks |= often;
        // One that had hardly begun tells nothing of what is too long.
        if sent >= *SAFE.start() {
            known.fewest = Some(known.fewest.map_or(sent, |before| before.min(sent)));
        }
    }

    /// Notes what to try after a body was too long.
    pub(super) fn refused_length(&self, most: u64) {
        let mut known = self.known();
        known.most = Some(known.most.map_or(most, |before| before.min(most)));
    }

    /// The longest piece, in bytes, that a connection gets at once.
    pub(super) fn longest_piece(&self) -> usize {
        if self.known().quick >= SURE { LONG } else { SHORT }
    }

    /// Notes how long a connection took for a piece of so many bytes.
    pub(super) fn took_piece(&self, length: usize, time: Duration) {
        let mut known = self.known();
        known.quick = if time < QUICK { known.quick.saturating_add(length) } else { 0 };
    }

    /// Notes that a connection did not take a piece: the next attempt shows soon that something moves.
    pub(super) fn took_nothing(&self) {
        self.known().quick = 0;
    }

    /// Whether a session may be asked for as a mount from anywhere.
    pub(super) fn may_mount_anonymously(&self) -> bool {
        let known = self.known();
        known.mounts || known.unmounted < ANONYMOUS
    }

    /// Notes what came of a mount from anywhere.
    pub(super) fn mounted_anonymously(&self, mounted: bool) {
        let mut known = self.known();
        if mounted {
            known.mounts = true;
        } else {
            known.unmounted = known.unmounted.saturating_add(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn learns() {
        let habits = Habits::default();
        assert_eq!((habits.small(), habits.most()), (Some(UNASKED), None));
        habits.took_single(true);
        habits.refused_length(5);
        habits.refused_length(9);
        assert_eq!((habits.small(), habits.most()), (Some(OFFERED), Some(5)));
        habits.took_single(false);
        assert_eq!(habits.small(), None);
        for _ in 0..ANONYMOUS {
            assert!(habits.may_mount_anonymously());
            habits.mounted_anonymously(false);
        }
        assert!(!habits.may_mount_anonymously());
        habits.mounted_anonymously(true);
        habits.mounted_anonymously(false);
        assert!(habits.may_mount_anonymously(), "it is offered, and the blob was nowhere");
        let later = Habits::of(habits.features());
        assert_eq!((later.small(), later.most(), later.may_mount_anonymously()), (None, Some(5), true));
    }

    #[test]
    fn long_pieces_go_where_many_bytes_were_taken_quickly() {
        let habits = Habits::default();
        habits.took_piece(SURE - 1, Duration::ZERO);
        assert_eq!(habits.longest_piece(), SHORT);
        habits.took_piece(1, Duration::ZERO);
        assert_eq!(habits.longest_piece(), LONG);
        habits.took_piece(1, QUICK);
        assert_eq!(habits.longest_piece(), SHORT);
        habits.took_piece(SURE, Duration::ZERO);
        habits.took_nothing();
        assert_eq!(habits.longest_piece(), SHORT);
    }

    #[test]
    fn requests_are_shorter_than_what_the_line_lets_pass() {
        let habits = Habits::default();
        let [one, two] = [b"1", b"2"].map(|content| oci::Algorithm::Sha256.digest(content));
        habits.lost(&one);
        for (blob, sent) in [(&one, 20 << 20), (&two, 12 << 20)] {
            habits.broke_off(blob, sent);
            habits.lost(blob);
            habits.lost(blob);
        }
        assert_eq!(habits.most(), None, "the line broke once, under both");
        habits.broke_off(&two, 16 << 20);
        assert_eq!(habits.most(), None, "its session may be alive");
        habits.lost(&two);
        assert_eq!(habits.most(), Some(3 << 20));
        habits.broke_off(&one, 9);
        habits.lost(&one);
        assert_eq!(habits.most(), Some(3 << 20));
        habits.broke_off(&two, 2 << 20);
        habits.lost(&two);
        assert_eq!(habits.most(), Some(1 << 20));
        assert_eq!(habits.features().longest_body, None, "lines change");
        habits.ended(&one);
        habits.ended(&two);
        assert!(habits.known().broken.is_empty());
    }
}
