//! Whether it helps to read a blob over several connections; found out with one blob for all.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// How long it is not tried again where it did not help. Links change.
const REST: Duration = Duration::from_secs(30);

/// What is known of it. Until somebody has found out, one at a time may try.
#[derive(Debug, Default)]
pub(crate) struct Splits(Mutex<State>);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Unknown,
    Tried,
    Help,
    /// They do not, and may be tried again from then on.
    Useless(Instant),
}

impl Splits {
    /// Whether a blob may be split now. Who may has to say what came of it.
    pub(crate) fn may(&self) -> bool {
        let mut state = self.state();
        match *state {
            State::Tried => return false,
            State::Useless(until) if Instant::now() < until => return false,
            State::Help => return true,
            State::Unknown | State::Useless(_) => {}
        }
        *state = State::Tried;
        true
    }

    /// Several connections brought more than one.
    pub(crate) fn help(&self) {
        *self.state() = State::Help;
    }

    /// They brought no more than one.
    pub(crate) fn are_useless(&self) {
        *self.state() = State::Useless(Instant::now() + REST);
    }

    /// Who tried ended without knowing.
    pub(crate) fn are_unknown(&self) {
        let mut state = self.state();
        if *state == State::Tried {
            *state = State::Unknown;
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
        assert_eq!((splits.may(), splits.may()), (true, false));
        splits.are_unknown();
        assert_eq!((splits.may(), splits.may()), (true, false));
        splits.are_useless();
        splits.are_unknown();
        assert!(!splits.may());
        tokio::time::sleep(REST).await;
        assert_eq!((splits.may(), splits.may()), (true, false));
        splits.help();
        splits.are_unknown();
        assert_eq!((splits.may(), splits.may()), (true, true));
    }
}
