//! One registry: where it is, what it asks for, and the tokens it gave.

use std::sync::{Arc, PoisonError, RwLock};

use auth::{Credential, Secret};
use http::header::WWW_AUTHENTICATE;
use http::{HeaderMap, HeaderValue};
use oci::RegistryName;
use tokio::sync::OnceCell;
use url::Url;

use crate::challenge::Challenge;
use crate::error::Error;
use crate::exchange::{basic, sensitive};
use crate::scheme;
use crate::scope::Scope;
use crate::shared::Shared;
use crate::token::Tokens;

pub(crate) struct Host {
    pub(crate) shared: Arc<Shared>,
    name: RegistryName,
    base: OnceCell<Url>,
    /// What the registry asked for when it was first asked something; until then requests go without credentials.
    challenge: RwLock<Option<Challenge>>,
    tokens: Tokens,
}

/// What a request carries to be let in.
pub(crate) enum Authorization {
    None,
    Basic(HeaderValue),
    Bearer(Secret),
}

impl Authorization {
    pub(crate) fn header(&self) -> Option<HeaderValue> {
        match self {
            Self::None => None,
            Self::Basic(value) => Some(value.clone()),
            Self::Bearer(token) => Some(sensitive(&format!("Bearer {}", token.expose()))),
        }
    }
}

impl Host {
    pub(crate) fn new(shared: Arc<Shared>, name: RegistryName) -> Self {
        Self { shared, name, base: OnceCell::new(), challenge: RwLock::default(), tokens: Tokens::default() }
    }

    /// The URL of `path` on the registry; `path` begins behind `/v2/`.
    pub(crate) async fn url(&self, path: &str) -> Result<Url, Error> {
        let base = self.base.get_or_try_init(|| async {
            let scheme =
                scheme::find(&self.name, self.shared.options.insecure, &self.shared.transport.resolver).await;
            let text = format!("{scheme}://{}/v2/", self.name);
            Url::parse(&text).map_err(|error| Error::Protocol {
                method: http::Method::GET,
                url: text.clone(),
                reason: format!("the registry's name makes no URL: {error}"),
            })
        });
        let mut url = base.await?.clone();
        url.set_path(&format!("/v2/{path}"));
        Ok(url)
    }

    /// Whether a URL is this registry's own, so that its credentials may go there.
    pub(crate) fn is_own(&self, url: &Url) -> bool {
        self.base.get().is_some_and(|base| base.origin() == url.origin())
    }

    /// What a request for `scopes` has to carry, by all that is known of the registry.
    pub(crate) async fn authorization(
        &self,
        url: &Url,
        scopes: &[Scope],
        repository: &str,
    ) -> Result<Authorization, Error> {
        let challenge = self.challenge.read().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(challenge) = challenge else { return Ok(Authorization::None) };
        let credential = self.shared.keychain.credential(self.name.as_str(), Some(repository)).await?;
        match (challenge, credential) {
            (Challenge::Bearer(bearer), credential) => {
                let token = self.tokens.get(&self.shared, &bearer, scopes, &credential).await?;
                Ok(Authorization::Bearer(token))
            }
            (Challenge::Basic, Credential::Basic { username, password }) => {
                self.shared.may_carry_credentials(url)?;
                Ok(Authorization::Basic(basic(&username, &password)))
            }
            (Challenge::Basic, Credential::RegistryToken(token)) => {
                self.shared.may_carry_credentials(url)?;
                Ok(Authorization::Bearer(token))
            }
            (Challenge::Basic, Credential::Anonymous | Credential::IdentityToken(_)) => {
                Ok(Authorization::None)
            }
        }
    }

    /// Learns from a 401; whether it makes sense to ask again. `scopes` gets what the registry says is needed.
    pub(crate) fn challenged(
        &self,
        headers: &HeaderMap,
        used: &Authorization,
        scopes: &mut Vec<Scope>,
    ) -> bool {
        let values = headers.get_all(WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok());
        let Some(challenge) = Challenge::choose(values) else { return false };
        if let Challenge::Bearer(bearer) = &challenge {
            Scope::join(scopes, &bearer.scopes);
        }
        let mut known = self.challenge.write().unwrap_or_else(PoisonError::into_inner);
        let again = match used {
            Authorization::None => {
                known.as_ref() != Some(&challenge) || matches!(challenge, Challenge::Bearer(_))
            }
            Authorization::Basic(_) => matches!(challenge, Challenge::Bearer(_)),
            Authorization::Bearer(token) => {
                self.tokens.forget(token);
                true
            }
        };
        *known = Some(challenge);
        again
    }
}
