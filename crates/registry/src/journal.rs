//! Upload sessions that outlive the process that opened them: for each blob, where its session is and how far it got. In
//! a folder, or in memory where there is none.
//!
//! An entry belongs to whoever holds its record: nobody else reads or writes it until the record is dropped. What cannot
//! be read or written is as good as not there; no upload fails because of its journal.

mod checkpoints;
mod entry;
mod folder;

use std::collections::hash_map::{self, HashMap};
use std::fmt;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use oci::Algorithm;
use tokio::sync::{Mutex as Gate, OwnedMutexGuard};

pub(crate) use checkpoints::Checkpoints;
pub(crate) use entry::Entry;
use folder::{Folder, Found, Lock};

/// How long an entry counts: docker-registry purges its sessions after a week.
const LIFETIME: Duration = Duration::from_hours(7 * 24);

/// What an entry is found by.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct Key(String);

impl Key {
    /// The key of these facts: registry, repository, digest, and whose session it is. It shows none of them.
    pub(crate) fn new(facts: [&str; 4]) -> Self {
        let mut hasher = Algorithm::Sha256.hasher();
        for fact in facts {
            hasher.update(&(fact.len() as u64).to_le_bytes());
            hasher.update(fact.as_bytes());
        }
        Self(hasher.finish().hex())
    }
}

/// Where the entries are.
#[derive(Debug)]
pub(crate) enum Journal {
    Folder(Folder),
    Memory(Slots),
}

/// Entries in memory; whoever holds a gate holds the record.
#[derive(Default)]
pub(crate) struct Slots(Mutex<HashMap<Key, Arc<Gate<Option<Entry>>>>>);

impl fmt::Debug for Slots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slots").finish_non_exhaustive()
    }
}

impl Slots {
    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Arc<Gate<Option<Entry>>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The right to one entry.
pub(crate) struct Record {
    journal: Arc<Journal>,
    key: Key,
    hold: Hold,
}

enum Hold {
    /// There is no entry yet, and nobody has the right to it.
    Free,
    /// Somebody else has it.
    Busy,
    File(Lock),
    Memory(OwnedMutexGuard<Option<Entry>>),
}

/// Forgets upload sessions that were not ended, but for those that are in use. `folder` is that of
/// [`Options::state`](crate::Options::state).
///
/// # Errors
/// If the folder is not for this user alone to write to, or cannot be read.
pub fn forget_uploads(folder: &Path) -> io::Result<()> {
    if folder.exists() { Folder::open(folder)?.clean(Duration::ZERO) } else { Ok(()) }
}

/// Forgets upload sessions that are so old that no registry has them any more.
///
/// # Errors
/// If the folder is not for this user alone to write to, or cannot be read.
pub fn tidy_uploads(folder: &Path) -> io::Result<()> {
    // Whoever opens it removes them.
    if folder.exists() { Folder::open(folder).map(drop) } else { Ok(()) }
}

impl Journal {
    /// The journal in a folder, which is made if need be. Where that cannot be, or is not for this user alone to write
    /// to, it is in memory.
    pub(crate) fn open(folder: Option<&Path>) -> Self {
        let Some(path) = folder else { return Self::Memory(Slots::default()) };
        match Folder::open(path) {
            Ok(folder) => Self::Folder(folder),
            Err(error) => {
                tracing::debug!(target: "hoist::journal", "no journal in {}: {error}", path.display());
                Self::Memory(Slots::default())
            }
        }
    }

    /// Takes the record of a key, with the entry if there is one that counts.
    pub(crate) fn record(self: &Arc<Self>, key: Key) -> (Record, Option<Entry>) {
        let (hold, entry) = match &**self {
            Self::Folder(folder) => match folder.find(&key.0) {
                Found::Nothing => (Hold::Free, None),
                Found::Busy => (Hold::Busy, None),
                Found::Entry(lock, bytes) => (Hold::File(lock), Entry::parse(&bytes)),
            },
            Self::Memory(slots) => match slots.lock().get(&key).map(|gate| Arc::clone(gate).try_lock_owned())
            {
                None => (Hold::Free, None),
                Some(Err(_)) => (Hold::Busy, None),
                Some(Ok(slot)) => {
                    let entry = slot.clone();
                    (Hold::Memory(slot), entry)
                }
            },
        };
        let entry = entry.filter(|entry| entry.age().is_some_and(|age| age < LIFETIME));
        (Record { journal: Arc::clone(self), key, hold }, entry)
    }
}

impl Record {
    /// Writes the entry, unless somebody else has the right to it.
    pub(crate) fn save(&mut self, entry: &Entry) {
        self.hold = match (&*self.journal, std::mem::replace(&mut self.hold, Hold::Busy)) {
            (Journal::Folder(folder), hold @ (Hold::Free | Hold::File(_))) => {
                let unwritten = |error| {
                    tracing::debug!(target: "hoist::journal", "an entry cannot be written: {error}");
                };
                let lock =
                    if let Hold::File(lock) = hold { Ok(Some(lock)) } else { folder.create(&self.key.0) };
                match lock {
                    // It stays ours also where nothing more can be noted: the session is in use.
                    Ok(Some(mut lock)) => {
                        folder.write(&self.key.0, &mut lock, &entry.to_bytes()).unwrap_or_else(unwritten);
                        Hold::File(lock)
                    }
                    Ok(None) => Hold::Busy,
                    Err(error) => {
                        unwritten(error);
                        Hold::Free
                    }
                }
            }
            (Journal::Memory(slots), Hold::Free) => match slots.lock().entry(self.key.clone()) {
                hash_map::Entry::Occupied(_) => Hold::Busy,
                hash_map::Entry::Vacant(vacant) => {
                    let gate = Arc::new(Gate::new(Some(entry.clone())));
                    // Nobody else has the gate yet.
                    let slot = Arc::clone(&gate).try_lock_owned();
                    vacant.insert(gate);
                    slot.map_or(Hold::Busy, Hold::Memory)
                }
            },
            (Journal::Memory(_), Hold::Memory(mut slot)) => {
                *slot = Some(entry.clone());
                Hold::Memory(slot)
            }
            (_, hold) => hold,
        };
    }

