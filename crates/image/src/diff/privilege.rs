//! What lets a file run with more rights than who runs it.

use layer::{Entry, Kind};

use super::files::{FileChange, State};

/// A right that a file gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Privilege {
    /// It runs as its owner.
    Setuid,
    /// It runs as its group.
    Setgid,
    /// It runs with capabilities (the attribute `security.capability`).
    Capabilities,
}

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// It was not there.
    Gained,
    /// It is not there any more.
    Lost,
    /// It is another: other capabilities, another owner, other bytes.
    Changed,
    /// It is there in one image; what the other has was not read.
    Unclear,
}

impl Privilege {
    /// In one word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Setuid => "setuid",
            Self::Setgid => "setgid",
            Self::Capabilities => "capabilities",
        }
    }

    /// As `entry` has it: by what it is the same or another.
    fn of(self, entry: &Entry) -> Option<&[u8]> {
        if !matches!(entry.kind, Kind::File(_)) {
            return None;
        }
        let metadata = &entry.metadata;
        let bit = |bit: u32| (metadata.mode & bit != 0).then_some(&b""[..]);
        match self {
            Self::Setuid => bit(0o4000),
            Self::Setgid => bit(0o2000),
            Self::Capabilities => {
                let record = metadata.xattrs.iter().find(|record| *record.name == *b"security.capability");
                record.map(|record| &*record.value)
            }
        }
    }
}

impl Turn {
    /// In one word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Gained => "gained",
            Self::Lost => "lost",
            Self::Changed => "changed",
            Self::Unclear => "unclear",
        }
    }
}

impl FileChange {
    /// The rights that are different, of files; on directories these bits mean something else.
    pub fn privileges(&self) -> Vec<(Privilege, Turn)> {
        let all = [Privilege::Setuid, Privilege::Setgid, Privilege::Capabilities];
        all.into_iter().filter_map(|privilege| Some((privilege, self.turn(privilege)?))).collect()
    }

    fn turn(&self, privilege: Privilege) -> Option<Turn> {
        let of = |state: State<'_>| match state {
            State::There(entry) => Some(privilege.of(entry).map(<[u8]>::to_vec)),
            State::Absent => Some(None),
            State::Unread => None,
        };
        match (of(self.old()), of(self.current())) {
            (Some(None), Some(Some(_))) => Some(Turn::Gained),
            (Some(Some(_)), Some(None)) => Some(Turn::Lost),
            (Some(Some(old)), Some(Some(new))) => (old != new).then_some(Turn::Changed),
            (None, Some(Some(_))) | (Some(Some(_)), None) => Some(Turn::Unclear),
            _ => None,
        }
    }
}
