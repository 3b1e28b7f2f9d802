//! Bytes of a blob on their way into a session.

use std::time::Instant;

use async_trait::async_trait;
use bytes::{Buf as _, Bytes};
use http::{Method, StatusCode};
use oci::{Descriptor, Verifier, VerifyError};
use store::{Error as StoreError, Kind, Writer};

use super::part::{Broken, Part, Sending};
use super::session::Session;
use super::trail::Trail;
use super::{Target, chunk};
use crate::error::Error;
use crate::retry::is_passing;

/// Where a writer begins.
pub(super) struct Start {
    /// What has been hashed.
    pub(super) verifier: Verifier,
    /// How many bytes the session has; those beyond the hashed ones are hashed and not sent again.
    pub(super) kept: u64,
}

/// Sends bytes as they come, in one request or in several.
pub(super) struct RegistryWriter {
    target: Target,
    blob: Descriptor,
    session: Session,
    /// The length of the requests; `None` if there is one for all.
    chunk: Option<u64>,
    verifier: Verifier,
    offset: u64,
    /// How many bytes the session had when it was found again.
    kept: u64,
    /// How many bytes the registry has, or the request that runs.
    sent: u64,
    /// The last piece of all. It goes with the commit, when the digest has proved right, so that a registry never has all
    /// bytes of a blob that is wrong or not committed. Others go at once.
    held: Bytes,
    part: Option<Part>,
    /// The byte that the last request began with.
    begun: u64,
    trail: Trail,
    /// Whether the session may have bytes that are worth going on with.
    leaves: bool,
}

impl RegistryWriter {
    pub(super) fn new(
        target: Target,
        blob: &Descriptor,
        session: Session,
        mut trail: Trail,
        start: Start,
    ) -> Self {
        let Start { verifier, kept } = start;
        let most = target.host.uploads.most();
        let chunk = match kept {
            0 => chunk::length(blob.size, session.least, most),
            _ => Some(chunk::of_rest(session.least, most)),
        };
        trail.confirm(kept);
        Self {
            target,
            blob: blob.clone(),
            session,
            chunk,
            offset: verifier.seen(),
            verifier,
            kept,
            sent: kept,
            held: Bytes::new(),
            part: None,
            begun: kept,
            trail,
            leaves: kept > 0,
        }
    }

    /// A request for the next bytes, or for none: then it ends the blob.
    fn request(&mut self, length: u64) -> Part {
        let ends = self.chunk.is_none() || length == 0;
        let (method, url) = if ends {
            (Method::PUT, self.session.end(&self.blob.digest))
        } else {
            (Method::PATCH, self.session.location.clone())
        };
        self.begun = self.sent;
        let from = (!ends).then_some(self.sent);
        Part::begin(Sending { target: self.target.clone(), method, url, from, length })
    }

    /// Passes a piece on, to as many requests as it takes.
    async fn pass(&mut self, mut piece: Bytes) -> Result<(), Broken> {
        while !piece.is_empty() {
            let left = self.blob.size - self.sent;
            let mut part = match self.part.take() {
                Some(part) => part,
                None => self.request(self.chunk.map_or(left, |chunk| chunk.min(left))),
            };
            let fits = usize::try_from(part.left()).unwrap_or(usize::MAX).min(piece.len());
            self.leaves = true;
            let outcome = part.push(piece.split_to(fits)).await;
            self.sent += fits as u64;
            if outcome.is_ok() && part.left() == 0 && self.chunk.is_some() {
                self.conclude(part).await?;
            } else {
                self.part = Some(part);
                outcome?;
            }
        }
        Ok(())
    }

    /// Waits until the registry has a chunk.
    async fn conclude(&mut self, part: Part) -> Result<(), Broken> {
        let accepted = part.answer().await?;
        if let Some(location) = accepted.location {
            self.session.location = location;
        }
        let kept = accepted.kept.unwrap_or(self.sent);
        self.trail.confirm(kept.min(self.sent));
        self.trail.note(&self.verifier, &self.session.location);
        if kept == self.sent {
            return Ok(());
        }
        Err(Broken::Reason(format!("the registry says to have {kept} bytes, and {} were sent", self.sent)))
    }

    /// Sends what was held back, and ends the blob.
    async fn end(&mut self) -> Result<(), Broken> {
        let last = std::mem::take(&mut self.held);
        self.pass(last).await?;
        let part = if let Some(part) = self.part.take() {
            part
        } else {
            self.trail.note(&self.verifier, &self.session.location);
            let mut part = self.request(0);
            part.push(Bytes::new()).await?;
            part
        };
        part.answer().await.map(|_| ())
    }

