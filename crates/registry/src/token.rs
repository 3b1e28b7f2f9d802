//! Bearer tokens (distribution's token specification): one request a scope, however many requests wait for it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use auth::{Credential, Secret};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use http::header::AUTHORIZATION;
use http::{HeaderMap, Method, StatusCode};
use reqwest::{Client, RequestBuilder};
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::OnceCell;
use tokio::time::Instant;
use url::Url;

use crate::challenge::Bearer;
use crate::error::Error;
use crate::exchange::{
    REDIRECTS, asked_patience, basic, is_worth_another, read_bounded, redirect, status_error,
};
use crate::host::{Host, granted};
use crate::memory::{KeptToken, Moment, Salt};
use crate::redact;
use crate::scope::Scope;
use crate::transport::Lane;

/// The largest answer of a token server, in bytes.
const LIMIT: u64 = 1 << 20;

/// The user of an identity token without one, as in docker's protocol for helpers.
const TOKEN_USER: &str = "<token>";

/// How long a token server may take.
const PATIENCE: Duration = Duration::from_mins(1);

/// How long a token lives that does not say so (token specification, `expires_in`).
const DEFAULT_LIFE: Duration = Duration::from_mins(1);

/// No token is used for longer, whatever it says.
const LONGEST_LIFE: Duration = Duration::from_hours(24);

/// The tokens of one registry.
#[derive(Default)]
pub(crate) struct Tokens {
    known: Mutex<Vec<Token>>,
    /// What is being asked for now.
    fetches: Mutex<Vec<(Vec<Scope>, Fetch)>>,
}

/// A token on its way: the first who needs it asks, the others wait. A failure goes to all who waited; whoever comes
/// later tries again.
type Fetch = Arc<OnceCell<Result<Secret, Arc<Error>>>>;

/// A token that the token server gave in this run.
#[derive(Clone)]
pub(crate) struct Token {
    scopes: Vec<Scope>,
    secret: Secret,
    /// Whom it was given to.
    credential: Credential,
    /// When it was asked for.
    asked: Moment,
    life: Duration,
    /// From here on it is renewed rather than used.
    renew_at: Instant,
}

impl Token {
    /// The token as it may be remembered. One that is as good as the credential may not: GitHub's registry answers a
    /// password with the same password in base64. Nor is one remembered that says that it is for less than was asked:
    /// the user may get the right to the rest.
    pub(crate) fn kept(&self, salt: &Salt) -> Option<KeptToken> {
        let secret = match &self.credential {
            Credential::Anonymous => None,
            Credential::Basic { password, .. } => Some(password),
            Credential::IdentityToken { token, .. } | Credential::RegistryToken(token) => Some(token),
        };
        if secret.is_some_and(|secret| reveals(self.secret.expose(), secret.expose())) {
            return None;
        }
        if let Some(granted) = granted(&self.secret)
            && !Scope::covers(&Scope::parse_list(&granted.join(" ")), &self.scopes)
        {
            return None;
        }
        Some(KeptToken {
            identity: salt.identity(&self.credential),
            scopes: self.scopes.iter().map(Scope::to_string).collect::<Vec<_>>().join(" "),
            token: self.secret.clone(),
            asked: self.asked,
            life: self.life.as_secs(),
        })
    }
}

/// Whether a secret stands in a token: as it is, or in base64 as the whole or as a part between dots.
fn reveals(token: &str, secret: &str) -> bool {
    let stands_in = |text: &[u8]| text.windows(secret.len().max(1)).any(|part| part == secret.as_bytes());
    let decoded = |part: &str| {
        let part = part.trim_end_matches('=').replace('-', "+").replace('_', "/");
        STANDARD_NO_PAD.decode(part).ok()
    };
    stands_in(token.as_bytes()) || token.split('.').filter_map(decoded).any(|part: Vec<u8>| stands_in(&part))
}

