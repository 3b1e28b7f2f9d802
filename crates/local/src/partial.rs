//! The file that a blob is written to before it has its name: `blobs/.partial/<algorithm>-<hex>`, and a journal beside
//! it. Whoever has it open has it locked.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use oci::{Descriptor, Digest};
use store::{Error as StoreError, Opened};

use crate::error::Error;
use crate::folder::Folder;
use crate::journal::{self, Written};
use crate::pieces::Pieces;
use crate::placer::{FilePlacer, Ground};
use crate::{blocking, content, sweep};

/// The directory in `blobs`.
pub(crate) const FOLDER: &str = ".partial";

/// What a journal's name ends with.
pub(crate) const JOURNAL: &str = ".parts";

/// No journal of a sensible blob is larger, in bytes.
const JOURNAL_LIMIT: u64 = 16 << 20;

/// How long is waited before the next look at a blob that another process is writing.
const PAUSE: Duration = Duration::from_millis(50);

/// What stands in the way of writing a blob, or not.
pub(crate) enum Begun {
    /// It is there.
    Existed,
    /// Somebody else is writing it.
    Busy,
    /// It can be written.
    Partial(Box<Partial>),
}

/// A partial file.
#[derive(Debug)]
pub(crate) struct Partial {
    /// The directory that `.partial` lies in.
    base: Folder,
    /// Where the blob goes.
    done: Folder,
    /// `.partial`.
    folder: Folder,
    name: String,
    digest: Digest,
    file: File,
    journal: Option<Arc<File>>,
    /// The journal's length in bytes.
    journaled: u64,
    /// Whether what is there survives the machine; else whoever reads it has to make sure of it.
    durable: bool,
}

/// The name of a blob's partial file.
pub(crate) fn name(digest: &Digest) -> String {
    format!("{}-{}", digest.algorithm().name(), digest.hex())
}

/// How many bytes of a blob lie in a partial file.
pub(crate) fn kept(blobs: &Folder, blob: &Descriptor) -> Result<u64, Error> {
    let Some(folder) = blobs.folder(FOLDER)? else { return Ok(0) };
    let name = name(&blob.digest);
    if folder.length(&name)? != Some(blob.size) {
        return Ok(0);
    }
    Ok(written(&folder, &name, blob.size)?.all.bytes())
}

fn written(folder: &Folder, name: &str, size: u64) -> Result<Written, Error> {
    let name = name.to_owned() + JOURNAL;
    let Some(mut file) = folder.read(&name)? else { return Ok(Written::default()) };
    let bytes = content::whole(&mut file, &folder.path().join(&name), JOURNAL_LIMIT)?;
    Ok(journal::parse(&bytes, &journal::boot(), size))
}

impl Partial {
    /// Opens the partial file, below `base`, of a blob that goes into `done`, and tells what of it is written already.
    pub(crate) fn begin(
        base: Folder,
        done: Folder,
        blob: &Descriptor,
        durable: bool,
    ) -> Result<(Begun, Written), Error> {
        let is_done = || Ok::<_, Error>(done.length(&blob.digest.hex())? == Some(blob.size));
        if is_done()? {
            return Ok((Begun::Existed, Written::default()));
        }
        let name = name(&blob.digest);
        let (folder, file) = loop {
            let folder = base.make(FOLDER)?;
            match folder.lock(&name, true, false) {
                Ok(Some(file)) => break (folder, file),
                Ok(None) => return Ok((Begun::Busy, Written::default())),
                // Whoever was the last in there has taken it away.
                Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        };
        // It may have been finished while it was being opened.
        let is_done = is_done()?;
        let digest = blob.digest;
        let mut partial =
            Self { base, done, folder, name, digest, file, journal: None, journaled: 0, durable };
        if is_done {
            partial.remove()?;
            return Ok((Begun::Existed, Written::default()));
        }
        let written = partial.prepare(blob.size)?;
        Ok((Begun::Partial(Box::new(partial)), written))
    }

    /// What writes the blob.
    pub(crate) fn placer(
        self: Box<Self>,
        doing: String,
        blob: &Descriptor,
        written: Written,
    ) -> Result<FilePlacer, Error> {
        let file = self.file.try_clone().map_err(|error| Error::io(self.path(), error))?;
        FilePlacer::new(doing, blob, (&file, 0), self, written.all)
    }

    fn prepare(&mut self, size: u64) -> Result<Written, Error> {
        let failed = |error| Error::io(self.path(), error);
        if self.file.metadata().map_err(failed)?.len() == size {
            let written = written(&self.folder, &self.name, size)?;
            if written.all.bytes() > 0 {
                self.write_journal(&written)?;
                return Ok(written);
            }
        }
        // A new file; or one of a blob whose descriptor gave another length.
        self.folder.remove(&(self.name.clone() + JOURNAL))?;
        let failed = |error| Error::io(self.path(), error);
        self.file.set_len(0).and_then(|()| self.file.set_len(size)).map_err(failed)?;
        Ok(Written::default())
    }

    /// Writes the journal anew, and gives it.
    fn write_journal(&mut self, written: &Written) -> Result<Arc<File>, Error> {
        let text = journal::whole(&journal::boot(), written);
        let (name, new) = (self.name.clone() + JOURNAL, self.name.clone() + JOURNAL + ".new");
        let failed = |error| Error::io(self.folder.path().join(&new), error);
        let Some(file) = self.folder.replace(&new)? else {
            return Err(failed(io::ErrorKind::NotFound.into()));
        };
        let written = file.write_all_at(text.as_bytes(), 0).map_err(failed);
        let written = written.and_then(|()| self.folder.rename(&new, &self.folder, &name));
        if written.is_err() {
            // A disk that is full leaves nothing of it.
            let _ = self.folder.remove(&new);
        }
        written?;
        self.journaled = text.len() as u64;
        let file = Arc::new(file);
        self.journal = Some(Arc::clone(&file));
        Ok(file)
    }

    fn remove_journal(&self) -> Result<(), Error> {
        if self.journal.is_some() {
            self.folder.remove(&(self.name.clone() + JOURNAL))?;
        }
        // What a process left that was killed while it wrote the journal anew.
        self.folder.remove(&(self.name.clone() + JOURNAL + ".new"))?;
        self.base.tidy(FOLDER);
        Ok(())
    }
}

impl Ground for Partial {
    fn path(&self) -> PathBuf {
        self.folder.path().join(&self.name)
    }

