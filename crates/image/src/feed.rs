//! A blob's bytes on their way from the network to a thread that inflates them.

use std::io::{self, BufRead, Read};
use std::sync::Arc;

use bytes::{Buf, Bytes};
use futures_util::StreamExt;
use oci::Descriptor;
use store::{ByteStream, Event, Observer, Store};
use tokio::sync::mpsc;

use crate::parts::{self, Room};

/// Pieces that may wait for the inflating thread; one is some hundred KiB at most.
const PIECES: usize = 4;

/// The two ends: what the network fills, and what the thread reads.
pub(crate) fn pair() -> (mpsc::Sender<Bytes>, Feed) {
    let (sender, receiver) = mpsc::channel(PIECES);
    (sender, Feed { receiver, piece: Bytes::new() })
}

/// Reads a blob, verified, into a feed. If the reading end is gone the rest is read for its digest alone: when the bytes
/// are the wrong ones, that is the cause of whatever the reading end has to say. Not so once `is_over`: that is a cause of its own.
pub(crate) async fn fill(
    store: &dyn Store,
    blob: &Descriptor,
    sender: mpsc::Sender<Bytes>,
    observer: &dyn Observer,
    is_over: impl Fn() -> bool,
) -> Result<(), store::Error> {
    observer.event(&Event::BlobStarted { blob, kept: 0 });
    let bytes = match blob.embedded() {
        Some(content) => futures_util::stream::iter([Ok(Bytes::from(content))]).boxed(),
        None => store.read(blob, 0..blob.size).await?,
    };
    pour(bytes, blob, sender, observer, is_over).await
}

/// The same over several connections, where one is slow and there is room.
pub(crate) async fn fill_in_parts(
    (store, room): (&Arc<dyn Store>, &Room),
    blob: &Descriptor,
    sender: mpsc::Sender<Bytes>,
    observer: &dyn Observer,
    is_over: impl Fn() -> bool,
) -> Result<(), store::Error> {
    if blob.embedded().is_some() {
        return fill(&**store, blob, sender, observer, is_over).await;
    }
    observer.event(&Event::BlobStarted { blob, kept: 0 });
    pour(parts::read(store, blob, room).await?, blob, sender, observer, is_over).await
}

/// The same for what has begun, all of a blob.
async fn pour(
    bytes: ByteStream,
    blob: &Descriptor,
    sender: mpsc::Sender<Bytes>,
    observer: &dyn Observer,
    is_over: impl Fn() -> bool,
) -> Result<(), store::Error> {
    let mut bytes = store::verified(bytes, blob);
    while let Some(piece) = bytes.next().await {
        let piece = piece?;
        observer.event(&Event::BlobAdvanced(blob, piece.len() as u64));
        if sender.send(piece).await.is_err() && is_over() {
            return Ok(());
        }
    }
    observer.event(&Event::BlobDone(blob));
    Ok(())
}

/// The reading end, for a blocking thread. Ends where the blob ends, and also where the network failed: whoever uses
/// it looks at the outcome of [`fill`] before believing what was read.
pub(crate) struct Feed {
    receiver: mpsc::Receiver<Bytes>,
    piece: Bytes,
}

impl BufRead for Feed {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.piece.is_empty() {
            match self.receiver.blocking_recv() {
                Some(piece) => self.piece = piece,
                None => break,
            }
        }
        Ok(&self.piece)
    }

    fn consume(&mut self, length: usize) {
        self.piece.advance(length);
    }
}

impl Read for Feed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.fill_buf()?.len().min(buffer.len());
        self.piece.copy_to_slice(&mut buffer[..length]);
        Ok(length)
    }
}
