//! One registry: where it is, what it asks for, and the tokens it gave.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};

use auth::{Credential, Secret};
use base64::Engine as _;
use http::{HeaderMap, HeaderValue, StatusCode};
use oci::RegistryName;
use serde::Deserialize;
use store::{Pace, Ranges};
use tokio::sync::OnceCell;
use url::Url;

use crate::challenge::Challenge;
use crate::error::Error;
use crate::exchange::{basic, sensitive};
use crate::guard::Zone;
use crate::ping::ping;
use crate::redact::printable;
use crate::scheme;
use crate::scope::Scope;
use crate::shared::Shared;
use crate::token::Tokens;
use crate::upload::Habits;

pub(crate) struct Host {
    pub(crate) shared: Arc<Shared>,
    name: RegistryName,
    base: OnceCell<Url>,
    /// What the registry asked for when it was first asked something; until then requests go without credentials.
    challenge: RwLock<Option<Challenge>>,
    /// Whether `/v2/` asks for something, once that was asked.
    pinged: OnceCell<bool>,
    tokens: Tokens,
    /// Whether it sends parts of blobs, once one was asked for.
    parts: OnceLock<bool>,
    /// How much it takes at once.
    pub(crate) pace: Arc<Pace>,
    /// Whether it ended connections as requests came.
    pub(crate) drops: AtomicBool,
    /// How it takes blobs.
    pub(crate) uploads: Habits,
    /// Where the registry was reached; the most public place counts.
    zone: Mutex<Option<Zone>>,
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

impl Authorization {
    /// What a token is for, where it says so: the `access` claim of a JSON web token (token specification, "JWT"),
    /// unproven.
    pub(crate) fn granted(&self) -> Option<Vec<String>> {
        #[derive(Deserialize)]
        struct Claims {
            access: Option<Vec<Access>>,
        }
        #[derive(Deserialize)]
        struct Access {
            r#type: String,
            name: String,
            actions: Vec<String>,
        }
        let Self::Token(token) = self else { return None };
        let claims = token.expose().split('.').nth(1)?;
        let claims =
            base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(claims.trim_end_matches('=')).ok()?;
        let claims: Claims = serde_json::from_slice(&claims).ok()?;
        let scope =
            |access: Access| format!("{}:{}:{}", access.r#type, access.name, access.actions.join(","));
        Some(
            claims.access.unwrap_or_default().into_iter().map(scope).map(|scope| printable(&scope)).collect(),
        )
    }
}

impl Host {
    pub(crate) fn new(shared: Arc<Shared>, name: RegistryName) -> Self {
        shared.transport.add_registry(&name);
        let pace = Pace::new(name.as_str(), shared.options.jobs);
        Self {
            shared,
            name,
            pace,
            parts: OnceLock::new(),
            base: OnceCell::new(),
            challenge: RwLock::default(),
            pinged: OnceCell::new(),
            tokens: Tokens::default(),
            drops: AtomicBool::new(false),
            uploads: Habits::default(),
            zone: Mutex::default(),
        }
    }

    /// The registry's name.
    pub(crate) fn name(&self) -> &RegistryName {
        &self.name
    }

    /// The URL of `path` on the registry; `path` begins behind `/v2/`.
    pub(crate) async fn url(&self, path: &str) -> Result<Url, Error> {
        let base = self.base.get_or_try_init(|| async {
            let scheme = scheme::find(&self.name, &self.shared).await;
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

    /// Whether it sends parts of blobs.
    pub(crate) fn ranges(&self) -> Ranges {
        match self.parts.get() {
            Some(true) => Ranges::Yes,
            Some(false) => Ranges::No,
            None => Ranges::Unknown,
        }
    }

    /// Notes whether it sent the part of a blob that was asked for. The first answer counts.
    pub(crate) fn sends_parts(&self, sent: bool) {
        let _ = self.parts.set(sent);
    }

    /// Notes where an answer of the registry's own came from.
    pub(crate) fn reached(&self, zone: Zone) {
        let mut known = self.zone.lock().unwrap_or_else(PoisonError::into_inner);
        *known = Some(known.map_or(zone, |known| known.min(zone)));
    }

    /// The zone that sends us to a URL: `None` for the registry's own. Of a registry that has not answered yet nothing
    /// good is assumed.
    pub(crate) fn sender(&self, url: &Url) -> Option<Zone> {
        let zone = self.zone.lock().unwrap_or_else(PoisonError::into_inner).unwrap_or(Zone::Public);
        (!self.is_own(url)).then_some(zone)
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
                let token = self.tokens.get(self, &bearer, scopes, &credential).await?;
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

    /// Whether the same request may end better with a credential, though the answer does not ask for one. Quay, GitLab,
    /// Harbor and Artifactory let private repositories look missing or forbidden to strangers; what they want, `/v2/`
    /// tells. It is asked once, and only if there is a credential, or the answer is a 401.
    pub(crate) async fn lets_in_who_asks(&self, status: StatusCode, repository: &str) -> bool {
        if !matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::NOT_FOUND) {
            return false;
        }
        // A credential that cannot be had explains nothing here: the answer may simply be true.
        let credential = self.shared.keychain.credential(self.name.as_str(), Some(repository)).await;
        let credential = credential.unwrap_or(Credential::Anonymous);
        if credential == Credential::Anonymous && status != StatusCode::UNAUTHORIZED {
            return false;
        }
        let asks = *self.pinged.get_or_init(|| self.learn_by_ping(&credential)).await;
        // Strangers get tokens, but have no password.
        let basic =
            matches!(*self.challenge.read().unwrap_or_else(PoisonError::into_inner), Some(Challenge::Basic));
        asks && !(basic && credential == Credential::Anonymous)
    }

    async fn learn_by_ping(&self, credential: &Credential) -> bool {
        let Some((welcome, mut challenge)) = ping(self).await else { return false };
        // Registries that anybody may look at ask nobody. As crane does, a password is tried where it may travel.
        if challenge.is_none() && welcome && matches!(credential, Credential::Basic { .. }) {
            let url = self.base.get().filter(|url| self.shared.may_carry_credentials(url).is_ok());
            challenge = url.map(|_| Challenge::Basic);
        }
        let asks = challenge.is_some();
        if asks {
            *self.challenge.write().unwrap_or_else(PoisonError::into_inner) = challenge;
        }
        asks
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
        let Some(challenge) = Challenge::of(headers) else { return false };
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