/// How long a token is used of its life: until a tenth is left, so that a request on its way still finds it good.
pub(crate) fn use_of(life: Duration) -> Duration {
    let life = life.min(LONGEST_LIFE);
    life.saturating_sub((life / 10).min(Duration::from_secs(30)))
}

impl Tokens {
    /// A token for `scopes`, from memory or from the token server.
    pub(crate) async fn get(
        &self,
        host: &Host,
        bearer: &Bearer,
        scopes: &[Scope],
        credential: &Credential,
    ) -> Result<Secret, Error> {
        let fetch = {
            let mut fetches = lock(&self.fetches);
            // Looked for under the lock, as a fetch ends by making its token known.
            if let Some(secret) = self.find(scopes) {
                return Ok(secret);
            }
            if let Some(secret) = host.notes.token(credential, scopes) {
                return Ok(secret);
            }
            let covering = fetches.iter().find(|(fetched, _)| Scope::covers(fetched, scopes));
            let covering = covering.map(|(_, fetch)| Arc::clone(fetch));
            covering.unwrap_or_else(|| {
                let fetch = Fetch::default();
                fetches.push((scopes.to_vec(), Arc::clone(&fetch)));
                fetch
            })
        };
        let outcome = fetch.get_or_init(|| async {
            let wanted = self.wanted(&fetch).unwrap_or_else(|| scopes.to_vec());
            let token = ask(host, bearer, &wanted, credential).await.map_err(Arc::new)?;
            let secret = token.secret.clone();
            let mut known = lock(&self.known);
            known.retain(|old| !Scope::covers(&wanted, &old.scopes));
            known.push(token);
            Ok(secret)
        });
        let outcome = outcome.await.clone();
        lock(&self.fetches).retain(|(_, other)| !Arc::ptr_eq(other, &fetch));
        outcome.map_err(Error::Token)
    }

    /// Forgets a token that a registry did not take.
    pub(crate) fn forget(&self, secret: &Secret) {
        lock(&self.known).retain(|token| token.secret != *secret);
    }

    /// All tokens of this run.
    pub(crate) fn all(&self) -> Vec<Token> {
        lock(&self.known).clone()
    }

    fn find(&self, scopes: &[Scope]) -> Option<Secret> {
        let now = Instant::now();
        let serves = |token: &&Token| now < token.renew_at && Scope::covers(&token.scopes, scopes);
        lock(&self.known).iter().find(serves).map(|token| token.secret.clone())
    }

