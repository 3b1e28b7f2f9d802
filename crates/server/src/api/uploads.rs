//! `/v2/<name>/blobs/uploads/`: how blobs come in.

use std::future::Future;
use std::pin::{Pin, pin};

use bytes::Bytes;
use http::StatusCode;
use http::header::{CONTENT_RANGE, HeaderName, LOCATION, RANGE};
use oci::{Algorithm, Digest};
use tokio::task::{JoinHandle, spawn_blocking};
use uuid::Uuid;

use super::{Answer, Call, Fault, unroutable};
use crate::Error;
use crate::body::RequestBody;
use crate::name::RepositoryName;
use crate::range::{Chunk, chunk};
use crate::route::parse_digest;
use crate::storage::Writer;

/// Docker's name for the session, which some clients show.
const UPLOAD_UUID: HeaderName = HeaderName::from_static("docker-upload-uuid");

/// So much is gathered before it is written: few changes of thread, and little memory.
const BATCH_BYTES: usize = 512 * 1024;

/// Tiny pieces cost more than their bytes.
const BATCH_PIECES: usize = 1024;

/// Begins an upload; or mounts a blob; or takes a whole one.
pub(super) async fn begin(call: &mut Call, name: RepositoryName) -> Result<Answer, Fault> {
    if let Some(digest) = digest_of(call, "mount")?
        && mount(call, &name, digest).await?
    {
        return Ok(created(&name, digest));
    }
    if let Some(digest) = digest_of(call, "digest")? {
        return push(call, name, digest).await;
    }
    let algorithm = match call.query().get("digest-algorithm").as_deref() {
        None | Some("sha256") => Algorithm::Sha256,
        Some("sha512") => Algorithm::Sha512,
        Some(other) => {
            return Err(Fault::bad("DIGEST_INVALID", format!("unknown digest algorithm {other:?}")));
        }
    };
    let repository = name.clone();
    let id = call.storage.run(move |storage| storage.begin_upload(&repository, algorithm)).await?;
    Ok(accepted(&name, id, 0))
}

/// Mounting is an offer: where it cannot be done, the upload begins as usual.
async fn mount(call: &Call, name: &RepositoryName, digest: Digest) -> Result<bool, Fault> {
    let from = match call.query().get("from") {
        None => None,
        Some(from) => match from.parse::<RepositoryName>() {
            Ok(from) => Some(from),
            Err(_) => return Ok(false),
        },
    };
    let name = name.clone();
    Ok(call.storage.run(move |storage| storage.mount_blob(&name, digest, from.as_ref())).await?)
}

/// A whole blob in one request: nobody knows the session, so it ends with the request.
async fn push(call: &mut Call, name: RepositoryName, digest: Digest) -> Result<Answer, Fault> {
    let repository = name.clone();
    let id = call.storage.run(move |storage| storage.begin_upload(&repository, digest.algorithm())).await?;
    let Some(writer) = call.storage.open_upload(&name, id).await? else { return Err(unknown(&name, id)) };
    match receive(&mut call.body, writer, None).await? {
        (writer, Ok(())) => commit(writer, &name, digest).await,
        (writer, Err(fault)) => {
            call.storage.run(move |_| writer.discard()).await?;
            Err(fault)
        }
    }
}

/// Tells how far an upload got.
pub(super) async fn status(call: &Call, name: RepositoryName, id: Uuid) -> Result<Answer, Fault> {
    let repository = name.clone();
    let length = call.storage.run(move |storage| Ok(storage.upload_length(&repository, id))).await?;
    let length = length.ok_or_else(|| unknown(&name, id))?;
    let answer = Answer::new(StatusCode::NO_CONTENT)
        .location(&location(&name, id))
        .header(UPLOAD_UUID, &id.to_string());
    // "0-0" would be one byte.
    Ok(if length == 0 { answer } else { answer.header(RANGE, &range(length)) })
}

