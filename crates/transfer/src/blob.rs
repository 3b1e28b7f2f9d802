//! Brings one blob to the destination.

use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::{StreamExt, future, stream};
use oci::{Descriptor, Repository};
use store::{ByteStream, Event, Kind, Opened, Writer, in_order, verified};

use crate::transfer::Run;
use crate::{Error, Move};

/// How often a blob is begun before it is given up. The stores mend what they can before that.
const ATTEMPTS: u32 = 3;

/// How long is waited before the second attempt; doubled each time.
const WAIT: Duration = Duration::from_millis(500);

/// How a blob came to be at the destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Its bytes were read from the source and written.
    Moved,
    /// The destination took it from another of its repositories.
    Mounted,
    /// It had been there already.
    Existed,
}

impl Run {
    /// Brings a blob unless the run has it there already; waits where another copy of the run is bringing it. Tells
    /// what happened here, if anything did.
    pub(crate) async fn bring(&self, step: &Move) -> Result<Option<Fate>, Error> {
        let (claim, _) = self.blobs.claim(step.blob.digest);
        let mut fate = None;
        let work = async {
            // The semaphore is never closed, so this is always a permit.
            let _slot = self.slots.acquire().await;
            fate = Some(self.insist(step).await?);
            Ok(())
        };
        claim.get_or_try_init(|| work).await?;
        Ok(fate)
    }

    /// Whether the destination has a blob; a denial counts as a no.
    pub(crate) async fn holds(&self, blob: &Descriptor) -> Result<bool, Error> {
        match self.destination.contains(blob).await {
            Ok(held) => Ok(held),
            Err(error) if error.kind() == Kind::Denied => Ok(false),
            Err(error) => Err(Error::Destination(error)),
        }
    }

    /// Begins a blob anew as long as it is interrupted.
    async fn insist(&self, step: &Move) -> Result<Fate, Error> {
        let blob = &step.blob;
        let (mut attempt, mut wait) = (1, WAIT);
        loop {
            let error = match self.attempt(step).await {
                Err(Error::Source(error) | Error::Destination(error))
                    if error.kind() == Kind::Interrupted =>
                {
                    error
                }
                outcome => return outcome,
            };
            if attempt == ATTEMPTS {
                return Err(Error::GaveUp { blob: blob.digest, attempts: attempt, source: error });
            }
            let reason = error.to_string();
            self.observer.event(&Event::Retried { reason: &reason, wait });
            tokio::time::sleep(wait).await;
            attempt += 1;
            wait *= 2;
            // What broke may have been no more than the answer to a commit.
            if self.holds(blob).await? {
                self.observer.event(&Event::BlobExisted(blob));
                return Ok(Fate::Existed);
            }
        }
    }

    async fn attempt(&self, step: &Move) -> Result<Fate, Error> {
        let blob = &step.blob;
        let (writer, content) = if let Some(origin) = &step.origin {
            match self.mount(blob, origin).await? {
                Ok(writer) => (writer, self.content(blob).await),
                Err(fate) => return Ok(fate),
            }
        } else {
            match future::join(self.destination.write(blob, None), self.content(blob)).await {
                (Ok(Opened::Writer(writer)), content) => (writer, content),
                (Ok(Opened::Placer(placer)), content) => (in_order(placer), content),
                (Ok(Opened::Mounted), _) => return Ok(self.mounted(blob)),
                (Ok(Opened::Existed), _) => return Ok(self.existed(blob)),
                (Err(error), _) => return Err(Error::Destination(error)),
            }
        };
        let content = match content {
            Ok(content) => content,
            Err(error) => {
                writer.abandon().await;
                return Err(error);
            }
        };
        self.stream(blob, content, writer).await?;
        Ok(Fate::Moved)
    }

    /// Tries a mount, which is one request where a question and a mount are two. Where mounts are refused, the
    /// question comes first from then on.
    async fn mount(
        &self,
        blob: &Descriptor,
        origin: &Repository,
    ) -> Result<Result<Box<dyn Writer>, Fate>, Error> {
        let asks_first = self.mounts_refused.load(Ordering::Relaxed);
        if asks_first && self.holds(blob).await? {
            return Ok(Err(self.existed(blob)));
        }
        let writer = match self.destination.write(blob, Some(origin)).await.map_err(Error::Destination)? {
            Opened::Mounted => return Ok(Err(self.mounted(blob))),
            Opened::Existed => return Ok(Err(self.existed(blob))),
            Opened::Writer(writer) => writer,
            Opened::Placer(placer) => in_order(placer),
        };
        self.mounts_refused.store(true, Ordering::Relaxed);
        if !asks_first && self.holds(blob).await? {
            writer.abandon().await;
            return Ok(Err(self.existed(blob)));
        }
        Ok(Ok(writer))
    }

    fn existed(&self, blob: &Descriptor) -> Fate {
        self.observer.event(&Event::BlobExisted(blob));
        Fate::Existed
    }

    fn mounted(&self, blob: &Descriptor) -> Fate {
        self.observer.event(&Event::BlobMounted(blob));
        Fate::Mounted
    }

    /// The blob's bytes, checked while they pass.
    async fn content(&self, blob: &Descriptor) -> Result<ByteStream, Error> {
        if let Some(content) = blob.embedded() {
            return Ok(stream::once(future::ready(Ok(content.into()))).boxed());
        }
        let content = self.source.read(blob, 0..blob.size).await.map_err(Error::Source)?;
        Ok(verified(content, blob))
    }

    /// Moves the bytes. One piece is held here at a time; writers wait while their place is busy.
    async fn stream(
        &self,
        blob: &Descriptor,
        mut content: ByteStream,
        mut writer: Box<dyn Writer>,
    ) -> Result<(), Error> {
        self.observer.event(&Event::BlobStarted { blob, kept: 0 });
        while let Some(piece) = content.next().await {
            let piece = match piece {
                Ok(piece) => piece,
                Err(error) => {
                    writer.abandon().await;
                    return Err(Error::Source(error));
                }
            };
            let length = piece.len() as u64;
            writer.write(piece).await.map_err(Error::Destination)?;
            self.observer.event(&Event::BlobAdvanced(blob, length));
        }
        writer.commit().await.map_err(Error::Destination)?;
        self.observer.event(&Event::BlobDone(blob));
        Ok(())
    }
}
