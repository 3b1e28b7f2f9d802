//! HTTP/1.1 on the wire: heads and bodies, as the test servers and the test client read them (RFC 9112).

use std::io::{self, BufRead, Read};

use percent_encoding::percent_decode_str;

/// Headers, in order, as they are on the wire.
pub(crate) type Headers = Vec<(String, String)>;

/// A request that arrived.
#[derive(Clone, Debug)]
pub struct Request {
    /// `GET`, `HEAD` ...
    pub method: String,
    /// The target's path, as it was sent.
    pub path: String,
    /// The target's query, as it was sent, without the question mark; empty if there is none.
    pub query: String,
    /// The headers, in order, as they were sent.
    pub headers: Vec<(String, String)>,
}

impl Request {
    /// The first header of this name (in any case).
    pub fn header(&self, name: &str) -> Option<&str> {
        header(&self.headers, name)
    }

    /// The decoded values of this name in the query, in order.
    pub fn parameters(&self, name: &str) -> Vec<String> {
        parameters(&self.query, name)
    }
}

/// The decoded values of `name` in a query or a form.
pub(crate) fn parameters(query: &str, name: &str) -> Vec<String> {
    let decoded = |text: &str| percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned();
    query
        .split('&')
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .filter(|(key, _)| decoded(key) == name)
        .map(|(_, value)| decoded(value))
        .collect()
}

/// The first header of this name.
pub(crate) fn header<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
}

/// Reads a request's head; `None` when the connection ends before one begins.
pub(crate) fn read_request(reader: &mut impl BufRead) -> io::Result<Option<Request>> {
    let Some((line, headers)) = read_head(reader)? else { return Ok(None) };
    let mut words = line.split(' ');
    let (Some(method), Some(target), Some(version)) = (words.next(), words.next(), words.next()) else {
        return Err(malformed(&line));
    };
    if !version.starts_with("HTTP/1.") {
        return Err(malformed(&line));
    }
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    Ok(Some(Request { method: method.into(), path: path.into(), query: query.into(), headers }))
}

/// A first line and the headers below it, as they are sent.
pub(crate) fn head(first: &str, headers: &[(String, String)]) -> String {
    let line = |(name, value): &(String, String)| format!("{name}: {value}\r\n");
    format!("{first}\r\n{}\r\n", headers.iter().map(line).collect::<String>())
}

/// Reads a first line and the headers below it.
pub(crate) fn read_head(reader: &mut impl BufRead) -> io::Result<Option<(String, Headers)>> {
    /// More than any test sends, little enough for a stream that is not HTTP.
    const MAX_HEAD: u64 = 1 << 20;
    let mut reader = reader.take(MAX_HEAD);
    let mut line = || {
        let mut line = Vec::new();
        reader.read_until(b'\n', &mut line)?;
        Ok::<_, io::Error>(
            line.ends_with(b"\n").then(|| String::from_utf8_lossy(&line).trim_end().to_owned()),
        )
    };
    let Some(first) = line()? else { return Ok(None) };
    let mut headers = Vec::new();
    loop {
        let line = line()?.ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))?;
        if line.is_empty() {
            return Ok(Some((first, headers)));
        }
        let (name, value) = line.split_once(':').ok_or_else(|| malformed(&line))?;
        headers.push((name.to_owned(), value.trim().to_owned()));
    }
}

/// A message's body, read to the end that its headers announce.
pub(crate) struct Body<'r, R> {
    reader: &'r mut R,
    framing: Framing,
}

enum Framing {
    /// So many bytes are left.
    Length(u64),
    /// So many bytes are left of this chunk; `None` before the first.
    Chunked(Option<u64>),
    /// Until the connection ends.
    Rest,
    /// Read to its end.
    Done,
}

impl<'r, R: BufRead> Body<'r, R> {
    /// A request's body: without either header there is none.
    pub(crate) fn of_request(headers: &[(String, String)], reader: &'r mut R) -> Self {
        Self { framing: framing(headers).unwrap_or(Framing::Done), reader }
    }

    /// The body of an answer that has one: without either header it lasts as long as the connection.
    pub(crate) fn of_answer(headers: &[(String, String)], reader: &'r mut R) -> Self {
        Self { framing: framing(headers).unwrap_or(Framing::Rest), reader }
    }

    /// Reads the size line before a chunk, with the line end after the one before; false at the last.
    fn next_chunk(&mut self, first: bool) -> io::Result<bool> {
        let mut line = String::new();
        if !first {
            self.reader.read_line(&mut line)?;
            line.clear();
        }
        self.reader.read_line(&mut line)?;
        let digits = line.split(';').next().unwrap_or_default().trim();
        let size = u64::from_str_radix(digits, 16).map_err(|_| malformed(&line))?;
        if size > 0 {
            self.framing = Framing::Chunked(Some(size));
            return Ok(true);
        }
        while self.reader.read_line(&mut line)? > 2 {
            line.clear();
        }
        self.framing = Framing::Done;
        Ok(false)
    }
}

impl<R: BufRead> Read for Body<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        let left = match self.framing {
            Framing::Done | Framing::Length(0) => return Ok(0),
            Framing::Rest => return self.reader.read(buffer),
            Framing::Length(left) | Framing::Chunked(Some(left @ 1..)) => left,
            Framing::Chunked(state) => {
                if !self.next_chunk(state.is_none())? {
                    return Ok(0);
                }
                return self.read(buffer);
            }
        };
        let most = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        let read = self.reader.read(&mut buffer[..most])?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let left = left - read as u64;
        self.framing = match self.framing {
            Framing::Chunked(_) => Framing::Chunked(Some(left)),
            _ => Framing::Length(left),
        };
        Ok(read)
    }
}

fn framing(headers: &[(String, String)]) -> Option<Framing> {
    if header(headers, "transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked")) {
        return Some(Framing::Chunked(None));
    }
    header(headers, "content-length")?.parse().ok().map(Framing::Length)
}

fn malformed(line: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("not HTTP/1.1: {line:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_requests_on_one_connection() {
        let mut wire = &b"POST /v2/a/blobs/uploads/?mount=x%3Ay&from=b HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n\
            3;x=y\r\nabc\r\nA\r\n0123456789\r\n0\r\nT: 1\r\n\r\nHEAD /v2/ HTTP/1.1\r\nAccept:a\r\n\r\n"[..];
        let first = read_request(&mut wire).unwrap().unwrap();
        assert_eq!((first.method.as_str(), first.path.as_str()), ("POST", "/v2/a/blobs/uploads/"));
        assert_eq!(first.parameters("mount"), ["x:y"]);
        let mut body = String::new();
        Body::of_request(&first.headers, &mut wire).read_to_string(&mut body).unwrap();
        assert_eq!(body, "abc0123456789");
        let second = read_request(&mut wire).unwrap().unwrap();
        assert_eq!((second.method.as_str(), second.header("ACCEPT")), ("HEAD", Some("a")));
        assert!(read_request(&mut wire).unwrap().is_none());
    }

    #[test]
    fn a_body_that_ends_early_is_an_error() {
        let headers = [("Content-Length".to_owned(), "5".to_owned())];
        let mut wire = &b"abc"[..];
        let error = Body::of_request(&headers, &mut wire).read_to_end(&mut Vec::new()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }
}
