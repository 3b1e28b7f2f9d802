//! How far a layer is that is being made: what takes longer than a moment is shown.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use super::plain::Plain;
use super::speed::Speed;
use super::ticker::Ticker;
use super::{Shown, TICK, text};
use crate::ui::Ui;

/// What is done sooner is not shown on a terminal.
const MOMENT: Duration = Duration::from_millis(700);

/// Shows how many bytes have been packed, until it is dropped.
pub(crate) struct Packing {
    _ticker: Option<Ticker>,
}

impl Packing {
    /// `total`: how many there will be, where that is known.
    pub(crate) fn start(ui: &Ui, name: &str, packed: Arc<AtomicU64>, total: Option<u64>) -> Self {
        let (ui, name, started) = (ui.clone(), name.to_owned(), Instant::now());
        let ticker = match ui.shown {
            Shown::Bars => {
                let mut bar = Bar { ui, name, total, shown: None };
                let mut speed = Speed::default();
                Ticker::start(TICK, move || {
                    let (elapsed, done) = (started.elapsed(), packed.load(Ordering::Relaxed));
                    let speed = speed.note(elapsed, done);
                    if elapsed > MOMENT {
                        bar.draw(done, speed);
                    }
                })
            }
            Shown::Plain => {
                let mut plain = Plain::default();
                Ticker::start(TICK, move || {
                    let done = packed.load(Ordering::Relaxed);
                    let position = (done, total.unwrap_or(done));
                    if let Some(line) = plain.note(started.elapsed(), position, done) {
                        ui.log(&format!("packing {name}: {line}"));
                    }
                })
            }
            Shown::Json | Shown::Nothing => None,
        };
        Self { _ticker: ticker }
    }
}

/// A line on a terminal; gone when dropped.
struct Bar {
    ui: Ui,
    name: String,
    total: Option<u64>,
    shown: Option<ProgressBar>,
}

impl Bar {
    fn draw(&mut self, done: u64, speed: Option<u64>) {
        let ui = &self.ui;
        let bar = self.shown.get_or_insert_with(|| ui.bars.add(ProgressBar::new(0).with_style(style())));
        bar.set_length(self.total.unwrap_or(done).max(done));
        let of = self.total.map(|total| format!(" of {}", text::size(total))).unwrap_or_default();
        let speed = speed.map(|speed| format!("  {}", text::rate(speed))).unwrap_or_default();
        bar.set_message(format!("packing {} {}{of}{speed}", self.name, text::size(done)));
        bar.set_position(done);
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        if let Some(bar) = self.shown.take() {
            bar.finish_and_clear();
            self.ui.bars.remove(&bar);
        }
    }
}

fn style() -> ProgressStyle {
    // It is drawn by a test.
    let style = ProgressStyle::with_template("{msg} {wide_bar}").expect("the template is well formed");
    style.progress_chars("━╸ ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_drawn() {
        let (ui, _) = Ui::captured();
        let mut bar = Bar { ui, name: "l.tar".to_owned(), total: Some(4 << 20), shown: None };
        bar.draw(1 << 20, None);
        let shown = bar.shown.as_ref().map(ProgressBar::message);
        assert_eq!(shown.as_deref(), Some("packing l.tar 1.0 MiB of 4.0 MiB"));
        bar.total = None;
        bar.draw(2 << 20, Some(1 << 20));
        let shown = bar.shown.as_ref().map(ProgressBar::message);
        assert_eq!(shown.as_deref(), Some("packing l.tar 2.0 MiB  1.0 MiB/s"));
    }
}
