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

/// How many tags are asked for at once; ECR gives no more.
const PAGE: usize = 1000;

/// How many pages in a row may bring nothing new, before a list is one without an end.
const IDLE: usize = 100;

pub(crate) struct Pages {
    host: Arc<Host>,
    repository: String,
    scopes: Vec<Scope>,
    /// The pages that were read, so that links never lead in a circle.
    seen: HashSet<Url>,
    /// The tags that were listed: some registries list one again on the next page.
    listed: HashSet<Tag>,
    /// How many of the last pages brought nothing new.
    idle: usize,
}

/// Where to go on.
enum Next {
    First,
    At(Url),
    /// Nobody said so, but the page was full: there may be more behind it.
    Maybe(Url),
    End,
}

#[derive(Deserialize)]
struct Page {
    tags: Option<Vec<String>>,
}

impl Pages {
    pub(crate) fn new(host: Arc<Host>, repository: &str, scopes: &[Scope]) -> Self {
        Self {
            host,
            repository: repository.to_owned(),
            scopes: scopes.to_vec(),
            seen: HashSet::new(),
            listed: HashSet::new(),
            idle: 0,
        }
    }

    pub(crate) fn stream(self) -> impl Stream<Item = Result<Vec<Tag>, Error>> + Send {
        try_unfold((self, Next::First), |(mut pages, next)| async move {
            let (url, maybe) = match next {
                Next::End => return Ok(None),
                Next::At(url) => (url, false),
                Next::Maybe(url) => (url, true),
                Next::First => {
                    let mut url = pages.host.url(&format!("{}/tags/list", pages.repository)).await?;
                    url.set_query(Some(&format!("n={PAGE}")));
                    (url, false)
                }
            };
            match pages.page(url).await {
                // What was looked for behind the end was not there.
                Ok((tags, _)) if maybe && tags.is_empty() => Ok(None),
                Err(Error::Status(_)) if maybe => Ok(None),
                outcome => outcome.map(|(tags, next)| Some((tags, (pages, next)))),
            }
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
        let link = link::next(link.filter_map(|value| value.to_str().ok()));
        self.seen.insert(url.clone());
        let next = link.map(|target| self.follow(&url, target)).transpose()?;
        let protocol = |reason: String| Error::protocol(&Method::GET, &url, reason);
        let page: Page = serde_json::from_slice(&document.body)
            .map_err(|error| protocol(format!("the list of tags is not the JSON it should be: {error}")))?;
        let texts = page.tags.unwrap_or_default();
        // go-containerregistry's registry has pages but no links. More than was asked for is everything.
        let full = texts.last().filter(|_| texts.len() == PAGE);
        let next = match (next, full) {
            (Some(next), _) => Next::At(next),
            (None, Some(last)) => {
                let mut next = url.clone();
                next.set_query(Some(&format!("n={PAGE}")));
                next.query_pairs_mut().append_pair("last", last);
                if self.seen.contains(&next) { Next::End } else { Next::Maybe(next) }
            }
            (None, None) => Next::End,
        };
        let tags = texts.iter().filter_map(|text| {
            let tag = Tag::new(text);
            // Such a tag cannot be asked for, but the others can.
            if let Err((_, reason)) = &tag {
                let told = format!("the registry lists {text:?}, which is no tag: {reason}");
                self.host.shared.options.observer.event(&Event::Warned(&told));
            }
            tag.ok()
        });
        let mut tags: Vec<Tag> = tags.collect();
        tags.retain(|tag| self.listed.insert(tag.clone()));
        self.idle = if tags.is_empty() { self.idle + 1 } else { 0 };
        if self.idle == IDLE && matches!(next, Next::At(_)) {
            return Err(protocol(format!(
                "the last {IDLE} pages of the list brought no new tag, and it goes on"
            )));
        }
        Ok((tags, next))
    }

    /// A link stays on the registry and leads on.
    fn follow(&self, url: &Url, target: &str) -> Result<Url, Error> {
        let protocol = |reason: &str| Error::protocol(&Method::GET, url, reason);
        let next = url.join(target).map_err(|_| protocol("the link to the next page is no URL"))?;
        let next = link::as_reached(url, next);
        if !self.host.is_own(&next) {
            let elsewhere = next.origin().ascii_serialization();
            return Err(protocol(&format!("the link to the next page leads to another host, {elsewhere}")));
        }
        if self.seen.contains(&next) {
            return Err(protocol("the link to the next page leads back to a page that was read"));
        }
        Ok(next)
    }
}
