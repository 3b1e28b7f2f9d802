//! A client that is no part of hoist: one request, one connection, no cleverness.

use std::io::{self, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, ServerConfig, ServerConnection, StreamOwned};

use crate::wire::{self, Body};

/// What both kinds of connection are.
pub(crate) trait Stream: Read + Write + Send {}
impl<T: Read + Write + Send> Stream for T {}

/// A server's side of a connection; `None` when TLS will not begin.
pub(crate) fn accept(stream: TcpStream, tls: Option<&Arc<ServerConfig>>) -> Option<Box<dyn Stream>> {
    let Some(config) = tls else { return Some(Box::new(stream)) };
    let connection = ServerConnection::new(Arc::clone(config)).ok()?;
    Some(Box::new(StreamOwned::new(connection, stream)))
}

/// Sends requests to one server.
#[derive(Clone, Debug)]
pub struct Client {
    address: String,
    authorization: Option<String>,
    tls: Option<Arc<ClientConfig>>,
}

impl Client {
    /// A client of `host:port`, over plain HTTP.
    pub fn new(address: &str) -> Self {
        Self { address: address.to_owned(), authorization: None, tls: None }
    }

    /// Sends this `Authorization` with every request.
    #[must_use]
    pub fn authorization(mut self, value: Option<String>) -> Self {
        self.authorization = value;
        self
    }

    /// Speaks TLS.
    #[must_use]
    pub(crate) fn tls(mut self, config: Option<Arc<ClientConfig>>) -> Self {
        self.tls = config;
        self
    }

    /// A `GET` without more headers.
    pub fn get(&self, path: &str) -> Reply {
        self.send("GET", path, &[], &[])
    }

    /// Sends a request and reads the whole answer; panics when there is none.
    pub fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Reply {
        self.try_send(method, path, headers, body)
            .unwrap_or_else(|error| panic!("{method} {}{path}: {error}", self.address))
    }

    /// Sends a request and reads the whole answer.
    ///
    /// # Errors
    /// When the server cannot be reached, or ends the connection early.
    pub fn try_send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> io::Result<Reply> {
        let mut stream = self.connect()?;
        let length = body.len().to_string();
        let mut all = vec![("Host", self.address.as_str()), ("Connection", "close")];
        all.extend_from_slice(headers);
        all.extend(self.authorization.as_deref().map(|value| ("Authorization", value)));
        if !body.is_empty() || matches!(method, "POST" | "PUT" | "PATCH") {
            all.push(("Content-Length", &length));
        }
        let all: Vec<_> = all.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let head = wire::head(&format!("{method} {path} HTTP/1.1"), &all);
        stream.write_all(head.as_bytes())?;
        stream.write_all(body)?;
        stream.flush()?;

        let mut reader = BufReader::new(stream);
        let (line, headers) =
            wire::read_head(&mut reader)?.ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))?;
        let status = line.split(' ').nth(1).and_then(|code| code.parse().ok());
        let status = status.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, line.clone()))?;
        let mut body = Vec::new();
        if method != "HEAD" && status != 204 && status != 304 {
            Body::of_answer(&headers, &mut reader).read_to_end(&mut body)?;
        }
        Ok(Reply { status, headers, body })
    }

    fn connect(&self) -> io::Result<Box<dyn Stream>> {
        let stream = TcpStream::connect(&self.address)?;
        stream.set_read_timeout(Some(Duration::from_mins(1)))?;
        let Some(config) = &self.tls else { return Ok(Box::new(stream)) };
        let host = self.address.rsplit_once(':').map_or(self.address.as_str(), |(host, _)| host);
        let name =
            ServerName::try_from(host.trim_matches(['[', ']']).to_owned()).map_err(io::Error::other)?;
        let connection = ClientConnection::new(Arc::clone(config), name).map_err(io::Error::other)?;
        Ok(Box::new(StreamOwned::new(connection, stream)))
    }
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The status code.
    pub status: u16,
    /// The headers, in order.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Reply {
    /// The first header of this name (in any case).
    pub fn header(&self, name: &str) -> Option<&str> {
        wire::header(&self.headers, name)
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}
