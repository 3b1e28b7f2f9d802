//! What is in a file: small ones as a whole, blobs as a stream.

use std::fs::File;
use std::io::Read;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::try_unfold;
use oci::Descriptor;
use store::ByteStream;

use crate::error::Error;

/// How much of a blob is read at a time, in bytes.
pub(crate) const PIECE: u64 = 256 << 10;

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

/// A blob's bytes of `range`, read on threads that may wait for the disk.
pub(crate) fn stream(file: File, path: PathBuf, blob: &Descriptor, range: Range<u64>) -> ByteStream {
    let doing: Arc<str> = format!("reading blob {}", blob.digest).into();
    let source = Arc::new((file, path));
    try_unfold(range, move |range| {
        let (doing, source) = (Arc::clone(&doing), Arc::clone(&source));
        async move {
            if range.is_empty() {
                return Ok(None);
            }
            let piece = range.start..range.end.min(range.start.saturating_add(PIECE));
            let rest = piece.end..range.end;
            let reading = tokio::task::spawn_blocking(move || {
                let (file, path) = &*source;
                read(file, path, piece)
            });
            let bytes = reading.await.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
            Ok(Some((bytes.map_err(|error| error.doing(&*doing))?, rest)))
        }
    })
    .boxed()
}

/// Bytes of a file, all of which have to be there.
fn read(file: &File, path: &Path, piece: Range<u64>) -> Result<Bytes, Error> {
    // A piece is small.
    let mut bytes = vec![0; usize::try_from(piece.end - piece.start).unwrap_or_default()];
    match file.read_exact_at(&mut bytes, piece.start) {
        Ok(()) => Ok(bytes.into()),
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
            let found = file.metadata().map_err(|error| Error::io(path, error))?.len();
            Err(Error::Length { path: path.to_owned(), found, expected: piece.end })
        }
        Err(error) => Err(Error::io(path, error)),
    }
}
