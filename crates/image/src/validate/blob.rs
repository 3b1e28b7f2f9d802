//! Whether one blob is there, and is what its descriptor says.

use std::sync::atomic::AtomicU64;

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use oci::{Descriptor, Verifier};
use store::{Event, Kind, Observer, Store};
use tokio::sync::mpsc;

use super::count;
use crate::config::LIMIT;

/// What is said of a blob.
pub(super) enum Verdict<T> {
    /// It is there, and it is right.
    Right(T),
    /// It is not there.
    Missing,
    /// It is not what its descriptor says.
    Wrong(String),
}

impl<T> Verdict<T> {
    pub(super) fn map<U>(self, make: impl FnOnce(T) -> U) -> Verdict<U> {
        match self {
            Self::Right(content) => Verdict::Right(make(content)),
            Self::Missing => Verdict::Missing,
            Self::Wrong(problem) => Verdict::Wrong(problem),
        }
    }
}

/// Where a blob's bytes go.
enum Sink {
    Nothing,
    Feed(mpsc::Sender<Bytes>),
    Memory(BytesMut),
}

impl Sink {
    async fn take(&mut self, piece: Bytes) {
        match self {
            Self::Nothing => {}
            Self::Memory(content) => content.extend_from_slice(&piece),
            Self::Feed(sender) => {
                if sender.send(piece).await.is_err() {
                    // Whoever has seen enough leaves; the digest wants all bytes.
                    *self = Self::Nothing;
                }
            }
        }
    }
}

/// Where blobs are read.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) store: &'a dyn Store,
    pub(super) observer: &'a dyn Observer,
    /// Counts the bytes.
    pub(super) read: &'a AtomicU64,
}

impl Place<'_> {
    /// Asks for a blob without its bytes.
    pub(super) async fn present(self, blob: &Descriptor) -> Result<Verdict<()>, store::Error> {
        match self.store.resolve_blob(&blob.digest).await {
            Ok(found) if found.size == blob.size => Ok(Verdict::Right(())),
            Ok(found) => Ok(wrong_size(blob, found.size)),
            Err(error) => match error.kind() {
                Kind::NotFound => Ok(Verdict::Missing),
                // It may not be able to tell the length.
                Kind::Unsupported | Kind::Other => {
                    let is_there = self.store.contains(blob).await?;
                    Ok(if is_there { Verdict::Right(()) } else { Verdict::Missing })
                }
                _ => Err(error),
            },
        }
    }

    /// Reads a blob to its end, and hands its bytes on as they come.
    pub(super) async fn read(
        self,
        blob: &Descriptor,
        sender: Option<mpsc::Sender<Bytes>>,
    ) -> Result<Verdict<()>, store::Error> {
        self.observer.event(&Event::BlobStarted { blob, kept: 0 });
        let verdict = self.pass(blob, &mut sender.map_or(Sink::Nothing, Sink::Feed)).await?;
        if matches!(verdict, Verdict::Right(())) {
            self.observer.event(&Event::BlobDone(blob));
        }
        Ok(verdict)
    }

    /// Reads a small blob into memory.
    pub(super) async fn collect(self, blob: &Descriptor) -> Result<Verdict<Bytes>, store::Error> {
        if blob.size > LIMIT {
            let problem =
                format!("it has {} bytes, more than the {LIMIT} that are read into memory", blob.size);
            return Ok(Verdict::Wrong(problem));
        }
        let mut sink = Sink::Memory(BytesMut::new());
        let verdict = self.pass(blob, &mut sink).await?;
        let content = if let Sink::Memory(content) = sink { content.freeze() } else { Bytes::new() };
        Ok(verdict.map(|()| content))
    }

    async fn pass(self, blob: &Descriptor, sink: &mut Sink) -> Result<Verdict<()>, store::Error> {
        if blob.size == 0 {
            // Of nothing, nothing is asked for: whether it is there does not show.
            let verdict = self.present(blob).await?;
            if !matches!(verdict, Verdict::Right(())) {
                return Ok(verdict);
            }
        }
        let mut stream = match self.store.read(blob, 0..blob.size).await {
            Ok(stream) => stream,
            Err(error) => return self.judge(blob, error).await,
        };
        let mut verifier = Verifier::new(blob);
        while let Some(piece) = stream.next().await {
            let piece = match piece {
                Ok(piece) => piece,
                Err(error) => return self.judge(blob, error).await,
            };
            count(self.read, piece.len());
            if let Err(error) = verifier.update(&piece) {
                return Ok(self.wrong(blob, error.to_string()).await);
            }
            self.observer.event(&Event::BlobAdvanced(blob, piece.len() as u64));
            sink.take(piece).await;
        }
        match verifier.finish() {
            Ok(()) => Ok(Verdict::Right(())),
            Err(error) => Ok(self.wrong(blob, error.to_string()).await),
        }
    }

    /// Tells a blob that is wrong from a place that fails.
    async fn judge(self, blob: &Descriptor, error: store::Error) -> Result<Verdict<()>, store::Error> {
        match error.kind() {
            Kind::NotFound => Ok(Verdict::Missing),
            Kind::Invalid => Ok(self.wrong(blob, error.cause().to_string()).await),
            // A registry's answer of another length is refused before a byte of it is read.
            Kind::Other => match self.other_size(blob).await {
                Some(size) => Ok(wrong_size(blob, size)),
                None => Err(error),
            },
            _ => Err(error),
        }
    }

    /// A blob that is wrong: if its length is, then that is what is said of it.
    async fn wrong(self, blob: &Descriptor, problem: String) -> Verdict<()> {
        match self.other_size(blob).await {
            Some(size) => wrong_size(blob, size),
            None => Verdict::Wrong(problem),
        }
    }

    /// The length of a blob, where the place can tell it and it is not what the descriptor says.
    async fn other_size(self, blob: &Descriptor) -> Option<u64> {
        let found = self.store.resolve_blob(&blob.digest).await.ok()?;
        (found.size != blob.size).then_some(found.size)
    }
}

fn wrong_size<T>(blob: &Descriptor, size: u64) -> Verdict<T> {
    Verdict::Wrong(format!("it has {size} bytes, the descriptor says {}", blob.size))
}