    /// Gives the session up.
    async fn cancel(&mut self) {
        self.part = None;
        self.leaves = false;
        self.trail.end();
        self.target.host.uploads.ended(&self.blob.digest);
        self.target.cancel(self.session.location.clone()).await;
    }

    async fn wrong(&mut self, error: VerifyError) -> StoreError {
        self.cancel().await;
        StoreError::verify(self.target.doing(&self.blob), error)
    }

    /// Decides what becomes of a session after a request that failed, and whether to begin again makes sense.
    async fn failed(&mut self, broken: Broken) -> StoreError {
        self.part = None;
        let doing = self.target.doing(&self.blob);
        let error = match broken {
            Broken::Answer(error) => error,
            Broken::Reason(reason) => return StoreError::new(Kind::Interrupted, doing, reason),
        };
        let Error::Status(answer) = &error else {
            self.target.host.uploads.broke_off(&self.blob.digest, self.sent - self.begun);
            return error.doing(doing);
        };
        let kind = match answer.status {
            // A token that ended before the bytes came is renewed with the next attempt.
            StatusCode::UNAUTHORIZED if answer.authorized => {
                self.nothing_came().await;
                Kind::Interrupted
            }
            StatusCode::PAYLOAD_TOO_LARGE => {
                self.nothing_came().await;
                match chunk::smaller(self.chunk.unwrap_or(u64::MAX).min(self.blob.size)) {
                    Some(most) => {
                        self.target.host.uploads.refused_length(most);
                        Kind::Interrupted
                    }
                    None => error.kind(),
                }
            }
            // The registry is elsewhere than we thought, and the next attempt asks where.
            StatusCode::RANGE_NOT_SATISFIABLE => Kind::Interrupted,
            // The bytes are gone, so it is not tried again here.
            status if is_passing(status) => Kind::Interrupted,
            // One that was found again may have expired since, or have other bytes than ours.
            _ if self.kept > 0 => {
                self.cancel().await;
                Kind::Interrupted
            }
            // An address that was good for some time only may have another by now.
            _ if self.trail.confirmed() > 0 && error.kind() != Kind::Invalid => Kind::Interrupted,
            _ => {
                self.leaves = false;
                self.trail.end();
                error.kind()
            }
        };
        StoreError::new(kind, doing, error)
    }

    /// Gives a session up that refused the first bytes: there is nothing to go on with.
    async fn nothing_came(&mut self) {
        if self.trail.confirmed() == 0 {
            self.cancel().await;
        }
    }
}

impl Drop for RegistryWriter {
    fn drop(&mut self) {
        // First the connection is cut.
        self.part = None;
        if self.leaves {
            self.trail.note(&self.verifier, &self.session.location);
        }
    }
}

#[async_trait]
impl Writer for RegistryWriter {
    fn offset(&self) -> u64 {
        self.offset
    }

    async fn write(&mut self, mut bytes: Bytes) -> Result<(), StoreError> {
        let at = self.verifier.seen();
        if let Err(error) = self.verifier.update(&bytes) {
            return Err(self.wrong(error).await);
        }
        // No more than there are.
        let known = self.kept.saturating_sub(at).min(bytes.len() as u64);
        bytes.advance(usize::try_from(known).unwrap_or(bytes.len()));
        while !bytes.is_empty() {
            let piece = bytes.split_to(bytes.len().min(self.target.host.uploads.longest_piece()));
            if bytes.is_empty() && self.verifier.seen() == self.blob.size {
                self.held = piece;
                break;
            }
            let (began, length) = (Instant::now(), piece.len());
            if let Err(broken) = self.pass(piece).await {
                self.target.host.uploads.took_nothing();
                return Err(self.failed(broken).await);
            }
            self.target.host.uploads.took_piece(length, began.elapsed());
        }
        if self.leaves {
            self.trail.pass(&self.verifier, &self.session.location);
        }
        Ok(())
    }

    async fn commit(mut self: Box<Self>) -> Result<(), StoreError> {
        if let Err(error) = self.verifier.clone().finish() {
            return Err(self.wrong(error).await);
        }
        if let Err(broken) = self.end().await {
            return Err(self.failed(broken).await);
        }
        self.leaves = false;
        self.trail.end();
        self.target.host.uploads.ended(&self.blob.digest);
        self.target.has(&self.blob);
        Ok(())
    }

    async fn abandon(mut self: Box<Self>) {
        self.cancel().await;
    }
}
