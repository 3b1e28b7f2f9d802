//! The list of tags, page by page (distribution specification, "Listing Tags").

use std::collections::HashSet;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream::{Stream, try_unfold};
use http::header::LINK;
use http::{HeaderMap, Method};
use oci::Tag;
use serde::Deserialize;
use store::Event;
use url::Url;

use crate::error::Error;
use crate::exchange::Request;
use crate::host::Host;
use crate::link;
use crate::scope::Scope;
use crate::transport::Lane;

/// The largest page that is read, in bytes: some registries send all tags at once.
const LIMIT: u64 = 64 << 20;

pub(crate) struct Pages {
    host: Arc<Host>,
    repository: String,
    scopes: Vec<Scope>,
    /// The pages that were read, so that links never lead in a circle.
    seen: HashSet<Url>,
}

/// Where to go on.
enum Next {
    First,
    At(Url),
    End,
}

#[derive(Deserialize)]
struct Page {
    tags: Option<Vec<String>>,
}

impl Pages {
    pub(crate) fn new(host: Arc<Host>, repository: &str, scopes: &[Scope]) -> Self {
        Self { host, repository: repository.to_owned(), scopes: scopes.to_vec(), seen: HashSet::new() }
    }

    pub(crate) fn stream(self) -> impl Stream<Item = Result<Vec<Tag>, Error>> + Send {
        try_unfold((self, Next::First), |(mut pages, next)| async move {
            let url = match next {
                Next::End => return Ok(None),
                Next::At(url) => url,
                Next::First => {
                    let mut url = pages.host.url(&format!("{}/tags/list", pages.repository)).await?;
                    url.set_query(Some("n=1000"));
                    url
                }
            };
            let (tags, next) = pages.page(url).await?;
            Ok(Some((tags, (pages, next))))
        })
    }

    async fn page(&mut self, url: Url) -> Result<(Vec<Tag>, Next), Error> {
        let request = Request {
            method: Method::GET,
            url: url.clone(),
            headers: HeaderMap::new(),
            body: Bytes::new(),
            scopes: &self.scopes,
            repository: &self.repository,
            lane: Lane::Api,
        };
        let document = self.host.fetch(request, LIMIT).await?;
        let link = document.headers.get_all(LINK).iter();
        let link = link.filter_map(|value| value.to_str().ok()).find_map(link::next);
        self.seen.insert(url.clone());
        let next = link.map(|target| self.follow(&url, target)).transpose()?;
        let protocol = |reason: String| Error::protocol(&Method::GET, &url, reason);
        let page: Page = serde_json::from_slice(&document.body)
            .map_err(|error| protocol(format!("the list of tags is not the JSON it should be: {error}")))?;
        let tags = page.tags.unwrap_or_default();
        let tags = tags.iter().filter_map(|text| {
            let tag = Tag::new(text);
            // Such a tag cannot be asked for, but the others can.
            if let Err((_, reason)) = &tag {
                let told = format!("the registry lists {text:?}, which is no tag: {reason}");
                self.host.shared.options.observer.event(&Event::Warned(&told));
            }
            tag.ok()
        });
        Ok((tags.collect(), next.map_or(Next::End, Next::At)))
    }

    /// A link stays on the registry and leads on.
    fn follow(&self, url: &Url, target: &str) -> Result<Url, Error> {
        let protocol = |reason: &str| Error::protocol(&Method::GET, url, reason);
        let next = url.join(target).map_err(|_| protocol("the link to the next page is no URL"))?;
        if !self.host.is_own(&next) {
            return Err(protocol("the link to the next page leads to another host"));
        }
        if self.seen.contains(&next) {
            return Err(protocol("the link to the next page leads back to a page that was read"));
        }
        Ok(next)
    }
}
