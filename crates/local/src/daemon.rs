//! The images of a docker daemon: what it saves is read as an archive, and it loads what is written as one (Docker Engine API,
//! "Export an image", "Import images").

use std::io::{self, BufReader, Read, Write};
use std::path::{Path, PathBuf};

use bytes::{Buf as _, Bytes};
use futures_util::stream::unfold;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, Limited, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::client::conn::http1;
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use oci::Reference;
use serde::Deserialize;
use store::{Error as StoreError, Kind};
use tokio::net::UnixStream;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};

use crate::archive::{Archive, docker_names};
use crate::error::Error;

/// Where a daemon listens of which nothing else is said.
const SOCKET: &str = "/var/run/docker.sock";

/// So many pieces wait between an archive and the daemon.
const PIECES: usize = 4;

/// The most that is read of what a daemon says, in bytes.
const SAID_LIMIT: usize = 1 << 20;

/// A docker daemon that listens on a socket of this machine.
#[derive(Clone, Debug)]
pub struct Daemon {
    socket: PathBuf,
}

/// Why there is no daemon at an address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("docker-daemon: reaches a socket of this machine only, and DOCKER_HOST is {0}")]
pub struct DaemonAddressError(String);

/// That of this machine.
impl Default for Daemon {
    fn default() -> Self {
        Self { socket: SOCKET.into() }
    }
}

type Body = UnsyncBoxBody<Bytes, io::Error>;

impl Daemon {
    /// The daemon at an address as `DOCKER_HOST` has it; without one, or with an empty one, that of this machine.
    ///
    /// # Errors
    /// If it is not `unix://` and a path.
    pub fn at(address: Option<&str>) -> Result<Self, DaemonAddressError> {
        let Some(address) = address.filter(|address| !address.is_empty()) else { return Ok(Self::default()) };
        let path = address.strip_prefix("unix://").filter(|path| path.starts_with('/'));
        let path = path.ok_or_else(|| DaemonAddressError(address.to_owned()))?;
        Ok(Self { socket: path.into() })
    }

    /// Has an image saved, and opens what comes: an archive in a temporary file.
    ///
    /// # Errors
    /// [`Kind::NotFound`] if there is no such image; [`Kind::Other`] if there is no daemon.
    pub async fn save(&self, name: &Reference) -> Result<Archive, StoreError> {
        let label = format!("docker-daemon:{}", docker_names(name).1);
        let doing = format!("reading {label}");
        let path = format!("/images/{}/get", docker_names(name).1);
        let answer =
            self.ask(Method::GET, &path, Empty::new().map_err(|never| match never {}).boxed_unsync()).await;
        let answer = answer.map_err(|error| self.unreachable(error).doing(&*doing))?;
        let mut body = checked(answer).await.map_err(|(kind, said)| StoreError::new(kind, &*doing, said))?;
        let (sender, receiver) = mpsc::channel(PIECES);
        let passing = async move {
            while let Some(frame) = body.frame().await {
                let piece =
                    frame.map(|frame| frame.into_data().unwrap_or_default()).map_err(io::Error::other);
                if sender.send(piece).await.is_err() {
                    break;
                }
            }
        };
        let pieces = BufReader::new(Pieces { receiver, piece: Bytes::new() });
        let (archive, ()) = futures_util::future::join(Archive::of_docker(pieces, label), passing).await;
        archive
    }

    /// Where an archive for docker is written to that the daemon is to load; flushing it waits until that is done. Dropped
    /// without that it breaks off, and the daemon loads nothing. Needs a tokio runtime, and to be written to where waiting is
    /// allowed.
    pub fn load(&self) -> Box<dyn Write + Send> {
        Box::new(Load { daemon: self.clone(), runtime: Handle::current(), going: None })
    }

    async fn take(&self, body: Body) -> io::Result<()> {
        let answer = self.ask(Method::POST, "/images/load?quiet=1", body).await;
        let answer = answer.map_err(|error| io::Error::other(self.unreachable(error)))?;
        let body = checked(answer).await.map_err(|(_, said)| io::Error::other(said))?;
        let said = Limited::new(body, SAID_LIMIT).collect().await.map_err(io::Error::other)?.to_bytes();
        // One document a line; what went wrong stands in one of them, behind an answer that promised well.
        match said.split(|byte| *byte == b'\n').find_map(|line| Said::parse(line).and_then(|said| said.error))
        {
            Some(error) => Err(io::Error::other(error)),
            None => Ok(()),
        }
    }

