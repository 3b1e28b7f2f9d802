//! Connections that are opened before there are requests for them, so that these need not wait for handshakes.

use std::any::Any;
use std::collections::VecDeque;
use std::error::Error;
use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::join_all;
use reqwest::Client;
use tokio::sync::oneshot;
use tokio::time::Instant;
use tower_layer::Layer;
use tower_service::Service;
use url::Url;

/// How long a connection is kept for a request. Servers wait longer for the first one.
const KEPT: Duration = Duration::from_secs(3);

/// A connection of reqwest's, whose type has no name.
type Connection = Box<dyn Any + Send>;

/// The connections of one client to one host that no request has taken yet.
#[derive(Clone, Default)]
pub(crate) struct Ahead(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    /// With the moment since when each is open.
    open: Vec<(Instant, Connection)>,
    /// How many are being opened.
    opening: usize,
    /// Requests that wait for these; never more.
    waiting: VecDeque<oneshot::Sender<Connection>>,
}

impl Ahead {
    /// What makes a client take these connections before it opens others.
    pub(crate) fn taking(&self) -> Connecting {
        Connecting { ahead: self.clone(), keeps: false }
    }

    /// What makes a client open connections for others: its own requests fail, and are never sent.
    pub(crate) fn keeping(&self) -> Connecting {
        Connecting { ahead: self.clone(), keeps: true }
    }

