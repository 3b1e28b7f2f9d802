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

/// Where to go on.
enum Next {
    First,
    At(Url),
    End,
}

impl Pages {
    /// The pages, each as `read` makes it of its URL and document. Links never leave the registry, and never lead to a
    /// page that was read.
    pub(crate) fn stream<T, R>(self, read: R) -> impl Stream<Item = Result<T, Error>> + Send
    where
        T: Send,
        R: Fn(&Url, &Document) -> Result<T, Error> + Send,
    {
        let start = (self, HashSet::new(), Next::First, read);
        try_unfold(start, |(pages, mut seen, next, read)| async move {
            let url = match next {
                Next::End => return Ok(None),
                Next::At(url) => url,
                Next::First => {
                    let mut url = pages.host.url(&pages.path).await?;
                    if let Some((name, value)) = &pages.query {
                        url.query_pairs_mut().append_pair(name, value);
                    }
                    url
                }
            };
            let document = pages.fetch(url.clone()).await?;
            seen.insert(url.clone());
            let link = document.headers.get_all(LINK).iter();
            let link = link.filter_map(|value| value.to_str().ok()).find_map(link::next);
            let next = link.map(|target| pages.follow(&seen, &url, target)).transpose()?;
            let page = read(&url, &document)?;
            Ok(Some((page, (pages, seen, next.map_or(Next::End, Next::At), read))))
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

    /// A link stays on the registry and leads on.
    fn follow(&self, seen: &HashSet<Url>, url: &Url, target: &str) -> Result<Url, Error> {
        let protocol = |reason: &str| Error::protocol(&Method::GET, url, reason);
        let next = url.join(target).map_err(|_| protocol("the link to the next page is no URL"))?;
        if !self.host.is_own(&next) {
            return Err(protocol("the link to the next page leads to another host"));
        }
        if seen.contains(&next) {
            return Err(protocol("the link to the next page leads back to a page that was read"));
        }
        Ok(next)
    }
}
