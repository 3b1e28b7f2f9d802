//! What a transfer shows of itself: bars on a terminal, lines elsewhere, or objects for programs.

mod bars;
mod choice;
mod document;
mod lines;
mod notes;
mod packing;
mod plain;
mod speed;
mod tally;
mod text;
mod ticker;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use store::{Event, Observer};

pub(crate) use choice::{Choice, Shown};
pub(crate) use document::Document;
pub(crate) use notes::Notes;
pub(crate) use packing::Packing;

use crate::ui::Ui;
use bars::Bars;
use plain::Plain;
use speed::Speed;
use tally::Tally;
use ticker::Ticker;

/// How often a frame is drawn, or told how far each blob is.
const TICK: Duration = Duration::from_millis(250);

/// Shows the events of one command. They are counted as they come, which costs little however many there are; what
/// takes time is done a few times a second on a thread of its own.
pub(crate) struct Progress {
    ui: Ui,
    /// The destination in full, and as it was typed: lines name it so. Reading has none.
    typed: Option<(String, String)>,
    started: Instant,
    tally: Arc<Mutex<Tally>>,
    ticker: Mutex<Option<Ticker>>,
}

impl Progress {
    /// For a copy; `typed` is the destination in full and as it was typed.
    pub(crate) fn copy(ui: Ui, typed: (String, String)) -> Self {
        Self::new(ui, Some(typed))
    }

    /// For a command that only reads.
    pub(crate) fn read(ui: Ui) -> Self {
        Self::new(ui, None)
    }

    fn new(ui: Ui, typed: Option<(String, String)>) -> Self {
        let (started, tally) = (Instant::now(), Arc::<Mutex<Tally>>::default());
        let ticker = start(&ui, started, &tally);
        Self { ui, typed, started, tally, ticker: Mutex::new(ticker) }
    }

    /// Says something about the work, if anything is to be said of it.
    pub(crate) fn log(&self, text: &str) {
        if self.ui.shown != Shown::Nothing {
            self.ui.log(text);
        }
    }

    /// Ends what is shown of a command that has done all that was asked, and says what that was: on a terminal in these
    /// words.
    pub(crate) fn finish(&self, summary: &str) {
        self.end(true);
        if self.ui.shown == Shown::Bars {
            self.ui.note(&match of(&self.tally).summary().bytes.cached {
                0 => summary.to_owned(),
                bytes => format!("{summary}; {} of it came out of the cache", text::size(bytes)),
            });
        }
    }

    /// Ends what is shown, without a word.
    pub(crate) fn clear(&self) {
        self.stop();
    }

    /// Ends what is shown; programs are told what was done. `complete`: that was all that was asked for.
    pub(crate) fn end(&self, complete: bool) {
        if self.stop() && self.ui.shown == Shown::Json {
            let tally = of(&self.tally);
            self.ui.object(&Document::summary(tally.summary(), complete, self.started.elapsed()));
        }
    }

    /// Whether it had not stopped before.
    fn stop(&self) -> bool {
        let ticker = self.ticker.lock().unwrap_or_else(PoisonError::into_inner).take();
        ticker.is_some()
    }

    /// Says at once what is not told a few times a second.
    fn tell(&self, event: &Event<'_>) {
        let typed = self.typed.as_ref().filter(|_| self.ui.shown == Shown::Plain);
        match typed.and_then(|typed| lines::copy(event, typed)) {
            Some(line) => self.ui.log(&line),
            None => notable(&self.ui, event),
        }
    }
}

