//! The bodies of requests and answers.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::{Stream, stream};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Body as _, Frame, Incoming};
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::timeout;

/// What an answer streams out.
pub(crate) type ResponseBody = UnsyncBoxBody<Bytes, io::Error>;

/// How much of a file is read at a time: with the 4 KiB that are usual, a download runs at a twentieth of the speed.
const PIECE: u64 = 256 * 1024;

/// A body that moves nothing for so long is taken for cut.
const IDLE: Duration = Duration::from_mins(5);

/// So much of a refused body is read and dropped, so that the connection can be used again.
const DRAIN_BYTES: u64 = 16 * 1024 * 1024;

/// For so long at most.
const DRAIN_TIME: Duration = Duration::from_secs(5);

/// The body of a request ended before its end.
#[derive(Debug)]
pub(crate) struct Cut;

/// The body of a request.
#[derive(Debug)]
pub(crate) struct RequestBody {
    incoming: Incoming,
    received: u64,
    over: bool,
}

impl RequestBody {
    pub(crate) fn new(incoming: Incoming) -> Self {
        Self { over: incoming.is_end_stream(), incoming, received: 0 }
    }

    /// The bytes still to come, where the client said.
    pub(crate) fn announced(&self) -> Option<u64> {
        self.incoming.size_hint().exact()
    }

    /// The bytes that came.
    pub(crate) fn received(&self) -> u64 {
        self.received
    }

    /// The next bytes, at least one; `None` at the end.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, Cut> {
        while !self.over {
            match timeout(IDLE, self.incoming.frame()).await {
                Ok(Some(Ok(frame))) => {
                    if let Ok(bytes) = frame.into_data()
                        && !bytes.is_empty()
                    {
                        self.received = self.received.saturating_add(bytes.len() as u64);
                        return Ok(Some(bytes));
                    }
                }
                Ok(None) => self.over = true,
                Ok(Some(Err(_))) | Err(_) => {
                    self.over = true;
                    return Err(Cut);
                }
            }
        }
        Ok(None)
    }

    /// The whole body; `None` if it has more bytes than the limit.
    pub(crate) async fn collect(&mut self, limit: usize) -> Result<Option<Bytes>, Cut> {
        if self.announced().is_some_and(|length| length > limit as u64) {
            return Ok(None);
        }
        let mut content = BytesMut::new();
        while let Some(bytes) = self.next().await? {
            if bytes.len() > limit - content.len() {
                return Ok(None);
            }
            content.extend_from_slice(&bytes);
        }
        Ok(Some(content.freeze()))
    }

    /// Drops what nobody wants to read, within limits.
    pub(crate) async fn drain(&mut self) {
        if self.announced().is_some_and(|length| length > DRAIN_BYTES) {
            return;
        }
        let limit = self.received.saturating_add(DRAIN_BYTES);
        let drain = async { while self.received < limit && matches!(self.next().await, Ok(Some(_))) {} };
        // Out of time is as good as over the limit: the connection is closed.
        let _ = timeout(DRAIN_TIME, drain).await;
    }
}

/// The content of an answer, before it is known whether it is asked for or only its length.
#[derive(Debug)]
pub(crate) enum Content {
    /// A small document.
    Bytes(Bytes),
    /// The bytes of a file from `start` up to and without `end`.
    File { file: File, start: u64, end: u64 },
}

impl Content {
    pub(crate) fn length(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::File { start, end, .. } => end - start,
        }
    }

    pub(crate) fn into_body(self) -> ResponseBody {
        match self {
            Self::Bytes(bytes) => Full::new(bytes).map_err(|never| match never {}).boxed_unsync(),
            Self::File { file, start, end } => {
                StreamBody::new(pieces(Arc::new(file), start, end)).boxed_unsync()
            }
        }
    }
}

/// Reads a part of a file on blocking threads, one piece ahead of the network.
fn pieces(file: Arc<File>, start: u64, end: u64) -> impl Stream<Item = io::Result<Frame<Bytes>>> {
    let first = read(&file, start, end);
    stream::unfold((first, start), move |(reading, at)| {
        let file = Arc::clone(&file);
        async move {
            let piece = reading?.await.unwrap_or_else(|ended| Err(io::Error::other(ended)));
            let at = at.saturating_add(PIECE).min(end);
            let ahead = if piece.is_ok() { read(&file, at, end) } else { None };
            Some((piece.map(Frame::data), (ahead, at)))
        }
    })
}

/// Begins to read the next piece; `None` at the end.
fn read(file: &Arc<File>, at: u64, end: u64) -> Option<JoinHandle<io::Result<Bytes>>> {
    let length = end.saturating_sub(at).min(PIECE);
    if length == 0 {
        return None;
    }
    let file = Arc::clone(file);
    Some(spawn_blocking(move || {
        let mut piece = BytesMut::zeroed(length as usize);
        file.read_exact_at(&mut piece, at)?;
        Ok(piece.freeze())
    }))
}
