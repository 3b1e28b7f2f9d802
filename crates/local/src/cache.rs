//! A cache of blobs and manifests by digest, for what comes from far away.
//!
//! `blobs/<algorithm>/<hex>` in the cache's directory, each verified when it is written, given its name at once, and hashed
//! again when it is read. What is being written lies in `blobs/.partial/`, as in a layout. Nothing is flushed to the disk:
//! what a crash tears is found out when it is read. When an entry was last used is the file's time of modification; the
//! longest unused go first when there is no room.

mod before;
mod fill;
mod room;

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::SystemTime;

use bytes::Bytes;
use oci::{Descriptor, Digest, Manifest};
use rustix::fs::{Timespec, Timestamps, UTIME_NOW, UTIME_OMIT};
use store::{Error as StoreError, Event, Observer, Store};
use tokio::sync::Mutex as AsyncMutex;

use crate::catalog::{MANIFEST_LIMIT, is_manifest};
use crate::content::Extent;
use crate::error::Error;
use crate::folder::Folder;
use crate::{blocking, partial};

pub use before::Cached;
use fill::Fill;
use room::Room;

/// The directory in a cache's own.
const BLOBS: &str = "blobs";

/// Tells programs that make backups what the directory is (Cache Directory Tagging Specification, bford.info/cachedir).
const TAG: (&str, &str) = (
    "CACHEDIR.TAG",
    "Signature: 8a477f597d28d172789f06886806bc55\n# Made by hoist. All of it may be deleted at any time.\n",
);

/// A directory of contents that need not be fetched again. Clones share it, as do processes: each entry is whole at every
/// moment, or not there.
#[derive(Clone)]
pub struct Cache(Arc<Inner>);

struct Inner {
    path: PathBuf,
    observer: Arc<dyn Observer>,
    /// Nothing can be put there, which has been told.
    broken: AtomicBool,
    /// Held once it is there.
    blobs: OnceLock<Folder>,
    room: Mutex<Room>,
    /// What is being written by this process.
    fills: AsyncMutex<HashMap<Digest, Weak<Fill>>>,
    /// Which files this process has hashed.
    proofs: Mutex<HashMap<Digest, Proof>>,
    /// The files that were given out unproven.
    given: Mutex<HashMap<Digest, FileId>>,
    /// What was wrong: nothing of it is used any more by this process, whoever may have mended it.
    doubted: Mutex<HashSet<Digest>>,
    /// What was told of already.
    told: Mutex<HashSet<Digest>>,
}

/// The file that was hashed, if it was right.
type Proof = Arc<AsyncMutex<Option<FileId>>>;

/// What tells a file from another: its device, number, and length.
type FileId = (u64, u64, u64);

/// A content in a cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheEntry {
    /// What it is.
    pub digest: Digest,
    /// Its length in bytes.
    pub size: u64,
    /// When it was last put there or read.
    pub used: SystemTime,
}

/// What was taken out of a cache.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Freed {
    /// How many contents, and remains of what was never completed.
    pub entries: u64,
    /// Their bytes on the disk, about.
    pub bytes: u64,
}

impl Cache {
    /// The cache in a directory, which is made with the first entry. At most `limit` bytes are kept, the last used.
    /// `observer` hears of what it cannot do ([`Event::Uncached`]): a cache that fails is never an error to whoever reads.
    ///
    /// Blocks for a moment.
    ///
    /// # Errors
    /// If the directory has a `blobs` that no cache has made, as an image layout has: that is nobody's to tidy.
    pub fn open(
        path: impl Into<PathBuf>,
        limit: u64,
        observer: Arc<dyn Observer>,
    ) -> Result<Self, StoreError> {
        let cache = Self(Arc::new(Inner {
            path: path.into(),
            observer,
            broken: AtomicBool::new(false),
            blobs: OnceLock::new(),
            room: Mutex::new(Room::new(limit)),
            fills: AsyncMutex::default(),
            proofs: Mutex::default(),
            given: Mutex::default(),
            doubted: Mutex::default(),
            told: Mutex::default(),
        }));
        match cache.made() {
            Err(error @ Error::NoCache(_)) => return Err(error.doing(format!("opening {cache}"))),
            Err(error) => cache.give_up(&error),
            Ok(_) => {}
        }
        Ok(cache)
    }

    /// A store that asks here before it asks `store`, and keeps what that says.
    pub fn before(&self, store: Arc<dyn Store>) -> Cached {
        Cached::new(self.clone(), store)
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.0.path
    }

