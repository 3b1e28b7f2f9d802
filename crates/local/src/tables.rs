//! What has been found out of layers, by their digests, or by others that the maker has made: a file each, of which only the maker knows
//! the content.

use std::fs;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use oci::Digest;

use crate::error::Error;
use crate::folder::Folder;
use crate::sweep::unique;

/// The end of the name of a file that is being written.
const PARTIAL: &str = ".partial";

/// Who has not ended such a file after so long will not.
const REST: Duration = Duration::from_mins(10);

/// What is written at a time, in bytes.
const BUFFER: usize = 256 << 10;

/// A directory of tables, `sha256-<hex>` each. Each is whole at every moment or not there, whoever writes; a machine that stops
/// suddenly may tear it, so that its content has to tell whether it is right. The longest unused go when there are too many bytes.
///
/// Its methods block for a moment.
#[derive(Debug)]
pub struct Tables {
    path: PathBuf,
    limit: u64,
    /// What was there when it was last looked, and what has been put there since; `u64::MAX` before.
    used: AtomicU64,
}

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableEntry {
    /// Of the layer, or what else it is kept under.
    pub layer: Digest,
    /// Its length in bytes.
    pub size: u64,
    /// When it was last put there or read.
    pub used: SystemTime,
}

impl Tables {
    /// Those in a directory, which is made with the first. At most `limit` bytes are kept.
    pub fn new(path: impl Into<PathBuf>, limit: u64) -> Self {
        Self { path: path.into(), limit, used: AtomicU64::new(u64::MAX) }
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file of what is kept of a layer, to read. `None` also where it cannot be read.
    pub fn get(&self, layer: &Digest) -> Option<fs::File> {
        let file = Folder::open(&self.path).ok()?.read(&name(layer)).ok().flatten()?;
        crate::cache::touch(&file);
        Some(file)
    }

    /// Keeps what `write` writes of a layer, in the place of what is there; nothing that is larger than all may be.
    ///
    /// # Errors
    /// If it could not be written: then what was there is there still.
    pub fn put(
        &self,
        layer: &Digest,
        write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> Result<(), store::Error> {
        self.try_put(layer, write).map_err(|error| error.doing(format!("keeping the table {layer}")))
    }

    /// Forgets what is kept of a layer.
    pub fn remove(&self, layer: &Digest) {
        if let Ok(folder) = Folder::open(&self.path) {
            let _ = folder.remove(&name(layer));
        }
    }

    /// What is there, the last used first.
    ///
    /// # Errors
    /// If the directory cannot be read; that it is not there is none.
    pub fn entries(&self) -> Result<Vec<TableEntry>, store::Error> {
        let entries =
            self.folder().and_then(|folder| folder.map_or(Ok(Vec::new()), |folder| entries(&folder)));
        let mut entries =
            entries.map_err(|error| error.doing(format!("looking into {}", self.path.display())))?;
        entries.reverse();
        Ok(entries)
    }

    /// Takes out the longest unused beyond the limit, and what nobody ends.
    ///
    /// # Errors
    /// If something cannot be removed.
    pub fn collect(&self) -> Result<crate::Freed, store::Error> {
        self.shrink(self.limit).map_err(|error| error.doing(format!("tidying {}", self.path.display())))
    }

    /// Takes out all.
    ///
    /// # Errors
    /// If something cannot be removed.
    pub fn clear(&self) -> Result<crate::Freed, store::Error> {
        self.shrink(0).map_err(|error| error.doing(format!("clearing {}", self.path.display())))
    }

    fn folder(&self) -> Result<Option<Folder>, Error> {
        match Folder::open(&self.path) {
            Err(Error::NoDirectory(_)) => Ok(None),
            folder => folder.map(Some),
        }
    }

    fn try_put(
        &self,
        layer: &Digest,
        write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> Result<(), Error> {
        fs::create_dir_all(&self.path).map_err(|error| Error::io(&self.path, error))?;
        let folder = Folder::open(&self.path)?;
        let partial = format!("{}{PARTIAL}", unique());
        // Without a file the directory went meanwhile, and so does this.
        let Some(file) = folder.replace(&partial)? else { return Ok(()) };
        let done = self.complete(&folder, (&partial, layer), file, write);
        if !matches!(done, Ok(true)) {
            let _ = folder.remove(&partial);
        }
        done.map(drop)
    }

    /// Writes a file and gives it its name, if there is room for it.
    fn complete(
        &self,
        folder: &Folder,
        (partial, layer): (&str, &Digest),
        file: fs::File,
        write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> Result<bool, Error> {
        let failed = |error| Error::io(self.path.join(partial), error);
        let mut out = BufWriter::with_capacity(BUFFER, file);
        write(&mut out).and_then(|()| out.flush()).map_err(failed)?;
        let length = out.get_ref().metadata().map_err(failed)?.len();
        let Some(target) = self.limit.checked_sub(length) else { return Ok(false) };
        if self.used.load(Ordering::Relaxed) > target {
            // A little more than has to be, so that not each of many looks through all.
            self.shrink(target - target / 64)?;
        }
        folder.rename(partial, folder, &name(layer))?;
        self.used.fetch_add(length, Ordering::Relaxed);
        Ok(true)
    }

    fn shrink(&self, limit: u64) -> Result<crate::Freed, Error> {
        let mut freed = crate::Freed::default();
        let Some(folder) = self.folder()? else { return Ok(freed) };
        for name in folder.names()?.iter().filter(|name| name.ends_with(PARTIAL)) {
            let age = folder.changed(name)?.and_then(|changed| changed.elapsed().ok());
            if age.is_some_and(|age| age > REST) && folder.remove(name)? {
                freed.entries += 1;
            }
        }
        let entries = entries(&folder)?;
        let mut left: u64 = entries.iter().map(|entry| entry.size).sum();
        for entry in entries {
            if left <= limit {
                break;
            }
            left -= entry.size;
            if folder.remove(&name(&entry.layer))? {
                freed.entries += 1;
                freed.bytes += entry.size;
            }
        }
        self.used.store(left, Ordering::Relaxed);
        Ok(freed)
    }
}

fn name(layer: &Digest) -> String {
    format!("{}-{}", layer.algorithm().name(), layer.hex())
}

/// The longest unused first. Names that are none of ours are left alone.
fn entries(folder: &Folder) -> Result<Vec<TableEntry>, Error> {
    let mut entries = Vec::new();
    for name in folder.names()? {
        let Ok(layer) = name.replacen('-', ":", 1).parse::<Digest>() else { continue };
        // Others may have taken it out meanwhile.
        if let (Ok(Some(size)), Some(used)) = (folder.length(&name), folder.changed(&name)?) {
            entries.push(TableEntry { layer, size, used });
        }
    }
    entries.sort_by_key(|entry| (entry.used, entry.layer));
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use oci::Algorithm;

    use super::*;

    fn read(tables: &Tables, layer: &Digest) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        tables.get(layer)?.read_to_end(&mut bytes).unwrap();
        Some(bytes)
    }

    #[test]
    fn the_last_used_stay() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("tables");
        let tables = Tables::new(&path, 250);
        let layers = [1, 2, 3].map(|number: u8| Algorithm::Sha256.digest(&[number]));
        assert_eq!((read(&tables, &layers[0]), tables.entries().unwrap()), (None, Vec::new()));
        for (age, layer) in [30, 20].into_iter().zip(&layers) {
            tables.put(layer, |out| out.write_all(&[7; 100])).unwrap();
            let file = fs::File::options().write(true).open(path.join(name(layer))).unwrap();
            file.set_modified(SystemTime::now() - Duration::from_secs(age)).unwrap();
        }
        // Read, and thereby used last.
        assert_eq!(read(&tables, &layers[0]), Some(vec![7; 100]));
        fs::write(path.join("mine"), "").unwrap();
        tables.put(&layers[2], |out| out.write_all(&[8; 100])).unwrap();
        let left: Vec<_> = tables.entries().unwrap().into_iter().map(|entry| entry.layer).collect();
        assert_eq!(left, [layers[2], layers[0]]);
        assert_eq!(layers.map(|layer| tables.get(&layer).is_some()), [true, false, true]);
        tables.put(&layers[1], |out| out.write_all(&[0; 300])).unwrap();
        assert!(tables.put(&layers[1], |_| Err(io::ErrorKind::Other.into())).is_err());
        assert_eq!(read(&tables, &layers[1]), None, "more than all may have");
        // Another process sees them, and counts them.
        assert_eq!(Tables::new(&path, 150).collect().unwrap(), crate::Freed { entries: 1, bytes: 100 });
        tables.remove(&layers[2]);
        assert_eq!(tables.clear().unwrap(), crate::Freed::default());
        assert_eq!(fs::read_dir(&path).unwrap().count(), 1);
    }
}
