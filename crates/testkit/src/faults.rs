//! A registry that does on demand what real ones will not.

mod answer;
mod content;
mod dialect;
mod route;
mod serve;
mod slots;

use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

pub use answer::Answer;
use content::Content;
pub use dialect::{Dialect, Ping};
pub use route::Route;
use slots::Slots;

use crate::images::Graph;
use crate::listener::{self, LOOPBACK, Listener};
use crate::wire::Request;
use crate::{Authority, Certificate, lock};

/// A small registry over HTTP/1.1, without authentication, whose answers are replaced or spoiled route by route.
///
/// What no [`Route`] catches is answered as the distribution specification has it: manifests, blobs with `Range`,
/// uploads that go on where they were cut, mounts, tags and catalog with paging by relative links.
///
/// ```no_run
/// use testkit::{Answer, FaultRegistry, Route, images};
///
/// let registry = FaultRegistry::start();
/// registry.put("demo/web", "1.0", &images::single());
/// // The first blob stops after 100 bytes; then all goes well.
/// registry.on(Route::get("/v2/demo/web/blobs/*").times(1), Answer::stored().cut_after(100));
/// ```
#[derive(Debug)]
pub struct FaultRegistry {
    listener: Listener,
    state: Arc<State>,
    authority: Option<Authority>,
}

#[derive(Debug, Default)]
struct State {
    content: Mutex<Content>,
    rules: Mutex<Vec<(Route, Answer)>>,
    requests: Mutex<Vec<Request>>,
    connections: AtomicUsize,
    slots: Slots,
}

impl FaultRegistry {
    /// An empty registry over plain HTTP.
    pub fn start() -> Self {
        Self::listen(LOOPBACK, None, None)
    }

    /// An empty registry over plain HTTP, on this address.
    pub fn at(ip: &str) -> Self {
        Self::listen(listener::ip(ip), None, None)
    }

    /// An empty registry over HTTPS, with the certificate of an authority of its own.
    pub fn tls() -> Self {
        let authority = Authority::new();
        let certificate = authority.server(&["localhost", "127.0.0.1"]);
        Self::listen(LOOPBACK, Some(&certificate), Some(authority))
    }

    /// An empty registry over HTTPS, on this address, which shows this certificate.
    pub fn tls_at(ip: &str, certificate: &Certificate) -> Self {
        Self::listen(listener::ip(ip), Some(certificate), None)
    }

    fn listen(ip: IpAddr, certificate: Option<&Certificate>, authority: Option<Authority>) -> Self {
        let state = Arc::new(State::default());
        let tls = certificate.map(Certificate::serving);
        let listener = Listener::start(ip, {
            let state = Arc::clone(&state);
            move |stream| {
                state.connections.fetch_add(1, Ordering::SeqCst);
                state.serve(stream, tls.as_ref());
            }
        });
        Self { listener, state, authority }
    }

    /// `127.0.0.1:PORT`, or the address that it was started on.
    pub fn address(&self) -> String {
        self.listener.address()
    }

    /// The authority behind its certificate, if it has one of its own.
    pub fn authority(&self) -> Option<&Authority> {
        self.authority.as_ref()
    }

    /// Answers requests that `route` catches with `answer`. The first rule that fits counts, in the order of calls.
    pub fn on(&self, route: Route, answer: Answer) {
        lock(&self.state.rules).push((route, answer));
    }

    /// Stores an image and everything below it.
    pub fn put(&self, repository: &str, tag: &str, graph: &Graph) {
        lock(&self.state.content).put(repository, tag, graph);
    }

    /// Stores anything as a manifest, under a tag or a digest, whether or not that is right.
    pub fn put_manifest(&self, repository: &str, reference: &str, media_type: &str, bytes: &[u8]) {
        lock(&self.state.content).put_manifest(repository, reference, media_type, bytes);
    }

    /// Stores anything as a blob, under any digest, whether or not that is right.
    pub fn put_blob(&self, repository: &str, digest: &str, bytes: &[u8]) {
        lock(&self.state.content).put_blob(repository, digest, bytes);
    }

    /// The manifest stored under a tag or digest.
    pub fn manifest(&self, repository: &str, reference: &str) -> Option<Vec<u8>> {
        lock(&self.state.content).manifest(repository, reference).map(|(_, bytes)| bytes.to_vec())
    }

    /// The blob stored under a digest.
    pub fn blob(&self, repository: &str, digest: &str) -> Option<Vec<u8>> {
        lock(&self.state.content).blob(repository, digest).map(|bytes| bytes.to_vec())
    }

    /// Answers no more than `slots` requests at once, each for `time` at least; what is beyond gets 429.
    pub fn limit(&self, slots: usize, time: Duration) {
        self.state.slots.limit(slots, time);
    }

    /// Of the requests since [`limit`](Self::limit), in order: how many were under way, and whether it was refused.
    pub fn load(&self) -> Vec<(usize, bool)> {
        self.state.slots.history()
    }

    /// Connections that were opened, whatever came of them.
    pub fn connections(&self) -> usize {
        self.state.connections.load(Ordering::SeqCst)
    }

    /// The requests whose heads arrived, in order.
    pub fn requests(&self) -> Vec<Request> {
        lock(&self.state.requests).clone()
    }

    /// How many requests had this method and a path like this pattern (see [`Route::new`]).
    pub fn count(&self, method: &str, pattern: &str) -> usize {
        let route = Route::new(method, pattern);
        lock(&self.state.requests).iter().filter(|request| route.fits(request)).count()
    }
}