    /// What is there, the last used first.
    ///
    /// # Errors
    /// If the directory cannot be read; that it is not there is none.
    pub async fn entries(&self) -> Result<Vec<CacheEntry>, StoreError> {
        self.work("looking into", |cache| {
            Ok(cache.made()?.map_or(Ok(Vec::new()), room::entries)?.into_iter().rev().collect())
        })
        .await
    }

    /// Takes out what exceeds the limit, the longest unused first, and what nobody goes on writing.
    ///
    /// # Errors
    /// If something cannot be removed.
    pub async fn collect(&self) -> Result<Freed, StoreError> {
        self.work("tidying", |cache| {
            cache.made()?.map_or(Ok(Freed::default()), |blobs| cache.room().tidy(blobs))
        })
        .await
    }

    /// Takes out all but what is being written now, or was a minute ago.
    ///
    /// # Errors
    /// If something cannot be removed.
    pub async fn clear(&self) -> Result<Freed, StoreError> {
        self.work("clearing", |cache| cache.made()?.map_or(Ok(Freed::default()), room::clear)).await
    }

    async fn work<T: Send + 'static>(
        &self,
        doing: &str,
        work: impl FnOnce(&Self) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, StoreError> {
        blocking::with(self, format!("{doing} {self}"), work).await
    }

    /// The directory of what is kept, if it is there.
    fn made(&self) -> Result<Option<&Folder>, Error> {
        if let Some(blobs) = self.0.blobs.get() {
            return Ok(Some(blobs));
        }
        let root = match Folder::open(&self.0.path) {
            Err(Error::NoDirectory(_)) => return Ok(None),
            outcome => outcome?,
        };
        let Some(blobs) = root.folder(BLOBS)? else { return Ok(None) };
        if blobs.length(TAG.0)?.is_some() {
            return Ok(Some(self.0.blobs.get_or_init(|| blobs)));
        }
        // Another process is making it, or has died over it.
        if blobs.names()?.is_empty() { Ok(None) } else { Err(Error::NoCache(blobs.path().to_owned())) }
    }

    /// The same, made if it is not there.
    fn make(&self) -> Result<&Folder, Error> {
        if let Some(blobs) = self.made()? {
            return Ok(blobs);
        }
        let path = &self.0.path;
        fs::create_dir_all(path).map_err(|error| Error::io(path, error))?;
        let blobs = Folder::open(path)?.make(BLOBS)?;
        let (name, text) = TAG;
        if let Some(mut file) = blobs.write(name)? {
            file.write_all(text.as_bytes()).map_err(|error| Error::io(blobs.path().join(name), error))?;
        }
        Ok(self.0.blobs.get_or_init(|| blobs))
    }