    async fn ask(&self, method: Method, path: &str, body: Body) -> io::Result<Response<Incoming>> {
        let stream = TokioIo::new(UnixStream::connect(&self.socket).await?);
        let (mut sender, connection) = http1::handshake(stream).await.map_err(io::Error::other)?;
        tokio::spawn(connection);
        let request = Request::builder().method(method).uri(path).header(HOST, "docker");
        let request =
            request.header(CONTENT_TYPE, "application/x-tar").body(body).map_err(io::Error::other)?;
        sender.send_request(request).await.map_err(io::Error::other)
    }

    fn unreachable(&self, error: io::Error) -> Error {
        Error::Daemon { socket: self.socket.clone(), source: error }
    }

    /// The socket.
    pub fn socket(&self) -> &Path {
        &self.socket
    }
}

/// What a daemon says of what it does, and where it does not do it.
#[derive(Deserialize)]
struct Said {
    message: Option<String>,
    error: Option<String>,
}

impl Said {
    fn parse(text: &[u8]) -> Option<Self> {
        serde_json::from_slice(text).ok()
    }
}

/// The body of an answer that is what was asked for; else what the daemon says.
async fn checked(answer: Response<Incoming>) -> Result<Incoming, (Kind, String)> {
    let status = answer.status();
    if status.is_success() {
        return Ok(answer.into_body());
    }
    let kind = if status == StatusCode::NOT_FOUND { Kind::NotFound } else { Kind::Other };
    let said = Limited::new(answer.into_body(), SAID_LIMIT).collect().await;
    let said = said.ok().and_then(|said| Said::parse(&said.to_bytes())).and_then(|said| said.message);
    Err((kind, said.unwrap_or_else(|| format!("the daemon answered with status {status}"))))
}

/// What comes from a daemon, for whoever may wait for it.
struct Pieces {
    receiver: mpsc::Receiver<io::Result<Bytes>>,
    piece: Bytes,
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() {
            match self.receiver.blocking_recv() {
                Some(piece) => self.piece = piece?,
                None => return Ok(0),
            }
        }
        let length = self.piece.len().min(buffer.len());
        self.piece.copy_to_slice(&mut buffer[..length]);
        Ok(length)
    }
}

/// What goes to a daemon, from the first byte on.
struct Load {
    daemon: Daemon,
    runtime: Handle,
    going: Option<Going>,
}

/// A request that is under way.
struct Going {
    sender: mpsc::Sender<io::Result<Bytes>>,
    loaded: oneshot::Receiver<io::Result<()>>,
}

impl Load {
    fn begin(&self) -> Going {
        let (sender, receiver) = mpsc::channel(PIECES);
        let pieces = unfold(receiver, async |mut receiver: mpsc::Receiver<io::Result<Bytes>>| {
            receiver.recv().await.map(|piece| (piece.map(Frame::data), receiver))
        });
        let (tell, loaded) = oneshot::channel();
        let daemon = self.daemon.clone();
        self.runtime.spawn(async move {
            // Whoever does not wait for it does not want to know.
            let _ = tell.send(daemon.take(StreamBody::new(pieces).boxed_unsync()).await);
        });
        Going { sender, loaded }
    }
}

impl Going {
    /// Waits until the daemon has said what became of it.
    fn outcome(self) -> io::Result<()> {
        drop(self.sender);
        self.loaded.blocking_recv().unwrap_or_else(|_| Err(io::ErrorKind::BrokenPipe.into()))
    }
}

impl Write for Load {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let going = self.going.take().unwrap_or_else(|| self.begin());
        if going.sender.blocking_send(Ok(Bytes::copy_from_slice(bytes))).is_ok() {
            self.going = Some(going);
            return Ok(bytes.len());
        }
        // It does not want any more: it says why.
        going.outcome().and(Err(io::ErrorKind::BrokenPipe.into()))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.going.take().map_or(Ok(()), Going::outcome)
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        if let Some(going) = self.going.take() {
            // A body that ended well would be taken for the whole.
            let broken = Err(io::ErrorKind::Interrupted.into());
            self.runtime.spawn(async move { going.sender.send(broken).await });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let socket = |address| Daemon::at(address).map(|daemon| daemon.socket().display().to_string());
        assert_eq!(socket(None).unwrap(), "/var/run/docker.sock");
        assert_eq!(socket(Some("")).unwrap(), "/var/run/docker.sock");
        assert_eq!(socket(Some("unix:///run/user/1/docker.sock")).unwrap(), "/run/user/1/docker.sock");
        for address in ["tcp://10.0.0.1:2375", "ssh://host", "unix://relative", "x"] {
            assert!(socket(Some(address)).unwrap_err().to_string().contains(address));
        }
    }
}
