//! Access itself, for whoever wants no more than that: a token to use elsewhere, and whether credentials are taken.

use std::time::Instant;

use auth::{Credential, Secret};
use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use oci::{RegistryName, Repository};
use url::Url;

use crate::challenge::{Bearer, Challenge};
use crate::error::Error;
use crate::exchange::{Request, asked_patience, is_worth_another, status_error};
use crate::host::{Authorization, Host};
use crate::scope::Scope;
use crate::transport::Lane;
use crate::{Client, RegistryStore, token};

/// A bearer token, and what its server says of it (distribution's token specification).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct AccessToken {
    /// The token, for `Authorization: Bearer`.
    pub token: Secret,
    /// The same as the server's `access_token`, if it gives that too.
    pub access_token: Option<Secret>,
    /// What gives further tokens, if the server gives one.
    pub refresh_token: Option<Secret>,
    /// How long the token is good, in seconds, if the server says so.
    pub expires_in: Option<u64>,
}

impl RegistryStore {
    /// A token for the repository: for pulling, after [`for_push`](Self::for_push) for pushing too. It is also for
    /// pulling from `more`, repositories on the same registry, as a mount needs.
    ///
    /// # Errors
    /// Those of every request, and one for a registry that wants no token.
    pub async fn token(&self, more: &[Repository]) -> Result<AccessToken, store::Error> {
        self.ask_token(more)
            .await
            .map_err(|error| error.doing(format!("getting a token for {}", self.repository)))
    }

    async fn ask_token(&self, more: &[Repository]) -> Result<AccessToken, Error> {
        let host = &self.host;
        let url = host.url("").await?;
        let refused = |reason| Error::protocol(&Method::GET, &url, reason);
        let bearer = match host.ask_challenge(url.clone()).await? {
            Some(Challenge::Bearer(bearer)) => bearer,
            Some(Challenge::Basic) => {
                return Err(refused(
                    "the registry wants user and password with each request, and gives no tokens",
                ));
            }
            None => return Err(refused("the registry asks for no token")),
        };
        let mut scopes = self.scopes.clone();
        for repository in more {
            Scope::join(&mut scopes, &[Scope::pull(repository.path())]);
        }
        host.access_token(&bearer, Some(self.repository.path()), &scopes).await
    }
}

impl Host {
    /// A token of the token server, or the user's own if that is what there is.
    pub(crate) async fn access_token(
        &self,
        bearer: &Bearer,
        repository: Option<&str>,
        scopes: &[Scope],
    ) -> Result<AccessToken, Error> {
        let credential = self.shared.keychain.credential(self.name().as_str(), repository).await?;
        if let Credential::RegistryToken(token) = credential {
            return Ok(AccessToken { token, access_token: None, refresh_token: None, expires_in: None });
        }
        let (answer, token) = token::request(self, bearer, scopes, &credential).await?;
        let expires_in = answer.expires_in();
        Ok(AccessToken {
            token,
            access_token: answer.access_token,
            refresh_token: answer.refresh_token,
            expires_in,
        })
    }
}

impl Client {
    /// Asks a registry whether it takes the credential that the keychain has for it, as `docker login` does; `false` if
    /// it lets everybody in without looking.
    ///
    /// # Errors
    /// Those of every request; of the kind [`Unauthorized`](store::Kind::Unauthorized) or
    /// [`Denied`](store::Kind::Denied) if it does not take the credential.
    pub async fn check(&self, registry: &RegistryName) -> Result<bool, store::Error> {
        let check = async {
            let host = self.host(registry);
            // A token of an earlier run says nothing of the credential.
            host.forget_remembered();
            let url = host.url("").await?;
            host.send(question(&url)).await?;
            Ok(!matches!(host.authorization(&url, &[], "").await?, Authorization::Unasked))
        };
        check.await.map_err(|error: Error| {
            error.doing(format!("asking {registry} whether it takes the credentials"))
        })
    }
}

impl Host {
    /// What the registry wants of somebody without credentials; `None` if nothing.
    async fn ask_challenge(&self, mut url: Url) -> Result<Option<Challenge>, Error> {
        let started = Instant::now();
        let retries = self.shared.options.retries;
        let mut waits = retries.schedule();
        let mut attempts = 0;
        loop {
            attempts += 1;
            let effort = || (attempts, started.elapsed());
            let client = self.shared.transport.client(Lane::Api, &url, None)?;
            let answer = self.attempt(&client, &question(&url), &url, &Authorization::Unasked).await;
            if let Some(again) = self.misled(&url, &Authorization::Unasked, &answer).await {
                url = again;
                attempts -= 1;
                continue;
            }
            let (error, asked) = match answer {
                Err(source) => (Error::network(&Method::GET, &url, source, effort()), None),
                Ok(response) if response.status().is_success() => return Ok(None),
                Ok(response) if response.status() == StatusCode::UNAUTHORIZED => {
                    let challenge = Challenge::of(response.headers());
                    let reason = "the registry wants credentials of a kind that hoist does not know";
                    let challenge = challenge.ok_or_else(|| Error::protocol(&Method::GET, &url, reason))?;
                    self.named(challenge.clone());
                    return Ok(Some(challenge));
                }
                Ok(response) => {
                    let asked = asked_patience(response.headers());
                    (status_error(&Method::GET, &url, response, false, effort()).await, asked)
                }
            };
            match waits.next().filter(|_| is_worth_another(&error)) {
                None => return Err(error),
                Some(scheduled) => self.shared.wait(&error, retries.wait(scheduled, asked)).await,
            }
        }
    }
}

/// The question that every registry answers (distribution specification, end-1).
pub(crate) fn question(url: &Url) -> Request<'static> {
    Request {
        method: Method::GET,
        url: url.clone(),
        headers: HeaderMap::new(),
        body: Bytes::new(),
        scopes: &[],
        repository: "",
        lane: Lane::Api,
    }
}