    fn room(&self) -> MutexGuard<'_, Room> {
        lock(&self.0.room)
    }

    /// Where a content lies.
    fn place(&self, digest: &Digest) -> PathBuf {
        self.0.path.join(BLOBS).join(digest.algorithm().name()).join(digest.hex())
    }

    fn find(&self, digest: &Digest) -> Result<Option<Extent>, Error> {
        let Some(blobs) = self.made()? else { return Ok(None) };
        let Some(folder) = blobs.folder(digest.algorithm().name())? else { return Ok(None) };
        let Some(file) = folder.read(&digest.hex())? else { return Ok(None) };
        Extent::of(file, self.place(digest)).map(Some)
    }

    /// A blob as it is there. One of another length than its descriptor's is none.
    fn held(&self, blob: &Descriptor) -> Option<Extent> {
        // What cannot be read is fetched.
        if lock(&self.0.doubted).contains(&blob.digest) {
            return None;
        }
        let found = self.find(&blob.digest).ok().flatten();
        found.filter(|found| found.length == blob.size)
    }

    /// A blob that is there and right; one that is wrong is removed.
    async fn proven(&self, blob: &Descriptor) -> Option<Extent> {
        let found = self.held(blob)?;
        let id = id(&found.file)?;
        let proof = Arc::clone(lock(&self.0.proofs).entry(blob.digest).or_default());
        // Whoever comes meanwhile waits for the answer.
        let mut proof = proof.lock().await;
        if *proof == Some(id) {
            return Some(found);
        }
        touch(&found.file);
        let (digest, hashed) = (blob.digest, found.clone());
        let doing = format!("reading blob {digest}");
        let error = match blocking::run(doing, move || hashed.hash(digest.algorithm())).await {
            Ok(found) if found == digest => None,
            Ok(found) => Some(format!("{digest} is damaged (its content has the digest {found})")),
            Err(error) => Some(error.cause().to_string()),
        };
        let Some(error) = error else {
            *proof = Some(id);
            return Some(found);
        };
        self.tell(&format!("{error}; it is fetched again"));
        self.drop_file(&digest, id);
        None
    }

    /// The file of a blob, unproven.
    fn give(&self, blob: &Descriptor) -> Option<Arc<File>> {
        let found = self.held(blob)?;
        lock(&self.0.given).insert(blob.digest, id(&found.file)?);
        touch(&found.file);
        Some(found.file)
    }

    /// Takes out what was given and was wrong. Whether it was given.
    fn doubt(&self, digest: &Digest) -> bool {
        let given = lock(&self.0.given).remove(digest);
        given.inspect(|id| self.drop_file(digest, *id)).is_some()
    }

    /// A manifest that is there and right.
    fn manifest(&self, digest: &Digest) -> Option<Manifest> {
        let found = self.find(digest).ok().flatten()?;
        let bytes = found.whole(MANIFEST_LIMIT).ok()?;
        // What is wrong, and what else it may be, is not served; the one is replaced in time, the other may stay.
        let manifest = Manifest::verified(Bytes::from(bytes), None, *digest).ok()?;
        is_manifest(manifest.raw()).then(|| {
            touch(&found.file);
            manifest
        })
    }

    /// Keeps a manifest, if it can be told from its bytes alone what it is.
    async fn keep(&self, manifest: &Manifest) {
        let alone = Manifest::verified(manifest.raw().clone(), None, manifest.digest());
        if self.0.broken.load(Ordering::Relaxed)
            || !is_manifest(manifest.raw())
            || alone.ok().as_ref() != Some(manifest)
        {
            return;
        }
        let (doing, manifest) = (format!("writing manifest {}", manifest.digest()), manifest.clone());
        if let Err(error) = blocking::with(self, doing, move |cache| cache.put(&manifest)).await {
            self.give_up(error.cause());
        }
    }

    fn put(&self, manifest: &Manifest) -> Result<(), Error> {
        let (digest, length) = (manifest.digest(), manifest.raw().len() as u64);
        let blobs = self.make()?;
        let done = blobs.make(digest.algorithm().name())?;
        if self.manifest(&digest).is_some() || !self.room().reserve(blobs, length)? {
            return Ok(());
        }
        let put = partial::put(blobs, &done, &digest.hex(), (&digest, manifest.raw()), false);
        self.room().release(length, put.is_ok());
        match put {
            // What lies in its place is nobody else's trouble.
            Err(Error::Link(_) | Error::NoFile(_)) => Ok(()),
            put => put,
        }
    }

    /// Uses nothing of a digest any more, and takes its file out, if it is still that one. Where that may not be, it stays.
    fn drop_file(&self, digest: &Digest, wrong: FileId) {
        lock(&self.0.doubted).insert(*digest);
        let same = self.find(digest).ok().flatten().and_then(|found| id(&found.file)) == Some(wrong);
        if same
            && let Ok(Some(blobs)) = self.made()
            && let Ok(Some(folder)) = blobs.folder(digest.algorithm().name())
        {
            let _ = folder.remove(&digest.hex());
        }
    }

    /// Puts nothing more there.
    fn give_up(&self, error: &dyn fmt::Display) {
        if !self.0.broken.swap(true, Ordering::Relaxed) {
            self.tell(&format!("{error}; nothing more is kept there"));
        }
    }

    /// Says something of a content, once.
    fn tell_once(&self, digest: &Digest, text: &str) {
        if lock(&self.0.told).insert(*digest) {
            self.tell(text);
        }
    }

    fn tell(&self, text: &str) {
        self.0.observer.event(&Event::Uncached(&format!("{self}: {text}")));
    }
}

impl fmt::Display for Cache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the cache {}", self.0.path.display())
    }
}

impl fmt::Debug for Cache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Cache").field(&self.0.path).finish()
    }
}

/// Sets and numbers, which are sound whoever panicked over them.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn id(file: &File) -> Option<FileId> {
    use std::os::unix::fs::MetadataExt as _;
    let file = file.metadata().ok()?;
    Some((file.dev(), file.ino(), file.len()))
}

/// Notes that a file has been used. Where that may not be noted it goes the sooner.
pub(crate) fn touch(file: &File) {
    let time = |nanoseconds| Timespec { tv_sec: 0, tv_nsec: nanoseconds };
    let now = Timestamps { last_access: time(UTIME_OMIT), last_modification: time(UTIME_NOW) };
    let _ = rustix::fs::futimens(file, &now);
}
