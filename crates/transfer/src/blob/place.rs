//! Writing a blob where its pieces may come in any order.

use std::ops::Range;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::BytesMut;
use futures_util::StreamExt;
use oci::Descriptor;
use store::{Error as StoreError, Event, Kind, Placer};
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::task::{JoinError, JoinSet, spawn_blocking};

use super::blame;
use super::held::Held;
use crate::Error;
use crate::parts::Parts;
use crate::transfer::Run;
use crate::turns::Turn;

/// What a helper reads at a time, in bytes: long enough that the question before it costs little.
const PIECE: Range<u64> = 4 << 20..16 << 20;

/// So much of a file is copied before anything else may happen, in bytes.
const STRETCH: u64 = 8 << 20;

/// A blob is divided into about so many pieces.
const PIECES: u64 = 64;

/// A blob that several tasks bring.
struct Site {
    run: Arc<Run>,
    blob: Descriptor,
    placer: Box<dyn Placer>,
    parts: Mutex<Parts>,
    /// A helper is done with a piece.
    ended: Notify,
    age: u64,
}

impl Run {
    /// Brings what is missing of a blob: in one request, and where the source has slots to spare, in pieces side by side.
    pub(super) async fn place(
        self: &Arc<Self>,
        blob: &Descriptor,
        placer: Box<dyn Placer>,
        held: Option<Held>,
        turn: &mut Turn,
    ) -> Result<(), Error> {
        let missing = placer.missing();
        let left: u64 = missing.iter().map(|part| part.end - part.start).sum();
        self.observer.event(&Event::BlobStarted { blob, kept: blob.size.saturating_sub(left) });
        if let Some(content) = blob.embedded() {
            placer.write_at(0, content.into()).await.map_err(Error::Destination)?;
            self.observer.event(&Event::BlobAdvanced(blob, left));
            return placer.commit().await.map_err(|error| blame(blob, error));
        }
        self.tell_held(blob, held.as_ref(), turn);
        if let Some(held) = &held
            && placer.share(&held.file).await
        {
            self.observer.event(&Event::BlobAdvanced(blob, left));
            return placer.commit().await.map_err(|error| blame(blob, error));
        }
        let copies = match &held {
            // The semaphore is never closed, so this is always a permit.
            Some(_) => self.local_copies.acquire().await.ok(),
            None => None,
        };
        let piece = (blob.size / PIECES).clamp(PIECE.start, PIECE.end);
        let site = Arc::new(Site {
            run: Arc::clone(self),
            blob: blob.clone(),
            placer,
            parts: Mutex::new(Parts::new(missing, piece)),
            ended: Notify::new(),
            age: self.turns.age(),
        });
        let outcome = match &held {
            Some(held) => site.copy(held).await,
            None => site.fill(left / piece, turn).await,
        };
        drop(copies);
        if outcome.is_ok() {
            turn.end_moving();
        }
        let site = Arc::into_inner(site).expect("all tasks that held it have ended");
        match outcome {
            Ok(()) => site.placer.commit().await.map_err(|error| blame(blob, error)),
            Err(Error::Source(error)) if error.kind() != Kind::Interrupted => {
                site.placer.abandon().await;
                Err(Error::Source(error))
            }
            Err(error) => Err(error),
        }
    }
}

