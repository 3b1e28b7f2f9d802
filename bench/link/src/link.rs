//! The link: connections, each with a pump for either direction.

use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::count::Counts;
use crate::line::Line;
use crate::pump::{Direction, Pump};

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
pub(crate) struct Common {
    pub(crate) settings: Settings,
    pub(crate) counts: Counts,
    pub(crate) up: Option<Line>,
    pub(crate) down: Option<Line>,
    /// Nothing is delivered before.
    pub(crate) silent: Mutex<Instant>,
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
            let _ = side.set_nonblocking(true);
        }
        let passed = AtomicU64::new(0);
        thread::scope(|scope| {
            scope.spawn(|| Pump::new(self, [client, &server], Direction::Up, &passed).run());
            Pump::new(self, [&server, client], Direction::Down, &passed).run();
        });
        self.counts.open.fetch_sub(1, Ordering::Relaxed);
    }
}
