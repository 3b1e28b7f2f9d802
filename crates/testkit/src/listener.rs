//! A port with a thread for each connection.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use crate::lock;

/// Where everything listens unless told otherwise.
pub(crate) const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// An address that a test wrote down.
pub(crate) fn ip(text: &str) -> IpAddr {
    text.parse().unwrap_or_else(|error| panic!("{text:?}: {error}"))
}

type Open = Arc<Mutex<HashMap<u64, TcpStream>>>;

/// Accepts until it is dropped; then its connections end too.
#[derive(Debug)]
pub(crate) struct Listener {
    address: SocketAddr,
    stopping: Arc<AtomicBool>,
    open: Open,
    accepting: Option<JoinHandle<()>>,
}

impl Listener {
    /// Listens on a free port of an address; the handler owns a connection until it returns, which ends the connection.
    pub(crate) fn start(ip: IpAddr, handler: impl Fn(TcpStream) + Send + Sync + 'static) -> Self {
        let listener =
            TcpListener::bind((ip, 0)).unwrap_or_else(|error| panic!("listening on {ip}: {error}"));
        let address = listener.local_addr().expect("a bound socket has an address");
        let stopping = Arc::new(AtomicBool::new(false));
        let open = Open::default();
        let accepting = thread::spawn({
            let (stopping, open) = (Arc::clone(&stopping), Arc::clone(&open));
            move || accept(&listener, &stopping, &open, &Arc::new(handler))
        });
        Self { address, stopping, open, accepting: Some(accepting) }
    }

    /// `ADDRESS:PORT`.
    pub(crate) fn address(&self) -> String {
        self.address.to_string()
    }
}

fn accept<H>(listener: &TcpListener, stopping: &AtomicBool, open: &Open, handler: &Arc<H>)
where
    H: Fn(TcpStream) + Send + Sync + 'static,
{
    for (number, stream) in (0..).zip(listener.incoming()) {
        if stopping.load(Ordering::SeqCst) {
            return;
        }
        let Ok(stream) = stream else { continue };
        let Ok(handle) = stream.try_clone() else { continue };
        lock(open).insert(number, handle);
        let (open, handler) = (Arc::clone(open), Arc::clone(handler));
        thread::spawn(move || {
            handler(stream);
            if let Some(stream) = lock(&open).remove(&number) {
                let _ = stream.shutdown(Shutdown::Both);
            }
        });
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::SeqCst);
        // Wakes the thread that accepts.
        let _ = TcpStream::connect(self.address);
        if let Some(accepting) = self.accepting.take() {
            let _ = accepting.join();
        }
        for stream in lock(&self.open).values() {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}
