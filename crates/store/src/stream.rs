//! Streams of a blob's bytes.

use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures_util::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt};
use oci::{Descriptor, Verifier, VerifyError};

use crate::Error;

/// A blob's bytes, in pieces of whatever length they came in.
pub type ByteStream = BoxStream<'static, Result<Bytes, Error>>;

/// How much is read at a time of what lies on this machine, in bytes.
pub const PIECE: u64 = 256 << 10;

/// The bytes of `range`, which `read` reads piece by piece, on threads that may wait for the disk.
pub fn pieces(
    range: Range<u64>,
    read: impl Fn(Range<u64>) -> Result<Bytes, Error> + Send + Sync + 'static,
) -> ByteStream {
    let read = Arc::new(read);
    futures_util::stream::try_unfold(range, move |range| {
        let read = Arc::clone(&read);
        async move {
            if range.is_empty() {
                return Ok(None);
            }
            let piece = range.start..range.end.min(range.start.saturating_add(PIECE));
            let rest = piece.end..range.end;
            let reading = tokio::task::spawn_blocking(move || read(piece));
            let bytes =
                reading.await.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))?;
            Ok(Some((bytes, rest)))
        }
    })
    .boxed()
}

/// The bytes of `range` of a file; `doing` is what errors say.
pub fn file_pieces(file: Arc<File>, range: Range<u64>, doing: String) -> ByteStream {
    pieces(range, move |piece| {
        // A piece is small.
        let mut bytes = vec![0; usize::try_from(piece.end - piece.start).unwrap_or_default()];
        file.read_exact_at(&mut bytes, piece.start)
            .map_err(|error| Error::new(crate::Kind::Other, &*doing, error))?;
        Ok(bytes.into())
    })
}

/// Checks a whole blob's bytes while they pass. The last piece is handed on only when all bytes proved right, so
/// whoever waits for the whole never gets a wrong one.
pub fn verified(stream: ByteStream, blob: &Descriptor) -> ByteStream {
    let doing = format!("reading blob {}", blob.digest);
    let state = (stream, Some(Verifier::new(blob)));
    futures_util::stream::try_unfold(state, move |(mut stream, verifier)| {
        let doing = doing.clone();
        async move {
            // Without a verifier the last piece has been handed on.
            let Some(mut verifier) = verifier else { return Ok(None) };
            let fail = |error: VerifyError| Error::verify(doing, error);
            match stream.next().await {
                None => verifier.finish().map(|()| None).map_err(fail),
                Some(Err(error)) => Err(error),
                Some(Ok(bytes)) => {
                    if let Err(error) = verifier.update(&bytes) {
                        return Err(fail(error));
                    }
                    if verifier.remaining() > 0 || bytes.is_empty() {
                        return Ok(Some((bytes, (stream, Some(verifier)))));
                    }
                    verifier.finish().map_err(fail)?;
                    Ok(Some((bytes, (stream, None))))
                }
            }
        }
    })
    .boxed()
}

/// Reads a small blob, such as a config, into memory: at most `limit` bytes.
///
/// # Errors
/// Those of the stream, and [`Kind::Invalid`](crate::Kind::Invalid) if the blob is larger than `limit`.
pub async fn collect(stream: ByteStream, blob: &Descriptor, limit: u64) -> Result<Bytes, Error> {
    if blob.size > limit {
        return Err(Error::new(
            crate::Kind::Invalid,
            format!("reading blob {}", blob.digest),
            format!("it has {} bytes, more than the {limit} that are read into memory", blob.size),
        ));
    }
    let all = verified(stream, blob)
        .try_fold(BytesMut::new(), |mut all, bytes| {
            all.extend_from_slice(&bytes);
            std::future::ready(Ok(all))
        })
        .await?;
    Ok(all.freeze())
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use oci::{Algorithm, MediaType};

    use super::*;

    fn parts(parts: &[&'static [u8]]) -> ByteStream {
        let pieces: Vec<_> = parts.iter().map(|piece| Ok(Bytes::from_static(piece))).collect();
        futures_util::stream::iter(pieces).boxed()
    }

    fn read(blob: &Descriptor, passed: &[&'static [u8]]) -> (Vec<u8>, Option<String>) {
        let mut stream = verified(parts(passed), blob);
        let mut read = Vec::new();
        loop {
            match stream.next().now_or_never().unwrap() {
                Some(Ok(bytes)) => read.extend_from_slice(&bytes),
                Some(Err(error)) => return (read, Some(error.to_string())),
                None => return (read, None),
            }
        }
    }

    #[test]
    fn the_last_piece_of_wrong_content_never_passes() {
        let blob = Descriptor::of(MediaType::OCTET_STREAM, Algorithm::Sha256, b"content");
        assert_eq!(read(&blob, &[b"con", b"tent"]), (b"content".to_vec(), None));
        let (passed, error) = read(&blob, &[b"con", b"tenT"]);
        assert_eq!(passed, b"con");
        assert!(error.unwrap().contains("digest mismatch"));
        assert!(read(&blob, &[b"con"]).1.unwrap().contains("ended after 3 of 7 bytes"));
        assert!(read(&blob, &[b"content", b""]).1.is_none());
        assert!(read(&blob, &[b"content!"]).1.unwrap().contains("more than the 7 bytes"));
    }

    #[test]
    fn empty_blobs_are_verified() {
        let blob = Descriptor::of(MediaType::OCTET_STREAM, Algorithm::Sha256, b"");
        assert_eq!(read(&blob, &[]), (Vec::new(), None));
        let wrong =
            Descriptor { size: 0, ..Descriptor::of(MediaType::OCTET_STREAM, Algorithm::Sha256, b"x") };
        assert!(read(&wrong, &[]).1.unwrap().contains("digest mismatch"));
    }

    #[test]
    fn memory_is_bounded() {
        let blob = Descriptor::of(MediaType::OCTET_STREAM, Algorithm::Sha256, b"content");
        let collected = |limit| collect(parts(&[b"content"]), &blob, limit).now_or_never().unwrap();
        assert_eq!(collected(7).unwrap(), "content");
        assert!(collected(6).unwrap_err().to_string().contains("more than the 6"));
    }
}