    /// Opens connections to where a URL leads, until there are `count`, by a client that keeps them, and closes those that nobody
    /// has taken in a while; requests wait for them from now on. What fails here fails again, with a reason, when there is a request.
    pub(crate) fn open(
        self,
        keeper: Client,
        url: Url,
        count: usize,
    ) -> impl Future<Output = ()> + Send + use<> {
        let there = self.state().count();
        let opening: Vec<Opening> = (there..count).map(|_| Opening::new(&self)).collect();
        async move {
            // Also where the runtime ends: what it opened dies with it.
            let _closing = Closing(self);
            let attempts = opening.into_iter().map(async |_opening| {
                let _ = keeper.head(url.clone()).send().await;
            });
            join_all(attempts).await;
            tokio::time::sleep(KEPT).await;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // The state is whole at every moment, so a panic elsewhere does not spoil it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One that is being opened; dropped when it is open, or will not be.
struct Opening(Ahead);

impl Opening {
    fn new(ahead: &Ahead) -> Self {
        ahead.state().opening += 1;
        Self(ahead.clone())
    }
}

impl Drop for Opening {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.opening -= 1;
        // Those for whom none is left open their own.
        let left = state.opening;
        state.waiting.truncate(left);
    }
}

/// Closes the connections that nobody has taken, when it is dropped.
struct Closing(Ahead);

impl Drop for Closing {
    fn drop(&mut self) {
        self.0.state().open.clear();
    }
}

impl State {
    /// How many are there for requests, or will be.
    fn count(&mut self) -> usize {
        self.open.retain(|(since, _)| since.elapsed() < KEPT);
        self.open.len() + self.opening - self.waiting.len()
    }

    /// Gives a connection to whoever waits for one.
    fn keep(&mut self, mut connection: Connection) {
        while let Some(waiting) = self.waiting.pop_front() {
            match waiting.send(connection) {
                Ok(()) => return,
                // It does not wait any more.
                Err(back) => connection = back,
            }
        }
        self.open.push((Instant::now(), connection));
    }

    fn take(&mut self) -> Taken {
        while let Some((since, connection)) = self.open.pop() {
            if since.elapsed() < KEPT {
                return Taken::Open(connection);
            }
        }
        self.waiting.retain(|waiting| !waiting.is_closed());
        if self.waiting.len() >= self.opening {
            return Taken::Nothing;
        }
        let (sender, receiver) = oneshot::channel();
        self.waiting.push_back(sender);
        Taken::Soon(receiver)
    }
}

/// What there is for a request.
enum Taken {
    Open(Connection),
    Soon(oneshot::Receiver<Connection>),
    Nothing,
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

/// The connection was kept; there was nothing to send over it.
#[derive(Debug, thiserror::Error)]
#[error("the connection is kept for later")]
struct Kept;

impl<S, T> Service<T> for Connector<S>
where
    S: Service<T, Error = Box<dyn Error + Send + Sync>> + Clone + Send + 'static,
    S::Response: Send + 'static,
    S::Future: Send + 'static,
    T: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, target: T) -> Self::Future {
        // The one that is ready; the other gets ready for the next call.
        let again = self.inner.clone();
        let mut inner = mem::replace(&mut self.inner, again);
        let ahead = self.connecting.ahead.clone();
        if self.connecting.keeps {
            let connection = inner.call(target);
            return Box::pin(async move {
                let connection = connection.await?;
                ahead.state().keep(Box::new(connection));
                Err(Kept.into())
            });
        }
        let taken = ahead.state().take();
        Box::pin(async move {
            let connection = match taken {
                Taken::Open(connection) => Some(connection),
                Taken::Soon(receiver) => receiver.await.ok(),
                Taken::Nothing => None,
            };
            // Both clients are reqwest's, so all connections are of its one type.
            match connection.and_then(|connection| connection.downcast().ok()) {
                Some(connection) => Ok(*connection),
                None => inner.call(target).await,
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use tokio::time::sleep;

    use super::*;

    /// Opens connections, which are numbers, each in a second; or none.
    #[derive(Clone)]
    struct Numbers {
        next: Arc<AtomicU32>,
        works: bool,
    }

    impl Service<()> for Numbers {
        type Response = u32;
        type Error = Box<dyn Error + Send + Sync>;
        type Future = Pin<Box<dyn Future<Output = Result<u32, Self::Error>> + Send>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, (): ()) -> Self::Future {
            let (number, works) = (self.next.fetch_add(1, Ordering::Relaxed), self.works);
            Box::pin(async move {
                sleep(Duration::from_secs(1)).await;
                if works { Ok(number) } else { Err("no route".into()) }
            })
        }
    }

    fn numbers(works: bool) -> Numbers {
        Numbers { next: Arc::default(), works }
    }

    async fn call(connector: &mut Connector<Numbers>) -> Result<u32, String> {
        std::future::poll_fn(|context| connector.poll_ready(context)).await.unwrap();
        connector.call(()).await.map_err(|error| error.to_string())
    }

    /// What [`Ahead::open`] does with a keeper's request.
    async fn keep(ahead: &Ahead, numbers: &Numbers, _opening: Opening) {
        let refused = call(&mut ahead.keeping().layer(numbers.clone())).await.unwrap_err();
        assert!(["the connection is kept for later", "no route"].contains(&refused.as_str()), "{refused}");
    }

    #[tokio::test(start_paused = true)]
    async fn who_comes_early_waits_for_the_connections_that_are_being_opened() {
        let (ahead, numbers) = (Ahead::default(), numbers(true));
        let opening = [(); 2].map(|()| Opening::new(&ahead));
        let mut takers = [(); 3].map(|()| ahead.taking().layer(numbers.clone()));
        let [first, second, third] = &mut takers;
        let taken = async {
            sleep(Duration::from_millis(500)).await;
            let began = tokio::time::Instant::now();
            let taken = tokio::join!(call(first), call(second), call(third));
            (taken, began.elapsed())
        };
        let keeping = join_all(opening.map(|opening| keep(&ahead, &numbers, opening)));
        let (_, ((first, second, third), took)) = tokio::join!(keeping, taken);
        assert_eq!([first, second, third], [Ok(0), Ok(1), Ok(2)]);
        assert_eq!(took, Duration::from_secs(1), "that of the third, which opened its own");
    }

    #[tokio::test(start_paused = true)]
    async fn who_waited_in_vain_opens_one() {
        let (ahead, broken, works) = (Ahead::default(), numbers(false), numbers(true));
        let opening = Opening::new(&ahead);
        let mut taker = ahead.taking().layer(works.clone());
        let ((), number) = tokio::join!(keep(&ahead, &broken, opening), call(&mut taker));
        assert_eq!(number, Ok(0));
        assert_eq!(works.next.load(Ordering::Relaxed), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn who_gives_up_leaves_its_connection_to_others() {
        let (ahead, numbers) = (Ahead::default(), numbers(true));
        let opening = Opening::new(&ahead);
        let mut taker = ahead.taking().layer(numbers.clone());
        let hasty = tokio::time::timeout(Duration::from_millis(10), call(&mut taker));
        let ((), hasty) = tokio::join!(keep(&ahead, &numbers, opening), hasty);
        assert!(hasty.is_err());
        let began = tokio::time::Instant::now();
        assert_eq!(call(&mut taker).await, Ok(0));
        assert_eq!(began.elapsed(), Duration::ZERO);
    }
}
