//! What happened to a request, for whoever keeps a log.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Method, StatusCode};
use hyper::body::{Body, Frame, SizeHint};

use crate::body::ResponseBody;

/// A request that is over: its answer was sent, or the client went away.
#[derive(Clone, Debug)]
pub struct Access {
    /// The method.
    pub method: Method,
    /// The path and the query, as they came.
    pub path: String,
    /// The status of the answer.
    pub status: StatusCode,
    /// The code and the message of the error, if the answer is one; of an error of the disk also what the client is
    /// not told: the file.
    pub error: Option<(&'static str, String)>,
    /// The bytes of the request's body that came.
    pub received: u64,
    /// The bytes of the answer's body that went out.
    pub sent: u64,
    /// From the request's head to the last byte of the answer.
    pub duration: Duration,
}

/// Is told of every request that is over.
#[derive(Clone)]
pub(crate) struct Observer(pub(crate) Arc<dyn Fn(&Access) + Send + Sync>);

impl fmt::Debug for Observer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Observer")
    }
}

/// A request's report in the making; tells the observer when it is dropped.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) access: Access,
    pub(crate) begun: Instant,
    pub(crate) observer: Option<Observer>,
}

impl Drop for Report {
    fn drop(&mut self) {
        if let Some(Observer(tell)) = &self.observer {
            self.access.duration = self.begun.elapsed();
            tell(&self.access);
        }
    }
}

/// The body of an answer, counted; the report goes with it.
#[derive(Debug)]
pub(crate) struct Counted {
    pub(crate) body: ResponseBody,
    pub(crate) report: Report,
}

impl Body for Counted {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        if let Some(Ok(frame)) = &frame
            && let Some(bytes) = frame.data_ref()
        {
            self.report.access.sent += bytes.len() as u64;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
