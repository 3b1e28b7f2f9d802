//! What a copy cannot do without: reads blobs from one registry, hashes them, and writes them to another.
//!
//! usage: `bare SOURCE DESTINATION REPOSITORY DIGEST…`, registries as HOST:PORT that speak http and want no password
//!
//! A few threads, each with one buffer and one connection to each side. It resumes nothing, retries nothing, asks for no
//! manifest and shows nothing: what it needs of the processor is close to the least that a program can need that verifies what it copies.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::ExitCode;
use std::sync::Mutex;

use sha2::{Digest, Sha256};

/// So many blobs at once.
const THREADS: usize = 4;

/// In bytes. What fits into a processor's own cache needs a seventh more: there are more calls, and each wakes who waits for it.
const BUFFER: usize = 512 << 10;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [source, destination, repository, digests @ ..] = &arguments[..] else {
        eprintln!("bare: SOURCE DESTINATION REPOSITORY DIGEST…");
        return ExitCode::FAILURE;
    };
    let left = Mutex::new(digests.iter());
    let copied = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|_| scope.spawn(|| copy(source, destination, repository, || left.lock().ok()?.next())))
            .collect();
        threads
            .into_iter()
            .try_for_each(|thread| thread.join().map_err(|_| io::Error::other("a thread panicked")).flatten())
    });
    match copied {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bare: {error}");
            ExitCode::FAILURE
        }
    }
}

fn copy<'a>(
    source: &str,
    destination: &str,
    repository: &str,
    next: impl Fn() -> Option<&'a String>,
) -> io::Result<()> {
    let (mut source, mut destination) = (Host::connect(source)?, Host::connect(destination)?);
    let mut buffer = vec![0; BUFFER];
    while let Some(digest) = next() {
        source.ask("GET", &format!("/v2/{repository}/blobs/{digest}"), 0)?;
        let Answer { length, .. } = source.answer(200)?;
        destination.ask("POST", &format!("/v2/{repository}/blobs/uploads/"), 0)?;
        let place = destination.answer(202)?.location;
        let place = place.strip_prefix(&format!("http://{}", destination.name)).unwrap_or(&place);
        let and = if place.contains('?') { '&' } else { '?' };
        destination.ask("PUT", &format!("{place}{and}digest={digest}"), length)?;
        let (mut hash, mut left) = (Sha256::new(), length);
        while left > 0 {
            let most = usize::try_from(left).unwrap_or(BUFFER).min(BUFFER);
            let read = source.connection.read(&mut buffer[..most])?;
            if read == 0 {
                return Err(io::Error::other(format!("{digest} ends early")));
            }
            hash.update(&buffer[..read]);
            destination.connection.get_mut().write_all(&buffer[..read])?;
            left -= read as u64;
        }
        let found = hash.finalize().iter().fold("sha256:".to_owned(), |hex, byte| format!("{hex}{byte:02x}"));
        if *digest != found {
            return Err(io::Error::other(format!("{digest} is {found}")));
        }
        destination.answer(201)?;
    }
    Ok(())
}

/// A registry, and the connection to it.
struct Host<'a> {
    name: &'a str,
    /// What is read in large pieces passes its buffer by.
    connection: BufReader<TcpStream>,
}

/// What of an answer's head counts here.
struct Answer {
    length: u64,
    location: String,
}

impl<'a> Host<'a> {
    fn connect(name: &'a str) -> io::Result<Self> {
        let connection = TcpStream::connect(name)?;
        connection.set_nodelay(true)?;
        Ok(Self { name, connection: BufReader::new(connection) })
    }

    fn ask(&mut self, method: &str, path: &str, length: u64) -> io::Result<()> {
        let head =
            format!("{method} {path} HTTP/1.1\r\nHost: {}\r\nContent-Length: {length}\r\n\r\n", self.name);
        self.connection.get_mut().write_all(head.as_bytes())
    }

    /// Reads a head; whoever asked reads the body.
    fn answer(&mut self, expected: u16) -> io::Result<Answer> {
        let mut line = String::new();
        self.connection.read_line(&mut line)?;
        if line.split(' ').nth(1) != Some(expected.to_string().as_str()) {
            return Err(io::Error::other(format!("{}: {}", self.name, line.trim())));
        }
        let mut answer = Answer { length: 0, location: String::new() };
        loop {
            line.clear();
            self.connection.read_line(&mut line)?;
            let Some((name, value)) = line.split_once(':') else { return Ok(answer) };
            if name.eq_ignore_ascii_case("content-length") {
                answer.length = value.trim().parse().map_err(io::Error::other)?;
            } else if name.eq_ignore_ascii_case("location") {
                value.trim().clone_into(&mut answer.location);
            }
        }
    }
}