impl Observer for Progress {
    fn event(&self, event: &Event<'_>) {
        of(&self.tally).note(event);
        if !matches!(event, Event::BlobAdvanced(..)) {
            self.tell(event);
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.end(false);
    }
}

/// Says what is said in whatever form: to programs all, to people what is notable.
fn notable(ui: &Ui, event: &Event<'_>) {
    match ui.shown {
        Shown::Nothing => {}
        Shown::Json => {
            for document in Document::all(event) {
                ui.object(&document);
            }
        }
        Shown::Bars | Shown::Plain => {
            if let Some(line) = lines::notable(event) {
                ui.log(&line);
            }
        }
    }
}

/// Begins to show, in the form that was asked for.
fn start(ui: &Ui, started: Instant, tally: &Arc<Mutex<Tally>>) -> Option<Ticker> {
    let (ui, tally) = (ui.clone(), Arc::clone(tally));
    match ui.shown {
        Shown::Bars => {
            let mut speed = Speed::default();
            let mut bars = Bars::new(ui);
            Ticker::start(TICK, move || {
                let (position, moved, active) = {
                    let tally = of(&tally);
                    (tally.position(), tally.moved(), tally.active().to_vec())
                };
                let speed = speed.note(started.elapsed(), moved);
                if position.1 > 0 {
                    bars.draw(position, speed, &active);
                }
            })
        }
        Shown::Plain => {
            let mut plain = Plain::default();
            Ticker::start(TICK, move || {
                let (position, moved) = {
                    let tally = of(&tally);
                    (tally.position(), tally.moved())
                };
                if let Some(line) = plain.note(started.elapsed(), position, moved) {
                    ui.log(&line);
                }
            })
        }
        Shown::Json => Ticker::start(TICK, move || {
            let advances = of(&tally).advances();
            for (flow, bytes) in &advances {
                ui.object(&Document::advanced(flow, *bytes));
            }
        }),
        Shown::Nothing => None,
    }
}

fn of(tally: &Mutex<Tally>) -> MutexGuard<'_, Tally> {
    // Numbers stay numbers, whoever panicked over them.
    tally.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use oci::Descriptor;
    use serde_json::Value;

    use super::*;

    fn told(shown: Shown) -> String {
        let (mut ui, captured) = Ui::captured();
        ui.shown = shown;
        let typed = ("localhost:5000/app:latest".to_owned(), "localhost:5000/app".to_owned());
        let progress = Progress::copy(ui, typed);
        let blob = Descriptor::of(oci::MediaType::OCI_EMPTY, oci::Algorithm::Sha256, b"{}");
        progress.event(&Event::Planned { blobs: 1, bytes: 2, kept: 1 });
        progress.event(&Event::BlobStarted { blob: &blob, kept: 1 });
        progress.event(&Event::BlobAdvanced(&blob, 1));
        progress.event(&Event::BlobDone(&blob));
        progress.event(&Event::ManifestDone { reference: "localhost:5000/app:latest", manifest: &blob });
        progress.finish("1 blobs moved");
        drop(progress);
        captured.err()
    }

    #[test]
    fn each_form_in_its_words() {
        let lines = |text: &str| -> Vec<String> {
            text.lines().map(|line| line["2022/04/16 07:10:51 ".len()..].to_owned()).collect()
        };
        let digest = Descriptor::of(oci::MediaType::OCI_EMPTY, oci::Algorithm::Sha256, b"{}").digest;
        let resuming = "resuming at 1 B of 2 B".to_owned();
        let plain = [
            resuming.clone(),
            format!("pushed blob: {digest}"),
            format!("localhost:5000/app: digest: {digest} size: 2"),
        ];
        assert_eq!(lines(&told(Shown::Plain)), plain);
        assert_eq!(told(Shown::Nothing), "");
        let events: Vec<Value> =
            told(Shown::Json).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let names: Vec<&str> = events
            .iter()
            .map(|event| event["event"].as_str().unwrap())
            .filter(|event| *event != "advanced")
            .collect();
        assert_eq!(names, ["planned", "resuming", "started", "done", "manifest", "summary"]);
        let summary = events.last().unwrap();
        assert_eq!(summary["complete"], true);
        assert_eq!((&summary["bytes"]["moved"], &summary["bytes"]["resumed"]), (&1.into(), &1.into()));
    }

    #[test]
    fn what_did_not_end_well_has_a_summary_too() {
        let (mut ui, captured) = Ui::captured();
        ui.shown = Shown::Json;
        drop(Progress::read(ui.clone()));
        let summary: Value = serde_json::from_str(&captured.err()).unwrap();
        assert_eq!((&summary["event"], &summary["complete"]), (&"summary".into(), &false.into()));
        Progress::read(ui).clear();
        assert_eq!(captured.err().lines().count(), 1, "a plan moves nothing");
    }
}
