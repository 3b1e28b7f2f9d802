//! Connections that are opened before there are requests for them, so that these need not wait for handshakes.

use std::any::Any;
use std::future::{Future, ready};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::join_all;
use reqwest::Client;
use tower_layer::Layer;
use tower_service::Service;
use url::Url;

/// How long a connection waits for a request. Servers wait longer for the first one.
const KEPT: Duration = Duration::from_secs(3);

/// The connections of one client to one host that no request has taken yet.
#[derive(Clone, Default)]
pub(crate) struct Ahead {
    // Of a type of reqwest's that has no name.
    open: Arc<Mutex<Vec<Box<dyn Any + Send>>>>,
}

impl Ahead {
    /// What makes a client take these connections first.
    pub(crate) fn taking(&self) -> Connecting {
        Connecting { ahead: self.clone(), keeps: false }
    }

    /// What makes a client keep its connections here. Its requests fail, and are never sent.
    pub(crate) fn keeping(&self) -> Connecting {
        Connecting { ahead: self.clone(), keeps: true }
    }

    /// Opens `count` connections to where a URL leads, with a client that keeps them, and closes those that nobody has taken
    /// in a while. What fails here fails again, with a reason, when there is a request.
    pub(crate) async fn open(self, keeper: Client, url: Url, count: usize) {
        join_all((0..count).map(|_| keeper.head(url.clone()).send())).await;
        tokio::time::sleep(KEPT).await;
        self.connections().clear();
    }

    fn connections(&self) -> MutexGuard<'_, Vec<Box<dyn Any + Send>>> {
        // They are whole at every moment, so a panic elsewhere does not spoil them.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take<C: 'static>(&self) -> Option<C> {
        let connection = self.connections().pop()?;
        connection.downcast().ok().map(|connection| *connection)
    }
}

/// A layer around what opens a client's connections.
#[derive(Clone)]
pub(crate) struct Connecting {
    ahead: Ahead,
    keeps: bool,
}

impl<S> Layer<S> for Connecting {
    type Service = Connector<S>;

    fn layer(&self, inner: S) -> Connector<S> {
        Connector { inner, connecting: self.clone() }
    }
}

/// What opens a client's connections.
#[derive(Clone)]
pub(crate) struct Connector<S> {
    inner: S,
    connecting: Connecting,
}

/// The connection was kept; there is nothing to send over it.
#[derive(Debug, thiserror::Error)]
#[error("the connection is kept for later")]
struct Kept;

impl<S, T> Service<T> for Connector<S>
where
    S: Service<T, Error = Box<dyn std::error::Error + Send + Sync>>,
    S::Response: Send + 'static,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, target: T) -> Self::Future {
        let Connecting { ahead, keeps } = &self.connecting;
        if !keeps {
            if let Some(connection) = ahead.take() {
                return Box::pin(ready(Ok(connection)));
            }
            return Box::pin(self.inner.call(target));
        }
        let (connection, ahead) = (self.inner.call(target), ahead.clone());
        Box::pin(async move {
            let connection = connection.await?;
            ahead.connections().push(Box::new(connection));
            Err(Kept.into())
        })
    }
}
