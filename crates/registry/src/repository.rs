//! One repository of a registry, as a store.

mod deletion;
mod entry;
mod referrers;
mod replacement;

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt};
use http::header::{ACCEPT, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, RANGE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use oci::{Descriptor, Digest, Manifest, MediaType, Repository, Selector, Tag};
use store::{ByteStream, Error as StoreError, Expected, Kind, Opened, Pace, Ranges, Replaced, Store};
use tokio::time::timeout;
use url::Url;

use crate::body::Reading;
use crate::content_range;
use crate::error::Error;
use crate::exchange::{Answer, Request, stalled};
use crate::host::Host;
use crate::names;
use crate::scope::Scope;
use crate::transport::Lane;
use crate::trouble::Trouble;
use crate::upload::Target;
use entry::Lists;

pub use referrers::{Referrers, ReferrersSource};

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
    writes: bool,
    mounts_fail: Arc<AtomicBool>,
    lists: Arc<Lists>,
}

impl RegistryStore {
    pub(crate) fn new(host: Arc<Host>, repository: Repository) -> Self {
        let scopes = vec![Scope::pull(repository.path())];
        Self { host, repository, scopes, writes: false, mounts_fail: Arc::default(), lists: Arc::default() }
    }

    /// The same repository, for writing: tokens are asked for push as well. They are good for reading `origins` too, those of
    /// the same registry, which blobs may be mounted from.
    #[must_use]
    pub fn for_push<'a>(mut self, origins: impl IntoIterator<Item = &'a Repository>) -> Self {
        self.writes = true;
        self.scopes = vec![Scope::push(self.repository.path())];
        for origin in origins {
            if origin.registry() == self.repository.registry() {
                Scope::join(&mut self.scopes, &[Scope::pull(origin.path())]);
            }
        }
        self
    }

    fn target(&self) -> Target {
        Target {
            host: Arc::clone(&self.host),
            repository: self.repository.clone(),
            scopes: self.scopes.clone(),
            mounts_fail: Arc::clone(&self.mounts_fail),
        }
    }

    pub(crate) fn request(&self, method: Method, url: Url, headers: HeaderMap, body: Bytes) -> Request<'_> {
        let (scopes, repository) = (self.scopes.as_slice(), self.repository.path());
        Request { method, url, headers, body, scopes, repository, lane: Lane::Api }
    }

    pub(crate) async fn send(
        &self,
        method: Method,
        url: Url,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<Answer, Error> {
        self.host.send(self.request(method, url, headers, body)).await
    }

    pub(crate) async fn url(&self, rest: &str) -> Result<Url, Error> {
        self.host.url(&format!("{}/{rest}", self.repository.path())).await
    }

    fn reference(&self, selector: &Selector) -> String {
        oci::Reference::new(self.repository.clone(), selector.clone()).to_string()
    }

    async fn head(&self, selector: &Selector) -> Result<Option<Descriptor>, Error> {
        let url = self.url(&format!("manifests/{selector}")).await?;
        let answer = self.host.probe(self.request(Method::HEAD, url, accept(), Bytes::new())).await?;
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

    async fn put(
        &self,
        selector: &Selector,
        manifest: &Manifest,
        condition: Option<(HeaderName, HeaderValue)>,
    ) -> Result<(), Error> {
        let url = self.url(&format!("manifests/{selector}")).await?;
        let mut headers = HeaderMap::from_iter(condition);
        let media_type = HeaderValue::from_str(manifest.media_type().as_str())
            .map_err(|_| Error::protocol(&Method::PUT, &url, "the manifest's media type fits no header"))?;
        headers.insert(CONTENT_TYPE, media_type);
        let answer = self.send(Method::PUT, url, headers, manifest.raw().clone()).await?;
        self.lists.hear(answer.response.headers());
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
        let mut missing = match reading(url).begin().await {
            Err(error) if error.status() == Some(StatusCode::NOT_FOUND) => error,
            outcome => return outcome,
        };
        // A layer that registries may not hold says where else it is.
        for url in blob.urls.iter().filter_map(|url| Url::parse(url).ok()) {
            match reading(url).begin().await {
                Ok(stream) => return Ok(stream),
                Err(error) if error.trouble() == Some(Trouble::SentAstray) => missing = error,
                Err(_) => {}
            }
        }
        Err(missing)
    }

    /// Asks whether a blob is there, without its bytes. Where `HEAD` is not for that (some registries do not know it, and
    /// storage that a redirect was signed for `GET` at refuses it) a `GET` of its first byte tells.
    async fn has_blob(&self, digest: &Digest) -> Result<bool, Error> {
        let url = self.url(&format!("blobs/{digest}")).await?;
        let answer = match self.send(Method::HEAD, url, HeaderMap::new(), Bytes::new()).await {
            Err(error) if is_about_head(&error) => self.first_byte(digest).await,
            outcome => outcome,
        };
        match answer.map_err(|error| (error.status(), error)) {
            Ok(_) | Err((Some(StatusCode::RANGE_NOT_SATISFIABLE), _)) => Ok(true),
            Err((Some(StatusCode::NOT_FOUND), _)) => Ok(false),
            Err((_, error)) => Err(error),
        }
    }

    /// The length of a blob; `None` if it is not there.
    async fn blob_size(&self, digest: &Digest) -> Result<Option<u64>, Error> {
        let url = self.url(&format!("blobs/{digest}")).await?;
        match self.send(Method::HEAD, url, HeaderMap::new(), Bytes::new()).await {
            Ok(answer) => {
                let length =
                    answer.response.headers().get(CONTENT_LENGTH).and_then(|value| value.to_str().ok());
                if let Some(size) = length.and_then(|text| text.parse().ok()) {
                    return Ok(Some(size));
                }
            }
            Err(error) if is_about_head(&error) || error.status() == Some(StatusCode::NOT_FOUND) => {}
            Err(error) => return Err(error),
        }
        let answer = match self.first_byte(digest).await {
            Ok(answer) => answer,
            // An empty blob has no first byte.
            Err(error) if error.status() == Some(StatusCode::RANGE_NOT_SATISFIABLE) => return Ok(Some(0)),
            Err(error) if error.status() == Some(StatusCode::NOT_FOUND) => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut response = answer.response;
        let told = match response.status() {
            StatusCode::PARTIAL_CONTENT => {
                let range = response.headers().get(CONTENT_RANGE).and_then(|value| value.to_str().ok());
                range.and_then(content_range::size)
            }
            _ => response.content_length(),
        };
        if told.is_some() {
            return Ok(told);
        }
        if response.status() == StatusCode::PARTIAL_CONTENT {
            let reason = "the answer does not say how long the blob is";
            return Err(Error::protocol(&Method::GET, &answer.url, reason));
        }
        // It comes in chunks: its length shows at its end.
        let (started, mut size) = (Instant::now(), 0);
        let stall = self.host.shared.options.stall;
        loop {
            let broken = |source: Box<dyn std::error::Error + Send + Sync>| {
                Error::network(&Method::GET, &answer.url, source, (1, started.elapsed()))
            };
            let piece = timeout(stall, response.chunk()).await.map_err(|_| broken(stalled(stall).into()))?;
            match piece.map_err(|error| broken(error.without_url().into()))? {
                Some(piece) => size += piece.len() as u64,
                None => return Ok(Some(size)),
            }
        }
    }

    pub(crate) async fn first_byte(&self, digest: &Digest) -> Result<Answer, Error> {
        let url = self.url(&format!("blobs/{digest}")).await?;
        let range = HeaderMap::from_iter([(RANGE, HeaderValue::from_static("bytes=0-0"))]);
        let mut request = self.request(Method::GET, url, range, Bytes::new());
        request.lane = Lane::Bulk;
        self.host.send(request).await
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

/// Whether a refusal may be one of the method rather than of the question.
fn is_about_head(error: &Error) -> bool {
    matches!(error, Error::Status(_))
        && matches!(error.kind(), Kind::Unsupported | Kind::Denied | Kind::Other)
}

pub(crate) fn accept() -> HeaderMap {
    HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static(ACCEPTED))])
}

pub(crate) fn content_digest(headers: &HeaderMap) -> Option<Digest> {
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
    let media_type = MediaType::new(text(CONTENT_TYPE)?);
    (!media_type.is_generic()).then(|| Descriptor::new(media_type, digest, size))
}

#[async_trait]
impl Store for RegistryStore {
    fn name(&self) -> String {
        self.repository.to_string()
    }

    async fn resolve(&self, selector: &Selector) -> Result<Descriptor, StoreError> {
        if self.host.notes.features().head == Some(false) {
            return Ok(self.manifest(selector).await?.descriptor());
        }
        let refusal = match self.head(selector).await {
            Ok(Some(descriptor)) => return Ok(descriptor),
            // Some registries leave headers out; the manifest itself tells.
            Ok(None) => None,
            // Nexus knows no HEAD and answers 404. Where nothing was written yet, a 404 is no surprise: there a second
            // question would be one too many for each new image.
            Err(error) if error.status() == Some(StatusCode::NOT_FOUND) && self.writes => {
                return Err(error.doing(format!("resolving {}", self.reference(selector))));
            }
            // Some answer HEAD with whatever. If the refusal is meant, GET gives its reason too.
            Err(Error::Status(error)) => Some((error.kind(), error.status)),
            Err(error) => return Err(error.doing(format!("resolving {}", self.reference(selector)))),
        };
        let manifest = self.manifest(selector).await;
        let refused = |kind| refusal.is_some_and(|(refusal, _)| refusal == kind);
        let answered = match &manifest {
            Ok(_) => true,
            Err(error) => error.kind() == Kind::NotFound && !refused(Kind::NotFound),
        };
        // Whoever is busy is so whatever the method is, and a refusal may be one of this manifest alone.
        let lasting = [Kind::NotFound, Kind::Unsupported, Kind::Unauthorized].into_iter().any(refused)
            || refusal.is_some_and(|(_, status)| status == StatusCode::INTERNAL_SERVER_ERROR);
        if answered && lasting {
            self.host.notes.note(|features| features.head = Some(false));
        }
        Ok(manifest?.descriptor())
    }

    async fn prepare(&self) {
        // Whether it speaks https or http, where that is to be asked.
        let _ = self.host.url("").await;
    }

    async fn expect_many(&self) {
        if self.host.pace.is_near() != Some(true) {
            self.host.open_ahead().await;
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
        let outcome = self.put(selector, manifest, None).await;
        outcome.map_err(|error| error.doing(format!("writing manifest {}", self.reference(selector))))
    }

    async fn replace_manifest(
        &self,
        selector: &Selector,
        manifest: &Manifest,
        expected: Expected,
    ) -> Result<Replaced, StoreError> {
        self.replace(selector, manifest, expected).await
    }

    async fn delete(&self, selector: &Selector) -> Result<(), StoreError> {
        self.remove(selector).await
    }

    fn referrers<'a>(
        &'a self,
        subject: &'a Digest,
        artifact_type: Option<&'a str>,
    ) -> BoxStream<'a, Result<Vec<Descriptor>, StoreError>> {
        self.find_referrers(subject, artifact_type).map_ok(|page| page.descriptors).boxed()
    }

    async fn list_referrer(&self, manifest: &Manifest) -> Result<Option<Tag>, StoreError> {
        self.enter(manifest).await
    }

    async fn unlist_referrer(&self, manifest: &Manifest) -> Result<bool, StoreError> {
        self.strike(manifest).await
    }

    fn counts_manifests(&self) -> bool {
        self.repository.registry().is_docker_hub()
    }

    fn tags(&self) -> BoxStream<'_, Result<Vec<Tag>, StoreError>> {
        let doing = format!("listing the tags of {}", self.repository);
        let pages = names::tags(Arc::clone(&self.host), self.repository.path(), &self.scopes);
        pages.map(move |page| page.map_err(|error| error.doing(&doing))).boxed()
    }

    async fn contains(&self, blob: &Descriptor) -> Result<bool, StoreError> {
        let found = self.has_blob(&blob.digest).await;
        if matches!(found, Ok(true)) {
            self.host.notes.put(&blob.digest, self.repository.path());
        }
        found.map_err(|error| error.doing(format!("looking for blob {} in {}", blob.digest, self.repository)))
    }

    async fn resolve_blob(&self, digest: &Digest) -> Result<Descriptor, StoreError> {
        let doing = || format!("looking for blob {digest} in {}", self.repository);
        let size = self.blob_size(digest).await.map_err(|error| error.doing(doing()))?;
        let size =
            size.ok_or_else(|| StoreError::new(Kind::NotFound, doing(), "BLOB_UNKNOWN: there is none"))?;
        Ok(Descriptor::new(MediaType::OCTET_STREAM, *digest, size))
    }

    async fn read(&self, blob: &Descriptor, range: Range<u64>) -> Result<ByteStream, StoreError> {
        let outcome = self.open(blob, range).await;
        outcome.map_err(|error| error.doing(format!("reading blob {}", blob.digest)))
    }

    async fn write(&self, blob: &Descriptor, origin: Option<&Repository>) -> Result<Opened, StoreError> {
        let origin = origin.filter(|origin| origin.registry() == self.repository.registry());
        let target = self.target();
        let outcome = target.begin(blob, origin).await;
        if matches!(outcome, Ok(Opened::Mounted | Opened::Existed)) {
            target.has(blob);
        }
        outcome.map_err(|error| error.doing(target.doing(blob)))
    }

    async fn kept(&self, blob: &Descriptor) -> u64 {
        self.target().kept(blob).await
    }

    fn origin(&self) -> Option<&Repository> {
        Some(&self.repository)
    }

    fn ranges(&self) -> Ranges {
        self.host.ranges()
    }

    fn pace(&self) -> Option<&Arc<Pace>> {
        Some(&self.host.pace)
    }

    fn seen(&self, blob: &Descriptor) -> Option<Repository> {
        let path = self.host.seen(&blob.digest, self.repository.path())?;
        Repository::new(self.repository.registry().clone(), &path).ok()
    }
}

impl fmt::Debug for RegistryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RegistryStore").field("repository", &self.repository).finish_non_exhaustive()
    }
}