    /// What a fetch is for: more, maybe, than the request needs that came to run it after another gave up.
    fn wanted(&self, fetch: &Fetch) -> Option<Vec<Scope>> {
        let fetches = lock(&self.fetches);
        fetches.iter().find(|(_, other)| Arc::ptr_eq(other, fetch)).map(|(scopes, _)| scopes.clone())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a token server answers. Some call the token `token`, some `access_token`.
#[derive(Deserialize)]
pub(crate) struct Answer {
    token: Option<Secret>,
    pub(crate) access_token: Option<Secret>,
    pub(crate) refresh_token: Option<Secret>,
    expires_in: Option<Value>,
}

impl Answer {
    /// The token, by whichever name.
    pub(crate) fn token(&self) -> Option<&Secret> {
        let tokens = [&self.token, &self.access_token].into_iter().flatten();
        tokens.into_iter().find(|token| !token.expose().is_empty())
    }

    /// How long it says that the token is good, in seconds.
    pub(crate) fn expires_in(&self) -> Option<u64> {
        // Some write the number as a text.
        let number = |value: &Value| value.as_u64().or_else(|| value.as_str()?.trim().parse().ok());
        self.expires_in.as_ref().and_then(number)
    }

    /// How long the token is good. What says nothing sensible counts as nothing said.
    fn life(&self) -> Duration {
        let seconds = self.expires_in().filter(|&seconds| seconds > 0);
        seconds.map_or(DEFAULT_LIFE, Duration::from_secs).min(LONGEST_LIFE)
    }
}

async fn ask(
    host: &Host,
    bearer: &Bearer,
    scopes: &[Scope],
    credential: &Credential,
) -> Result<Token, Error> {
    let (asked, asked_at) = (Moment::now(), Instant::now());
    let (answer, secret) = request(host, bearer, scopes, credential).await?;
    let life = answer.life();
    let renew_at = asked_at + use_of(life);
    Ok(Token { scopes: scopes.to_vec(), secret, credential: credential.clone(), asked, life, renew_at })
}

/// Asks the token server; the answer, and the token in it.
pub(crate) async fn request(
    host: &Host,
    bearer: &Bearer,
    scopes: &[Scope],
    credential: &Credential,
) -> Result<(Answer, Secret), Error> {
    let realm = Url::parse(&bearer.realm).map_err(|error| Error::Protocol {
        method: Method::GET,
        url: bearer.realm.clone(),
        reason: format!("the registry names this as its token server, but it is no URL: {error}"),
    })?;
    if *credential != Credential::Anonymous {
        host.shared.may_carry_credentials(&realm)?;
    }
    let mut question = Question::new(realm.clone(), bearer, scopes, credential);
    let mut answer = question.send(host).await;
    if let Credential::IdentityToken { username, token, .. } = credential
        && let Err(error) = &answer
        && let Some(
            status @ (StatusCode::BAD_REQUEST
            | StatusCode::UNAUTHORIZED
            | StatusCode::NOT_FOUND
            | StatusCode::METHOD_NOT_ALLOWED),
        ) = error.status()
    {
        // A server that knows nothing of OAuth2 may take the token as a password (token specification, "OAuth2"). What it
        // answers to the unknown was seen to be 404 (GCR), 401 (Artifactory) and 400 (ACR), as containerd has it.
        let user = if username.is_empty() { TOKEN_USER } else { username };
        let credential = Credential::basic(user, token.clone());
        question = Question::new(realm, bearer, scopes, &credential);
        let second = question.send(host).await;
        // One that does know it has said what is wrong with the token.
        if second.is_ok() || matches!(status, StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED) {
            answer = second;
        }
    }
    let answer = answer?;
    let Some(secret) = answer.token().cloned() else {
        let reason = "the token server's answer holds no token";
        return Err(Error::protocol(&question.method, &question.url, reason));
    };
    Ok((answer, secret))
}

/// A request for a token.
struct Question {
    method: Method,
    url: Url,
    headers: HeaderMap,
    form: Vec<(&'static str, Secret)>,
}

impl Question {
    fn new(realm: Url, bearer: &Bearer, scopes: &[Scope], credential: &Credential) -> Self {
        let scopes = scopes.iter().map(Scope::to_string);
        let mut question =
            Self { method: Method::GET, url: realm, headers: HeaderMap::new(), form: Vec::new() };
        match credential {
            // An identity token is a refresh token, and for those there is the OAuth2 way.
            Credential::IdentityToken { token, .. } => {
                question.method = Method::POST;
                let scope = scopes.collect::<Vec<_>>().join(" ");
                let service = bearer.service.iter().map(|service| ("service", Secret::new(service)));
                question.form = vec![
                    ("grant_type", Secret::new("refresh_token")),
                    ("client_id", Secret::new("hoist")),
                    ("scope", Secret::new(scope)),
                    ("refresh_token", token.clone()),
                ];
                question.form.extend(service);
                return question;
            }
            Credential::Basic { username, password } => {
                question.headers.insert(AUTHORIZATION, basic(username, password));
            }
            Credential::Anonymous | Credential::RegistryToken(_) => {}
        }
        let service = bearer.service.iter().map(|service| ("service", service.clone()));
        for (name, value) in service.chain(scopes.map(|scope| ("scope", scope))) {
            question.url.query_pairs_mut().append_pair(name, &value);
        }
        question
    }

    /// Sends it until there is an answer, or it is clear that there will be none.
    async fn send(&self, host: &Host) -> Result<Answer, Error> {
        let shared = &host.shared;
        let started = Instant::now();
        let retries = shared.options.retries;
        // A token server that is only remembered is not worth waiting for.
        let mut waits = retries.schedule().take(if host.guesses() { 0 } else { usize::MAX });
        let mut attempts = 0;
        loop {
            attempts += 1;
            let (error, asked) = match self.attempt(host, (attempts, started)).await {
                Ok(answer) => return Ok(answer),
                Err(failure) => failure,
            };
            match waits.next().filter(|_| is_worth_another(&error) && retries.allow(asked)) {
                None => return Err(error),
                Some(scheduled) => shared.wait(&error, retries.wait(scheduled, asked)).await,
            }
        }
    }

    /// Sends it once. A failure comes with the patience that the token server asks for.
    async fn attempt(
        &self,
        host: &Host,
        (attempts, started): (usize, Instant),
    ) -> Result<Answer, (Error, Option<Duration>)> {
        let method = &self.method;
        let effort = || (attempts, started.elapsed());
        let mut url = self.url.clone();
        let mut sender = host.sender(&url);
        for _ in 0..=REDIRECTS {
            tracing::debug!(target: "hoist::http", "--> {method} {} (for a token)", redact::url(&url));
            let broken = |source| (Error::network(method, &url, source, effort()), None);
            let transport = &host.shared.transport;
            let client = transport.client(Lane::Api, &url, sender).map_err(|error| (error, None))?;
            let sent = self.request(&client, &url, &transport.headers).send().await;
            let response = sent.map_err(|error| broken(transport.explain(&url, error)))?;
            let status = response.status();
            tracing::debug!(target: "hoist::http", "<-- {status} (the token is not shown)");
            if status.is_success() {
                let body = read_bounded(response, LIMIT, PATIENCE).await.map_err(broken)?;
                let too_large = || (Error::TooLarge { url: redact::url(&url), limit: LIMIT }, None);
                return serde_json::from_slice(&body.ok_or_else(too_large)?).map_err(|_| {
                    let reason = "the token server's answer is not the JSON it should be";
                    (Error::protocol(method, &url, reason), None)
                });
            }
            let target = redirect(method, self.form.is_empty(), &url, &response);
            let Some(target) = target.map_err(|error| (error, None))? else {
                let asked = asked_patience(response.headers());
                let authorized = self.headers.contains_key(AUTHORIZATION) || !self.form.is_empty();
                return Err((status_error(method, &url, response, authorized, effort()).await, asked));
            };
            let here = transport.reached(&url, response.remote_addr());
            sender = Some(sender.map_or(here, |before| before.min(here)));
            url = target;
        }
        Err((Error::protocol(method, &self.url, "too many redirects"), None))
    }

    /// The request to a URL: the realm's, or one that it redirects to. Only the realm's own origin gets what is secret.
    fn request(&self, client: &Client, url: &Url, user_s: &HeaderMap) -> RequestBuilder {
        let request = client.request(self.method.clone(), url.clone()).timeout(PATIENCE);
        if url.origin() != self.url.origin() {
            return request;
        }
        let mut headers = user_s.clone();
        headers.extend(self.headers.clone());
        let request = request.headers(headers);
        if self.form.is_empty() {
            return request;
        }
        let form: Vec<(&str, &str)> = self.form.iter().map(|(name, value)| (*name, value.expose())).collect();
        request.form(&form)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lives() {
        let life = |text: &str| serde_json::from_str::<Answer>(text).unwrap().life().as_secs();
        for (answer, seconds) in [
            ("{}", 60),
            (r#"{"expires_in":300}"#, 300),
            (r#"{"expires_in":0}"#, 60),
            (r#"{"expires_in":-5}"#, 60),
            (r#"{"expires_in":"soon"}"#, 60),
            (r#"{"expires_in":"300"}"#, 300),
            (r#"{"expires_in":18446744073709551615}"#, 86400),
        ] {
            assert_eq!(life(answer), seconds, "{answer}");
        }
    }
}