impl Site {
    /// Copies what is missing from a file.
    async fn copy(self: &Arc<Self>, held: &Held) -> Result<(), Error> {
        for part in self.placer.missing() {
            let mut at = part.start;
            while at < part.end {
                let stretch = at..part.end.min(at + STRETCH);
                at = stretch.end;
                let (site, held) = (Arc::clone(self), held.clone());
                let copying =
                    spawn_blocking(move || Handle::current().block_on(site.copy_here(&held, stretch)));
                copying.await.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))?;
            }
        }
        Ok(())
    }

    /// Copies a part of a file on this thread, which may wait for the disk: through one buffer, whose bytes are still in
    /// the processor's cache when they are hashed and written.
    async fn copy_here(&self, held: &Held, part: Range<u64>) -> Result<(), Error> {
        let mut buffer = BytesMut::new();
        let mut at = part.start;
        while at < part.end {
            let length = usize::try_from(store::PIECE.min(part.end - at)).unwrap_or_default();
            buffer.resize(length, 0);
            held.read_here(&mut buffer, at).map_err(Error::Source)?;
            let piece = buffer.freeze();
            self.write(at, piece.clone()).await?;
            at += length as u64;
            buffer = piece.try_into_mut().unwrap_or_default();
        }
        Ok(())
    }

    /// Reads until nothing is missing, with up to `helpers` others.
    async fn fill(self: &Arc<Self>, helpers: u64, turn: &mut Turn) -> Result<(), Error> {
        let mut tasks = JoinSet::new();
        if helpers > 1 {
            let site = Arc::clone(self);
            tasks.spawn(async move {
                // Where all is fast already, more connections cost more than they bring.
                site.run.splits.are_slow().await;
                let sends = site.run.sends_parts(&site.blob, site.age).await.map_err(Error::Source)?;
                Ok(if sends { helpers } else { 0 })
            });
        }
        let outcome = self.lead_all(&mut tasks, turn).await;
        // When this returns, nobody writes any more, and nobody holds the site.
        tasks.shutdown().await;
        outcome
    }

    /// Leads until all has been read, by whomever.
    async fn lead_all(
        self: &Arc<Self>,
        tasks: &mut JoinSet<Result<u64, Error>>,
        turn: &mut Turn,
    ) -> Result<(), Error> {
        loop {
            let mut lead = pin!(self.lead());
            loop {
                tokio::select! {
                    outcome = &mut lead => break outcome?,
                    Some(outcome) = tasks.join_next() => self.hire(outcome, tasks)?,
                }
            }
            // Helpers that still wait for a turn are not waited for: there may be none while blobs hold theirs.
            turn.end_reading();
            if self.parts().are_done() {
                return Ok(());
            }
            tokio::select! {
                // What a helper could not read is to be read here.
                () = self.ended.notified() => {}
                Some(outcome) = tasks.join_next() => self.hire(outcome, tasks)?,
            }
        }
    }

    /// Gets as many helpers as a task that has ended asks for.
    fn hire(
        self: &Arc<Self>,
        outcome: Result<Result<u64, Error>, JoinError>,
        tasks: &mut JoinSet<Result<u64, Error>>,
    ) -> Result<(), Error> {
        // Nobody but `shutdown` cancels a task, so it has panicked.
        let helpers = outcome.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))?;
        for _ in 1..helpers.min(self.run.options.jobs.get() as u64) {
            let site = Arc::clone(self);
            tasks.spawn(async move { site.help().await.map(|()| 0) });
        }
        Ok(())
    }

    /// Reads the parts that no helper reads.
    async fn lead(&self) -> Result<(), Error> {
        loop {
            let Some(part) = self.parts().lead() else { return Ok(()) };
            let mut at = part.start;
            let stream = self.run.source.read(&self.blob, part).await.map_err(Error::Source)?;
            let mut stream = self.run.capped(stream);
            while let Some(piece) = stream.next().await {
                let mut piece = piece.map_err(Error::Source)?;
                let length = piece.len() as u64;
                let own = self.parts().advance(length);
                // A reader that was cut short drops its connection; one that got more than there is hears of it here.
                let beyond = at + length > self.blob.size;
                if own < length && !beyond {
                    piece.truncate(usize::try_from(own).unwrap_or(piece.len()));
                }
                self.write(at, piece).await?;
                at += own;
                if own < length {
                    break;
                }
            }
            if self.parts().lead_left() > 0 {
                return Err(Error::Source(self.ended(at)));
            }
        }
    }

    /// Reads pieces until there are none.
    async fn help(&self) -> Result<(), Error> {
        let _turn = self.run.turns.helper(self.age).await;
        loop {
            let Some(part) = self.parts().help() else { return Ok(()) };
            let mut at = part.start;
            let outcome = async {
                let stream = self.run.source.read(&self.blob, part.clone()).await.map_err(Error::Source)?;
                let mut stream = self.run.capped(stream);
                while let Some(piece) = stream.next().await {
                    let mut piece = piece.map_err(Error::Source)?;
                    piece.truncate(usize::try_from(part.end - at).unwrap_or(usize::MAX));
                    let length = piece.len() as u64;
                    self.write(at, piece).await?;
                    at += length;
                }
                if at < part.end { Err(Error::Source(self.ended(at))) } else { Ok(()) }
            };
            let outcome = outcome.await;
            self.parts().end(at..part.end);
            self.ended.notify_one();
            outcome?;
        }
    }

    async fn write(&self, at: u64, piece: bytes::Bytes) -> Result<(), Error> {
        let length = piece.len() as u64;
        self.placer.write_at(at, piece).await.map_err(|error| blame(&self.blob, error))?;
        self.run.splits.brought(length);
        self.run.observer.event(&Event::BlobAdvanced(&self.blob, length));
        Ok(())
    }

    fn ended(&self, at: u64) -> StoreError {
        let doing = format!("reading blob {}", self.blob.digest);
        StoreError::new(Kind::Interrupted, doing, format!("it ended after {at} of {} bytes", self.blob.size))
    }

    fn parts(&self) -> MutexGuard<'_, Parts> {
        // The parts are whole at every moment, so a panic elsewhere does not spoil them.
        self.parts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
