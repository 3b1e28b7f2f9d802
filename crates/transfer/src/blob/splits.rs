//! Whether it helps to read a blob over several connections; found out with one blob for all.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// How long it is not tried again where it did not help. Links change.
const REST: Duration = Duration::from_secs(30);

/// What is known of it. Until somebody has found out, one at a time may try; always a blob that has about as much left
/// as any.
#[derive(Debug, Default)]
pub(crate) struct Splits(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    known: Known,
    /// The bytes that are left of each blob that waits for the one connection that brings it.
    left: BTreeMap<u64, u64>,
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

impl Splits {
    /// Whether a blob, of which so many bytes are left, may be split now. Who may has to say what came of it.
    pub(crate) fn may(&self, blob: u64, left: u64) -> bool {
        let mut state = self.state();
        state.left.insert(blob, left);
        // What others had left is a moment old.
        if state.left.values().any(|&other| other / 4 * 3 > left) {
            return false;
        }
        match state.known {
            Known::Tried => return false,
            Known::Useless(until) if Instant::now() < until => return false,
            Known::Help => {}
            Known::Unknown | Known::Useless(_) => state.known = Known::Tried,
        }
        state.left.remove(&blob);
        true
    }

    /// A blob has come to its end, or its source is not what it waits for.
    pub(crate) fn end(&self, blob: u64) {
        self.state().left.remove(&blob);
    }

    /// Several connections brought more than one.
    pub(crate) fn help(&self) {
        self.state().known = Known::Help;
    }

    /// They brought no more than one.
    pub(crate) fn are_useless(&self) {
        self.state().known = Known::Useless(Instant::now() + REST);
    }

    /// Who tried ended without knowing.
    pub(crate) fn are_unknown(&self) {
        let mut state = self.state();
        if state.known == Known::Tried {
            state.known = Known::Unknown;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // The state is whole at every moment, so a panic elsewhere does not spoil it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_finds_out_for_all() {
        let splits = Splits::default();
        let may = || (splits.may(1, 9), splits.may(2, 9));
        assert_eq!(may(), (true, false));
        splits.are_unknown();
        splits.end(2);
        assert_eq!(may(), (true, false));
        splits.are_useless();
        splits.are_unknown();
        assert_eq!(may(), (false, false));
        tokio::time::sleep(REST).await;
        assert_eq!(may(), (true, false));
        splits.help();
        splits.are_unknown();
        assert_eq!(may(), (true, true));
    }

    #[test]
    fn the_blob_that_has_most_left_comes_first() {
        let splits = Splits::default();
        splits.help();
        assert!(splits.may(1, 5));
        assert!(splits.may(2, 4));
        splits.are_useless();
        assert!(!splits.may(3, 80));
        splits.help();
        assert!(!splits.may(4, 50));
        splits.end(3);
        assert!(splits.may(4, 50));
    }
}
