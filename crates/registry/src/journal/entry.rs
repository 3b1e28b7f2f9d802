//! One entry of the journal, as it lies on the disk.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::Checkpoints;

/// The form of the entries. Another one is not understood, and so not there.
const VERSION: u32 = 1;

/// A session at a registry, and how far it got.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Entry {
    version: u32,
    /// Whoever knows it may write to the session: a secret.
    location: String,
    /// So many bytes the registry has said to have.
    kept: u64,
    checkpoints: Checkpoints,
    /// When it was written, in seconds since 1970.
    time: u64,
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry").field("kept", &self.kept).finish_non_exhaustive()
    }
}

impl Entry {
    /// An entry of this moment.
    pub(crate) fn new(location: &str, kept: u64, checkpoints: Checkpoints) -> Self {
        let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        Self { version: VERSION, location: location.to_owned(), kept, checkpoints, time }
    }

    /// Reads the last line that is a whole entry, of a form that is known.
    pub(super) fn parse(lines: &[u8]) -> Option<Self> {
        lines.rsplit(|byte| *byte == b'\n').find_map(|line| {
            let entry: Self = serde_json::from_slice(line).ok()?;
            (entry.version == VERSION && entry.checkpoints.is_sound()).then_some(entry)
        })
    }

    /// One line.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        // Numbers and texts make JSON, and memory takes it.
        serde_json::to_vec(self).expect("an entry is plain JSON")
    }

    /// How old it is; `None` for one of the future.
    pub(super) fn age(&self) -> Option<Duration> {
        let written = UNIX_EPOCH.checked_add(Duration::from_secs(self.time))?;
        // The clock counts no fractions here.
        SystemTime::now().duration_since(written).ok()
    }

    /// Where the session is; a secret.
    pub(crate) fn location(&self) -> &str {
        &self.location
    }

    /// Where the hash can go on.
    pub(crate) fn checkpoints(&self) -> &Checkpoints {
        &self.checkpoints
    }
}
