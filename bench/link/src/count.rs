//! What passed: bytes, connections, and requests by their method.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// The first byte of a TLS record with a `ClientHello` (RFC 8446, 5.1).
const TLS_HANDSHAKE: u8 = 0x16;

/// Counts of a whole link. `sent` and `received` are bytes as the client sees them, when they leave the link.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) sent: AtomicU64,
    pub(crate) received: AtomicU64,
    /// Connections so far, those that are open, and those that the link broke.
    pub(crate) connections: AtomicU64,
    pub(crate) open: AtomicU64,
    pub(crate) cut: AtomicU64,
    /// Connections that began with TLS: no request that the registry could understand.
    greetings: AtomicU64,
    methods: Mutex<BTreeMap<String, u64>>,
}

impl Counts {
    /// One line of JSON.
    pub(crate) fn json(&self) -> String {
        let methods = self.methods.lock().unwrap_or_else(PoisonError::into_inner);
        let listed: Vec<String> = methods.iter().map(|(name, count)| format!("{name:?}: {count}")).collect();
        let value = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        format!(
            r#"{{"requests": {}, "methods": {{{}}}, "tls_greetings": {}, "sent": {}, "received": {}, "connections": {}, "open": {}, "cut": {}}}"#,
            methods.values().sum::<u64>(),
            listed.join(", "),
            value(&self.greetings),
            value(&self.sent),
            value(&self.received),
            value(&self.connections),
            value(&self.open),
            value(&self.cut),
        )
    }

    fn request(&self, method: &str) {
        let mut methods = self.methods.lock().unwrap_or_else(PoisonError::into_inner);
        *methods.entry(method.to_owned()).or_default() += 1;
    }
}

/// Finds the requests in what a client says on one connection (RFC 9112): heads, and how long the body after each is.
#[derive(Debug, Default)]
pub(crate) struct Requests {
    state: State,
    line: Vec<u8>,
    length: u64,
    chunked: bool,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Greeting,
    First,
    Field,
    Body(u64),
    ChunkSize,
    /// With the line end after it.
    Chunk(u64),
    Trailer,
    /// No HTTP/1.1.
    Other,
}

impl Requests {
    pub(crate) fn feed(&mut self, mut bytes: &[u8], counts: &Counts) {
        while let Some(first) = bytes.first() {
            match self.state {
                State::Greeting if *first == TLS_HANDSHAKE => {
                    counts.greetings.fetch_add(1, Ordering::Relaxed);
                    self.state = State::Other;
                }
                State::Greeting => self.state = State::First,
                State::Other => return,
                State::Body(left) | State::Chunk(left) => {
                    let part = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
                    let left = left - part as u64;
                    self.state = match self.state {
                        State::Body(_) if left == 0 => State::First,
                        State::Body(_) => State::Body(left),
                        _ if left == 0 => State::ChunkSize,
                        _ => State::Chunk(left),
                    };
                    bytes = &bytes[part..];
                }
                State::First | State::Field | State::ChunkSize | State::Trailer => {
                    let end = bytes.iter().position(|byte| *byte == b'\n');
                    let part = end.map_or(bytes.len(), |at| at + 1);
                    self.line.extend_from_slice(&bytes[..part]);
                    bytes = &bytes[part..];
                    if end.is_some() {
                        let line = std::mem::take(&mut self.line);
                        self.line(String::from_utf8_lossy(&line).trim_end(), counts);
                    }
                }
            }
        }
    }

    fn line(&mut self, line: &str, counts: &Counts) {
        self.state = match self.state {
            State::First => {
                counts.request(line.split(' ').next().unwrap_or_default());
                (self.length, self.chunked) = (0, false);
                State::Field
            }
            State::Field if !line.is_empty() => {
                let (name, value) = line.split_once(':').unwrap_or_default();
                if name.eq_ignore_ascii_case("content-length") {
                    self.length = value.trim().parse().unwrap_or(0);
                } else if name.eq_ignore_ascii_case("transfer-encoding") {
                    self.chunked = value.trim().eq_ignore_ascii_case("chunked");
                }
                State::Field
            }
            State::Field if self.chunked => State::ChunkSize,
            State::Field if self.length > 0 => State::Body(self.length),
            State::ChunkSize => {
                let size = line.split(';').next().and_then(|size| u64::from_str_radix(size.trim(), 16).ok());
                match size {
                    Some(0) => State::Trailer,
                    Some(size) => State::Chunk(size + 2),
                    None => State::Other,
                }
            }
            State::Trailer if !line.is_empty() => State::Trailer,
            _ => State::First,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::{Counts, Requests};

    const TALK: &[u8] = b"GET /v2/ HTTP/1.1\r\nHost: a\r\n\r\n\
        PUT /v2/a/blobs/uploads/1 HTTP/1.1\r\ncontent-length: 12\r\n\r\nGET / HTTP\r\n\
        PATCH /v2/a/blobs/uploads/2 HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n\
        5\r\nGET /\r\nA;x=y\r\nGET / HTTP\r\n0\r\nT: GET\r\n\r\n\
        HEAD /v2/a/manifests/b HTTP/1.1\r\n\r\n";

    /// Whatever the pieces are, the requests are the same, and no body is taken for one.
    #[test]
    fn requests_in_pieces() {
        for size in [1, 2, 3, 7, 64, TALK.len()] {
            let (counts, mut requests) = (Counts::default(), Requests::default());
            TALK.chunks(size).for_each(|piece| requests.feed(piece, &counts));
            let json = counts.json();
            let expected = r#""requests": 4, "methods": {"GET": 1, "HEAD": 1, "PATCH": 1, "PUT": 1}, "tls_greetings": 0"#;
            assert!(json.contains(expected), "{size}: {json}");
        }
    }

    #[test]
    fn a_greeting_is_no_request() {
        let (counts, mut requests) = (Counts::default(), Requests::default());
        requests.feed(b"\x16\x03\x01\x00\x05GET / HTTP/1.1\r\n\r\n", &counts);
        assert!(counts.json().starts_with(r#"{"requests": 0, "methods": {}, "tls_greetings": 1"#));
    }
}
