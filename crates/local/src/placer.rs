//! Writes a blob piece by piece, in any order, and hashes each byte once.
//!
//! What comes in order is hashed from memory. What lies behind a gap is read back when the gap is closed, mostly from the
//! page cache, as is what an earlier attempt left. One thread hashes at a time, and nobody waits for it but the end.

use std::fs::File;
use std::num::NonZeroU64;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use oci::{Descriptor, Verifier, VerifyError};
use rustix::fs::{Advice, fadvise};
use store::{Error as StoreError, PIECE, Placer};
use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};
use tokio::task::spawn_blocking;

use crate::error::Error;
use crate::journal::Written;
use crate::pieces::Pieces;

/// So many new bytes are worth a record in the journal.
const SAVE: u64 = 1 << 20;

/// So many new bytes are sent on their way to the disk, which is at work then while more come, and has little left to do
/// when the blob is flushed.
const SEND: u64 = 4 << 20;

/// So many new bytes are worth a flush to the disk, so that they survive the machine too; it also leaves little to flush
/// in the end.
const FLUSH: u64 = 64 << 20;

/// So many bytes are read back and hashed in passing; more are left to a thread that may wait for the disk.
const BEHIND: u64 = 1 << 20;

/// The place in a file that a blob is written to.
pub(crate) trait Ground: Send {
    /// What messages call it.
    fn path(&self) -> PathBuf;

    /// Notes what has been written, for whoever goes on with it.
    fn save(&mut self, new: &Pieces) -> Result<(), Error>;

    /// Notes anew all that has been written, and gives the file with the notes, if there is one that others can go on with.
    fn rewrite(&mut self, written: &Written) -> Result<Option<Arc<File>>, Error>;

    /// Whether what was flushed to the disk can be gone on with after the machine has died.
    fn survives(&self) -> bool;

    /// Makes the blob one that is there.
    fn finish(&mut self) -> Result<(), Error>;

    /// Drops what was written.
    fn remove(&mut self) -> Result<(), Error>;
}

/// A blob that is being written to its place.
pub(crate) struct FilePlacer(Arc<Shared>);

struct Shared {
    /// What errors say.
    doing: String,
    blob: Descriptor,
    /// The file, and its byte that the blob begins with.
    file: File,
    base: u64,
    state: Mutex<State>,
    hash: Arc<AsyncMutex<Verifier>>,
    flushing: Arc<AsyncMutex<()>>,
    /// Whether an earlier attempt had left something.
    resumed: bool,
    /// Nobody wants the blob any more.
    stopped: AtomicBool,
}

struct State {
    ground: Box<dyn Ground>,
    /// What is written or being written: nobody else writes it.
    taken: Pieces,
    written: Pieces,
    /// What is written and not in the journal.
    unsaved: Pieces,
    /// What is written and not on its way to the disk.
    unsent: Pieces,
    /// How many bytes have come since the last flush.
    unflushed: u64,
    /// Why what was written could not be flushed to the disk: that is told once only.
    unflushable: Option<Error>,
    /// Whether the file has its name, or is gone.
    ended: bool,
}

impl FilePlacer {
    pub(crate) fn new(
        doing: String,
        blob: &Descriptor,
        (file, base): (&File, u64),
        ground: Box<dyn Ground>,
        written: Pieces,
    ) -> Result<Self, Error> {
        let file = file.try_clone().map_err(|error| Error::io(ground.path(), error))?;
        let resumed = written.bytes() > 0;
        let state = State {
            ground,
            taken: written.clone(),
            written,
            unsaved: Pieces::default(),
            unsent: Pieces::default(),
            unflushed: 0,
            unflushable: None,
            ended: false,
        };
        let shared = Arc::new(Shared {
            doing,
            blob: blob.clone(),
            file,
            base,
            state: Mutex::new(state),
            hash: Arc::new(AsyncMutex::new(Verifier::new(blob))),
            flushing: Arc::default(),
            resumed,
            stopped: AtomicBool::new(false),
        });
        shared.hash_ahead();
        Ok(Self(shared))
    }

    /// Whether all bytes are written.
    pub(crate) fn is_full(&self) -> bool {
        self.0.state().written.bytes() == self.0.blob.size
    }

    /// Ends the blob, as [`Placer::commit`] does.
    pub(crate) async fn complete(&self) -> Result<(), Error> {
        let shared = Arc::clone(&self.0);
        // Whoever is hashing ahead comes to an end first.
        let hash = Arc::clone(&shared.hash).lock_owned().await;
        // And whoever flushes: that something could not be flushed is told once only.
        let _flushed = Arc::clone(&shared.flushing).lock_owned().await;
        let finished = spawn_blocking(move || shared.finish(hash)).await;
        finished.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
    }

