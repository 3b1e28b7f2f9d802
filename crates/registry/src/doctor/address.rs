//! The way to a registry, below HTTP: its addresses, and whether they answer.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use futures_util::future::join_all;
use serde::Serialize;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::guard::Zone;

/// How long an address may take to answer.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// An address of the registry's name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Address {
    /// The address.
    pub address: IpAddr,
    /// Who can reach it: `public`, `private`, `loopback` or `link-local`.
    pub zone: &'static str,
}

impl Address {
    pub(super) fn of(address: IpAddr) -> Self {
        let zone = match Zone::of(address) {
            _ if address.is_loopback() => "loopback",
            Zone::Public => "public",
            Zone::Private => "private",
            Zone::LinkLocal => "link-local",
        };
        Self { address, zone }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.address, self.zone)
    }
}

/// Which addresses answer.
#[derive(Clone, Debug, Default, Serialize)]
#[non_exhaustive]
pub struct Connections {
    /// Those that do.
    pub open: Vec<SocketAddr>,
    /// Those that do not.
    pub closed: Vec<Closed>,
}

/// An address that does not answer.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Closed {
    /// The address.
    pub address: SocketAddr,
    /// Why, as the system says it.
    pub reason: String,
}

/// Connects to every address at once. The error is that of the first, where none answers.
pub(super) async fn connect(addresses: &[SocketAddr]) -> io::Result<Connections> {
    let attempts = addresses.iter().map(|&address| async move { (address, open(address).await) });
    let (mut connections, mut first) = (Connections::default(), None);
    for (address, outcome) in join_all(attempts).await {
        match outcome {
            Ok(_) => connections.open.push(address),
            Err(error) => {
                connections.closed.push(Closed { address, reason: error.to_string() });
                first = first.or(Some(error));
            }
        }
    }
    match first {
        Some(error) if connections.open.is_empty() => Err(error),
        _ => Ok(connections),
    }
}

/// One connection.
pub(super) async fn open(address: SocketAddr) -> io::Result<TcpStream> {
    let silent =
        || io::Error::new(io::ErrorKind::TimedOut, format!("no answer for {} s", PATIENCE.as_secs()));
    timeout(PATIENCE, TcpStream::connect(address)).await.map_err(|_| silent())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zones() {
        for (address, zone) in [
            ("127.0.0.1", "loopback"),
            ("::1", "loopback"),
            ("10.0.0.1", "private"),
            ("198.51.100.7", "public"),
            ("169.254.169.254", "link-local"),
        ] {
            assert_eq!(Address::of(address.parse().unwrap()).zone, zone, "{address}");
        }
    }
}
