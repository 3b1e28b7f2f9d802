//! An archive that goes into a stream: contents take turns, in the order in which they were laid out.

use std::collections::VecDeque;
use std::fmt;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use oci::{Descriptor, Digest, Verifier};
use store::{Error as StoreError, Kind, Writer};
use tokio::sync::Notify;
use tokio::task::spawn_blocking;

use super::laid::padded;
use crate::error::Error;

/// The stream, and whose turn it is. Clones share it.
#[derive(Clone, Debug)]
pub(super) struct Stream(Arc<Shared>);

struct Shared {
    out: Mutex<Box<dyn Write + Send>>,
    turns: Mutex<Turns>,
    /// The next one has its turn.
    changed: Notify,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

/// Those whose turn is still to come, the next one first, with what stands before each.
#[derive(Debug, Default)]
struct Turns {
    waiting: VecDeque<(Digest, Vec<u8>)>,
    /// How far the blob is whose turn it is, from an attempt that was interrupted.
    begun: Option<(Digest, Verifier)>,
}

impl Stream {
    pub(super) fn new(out: Box<dyn Write + Send>) -> Self {
        Self(Arc::new(Shared { out: Mutex::new(out), turns: Mutex::default(), changed: Notify::new() }))
    }

    fn turns(&self) -> MutexGuard<'_, Turns> {
        self.0.turns.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives a content its turn behind all others.
    pub(super) fn place(&self, digest: Digest, headers: Vec<u8>) {
        self.turns().waiting.push_back((digest, headers));
    }

    /// Waits until it is a content's turn.
    pub(super) async fn turn(&self, digest: &Digest) {
        loop {
            let mut changed = std::pin::pin!(self.0.changed.notified());
            changed.as_mut().enable();
            let turn = {
                let turns = self.turns();
                let next = turns.waiting.front().is_none_or(|(next, _)| next == digest);
                next || !turns.waiting.iter().any(|(waiting, _)| waiting == digest)
            };
            if turn {
                return;
            }
            changed.await;
        }
    }

    pub(super) fn write_all(&self, bytes: &[u8]) -> io::Result<()> {
        self.0.out.lock().unwrap_or_else(PoisonError::into_inner).write_all(bytes)
    }

    /// Writes a content whose turn it is as a whole.
    pub(super) fn write_whole(&self, digest: &Digest, bytes: &[u8]) -> io::Result<()> {
        let Some(headers) = self.take_headers(digest) else { return Ok(()) };
        self.write_all(&headers)?;
        self.write_all(bytes)?;
        self.next(digest, bytes.len() as u64)
    }

    fn take_headers(&self, digest: &Digest) -> Option<Vec<u8>> {
        let mut turns = self.turns();
        let (_, headers) = turns.waiting.front_mut().filter(|(next, _)| next == digest)?;
        Some(std::mem::take(headers))
    }

    /// Fills the last block of a content, and lets the next one have its turn.
    fn next(&self, digest: &Digest, size: u64) -> io::Result<()> {
        let zeros = [0; 512];
        self.write_all(&zeros[..usize::try_from(padded(size) - size).unwrap_or_default()])?;
        let mut turns = self.turns();
        if turns.waiting.front().is_some_and(|(next, _)| next == digest) {
            turns.waiting.pop_front();
        }
        drop(turns);
        self.0.changed.notify_waiters();
        Ok(())
    }

    /// How many bytes of a blob an attempt wrote that was interrupted.
    pub(super) fn kept(&self, digest: &Digest) -> u64 {
        let turns = self.turns();
        turns.begun.as_ref().filter(|(begun, _)| begun == digest).map_or(0, |(_, verifier)| verifier.seen())
    }

    /// Writes the end.
    pub(super) fn end(&self, zeros: &[u8]) -> io::Result<()> {
        let mut out = self.0.out.lock().unwrap_or_else(PoisonError::into_inner);
        out.write_all(zeros)?;
        out.flush()
    }
}

/// A blob whose turn it is.
pub(super) struct StreamWriter {
    stream: Stream,
    digest: Digest,
    size: u64,
    doing: String,
    verifier: Option<Verifier>,
    offset: u64,
    /// Hears that the blob is whole.
    done: Box<dyn FnOnce() + Send + Sync>,
}

impl StreamWriter {
    pub(super) fn new(
        stream: Stream,
        blob: &Descriptor,
        doing: String,
        done: Box<dyn FnOnce() + Send + Sync>,
    ) -> Self {
        let begun = stream.turns().begun.take().filter(|(begun, _)| *begun == blob.digest);
        let verifier = begun.map_or_else(|| Verifier::new(blob), |(_, verifier)| verifier);
        let offset = verifier.seen();
        Self { stream, digest: blob.digest, size: blob.size, doing, verifier: Some(verifier), offset, done }
    }

    async fn pass(&self, bytes: Bytes, ends: bool) -> Result<(), StoreError> {
        let (stream, digest, size) = (self.stream.clone(), self.digest, self.size);
        let passed = spawn_blocking(move || {
            if let Some(headers) = stream.take_headers(&digest) {
                stream.write_all(&headers)?;
            }
            stream.write_all(&bytes)?;
            if ends { stream.next(&digest, size) } else { Ok(()) }
        });
        passed
            .await
            .unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
            .map_err(|error| self.failed(error))
    }

    fn failed(&self, error: io::Error) -> StoreError {
        StoreError::new(Kind::Other, &*self.doing, error)
    }
}

impl Drop for StreamWriter {
    fn drop(&mut self) {
        if let Some(verifier) = self.verifier.take() {
            self.stream.turns().begun = Some((self.digest, verifier));
        }
    }
}

#[async_trait]
impl Writer for StreamWriter {
    fn offset(&self) -> u64 {
        self.offset
    }

    async fn write(&mut self, bytes: Bytes) -> Result<(), StoreError> {
        if let Some(verifier) = &mut self.verifier {
            verifier.update(&bytes).map_err(|error| Error::from(error).doing(&*self.doing))?;
        }
        self.pass(bytes, false).await
    }

    async fn commit(mut self: Box<Self>) -> Result<(), StoreError> {
        if let Some(verifier) = self.verifier.take() {
            verifier.finish().map_err(|error| Error::from(error).doing(&*self.doing))?;
        }
        // An empty blob has its header too.
        self.pass(Bytes::new(), true).await?;
        std::mem::replace(&mut self.done, Box::new(|| ()))();
        Ok(())
    }
}
