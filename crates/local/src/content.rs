//! What is in a file, or in a part of one: small contents as a whole, blobs as a stream.

use std::fs::File;
use std::io::Read;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use oci::{Algorithm, Descriptor, Digest};
use store::{ByteStream, Error as StoreError, PIECE};

use crate::error::Error;

/// Reads a small file as a whole.
pub(crate) fn whole(file: &mut File, path: &Path, limit: u64) -> Result<Vec<u8>, Error> {
    let failed = |error| Error::io(path, error);
    let size = file.metadata().map_err(failed)?.len();
    let mut bytes = Vec::new();
    if size <= limit {
        // It may have grown since.
        file.take(limit + 1).read_to_end(&mut bytes).map_err(failed)?;
    }
    let size = size.max(bytes.len() as u64);
    if size > limit { Err(Error::TooLarge { path: path.to_owned(), size, limit }) } else { Ok(bytes) }
}

/// A blob's bytes of `range`, wherever it was looked for.
pub(crate) fn read(
    found: Result<Extent, Error>,
    blob: &Descriptor,
    range: Range<u64>,
) -> Result<ByteStream, StoreError> {
    let content = found.and_then(|content| content.expect_length(blob.size));
    let content = content.map_err(|error| error.doing(format!("reading blob {}", blob.digest)))?;
    Ok(content.stream(blob, range.start..range.end.min(blob.size)))
}

/// The file that holds a blob alone, wherever it was looked for.
pub(crate) fn file(found: Result<Extent, Error>, blob: &Descriptor) -> Option<Arc<File>> {
    // What is wrong with it is told by whoever reads it.
    let found = found.ok()?.expect_length(blob.size).ok()?;
    let whole = found.at == 0 && found.file.metadata().is_ok_and(|file| file.len() == blob.size);
    whole.then_some(found.file)
}

/// A content that lies in a file.
#[derive(Clone, Debug)]
pub(crate) struct Extent {
    pub(crate) file: Arc<File>,
    /// What messages call it.
    pub(crate) path: PathBuf,
    /// The file's byte that it begins with.
    pub(crate) at: u64,
    /// Its length in bytes.
    pub(crate) length: u64,
}

impl Extent {
    /// All of a file.
    pub(crate) fn of(file: File, path: PathBuf) -> Result<Self, Error> {
        let length = file.metadata().map_err(|error| Error::io(&path, error))?.len();
        Ok(Self { file: Arc::new(file), path, at: 0, length })
    }

    /// Makes sure of its length.
    fn expect_length(self, expected: u64) -> Result<Self, Error> {
        let found = self.length;
        if found == expected { Ok(self) } else { Err(Error::Length { path: self.path, found, expected }) }
    }

    /// All of it, if it is not more than `limit` bytes.
    pub(crate) fn whole(&self, limit: u64) -> Result<Vec<u8>, Error> {
        if self.length > limit {
            return Err(Error::TooLarge { path: self.path.clone(), size: self.length, limit });
        }
        self.read(0..self.length)
    }

    /// Some of its bytes, all of which have to be there.
    pub(crate) fn read(&self, range: Range<u64>) -> Result<Vec<u8>, Error> {
        // Nobody reads much at once.
        let mut bytes = vec![0; usize::try_from(range.end - range.start).unwrap_or_default()];
        match self.file.read_exact_at(&mut bytes, self.at + range.start) {
            Ok(()) => Ok(bytes),
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
                let end = self.file.metadata().map_err(|error| Error::io(&self.path, error))?.len();
                let found = end.saturating_sub(self.at);
                Err(Error::Length { path: self.path.clone(), found, expected: self.length })
            }
            Err(error) => Err(Error::io(&self.path, error)),
        }
    }

    /// The digest of all of it.
    pub(crate) fn hash(&self, algorithm: Algorithm) -> Result<Digest, Error> {
        let mut hasher = algorithm.hasher();
        let mut at = 0;
        while at < self.length {
            let end = self.length.min(at + PIECE);
            hasher.update(&self.read(at..end)?);
            at = end;
        }
        Ok(hasher.finish())
    }

    /// Its bytes of `range` as those of a blob, read on threads that may wait for the disk.
    fn stream(self, blob: &Descriptor, range: Range<u64>) -> ByteStream {
        let doing = format!("reading blob {}", blob.digest);
        store::pieces(range, move |piece| {
            self.read(piece).map(Into::into).map_err(|error| error.doing(&*doing))
        })
    }
}