/// Takes the next bytes of an upload.
pub(super) async fn append(call: &mut Call, name: RepositoryName, id: Uuid) -> Result<Answer, Fault> {
    let (writer, chunk) = open(call, &name, id).await?;
    let (writer, received) = receive(&mut call.body, writer, chunk.map(|chunk| chunk.length)).await?;
    received?;
    Ok(accepted(&name, id, writer.length()))
}

/// Takes the last bytes of an upload, if there are any left, and makes it a blob.
pub(super) async fn finish(call: &mut Call, name: RepositoryName, id: Uuid) -> Result<Answer, Fault> {
    let digest = digest_of(call, "digest")?
        .ok_or_else(|| Fault::bad("DIGEST_INVALID", "the digest of the blob is missing from the query"))?;
    let (writer, chunk) = open(call, &name, id).await?;
    let (writer, received) = receive(&mut call.body, writer, chunk.map(|chunk| chunk.length)).await?;
    received?;
    commit(writer, &name, digest).await
}

/// Ends an upload; what came is dropped.
pub(super) async fn cancel(call: &Call, name: RepositoryName, id: Uuid) -> Result<Answer, Fault> {
    let writer = call.storage.open_upload(&name, id).await?.ok_or_else(|| unknown(&name, id))?;
    call.storage.run(move |_| writer.discard()).await?;
    Ok(Answer::new(StatusCode::NO_CONTENT))
}

/// Opens a session for the bytes of a request, if they are the next ones.
async fn open(call: &Call, name: &RepositoryName, id: Uuid) -> Result<(Writer, Option<Chunk>), Fault> {
    let chunk = match call.header(CONTENT_RANGE) {
        None => None,
        Some(header) => Some(chunk(header).ok_or_else(|| {
            Fault::bad("BLOB_UPLOAD_INVALID", format!("Content-Range {header:?} is not first-last"))
        })?),
    };
    if let (Some(chunk), Some(announced)) = (chunk, call.body.announced())
        && chunk.length != announced
    {
        let message = format!("Content-Range has {} bytes and the body {announced}", chunk.length);
        return Err(Fault::bad("SIZE_INVALID", message));
    }
    let writer = call.storage.open_upload(name, id).await?.ok_or_else(|| unknown(name, id))?;
    let length = writer.length();
    if let Some(chunk) = chunk
        && chunk.start != length
    {
        let message = format!("the upload has {length} bytes and goes on there, not at {}", chunk.start);
        let fault = Fault::new(StatusCode::RANGE_NOT_SATISFIABLE, "BLOB_UPLOAD_INVALID", message)
            .header(LOCATION, location(name, id))
            .header(UPLOAD_UUID, id.to_string());
        return Err(if length == 0 { fault } else { fault.header(RANGE, range(length)) });
    }
    Ok((writer, chunk))
}

type Writing = JoinHandle<(Writer, Result<(), Error>)>;

/// Writes the body of a request behind what the session has, hashing it: one batch goes to the disk while the next one
/// comes in. All that came is written, also when the rest does not come; the inner result says whether it did.
async fn receive(
    body: &mut RequestBody,
    writer: Writer,
    announced: Option<u64>,
) -> Result<(Writer, Result<(), Fault>), Fault> {
    let mut wanted = pin!(writer.wanted());
    let mut left = announced;
    let mut writing = on_disk(writer, |writer| writer.prepare(None));
    loop {
        let (batch, end) = gather(body, &mut left, wanted.as_mut()).await;
        let (writer, result) = writing.await.map_err(|_| given_up())?;
        if let Err(error) = result {
            return Ok((writer, Err(error.into())));
        }
        writing = on_disk(writer, move |writer| writer.append(&batch));
        if let Some(end) = end {
            let (writer, result) = writing.await.map_err(|_| given_up())?;
            return Ok((writer, result.map_err(Fault::from).and(end)));
        }
    }
}

