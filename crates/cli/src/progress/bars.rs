//! Bars on a terminal: one for each blob on its way, as many as fit, and one for all.

use indicatif::{ProgressBar, ProgressStyle};
use oci::Digest;

use super::tally::Flow;
use super::text;
use crate::ui::Ui;

/// More are summed up, also on a high terminal.
const MOST: usize = 12;

/// Lines of a terminal that are not for blobs: the sum of the rest, the total, and the one that is written next.
const OTHERS: usize = 3;

/// What is drawn; gone when dropped. One frame is drawn a tick, whatever happens in between.
pub(super) struct Bars {
    ui: Ui,
    total: Option<ProgressBar>,
    more: Option<ProgressBar>,
    blobs: Vec<(Digest, ProgressBar)>,
}

impl Bars {
    pub(super) fn new(ui: Ui) -> Self {
        Self { ui, total: None, more: None, blobs: Vec::new() }
    }

    /// Shows how it is. `speed` in bytes a second, where it is known.
    pub(super) fn draw(&mut self, (done, total): (u64, u64), speed: Option<u64>, active: &[Flow]) {
        let (ui, colour) = (&self.ui, self.ui.err_colour);
        let bar = self.total.get_or_insert_with(|| ui.bars.add(bar(total_template(colour))));
        bar.set_length(total);
        bar.set_prefix(amount("total", done, total));
        bar.set_message(pace(done, total, speed));
        let (single, rest) = active.split_at(fitting(active.len(), ui.height()));
        self.blobs.retain(|(digest, bar)| {
            let stays = single.iter().any(|flow| flow.digest == *digest);
            if !stays {
                remove(ui, bar);
            }
            stays
        });
        for flow in single {
            let known = self.blobs.iter().find(|(digest, _)| *digest == flow.digest);
            let bar = if let Some((_, bar)) = known {
                bar.clone()
            } else {
                let before = self.more.as_ref().unwrap_or(bar);
                let new = ui.bars.insert_before(before, self::bar("{msg} {wide_bar}"));
                self.blobs.push((flow.digest, new.clone()));
                new
            };
            bar.set_length(flow.size);
            bar.set_message(label(flow));
            bar.set_position(flow.at.min(flow.size));
        }
        if rest.is_empty() {
            if let Some(more) = self.more.take() {
                remove(ui, &more);
            }
        } else {
            let more = self.more.get_or_insert_with(|| ui.bars.insert_before(bar, self::bar("{msg}")));
            more.set_message(sum(rest));
        }
        bar.set_position(done.min(total));
    }
}

impl Drop for Bars {
    fn drop(&mut self) {
        let blobs = self.blobs.drain(..).map(|(_, bar)| bar);
        for bar in blobs.chain(self.more.take()).chain(self.total.take()) {
            remove(&self.ui, &bar);
        }
    }
}

fn remove(ui: &Ui, bar: &ProgressBar) {
    bar.finish_and_clear();
    ui.bars.remove(bar);
}

/// How many of so many blobs have a bar of their own on a terminal of this height.
fn fitting(blobs: usize, height: usize) -> usize {
    blobs.min(MOST).min(height.saturating_sub(OTHERS))
}

/// The digest's first digits tell blobs apart.
fn label(flow: &Flow) -> String {
    amount(&flow.digest.hex()[..12], flow.at, flow.size)
}

/// The blobs without a bar.
fn sum(rest: &[Flow]) -> String {
    let sum = |part: fn(&Flow) -> u64| rest.iter().map(part).fold(0, u64::saturating_add);
    amount(&format!("+ {} more", rest.len()), sum(|flow| flow.at), sum(|flow| flow.size))
}

/// The columns before a bar.
fn amount(name: &str, at: u64, size: u64) -> String {
    format!("{name:<12} {:>9} of {:<9}", text::size(at), text::size(size))
}

/// What stands behind the bar of the total.
fn pace(done: u64, total: u64, speed: Option<u64>) -> String {
    match speed {
        None => String::new(),
        Some(0) => "nothing moves".to_owned(),
        Some(speed) => {
            format!("{:>10} {:>7} left", text::rate(speed), text::time(text::left(done, total, speed)))
        }
    }
}

fn total_template(colour: bool) -> &'static str {
    if colour { "{prefix} {wide_bar:.cyan} {msg}" } else { "{prefix} {wide_bar} {msg}" }
}

fn bar(template: &str) -> ProgressBar {
    // All templates are among those that the tests draw.
    let style = ProgressStyle::with_template(template).expect("the template is well formed");
    ProgressBar::new(0).with_style(style.progress_chars("━╸ "))
}

#[cfg(test)]
mod tests {
    use oci::Descriptor;
    use store::Event;

    use super::super::tally::Tally;
    use super::*;

    #[test]
    fn no_more_than_fit() {
        for (blobs, height, bars) in [(0, 40, 0), (5, 40, 5), (40, 40, 12), (40, 10, 7), (1, 3, 0), (1, 0, 0)]
        {
            assert_eq!(fitting(blobs, height), bars, "{blobs} in {height}");
        }
    }

    #[test]
    fn the_columns() {
        assert_eq!(amount("total", 1 << 19, 14 << 20), "total          512 KiB of 14.0 MiB ");
        assert_eq!(pace(1 << 19, 14 << 20, None), "");
        assert_eq!(pace(1 << 19, 14 << 20, Some(0)), "nothing moves");
        assert_eq!(pace(0, 14 << 20, Some(1 << 20)), " 1.0 MiB/s    14 s left");
    }

    #[test]
    fn the_rest_is_one_line() {
        let blobs = [b"0", b"1", b"2"].map(|content| {
            let mut blob = Descriptor::of(oci::MediaType::OCI_EMPTY, oci::Algorithm::Sha256, content);
            blob.size = 1 << 20;
            blob
        });
        let mut tally = Tally::default();
        for blob in &blobs {
            tally.note(&Event::BlobStarted { blob, kept: 1 << 18 });
        }
        assert_eq!(sum(&tally.active()[1..]), "+ 2 more       512 KiB of 2.0 MiB  ");
        let label = label(&tally.active()[0]);
        assert_eq!(label, format!("{}   256 KiB of 1.0 MiB  ", &blobs[0].digest.hex()[..12]));
    }

    #[test]
    fn a_frame_is_drawn_and_goes() {
        let (ui, _) = Ui::captured();
        let blob = Descriptor::of(oci::MediaType::OCI_EMPTY, oci::Algorithm::Sha256, b"{}");
        let mut tally = Tally::default();
        let mut bars = Bars::new(ui);
        let names = |bars: &Bars| bars.blobs.iter().map(|(digest, _)| *digest).collect::<Vec<_>>();
        tally.note(&Event::Planned { blobs: 1, bytes: 2, kept: 0 });
        tally.note(&Event::BlobStarted { blob: &blob, kept: 1 });
        bars.draw(tally.position(), Some(1), tally.active());
        assert_eq!(names(&bars), [blob.digest]);
        assert_eq!(bars.blobs[0].1.position(), 1);
        // What was interrupted goes back.
        tally.note(&Event::BlobStarted { blob: &blob, kept: 0 });
        bars.draw(tally.position(), Some(1), tally.active());
        assert_eq!(bars.blobs[0].1.position(), 0);
        tally.note(&Event::BlobDone(&blob));
        bars.draw(tally.position(), Some(1), tally.active());
        assert!(names(&bars).is_empty());
        assert_eq!(bars.total.as_ref().unwrap().position(), 2);
        bar(total_template(true));
        bar(total_template(false));
    }
}
