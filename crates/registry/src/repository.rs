//! One repository of a registry, as a store.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use http::header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use oci::{Descriptor, Digest, Manifest, MediaType, Repository, Selector, Tag};
use store::{ByteStream, Error as StoreError, Kind, Opened, Store};
use url::Url;

use crate::body::Reading;
use crate::error::Error;
use crate::exchange::{Answer, Request};
use crate::host::Host;
use crate::scope::Scope;
use crate::tags::Pages;
use crate::transport::Lane;
use crate::upload::Target;

/// What a manifest may be. `*/*` comes last for the kinds that nobody has thought of yet.
const ACCEPTED: &str = "application/vnd.oci.image.index.v1+json, \
    application/vnd.oci.image.manifest.v1+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, \
    application/vnd.docker.distribution.manifest.v2+json, \
    application/vnd.oci.artifact.manifest.v1+json, \
    application/vnd.docker.distribution.manifest.v1+prettyjws, \
    application/vnd.docker.distribution.manifest.v1+json, \
    */*";

const CONTENT_DIGEST: &str = "docker-content-digest";

/// A repository on a registry.
#[derive(Clone)]
pub struct RegistryStore {
    pub(crate) host: Arc<Host>,
    pub(crate) repository: Repository,
    /// What all requests ask a token for, so that one token serves them all.
    pub(crate) scopes: Vec<Scope>,
}

impl RegistryStore {
    pub(crate) fn new(host: Arc<Host>, repository: Repository) -> Self {
        let scopes = vec![Scope::pull(repository.path())];
        Self { host, repository, scopes }
    }

    /// The same repository, for writing: tokens are asked for push as well. With `origin`, a repository of the same
    /// registry that blobs may be mounted from, they are good for reading that too.
    #[must_use]
    pub fn for_push(mut self, origin: Option<&Repository>) -> Self {
        self.scopes = vec![Scope::push(self.repository.path())];
        if let Some(origin) = origin.filter(|origin| origin.registry() == self.repository.registry()) {
            Scope::join(&mut self.scopes, &[Scope::pull(origin.path())]);
        }
        self
    }

    fn request(&self, method: Method, url: Url, headers: HeaderMap, body: Bytes) -> Request<'_> {
        let (scopes, repository) = (self.scopes.as_slice(), self.repository.path());
        Request { method, url, headers, body, scopes, repository, lane: Lane::Api }
    }

    async fn send(&self, method: Method, url: Url, headers: HeaderMap, body: Bytes) -> Result<Answer, Error> {
        self.host.send(self.request(method, url, headers, body)).await
    }

    async fn url(&self, rest: &str) -> Result<Url, Error> {
        self.host.url(&format!("{}/{rest}", self.repository.path())).await
    }

    fn reference(&self, selector: &Selector) -> String {
        oci::Reference::new(self.repository.clone(), selector.clone()).to_string()
    }

    async fn head(&self, selector: &Selector) -> Result<Option<Descriptor>, Error> {
        let url = self.url(&format!("manifests/{selector}")).await?;
        let answer = self.send(Method::HEAD, url, accept(), Bytes::new()).await?;
        Ok(described(answer.response.headers(), selector))
    }

    async fn get(&self, selector: &Selector) -> Result<Manifest, GetError> {
        let url = self.url(&format!("manifests/{selector}")).await?;
        let limit = self.host.shared.options.manifest_limit;
        let request = self.request(Method::GET, url, accept(), Bytes::new());
        let document = self.host.fetch(request, limit).await?;
        let media_type = document.headers.get(CONTENT_TYPE);
        let media_type = media_type.and_then(|value| value.to_str().ok()).map(MediaType::new);
        let raw = document.body;
        Ok(match selector {
            Selector::Digest(digest) => Manifest::verified(raw, media_type, *digest),
            Selector::Tag(_) => Manifest::new(raw, media_type),
        }?)
    }

    async fn put(&self, selector: &Selector, manifest: &Manifest) -> Result<(), Error> {
        let url = self.url(&format!("manifests/{selector}")).await?;
        let mut headers = HeaderMap::new();
        let media_type = HeaderValue::from_str(manifest.media_type().as_str())
            .map_err(|_| Error::protocol(&Method::PUT, &url, "the manifest's media type fits no header"))?;
        headers.insert(CONTENT_TYPE, media_type);
        let answer = self.send(Method::PUT, url, headers, manifest.raw().clone()).await?;
        let kept = content_digest(answer.response.headers());
        match kept
            .filter(|kept| kept.algorithm() == manifest.digest().algorithm() && *kept != manifest.digest())
        {
            Some(kept) => {
                let reason = format!("the registry kept {} as {kept}", manifest.digest());
                Err(Error::protocol(&Method::PUT, &answer.url, reason))
            }
            None => Ok(()),
        }
    }

    async fn open(&self, blob: &Descriptor, range: Range<u64>) -> Result<ByteStream, Error> {
        let url = self.url(&format!("blobs/{}", blob.digest)).await?;
        let reading = |url| Reading {
            host: Arc::clone(&self.host),
            url,
            scopes: self.scopes.clone(),
            repository: self.repository.path().to_owned(),
            blob: blob.clone(),
            range: range.clone(),
        };
        let missing = match reading(url).begin().await {
            Err(error) if error.status() == Some(StatusCode::NOT_FOUND) => error,
            outcome => return outcome,
        };
        // A layer that registries may not hold says where else it is.
        for url in blob.urls.iter().filter_map(|url| Url::parse(url).ok()) {
            if let Ok(stream) = reading(url).begin().await {
                return Ok(stream);
            }
        }
        Err(missing)
    }

    /// Asks for a blob without its bytes; `None` if it is not there.
    async fn head_blob(&self, digest: &Digest) -> Result<Option<Answer>, Error> {
        let url = self.url(&format!("blobs/{digest}")).await?;
        match self.send(Method::HEAD, url, HeaderMap::new(), Bytes::new()).await {
            Err(error) if error.status() == Some(StatusCode::NOT_FOUND) => Ok(None),
            outcome => outcome.map(Some),
        }
    }
}