fn on_disk(
    mut writer: Writer,
    work: impl FnOnce(&mut Writer) -> Result<(), Error> + Send + 'static,
) -> Writing {
    spawn_blocking(move || {
        let result = work(&mut writer);
        (writer, result)
    })
}

/// Takes pieces of the body until they are worth writing, and tells how it ended if it did.
async fn gather(
    body: &mut RequestBody,
    left: &mut Option<u64>,
    mut wanted: Pin<&mut impl Future<Output = ()>>,
) -> (Vec<Bytes>, Option<Result<(), Fault>>) {
    let mut batch = Vec::new();
    let mut size = 0;
    while size < BATCH_BYTES && batch.len() < BATCH_PIECES {
        let next = tokio::select! {
            biased;
            () = wanted.as_mut() => return (batch, Some(Err(superseded()))),
            next = body.next() => next,
        };
        let mut piece = match next {
            Ok(Some(piece)) => piece,
            Ok(None) if left.is_some_and(|left| left > 0) => {
                return (
                    batch,
                    Some(Err(Fault::bad("SIZE_INVALID", "the body is shorter than Content-Range says"))),
                );
            }
            Ok(None) => return (batch, Some(Ok(()))),
            Err(cut) => return (batch, Some(Err(cut.into()))),
        };
        if let Some(left) = left {
            let room = usize::try_from(*left).unwrap_or(usize::MAX);
            if piece.len() > room {
                piece.truncate(room);
                batch.push(piece);
                *left = 0;
                return (
                    batch,
                    Some(Err(Fault::bad("SIZE_INVALID", "the body is longer than Content-Range says"))),
                );
            }
            *left -= piece.len() as u64;
        }
        size += piece.len();
        batch.push(piece);
    }
    (batch, None)
}

async fn commit(writer: Writer, name: &RepositoryName, digest: Digest) -> Result<Answer, Fault> {
    let finished = spawn_blocking(move || writer.finish(digest)).await.map_err(|_| given_up())??;
    match finished {
        Ok(()) => Ok(created(name, digest)),
        Err(found) => Err(Fault::bad(
            "DIGEST_INVALID",
            format!("digest mismatch: expected {digest}, the content is {found}"),
        )),
    }
}

/// The digest that a parameter of the query gives.
fn digest_of(call: &Call, parameter: &str) -> Result<Option<Digest>, Fault> {
    let digest = call.query().get(parameter).map(|text| parse_digest(&text)).transpose();
    digest.map_err(|error| unroutable(&error, &call.parts.method))
}

fn accepted(name: &RepositoryName, id: Uuid, length: u64) -> Answer {
    Answer::new(StatusCode::ACCEPTED)
        .location(&location(name, id))
        .header(RANGE, &range(length))
        .header(UPLOAD_UUID, &id.to_string())
}

fn created(name: &RepositoryName, digest: Digest) -> Answer {
    Answer::new(StatusCode::CREATED).location(&format!("/v2/{name}/blobs/{digest}")).digest(digest)
}

fn location(name: &RepositoryName, id: Uuid) -> String {
    format!("/v2/{name}/blobs/uploads/{id}")
}

/// The bytes that a session has, first to last. Docker's client insists on the header, so nothing is "0-0" too.
fn range(length: u64) -> String {
    format!("0-{}", length.saturating_sub(1))
}

/// A blocking thread ended early.
fn given_up() -> Fault {
    Fault::new(StatusCode::INTERNAL_SERVER_ERROR, "UNKNOWN", "the upload was given up")
}

fn superseded() -> Fault {
    Fault::new(StatusCode::CONFLICT, "BLOB_UPLOAD_INVALID", "another request goes on with this upload")
}

fn unknown(name: &RepositoryName, id: Uuid) -> Fault {
    Fault::not_found("BLOB_UPLOAD_UNKNOWN", format!("repository {name} has no upload session {id}"))
}
