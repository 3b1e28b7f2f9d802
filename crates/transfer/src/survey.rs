//! What a copy has to do, found out from both sides. Nothing moves before all manifests are known; what becomes of blobs
//! turns out while the first of them move.

use std::collections::HashSet;
use std::pin::pin;
use std::sync::Arc;

use futures_util::stream::{self, BoxStream, StreamExt, TryStreamExt, unfold};
use oci::{Descriptor, Digest, Manifest, Selector};
use store::{Event, Kind, Store};
use tokio::sync::mpsc::unbounded_channel;

use crate::transfer::Run;
use crate::{Error, Graph, Move, Transfer, Walk, plan};

/// A blob of so many bytes is small. A new one is sent without the question whether it is there: that is as many requests.
pub(crate) const SMALL: u64 = 64 << 10;

/// What a copy would do.
#[derive(Clone, Debug)]
pub struct Preview {
    /// The manifest that would be named.
    pub root: Descriptor,
    /// Whether the destination's name stands for it already: then nothing would be done.
    pub existed: bool,
    /// What there would be to do.
    pub todo: Todo,
}

/// What there is to do, for one image or for all tags.
#[derive(Clone, Debug, Default)]
pub struct Todo {
    /// The blobs to bring, each once, the largest first. Those with an origin are mounted if the destination does that, and
    /// may be there already where it is the same registry.
    pub blobs: Vec<Move>,
    /// The bytes of these blobs together.
    pub bytes: u64,
    /// How many of them are there from an earlier attempt.
    pub kept: u64,
    /// Blobs that are there.
    pub existing: Vec<Descriptor>,
    /// How many manifests would be written, the roots among them.
    pub manifests: usize,
}

impl Todo {
    /// About how many requests the copy itself would still make: one to read a blob and two to write it, one to mount it,
    /// one for a manifest. What the preview has asked would be asked again.
    pub fn requests(&self) -> usize {
        let blobs = self.blobs.iter().map(|step| if step.origin.is_some() { 1 } else { 3 });
        blobs.sum::<usize>() + self.manifests
    }
}

/// What a copy has to do.
pub(crate) struct Survey<'a> {
    pub(crate) graph: Graph,
    /// What becomes of each blob of the graph, as soon as that is known.
    pub(crate) findings: BoxStream<'a, Result<Finding, Error>>,
}

/// What becomes of a blob.
pub(crate) enum Finding {
    /// It is to be brought.
    Bring(Move),
    /// The destination has it.
    Existed(Descriptor),
    /// Another copy of the run has found out that it is there, or seen to it.
    Known(Digest),
}

impl Finding {
    /// The blob's digest.
    pub(crate) fn digest(&self) -> Digest {
        match self {
            Self::Bring(step) => step.blob.digest,
            Self::Existed(blob) => blob.digest,
            Self::Known(digest) => *digest,
        }
    }
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
        let (mut preview, _) = self.outline(from, to).await?;
        preview.todo.kept = self.run.kept(&preview.todo.blobs).await;
        Ok(preview)
    }

    /// The same without what is there from an earlier attempt; and the manifests below the root.
    pub(crate) async fn outline(
        &self,
        from: &Selector,
        to: &Selector,
    ) -> Result<(Preview, Vec<Digest>), Error> {
        let run = &self.run;
        let there = run.there(to).await?;
        let root = run.root(from).await?;
        let descriptor = root.descriptor();
        let existed = there.is_some_and(|there| there.digest == descriptor.digest);
        let mut preview = Preview { existed, root: descriptor, todo: Todo::default() };
        if existed {
            return Ok((preview, Vec::new()));
        }
        let mut children = Vec::new();
        if !run.same_repository() {
            let Survey { graph, mut findings } = run.survey(&root, false).await?;
            let mut present = HashSet::new();
            while let Some(finding) = findings.try_next().await? {
                match finding {
                    Finding::Bring(_) => {}
                    Finding::Existed(blob) => {
                        present.insert(blob.digest);
                        preview.todo.existing.push(blob);
                    }
                    Finding::Known(digest) => {
                        present.insert(digest);
                    }
                }
            }
            let mut plan = plan(&graph, &present, None);
            for Move { blob, origin } in &mut plan.blobs {
                *origin = run.origin_of(blob).cloned().or_else(|| run.destination.seen(blob));
            }
            (preview.todo.blobs, preview.todo.bytes) = (plan.blobs, plan.bytes);
            children = plan.waves.concat();
        }
        preview.todo.manifests = children.len() + 1;
        Ok((preview, children))
    }
}

impl Run {
    /// Walks the graph of `root`, and asks the destination what it has of it. Blobs are asked for while manifests are
    /// still to come, and the answers to the last ones come after the graph. `eager`: see [`Walk::eager`].
    pub(crate) async fn survey<'a>(
        self: &'a Arc<Self>,
        root: &Manifest,
        eager: bool,
    ) -> Result<Survey<'a>, Error> {
        let walk = Walk {
            destination: Some(&self.asked_destination),
            eager,
            nondistributable: self.options.nondistributable,
            limits: self.options.limits,
        };
        let (found, blobs) = unbounded_channel();
        let walking = async {
            // Dropped at the end, and with it comes the end of the findings.
            let found = found;
            let tell = |blobs: &[Descriptor]| {
                for blob in blobs {
                    // Whoever asks is there as long as the walk.
                    let _ = found.send(blob.clone());
                }
            };
            Graph::walk_and_tell(&self.asked_source, root.clone(), &walk, tell).await
        };
        let mut met = HashSet::new();
        let blobs = unfold(blobs, async |mut blobs| blobs.recv().await.map(|blob| (blob, blobs)));
        let blobs = blobs.filter(move |blob| std::future::ready(met.insert(blob.digest)));
        let findings = blobs.map(move |blob| self.find(blob));
        let mut findings = findings.buffer_unordered(self.options.jobs.get()).boxed();
        let mut first = Vec::new();
        let mut walking = pin!(walking);
        let graph = loop {
            tokio::select! {
                graph = &mut walking => break graph?,
                Some(finding) = findings.next() => first.push(Ok(finding?)),
            }
        };
        for manifest in &graph.existing {
            let selector = &manifest.digest.to_string();
            self.observer.event(&Event::ManifestExisted { selector, manifest });
        }
        Ok(Survey { graph, findings: stream::iter(first).chain(findings).boxed() })
    }

    /// Finds out what becomes of a blob.
    async fn find(&self, blob: Descriptor) -> Result<Finding, Error> {
        if let Some(origin) = self.origin_of(&blob) {
            if Some(origin) == self.destination.origin() {
                self.observer.event(&Event::BlobExisted { blob: &blob, planned: false });
                return Ok(Finding::Existed(blob));
            }
            // Where blobs can be mounted the mount is the question.
            return Ok(Finding::Bring(Move { origin: Some(origin.clone()), blob }));
        }
        if blob.size <= SMALL && self.source.is_new(&blob) {
            return Ok(Finding::Bring(Move { blob, origin: None }));
        }
        Ok(match self.question(&blob).await? {
            // A refused mount costs nothing: it is the session that the blob needs anyway.
            Answer::Missing => Finding::Bring(Move { origin: self.destination.seen(&blob), blob }),
            Answer::Known => Finding::Known(blob.digest),
            Answer::Existed => Finding::Existed(blob),
        })
    }

    /// How many bytes of blobs an earlier attempt left at the destination.
    pub(crate) async fn kept(&self, blobs: &[Move]) -> u64 {
        let mut kept = 0;
        for step in blobs {
            kept += self.destination.kept(&step.blob).await;
        }
        kept
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
