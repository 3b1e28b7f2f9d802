//! Bearer tokens (distribution's token specification): one request a scope, however many requests wait for it.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use auth::{Credential, Secret};
use http::Method;
use http::header::AUTHORIZATION;
use serde::Deserialize;
use url::Url;

use crate::challenge::Bearer;
use crate::error::{Error, StatusError};
use crate::exchange::{basic, read_bounded};
use crate::redact;
use crate::retry::is_passing;
use crate::scope::Scope;
use crate::shared::Shared;
use crate::transport::Lane;

/// The largest answer of a token server, in bytes.
const LIMIT: u64 = 1 << 20;

/// How long a token lives that does not say so (token specification, `expires_in`).
const DEFAULT_LIFE: Duration = Duration::from_mins(1);

/// The tokens of one registry.
#[derive(Default)]
pub(crate) struct Tokens {
    known: Mutex<Vec<Token>>,
    /// Held while a token is fetched; whoever waits here finds it in `known` afterwards.
    fetching: tokio::sync::Mutex<()>,
}

#[derive(Clone)]
struct Token {
    scopes: Vec<Scope>,
    secret: Secret,
    /// From here on it is renewed rather than used.
    renew_at: Instant,
}

impl Tokens {
    /// A token for `scopes`, from memory or from the token server.
    pub(crate) async fn get(
        &self,
        shared: &Shared,
        bearer: &Bearer,
        scopes: &[Scope],
        credential: &Credential,
    ) -> Result<Secret, Error> {
        if let Credential::RegistryToken(token) = credential {
            return Ok(token.clone());
        }
        if let Some(secret) = self.find(scopes) {
            return Ok(secret);
        }
        let _fetching = self.fetching.lock().await;
        if let Some(secret) = self.find(scopes) {
            return Ok(secret);
        }
        let token = fetch(shared, bearer, scopes, credential).await?;
        let secret = token.secret.clone();
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|old| !Scope::covers(scopes, &old.scopes));
        known.push(token);
        Ok(secret)
    }

    /// Forgets a token that a registry did not take.
    pub(crate) fn forget(&self, secret: &Secret) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|token| token.secret.expose() != secret.expose());
    }

    fn find(&self, scopes: &[Scope]) -> Option<Secret> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let serves = |token: &&Token| now < token.renew_at && Scope::covers(&token.scopes, scopes);
        known.iter().find(serves).map(|token| token.secret.clone())
    }
}

/// What a token server answers. Some call the token `token`, some `access_token`.
#[derive(Deserialize)]
struct Answer {
    token: Option<String>,
    access_token: Option<String>,
    expires_in: Option<u64>,
}

async fn fetch(
    shared: &Shared,
    bearer: &Bearer,
    scopes: &[Scope],
    credential: &Credential,
) -> Result<Token, Error> {
    let realm = Url::parse(&bearer.realm).map_err(|error| Error::Protocol {
        method: Method::GET,
        url: bearer.realm.clone(),
        reason: format!("the registry names this as its token server, but it is no URL: {error}"),
    })?;
    let asked_at = Instant::now();
    let answer = match credential {
        Credential::IdentityToken(token) => exchange(shared, &realm, bearer, scopes, token).await?,
        _ => ask(shared, &realm, bearer, scopes, credential).await?,
    };
    let secret = answer.token.or(answer.access_token).filter(|token| !token.is_empty());
    let Some(secret) = secret else {
        return Err(Error::protocol(&Method::GET, &realm, "the token server's answer holds no token"));
    };
    let life = answer.expires_in.map_or(DEFAULT_LIFE, Duration::from_secs);
    // Renewed when a tenth of its life is left, so that a request on its way still finds it good.
    let renew_at = asked_at + life.saturating_sub((life / 10).min(Duration::from_secs(30)));
    Ok(Token { scopes: scopes.to_vec(), secret: Secret::new(secret), renew_at })
}

/// The token server's plain way: GET with user and password, or with nothing.
async fn ask(
    shared: &Shared,
    realm: &Url,
    bearer: &Bearer,
    scopes: &[Scope],
    credential: &Credential,
) -> Result<Answer, Error> {
    let mut url = realm.clone();
    {
        let mut query = url.query_pairs_mut();
        if let Some(service) = &bearer.service {
            query.append_pair("service", service);
        }
        for scope in scopes {
            query.append_pair("scope", &scope.to_string());
        }
    }
    // `query_pairs_mut` leaves a bare `?` where nothing was added.
    if url.query() == Some("") {
        url.set_query(None);
    }
    let request = |url: Url| {
        let mut request = shared.transport.client(Lane::Api).get(url);
        if let Credential::Basic { username, password } = credential {
            request = request.header(AUTHORIZATION, basic(username, password));
        }
        request
    };
    if matches!(credential, Credential::Basic { .. }) {
        shared.may_carry_credentials(&url)?;
    }
    send(shared, &Method::GET, &url, || request(url.clone()), matches!(credential, Credential::Basic { .. }))
        .await
}

/// The token server's OAuth2 way, for identity tokens: they are refresh tokens.
async fn exchange(
    shared: &Shared,
    realm: &Url,
    bearer: &Bearer,
    scopes: &[Scope],
    token: &Secret,
) -> Result<Answer, Error> {
    shared.may_carry_credentials(realm)?;
    let scopes: Vec<String> = scopes.iter().map(Scope::to_string).collect();
    let scope = scopes.join(" ");
    let form = [
        ("grant_type", "refresh_token"),
        ("service", bearer.service.as_deref().unwrap_or_default()),
        ("client_id", "hoist"),
        ("scope", &scope),
        ("refresh_token", token.expose()),
    ];
    let request = || shared.transport.client(Lane::Api).post(realm.clone()).form(&form);
    send(shared, &Method::POST, realm, request, true).await
}

async fn send(
    shared: &Shared,
    method: &Method,
    url: &Url,
    request: impl Fn() -> reqwest::RequestBuilder,
    authorized: bool,
) -> Result<Answer, Error> {
    let started = Instant::now();
    let mut waits = shared.options.retries.schedule();
    let mut attempts = 0;
    loop {
        attempts += 1;
        tracing::debug!(target: "hoist::http", "--> {method} {} (for a token)", redact::url(url));
        let failed = |source| Error::network(method, url, source, (attempts, started.elapsed()));
        let error = match request().timeout(Duration::from_mins(1)).send().await {
            Err(error) => failed(error),
            Ok(response) => {
                let status = response.status();
                tracing::debug!(target: "hoist::http", "<-- {status} (the token is not shown)");
                let body = read_bounded(response, LIMIT, url).await?;
                if status.is_success() {
                    return serde_json::from_slice(&body).map_err(|_| {
                        Error::protocol(method, url, "the token server's answer is not the JSON it should be")
                    });
                }
                let (errors, text) = StatusError::explain(&body);
                Error::Status(Box::new(StatusError {
                    method: method.clone(),
                    url: redact::url(url),
                    status,
                    errors,
                    text,
                    authorized,
                    attempts,
                    elapsed: started.elapsed(),
                }))
            }
        };
        let passing = match error.status() {
            Some(status) => is_passing(status),
            None => error.kind() == store::Kind::Interrupted,
        };
        match waits.next().filter(|_| passing) {
            None => return Err(error),
            Some(wait) => shared.wait(&error, wait).await,
        }
    }
}
