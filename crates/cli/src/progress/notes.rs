//! What the client has to say, whatever the verb.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use store::{Event, Observer};

use crate::ui::Ui;

/// A wait that ends so little later than one that was told is the same.
const SAME: Duration = Duration::from_secs(1);

/// Tells it.
pub(crate) struct Notes {
    ui: Ui,
    waits: Mutex<Waits>,
}

/// Until when each host wants to be left alone, as was told.
#[derive(Default)]
struct Waits(HashMap<String, Instant>);

impl Notes {
    pub(crate) fn new(ui: Ui) -> Self {
        Self { ui, waits: Mutex::default() }
    }

    fn is_old(&self, event: &Event<'_>) -> bool {
        let Event::Limited { host, wait } = event else { return false };
        let mut waits = self.waits.lock().unwrap_or_else(PoisonError::into_inner);
        !waits.note(host, Instant::now(), *wait)
    }
}

impl Waits {
    /// Whether this is news: many requests are refused at once, and one line is enough.
    fn note(&mut self, host: &str, now: Instant, wait: Duration) -> bool {
        let news = self.0.get(host).is_none_or(|&until| now >= until || now + wait > until + SAME);
        if news {
            self.0.insert(host.to_owned(), now + wait);
        }
        news
    }
}

impl Observer for Notes {
    fn event(&self, event: &Event<'_>) {
        if let Event::Warned(text) = event {
            return self.ui.warn(text);
        }
        if !self.is_old(event) {
            super::notable(&self.ui, event);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Shown;
    use super::*;

    #[test]
    fn a_wait_is_told_once() {
        let (mut waits, now, second) = (Waits::default(), Instant::now(), Duration::from_secs(1));
        assert!(waits.note("a", now, 30 * second));
        assert!(waits.note("b", now, 30 * second), "another host");
        assert!(!waits.note("a", now + second / 2, 30 * second), "refused with the others");
        assert!(!waits.note("a", now + 5 * second, 10 * second), "shorter");
        assert!(waits.note("a", now + 10 * second, 60 * second), "longer");
        assert!(waits.note("a", now + 70 * second, second), "once more");
    }

    #[test]
    fn it_is_told_in_the_form_that_was_asked_for() {
        let event = Event::Limited { host: "ghcr.io", wait: Duration::from_secs(30) };
        for (shown, expected) in [
            (Shown::Plain, " ghcr.io asks to wait 30 s\n"),
            (Shown::Json, "\"event\":\"limited\",\"host\":\"ghcr.io\",\"wait\":30.0}\n"),
            (Shown::Nothing, ""),
        ] {
            let (mut ui, captured) = Ui::captured();
            ui.shown = shown;
            Notes::new(ui).event(&event);
            assert!(captured.err().ends_with(expected) && captured.err().lines().count() <= 1, "{shown:?}");
        }
    }
}
