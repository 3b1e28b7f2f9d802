//! What an upload leaves behind for whoever goes on with it.

use std::time::{Duration, Instant};

use auth::Credential;
use oci::{Algorithm, Verifier};
use url::Url;

use crate::journal::{Checkpoints, Entry, Record};

/// An upload that goes on hashes no more than so many bytes again that the registry has.
const STEP: u64 = 1 << 20;

/// An upload that is killed before so many bytes have gone begins anew.
const FIRST: u64 = 1 << 20;

/// After that so many bytes, ...
const SAVED: u64 = 4 << 20;

/// ... or what came in such a time, may be missing in the entry of a process that was killed.
const PAUSE: Duration = Duration::from_secs(1);

/// Keeps the journal's entry of an upload up to date. Entries are small and go to the system's memory, so they are
/// written where they come up.
pub(super) struct Trail {
    record: Record,
    checkpoints: Checkpoints,
    /// So many bytes the registry has said to have.
    kept: u64,
    /// How far the content is when the entry is due.
    due: u64,
    /// When it was written.
    saved: Instant,
}

impl Trail {
    pub(super) fn new(record: Record, checkpoints: Checkpoints) -> Self {
        Self { record, kept: 0, due: checkpoints.last() + FIRST, saved: Instant::now(), checkpoints }
    }

    /// Notes how far the content is, as often as is worth it.
    pub(super) fn pass(&mut self, verifier: &Verifier, location: &Url) {
        if verifier.seen() >= self.due || self.saved.elapsed() >= PAUSE {
            self.note(verifier, location);
        } else if verifier.seen() >= self.checkpoints.last() + STEP {
            self.mark(verifier);
        }
    }

    /// Notes how far the content is, and where the session is now.
    pub(super) fn note(&mut self, verifier: &Verifier, location: &Url) {
        self.mark(verifier);
        self.record.save(&Entry::new(location.as_str(), self.kept, self.checkpoints.clone()));
        (self.due, self.saved) = (verifier.seen() + SAVED, Instant::now());
    }

    fn mark(&mut self, verifier: &Verifier) {
        if let Some(state) = verifier.state() {
            self.checkpoints.note(verifier.seen(), state);
        }
    }

    /// Notes that the registry has the first `kept` bytes.
    pub(super) fn confirm(&mut self, kept: u64) {
        self.kept = kept;
        self.checkpoints.confirm(kept);
    }

    /// So many bytes the registry has said to have.
    pub(super) fn confirmed(&self) -> u64 {
        self.kept
    }

    /// There is nothing to go on with any more.
    pub(super) fn end(&mut self) {
        self.record.remove();
    }
}

/// Who somebody is, as far as sessions go. A user with a new password is the same; a token may be anybody's.
pub(super) fn identity(credential: &Credential) -> String {
    let hidden = |token: &auth::Secret| Algorithm::Sha256.digest(token.expose().as_bytes()).to_string();
    match credential {
        Credential::Anonymous => String::new(),
        Credential::Basic { username, .. } => format!("user {username}"),
        Credential::IdentityToken { token, .. } | Credential::RegistryToken(token) => {
            format!("token {}", hidden(token))
        }
    }
}
