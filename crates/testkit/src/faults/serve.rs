//! One connection of the registry with faults.

use std::io::{self, BufRead, BufReader, Read};
use std::net::TcpStream;
use std::sync::Arc;
use std::thread;

use rustls::ServerConfig;

use super::answer::{After, Answer, Content, End, Length, Spoil};
use super::content::Response;
use super::{State, lock};
use crate::http::{self, Stream};
use crate::wire::{self, Body, Request};

type Connection = BufReader<Box<dyn Stream>>;

/// What happens to the connection after an answer.
#[derive(PartialEq)]
enum Next {
    Request,
    End,
}

impl State {
    pub(super) fn serve(&self, stream: TcpStream, tls: Option<&Arc<ServerConfig>>) {
        let _ = stream.set_nodelay(true);
        let Some(stream) = http::accept(stream, tls) else { return };
        let mut connection = BufReader::with_capacity(128 << 10, stream);
        while let Ok(Some(request)) = wire::read_request(&mut connection) {
            lock(&self.requests).push(request.clone());
            match self.answer(&request, &mut connection) {
                Ok(Next::Request) => {}
                Ok(Next::End) | Err(_) => return,
            }
        }
    }

    fn answer(&self, request: &Request, connection: &mut Connection) -> io::Result<Next> {
        let answer = lock(&self.rules)
            .iter_mut()
            .find_map(|(route, answer)| route.catches(request).then(|| answer.clone()))
            .unwrap_or_else(Answer::stored);
        let answer = self.slots.under_way(answer);
        thread::sleep(answer.spoil.delay);

        let upload = lock(&self.content).begin(request);
        let mut body = Body::of_request(&request.headers, connection);
        let mut whole = Vec::new();
        let limit = answer.spoil.cut_request.unwrap_or(u64::MAX);
        let read = body.by_ref().take(limit).read_to_end(&mut whole);
        let cut = read.is_err() || whole.len() as u64 >= limit;
        if answer.status.is_none() || cut {
            // What came of an upload before it was cut is kept.
            lock(&self.content).receive(upload.as_deref(), &whole);
        }
        if cut {
            self.slots.ended();
            return Ok(Next::End);
        }

        let response = match answer.status {
            Some(status) => Response::new(status),
            None => lock(&self.content).respond(request, &whole, answer.spoil.ignore_ranges),
        };
        let next = send(connection, request, response, answer);
        self.slots.ended();
        next
    }
}

fn send(
    connection: &mut Connection,
    request: &Request,
    mut response: Response,
    answer: Answer,
) -> io::Result<Next> {
    let Answer { headers, more, location, body, spoil, .. } = answer;
    if let Some(template) = location {
        let own = wire::header(&response.headers, "location").unwrap_or_default().to_owned();
        let last = own.rsplit('/').next().unwrap_or_default();
        let filled =
            template.replace("{request}", &request.path).replace("{location}", &own).replace("{last}", last);
        response.headers.retain(|(key, _)| !key.eq_ignore_ascii_case("location"));
        response.headers.push(("Location".to_owned(), filled));
    }
    for (name, value) in headers {
        response.headers.retain(|(key, _)| !key.eq_ignore_ascii_case(&name));
        response.headers.extend(value.map(|value| (name, value)));
    }
    response.headers.extend(more);
    let mut content = body.unwrap_or(Content::Bytes(response.body));
    if spoil.corrupt {
        corrupt(&mut content);
    }
    let size = match &content {
        Content::Bytes(bytes) => bytes.len() as u64,
        Content::Filler(bytes) => *bytes,
    };
    let framing = match spoil.length {
        _ if matches!(response.status, 204 | 304) => None,
        Length::True => Some(("Content-Length", size.to_string())),
        Length::Claimed(length) => Some(("Content-Length", length.to_string())),
        Length::Absent => Some(("Connection", "close".to_owned())),
        Length::Chunked => Some(("Transfer-Encoding", "chunked".to_owned())),
    };
    response.headers.extend(framing.map(|(name, value)| (name.to_owned(), value)));
    let line = format!("HTTP/1.1 {} {}", response.status, reason(response.status));
    let head = wire::head(&line, &response.headers);
    connection.get_mut().write_all(head.as_bytes())?;
    if request.method != "HEAD" {
        let sent = match spoil.end {
            Some(End::Cut(bytes) | End::Silence(bytes)) => bytes.min(size),
            None => size,
        };
        match spoil.length {
            Length::Chunked => write_chunks(connection, &content, sent, sent == size)?,
            _ => write_body(connection, &content, sent)?,
        }
    }
    connection.get_mut().flush()?;
    Ok(finish(connection, &spoil))
}

fn write_body(connection: &mut Connection, content: &Content, length: u64) -> io::Result<()> {
    let stream = connection.get_mut();
    match content {
        Content::Bytes(bytes) => stream.write_all(&bytes[..usize::try_from(length).unwrap_or(bytes.len())]),
        Content::Filler(_) => io::copy(&mut io::repeat(b' ').take(length), stream).map(|_| ()),
    }
}

/// Writes a body in chunks; one that is cut has no last chunk.
fn write_chunks(connection: &mut Connection, content: &Content, length: u64, whole: bool) -> io::Result<()> {
    const CHUNK: usize = 1000;
    let bytes = match content {
        Content::Bytes(bytes) => Arc::clone(bytes),
        Content::Filler(bytes) => vec![b' '; usize::try_from(*bytes).unwrap_or_default()].into(),
    };
    let stream = connection.get_mut();
    for chunk in bytes[..usize::try_from(length).unwrap_or(bytes.len())].chunks(CHUNK) {
        write!(stream, "{:x}\r\n", chunk.len())?;
        stream.write_all(chunk)?;
        stream.write_all(b"\r\n")?;
    }
    if whole { stream.write_all(b"0\r\n\r\n") } else { Ok(()) }
}

fn finish(connection: &mut Connection, spoil: &Spoil) -> Next {
    match (spoil.end, spoil.length, spoil.connection) {
        (Some(End::Silence(_)), ..) => {
            // Until the client gives up, or the registry is dropped.
            while let Ok(bytes @ [_, ..]) = connection.fill_buf() {
                let length = bytes.len();
                connection.consume(length);
            }
            Next::End
        }
        (None, Length::True | Length::Chunked, After::Open) => Next::Request,
        (None, Length::True | Length::Chunked, After::ClosedOnRequest) => {
            // Whatever comes is not even read.
            let _ = connection.fill_buf();
            Next::End
        }
        _ => Next::End,
    }
}

fn corrupt(content: &mut Content) {
    if let Content::Bytes(bytes) = content {
        let mut changed = bytes.to_vec();
        if let Some(last) = changed.last_mut() {
            *last ^= 0xff;
        }
        *bytes = changed.into();
    }
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        204 => "No Content",
        206 => "Partial Content",
        307 => "Temporary Redirect",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        413 => "Content Too Large",
        416 => "Range Not Satisfiable",
        429 => "Too Many Requests",
        500 => "Internal Server Error",
        503 => "Service Unavailable",
        _ => "Status",
    }
}
