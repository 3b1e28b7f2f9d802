//! Whether the link is what it says: measured against a server of its own.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use crate::link::{Link, Settings};
use crate::{MBIT, MIB};

/// A machine that is busy for a moment makes any link slow: the best of so many counts.
const ATTEMPTS: usize = 5;
const TOLERANCE: f64 = 0.1;
/// How long each transfer takes, in seconds, when the rate is right.
const LONG: f64 = 0.4;
/// How many connections share a cap.
const CONNECTIONS: usize = 4;

/// Measures a link with these settings; an error when it is off by more than a tenth.
pub(crate) fn check(settings: &Settings) -> Result<(), String> {
    let words = |error: std::io::Error| format!("checking: {error}");
    let server = server().map_err(words)?;
    if !settings.delay.is_zero() {
        let only = Settings { delay: settings.delay, ..Settings::default() };
        let asked = settings.delay.as_secs_f64() * 2e3;
        judge("round trip", "ms", asked, || Ok(trip(address(server, &only)?)?.as_secs_f64() * 1e3))?;
    }
    let without_cut = Settings { cut: None, ..settings.clone() };
    if let Some(rate) = settings.rate {
        let only = Settings { shared: None, ..without_cut.clone() };
        judge("a connection", "Mbit/s", rate / MBIT, || {
            Ok(rate_of(address(server, &only)?, rate, 1)? / MBIT)
        })?;
    }
    if let Some(rate) = settings.shared {
        let only = Settings { rate: None, ..without_cut };
        judge("together", "Mbit/s", rate / MBIT, || {
            Ok(rate_of(address(server, &only)?, rate, CONNECTIONS)? / MBIT)
        })?;
    }
    Ok(())
}

fn judge(
    what: &str,
    unit: &str,
    asked: f64,
    measure: impl Fn() -> std::io::Result<f64>,
) -> Result<(), String> {
    let mut best = f64::INFINITY;
    for _ in 0..ATTEMPTS {
        let found = measure().map_err(|error| format!("checking: {error}"))?;
        if (found - asked).abs() < (best - asked).abs() {
            best = found;
        }
        if (best - asked).abs() <= asked * TOLERANCE {
            println!("{what}: {best:.1} {unit} of {asked:.1}");
            return Ok(());
        }
    }
    Err(format!("{what} is {best:.1} {unit} instead of {asked:.1}: the machine is too busy, or too slow"))
}

/// A server that answers the first byte with one byte, and reads all that comes after.
fn server() -> std::io::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    thread::spawn(move || {
        for mut client in listener.incoming().flatten() {
            thread::spawn(move || {
                let mut buffer = vec![0; 256 * 1024];
                client.read_exact(&mut buffer[..1])?;
                client.write_all(b".")?;
                while client.read(&mut buffer)? > 0 {}
                client.write_all(b".")
            });
        }
    });
    Ok(address)
}

fn address(server: SocketAddr, settings: &Settings) -> std::io::Result<SocketAddr> {
    Ok(Link::start(&server.to_string(), settings.clone())?.address())
}

/// A connection whose handshake is over, and how long a byte took there and back.
fn greet(address: SocketAddr) -> std::io::Result<(TcpStream, Duration)> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    // Longer than the handshake of any link that is measured here.
    thread::sleep(Duration::from_millis(300));
    let begin = Instant::now();
    stream.write_all(b".")?;
    stream.read_exact(&mut [0])?;
    Ok((stream, begin.elapsed()))
}

fn trip(address: SocketAddr) -> std::io::Result<Duration> {
    Ok(greet(address)?.1)
}

/// Bytes a second when `connections` send as much as `rate` allows in [`LONG`], from the first to when all has arrived.
fn rate_of(address: SocketAddr, rate: f64, connections: usize) -> std::io::Result<f64> {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a positive number of bytes")]
    let each = vec![0; ((rate * LONG).max(MIB) as usize) / connections];
    let (streams, trips): (Vec<_>, Vec<_>) =
        (0..connections).map(|_| greet(address)).collect::<std::io::Result<Vec<_>>>()?.into_iter().unzip();
    let begin = Instant::now();
    thread::scope(|scope| {
        let sending: Vec<_> = streams
            .into_iter()
            .map(|mut stream| {
                scope.spawn({
                    let each = &each;
                    move || {
                        stream.write_all(each)?;
                        stream.shutdown(std::net::Shutdown::Write)?;
                        stream.read_exact(&mut [0])
                    }
                })
            })
            .collect();
        sending
            .into_iter()
            .try_for_each(|thread| thread.join().unwrap_or_else(|_| Err(std::io::ErrorKind::Other.into())))
    })?;
    let took = begin.elapsed().saturating_sub(trips[0]);
    #[expect(clippy::cast_precision_loss, reason = "megabytes")]
    let bytes = (each.len() * connections) as f64;
    Ok(bytes / took.as_secs_f64())
}
