//! Brings one blob to the destination.

mod ahead;
mod feed;
mod held;
mod pause;
mod place;
mod question;
mod splits;
mod window;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::future::join;
use oci::{Descriptor, Repository, VerifyError};
use store::{ByteStream, Error as StoreError, Event, Kind, Opened, Writer};
use tokio::time::Instant;

use crate::survey::has;
use crate::transfer::Run;
use crate::turns::Turn;
use crate::{Error, Move};

use feed::Feed;
use held::Held;
pub(crate) use splits::Splits;
pub(crate) use window::Window;

/// How often a blob may be interrupted without getting any further before it is given up. The stores mend what they can
/// before that.
const ATTEMPTS: u32 = 4;

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
    pub(crate) async fn bring(self: &Arc<Self>, step: &Move) -> Result<Option<Fate>, Error> {
        let (claim, _) = self.blobs.claim(step.blob.digest);
        let mut fate = None;
        let work = async {
            let turn = self.turns.blob(step.blob.size).await;
            fate = Some(self.insist(step, turn).await?);
            Ok(())
        };
        claim.get_or_try_init(|| work).await?;
        Ok(fate)
    }

    /// Opens a blob again as long as it is interrupted and gets further each time.
    async fn insist(self: &Arc<Self>, step: &Move, mut turn: Turn) -> Result<Fate, Error> {
        let blob = &step.blob;
        let (mut attempt, mut wait, mut furthest) = (1, WAIT, 0);
        loop {
            let error = match self.attempt(step, &mut turn).await {
                Err(Error::Source(error) | Error::Destination(error))
                    if error.kind() == Kind::Interrupted =>
                {
                    error
                }
                // Whatever is wrong with a file that was held, the source itself may be better.
                Err(Error::Source(error)) if self.source.doubt(blob).await => {
                    let reason = format!("{error}; what was kept of it on this machine is dropped");
                    self.observer.event(&Event::Retried { reason: &reason, wait: Duration::ZERO });
                    continue;
                }
                outcome => return outcome,
            };
            let kept = self.destination.kept(blob).await;
            if kept > furthest {
                (attempt, wait, furthest) = (0, WAIT, kept);
            }
            if attempt == ATTEMPTS {
                return Err(Error::GaveUp { blob: blob.digest, attempts: attempt, source: error });
            }
            let reason = error.to_string();
            self.observer.event(&Event::Retried { reason: &reason, wait });
            tokio::time::sleep(wait).await;
            attempt += 1;
            wait *= 2;
            // What broke may have been no more than the answer to a commit.
            if has(&*self.destination, blob).await? {
                return Ok(self.existed(blob));
            }
        }
    }

    async fn attempt(self: &Arc<Self>, step: &Move, turn: &mut Turn) -> Result<Fate, Error> {
        let blob = &step.blob;
        let held = self.held(blob).await;
        let (opened, content) = if let Some(origin) = &step.origin {
            (self.mount(blob, origin).await?, None)
        } else if self.destination.pace().is_some()
            && held.is_none()
            && blob.embedded().is_none()
            && self.destination.kept(blob).await == 0
        {
            // Neither answer waits for the other.
            let (opened, content) =
                join(self.destination.write(blob, None), self.source.read(blob, 0..blob.size)).await;
            (opened.map_err(Error::Destination)?, Some(content))
        } else {
            (self.destination.write(blob, None).await.map_err(Error::Destination)?, None)
        };
        match opened {
            Opened::Mounted => return Ok(self.mounted(blob)),
            Opened::Existed => return Ok(self.existed(blob)),
            Opened::Writer(writer) => self.pour(blob, writer, (held, content), turn).await?,
            Opened::Placer(placer) => self.place(blob, placer, held, turn).await?,
        }
        self.observer.event(&Event::BlobDone(blob));
        Ok(Fate::Moved)
    }

    /// Tries a mount, which is one request where a question and a mount are two. Where mounts are refused, the
    /// question comes first from then on.
    async fn mount(&self, blob: &Descriptor, origin: &Repository) -> Result<Opened, Error> {
        if self.origin_of(blob).is_none() {
            // It has been asked, and does not have the blob.
            return self.destination.write(blob, Some(origin)).await.map_err(Error::Destination);
        }
        let asks_first = self.mounts_refused.load(Ordering::Relaxed);
        if asks_first && has(&*self.destination, blob).await? {
            return Ok(Opened::Existed);
        }
        let opened = self.destination.write(blob, Some(origin)).await.map_err(Error::Destination)?;
        if let Opened::Writer(writer) = opened {
            self.mounts_refused.store(true, Ordering::Relaxed);
            if !asks_first && has(&*self.destination, blob).await? {
                writer.abandon().await;
                return Ok(Opened::Existed);
            }
            return Ok(Opened::Writer(writer));
        }
        Ok(opened)
    }

    fn mounted(&self, blob: &Descriptor) -> Fate {
        self.observer.event(&Event::BlobMounted(blob));
        Fate::Mounted
    }

    fn existed(&self, blob: &Descriptor) -> Fate {
        self.observer.event(&Event::BlobExisted { blob, planned: true });
        Fate::Existed
    }

    /// Moves a blob's bytes in order. One piece is held here at a time; writers wait while their place is busy.
    async fn pour(
        self: &Arc<Self>,
        blob: &Descriptor,
        mut writer: Box<dyn Writer>,
        (held, content): (Option<Held>, Option<Result<ByteStream, StoreError>>),
        turn: &mut Turn,
    ) -> Result<(), Error> {
        let kept = writer.offset();
        let opened = match (&held, content.filter(|_| kept == 0)) {
            (Some(held), _) => Ok(held.read(kept..blob.size)),
            (None, Some(content)) => content,
            (None, None) => self.content(blob, kept).await,
        };
        let content = match opened {
            Ok(content) => content,
            Err(error) => return Err(self.leave(writer, error).await),
        };
        self.observer.event(&Event::BlobStarted { blob, kept });
        self.tell_held(blob, held.as_ref(), turn);
        let mut feed = Feed::new(self, blob, kept, content, held.is_none());
        while let Some(piece) = feed.next(turn).await {
            let piece = match piece {
                Ok(piece) => piece,
                Err(error) => return Err(self.leave(writer, error).await),
            };
            let length = piece.len();
            if let Some(up) = &self.up {
                up.take(length).await;
            }
            let began = Instant::now();
            writer.write(piece).await.map_err(|error| blame(blob, error))?;
            feed.wrote(began.elapsed());
            self.observer.event(&Event::BlobAdvanced(blob, length as u64));
        }
        // What it holds others can use, while the destination takes its time.
        drop(feed);
        turn.end_moving();
        writer.commit().await.map_err(|error| blame(blob, error))
    }

    /// The blob's bytes from `start` on.
    async fn content(&self, blob: &Descriptor, start: u64) -> Result<ByteStream, StoreError> {
        match blob.embedded() {
            Some(content) => {
                let rest = bytes::Bytes::from(content).slice(usize::try_from(start).unwrap_or(usize::MAX)..);
                Ok(Box::pin(futures_util::stream::once(std::future::ready(Ok(rest)))))
            }
            None => self.source.read(blob, start..blob.size).await,
        }
    }

    /// Leaves a blob that the source does not give: for good, or until it does.
    async fn leave(&self, writer: Box<dyn Writer>, error: StoreError) -> Error {
        if error.kind() != Kind::Interrupted {
            writer.abandon().await;
        }
        Error::Source(error)
    }
}

/// A writer's error. Bytes that are not the blob's are the source's fault.
fn blame(blob: &Descriptor, error: StoreError) -> Error {
    match error.cause().downcast_ref::<VerifyError>() {
        Some(wrong) => {
            Error::Source(StoreError::verify(format!("reading blob {}", blob.digest), wrong.clone()))
        }
        None => Error::Destination(error),
    }
}
