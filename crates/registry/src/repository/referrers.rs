//! What refers to a manifest (distribution specification, "Listing Referrers").

use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::stream::{BoxStream, try_unfold};
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method};
use oci::{Descriptor, Digest, MediaType};
use serde::Deserialize;
use store::Error as StoreError;
use url::Url;

use super::RegistryStore;
use crate::error::Error;
use crate::exchange::Document;
use crate::pages::{Page, Pages};

/// Names what a registry filtered by.
const FILTERS_APPLIED: &str = "oci-filters-applied";

/// Some of the manifests that refer to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Referrers {
    /// How they were found.
    pub source: ReferrersSource,
    /// Their descriptors, with artifact type and annotations.
    pub descriptors: Vec<Descriptor>,
}

/// How a registry tells what refers to a manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReferrersSource {
    /// It keeps the list itself.
    Api,
    /// Clients keep it as an index behind a tag that stands for the digest (distribution specification, "Referrers Tag
    /// Schema"). There may be manifests that no client has entered.
    Tag,
}

type Pending = BoxStream<'static, Result<Result<Vec<Descriptor>, Error>, Error>>;

/// What comes next.
enum State {
    First(Pending),
    More(Pending),
    End,
}

impl RegistryStore {
    /// The manifests whose subject is `subject`, page by page, and how they were found; of one artifact type if that is
    /// asked for. There is one page at least. [`Store::referrers`](store::Store::referrers) leaves out the second part.
    pub fn find_referrers<'a>(
        &'a self,
        subject: &'a Digest,
        artifact_type: Option<&'a str>,
    ) -> BoxStream<'a, Result<Referrers, StoreError>> {
        let doing = format!("listing what refers to {}@{subject}", self.repository);
        let first = State::First(self.referrer_pages(subject, artifact_type));
        try_unfold((first, doing), move |(state, doing)| async move {
            let (mut pages, first) = match state {
                State::First(pages) => (pages, true),
                State::More(pages) => (pages, false),
                State::End => return Ok(None),
            };
            let descriptors = match pages.next().await {
                None => return Ok(None),
                Some(Ok(Ok(descriptors))) => descriptors,
                Some(Ok(Err(_))) if first => return self.tagged(subject, artifact_type, doing).await,
                Some(Err(error)) if first && has_no_api(&error) => {
                    return self.tagged(subject, artifact_type, doing).await;
                }
                Some(Ok(Err(error)) | Err(error)) => return Err(error.doing(doing)),
            };
            let referrers = Referrers { source: ReferrersSource::Api, descriptors };
            Ok(Some((referrers, (State::More(pages), doing))))
        })
        .boxed()
    }

    /// The one page of a registry that keeps no list.
    async fn tagged(
        &self,
        subject: &Digest,
        artifact_type: Option<&str>,
        doing: String,
    ) -> Result<Option<(Referrers, (State, String))>, StoreError> {
        let descriptors = store::referrers_by_tag(self, subject, artifact_type).await?;
        let referrers = Referrers { source: ReferrersSource::Tag, descriptors };
        Ok(Some((referrers, (State::End, doing))))
    }

    /// The pages of the registry's own list. What is no index is an error within.
    pub(super) fn referrer_pages(&self, subject: &Digest, artifact_type: Option<&str>) -> Pending {
        let index = HeaderValue::from_static("application/vnd.oci.image.index.v1+json");
        let pages = Pages {
            host: Arc::clone(&self.host),
            path: format!("{}/referrers/{subject}", self.repository.path()),
            query: artifact_type.map(|artifact_type| ("artifactType", artifact_type.to_owned())),
            headers: HeaderMap::from_iter([(ACCEPT, index)]),
            repository: self.repository.path().to_owned(),
            scopes: self.scopes.clone(),
        };
        let artifact_type = artifact_type.map(str::to_owned);
        pages
            .stream(move |url, document| {
                Ok(Page { items: read(url, document, artifact_type.as_deref()), full: None })
            })
            .boxed()
    }
}

/// Whether an answer means that a registry does not know this part of the protocol. What a token server says is not
/// about that.
fn has_no_api(error: &Error) -> bool {
    matches!(error, Error::Status(answer) if matches!(answer.status.as_u16(), 400 | 404 | 405 | 406 | 501))
}

/// Some registries answer with whatever they have for a path that they do not know, and 200.
fn read(url: &Url, document: &Document, artifact_type: Option<&str>) -> Result<Vec<Descriptor>, Error> {
    #[derive(Deserialize)]
    struct Index {
        manifests: Option<Vec<Descriptor>>,
    }
    let refused = |reason: String| {
        Error::protocol(&Method::GET, url, format!("the list of referrers is no index: {reason}"))
    };
    let text = |name| document.headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let media_type = MediaType::new(text(CONTENT_TYPE.as_str()).unwrap_or_default());
    if !media_type.is_index() {
        return Err(refused(format!("it is sent as {:?}", media_type.as_str())));
    }
    let index: Index = serde_json::from_slice(&document.body).map_err(|error| refused(error.to_string()))?;
    let descriptors = index.manifests.unwrap_or_default();
    let applied = text(FILTERS_APPLIED).unwrap_or_default();
    let filtered = applied.split(',').any(|filter| filter.trim().eq_ignore_ascii_case("artifactType"));
    Ok(store::of_type(descriptors, artifact_type.filter(|_| !filtered)))
}
