//! The file that an archive is read from: itself, or, where it cannot be read at any place, an unlinked temporary file.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, Write};
use std::path::Path;

use layer::{Compression, Decoder};

use crate::error::Error;

/// The most that an archive may take of temporary space, in bytes.
const LIMIT: u64 = 64 << 30;

/// How much is read at a time, in bytes.
const BUFFER: usize = 256 << 10;

/// A file that can be read at any place and is not compressed.
pub(super) fn open(path: &Path) -> Result<File, Error> {
    let failed = |error| Error::io(path, error);
    let file = File::open(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => Error::NoArchive(path.to_owned()),
        _ => failed(error),
    })?;
    let metadata = file.metadata().map_err(failed)?;
    if metadata.is_dir() {
        return Err(Error::archive(path, "it is a directory"));
    }
    let mut reader = BufReader::with_capacity(BUFFER, file);
    let compression = Compression::of(reader.fill_buf().map_err(failed)?);
    if metadata.is_file() && compression == Compression::None {
        let mut file = reader.into_inner();
        file.rewind().map_err(failed)?;
        return Ok(file);
    }
    spool(reader, path)
}

/// Keeps what comes in a temporary file, inflated.
pub(super) fn spool(reader: impl BufRead, path: &Path) -> Result<File, Error> {
    let mut file = tempfile::tempfile().map_err(|error| Error::io(std::env::temp_dir(), error))?;
    let broken = |error: io::Error| match error.raw_os_error() {
        Some(_) => Error::io(path, error),
        None => Error::archive(path, format!("it could not be inflated: {error}")),
    };
    let mut decoder = Decoder::new(reader).map_err(broken)?;
    let (mut length, mut buffer) = (0, vec![0; BUFFER]);
    loop {
        let read = match decoder.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(broken(error)),
        };
        length += read as u64;
        if length > LIMIT {
            return Err(Error::TooLarge { path: path.to_owned(), size: length, limit: LIMIT });
        }
        file.write_all(&buffer[..read]).map_err(|error| Error::io(std::env::temp_dir(), error))?;
    }
    file.rewind().map_err(|error| Error::io(path, error))?;
    Ok(file)
}
