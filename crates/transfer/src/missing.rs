//! Brings the blobs that the destination lacks, while others are still asked for.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use futures_util::stream::{BoxStream, StreamExt};
use oci::Digest;
use store::Event;
use tokio::task::JoinSet;

use crate::survey::{Finding, SMALL};
use crate::transfer::Run;
use crate::{Copied, Error, Fate, Move};

/// So many findings are taken together, at most.
const FINDINGS: usize = 1000;

impl Run {
    /// Brings blobs as they turn out to be missing, each in a task: the largest of the known ones first, or each in its turn where
    /// the destination has such. What is small waits until all that is `large` is known. The first error ends the others.
    pub(crate) async fn bring_all(
        self: &Arc<Self>,
        findings: BoxStream<'_, Result<Finding, Error>>,
        turns: &HashMap<Digest, usize>,
        mut large: HashSet<Digest>,
        copied: &mut Copied,
    ) -> Result<(), Error> {
        let (mut blobs, mut bytes, mut kept) = (0, 0_u64, 0);
        let (ordered, mut all_found) = (self.destination.in_order(), false);
        let mut waiting: BTreeMap<_, Move> = BTreeMap::new();
        let mut tasks = JoinSet::new();
        // All that are known, so that the largest is among them.
        let mut findings = findings.ready_chunks(FINDINGS);
        let outcome = loop {
            // Where something is there from an earlier attempt, it is told before it goes on.
            let room = match all_found {
                true if ordered => 1,
                true => self.options.jobs.get(),
                false => self.room_beside_questions(),
            };
            while tasks.len() < room
                && let Some(step) = waiting.first_entry()
                && (all_found || kept == 0 && !ordered && (step.get().blob.size > SMALL || large.is_empty()))
            {
                let step = step.remove();
                let run = Arc::clone(self);
                tasks.spawn(async move {
                    let fate = run.bring(&step).await?;
                    Ok((step.blob, fate))
                });
            }
            tokio::select! {
                found = findings.next(), if !all_found => {
                    let Some(found) = found else {
                        all_found = true;
                        self.observer.event(&Event::Planned { blobs, bytes, kept });
                        continue;
                    };
                    let found: Vec<Finding> = match found.into_iter().collect() {
                        Ok(found) => found,
                        Err(error) => break Err(error),
                    };
                    for finding in found {
                        large.remove(&finding.digest());
                        match finding {
                            Finding::Bring(step) => {
                                // Other copies of the run have announced what they bring.
                                if self.blobs.claim(step.blob.digest).1 {
                                    blobs += 1;
                                    bytes = bytes.saturating_add(step.blob.size);
                                    kept += self.destination.kept(&step.blob).await;
                                }
                                let turn = turns.get(&step.blob.digest).copied();
                                waiting.insert((turn, Reverse(step.blob.size), step.blob.digest), step);
                            }
                            Finding::Existed(blob) => copied.add(&blob, Fate::Existed),
                            Finding::Known(_) => {}
                        }
                    }
                }
                Some(outcome) = tasks.join_next() => match outcome {
                    Ok(Ok((blob, fate))) => fate.into_iter().for_each(|fate| copied.add(&blob, fate)),
                    Ok(Err(error)) => break Err(error),
                    // Nobody but `shutdown` cancels a task, so it has panicked.
                    Err(error) => std::panic::resume_unwind(error.into_panic()),
                },
                else => break Ok(()),
            }
        };
        // When the caller hears of it, nothing moves any more.
        tasks.shutdown().await;
        outcome
    }

    /// How many blobs may be under way while others are still asked for: the questions have the same slots.
    fn room_beside_questions(&self) -> usize {
        let slots = self.destination.pace().map_or(usize::MAX, |pace| pace.limit() / 2);
        slots.clamp(1, self.options.jobs.get())
    }
}
