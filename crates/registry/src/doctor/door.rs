//! The door of a registry: `/v2/`, what is asked for there, and whether what there is to show is taken.

use std::time::Instant;

use auth::{Credential, Origin};
use http::header::{CONTENT_TYPE, DATE, SERVER};
use http::{HeaderMap, HeaderName, Method, StatusCode};
use oci::Repository;
use url::Url;

use super::finding::{Facts, Oddity, Outcome, Probe};
use super::{Chart, failed, good};
use crate::access::question;
use crate::challenge::{Bearer, Challenge};
use crate::error::{ClockSkew, Error};
use crate::exchange::status_error;
use crate::host::{Authorization, Host};
use crate::redact::{self, printable};
use crate::scope::Scope;
use crate::transport::Lane;
use crate::{RateLimit, rate_limit};

/// What was learnt there.
pub(super) struct Door {
    /// Where tokens come from, if the registry wants tokens.
    pub(super) bearer: Option<Bearer>,
    /// The limits, if the answer tells them.
    pub(super) limit: Option<RateLimit>,
}

/// `None` if there is no way in.
pub(super) async fn examine(
    host: &Host,
    url: &Url,
    repository: Option<&Repository>,
    chart: &mut Chart<'_>,
) -> Option<Door> {
    let (status, headers) = api(host, url, repository.is_none(), chart).await?;
    chart.note(Probe::Clock, false, clock(&headers));
    let challenge = Challenge::of(&headers);
    if challenge.is_none() && status == StatusCode::UNAUTHORIZED {
        let reason = "the registry wants credentials of a kind that hoist does not know";
        chart.note(Probe::Challenge, true, failed(Error::protocol(&Method::GET, url, reason)));
        return None;
    }
    chart.note(Probe::Challenge, true, Outcome::Good(asked(challenge.as_ref())));
    let path = repository.map(Repository::path);
    let shown = credentials(host, path, challenge.as_ref()).await;
    if !chart.note(Probe::Credentials, true, shown) {
        return None;
    }
    let bearer = match challenge {
        Some(Challenge::Bearer(bearer)) => Some(bearer),
        Some(Challenge::Basic) | None => None,
    };
    let login = match &bearer {
        Some(bearer) => {
            let scopes: Vec<Scope> = path.map(Scope::pull).into_iter().collect();
            token(host, bearer, path, &scopes).await
        }
        None if status == StatusCode::UNAUTHORIZED => {
            good(host.send(question(url)).await.map(|_| Facts::LoggedIn {}))
        }
        None => Outcome::Skipped("nobody is asked at /v2/"),
    };
    let limit = rate_limit::parse(&headers);
    chart.note(Probe::Login, true, login).then_some(Door { bearer, limit })
}

/// The answer to who shows nothing. One that is no registry's decides only where nothing else will be asked.
async fn api(host: &Host, url: &Url, alone: bool, chart: &mut Chart<'_>) -> Option<(StatusCode, HeaderMap)> {
    let started = Instant::now();
    let answer = match host.shared.transport.client(Lane::Api, url, None) {
        Ok(client) => host.attempt(&client, &question(url), url, &Authorization::Unasked).await,
        Err(error) => Err(error.into()),
    };
    let effort = (1, started.elapsed());
    let response = match answer {
        Ok(response) => response,
        Err(error) => {
            chart.note(Probe::Api, true, failed(Error::network(&Method::GET, url, error, effort)));
            return None;
        }
    };
    let (status, headers) = (response.status(), response.headers().clone());
    let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok()).map(printable);
    let page = text(CONTENT_TYPE).is_some_and(|content| content.starts_with("text/html"));
    let outcome = match status {
        StatusCode::UNAUTHORIZED => Ok(()),
        _ if status.is_success() && page => {
            Err(Error::protocol(&Method::GET, url, "a web page answers, no registry"))
        }
        _ if status.is_success() => Ok(()),
        _ => Err(status_error(&Method::GET, url, response, false, effort).await),
    };
    let facts = outcome.map(|()| Facts::Api { status: status.as_u16(), server: text(SERVER) });
    (chart.note(Probe::Api, alone, good(facts)) || !alone).then_some((status, headers))
}

fn clock(headers: &HeaderMap) -> Outcome {
    if !headers.contains_key(DATE) {
        return Outcome::Skipped("the answer tells no time");
    }
    let Some(skew) = ClockSkew::of(headers) else { return Outcome::Good(Facts::Clock { ahead: 0 }) };
    let by = i64::try_from(skew.by.as_secs()).unwrap_or(i64::MAX);
    Outcome::Odd(Facts::Clock { ahead: if skew.ahead { by } else { -by } }, Oddity::Clock(skew))
}

fn asked(challenge: Option<&Challenge>) -> Facts {
    let (scheme, bearer) = match challenge {
        None => ("none", None),
        Some(Challenge::Basic) => ("basic", None),
        Some(Challenge::Bearer(bearer)) => ("bearer", Some(bearer)),
    };
    let realm = bearer.map(|bearer| match Url::parse(&bearer.realm) {
        Ok(realm) => redact::url(&realm),
        Err(_) => printable(&bearer.realm),
    });
    let service = bearer.and_then(|bearer| bearer.service.as_deref()).map(printable);
    Facts::Challenge { scheme, realm, service }
}

async fn credentials(host: &Host, path: Option<&str>, challenge: Option<&Challenge>) -> Outcome {
    let found = match host.shared.keychain.find(host.name().as_str(), path).await {
        Ok(found) => found,
        Err(error) => return failed(error.into()),
    };
    let facts = Facts::Credentials {
        kind: found.credential.kind(),
        username: found.credential.username().map(str::to_owned),
        source: (found.origin != Origin::Nowhere).then(|| found.origin.to_string()),
    };
    match (challenge, found.credential) {
        (Some(Challenge::Basic), Credential::Anonymous) => Outcome::Odd(facts, Oddity::NoCredentials),
        _ => Outcome::Good(facts),
    }
}

/// Asks for a token, and looks at what it is good for.
pub(super) async fn token(host: &Host, bearer: &Bearer, path: Option<&str>, scopes: &[Scope]) -> Outcome {
    let access = match host.access_token(bearer, path, scopes).await {
        Ok(access) => access,
        Err(error) => return failed(error),
    };
    let granted = Authorization::Token(access.token).granted();
    let lesser = granted.as_ref().is_some_and(|granted| {
        let granted = Scope::parse_list(&granted.join(" "));
        !Scope::covers(&granted, scopes)
    });
    let asked = scopes.iter().map(Scope::to_string).collect();
    let facts = Facts::Token { asked, granted, expires_in: access.expires_in };
    if lesser { Outcome::Odd(facts, Oddity::LesserToken) } else { Outcome::Good(facts) }
}
