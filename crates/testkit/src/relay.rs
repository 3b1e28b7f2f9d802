//! A relay before a server, which counts what passes and cuts connections on demand.

use std::io::{self, BufReader, Read, Write};
use std::net::{IpAddr, Shutdown, TcpStream};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use crate::listener::{self, LOOPBACK, Listener};
use crate::lock;
use crate::wire::{self, Body, Request};

/// Buffers as large as a fast transfer's.
const BUFFER: usize = 128 << 10;

/// Passes bytes between clients and one server, both ways, unchanged.
#[derive(Debug)]
pub struct Relay {
    listener: Listener,
    state: Arc<State>,
}

#[derive(Debug, Default)]
struct State {
    target: String,
    connections: AtomicUsize,
    up: Meter,
    down: Meter,
    /// How many bytes each connection passes, both ways together.
    each: Mutex<Option<u64>>,
    requests: Mutex<Vec<Request>>,
}

/// Bytes that passed in one direction, and how many more may pass before a connection is cut.
#[derive(Debug, Default)]
struct Meter {
    bytes: AtomicU64,
    budget: Mutex<Option<u64>>,
}

impl Relay {
    /// Starts a relay before `host:port`. Its [`requests`](Self::requests) are known where the protocol is plain HTTP.
    pub fn to(target: &str) -> Self {
        Self::listen(LOOPBACK, target)
    }

    /// The same, on this address.
    pub fn at(ip: &str, target: &str) -> Self {
        Self::listen(listener::ip(ip), target)
    }

    fn listen(ip: IpAddr, target: &str) -> Self {
        let state = Arc::new(State { target: target.to_owned(), ..State::default() });
        let listener = Listener::start(ip, {
            let state = Arc::clone(&state);
            move |client| State::relay(&state, &client)
        });
        Self { listener, state }
    }

    /// `127.0.0.1:PORT`, or the address that it was started on.
    pub fn address(&self) -> String {
        self.listener.address()
    }

    /// Connections that were opened.
    pub fn connections(&self) -> usize {
        self.state.connections.load(Ordering::SeqCst)
    }

    /// Bytes from clients to the server.
    pub fn bytes_up(&self) -> u64 {
        self.state.up.bytes.load(Ordering::SeqCst)
    }

    /// Bytes from the server to clients.
    pub fn bytes_down(&self) -> u64 {
        self.state.down.bytes.load(Ordering::SeqCst)
    }

    /// The requests that passed, in order of their heads.
    pub fn requests(&self) -> Vec<Request> {
        lock(&self.state.requests).clone()
    }

    /// Cuts the one connection by which the next `bytes` bytes from clients are full.
    pub fn cut_up_after(&self, bytes: u64) {
        *lock(&self.state.up.budget) = Some(bytes);
    }

    /// Cuts the one connection by which the next `bytes` bytes from the server are full.
    pub fn cut_down_after(&self, bytes: u64) {
        *lock(&self.state.down.budget) = Some(bytes);
    }

    /// From now on cuts every connection after `bytes` bytes, counted both ways.
    pub fn cut_each_after(&self, bytes: u64) {
        *lock(&self.state.each) = Some(bytes);
    }
}

impl Meter {
    /// How many of `bytes` may pass, and whether the connection is cut behind them.
    fn pass(&self, bytes: usize) -> (usize, bool) {
        let mut budget = lock(&self.budget);
        let left = budget.take().map(|left| usize::try_from(left).unwrap_or(usize::MAX));
        let (passing, cut) = match left {
            Some(left) if left <= bytes => (left, true),
            Some(left) => {
                *budget = Some((left - bytes) as u64);
                (bytes, false)
            }
            None => (bytes, false),
        };
        self.bytes.fetch_add(passing as u64, Ordering::SeqCst);
        (passing, cut)
    }
}

impl State {
    fn relay(state: &Arc<Self>, client: &TcpStream) {
        state.connections.fetch_add(1, Ordering::SeqCst);
        let Ok(server) = TcpStream::connect(&state.target) else { return };
        let (Ok(from_server), Ok(to_client)) = (server.try_clone(), client.try_clone()) else { return };
        let _ = (client.set_nodelay(true), server.set_nodelay(true));
        let passed = Arc::new(AtomicU64::new(0));
        let down = thread::spawn({
            let (state, passed) = (Arc::clone(state), Arc::clone(&passed));
            move || {
                let meter = &state.down;
                let _ = drain(&mut Tee::new(&from_server, &to_client, meter, &state.each, &passed));
            }
        });
        state.watch(&mut Tee::new(client, &server, &state.up, &state.each, &passed));
        let _ = down.join();
    }

    /// Passes what clients send, reading along.
    fn watch(&self, tee: &mut impl Read) {
        let mut reader = BufReader::with_capacity(BUFFER, tee);
        while let Ok(Some(request)) = wire::read_request(&mut reader) {
            let headers = request.headers.clone();
            lock(&self.requests).push(request);
            if drain(&mut Body::of_request(&headers, &mut reader)).is_err() {
                break;
            }
        }
        // Not HTTP, or no more of it: it passes all the same.
        let _ = drain(reader.get_mut());
    }
}

/// Reads to the end. Not `io::copy`, whose buffers are small.
fn drain(reader: &mut impl Read) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER];
    while reader.read(&mut buffer)? > 0 {}
    Ok(())
}

/// Passes on whatever is read through it: each piece when the next is asked for, so that a request is noted before the
/// server sees the end of its head, and long before anyone has its answer.
struct Tee<'m> {
    from: &'m TcpStream,
    to: &'m TcpStream,
    meter: &'m Meter,
    each: &'m Mutex<Option<u64>>,
    /// What the connection has passed, both ways.
    passed: &'m AtomicU64,
    /// What was read and has not been passed on.
    held: Vec<u8>,
}

impl<'m> Tee<'m> {
    fn new(
        from: &'m TcpStream,
        to: &'m TcpStream,
        meter: &'m Meter,
        each: &'m Mutex<Option<u64>>,
        passed: &'m AtomicU64,
    ) -> Self {
        Self { from, to, meter, each, passed, held: Vec::new() }
    }

    /// Passes on what is held.
    fn pass(&mut self) -> io::Result<()> {
        let held = self.held.len();
        if held == 0 {
            return Ok(());
        }
        let before = self.passed.fetch_add(held as u64, Ordering::SeqCst);
        let (mut passing, mut cut) = self.meter.pass(held);
        if let Some(each) = *lock(self.each) {
            let left = usize::try_from(each.saturating_sub(before)).unwrap_or(usize::MAX);
            (passing, cut) = (passing.min(left), cut || left <= held);
        }
        let written = self.to.write_all(&self.held[..passing]);
        self.held.clear();
        if cut || written.is_err() {
            self.cut();
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        Ok(())
    }

    fn cut(&self) {
        let _ = (self.from.shutdown(Shutdown::Both), self.to.shutdown(Shutdown::Both));
    }
}

impl Read for Tee<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.pass()?;
        let read = self.from.read(buffer).inspect_err(|_| self.cut())?;
        if read == 0 {
            let _ = self.to.shutdown(Shutdown::Write);
        }
        self.held.extend_from_slice(&buffer[..read]);
        Ok(read)
    }
}