    /// Drops all that was written.
    pub(crate) fn give_up(&self) {
        let mut state = self.0.state();
        state.ended = true;
        // What cannot be removed now is removed when it is old.
        let _ = state.ground.remove();
    }
}

#[async_trait]
impl Placer for FilePlacer {
    fn missing(&self) -> Vec<Range<u64>> {
        self.0.state().written.gaps(0..self.0.blob.size)
    }

    async fn write_at(&self, at: u64, bytes: Bytes) -> Result<(), StoreError> {
        self.0.write_at(at, &bytes).map_err(|error| self.0.fail(error))
    }

    async fn share(&self, file: &Arc<File>) -> bool {
        let (shared, file) = (Arc::clone(&self.0), Arc::clone(file));
        let shared = spawn_blocking(move || shared.share(&file)).await;
        shared.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
    }

    async fn commit(self: Box<Self>) -> Result<(), StoreError> {
        self.complete().await.map_err(|error| self.0.fail(error))
    }

    async fn abandon(self: Box<Self>) {
        self.give_up();
    }
}

impl Drop for FilePlacer {
    fn drop(&mut self) {
        self.0.stopped.store(true, Ordering::Relaxed);
        // What is not in the journal is fetched again, no more.
        let _ = self.0.state().save();
    }
}

impl State {
    /// Enters what was written into the journal.
    fn save(&mut self) -> Result<(), Error> {
        if self.ended || self.unsaved.bytes() == 0 {
            return Ok(());
        }
        self.ground.save(&self.unsaved)?;
        self.unsaved = Pieces::default();
        Ok(())
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        // A panic elsewhere leaves at most bytes that count as missing.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fail(&self, error: Error) -> StoreError {
        error.doing(&*self.doing)
    }

    fn io(&self, error: std::io::Error) -> Error {
        Error::io(self.state().ground.path(), error)
    }

    fn write_at(self: &Arc<Self>, at: u64, bytes: &[u8]) -> Result<(), Error> {
        let Descriptor { digest, size, .. } = self.blob;
        let end = at.checked_add(bytes.len() as u64).filter(|end| *end <= size);
        let end = end.ok_or(VerifyError::TooLong { digest, size })?;
        // What is there, or being written, stays as it is: its bytes may have been hashed.
        let gaps = {
            let mut state = self.state();
            let gaps = state.taken.gaps(at..end);
            state.taken.insert(at..end);
            gaps
        };
        for (index, gap) in gaps.iter().enumerate() {
            if let Err(error) = self.file.write_all_at(&bytes[within(gap, at)], self.base + gap.start) {
                let mut state = self.state();
                gaps[index..].iter().for_each(|gap| state.taken.remove(gap));
                drop(state);
                return Err(self.io(error));
            }
            let mut state = self.state();
            state.written.insert(gap.clone());
            state.unsaved.insert(gap.clone());
            state.unsent.insert(gap.clone());
            state.unflushed += gap.end - gap.start;
            if state.unsaved.bytes() >= SAVE {
                state.save()?;
            }
        }
        self.send_ahead();
        self.hash(at, if gaps.first() == Some(&(at..end)) { bytes } else { &[] });
        self.flush_ahead();
        Ok(())
    }

    /// Makes the file one with the same bytes, which both have until either changes. Whether that could be done.
    fn share(self: &Arc<Self>, file: &File) -> bool {
        let size = self.blob.size;
        {
            // Nobody writes meanwhile.
            let mut state = self.state();
            let fits = self.base == 0 && file.metadata().is_ok_and(|file| file.len() == size);
            if !fits
                || size == 0
                || state.taken.bytes() > 0
                || rustix::fs::ioctl_ficlone(&self.file, file).is_err()
            {
                return false;
            }
            state.taken.insert(0..size);
            state.written.insert(0..size);
            state.unsaved.insert(0..size);
        }
        self.hash_ahead();
        true
    }

    /// Hashes bytes that have just been written, if they come next, or nearly so; what is further behind is left to a
    /// thread of its own.
    fn hash(self: &Arc<Self>, at: u64, bytes: &[u8]) {
        if let Ok(mut hash) = Arc::clone(&self.hash).try_lock_owned() {
            let front = self.state().written.front();
            let behind = hash.seen() < at && at < front && at - hash.seen() <= BEHIND;
            // What cannot be read now is told when the blob is to be complete.
            let caught_up = if behind { self.read_back(&mut hash, at) } else { Ok(()) };
            if caught_up.is_ok() && hash.seen() == at {
                // No more than the blob's bytes are ever written.
                let _ = hash.update(bytes);
            }
            if front.saturating_sub(hash.seen()) > BEHIND {
                self.hash_in_background(hash);
            }
        }
    }