    /// Appends records to the journal. Those that could not be written whole are written over the next time.
    fn save(&mut self, new: &Pieces) -> Result<(), Error> {
        let records = journal::records(new);
        let journal = match &self.journal {
            Some(journal) => Arc::clone(journal),
            None => self.write_journal(&Written::default())?,
        };
        journal
            .write_all_at(records.as_bytes(), self.journaled)
            .map_err(|error| Error::io(self.folder.path().join(self.name.clone() + JOURNAL), error))?;
        self.journaled += records.len() as u64;
        Ok(())
    }

    fn rewrite(&mut self, written: &Written) -> Result<Option<Arc<File>>, Error> {
        self.write_journal(written).map(Some)
    }

    fn survives(&self) -> bool {
        self.durable
    }

    /// Gives the file the blob's name, flushed if that is asked for.
    fn finish(&mut self) -> Result<(), Error> {
        if self.durable {
            self.file.sync_data().map_err(|error| Error::io(self.path(), error))?;
        }
        self.folder.rename(&self.name, &self.done, &self.digest.hex())?;
        self.remove_journal()
    }

    /// Removes the file and its journal.
    fn remove(&mut self) -> Result<(), Error> {
        self.folder.remove(&self.name)?;
        self.remove_journal()
    }
}

/// Begins to write a blob to its partial file, which `open` opens; waits while another process is at it.
pub(crate) async fn write<P: Clone + Send + 'static>(
    place: &P,
    doing: String,
    blob: &Descriptor,
    open: impl Fn(&P, &Descriptor) -> Result<(Begun, Written), Error> + Clone + Send + 'static,
) -> Result<Opened, StoreError> {
    loop {
        let (open, wanted) = (open.clone(), blob.clone());
        match blocking::with(place, doing.clone(), move |place| open(place, &wanted)).await? {
            (Begun::Existed, _) => return Ok(Opened::Existed),
            (Begun::Busy, _) => tokio::time::sleep(PAUSE).await,
            (Begun::Partial(partial), written) => {
                let placer = partial.placer(doing.clone(), blob, written);
                return Ok(Opened::Placer(Box::new(placer.map_err(|error| error.doing(doing))?)));
            }
        }
    }
}

/// Puts a small content in its place at once, and durably if that is asked for: below `base` first, then in `done` as `to`.
pub(crate) fn put(
    base: &Folder,
    done: &Folder,
    to: &str,
    content: (&Digest, &[u8]),
    durable: bool,
) -> Result<(), Error> {
    let (digest, bytes) = content;
    let length = bytes.len() as u64;
    if done.length(to)? == Some(length)
        && let Some(mut file) = done.read(to)?
        && content::whole(&mut file, &done.path().join(to), length)? == bytes
    {
        return Ok(());
    }
    let name = format!("{}.{}", name(digest), sweep::unique());
    let (folder, file) = loop {
        let folder = base.make(FOLDER)?;
        if let Some(file) = folder.replace(&name)? {
            break (folder, file);
        }
    };
    let written = file
        .write_all_at(bytes, 0)
        .and_then(|()| if durable { file.sync_all() } else { Ok(()) })
        .map_err(|error| Error::io(folder.path().join(&name), error))
        .and_then(|()| folder.rename(&name, done, to));
    if written.is_err() {
        // What remains is removed when it is old, at the latest.
        let _ = folder.remove(&name);
    }
    base.tidy(FOLDER);
    written
}
