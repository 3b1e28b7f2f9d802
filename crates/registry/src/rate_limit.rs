//! What a registry says of how often it may be asked.

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use oci::{RegistryName, Repository};

use crate::exchange::Request;
use crate::scope::Scope;
use crate::transport::Lane;
use crate::{Client, Error};

/// The repository that Docker Hub keeps for this question; asking for its manifest's head is documented to be free.
const DOCKER_HUB_PREVIEW: &str = "ratelimitpreview/test";

/// How often a registry may be asked, by its own words. Registries count differently: Docker Hub the manifests that are
/// pulled, others every request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RateLimit {
    /// How often in one window.
    pub limit: Option<u64>,
    /// How often still, in this window.
    pub remaining: Option<u64>,
    /// How long a window is, in seconds.
    pub window: Option<u64>,
    /// Whom the registry counts, where it says so: an address or an account.
    pub source: Option<String>,
    /// How long the registry asks to wait, in seconds, where nothing is left.
    pub retry_after: Option<u64>,
}

impl Client {
    /// Asks a registry for its limits; `None` if it tells none. One request: on Docker Hub for the head of a manifest
    /// that is there for this; elsewhere for `/v2/`, or for the head of `latest` in `repository`. A refusal because of
    /// the limits tells them too.
    ///
    /// # Errors
    /// Those of the request; [`Kind::TooManyRequests`](store::Kind::TooManyRequests) where not even this is allowed, and
    /// the refusal says no more.
    pub async fn rate_limit(
        &self,
        registry: &RegistryName,
        repository: Option<&Repository>,
    ) -> Result<Option<RateLimit>, store::Error> {
        let host = self.host(registry);
        let asked = async {
            let repository = asked_about(registry, repository);
            let (method, path) = match repository {
                Some(path) => (Method::HEAD, format!("{path}/manifests/latest")),
                None => (Method::GET, String::new()),
            };
            let request = Request {
                method,
                url: host.url(&path).await?,
                headers: crate::repository::accept(),
                body: Bytes::new(),
                scopes: &repository.map(Scope::pull).into_iter().collect::<Vec<_>>(),
                repository: repository.unwrap_or_default(),
                lane: Lane::Api,
            };
            match host.send(request).await {
                Ok(answer) => Ok(parse(answer.response.headers())),
                Err(error) => reached(&error).map(Some).ok_or(error),
            }
        };
        asked.await.map_err(|error: Error| error.doing(format!("asking {registry} for its limits")))
    }
}

/// What a refusal because of the limits says of them.
fn reached(error: &Error) -> Option<RateLimit> {
    let answer = error.answer().filter(|answer| answer.status == StatusCode::TOO_MANY_REQUESTS)?;
    let retry_after = answer.retry_after.map(|wait| wait.as_secs());
    if answer.limit.is_none() && retry_after.is_none() {
        return None;
    }
    let limit = answer.limit.clone().unwrap_or_default();
    Some(RateLimit { remaining: limit.remaining.or(Some(0)), retry_after, ..limit })
}

/// The repository whose `latest` is asked for.
fn asked_about<'a>(registry: &RegistryName, repository: Option<&'a Repository>) -> Option<&'a str> {
    let preview = registry.is_docker_hub().then_some(DOCKER_HUB_PREVIEW);
    repository.map(Repository::path).or(preview)
}

/// Reads `RateLimit-Limit` and its like (Docker Hub, GitLab, the drafts up to 06), `X-RateLimit-*` (GitHub), and
/// `RateLimit` with `RateLimit-Policy` (draft-ietf-httpapi-ratelimit-headers, from 07 on).
pub(crate) fn parse(headers: &HeaderMap) -> Option<RateLimit> {
    let text = |name: &str| headers.get(name)?.to_str().ok();
    let either = |name: &str| text(name).or_else(|| text(&format!("x-{name}"))).map(Item::list);
    let mut found = RateLimit::default();
    if let Some(items) = either("ratelimit-limit") {
        found.limit = items.first().and_then(Item::number);
        // `100, 100;w=60`: the window stands with the same number.
        found.window =
            items.iter().filter(|item| item.number() == found.limit).find_map(|item| item.get("w"));
    }
    if let Some(items) = either("ratelimit-remaining") {
        found.remaining = items.first().and_then(Item::number);
        found.window = found.window.or_else(|| items.first()?.get("w"));
    }
    let items = text("ratelimit").map(Item::list).unwrap_or_default();
    let field = |names: [&str; 2]| items.iter().find_map(|item| names.iter().find_map(|name| item.get(name)));
    found.limit = found.limit.or_else(|| field(["limit", "q"]));
    found.remaining = found.remaining.or_else(|| field(["remaining", "r"]));
    // The first policy is that of the first limit, if they have one name or none.
    let named = items.first().map(|item| item.value);
    let policy = text("ratelimit-policy").map(Item::list).unwrap_or_default();
    let policy =
        policy.iter().find(|item| named.is_none_or(|name| item.value == name || !name.starts_with('"')));
    if let Some(policy) = policy {
        found.limit = found.limit.or_else(|| policy.get("q").or_else(|| policy.number()));
        found.window = found.window.or_else(|| policy.get("w"));
    }
    found.source =
        text("docker-ratelimit-source").map(crate::redact::printable).filter(|text| !text.is_empty());
    (found.limit.is_some() || found.remaining.is_some()).then_some(found)
}

