//! `/v2/<name>/blobs/<digest>`.

use http::Method;
use http::StatusCode;
use http::header::{ACCEPT_RANGES, CONTENT_RANGE, IF_RANGE, RANGE};
use oci::Digest;

use super::answer::etag;
use super::{Answer, Call, Fault, is_known};
use crate::body::Content;
use crate::name::RepositoryName;
use crate::range::{Part, select};

/// Serves a blob or a part of it.
pub(super) async fn get(call: &Call, name: RepositoryName, digest: Digest) -> Result<Answer, Fault> {
    let repository = name.clone();
    let opened = call.storage.run(move |storage| storage.open_blob(&repository, digest)).await?;
    let Some((file, size)) = opened else { return Err(unknown(&name, digest)) };
    let etag = etag(digest);
    if is_known(&call.parts.headers, &etag) {
        return Ok(Answer::new(StatusCode::NOT_MODIFIED).digest(digest));
    }
    // Ranges belong to GET (RFC 9110, section 14.2); with If-Range only to the content that the client knows.
    let asked = call
        .header(RANGE)
        .filter(|_| call.parts.method == Method::GET)
        .filter(|_| call.header(IF_RANGE).is_none_or(|known| known == etag));
    let part = asked.map_or(Part::Whole, |range| select(range, size));
    let (status, start, end) = match part {
        Part::Whole => (StatusCode::OK, 0, size),
        Part::Bytes { start, end } => (StatusCode::PARTIAL_CONTENT, start, end),
        Part::Unsatisfiable => {
            let message = format!("the blob has {size} bytes");
            return Err(Fault::new(StatusCode::RANGE_NOT_SATISFIABLE, "RANGE_INVALID", message)
                .header(CONTENT_RANGE, format!("bytes */{size}")));
        }
    };
    let answer = Answer::new(status)
        .content("application/octet-stream", Content::File { file, start, end })
        .header(ACCEPT_RANGES, "bytes")
        .digest(digest);
    Ok(match part {
        Part::Bytes { start, end } => {
            answer.header(CONTENT_RANGE, &format!("bytes {start}-{}/{size}", end - 1))
        }
        _ => answer,
    })
}

/// Takes a blob from the repository.
pub(super) async fn delete(call: &Call, name: RepositoryName, digest: Digest) -> Result<Answer, Fault> {
    let repository = name.clone();
    let deleted = call.storage.run(move |storage| storage.delete_blob(&repository, digest)).await?;
    if deleted { Ok(Answer::new(StatusCode::ACCEPTED)) } else { Err(unknown(&name, digest)) }
}

fn unknown(name: &RepositoryName, digest: Digest) -> Fault {
    Fault::not_found("BLOB_UNKNOWN", format!("repository {name} has no blob {digest}"))
}
