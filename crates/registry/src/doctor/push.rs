//! What pushing takes, as far as it shows without a push: an upload that is begun and given up.

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, RANGE};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use oci::{Algorithm, Digest};
use url::Url;

use super::finding::{Facts, Oddity, Outcome, Probe};
use super::{Chart, door, failed, good};
use crate::RegistryStore;
use crate::challenge::Bearer;
use crate::error::Error;
use crate::exchange::Answer;
use crate::upload::location;

/// The least that a registry takes in one piece (distribution specification, "Pushing a blob in chunks").
const LEAST_CHUNK: &str = "oci-chunk-min-length";

/// How long a piece is that may have any length, in bytes.
const PIECE: u64 = 16;

/// A longer piece is not worth sending, in bytes.
const LONGEST: u64 = 1 << 20;

/// No manifest is this text, so none has its digest.
const NO_MANIFEST: &[u8] = b"hoist doctor: no manifest has this digest";

/// `known` is a blob that the repository has.
pub(super) async fn examine(
    store: &RegistryStore,
    bearer: Option<&Bearer>,
    known: Option<&Digest>,
    chart: &mut Chart<'_>,
) {
    let store = store.clone().for_push(None);
    if let Some(bearer) = bearer {
        let token = door::token(&store.host, bearer, Some(store.repository.path()), &store.scopes).await;
        if !chart.note(Probe::PushToken, true, token) {
            return;
        }
    }
    let opened = async {
        let answer = post(&store, None).await?;
        Ok((session(&answer)?, least_chunk(&answer)))
    };
    let (location, least_chunk) = match opened.await {
        Ok(opened) => opened,
        Err(error) => {
            chart.note(Probe::Upload, true, failed(error));
            return;
        }
    };
    let elsewhere =
        (!store.host.is_own(&location)).then(|| location.host_str().unwrap_or_default().to_owned());
    chart.note(Probe::Upload, true, Outcome::Good(Facts::Upload { elsewhere, least_chunk }));
    let (outcome, location) = chunk(&store, location, least_chunk.unwrap_or(PIECE)).await;
    chart.note(Probe::Chunks, false, outcome);
    let cancelled = cancel(&store, location).await.map(|()| Facts::Cancelled {});
    chart.note(Probe::Cancel, false, good(cancelled));
    let mounted = match known {
        Some(blob) => mount(&store, blob).await,
        None => Outcome::Skipped("no blob is known here"),
    };
    chart.note(Probe::Mount, false, mounted);
    chart.note(Probe::Delete, false, delete(&store.for_delete()).await);
}

/// Asks for a session, or for a mount.
async fn post(store: &RegistryStore, query: Option<&str>) -> Result<Answer, Error> {
    let mut url = store.url("blobs/uploads/").await?;
    url.set_query(query);
    let headers = HeaderMap::from_iter([(CONTENT_LENGTH, HeaderValue::from_static("0"))]);
    store.send(Method::POST, url, headers, Bytes::new()).await
}

/// Where the session is that an answer opens.
fn session(answer: &Answer) -> Result<Url, Error> {
    let reason = "the answer has no Location to send the bytes to";
    location(&Method::POST, &answer.url, answer.response.headers())?
        .ok_or_else(|| Error::protocol(&Method::POST, &answer.url, reason))
}

fn least_chunk(answer: &Answer) -> Option<u64> {
    answer.response.headers().get(LEAST_CHUNK)?.to_str().ok()?.trim().parse().ok()
}

/// Sends a piece and asks how far the session got; where the session is now.
async fn chunk(store: &RegistryStore, mut at: Url, length: u64) -> (Outcome, Url) {
    if length > LONGEST {
        return (Outcome::Skipped("the least piece is too long to try"), at);
    }
    let patched = async {
        let range = format!("0-{}", length - 1);
        let headers = HeaderMap::from_iter([
            (CONTENT_TYPE, HeaderValue::from_static("application/octet-stream")),
            // Digits and a hyphen make a header value.
            (CONTENT_RANGE, HeaderValue::from_str(&range).expect("a range is plain ASCII")),
        ]);
        let piece = Bytes::from(vec![0; usize::try_from(length).unwrap_or_default()]);
        let answer = store.send(Method::PATCH, at.clone(), headers, piece).await?;
        location(&Method::PATCH, &answer.url, answer.response.headers())
    };
    match patched.await {
        Err(error) => return (failed(error), at),
        Ok(moved) => at = moved.unwrap_or(at),
    }
    let asked = store.send(Method::GET, at.clone(), HeaderMap::new(), Bytes::new()).await;
    let kept = asked.ok().and_then(|answer| {
        let range = answer.response.headers().get(RANGE)?.to_str().ok()?;
        let (_, last) = range.rsplit_once('-')?;
        last.trim().parse::<u64>().ok()?.checked_add(1)
    });
    let facts = Facts::Chunks { sent: length, kept };
    let outcome =
        if kept == Some(length) { Outcome::Good(facts) } else { Outcome::Odd(facts, Oddity::NoProgress) };
    (outcome, at)
}

async fn cancel(store: &RegistryStore, session: Url) -> Result<(), Error> {
    store.send(Method::DELETE, session, HeaderMap::new(), Bytes::new()).await.map(|_| ())
}

/// Has a blob mounted that the repository has already, which changes nothing.
async fn mount(store: &RegistryStore, blob: &Digest) -> Outcome {
    let mounted = async {
        let query = format!("mount={blob}&from={}", store.repository.path());
        let answer = post(store, Some(&query)).await?;
        if answer.response.status() == StatusCode::CREATED {
            return Ok(true);
        }
        cancel(store, session(&answer)?).await?;
        Ok(false)
    };
    match mounted.await {
        Ok(true) => Outcome::Good(Facts::Mount { mounted: true }),
        Ok(false) => Outcome::Odd(Facts::Mount { mounted: false }, Oddity::NoMount),
        Err(error) => failed(error),
    }
}

/// Deletes what does not exist: whoever may delete is told that it is not there.
async fn delete(store: &RegistryStore) -> Outcome {
    let nothing = Algorithm::Sha256.digest(NO_MANIFEST);
    let answer = async {
        let url = store.url(&format!("manifests/{nothing}")).await?;
        store.send(Method::DELETE, url, HeaderMap::new(), Bytes::new()).await
    };
    let facts = |status: StatusCode| Facts::Delete { status: status.as_u16() };
    match answer.await {
        Ok(answer) => Outcome::Good(facts(answer.response.status())),
        Err(Error::Status(error)) if error.status == StatusCode::NOT_FOUND => {
            Outcome::Good(facts(error.status))
        }
        Err(Error::Status(error)) if error.status.is_client_error() => {
            Outcome::Odd(facts(error.status), Oddity::NoDelete)
        }
        Err(error) => failed(error),
    }
}
