//! A registry that takes so many requests at once.

use std::sync::Mutex;
use std::time::Duration;

use super::Answer;
use crate::lock;

#[derive(Debug, Default)]
pub(super) struct Slots(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// None, while there is no limit.
    limit: Option<(usize, Duration)>,
    active: usize,
    history: Vec<(usize, bool)>,
}

impl Slots {
    pub(super) fn limit(&self, slots: usize, time: Duration) {
        lock(&self.0).limit = Some((slots, time));
    }

    pub(super) fn history(&self) -> Vec<(usize, bool)> {
        lock(&self.0).history.clone()
    }

    /// What a request gets that begins now. Its end is to be told.
    pub(super) fn under_way(&self, answer: Answer) -> Answer {
        let mut state = lock(&self.0);
        state.active += 1;
        let Some((slots, time)) = state.limit else { return answer };
        let active = state.active;
        let refused = active > slots;
        state.history.push((active, refused));
        if refused {
            return Answer::error(429, "TOOMANYREQUESTS", "there are too many requests");
        }
        let delay = answer.spoil.delay.max(time);
        answer.delay(delay)
    }

    pub(super) fn ended(&self) {
        lock(&self.0).active -= 1;
    }
}
