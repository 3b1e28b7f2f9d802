//! What a copy has to do, found out from both sides before anything is moved.

use std::collections::HashSet;
use std::pin::pin;
use std::sync::Arc;

use futures_util::stream::{self, StreamExt, TryStreamExt};
use oci::{Descriptor, Manifest, Selector};
use store::{Event, Kind, Store};

use crate::graph::existing;
use crate::transfer::Run;
use crate::{Error, Graph, Move, Plan, Transfer, Walk, plan};

/// What a copy would do.
#[derive(Clone, Debug)]
pub struct Preview {
    /// The manifest that would be named.
    pub root: Descriptor,
    /// Whether the destination's name stands for it already: then nothing would be done.
    pub existed: bool,
    /// The blobs to bring, the largest first. Those with an origin are mounted if the destination does that, and may be
    /// there already where it is the same registry.
    pub blobs: Vec<Move>,
    /// The bytes of these blobs together.
    pub bytes: u64,
    /// How many of them are there from an earlier attempt.
    pub kept: u64,
    /// Blobs that are there.
    pub existing: Vec<Descriptor>,
    /// How many manifests would be written, the root among them.
    pub manifests: usize,
}

impl Preview {
    /// About how many requests the copy itself would still make: one to read a blob and two to write it, one to mount it,
    /// one for a manifest. What the preview has asked would be asked again.
    pub fn requests(&self) -> usize {
        let blobs = self.blobs.iter().map(|step| if step.origin.is_some() { 1 } else { 3 });
        blobs.sum::<usize>() + self.manifests
    }
}

/// What a copy has to do, by all that both sides tell.
pub(crate) struct Survey {
    pub(crate) graph: Graph,
    pub(crate) plan: Plan,
    /// Blobs that the destination has, as far as nobody else of the run has found that out.
    pub(crate) existed: Vec<Descriptor>,
}

/// Whether the destination has a blob.
pub(crate) enum Answer {
    /// It has not.
    Missing,
    /// It has, as another copy of the run has found out or seen to.
    Known,
    /// It has.
    Existed,
}

impl Transfer {
    /// What [`copy`](Self::copy) would do. Nothing is written.
    ///
    /// # Errors
    /// Those of [`Transfer::copy`] that come before anything moves.
    pub async fn preview(&self, from: &Selector, to: &Selector) -> Result<Preview, Error> {
        let run = &self.run;
        let there = existing(&run.asked_destination, to).await?;
        let root = run.root(from).await?;
        let descriptor = root.descriptor();
        let mut preview = Preview {
            existed: there.is_some_and(|there| there.digest == descriptor.digest),
            root: descriptor,
            blobs: Vec::new(),
            bytes: 0,
            kept: 0,
            existing: Vec::new(),
            manifests: 0,
        };
        if preview.existed {
            return Ok(preview);
        }
        preview.manifests = 1;
        if !run.same_repository() {
            let Survey { graph, plan, existed } = run.survey(&root).await?;
            preview.manifests = graph.manifests.len();
            for step in &plan.blobs {
                preview.kept += run.destination.kept(&step.blob).await;
            }
            (preview.blobs, preview.bytes, preview.existing) = (plan.blobs, plan.bytes, existed);
        }
        Ok(preview)
    }
}

impl Run {
    /// Walks the graph of `root`, asks the destination what it has of it, and plans the rest.
    pub(crate) async fn survey(self: &Arc<Self>, root: &Manifest) -> Result<Survey, Error> {
        let walk = Walk {
            destination: Some(&self.asked_destination),
            nondistributable: self.options.nondistributable,
            limits: self.options.limits,
        };
        let graph = Graph::walk(&self.asked_source, root.clone(), &walk).await?;
        for manifest in &graph.existing {
            let selector = &manifest.digest.to_string();
            self.observer.event(&Event::ManifestExisted { selector, manifest });
        }
        let origin = self.origin();
        let all = plan(&graph, &HashSet::new(), origin);
        if origin.is_some() {
            // Where blobs can be mounted the mount is the question.
            return Ok(Survey { graph, plan: all, existed: Vec::new() });
        }
        let mut existed = Vec::new();
        let mut present = HashSet::new();
        let questions =
            stream::iter(all.blobs).map(async |step| Ok((self.question(&step.blob).await?, step.blob)));
        let mut answers = pin!(questions.buffer_unordered(self.options.jobs.get()));
        while let Some((answer, blob)) = answers.try_next().await? {
            match answer {
                Answer::Missing => continue,
                Answer::Known => {}
                Answer::Existed => existed.push(blob.clone()),
            }
            present.insert(blob.digest);
        }
        let mut plan = plan(&graph, &present, None);
        for step in &mut plan.blobs {
            // A refusal costs nothing: it is the session that the blob needs anyway.
            step.origin = self.destination.seen(&step.blob);
        }
        Ok(Survey { graph, plan, existed })
    }

    /// Asks for one blob, once in a run.
    pub(crate) async fn question(&self, blob: &Descriptor) -> Result<Answer, Error> {
        if self.blobs.get(blob.digest).is_some() {
            return Ok(Answer::Known);
        }
        let mut answer = Answer::Known;
        let question = async {
            let held = has(&self.asked_destination, blob).await?;
            if held {
                answer = Answer::Existed;
                self.observer.event(&Event::BlobExisted { blob, planned: false });
            }
            Ok(held)
        };
        let held = *self.questions.claim(blob.digest).0.get_or_try_init(|| question).await?;
        Ok(if held { answer } else { Answer::Missing })
    }
}

/// Whether the destination has a blob; a denial counts as a no.
pub(crate) async fn has(destination: &dyn Store, blob: &Descriptor) -> Result<bool, Error> {
    match destination.contains(blob).await {
        Ok(held) => Ok(held),
        Err(error) if error.kind() == Kind::Denied => Ok(false),
        Err(error) => Err(Error::Destination(error)),
    }
}
