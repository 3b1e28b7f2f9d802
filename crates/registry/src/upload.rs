//! Writing a blob, in as few requests as the registry knows to take it in (distribution specification, "Pushing blobs"):
//!
//! - a mount, where another repository has it: one request, and a refusal is the session that is needed next;
//! - small: `POST ?digest=` with its bytes ([`small`]);
//! - larger: a session and one `PUT`, or, where that is too much at once, `PATCH` by `PATCH` ([`chunk`], [`writer`]);
//! - begun before: the session is asked how far it got, and goes on there ([`trail`]).

mod chunk;
mod habits;
mod part;
pub(crate) mod progress;
pub(crate) mod session;
mod small;
mod trail;
mod writer;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use oci::{Descriptor, Repository, Verifier};
use store::Opened;

use crate::error::Error;
use crate::host::Host;
use crate::journal::{Checkpoints, Entry, Key, Record};
use crate::scope::Scope;
pub(crate) use habits::Habits;
use session::Session;
pub(crate) use session::location;
use small::SmallWriter;
use trail::Trail;
use writer::{RegistryWriter, Start};

/// The repository that is written to.
#[derive(Clone)]
pub(crate) struct Target {
    pub(crate) host: Arc<Host>,
    pub(crate) repository: Repository,
    pub(crate) scopes: Vec<Scope>,
    /// Whether a mount was met with an error here. Each more would cost a request, or all attempts of one.
    pub(crate) mounts_fail: Arc<AtomicBool>,
}

impl Target {
    /// Goes on with the session of an earlier attempt, has the blob mounted, or opens a session. A mount that fails in
    /// whatever way is no error.
    pub(crate) async fn begin(
        &self,
        blob: &Descriptor,
        origin: Option<&Repository>,
    ) -> Result<Opened, Error> {
        let (record, entry) = self.host.shared.journal().record(self.key(blob).await);
        let record = match entry {
            Some(entry) => match self.resume(blob, record, &entry).await? {
                Ok(writer) => return Ok(Opened::Writer(Box::new(writer))),
                Err(record) => record,
            },
            None => record,
        };
        if let Some(origin) = origin {
            match self.mount(blob, Some(origin)).await {
                Some(None) => return Ok(Opened::Mounted),
                Some(Some(session)) => return Ok(self.anew(blob, record, session)),
                None => {}
            }
        }
        if self.host.uploads.small().is_some_and(|small| blob.size <= small) {
            return Ok(Opened::Writer(Box::new(SmallWriter::new(self.clone(), blob))));
        }
        if self.host.uploads.may_mount_anonymously() {
            match self.mount(blob, None).await {
                Some(None) => return Ok(Opened::Mounted),
                Some(Some(session)) => return Ok(self.anew(blob, record, session)),
                None => {}
            }
        }
        let (_, session) = self.post(None, &self.scopes, Bytes::new()).await?;
        Ok(self.anew(blob, record, session?))
    }

    /// Notes that the repository has a blob.
    pub(crate) fn has(&self, blob: &Descriptor) {
        self.host.notes.put(&blob.digest, self.repository.path());
    }

    /// What is being done, for errors.
    pub(crate) fn doing(&self, blob: &Descriptor) -> String {
        format!("writing blob {} to {}", blob.digest, self.repository)
    }

    /// How many bytes of a blob are in a session that an earlier attempt left, as far as is known.
    pub(crate) async fn kept(&self, blob: &Descriptor) -> u64 {
        let (_, entry) = self.host.shared.journal().record(self.key(blob).await);
        entry.map_or(0, |entry| entry.checkpoints().last().min(blob.size))
    }

    /// What the blob's entry in the journal is found by: another user's session is nothing to go on with.
    async fn key(&self, blob: &Descriptor) -> Key {
        let registry = self.repository.registry().as_str();
        let user = self.host.shared.keychain.credential(registry, Some(self.repository.path())).await;
        // A credential that cannot be had fails the requests, with a better explanation.
        let user = user.map(|credential| trail::identity(&credential)).unwrap_or_default();
        Key::new([registry, self.repository.path(), &blob.digest.to_string(), &user])
    }

    /// Tries a mount: `None` if it failed, else the session if it was refused.
    async fn mount(&self, blob: &Descriptor, origin: Option<&Repository>) -> Option<Option<Session>> {
        if self.mounts_fail.load(Ordering::Relaxed) {
            return None;
        }
        let mut scopes = self.scopes.clone();
        let mut query = format!("mount={}", blob.digest);
        if let Some(origin) = origin {
            Scope::join(&mut scopes, &[Scope::pull(origin.path())]);
            query = format!("{query}&from={}", origin.path());
        }
        let outcome = self.post(Some(&query), &scopes, Bytes::new()).await;
        let outcome = outcome.and_then(|(status, session)| match status {
            StatusCode::CREATED => Ok(None),
            _ => session.map(Some),
        });
        if origin.is_none() {
            self.host.uploads.mounted_anonymously(matches!(outcome, Ok(None)));
        }
        outcome
            .inspect_err(|error| {
                tracing::debug!(target: "hoist::http", "no mounts from here on: {error}");
                self.mounts_fail.store(true, Ordering::Relaxed);
            })
            .ok()
    }

    fn anew(&self, blob: &Descriptor, record: Record, session: Session) -> Opened {
        let trail = Trail::new(record, Checkpoints::default());
        let start = Start { verifier: Verifier::resumable(blob), kept: 0 };
        Opened::Writer(Box::new(RegistryWriter::new(self.clone(), blob, session, trail, start)))
    }

    /// Goes on with a session, if it is alive and has bytes behind a checkpoint of ours; else it is given up, and the
    /// record is free for another.
    async fn resume(
        &self,
        blob: &Descriptor,
        mut record: Record,
        entry: &Entry,
    ) -> Result<Result<RegistryWriter, Record>, Error> {
        let lost = |record: &mut Record, why: &str| {
            self.host.uploads.lost(&blob.digest);
            let reason = format!("the upload of {} to {} begins again: {why}", blob.digest, self.repository);
            tracing::debug!(target: "hoist::http", "{reason}");
            self.host.shared.tell(&reason, Duration::ZERO);
            record.remove();
        };
        let Some((session, kept)) = self.find(entry.location()).await? else {
            lost(&mut record, "the registry did not keep what it had");
            return Ok(Err(record));
        };
        let start = entry.checkpoints().before(kept).filter(|_| kept <= blob.size).and_then(|checkpoint| {
            let verifier = Verifier::resume(blob, checkpoint.at, &checkpoint.state)?;
            Some(Start { verifier, kept })
        });
        let Some(start) = start else {
            self.cancel(session.location).await;
            lost(&mut record, "the registry has too little of it");
            return Ok(Err(record));
        };
        tracing::debug!(target: "hoist::http", "the upload of {} goes on at {kept}", blob.digest);
        let trail = Trail::new(record, entry.checkpoints().clone());
        Ok(Ok(RegistryWriter::new(self.clone(), blob, session, trail, start)))
    }
}