/// A manifest that could not be had, or is none.
enum GetError {
    Registry(Error),
    Manifest(oci::ManifestError),
}

impl From<Error> for GetError {
    fn from(error: Error) -> Self {
        Self::Registry(error)
    }
}

impl From<oci::ManifestError> for GetError {
    fn from(error: oci::ManifestError) -> Self {
        Self::Manifest(error)
    }
}

fn accept() -> HeaderMap {
    HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static(ACCEPTED))])
}

fn content_digest(headers: &HeaderMap) -> Option<Digest> {
    headers.get(CONTENT_DIGEST)?.to_str().ok()?.parse().ok()
}

/// The descriptor that the headers of a HEAD give, if they give all of it.
fn described(headers: &HeaderMap, selector: &Selector) -> Option<Descriptor> {
    let text = |name| headers.get(name)?.to_str().ok();
    let digest = match selector {
        Selector::Digest(digest) => *digest,
        Selector::Tag(_) => content_digest(headers)?,
    };
    let size = text(CONTENT_LENGTH)?.parse().ok()?;
    Some(Descriptor::new(MediaType::new(text(CONTENT_TYPE)?), digest, size))
}

#[async_trait]
impl Store for RegistryStore {
    fn name(&self) -> String {
        self.repository.to_string()
    }

    async fn resolve(&self, selector: &Selector) -> Result<Descriptor, StoreError> {
        match self.head(selector).await {
            Ok(Some(descriptor)) => Ok(descriptor),
            // Some registries leave headers out or answer HEAD with whatever; the manifest itself tells.
            Ok(None) => Ok(self.manifest(selector).await?.descriptor()),
            Err(error @ Error::Status(_))
                if matches!(error.kind(), Kind::Unsupported | Kind::Denied | Kind::Other) =>
            {
                Ok(self.manifest(selector).await?.descriptor())
            }
            Err(error) => Err(error.doing(format!("resolving {}", self.reference(selector)))),
        }
    }

    async fn manifest(&self, selector: &Selector) -> Result<Manifest, StoreError> {
        let doing = || format!("fetching manifest {}", self.reference(selector));
        self.get(selector).await.map_err(|error| match error {
            GetError::Registry(error) => error.doing(doing()),
            GetError::Manifest(error) => StoreError::manifest(doing(), error),
        })
    }

    async fn put_manifest(&self, selector: &Selector, manifest: &Manifest) -> Result<(), StoreError> {
        let outcome = self.put(selector, manifest).await;
        outcome.map_err(|error| error.doing(format!("writing manifest {}", self.reference(selector))))
    }

    fn tags(&self) -> BoxStream<'_, Result<Vec<Tag>, StoreError>> {
        let doing = format!("listing the tags of {}", self.repository);
        let pages = Pages::new(Arc::clone(&self.host), self.repository.path(), &self.scopes);
        pages.stream().map(move |page| page.map_err(|error| error.doing(&doing))).boxed()
    }

    async fn contains(&self, blob: &Descriptor) -> Result<bool, StoreError> {
        let found = self.head_blob(&blob.digest).await;
        let doing = || format!("looking for blob {} in {}", blob.digest, self.repository);
        Ok(found.map_err(|error| error.doing(doing()))?.is_some())
    }

    async fn resolve_blob(&self, digest: &Digest) -> Result<Descriptor, StoreError> {
        let doing = || format!("looking for blob {digest} in {}", self.repository);
        let found = self.head_blob(digest).await.map_err(|error| error.doing(doing()))?;
        let answer =
            found.ok_or_else(|| StoreError::new(Kind::NotFound, doing(), "BLOB_UNKNOWN: there is none"))?;
        let length = answer.response.headers().get(CONTENT_LENGTH).and_then(|value| value.to_str().ok());
        let size = length.and_then(|text| text.parse().ok()).ok_or_else(|| {
            let reason = "the answer does not say how long the blob is";
            Error::protocol(&Method::HEAD, &answer.url, reason).doing(doing())
        })?;
        Ok(Descriptor::new(MediaType::OCTET_STREAM, *digest, size))
    }

    async fn read(&self, blob: &Descriptor, range: Range<u64>) -> Result<ByteStream, StoreError> {
        let outcome = self.open(blob, range).await;
        outcome.map_err(|error| error.doing(format!("reading blob {}", blob.digest)))
    }

    async fn write(&self, blob: &Descriptor, origin: Option<&Repository>) -> Result<Opened, StoreError> {
        let target = Target {
            host: Arc::clone(&self.host),
            repository: self.repository.path().to_owned(),
            scopes: self.scopes.clone(),
        };
        let origin = origin.filter(|origin| origin.registry() == self.repository.registry());
        let outcome = target.begin(blob, origin).await;
        outcome.map_err(|error| error.doing(format!("writing blob {} to {}", blob.digest, self.repository)))
    }

    fn origin(&self) -> Option<&Repository> {
        Some(&self.repository)
    }
}

impl fmt::Debug for RegistryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RegistryStore").field("repository", &self.repository).finish_non_exhaustive()
    }
}
