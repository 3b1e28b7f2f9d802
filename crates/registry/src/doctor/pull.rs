//! What pulling takes: tags, manifests, blobs; and what goes with it.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use futures_util::TryStreamExt;
use http::Method;
use oci::{Descriptor, Digest, Manifest, Platform, Selector, Tag, View};
use store::Store;
use tokio::time::timeout;

use super::finding::{Facts, Oddity, Outcome, Probe};
use super::{Chart, Question, failed, good};
use crate::error::Error;
use crate::exchange::{Answer, stalled};
use crate::host::Host;
use crate::repository::{ReferrersSource, accept, content_digest};
use crate::{RateLimit, RegistryStore, names, rate_limit};

/// How deep indexes within indexes are followed.
const DEPTH: usize = 4;

/// The list of repositories. Many registries do not tell, and need not.
pub(super) async fn catalog(host: &Arc<Host>, chart: &mut Chart<'_>) {
    let page = Box::pin(names::repositories(Arc::clone(host), host.name())).try_next().await;
    let facts = page.map(|page| Facts::Page { count: page.map_or(0, |page| page.len()) });
    chart.note(Probe::Catalog, false, good(facts));
}

/// The limits, as far as they were told on the way.
pub(super) fn limit(limit: Option<&RateLimit>, chart: &mut Chart<'_>) {
    let outcome = match limit {
        None => Outcome::Skipped("the registry tells none"),
        Some(limit) if limit.remaining == Some(0) => Outcome::Odd(Facts::limit(limit), Oddity::NothingLeft),
        Some(limit) => Outcome::Good(Facts::limit(limit)),
    };
    chart.note(Probe::Limit, false, outcome);
}

/// A blob that is there, if one was found.
pub(super) async fn examine(
    store: &RegistryStore,
    question: &Question,
    told: Option<RateLimit>,
    chart: &mut Chart<'_>,
) -> Option<Digest> {
    let tags = store.tags().try_next().await;
    let selector = question.selector.clone().or_else(|| match &tags {
        Ok(page) => choose(page.as_deref().unwrap_or_default()),
        Err(_) => Some(Selector::Tag(Tag::latest())),
    });
    let tags = match tags {
        Ok(page) => Outcome::Good(Facts::Page { count: page.map_or(0, |page| page.len()) }),
        Err(error) => Outcome::Failed(None, error),
    };
    chart.note(Probe::Tags, false, tags);
    let Some(selector) = selector else {
        chart.note(Probe::Manifest, question.pull, Outcome::Skipped("there is no tag"));
        return None;
    };
    let manifest = manifest(store, &selector, question.pull, chart).await?;
    let limits = head(store, &selector, chart).await;
    let known = blob(store, manifest.clone(), question.pull, chart).await;
    chart.note(Probe::Referrers, false, referrers(store, &manifest.digest()).await);
    limit(limits.or(told).as_ref(), chart);
    known
}

/// `latest` if it is there, else the last.
fn choose(tags: &[Tag]) -> Option<Selector> {
    let latest = tags.iter().find(|tag| **tag == Tag::latest());
    latest.or(tags.last()).cloned().map(Selector::Tag)
}

async fn manifest(
    store: &RegistryStore,
    selector: &Selector,
    decides: bool,
    chart: &mut Chart<'_>,
) -> Option<Manifest> {
    match store.manifest(selector).await {
        Ok(manifest) => {
            let facts = Facts::Manifest {
                reference: selector.to_string(),
                media_type: manifest.media_type().clone(),
                digest: manifest.digest(),
                size: manifest.raw().len(),
            };
            chart.note(Probe::Manifest, decides, Outcome::Good(facts));
            Some(manifest)
        }
        Err(error) => {
            chart.note(Probe::Manifest, decides, Outcome::Failed(None, error));
            None
        }
    }
}

/// The limits, which registries tell with what they count.
async fn head(store: &RegistryStore, selector: &Selector, chart: &mut Chart<'_>) -> Option<RateLimit> {
    let answer = async {
        let url = store.url(&format!("manifests/{selector}")).await?;
        store.send(Method::HEAD, url, accept(), Bytes::new()).await
    };
    let (outcome, limit) = match answer.await {
        Ok(Answer { response, .. }) => {
            let digest = content_digest(response.headers());
            let facts = Facts::Head { digest };
            let outcome = match digest {
                Some(_) => Outcome::Good(facts),
                None => Outcome::Odd(facts, Oddity::NoDigest),
            };
            (outcome, rate_limit::parse(response.headers()))
        }
        Err(error) => (failed(error), None),
    };
    chart.note(Probe::Head, false, outcome);
    limit
}

/// The first byte of the smallest blob of a manifest, or of the image for this machine in an index.
async fn blob(
    store: &RegistryStore,
    mut manifest: Manifest,
    decides: bool,
    chart: &mut Chart<'_>,
) -> Option<Digest> {
    for _ in 0..DEPTH {
        let entry = match manifest.view() {
            Ok(View::Index(index)) => {
                Platform::host().choose(&index.manifests).or(index.manifests.first()).cloned()
            }
            Ok(View::Image(image)) => {
                let blobs = image.config.into_iter().chain(image.layers);
                let held = blobs.filter(|blob| blob.size > 0 && blob.urls.is_empty());
                let Some(blob) = held.min_by_key(|blob| blob.size) else { break };
                let outcome = first_byte(store, &blob).await;
                return chart.note(Probe::Blob, decides, outcome).then_some(blob.digest);
            }
            Err(_) => break,
        };
        let Some(entry) = entry else { break };
        manifest = self::manifest(store, &Selector::Digest(entry.digest), decides, chart).await?;
    }
    chart.note(Probe::Blob, decides, Outcome::Skipped("the manifest names none that could be read"));
    None
}

async fn first_byte(store: &RegistryStore, blob: &Descriptor) -> Outcome {
    let started = Instant::now();
    let Answer { mut response, url, .. } = match store.first_byte(&blob.digest).await {
        Ok(answer) => answer,
        Err(error) => return failed(error),
    };
    let status = response.status().as_u16();
    let stall = store.host.shared.options.stall;
    let broken = |source: Box<dyn std::error::Error + Send + Sync>| {
        failed(Error::network(&Method::GET, &url, source, (1, started.elapsed())))
    };
    match timeout(stall, response.chunk()).await {
        Err(_) => return broken(stalled(stall).into()),
        Ok(Err(error)) => return broken(error.without_url().into()),
        Ok(Ok(_)) => {}
    }
    let elsewhere = (!store.host.is_own(&url)).then(|| url.host_str().unwrap_or_default().to_owned());
    let facts = Facts::Blob { digest: blob.digest, status, elsewhere };
    if status == 206 { Outcome::Good(facts) } else { Outcome::Odd(facts, Oddity::NoRanges) }
}

async fn referrers(store: &RegistryStore, subject: &Digest) -> Outcome {
    match store.find_referrers(subject, None).try_next().await {
        Err(error) => Outcome::Failed(None, error),
        Ok(page) => {
            let count = page.as_ref().map_or(0, |page| page.descriptors.len());
            match page.map(|page| page.source) {
                Some(ReferrersSource::Tag) => {
                    Outcome::Odd(Facts::Referrers { via: "tag", count }, Oddity::NoReferrers)
                }
                Some(ReferrersSource::Api) | None => Outcome::Good(Facts::Referrers { via: "api", count }),
            }
        }
    }
}
