//! The link: connections, each with a pump for either direction.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::count::{Counts, Requests};
use crate::line::Line;

/// What is delivered at once: small, so that a slow link trickles, and large enough for hundreds of megabytes a second.
const PIECE: usize = 64 * 1024;
/// What a link holds at least, as the socket buffers of a real one do.
const DEPTH: usize = 256 * 1024;

/// What the link is like.
#[derive(Clone, Debug, Default)]
pub(crate) struct Settings {
    /// Each way.
    pub(crate) delay: Duration,
    /// Bytes a second, of each connection and direction.
    pub(crate) rate: Option<f64>,
    /// Bytes a second, of all connections of a direction together.
    pub(crate) shared: Option<f64>,
    /// A connection ends after so many bytes.
    pub(crate) cut: Option<u64>,
}

/// A running link; it runs as long as the process.
#[derive(Debug)]
pub(crate) struct Link {
    address: SocketAddr,
    common: Arc<Common>,
}

/// What all connections share.
#[derive(Debug)]
struct Common {
    settings: Settings,
    counts: Counts,
    up: Option<Line>,
    down: Option<Line>,
    /// Nothing is delivered before.
    silent: Mutex<Instant>,
}

/// One direction of one connection.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Direction {
    Up,
    Down,
}

impl Link {
    /// Listens on a free loopback port, before the server at `place`.
    pub(crate) fn start(place: &str, settings: Settings) -> std::io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let common = Arc::new(Common {
            up: settings.shared.map(Line::new),
            down: settings.shared.map(Line::new),
            counts: Counts::default(),
            silent: Mutex::new(Instant::now()),
            settings,
        });
        let (accepting, place) = (Arc::clone(&common), place.to_owned());
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let (common, place) = (Arc::clone(&accepting), place.clone());
                thread::spawn(move || common.connection(&client, &place));
            }
        });
        Ok(Self { address, common })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn counts(&self) -> &Counts {
        &self.common.counts
    }

    /// From now on, for so long, nothing leaves the link.
    pub(crate) fn silence(&self, long: Duration) {
        *self.common.silent.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now() + long;
    }
}

impl Common {
    /// From the client's handshake to the end of both directions.
    fn connection(&self, client: &TcpStream, place: &str) {
        // The handshake that a real client would have to wait for.
        thread::sleep(self.settings.delay * 2);
        let Ok(server) = TcpStream::connect(place) else {
            let _ = client.shutdown(Shutdown::Both);
            return;
        };
        self.counts.connections.fetch_add(1, Ordering::Relaxed);
        self.counts.open.fetch_add(1, Ordering::Relaxed);
        for side in [client, &server] {
            let _ = side.set_nodelay(true);
        }
        let passed = AtomicU64::new(0);
        thread::scope(|scope| {
            scope.spawn(|| self.pump(client, &server, Direction::Up, &passed));
            self.pump(&server, client, Direction::Down, &passed);
        });
        self.counts.open.fetch_sub(1, Ordering::Relaxed);
    }

    fn pump(&self, from: &TcpStream, to: &TcpStream, direction: Direction, passed: &AtomicU64) {
        // On its way is as much as goes there and back, as on a real link whose windows are open.
        let rate = self.settings.rate.or(self.settings.shared).unwrap_or_default();
        let product = rate * self.settings.delay.as_secs_f64() * 2.0;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a positive number of bytes"
        )]
        let (sender, receiver) = sync_channel((product as usize).max(DEPTH) / PIECE);
        thread::scope(|scope| {
            scope.spawn(move || self.deliver(&receiver, [from, to], direction, passed));
            if self.fetch(from, &sender, direction).is_err() {
                // Broken, not ended: the other side learns it once it has what was on its way.
                let _ = sender.send((Instant::now(), Vec::new()));
            }
            drop(sender);
        });
    }

    /// Reads until the end; an error when the connection broke.
    fn fetch(
        &self,
        mut from: &TcpStream,
        sender: &SyncSender<Piece>,
        direction: Direction,
    ) -> std::io::Result<()> {
        let mut requests = (direction == Direction::Up).then(Requests::default);
        loop {
            let mut piece = vec![0; PIECE];
            let length = from.read(&mut piece)?;
            piece.truncate(length);
            if let Some(requests) = &mut requests {
                requests.feed(&piece, &self.counts);
            }
            if length == 0 || sender.send((Instant::now(), piece)).is_err() {
                return Ok(());
            }
        }
    }

    /// Writes each piece when its time has come.
    fn deliver(
        &self,
        receiver: &Receiver<Piece>,
        [from, mut to]: [&TcpStream; 2],
        direction: Direction,
        passed: &AtomicU64,
    ) {
        let own = self.settings.rate.map(Line::new);
        let (shared, counter) = match direction {
            Direction::Up => (&self.up, &self.counts.sent),
            Direction::Down => (&self.down, &self.counts.received),
        };
        let sever = || {
            for side in [from, to] {
                let _ = side.shutdown(Shutdown::Both);
            }
        };
        for (read, piece) in receiver {
            if piece.is_empty() {
                sever();
                return;
            }
            let mut due = read + self.settings.delay;
            for line in [own.as_ref(), shared.as_ref()].into_iter().flatten() {
                due = due.max(line.take(piece.len()));
            }
            wait(due);
            wait(*self.silent.lock().unwrap_or_else(PoisonError::into_inner));
            if to.write_all(&piece).is_err() {
                sever();
                return;
            }
            counter.fetch_add(piece.len() as u64, Ordering::Relaxed);
            let so_far = passed.fetch_add(piece.len() as u64, Ordering::Relaxed) + piece.len() as u64;
            if self.settings.cut.is_some_and(|limit| so_far > limit) {
                self.counts.cut.fetch_add(1, Ordering::Relaxed);
                sever();
                return;
            }
        }
        let _ = to.shutdown(Shutdown::Write);
    }
}

/// When it was read, and what; empty where the connection broke.
type Piece = (Instant, Vec<u8>);

fn wait(due: Instant) {
    if let Some(left) = due.checked_duration_since(Instant::now()) {
        thread::sleep(left);
    }
}
