//! Lists of names: the tags of a repository, the repositories of a registry.

use std::collections::HashSet;
use std::sync::Arc;

use futures_util::stream::Stream;
use http::{HeaderMap, Method};
use oci::{RegistryName, Repository, Tag};
use serde::Deserialize;
use store::Event;
use url::Url;

use crate::error::Error;
use crate::exchange::Document;
use crate::host::Host;
use crate::pages::{Page, Pages};
use crate::scope::Scope;

/// So many names are asked for at once: the most that some registries give.
const PAGE: usize = 1000;

/// How many pages in a row may bring nothing new, before a list is taken for one without an end.
const IDLE: usize = 100;

/// Where a name breaks its grammar, and how.
type Fault = (usize, String);

/// The tags of a repository (distribution specification, "Listing Tags").
pub(crate) fn tags(
    host: Arc<Host>,
    repository: &str,
    scopes: &[Scope],
) -> impl Stream<Item = Result<Vec<Tag>, Error>> + Send + use<> {
    #[derive(Deserialize)]
    struct Tags {
        tags: Option<Vec<String>>,
    }
    let (path, mut listed) = (format!("{repository}/tags/list"), Listed::new(&host, "tag"));
    pages(host, path, repository, scopes.to_vec()).stream(move |url, document| {
        let page: Tags = parse(url, document, "tags")?;
        listed.page(url, page.tags, Tag::new)
    })
}

/// The repositories of a registry (`_catalog`: not in the specification, but most registries have it).
pub(crate) fn repositories(
    host: Arc<Host>,
    registry: &RegistryName,
) -> impl Stream<Item = Result<Vec<Repository>, Error>> + Send + use<> {
    #[derive(Deserialize)]
    struct Repositories {
        repositories: Option<Vec<String>>,
    }
    let (registry, mut listed) = (registry.clone(), Listed::new(&host, "repository"));
    pages(host, "_catalog".to_owned(), "", vec![Scope::catalog()]).stream(move |url, document| {
        let page: Repositories = parse(url, document, "repositories")?;
        listed.page(url, page.repositories, |name| Repository::new(registry.clone(), name))
    })
}

fn pages(host: Arc<Host>, path: String, repository: &str, scopes: Vec<Scope>) -> Pages {
    let query = Some(("n", PAGE.to_string()));
    Pages { host, path, query, headers: HeaderMap::new(), repository: repository.to_owned(), scopes }
}

fn parse<T: for<'de> Deserialize<'de>>(url: &Url, document: &Document, what: &str) -> Result<T, Error> {
    serde_json::from_slice(&document.body).map_err(|error| {
        let reason = format!("the list of {what} is not the JSON it should be: {error}");
        Error::protocol(&Method::GET, url, reason)
    })
}

/// The names that were listed.
struct Listed {
    host: Arc<Host>,
    what: &'static str,
    /// Some registries list a name again on the next page.
    names: HashSet<String>,
    /// How many of the last pages brought nothing new.
    idle: usize,
}

impl Listed {
    fn new(host: &Arc<Host>, what: &'static str) -> Self {
        Self { host: Arc::clone(host), what, names: HashSet::new(), idle: 0 }
    }

    /// The names of a page that are new and can be asked for. The others are told of, and do not hide these.
    fn page<T>(
        &mut self,
        url: &Url,
        names: Option<Vec<String>>,
        check: impl Fn(&str) -> Result<T, Fault>,
    ) -> Result<Page<Vec<T>>, Error> {
        let mut names = names.unwrap_or_default();
        let full = names.last().filter(|_| names.len() == PAGE).cloned();
        names.retain(|name| self.names.insert(name.clone()));
        self.idle = if names.is_empty() { self.idle + 1 } else { 0 };
        if self.idle > IDLE {
            let reason = format!("the list goes on, but its last {} pages brought nothing new", self.idle);
            return Err(Error::protocol(&Method::GET, url, reason));
        }
        let items = names.iter().filter_map(|text| {
            let name = check(text);
            if let Err((_, reason)) = &name {
                let told = format!("the registry lists {text:?}, which is no {}: {reason}", self.what);
                self.host.shared.options.observer.event(&Event::Warned(&told));
            }
            name.ok()
        });
        Ok(Page { items: items.collect(), full })
    }
}