    /// Takes the entry away, if it is ours.
    pub(crate) fn remove(&mut self) {
        match (&*self.journal, std::mem::replace(&mut self.hold, Hold::Free)) {
            (Journal::Folder(folder), Hold::File(lock)) => folder.remove(&self.key.0, lock),
            (Journal::Memory(slots), Hold::Memory(_)) => drop(slots.lock().remove(&self.key)),
            (_, hold) => self.hold = hold,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
    use std::path::PathBuf;

    use super::*;

    fn key(name: &str) -> Key {
        Key::new(["h", "r", name, ""])
    }

    fn entry(location: &str) -> Entry {
        let mut checkpoints = Checkpoints::default();
        checkpoints.note(5, vec![1, 2, 3]);
        Entry::new(location, 7, checkpoints)
    }

    fn found(journal: &Arc<Journal>, name: &str) -> Option<String> {
        journal.record(key(name)).1.map(|entry| entry.location().to_owned())
    }

    fn on_disk() -> (tempfile::TempDir, Arc<Journal>) {
        let folder = tempfile::tempdir().unwrap();
        let journal = Arc::new(Journal::open(Some(folder.path())));
        (folder, journal)
    }

    fn files(folder: &Path) -> Vec<PathBuf> {
        fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect()
    }

    #[test]
    fn keys_show_nothing_and_do_not_collide() {
        assert_ne!(Key::new(["a", "bc", "", ""]).0, Key::new(["ab", "c", "", ""]).0);
        assert_eq!(Key::new(["a", "b", "c", "d"]).0.len(), 64);
    }

    #[test]
    fn entries_belong_to_one_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let disk = || Arc::new(Journal::open(Some(&folder.path().join("state/uploads"))));
        let memory = Arc::new(Journal::open(None));
        // Two clients of one folder are two processes as far as locks go.
        for (one, other) in [(disk(), disk()), (Arc::clone(&memory), memory)] {
            let (mut mine, none) = one.record(key("a"));
            assert!(none.is_none());
            mine.save(&entry("first"));
            mine.save(&entry("second"));
            let (mut theirs, nothing) = other.record(key("a"));
            assert!(nothing.is_none(), "it is in use");
            theirs.save(&entry("theirs"));
            theirs.remove();
            drop(theirs);
            assert_eq!(found(&other, "b"), None);
            drop(mine);
            assert_eq!(found(&other, "a").as_deref(), Some("second"));
            let (mut mine, _) = one.record(key("a"));
            mine.remove();
            assert_eq!(found(&other, "a"), None);
            // A record goes on after its entry is gone.
            mine.save(&entry("third"));
            drop(mine);
            assert_eq!(found(&other, "a").as_deref(), Some("third"));
        }
    }

    #[test]
    fn who_comes_second_has_no_entry() {
        let (_folder, journal) = on_disk();
        let ((mut first, _), (mut second, _)) = (journal.record(key("a")), journal.record(key("a")));
        first.save(&entry("first"));
        second.save(&entry("second"));
        drop((first, second));
        assert_eq!(found(&journal, "a").as_deref(), Some("first"));
    }

    #[test]
    fn files_are_the_user_s_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state/uploads");
        let journal = Arc::new(Journal::open(Some(&path)));
        let (mut record, _) = journal.record(key("a"));
        record.save(&entry("s3cret"));
        record.save(&entry("s3cret"));
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o700);
        let [file] = &files(&path)[..] else { panic!("{:?}", files(&path)) };
        assert_eq!(fs::metadata(file).unwrap().mode() & 0o777, 0o600);
        assert!(!file.display().to_string().contains("s3cret"));
        assert!(!format!("{journal:?} {:?}", entry("s3cret")).contains("s3cret"));
    }

