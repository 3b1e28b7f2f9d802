//! Connections: listening, HTTP/1.1 and HTTP/2 on the same port, and an end that lets requests finish.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use http::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use crate::access::{Access, Observer};
use crate::api;
use crate::{Error, Storage};

/// How long requests may go on after the end was asked for.
const GRACE: Duration = Duration::from_secs(10);

/// A connection that sends no head of a request for so long is closed.
const HEAD_TIMEOUT: Duration = Duration::from_mins(2);

/// Upload sessions that nobody wrote to for so long are removed.
const SESSION_LIFE: Duration = Duration::from_hours(7 * 24);

/// How often sessions are looked at.
const PRUNE_EVERY: Duration = Duration::from_hours(1);

/// After an error of `accept` other than a client that went away: most likely there are no file descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A registry that listens, but does not answer yet.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    storage: Storage,
    observer: Option<Observer>,
}

impl Server {
    /// Listens on an address; port 0 takes a free one.
    ///
    /// # Errors
    /// [`Error::Bind`] if the address is in use or not this machine's.
    pub async fn bind(address: SocketAddr, storage: Storage) -> Result<Self, Error> {
        let refused = |source| Error::Bind { address, source };
        let listener = TcpListener::bind(address).await.map_err(refused)?;
        let address = listener.local_addr().map_err(refused)?;
        Ok(Self { listener, address, storage, observer: None })
    }

    /// The address that clients reach, with the port that was taken.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Calls `observer` after each request, on the thread that ended it: it should not wait for anything.
    #[must_use]
    pub fn observe(mut self, observer: impl Fn(&Access) + Send + Sync + 'static) -> Self {
        self.observer = Some(Observer(Arc::new(observer)));
        self
    }

    /// Answers requests until `shutdown` is ready. Then no new ones are accepted, and those under way have 10 seconds
    /// to end; when this returns, nothing uses the storage any more. Dropping the future cuts all connections.
    pub async fn serve(self, shutdown: impl Future<Output = ()>) {
        let Self { listener, storage, observer, .. } = self;
        let (ending, ended) = watch::channel(false);
        // Every request holds a sender, so the channel closes behind the last one.
        let (request, mut requests) = mpsc::channel::<Infallible>(1);
        let mut connections = JoinSet::new();
        let mut prune = interval(PRUNE_EVERY);
        prune.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut shutdown = pin!(shutdown);
        loop {
            tokio::select! {
                () = &mut shutdown => break,
                _ = prune.tick() => {
                    let (storage, alive) = (storage.clone(), request.clone());
                    tokio::spawn(async move {
                        // What could not be removed now is tried again.
                        let _ = storage.run(|storage| storage.prune_uploads(SESSION_LIFE)).await;
                        drop((storage, alive));
                    });
                }
                Some(_) = connections.join_next() => {}
                accepted = listener.accept() => match accepted {
                    Ok((stream, _)) => {
                        let handler = Handler {
                            storage: storage.clone(),
                            observer: observer.clone(),
                            request: request.clone(),
                        };
                        connections.spawn(connection(stream, handler, ended.clone()));
                    }
                    Err(_) => sleep(ACCEPT_PAUSE).await,
                },
            }
        }
        drop((listener, request));
        let _ = ending.send(true);
        let all = async { while connections.join_next().await.is_some() {} };
        if timeout(GRACE, all).await.is_err() {
            connections.shutdown().await;
        }
        // Requests whose connection is gone end by themselves: their bodies are cut.
        let _ = requests.recv().await;
    }
}

/// What a request needs.
#[derive(Clone)]
struct Handler {
    storage: Storage,
    observer: Option<Observer>,
    request: mpsc::Sender<Infallible>,
}

async fn connection(stream: TcpStream, handler: Handler, mut ended: watch::Receiver<bool>) {
    // Answers are written whole; waiting for more to send only delays them. A socket that refuses is slower, no more.
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request: Request<Incoming>| {
        let Handler { storage, observer, request: alive } = handler.clone();
        // On a task of its own: hyper drops the request of a connection that breaks, but the bytes that came count.
        tokio::spawn(async move {
            let answer = api::handle(storage, observer, request).await;
            drop(alive);
            answer
        })
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
    builder.http2().timer(TokioTimer::new()).keep_alive_interval(HEAD_TIMEOUT);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
    tokio::select! {
        _ = connection.as_mut() => return,
        _ = ended.wait_for(|ended| *ended) => connection.as_mut().graceful_shutdown(),
    }
    // How a connection ends is the client's business; what happened to its requests was reported.
    let _ = connection.await;
}