/// `value;name=number;…`, one of a list.
struct Item<'a> {
    value: &'a str,
    parameters: Vec<(&'a str, &'a str)>,
}

impl<'a> Item<'a> {
    fn list(text: &'a str) -> Vec<Self> {
        let parse = |item: &'a str| {
            let mut parts = item.split(';').map(str::trim);
            let value = parts.next().unwrap_or_default();
            // Draft 07 has its fields as members of the list itself: `limit=100, remaining=50`.
            let parameters = [value].into_iter().chain(parts).filter_map(|part| part.split_once('='));
            Self { value, parameters: parameters.map(|(name, value)| (name.trim(), value.trim())).collect() }
        };
        text.split(',').map(parse).collect()
    }

    fn number(&self) -> Option<u64> {
        self.value.parse().ok()
    }

    fn get(&self, name: &str) -> Option<u64> {
        let (_, value) = self.parameters.iter().find(|(known, _)| known.eq_ignore_ascii_case(name))?;
        value.parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    #[test]
    fn the_words_of_the_field() {
        for (headers, [limit, remaining, window]) in [
            // Docker Hub.
            (
                &[("ratelimit-limit", "100;w=21600"), ("ratelimit-remaining", "76;w=21600")][..],
                [Some(100), Some(76), Some(21600)],
            ),
            // GitLab.
            (
                &[
                    ("ratelimit-limit", "60"),
                    ("ratelimit-remaining", "59"),
                    ("ratelimit-reset", "1700000000"),
                ],
                [Some(60), Some(59), None],
            ),
            // GitHub.
            (&[("x-ratelimit-limit", "5000"), ("x-ratelimit-remaining", "0")], [Some(5000), Some(0), None]),
            // Drafts 03, 07 and 10.
            (
                &[("ratelimit-limit", "100, 10;w=1, 100;w=60"), ("ratelimit-remaining", "7")],
                [Some(100), Some(7), Some(60)],
            ),
            (
                &[("ratelimit", "limit=100, remaining=50, reset=5"), ("ratelimit-policy", "100;w=60")],
                [Some(100), Some(50), Some(60)],
            ),
            (
                &[
                    ("ratelimit", "\"day\";r=50;t=30"),
                    ("ratelimit-policy", "\"second\";q=1;w=1, \"day\";q=100;w=86400"),
                ],
                [Some(100), Some(50), Some(86400)],
            ),
            (&[("ratelimit-limit", "many"), ("ratelimit-remaining", "5")], [None, Some(5), None]),
        ] {
            let headers = headers
                .iter()
                .map(|&(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
            let found = parse(&headers.collect()).unwrap();
            assert_eq!([found.limit, found.remaining, found.window], [limit, remaining, window]);
        }
    }

    #[test]
    fn nothing_is_nothing() {
        for (name, value) in [
            ("date", "today"),
            ("ratelimit-limit", ""),
            ("ratelimit-limit", "-1"),
            ("ratelimit", ";;=,"),
            ("docker-ratelimit-source", "192.0.2.1"),
        ] {
            let header = (HeaderName::from_static(name), HeaderValue::from_static(value));
            assert_eq!(parse(&HeaderMap::from_iter([header])), None, "{name}: {value}");
        }
    }

    #[test]
    fn docker_hub_has_a_place_for_the_question() {
        let hub = RegistryName::docker_hub();
        assert_eq!(asked_about(&hub, None), Some(DOCKER_HUB_PREVIEW));
        let nginx: Repository = "nginx".parse().unwrap();
        assert_eq!(asked_about(&hub, Some(&nginx)), Some("library/nginx"));
        assert_eq!(asked_about(&RegistryName::new("ghcr.io").unwrap(), None), None);
    }
}