    #[test]
    fn what_is_torn_or_old_or_unknown_is_not_there() {
        let (folder, journal) = on_disk();
        let (mut record, _) = journal.record(key("a"));
        record.save(&entry("x"));
        drop(record);
        let file = files(folder.path()).remove(0);
        let whole = fs::read_to_string(&file).unwrap();
        for content in [
            &whole[..whole.len() / 2],
            "",
            "\0\0\0\0",
            &whole.replace("\"version\":1", "\"version\":2"),
            &whole.replace("\"time\":", "\"time\":1,\"was\":"),
        ] {
            fs::write(&file, content).unwrap();
            assert_eq!(found(&journal, "a"), None, "{content}");
        }
        let (mut record, _) = journal.record(key("a"));
        record.save(&entry("y"));
        drop(record);
        assert_eq!(found(&journal, "a").as_deref(), Some("y"));
    }

    #[test]
    fn what_is_torn_leaves_the_one_before() {
        let (folder, journal) = on_disk();
        let (mut record, _) = journal.record(key("a"));
        record.save(&entry("first"));
        record.save(&entry("second"));
        drop(record);
        let file = files(folder.path()).remove(0);
        let whole = fs::read(&file).unwrap();
        fs::write(&file, &whole[..whole.len() - 5]).unwrap();
        let (mut record, found_there) = journal.record(key("a"));
        assert_eq!(found_there.unwrap().location(), "first");
        record.save(&entry("third"));
        drop(record);
        assert_eq!(found(&journal, "a").as_deref(), Some("third"), "what follows a torn one counts");
    }

    #[test]
    fn a_file_stays_short() {
        let (folder, journal) = on_disk();
        let (mut record, _) = journal.record(key("a"));
        let mut longest = 0;
        for number in 0..100 {
            record.save(&entry(&format!("{number} {}", "x".repeat(3000))));
            let [file] = &files(folder.path())[..] else { panic!("{:?}", files(folder.path())) };
            let metadata = fs::metadata(file).unwrap();
            longest = longest.max(metadata.len());
            assert_eq!(metadata.mode() & 0o777, 0o600);
            assert!(found(&journal, "a").is_none(), "it is in use");
        }
        assert!((60_000..70_000).contains(&longest), "{longest}");
        drop(record);
        assert!(found(&journal, "a").unwrap().starts_with("99 "));
        let (mut record, _) = journal.record(key("a"));
        record.remove();
        assert_eq!(files(folder.path()), Vec::<PathBuf>::new());
    }

    #[test]
    fn what_cannot_be_written_leaves_the_entry_with_its_owner() {
        let (folder, journal) = on_disk();
        let (mut record, _) = journal.record(key("a"));
        record.save(&entry("first"));
        let long = |name: &str| entry(&format!("{name} {}", "x".repeat(70_000)));
        let new = folder.path().join(format!("{}.new", key("a").0));
        fs::create_dir(&new).unwrap();
        record.save(&long("second"));
        let (mut theirs, _) = journal.record(key("a"));
        theirs.save(&entry("theirs"));
        drop(theirs);
        fs::remove_dir(&new).unwrap();
        record.save(&long("third"));
        drop(record);
        assert!(found(&journal, "a").unwrap().starts_with("third "));
        fs::write(&new, "of a process that was killed").unwrap();
        let (mut record, _) = journal.record(key("a"));
        record.remove();
        assert_eq!(files(folder.path()), Vec::<PathBuf>::new());
    }

    #[test]
    fn old_files_go() {
        let (folder, journal) = on_disk();
        let names = ["old", "used", "young"];
        let records = names.map(|name| {
            let (mut record, _) = journal.record(key(name));
            record.save(&entry(name));
            if name != "young" {
                let file = fs::File::options().write(true).open(folder.path().join(&key(name).0)).unwrap();
                file.set_modified(std::time::SystemTime::now() - LIFETIME * 2).unwrap();
            }
            record
        });
        let [old, _used, young] = records;
        drop((old, young));
        fs::write(folder.path().join("somebody's"), "x").unwrap();
        let journal = Arc::new(Journal::open(Some(folder.path())));
        assert_eq!(files(folder.path()).len(), 3, "{:?}", files(folder.path()));
        assert_eq!(found(&journal, "young").as_deref(), Some("young"));
    }

    #[test]
    fn a_folder_that_others_may_write_to_is_not_used() {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
        assert!(matches!(Journal::open(Some(folder.path())), Journal::Memory(_)));
        assert!(matches!(Journal::open(Some(Path::new("/proc/none"))), Journal::Memory(_)));
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(matches!(Journal::open(Some(file.path())), Journal::Memory(_)));
    }
}
