//! `/v2/<name>/manifests/<reference>`.

use std::collections::BTreeSet;

use http::StatusCode;
use http::header::{CONTENT_TYPE, HeaderName};
use oci::{Digest, Selector, Tag};
use serde_json::json;

use super::answer::etag;
use super::document::{inspect, subject};
use super::{Answer, Call, Fault, is_known, unroutable};
use crate::body::Content;
use crate::name::RepositoryName;
use crate::route::parse_tag;

/// The largest manifest that is taken (distribution specification, "Pushing Manifests", asks for this much at least).
const MAX_MANIFEST: usize = 4 * 1024 * 1024;

/// Tells the client of a manifest with a subject that the list of referrers is kept by the server.
const OCI_SUBJECT: HeaderName = HeaderName::from_static("oci-subject");

/// Tells which tags of the query were set.
const OCI_TAG: HeaderName = HeaderName::from_static("oci-tag");

/// Serves a manifest exactly as it was pushed, whatever the client would rather have.
pub(super) async fn get(call: &Call, name: RepositoryName, selector: Selector) -> Result<Answer, Fault> {
    let (repository, reference) = (name.clone(), selector.clone());
    let (manifest, there) = call
        .storage
        .run(move |storage| {
            Ok((storage.manifest(&repository, &reference)?, storage.has_repository(&repository)))
        })
        .await?;
    let Some(manifest) = manifest else {
        return Err(if there { unknown(&name, &selector) } else { Fault::no_repository(&name) });
    };
    if is_known(&call.parts.headers, &etag(manifest.digest)) {
        return Ok(Answer::new(StatusCode::NOT_MODIFIED).digest(manifest.digest));
    }
    Ok(Answer::new(StatusCode::OK)
        .content(&manifest.media_type, Content::Bytes(manifest.raw))
        .digest(manifest.digest))
}

/// Stores a manifest under its digest, and under a tag where one is given.
pub(super) async fn put(call: &mut Call, name: RepositoryName, selector: Selector) -> Result<Answer, Fault> {
    let tags = tags(call, &selector)?;
    let Some(raw) = call.body.collect(MAX_MANIFEST).await? else {
        return Err(Fault::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "SIZE_INVALID",
            format!("a manifest has at most {MAX_MANIFEST} bytes"),
        ));
    };
    let manifest = inspect(raw, call.header(CONTENT_TYPE), &selector)?;
    let (repository, set) = (name.clone(), tags.clone());
    let (manifest, missing) = call
        .storage
        .run(move |storage| {
            let missing = storage.put_manifest(&repository, &manifest, &set)?;
            Ok((manifest, missing))
        })
        .await?;
    if let Some(first) = missing.first() {
        let message = format!("repository {name} lacks {first}, which the manifest refers to");
        let detail: Vec<_> = missing.iter().map(|digest| json!({ "digest": digest })).collect();
        return Err(Fault::bad("MANIFEST_BLOB_UNKNOWN", message).detail(detail.into()));
    }
    let mut answer = Answer::new(StatusCode::CREATED)
        .location(&format!("/v2/{name}/manifests/{}", manifest.digest))
        .digest(manifest.digest);
    if let Some(referrer) = manifest.referrer {
        answer = answer.header(OCI_SUBJECT, &referrer.subject.to_string());
    }
    if matches!(selector, Selector::Digest(_)) {
        for tag in tags {
            answer = answer.header(OCI_TAG, tag.as_str());
        }
    }
    Ok(answer)
}

/// The tags to set: the one in the path, or those in the query of a push by digest.
fn tags(call: &Call, selector: &Selector) -> Result<Vec<Tag>, Fault> {
    match selector {
        Selector::Tag(tag) => Ok(vec![tag.clone()]),
        Selector::Digest(_) => {
            let tags: Result<BTreeSet<Tag>, _> = call.query().all("tag").map(|tag| parse_tag(&tag)).collect();
            tags.map(|tags| tags.into_iter().collect())
                .map_err(|error| unroutable(&error, &call.parts.method))
        }
    }
}

/// Removes a tag, or a manifest with all its tags.
pub(super) async fn delete(call: &Call, name: RepositoryName, selector: Selector) -> Result<Answer, Fault> {
    let (repository, reference) = (name.clone(), selector.clone());
    let (deleted, there) = call
        .storage
        .run(move |storage| {
            let deleted = match reference {
                Selector::Tag(tag) => storage.delete_tag(&repository, &tag)?,
                Selector::Digest(digest) => delete_manifest(storage, &repository, digest)?,
            };
            Ok((deleted, storage.has_repository(&repository)))
        })
        .await?;
    match (deleted, there) {
        (true, _) => Ok(Answer::new(StatusCode::ACCEPTED)),
        (false, true) => Err(unknown(&name, &selector)),
        (false, false) => Err(Fault::no_repository(&name)),
    }
}

fn delete_manifest(
    storage: &crate::Storage,
    name: &RepositoryName,
    digest: Digest,
) -> Result<bool, crate::Error> {
    let Some(manifest) = storage.manifest(name, &digest.into())? else { return Ok(false) };
    storage.delete_manifest(name, digest, subject(manifest.raw, &manifest.media_type))
}

fn unknown(name: &RepositoryName, selector: &Selector) -> Fault {
    Fault::not_found("MANIFEST_UNKNOWN", format!("repository {name} has no manifest {selector}"))
}
