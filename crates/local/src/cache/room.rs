//! How much a cache holds, and what goes when that is too much.

use std::time::Duration;

use oci::{Algorithm, Digest};

use super::{CacheEntry, Freed};
use crate::error::Error;
use crate::folder::Folder;
use crate::sweep;

/// The directories of what is complete.
const ALGORITHMS: [Algorithm; 2] = [Algorithm::Sha256, Algorithm::Sha512];

/// Who has not gone on with a blob for so long will not.
const REST: Duration = Duration::from_mins(1);

/// How much may be kept, and how much is. What others are fetching at the moment does not count before it is there.
pub(super) struct Room {
    /// In bytes.
    limit: u64,
    /// What was complete when it was last looked, and what has been completed here since.
    used: Option<u64>,
    /// What is to be written here.
    reserved: u64,
}

impl Room {
    pub(super) fn new(limit: u64) -> Self {
        Self { limit, used: None, reserved: 0 }
    }

    pub(super) fn limit(&self) -> u64 {
        self.limit
    }

    /// Makes room for so many bytes more; whether there is. Who has it gives it back: [`Self::release`].
    pub(super) fn reserve(&mut self, blobs: &Folder, bytes: u64) -> Result<bool, Error> {
        let wanted = self.reserved.saturating_add(bytes);
        if wanted > self.limit {
            // Nothing is to go for what cannot be kept.
            return Ok(false);
        }
        if self.used.is_none_or(|used| used.saturating_add(wanted) > self.limit) {
            sweep::old(blobs, REST)?;
            // A little more than has to be, so that not each of many looks through all.
            let target = self.limit - wanted;
            let (_, left) = shrink(blobs, target, target - target / 64)?;
            self.used = Some(left);
        }
        self.reserved = wanted;
        Ok(true)
    }

    /// Ends what was reserved; `there`: it has been put to what is complete.
    pub(super) fn release(&mut self, bytes: u64, there: bool) {
        self.reserved = self.reserved.saturating_sub(bytes);
        if let (true, Some(used)) = (there, &mut self.used) {
            *used = used.saturating_add(bytes);
        }
    }

    /// Takes out what is too much, and what nobody goes on writing.
    pub(super) fn tidy(&mut self, blobs: &Folder) -> Result<Freed, Error> {
        let mut freed = remains(blobs)?;
        let (shrunk, left) = shrink(blobs, self.limit, self.limit)?;
        self.used = Some(left);
        freed.add(shrunk);
        Ok(freed)
    }
}

/// Takes out the longest unused if there are more than `limit` bytes, until at most `target` are left; what was taken out, and
/// what is left.
fn shrink(blobs: &Folder, limit: u64, target: u64) -> Result<(Freed, u64), Error> {
    let entries = entries(blobs)?;
    let mut left: u64 = entries.iter().map(|entry| entry.size).sum();
    let mut freed = Freed::default();
    let until = if left > limit { target } else { limit };
    for entry in entries {
        if left <= until {
            break;
        }
        left -= entry.size;
        freed.add(remove(blobs, &entry)?);
    }
    Ok((freed, left))
}

/// Takes out all but what is being written, or was a minute ago.
pub(super) fn clear(blobs: &Folder) -> Result<Freed, Error> {
    let mut freed = remains(blobs)?;
    for entry in entries(blobs)? {
        freed.add(remove(blobs, &entry)?);
    }
    Ok(freed)
}

/// What is complete, the longest unused first. Names that are no digests are not ours.
pub(super) fn entries(blobs: &Folder) -> Result<Vec<CacheEntry>, Error> {
    let mut entries = Vec::new();
    for algorithm in ALGORITHMS.map(Algorithm::name) {
        let Some(folder) = blobs.folder(algorithm)? else { continue };
        for name in folder.names()? {
            let Ok(digest) = format!("{algorithm}:{name}").parse::<Digest>() else { continue };
            // Others may have taken it out meanwhile; and what is no file is not ours.
            if let (Ok(Some(size)), Some(used)) = (folder.length(&name), folder.changed(&name)?) {
                entries.push(CacheEntry { digest, size, used });
            }
        }
    }
    entries.sort_by_key(|entry: &CacheEntry| (entry.used, entry.digest));
    Ok(entries)
}

fn remove(blobs: &Folder, entry: &CacheEntry) -> Result<Freed, Error> {
    let Some(folder) = blobs.folder(entry.digest.algorithm().name())? else { return Ok(Freed::default()) };
    let was_there = folder.remove(&entry.digest.hex())?;
    Ok(if was_there { Freed { entries: 1, bytes: entry.size } } else { Freed::default() })
}

/// Takes out what was begun and nobody goes on with.
fn remains(blobs: &Folder) -> Result<Freed, Error> {
    let (entries, bytes) = sweep::old(blobs, REST)?;
    Ok(Freed { entries, bytes })
}

impl Freed {
    fn add(&mut self, other: Self) {
        self.entries += other.entries;
        self.bytes += other.bytes;
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    /// Puts an entry of so many bytes there that was last used so many seconds ago.
    fn put(path: &Path, name: u8, bytes: u64, age: u64) {
        let file = fs::File::create(path.join("sha256").join(format!("{name:064x}"))).unwrap();
        file.set_len(bytes).unwrap();
        file.set_modified(std::time::SystemTime::now() - Duration::from_secs(age)).unwrap();
    }

    fn left(blobs: &Folder) -> Vec<u64> {
        entries(blobs).unwrap().iter().map(|entry| entry.size).collect()
    }

    #[test]
    fn the_longest_unused_make_room() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        fs::create_dir(path.join("sha256")).unwrap();
        for (name, bytes, age) in [(1, 100, 30), (2, 200, 10), (3, 300, 20)] {
            put(path, name, bytes, age);
        }
        // Not ours, whatever they are called.
        fs::write(path.join("sha256/mine"), "").unwrap();
        fs::create_dir(path.join("sha256").join("0".repeat(64))).unwrap();
        std::os::unix::fs::symlink("mine", path.join("sha256").join("f".repeat(64))).unwrap();
        let blobs = Folder::open(path).unwrap();
        assert_eq!(left(&blobs), [100, 300, 200]);
        let mut room = Room::new(1050);
        assert!(!room.reserve(&blobs, 1051).unwrap());
        assert!(room.reserve(&blobs, 400).unwrap());
        assert_eq!(left(&blobs), [100, 300, 200]);
        // What is reserved counts though nobody sees it.
        assert!(room.reserve(&blobs, 100).unwrap());
        assert_eq!(left(&blobs), [300, 200]);
        assert!(!room.reserve(&blobs, 551).unwrap());
        assert_eq!(left(&blobs), [300, 200], "nothing goes for what cannot be kept");
        put(path, 4, 400, 0);
        room.release(400, true);
        room.release(100, false);
        assert!(room.reserve(&blobs, 100).unwrap());
        assert_eq!(left(&blobs), [300, 200, 400]);
        assert!(room.reserve(&blobs, 51).unwrap());
        assert_eq!(left(&blobs), [200, 400]);
        let freed = Room::new(500).tidy(&blobs).unwrap();
        assert_eq!((freed, left(&blobs)), (Freed { entries: 1, bytes: 200 }, vec![400]));
        assert_eq!(clear(&blobs).unwrap(), Freed { entries: 1, bytes: 400 });
        assert_eq!(fs::read_dir(path.join("sha256")).unwrap().count(), 3);
    }
}
