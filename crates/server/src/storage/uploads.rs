//! Uploads that are not blobs yet. The session's file and its length are the truth; what is in memory only saves
//! hashing the file again.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use oci::{Algorithm, Digest, Hasher};
use tokio::sync::{Mutex as Gate, OwnedMutexGuard, watch};
use uuid::Uuid;

use super::directory::entries;
use super::layout::{CONTENT, member};
use super::{Doing, Error, RepositoryName, Storage, lock};

/// How much is read at a time where a file is hashed again.
const PIECE: usize = 256 * 1024;

/// After so many bytes the disk is told to begin writing, so that little is left to wait for at the end.
const SYNC_EVERY: u64 = 64 * 1024 * 1024;

/// The sessions that this process has dealt with.
#[derive(Debug, Default)]
pub(super) struct Sessions(Mutex<HashMap<Uuid, Arc<Session>>>);

/// Who may write to a session, one at a time.
#[derive(Debug)]
struct Session {
    gate: Arc<Gate<Kept>>,
    /// How many requests wait to write. A client that lost its connection comes back while the server still waits
    /// for the rest of the old request, so the old one gives way.
    waiting: watch::Sender<usize>,
}

impl Session {
    fn new(kept: Kept) -> Arc<Self> {
        Arc::new(Self { gate: Arc::new(Gate::new(kept)), waiting: watch::Sender::new(0) })
    }
}

/// What one request to a session leaves for the next one.
#[derive(Debug, Default)]
struct Kept {
    /// The hash of the first bytes, and how many they are.
    hashed: Option<(Hasher, u64)>,
    /// Told to write to the disk; its failure has to be seen before the content counts.
    syncing: Option<Syncing>,
}

type Syncing = std::thread::JoinHandle<io::Result<()>>;

impl Sessions {
    fn get(&self, id: Uuid) -> Arc<Session> {
        Arc::clone(lock(&self.0).entry(id).or_insert_with(|| Session::new(Kept::default())))
    }

    fn forget(&self, id: Uuid) {
        lock(&self.0).remove(&id);
    }
}

/// Exclusive use of an upload session. It knows the hash of what it wrote as long as nothing failed.
#[derive(Debug)]
pub(crate) struct Writer {
    storage: Storage,
    gate: OwnedMutexGuard<Kept>,
    waiting: watch::Receiver<usize>,
    name: RepositoryName,
    id: Uuid,
    file: File,
    length: u64,
    hasher: Option<Hasher>,
    /// The length at which the disk was last told to write.
    synced: u64,
}

impl Storage {
    /// Begins an upload, whose bytes are going to be hashed with `algorithm`.
    pub(crate) fn begin_upload(&self, name: &RepositoryName, algorithm: Algorithm) -> Result<Uuid, Error> {
        let id = Uuid::new_v4();
        let directory = self.layout().upload(id);
        fs::create_dir(&directory)
            .and_then(|()| File::create_new(directory.join(CONTENT)))
            .and_then(|_| File::create_new(directory.join(member(name))))
            .doing(|| format!("begin upload {id}"))?;
        let kept = Kept { hashed: Some((algorithm.hasher(), 0)), syncing: None };
        lock(&self.0.sessions.0).insert(id, Session::new(kept));
        Ok(id)
    }

    /// The path of a session's content, if the session is there and belongs to the repository.
    fn upload_content(&self, name: &RepositoryName, id: Uuid) -> Option<PathBuf> {
        let directory = self.layout().upload(id);
        let content = directory.join(CONTENT);
        (directory.join(member(name)).exists() && content.exists()).then_some(content)
    }

    /// How many bytes a session has; `None` if there is no such session.
    pub(crate) fn upload_length(&self, name: &RepositoryName, id: Uuid) -> Option<u64> {
        Some(self.upload_content(name, id)?.metadata().ok()?.len())
    }

    /// Takes a session for writing; another request that writes to it gives way. `None` if there is no such session.
    pub(crate) async fn open_upload(&self, name: &RepositoryName, id: Uuid) -> Result<Option<Writer>, Error> {
        let name = name.clone();
        let wanted = name.clone();
        if self.run(move |storage| Ok(storage.upload_content(&wanted, id).is_none())).await? {
            return Ok(None);
        }
        let session = self.0.sessions.get(id);
        let waiting = Waiting::new(&session.waiting);
        let gate = Arc::clone(&session.gate).lock_owned().await;
        drop(waiting);
        self.run(move |storage| {
            // Whoever had the session until now may have ended it.
            let Some(path) = storage.upload_content(&name, id) else {
                storage.0.sessions.forget(id);
                return Ok(None);
            };
            let doing = || format!("open upload {id}");
            let file = File::options().append(true).open(path).doing(doing)?;
            let length = file.metadata().doing(doing)?.len();
            Ok(Some(Writer {
                storage: storage.clone(),
                gate,
                waiting: session.waiting.subscribe(),
                name,
                id,
                file,
                length,
                hasher: None,
                synced: length,
            }))
        })
        .await
    }

