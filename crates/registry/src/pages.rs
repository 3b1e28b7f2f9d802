//! Lists that come page by page: tags, repositories, referrers (distribution specification, "Listing Tags").

use std::collections::HashSet;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream::{Stream, try_unfold};
use http::header::LINK;
use http::{HeaderMap, Method};
use url::Url;

use crate::error::Error;
use crate::exchange::{Document, Request};
use crate::host::Host;
use crate::link;
use crate::scope::Scope;
use crate::transport::Lane;

/// The largest page that is read, in bytes: some registries send all tags at once.
const LIMIT: u64 = 64 << 20;

pub(crate) struct Pages {
    pub(crate) host: Arc<Host>,
    /// Where the list begins, behind `/v2/`.
    pub(crate) path: String,
    /// What is asked of the first page. The links to the others have all that they need.
    pub(crate) query: Option<(&'static str, String)>,
    pub(crate) headers: HeaderMap,
    /// The repository's path, for credentials that are kept by repository; empty for the registry as a whole.
    pub(crate) repository: String,
    pub(crate) scopes: Vec<Scope>,
}

/// A page as it was read.
pub(crate) struct Page<T> {
    pub(crate) items: T,
    /// The last name of a page that has as many as were asked for.
    pub(crate) full: Option<String>,
}

/// Where to go on.
enum Next {
    First,
    At(Url),
    /// Nobody said so, but the page was full: there may be more behind it.
    Maybe(Url),
    End,
}

impl Pages {
    /// The pages, each as `read` makes it of its URL and document. Links never leave the registry, and never lead to a
    /// page that was read. Behind a full page without a link it is asked for more all the same: go-containerregistry's
    /// registry has pages but no links.
    pub(crate) fn stream<T, R>(self, read: R) -> impl Stream<Item = Result<T, Error>> + Send
    where
        T: Send,
        R: FnMut(&Url, &Document) -> Result<Page<T>, Error> + Send,
    {
        let start = (self, HashSet::new(), Next::First, read);
        try_unfold(start, |(pages, mut seen, next, mut read)| async move {
            let maybe = matches!(next, Next::Maybe(_));
            let url = match next {
                Next::End => return Ok(None),
                Next::At(url) | Next::Maybe(url) => url,
                Next::First => {
                    let mut url = pages.host.url(&pages.path).await?;
                    if let Some((name, value)) = &pages.query {
                        url.query_pairs_mut().append_pair(name, value);
                    }
                    url
                }
            };
            let document = match pages.fetch(url.clone()).await {
                // What was looked for behind the end.
                Err(Error::Status(_)) if maybe => return Ok(None),
                outcome => outcome?,
            };
            seen.insert(url.clone());
            let link = document.headers.get_all(LINK).iter();
            let link = link::next(link.filter_map(|value| value.to_str().ok()));
            let next = link.map(|target| pages.follow(&seen, &url, target)).transpose()?;
            let page = read(&url, &document)?;
            let behind = || page.full.map(|last| pages.behind(&url, &last)).filter(|url| !seen.contains(url));
            let next = match next {
                Some(url) => Next::At(url),
                None => behind().map_or(Next::End, Next::Maybe),
            };
            Ok(Some((page.items, (pages, seen, next, read))))
        })
    }

    async fn fetch(&self, url: Url) -> Result<Document, Error> {
        let request = Request {
            method: Method::GET,
            url,
            headers: self.headers.clone(),
            body: Bytes::new(),
            scopes: &self.scopes,
            repository: &self.repository,
            lane: Lane::Api,
        };
        self.host.fetch(request, LIMIT).await
    }

    /// Where a page would be that begins behind `last`.
    fn behind(&self, url: &Url, last: &str) -> Url {
        let mut url = url.clone();
        url.set_query(None);
        let query = self.query.iter().map(|(name, value)| (*name, value.as_str()));
        url.query_pairs_mut().extend_pairs(query.chain([("last", last)]));
        url
    }

    /// A link stays on the registry and leads on.
    fn follow(&self, seen: &HashSet<Url>, url: &Url, target: &str) -> Result<Url, Error> {
        let protocol = |reason: &str| Error::protocol(&Method::GET, url, reason);
        let next = url.join(target).map_err(|_| protocol("the link to the next page is no URL"))?;
        let next = link::as_reached(url, next);
        if !self.host.is_own(&next) {
            let elsewhere = next.origin().ascii_serialization();
            return Err(protocol(&format!("the link to the next page leads to another host, {elsewhere}")));
        }
        if seen.contains(&next) {
            return Err(protocol("the link to the next page leads back to a page that was read"));
        }
        Ok(next)
    }
}