    /// Begins to hash what is there from the first byte on.
    fn hash_ahead(self: &Arc<Self>) {
        if self.state().written.front() > 0
            && let Ok(hash) = Arc::clone(&self.hash).try_lock_owned()
        {
            self.hash_in_background(hash);
        }
    }

    fn hash_in_background(self: &Arc<Self>, mut hash: OwnedMutexGuard<Verifier>) {
        let shared = Arc::clone(self);
        spawn_blocking(move || {
            loop {
                let front = shared.state().written.front();
                // What cannot be read is told when the blob is to be complete.
                if hash.seen() >= front || shared.read_back(&mut hash, front).is_err() {
                    return;
                }
            }
        });
    }

    /// Hashes what has been written up to `end`.
    fn read_back(&self, hash: &mut Verifier, end: u64) -> Result<(), Error> {
        let mut buffer = vec![0; usize::try_from(PIECE.min(end - hash.seen())).unwrap_or_default()];
        while hash.seen() < end {
            if self.stopped.load(Ordering::Relaxed) {
                return Err(self.io(std::io::ErrorKind::Interrupted.into()));
            }
            let length =
                usize::try_from(end - hash.seen()).map_or(buffer.len(), |left| left.min(buffer.len()));
            let bytes = &mut buffer[..length];
            self.file.read_exact_at(bytes, self.base + hash.seen()).map_err(|error| self.io(error))?;
            hash.update(bytes)?;
        }
        Ok(())
    }

    /// Has the disk begin with what has come, when it is enough. Nobody waits for that. Linux takes the advice that bytes are
    /// not needed in memory as a reason to write those that have changed, and keeps them until that is done.
    fn send_ahead(&self) {
        let unsent = {
            let mut state = self.state();
            if state.unsent.bytes() < SEND {
                return;
            }
            std::mem::take(&mut state.unsent)
        };
        for piece in unsent.iter() {
            let length = NonZeroU64::new(piece.end - piece.start);
            // It is advice: where it is not taken, the bytes are written when the blob is flushed.
            let _ = fadvise(&self.file, self.base + piece.start, length, Advice::DontNeed);
        }
    }

    /// Begins to flush to the disk what has come, when it is enough, and nobody is at it.
    fn flush_ahead(self: &Arc<Self>) {
        let due = {
            let state = self.state();
            state.unflushed >= FLUSH && state.ground.survives()
        };
        if !due {
            return;
        }
        let Ok(turn) = Arc::clone(&self.flushing).try_lock_owned() else { return };
        let shared = Arc::clone(self);
        spawn_blocking(move || {
            let _turn = turn;
            if let Err(error) = shared.flush() {
                shared.state().unflushable = Some(error);
            }
        });
    }

    fn flush(&self) -> Result<(), Error> {
        let flushed = {
            let mut state = self.state();
            state.unflushed = 0;
            state.written.clone()
        };
        self.file.sync_data().map_err(|error| self.io(error))?;
        let mut state = self.state();
        if state.ended {
            return Ok(());
        }
        let written = Written { all: state.written.clone(), flushed };
        let notes = state.ground.rewrite(&written)?;
        state.unsaved = Pieces::default();
        drop(state);
        notes.map_or(Ok(()), |notes| notes.sync_data().map_err(|error| self.io(error)))
    }

    /// Hashes the rest, and completes the blob if it is right. Blocks.
    fn finish(&self, mut hash: OwnedMutexGuard<Verifier>) -> Result<(), Error> {
        let Descriptor { digest, size, .. } = self.blob;
        let seen = self.state().written.bytes();
        let verified = if seen < size {
            Err(VerifyError::TooShort { digest, seen, size })
        } else {
            self.read_back(&mut hash, size)?;
            hash.clone().finish()
        };
        let mut state = self.state();
        if let Some(error) = state.unflushable.take() {
            state.ended = true;
            state.ground.remove()?;
            return Err(error);
        }
        if let Err(error) = verified {
            state.ended = true;
            state.ground.remove()?;
            let is_old = self.resumed && matches!(error, VerifyError::Mismatch { .. });
            return Err(if is_old { Error::Damaged } else { error.into() });
        }
        state.ground.finish()?;
        state.ended = true;
        Ok(())
    }
}

/// Where a gap lies in bytes that begin at `at`.
fn within(gap: &Range<u64>, at: u64) -> Range<usize> {
    // The bytes are in memory.
    let index = |place: u64| usize::try_from(place - at).unwrap_or(usize::MAX);
    index(gap.start)..index(gap.end)
}
