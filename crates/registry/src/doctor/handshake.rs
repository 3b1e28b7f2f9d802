//! TLS with a registry, looked at from below.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, ProtocolVersion};

use super::address::{self, PATIENCE};
use super::certificate::Certificate;

/// What a server shows.
pub(super) struct Shown {
    pub(super) version: &'static str,
    pub(super) certificate: Option<Certificate>,
}

/// Greets a server, and hangs up when it has shown what it has. Only the handshake is spoken.
pub(super) async fn shake(address: SocketAddr, host: &str, config: ClientConfig) -> io::Result<Shown> {
    let stream = address::open(address).await?.into_std()?;
    let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
    let greeting = tokio::task::spawn_blocking(move || {
        stream.set_nonblocking(false)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let mut connection = ClientConnection::new(Arc::new(config), name).map_err(io::Error::other)?;
        let mut stream = stream;
        connection.complete_io(&mut stream).map_err(|error| match error.kind() {
            // A timeout of the socket.
            io::ErrorKind::WouldBlock => io::Error::from(io::ErrorKind::TimedOut),
            _ => error,
        })?;
        let version = match connection.protocol_version() {
            Some(ProtocolVersion::TLSv1_3) => "TLS 1.3",
            _ => "TLS 1.2",
        };
        let shown = connection.peer_certificates().and_then(<[_]>::first);
        Ok(Shown { version, certificate: shown.and_then(Certificate::read) })
    });
    greeting.await.map_err(io::Error::other)?
}