    /// Removes the sessions that nobody has written to for so long.
    ///
    /// # Errors
    /// [`Error::Io`] if the sessions cannot be listed or removed.
    pub fn prune_uploads(&self, idle: Duration) -> Result<(), Error> {
        let now = SystemTime::now();
        let mut old = Vec::new();
        entries(&self.layout().uploads(), |entry, id| {
            let touched = entry.path().join(CONTENT).metadata().or_else(|_| entry.metadata());
            let touched = touched.and_then(|metadata| metadata.modified());
            if touched.is_ok_and(|touched| now.duration_since(touched).is_ok_and(|age| age > idle)) {
                old.push((entry.path(), Uuid::parse_str(id)));
            }
            true
        })?;
        for (path, id) in old {
            fs::remove_dir_all(&path).doing(|| format!("remove old upload {}", path.display()))?;
            if let Ok(id) = id {
                self.0.sessions.forget(id);
            }
        }
        Ok(())
    }
}

/// Counts as waiting while it lives, also when the request is given up.
struct Waiting<'a>(&'a watch::Sender<usize>);

impl<'a> Waiting<'a> {
    fn new(waiting: &'a watch::Sender<usize>) -> Self {
        waiting.send_modify(|waiting| *waiting += 1);
        Self(waiting)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|waiting| *waiting = waiting.saturating_sub(1));
    }
}

impl Writer {
    /// How many bytes the session has.
    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    /// Waits until another request wants the session.
    pub(crate) fn wanted(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut waiting = self.waiting.clone();
        async move {
            if waiting.wait_for(|waiting| *waiting > 0).await.is_err() {
                // The session is forgotten, so nobody can want it.
                std::future::pending::<()>().await;
            }
        }
    }

    /// Makes the hash of what is there, by `algorithm` or by the one it was begun with. Blocks; reads the file where
    /// the hash is not known, as after a restart.
    pub(crate) fn prepare(&mut self, algorithm: Option<Algorithm>) -> Result<(), Error> {
        if let Some((hasher, length)) = self.gate.hashed.take()
            && length == self.length
        {
            self.hasher = Some(hasher);
        }
        let right = |hasher: &Hasher| algorithm.is_none_or(|algorithm| algorithm == hasher.algorithm());
        if self.hasher.as_ref().is_some_and(right) {
            return Ok(());
        }
        let mut hasher = algorithm.unwrap_or(Algorithm::Sha256).hasher();
        let path = self.storage.layout().upload(self.id).join(CONTENT);
        let doing = || format!("read upload {}", self.id);
        let mut file = File::open(path).doing(doing)?;
        let mut piece = vec![0; PIECE];
        loop {
            match file.read(&mut piece).doing(doing)? {
                0 => break,
                read => hasher.update(&piece[..read]),
            }
        }
        self.hasher = Some(hasher);
        Ok(())
    }

    /// Writes and hashes the next bytes. Blocks. After a failure the file's length is the truth again.
    pub(crate) fn append(&mut self, pieces: &[Bytes]) -> Result<(), Error> {
        let mut hasher = self.hasher.take();
        for piece in pieces {
            self.file.write_all(piece).doing(|| format!("write upload {}", self.id))?;
            self.length += piece.len() as u64;
            if let Some(hasher) = &mut hasher {
                hasher.update(piece);
            }
        }
        self.hasher = hasher;
        self.sync_early()
    }

    /// Lets the disk work while the bytes come in. On a thread of its own for as long as the disk is busy: at most
    /// one for an upload, and none for small ones.
    fn sync_early(&mut self) -> Result<(), Error> {
        let due = self.length - self.synced >= SYNC_EVERY;
        if !due || self.gate.syncing.as_ref().is_some_and(|syncing| !syncing.is_finished()) {
            return Ok(());
        }
        self.join_sync()?;
        let file = self.file.try_clone().doing(|| format!("synchronise upload {}", self.id))?;
        self.synced = self.length;
        self.gate.syncing = Some(std::thread::spawn(move || file.sync_data()));
        Ok(())
    }

    /// The system reports a failed write to one caller only, so what the early one got counts.
    fn join_sync(&mut self) -> Result<(), Error> {
        let Some(syncing) = self.gate.syncing.take() else { return Ok(()) };
        syncing
            .join()
            .unwrap_or_else(|_| Err(io::Error::other("the thread ended early")))
            .doing(|| format!("synchronise upload {}", self.id))
    }

    /// Makes the session a blob of its repository if it hashes to `digest`; else the session is gone, and the digest
    /// that it has is returned. Blocks until the blob is durable.
    pub(crate) fn finish(mut self, digest: Digest) -> Result<Result<(), Digest>, Error> {
        self.prepare(Some(digest.algorithm()))?;
        let Some(hasher) = self.hasher.clone() else { return self.discard().map(|()| Err(digest)) };
        let found = hasher.finish();
        if found != digest {
            return self.discard().map(|()| Err(found));
        }
        self.join_sync()?;
        self.file.sync_all().doing(|| format!("synchronise upload {}", self.id))?;
        let directory = self.storage.layout().upload(self.id);
        self.storage.publish_blob(&self.name, digest, &directory)?;
        self.forget();
        Ok(Ok(()))
    }

    /// Ends the session and removes what it has. Blocks.
    pub(crate) fn discard(mut self) -> Result<(), Error> {
        let directory = self.storage.layout().upload(self.id);
        self.forget();
        fs::remove_dir_all(directory).doing(|| format!("remove upload {}", self.id))
    }

    fn forget(&mut self) {
        self.hasher = None;
        *self.gate = Kept::default();
        self.storage.0.sessions.forget(self.id);
    }
}

impl Drop for Writer {
    /// Whatever happens to the request, the next one goes on from here.
    fn drop(&mut self) {
        if let Some(hasher) = self.hasher.take() {
            self.gate.hashed = Some((hasher, self.length));
        }
    }
}
