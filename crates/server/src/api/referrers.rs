//! `/v2/<name>/referrers/<digest>`.

use http::StatusCode;
use http::header::HeaderName;
use oci::{Digest, MediaType};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Answer, Call, Fault};
use crate::Error;
use crate::body::Content;
use crate::name::RepositoryName;
use crate::page::{MAX_ENTRIES, Page, encode};
use crate::storage::Storage;

/// Tells that the server looked at `artifactType`.
const FILTERS_APPLIED: HeaderName = HeaderName::from_static("oci-filters-applied");

/// The document has to be one that a client accepts as a manifest, so it stays below 4 MiB by some distance.
const MAX_DOCUMENT: usize = 4 * 1024 * 1024 - 64 * 1024;

/// Lists what refers to a manifest: an empty list also for one that nobody knows.
pub(super) async fn list(call: &Call, name: RepositoryName, subject: Digest) -> Result<Answer, Fault> {
    let artifact_type =
        call.query().get("artifactType").map(String::from).filter(|filter| !filter.is_empty());
    let last = call.query().get("last").map(String::from);
    let (repository, filter) = (name.clone(), artifact_type.clone());
    let (descriptors, next) = call
        .storage
        .run(move |storage| collect(storage, &repository, subject, filter.as_deref(), last))
        .await?;
    let document = format!(
        r#"{{"schemaVersion":2,"mediaType":"{}","manifests":[{}]}}"#,
        MediaType::OCI_INDEX,
        descriptors.join(",")
    );
    let mut answer =
        Answer::new(StatusCode::OK).content(MediaType::OCI_INDEX.as_str(), Content::Bytes(document.into()));
    if artifact_type.is_some() {
        answer = answer.header(FILTERS_APPLIED, "artifactType");
    }
    if let Some(last) = next {
        let filter =
            artifact_type.map(|filter| format!("artifactType={}&", encode(&filter))).unwrap_or_default();
        answer = answer.next_page(&format!("/v2/{name}/referrers/{subject}?{filter}last={}", encode(&last)));
    }
    Ok(answer)
}

/// Descriptors for one answer, and the digest of the last one considered if there are more behind it.
fn collect(
    storage: &Storage,
    name: &RepositoryName,
    subject: Digest,
    artifact_type: Option<&str>,
    mut last: Option<String>,
) -> Result<(Vec<String>, Option<String>), Error> {
    let mut descriptors: Vec<String> = Vec::new();
    let mut length = 0;
    loop {
        let page = Page { limit: MAX_ENTRIES, last: last.clone() };
        let (referrers, more) = storage.referrers(name, subject, page)?;
        for (digest, descriptor) in referrers {
            if artifact_type.is_none_or(|wanted| is_of_type(&descriptor, wanted))
                && let Ok(descriptor) = String::from_utf8(descriptor)
            {
                if !descriptors.is_empty() && length + descriptor.len() > MAX_DOCUMENT {
                    return Ok((descriptors, last));
                }
                length += descriptor.len() + 1;
                descriptors.push(descriptor);
            }
            last = Some(digest);
        }
        if !more || descriptors.len() >= MAX_ENTRIES {
            return Ok((descriptors, last.filter(|_| more)));
        }
    }
}

#[derive(Deserialize)]
struct Typed<'a> {
    #[serde(rename = "artifactType", borrow)]
    artifact_type: Option<&'a RawValue>,
}

fn is_of_type(descriptor: &[u8], wanted: &str) -> bool {
    let typed: Result<Typed<'_>, _> = serde_json::from_slice(descriptor);
    let artifact_type = typed.ok().and_then(|typed| typed.artifact_type);
    artifact_type
        .and_then(|raw| serde_json::from_str::<String>(raw.get()).ok())
        .is_some_and(|artifact_type| artifact_type == wanted)
}
