//! The accounts of a command: what has to move, what has, and what has twice.

use oci::{Descriptor, Digest};
use serde::Serialize;
use store::Event;

/// What the events of a command come to.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// Bytes of all blobs that were announced.
    planned: u64,
    /// Bytes that are said to be there of blobs that have not started.
    promised: u64,
    /// Bytes of blobs that were announced and are there now.
    settled: u64,
    /// In the order in which they started.
    active: Vec<Flow>,
    summary: Summary,
}

/// A blob on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Flow {
    pub(super) digest: Digest,
    pub(super) size: u64,
    /// How many of its bytes are there.
    pub(super) at: u64,
    /// How many were when it was last told of.
    told: u64,
    /// Whether they come from a cache.
    cached: bool,
}

/// What a command did in all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Summary {
    pub(super) bytes: Bytes,
    pub(super) blobs: Blobs,
    pub(super) manifests: Manifests,
    pub(super) tags_skipped: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Bytes {
    /// That passed, each time.
    pub(super) moved: u64,
    /// Of these, what had passed before and was lost.
    pub(super) retried: u64,
    /// That an earlier attempt had left.
    pub(super) resumed: u64,
    /// Of those that moved, what came out of a cache on this machine.
    pub(super) cached: u64,
    /// Of blobs that were mounted.
    pub(super) mounted: u64,
    /// Of blobs that were there.
    pub(super) existed: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Blobs {
    pub(super) moved: u64,
    pub(super) mounted: u64,
    pub(super) existed: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Manifests {
    pub(super) written: u64,
    pub(super) existed: u64,
}

impl Tally {
    pub(super) fn note(&mut self, event: &Event<'_>) {
        match *event {
            Event::Planned { bytes, kept, .. } => {
                add(&mut self.planned, bytes);
                add(&mut self.promised, kept);
            }
            Event::BlobStarted { blob, kept } => self.start(blob, kept),
            Event::BlobCached(blob) => {
                if let Some(flow) = self.flow(blob) {
                    flow.cached = true;
                }
            }
            Event::BlobAdvanced(blob, bytes) => {
                self.summary.bytes.moved += bytes;
                if let Some(flow) = self.flow(blob) {
                    flow.at += bytes;
                    if flow.cached {
                        add(&mut self.summary.bytes.cached, bytes);
                    }
                }
            }
            Event::BlobDone(blob) => {
                self.summary.blobs.moved += 1;
                self.settle(blob);
            }
            Event::BlobMounted(blob) => {
                self.summary.blobs.mounted += 1;
                add(&mut self.summary.bytes.mounted, blob.size);
                self.settle(blob);
            }
            Event::BlobExisted { blob, planned } => {
                self.summary.blobs.existed += 1;
                add(&mut self.summary.bytes.existed, blob.size);
                if planned {
                    self.settle(blob);
                }
            }
            Event::ManifestDone { .. } => self.summary.manifests.written += 1,
            Event::ManifestExisted { .. } => self.summary.manifests.existed += 1,
            Event::TagSkipped(_) => self.summary.tags_skipped += 1,
            _ => {}
        }
    }

    /// How many bytes are there, and how many will be. What an earlier attempt left counts as there from the beginning,
    /// but never as more than what has not started.
    pub(super) fn position(&self) -> (u64, u64) {
        let (size, at) = self.active.iter().fold((0_u64, 0_u64), |(size, at), flow| {
            (size.saturating_add(flow.size), at.saturating_add(flow.at.min(flow.size)))
        });
        let begun = self.settled.saturating_add(size);
        let ahead = self.planned.saturating_sub(begun);
        (self.settled.saturating_add(at).saturating_add(self.promised.min(ahead)), self.planned.max(begun))
    }

    /// How many bytes have passed.
    pub(super) fn moved(&self) -> u64 {
        self.summary.bytes.moved
    }

    pub(super) fn active(&self) -> &[Flow] {
        &self.active
    }

    /// The blobs that got further since this was last asked, and by how many bytes; backwards is told as a start.
    pub(super) fn advances(&mut self) -> Vec<(Flow, u64)> {
        let changed = self.active.iter_mut().filter(|flow| flow.at > flow.told);
        changed.map(|flow| (flow.clone(), flow.at - std::mem::replace(&mut flow.told, flow.at))).collect()
    }

    pub(super) fn summary(&self) -> &Summary {
        &self.summary
    }

    fn flow(&mut self, blob: &Descriptor) -> Option<&mut Flow> {
        self.active.iter_mut().find(|flow| flow.digest == blob.digest)
    }

    fn start(&mut self, blob: &Descriptor, kept: u64) {
        let Some(flow) = self.flow(blob) else {
            self.promised = self.promised.saturating_sub(kept);
            add(&mut self.summary.bytes.resumed, kept);
            self.active.push(Flow {
                digest: blob.digest,
                size: blob.size,
                at: kept,
                told: kept,
                cached: false,
            });
            return;
        };
        // Again, after an interruption.
        let (lost, found) = (flow.at.saturating_sub(kept), kept.saturating_sub(flow.at));
        (flow.at, flow.told, flow.cached) = (kept, kept, false);
        add(&mut self.summary.bytes.retried, lost);
        add(&mut self.summary.bytes.resumed, found);
    }

    fn settle(&mut self, blob: &Descriptor) {
        self.active.retain(|flow| flow.digest != blob.digest);
        add(&mut self.settled, blob.size);
    }
}

/// Sizes come from manifests, which may say anything.
fn add(sum: &mut u64, bytes: u64) {
    *sum = sum.saturating_add(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blob(size: u64) -> Descriptor {
        let content = size.to_string();
        let mut blob = Descriptor::of(oci::MediaType::OCI_EMPTY, oci::Algorithm::Sha256, content.as_bytes());
        blob.size = size;
        blob
    }

    fn after(events: &[Event<'_>]) -> Tally {
        let mut tally = Tally::default();
        for event in events {
            tally.note(event);
        }
        tally
    }

    #[test]
    fn what_moved_mounted_and_was_there() {
        let [moved, mounted, known, asked] = [100, 20, 3, 4000].map(blob);
        let tally = after(&[
            Event::BlobExisted { blob: &asked, planned: false },
            Event::Planned { blobs: 3, bytes: 123, kept: 0 },
            Event::BlobStarted { blob: &moved, kept: 0 },
            Event::BlobAdvanced(&moved, 60),
            Event::BlobMounted(&mounted),
            Event::BlobExisted { blob: &known, planned: true },
        ]);
        assert_eq!(tally.position(), (83, 123));
        let mut tally = tally;
        tally.note(&Event::BlobAdvanced(&moved, 40));
        tally.note(&Event::BlobDone(&moved));
        assert_eq!(tally.position(), (123, 123));
        assert!(tally.active().is_empty());
        let Summary { bytes, blobs, .. } = tally.summary();
        assert_eq!(*bytes, Bytes { moved: 100, mounted: 20, existed: 4003, ..Bytes::default() });
        assert_eq!(*blobs, Blobs { moved: 1, mounted: 1, existed: 2 });
    }

    #[test]
    fn what_an_earlier_attempt_left_is_there_but_did_not_move() {
        let [one, two] = [100, 1000].map(blob);
        let mut tally = after(&[Event::Planned { blobs: 2, bytes: 1100, kept: 770 }]);
        assert_eq!((tally.position(), tally.moved()), ((770, 1100), 0));
        tally.note(&Event::BlobStarted { blob: &two, kept: 700 });
        assert_eq!((tally.position(), tally.moved()), ((770, 1100), 0));
        tally.note(&Event::BlobAdvanced(&two, 300));
        tally.note(&Event::BlobDone(&two));
        assert_eq!((tally.position(), tally.moved()), ((1070, 1100), 300));
        // The registry has dropped the other: its promise was empty.
        tally.note(&Event::BlobStarted { blob: &one, kept: 0 });
        assert_eq!(tally.position(), (1000, 1100));
        tally.note(&Event::BlobAdvanced(&one, 100));
        tally.note(&Event::BlobDone(&one));
        assert_eq!((tally.position(), tally.moved()), ((1100, 1100), 400));
        let expected = Bytes { moved: 400, resumed: 700, ..Bytes::default() };
        assert_eq!(tally.summary().bytes, expected);
    }

    #[test]
    fn what_is_lost_moves_twice() {
        let blob = blob(100);
        let mut tally = after(&[
            Event::Planned { blobs: 1, bytes: 100, kept: 0 },
            Event::BlobStarted { blob: &blob, kept: 0 },
            Event::BlobAdvanced(&blob, 60),
            Event::BlobStarted { blob: &blob, kept: 40 },
        ]);
        assert_eq!((tally.position(), tally.moved()), ((40, 100), 60));
        tally.note(&Event::BlobAdvanced(&blob, 10));
        // More than was known of had arrived.
        tally.note(&Event::BlobStarted { blob: &blob, kept: 55 });
        tally.note(&Event::BlobAdvanced(&blob, 45));
        tally.note(&Event::BlobDone(&blob));
        let Bytes { moved, retried, resumed, .. } = tally.summary().bytes;
        assert_eq!((moved, retried, resumed), (115, 20, 5));
        assert_eq!(moved + resumed - retried, blob.size);
        assert_eq!(tally.position(), (100, 100));
    }

    #[test]
    fn advances_are_told_together() {
        let [one, two] = [100, 1000].map(blob);
        let mut tally = after(&[
            Event::BlobStarted { blob: &one, kept: 30 },
            Event::BlobStarted { blob: &two, kept: 0 },
            Event::BlobAdvanced(&one, 5),
            Event::BlobAdvanced(&one, 6),
        ]);
        let told = |tally: &mut Tally| -> Vec<(u64, u64, u64)> {
            tally.advances().into_iter().map(|(flow, bytes)| (flow.size, flow.at, bytes)).collect()
        };
        assert_eq!(told(&mut tally), [(100, 41, 11)]);
        assert_eq!(told(&mut tally), []);
        tally.note(&Event::BlobAdvanced(&two, 7));
        tally.note(&Event::BlobStarted { blob: &one, kept: 0 });
        assert_eq!(told(&mut tally), [(1000, 7, 7)]);
        tally.note(&Event::BlobAdvanced(&one, 1));
        assert_eq!(told(&mut tally), [(100, 1, 1)]);
    }

    #[test]
    fn wild_numbers_do_no_harm() {
        let huge = blob(u64::MAX);
        let tally = after(&[
            Event::Planned { blobs: 2, bytes: u64::MAX, kept: u64::MAX },
            Event::Planned { blobs: 2, bytes: u64::MAX, kept: u64::MAX },
            Event::BlobStarted { blob: &huge, kept: 0 },
            Event::BlobAdvanced(&blob(7), 9),
        ]);
        assert_eq!(tally.position(), (0, u64::MAX));
    }
}
