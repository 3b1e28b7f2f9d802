//! What a transfer shows of itself: bars on a terminal, crane's lines elsewhere.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use indicatif::{HumanBytes, ProgressBar, ProgressStyle};
use oci::{Descriptor, Digest};
use store::{Event, Observer};

use crate::ui::Ui;

/// How often bars are drawn while nothing happens, so that the rate stays true.
const TICK: Duration = Duration::from_millis(200);

/// Draws the events of one command.
pub(crate) struct Progress {
    ui: Ui,
    /// The destination in full, and as it was typed: lines name it so.
    typed: Option<(String, String)>,
    bars: Mutex<Bars>,
}

#[derive(Default)]
struct Bars {
    total: Option<ProgressBar>,
    planned: u64,
    active: HashMap<Digest, ProgressBar>,
}

impl Progress {
    /// For a copy; `typed` is the destination in full and as it was typed.
    pub(crate) fn copy(ui: Ui, typed: (String, String)) -> Self {
        Self { ui, typed: Some(typed), bars: Mutex::default() }
    }

    /// For a command that only reads: bars on a terminal, nothing elsewhere.
    pub(crate) fn read(ui: Ui) -> Self {
        Self { ui, typed: None, bars: Mutex::default() }
    }

    /// Ends the bars, and on a terminal says what was done.
    pub(crate) fn finish(&self, summary: &str) {
        self.clear();
        if self.ui.live {
            self.ui.note(summary);
        }
    }

    /// Takes the bars away.
    pub(crate) fn clear(&self) {
        let mut bars = self.bars();
        let total = bars.total.take();
        for bar in bars.active.drain().map(|(_, bar)| bar).chain(total) {
            bar.finish_and_clear();
        }
    }

    fn bars(&self) -> MutexGuard<'_, Bars> {
        self.bars.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn draw(&self, event: &Event<'_>) {
        let mut bars = self.bars();
        match event {
            Event::Planned { bytes, .. } => {
                bars.planned = bars.planned.saturating_add(*bytes);
                let planned = bars.planned;
                let total = bars.total.get_or_insert_with(|| {
                    let bar = self.ui.bars.add(ProgressBar::new(0).with_style(style("total")));
                    bar.enable_steady_tick(TICK);
                    bar
                });
                total.set_length(planned);
            }
            Event::BlobStarted { blob, .. } => {
                let bar = match bars.active.remove(&blob.digest) {
                    // From the start again: what had passed does not count any more.
                    Some(bar) => {
                        if let Some(total) = &bars.total {
                            total.set_position(total.position().saturating_sub(bar.position()));
                        }
                        bar.reset();
                        bar
                    }
                    None => self.ui.bars.insert(
                        bars.active.len(),
                        ProgressBar::new(blob.size).with_style(style("blob")).with_message(short(blob)),
                    ),
                };
                bars.active.insert(blob.digest, bar);
            }
            Event::BlobAdvanced(blob, bytes) => {
                bars.active.get(&blob.digest).inspect(|bar| bar.inc(*bytes));
                bars.total.as_ref().inspect(|bar| bar.inc(*bytes));
            }
            Event::BlobDone(blob) => {
                if let Some(bar) = bars.active.remove(&blob.digest) {
                    bar.finish_and_clear();
                }
            }
            Event::BlobMounted(blob) => bars.total.as_ref().into_iter().for_each(|bar| bar.inc(blob.size)),
            _ => {}
        }
    }

    /// crane's vocabulary.
    fn line(event: &Event<'_>, typed: &(String, String)) -> Option<String> {
        Some(match event {
            Event::BlobDone(blob) => format!("pushed blob: {}", blob.digest),
            Event::BlobMounted(blob) => format!("mounted blob: {}", blob.digest),
            Event::BlobExisted(blob) => format!("existing blob: {}", blob.digest),
            Event::ManifestDone { reference, manifest } => {
                let reference = if **reference == *typed.0 { &typed.1 } else { *reference };
                format!("{reference}: digest: {} size: {}", manifest.digest, manifest.size)
            }
            Event::ManifestExisted { selector, manifest } if selector.contains(':') => {
                format!("existing manifest: {}", manifest.digest)
            }
            Event::ManifestExisted { selector, manifest } => {
                format!("existing manifest: {selector}@{}", manifest.digest)
            }
            Event::TagSkipped(tag) => format!("Skipping {tag} due to no-clobber"),
            Event::Retried { reason, wait } => {
                format!("retrying in {:.1} s: {reason}", wait.as_secs_f64())
            }
            _ => return None,
        })
    }
}

impl Observer for Progress {
    fn event(&self, event: &Event<'_>) {
        if self.ui.live {
            self.draw(event);
        }
        let told = !self.ui.live || matches!(event, Event::Retried { .. } | Event::TagSkipped(_));
        if let Some(line) = self.typed.as_ref().filter(|_| told).and_then(|typed| Self::line(event, typed)) {
            self.ui.log(&line);
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.clear();
    }
}

/// The digest's first digits and the size: enough to tell blobs apart.
fn short(blob: &Descriptor) -> String {
    format!("{} {:>10}", &blob.digest.hex()[..12], HumanBytes(blob.size).to_string())
}

fn style(kind: &str) -> ProgressStyle {
    let template = if kind == "total" {
        "total        {bytes:>10}/{total_bytes:<10} {wide_bar:.cyan} {bytes_per_sec:>12} {eta:>5} left"
    } else {
        "{msg} {bytes:>10} {wide_bar}"
    };
    // Both templates are among those that the tests draw.
    ProgressStyle::with_template(template).expect("the template is well formed").progress_chars("━╸ ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_templates_are_well_formed() {
        style("total");
        style("blob");
    }

    #[test]
    fn lines_are_crane_s() {
        let (ui, captured) = Ui::captured();
        let typed = ("localhost:5000/app:latest".to_owned(), "localhost:5000/app".to_owned());
        let progress = Progress::copy(ui, typed);
        let blob = Descriptor::of(oci::MediaType::OCI_EMPTY, oci::Algorithm::Sha256, b"{}");
        let reference = "localhost:5000/app:latest";
        progress.event(&Event::BlobDone(&blob));
        progress.event(&Event::ManifestDone { reference, manifest: &blob });
        progress.event(&Event::ManifestExisted { selector: "v1", manifest: &blob });
        let digest = blob.digest;
        let text = captured.err();
        let lines: Vec<&str> = text.lines().map(|line| &line["2022/04/16 07:10:51 ".len()..]).collect();
        assert_eq!(
            lines,
            [
                format!("pushed blob: {digest}"),
                format!("localhost:5000/app: digest: {digest} size: 2"),
                format!("existing manifest: v1@{digest}")
            ]
        );
    }
}
