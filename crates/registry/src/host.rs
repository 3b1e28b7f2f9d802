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
    /// The registry has not asked for anything yet, or it is another host's turn.
    Unasked,
    /// The registry asks, but there is no credential of the kind.
    Nothing,
    /// User and password.
    Basic(HeaderValue),
    /// A token of the user's own; nobody gives another.
    Given(Secret),
    /// A token of the token server, which can give another.
    Token(Secret),
}

impl Authorization {
    pub(crate) fn header(&self) -> Option<HeaderValue> {
        match self {
            Self::Unasked | Self::Nothing => None,
            Self::Basic(value) => Some(value.clone()),
            Self::Given(token) | Self::Token(token) => Some(sensitive(&format!("Bearer {}", token.expose()))),
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
            let refused = |reason| Error::Protocol { method: http::Method::GET, url: text.clone(), reason };
            let base = Url::parse(&text)
                .map_err(|error| refused(format!("the registry's name makes no URL: {error}")))?;
            // URLs read `127.1` and `0x7f000001` as addresses; a name must not mean two hosts.
            match base.host() {
                Some(url::Host::Ipv4(address)) if address.to_string() != self.name.host() => {
                    Err(refused(format!("the registry's name is an odd spelling of {address}; write that")))
                }
                _ => Ok(base),
            }
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
        let Some(challenge) = challenge else { return Ok(Authorization::Unasked) };
        let credential = self.shared.keychain.credential(self.name.as_str(), Some(repository)).await?;
        if credential != Credential::Anonymous {
            self.shared.may_carry_credentials(url)?;
        }
        match (challenge, credential) {
            (_, Credential::RegistryToken(token)) => Ok(Authorization::Given(token)),
            (Challenge::Bearer(bearer), credential) => {
                let token = self.tokens.get(&self.shared, &bearer, scopes, &credential).await?;
                Ok(Authorization::Token(token))
            }
            (Challenge::Basic, Credential::Basic { username, password }) => {
                Ok(Authorization::Basic(basic(&username, &password)))
            }
            (Challenge::Basic, Credential::Anonymous | Credential::IdentityToken { .. }) => {
                Ok(Authorization::Nothing)
            }
        }
    }

    /// Learns from a 401; whether it makes sense to ask again. `scopes` gets what the registry says is needed; `first`
    /// is whether this is the request's first 401, so that the token it carried may be an old one.
    pub(crate) fn challenged(
        &self,
        headers: &HeaderMap,
        used: &Authorization,
        scopes: &mut Vec<Scope>,
        first: bool,
    ) -> bool {
        let values = headers.get_all(WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok());
        let Some(challenge) = Challenge::choose(values) else { return false };
        let before = scopes.clone();
        let wants_token = match &challenge {
            Challenge::Bearer(bearer) => {
                Scope::join(scopes, &bearer.scopes);
                true
            }
            Challenge::Basic => false,
        };
        *self.challenge.write().unwrap_or_else(PoisonError::into_inner) = Some(challenge);
        match used {
            Authorization::Unasked => true,
            Authorization::Nothing | Authorization::Basic(_) => wants_token,
            Authorization::Given(_) => false,
            Authorization::Token(token) => {
                self.tokens.forget(token);
                first || *scopes != before
            }
        }
    }
}
