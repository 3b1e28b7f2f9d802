//! Lists of names: the tags of a repository, the repositories of a registry.

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
use crate::pages::Pages;
use crate::scope::Scope;

/// So many names are asked for at once: the most that some registries give.
const PAGE: &str = "1000";

/// Where a name breaks its grammar, and how.
type Fault = (usize, String);

/// The tags of a repository (distribution specification, "Listing Tags").
pub(crate) fn tags(
    host: Arc<Host>,
    repository: &str,
    scopes: &[Scope],
) -> impl Stream<Item = Result<Vec<Tag>, Error>> + Send + use<> {
    #[derive(Deserialize)]
    struct Page {
        tags: Option<Vec<String>>,
    }
    let (path, told) = (format!("{repository}/tags/list"), Arc::clone(&host));
    pages(host, path, repository, scopes.to_vec()).stream(move |url, document| {
        let page: Page = parse(url, document, "tags")?;
        Ok(known(&told, page.tags, "tag", Tag::new))
    })
}

/// The repositories of a registry (`_catalog`: not in the specification, but most registries have it).
pub(crate) fn repositories(
    host: Arc<Host>,
    registry: &RegistryName,
) -> impl Stream<Item = Result<Vec<Repository>, Error>> + Send + use<> {
    #[derive(Deserialize)]
    struct Page {
        repositories: Option<Vec<String>>,
    }
    let (registry, told) = (registry.clone(), Arc::clone(&host));
    pages(host, "_catalog".to_owned(), "", vec![Scope::catalog()]).stream(move |url, document| {
        let page: Page = parse(url, document, "repositories")?;
        Ok(known(&told, page.repositories, "repository", |name| Repository::new(registry.clone(), name)))
    })
}

fn pages(host: Arc<Host>, path: String, repository: &str, scopes: Vec<Scope>) -> Pages {
    let query = Some(("n", PAGE.to_owned()));
    Pages { host, path, query, headers: HeaderMap::new(), repository: repository.to_owned(), scopes }
}

fn parse<T: for<'de> Deserialize<'de>>(url: &Url, document: &Document, what: &str) -> Result<T, Error> {
    serde_json::from_slice(&document.body).map_err(|error| {
        let reason = format!("the list of {what} is not the JSON it should be: {error}");
        Error::protocol(&Method::GET, url, reason)
    })
}

/// The names that can be asked for. The others are told of, and do not hide these.
fn known<T>(
    host: &Host,
    names: Option<Vec<String>>,
    what: &str,
    check: impl Fn(&str) -> Result<T, Fault>,
) -> Vec<T> {
    let names = names.unwrap_or_default();
    let names = names.iter().filter_map(|text| {
        let name = check(text);
        if let Err((_, reason)) = &name {
            let told = format!("the registry lists {text:?}, which is no {what}: {reason}");
            host.shared.options.observer.event(&Event::Warned(&told));
        }
        name.ok()
    });
    names.collect()
}
