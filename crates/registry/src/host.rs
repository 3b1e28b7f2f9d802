//! One registry: where it is, what it asks for, and the tokens it gave.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use auth::{Credential, Secret};
use base64::Engine as _;
use http::{HeaderMap, HeaderValue, StatusCode};
use oci::{Digest, RegistryName};
use serde::Deserialize;
use store::{Pace, Ranges};
use tokio::sync::OnceCell;
use url::Url;

use crate::challenge::Challenge;
use crate::elsewhere::Redirects;
use crate::error::Error;
use crate::exchange::{basic, sensitive};
use crate::guard::Zone;
use crate::memory::{Features, Learned, Lesson, Moment, Named, Notebook, Scheme};
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
    pub(crate) base: OnceCell<Url>,
    /// The base that was found after the presumed one had proved wrong.
    pub(crate) found_base: OnceCell<Url>,
    /// Whether the registry has answered, by the scheme of the base.
    pub(crate) answered: AtomicBool,
    /// What the registry asks for; until it is known requests go without credentials.
    challenge: RwLock<Option<Known>>,
    /// Whether `/v2/` asks for something, once that was asked.
    pinged: OnceCell<bool>,
    tokens: Tokens,
    /// How much it takes at once.
    pub(crate) pace: Arc<Pace>,
    /// Whether it ended connections as requests came.
    pub(crate) drops: AtomicBool,
    /// How it takes blobs.
    pub(crate) uploads: Habits,
    /// Where it sent us for blobs.
    pub(crate) redirects: Redirects,
    /// Where the registry was reached; the most public place counts.
    zone: Mutex<Option<Zone>>,
    /// What is remembered of it, and to be.
    pub(crate) notes: Notebook,
}

/// A challenge, and how it is known.
#[derive(Clone)]
struct Known {
    challenge: Challenge,
    whence: Whence,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Whence {
    /// The registry named it in this run.
    Named(Moment),
    /// It named none.
    Guess,
    /// It named it in an earlier run.
    Memory,
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
    /// One of these, by what was remembered: the registry may want something else by now.
    Remembered(Box<Self>),
}

impl Authorization {
    pub(crate) fn header(&self) -> Option<HeaderValue> {
        match self {
            Self::Unasked | Self::Nothing => None,
            Self::Basic(value) => Some(value.clone()),
            Self::Given(token) | Self::Token(token) => Some(sensitive(&format!("Bearer {}", token.expose()))),
            Self::Remembered(inner) => inner.header(),
        }
    }

    /// What a token is for, where it says so.
    pub(crate) fn granted(&self) -> Option<Vec<String>> {
        match self {
            Self::Token(token) => granted(token),
            Self::Remembered(inner) => inner.granted(),
            _ => None,
        }
    }
}

/// What a token is for, where it says so: the `access` claim of a JSON web token (token specification, "JWT"), unproven.
pub(crate) fn granted(token: &Secret) -> Option<Vec<String>> {
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
    let claims = token.expose().split('.').nth(1)?;
    let claims =
        base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(claims.trim_end_matches('=')).ok()?;
    let claims: Claims = serde_json::from_slice(&claims).ok()?;
    let scope = |access: Access| format!("{}:{}:{}", access.r#type, access.name, access.actions.join(","));
    Some(claims.access.unwrap_or_default().into_iter().map(scope).map(|scope| printable(&scope)).collect())
}

impl Host {
    pub(crate) fn new(shared: Arc<Shared>, name: RegistryName) -> Self {
        shared.transport.add_registry(&name);
        let pace = Pace::new(name.as_str(), shared.options.jobs);
        let notes = Notebook::new(shared.memory.as_ref().map(|memory| memory.recall(&name)));
        let uploads = Habits::of(notes.features());
        let challenge = notes.challenge().map(|challenge| Known { challenge, whence: Whence::Memory });
        Self {
            shared,
            name,
            pace,
            base: OnceCell::new(),
            found_base: OnceCell::new(),
            answered: AtomicBool::new(false),
            challenge: RwLock::new(challenge),
            pinged: OnceCell::new(),
            tokens: Tokens::default(),
            drops: AtomicBool::new(false),
            redirects: Redirects::default(),
            uploads,
            zone: Mutex::default(),
            notes,
        }
    }

    /// The registry's name.
    pub(crate) fn name(&self) -> &RegistryName {
        &self.name
    }

    /// The URL of `path` on the registry; `path` begins behind `/v2/`.
    pub(crate) async fn url(&self, path: &str) -> Result<Url, Error> {
        let base = self.base.get_or_try_init(|| async {
            match self.presumed_scheme() {
                Some(scheme) => self.base_by(scheme.as_str()),
                None => self.find_base().await,
            }
        });
        let mut url = self.found_base.get().unwrap_or(base.await?).clone();
        url.set_path(&format!("/v2/{path}"));
        Ok(url)
    }

    /// The scheme that the registry spoke the last time, or most likely speaks. What comes of the first request proves it.
    pub(crate) fn presumed_scheme(&self) -> Option<Scheme> {
        if self.shared.options.plain_http {
            return None;
        }
        self.notes.scheme().or_else(|| scheme::guess(&self.name, &self.shared))
    }

    /// The base of all URLs, by the scheme that the registry speaks.
    pub(crate) async fn find_base(&self) -> Result<Url, Error> {
        self.base_by(scheme::find(&self.name, &self.shared).await)
    }

    /// The base of all URLs. If this comes before the first request, the scheme is found out, and not presumed.
    pub(crate) async fn asked_base(&self) -> Result<Url, Error> {
        self.base.get_or_try_init(|| self.find_base()).await?;
        self.url("").await
    }

    /// Opens connections for what is to come, beside the one that a first question has.
    pub(crate) async fn open_ahead(&self) {
        let Ok(url) = self.url("").await else { return };
        if self.pace.pause().is_none()
            && let Ok(opening) = self.shared.transport.open_ahead(&url, self.pace.limit() - 1)
        {
            tokio::spawn(opening);
        }
    }

    fn base_by(&self, scheme: &str) -> Result<Url, Error> {
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
    }

    fn current_base(&self) -> Option<&Url> {
        self.found_base.get().or(self.base.get())
    }

    /// Whether a URL is this registry's own, so that its credentials may go there.
    pub(crate) fn is_own(&self, url: &Url) -> bool {
        self.current_base().is_some_and(|base| base.origin() == url.origin())
    }

    /// Whether it sends parts of blobs.
    pub(crate) fn ranges(&self) -> Ranges {
        match self.notes.seen_now().ranges {
            Some(true) => Ranges::Yes,
            Some(false) => Ranges::No,
            // That it did once is no promise, and whoever counts on it may get whole blobs: one byte tells.
            None if self.notes.features().ranges == Some(false) => Ranges::No,
            None => Ranges::Unknown,
        }
    }

    /// Notes whether it sent the part of a blob that was asked for. The first answer counts.
    pub(crate) fn sends_parts(&self, sent: bool) {
        self.notes
            .note(|features| *features = features.or(Features { ranges: Some(sent), ..Features::default() }));
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
        let Some(Known { challenge, whence }) = self.known() else { return Ok(Authorization::Unasked) };
        let remembered = whence == Whence::Memory;
        Ok(match self.answer(challenge, url, scopes, repository).await {
            Ok(Authorization::Nothing) if remembered => Authorization::Unasked,
            Ok(Authorization::Token(token)) if remembered || self.notes.has(&token) => {
                Authorization::Remembered(Box::new(Authorization::Token(token)))
            }
            Ok(answer) if remembered => Authorization::Remembered(Box::new(answer)),
            Err(error) if remembered => {
                tracing::debug!(target: "hoist::memory", "what {} asked for is forgotten: {error}", self.name);
                self.forget_challenge();
                Authorization::Unasked
            }
            outcome => outcome?,
        })
    }

    fn known(&self) -> Option<Known> {
        self.challenge.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether nothing but memory says what the registry asks for.
    pub(crate) fn guesses(&self) -> bool {
        self.known().is_some_and(|known| known.whence == Whence::Memory)
    }

    async fn answer(
        &self,
        challenge: Challenge,
        url: &Url,
        scopes: &[Scope],
        repository: &str,
    ) -> Result<Authorization, Error> {
        let credential = self.shared.keychain.credential(self.name.as_str(), Some(repository)).await?;
        if credential != Credential::Anonymous {
            self.shared.may_carry_credentials(url)?;
        }
        self.notes.show(repository, &credential);
        match (challenge, credential) {
            (_, Credential::RegistryToken(token)) => Ok(Authorization::Given(token)),
            (Challenge::Bearer(bearer), credential) => {
                let token = self.tokens.get(self, &bearer, scopes, &credential).await?;
                Ok(Authorization::Token(token))
            }
            (Challenge::Basic, Credential::Basic { username, password }) => {
                Ok(Authorization::Basic(basic(&username, &password)))
            }
            // An identity token is for token servers alone; a password beside it is not.
            (Challenge::Basic, Credential::IdentityToken { username, password, .. })
                if !password.expose().is_empty() =>
            {
                Ok(Authorization::Basic(basic(&username, &password)))
            }
            (Challenge::Basic, _) => Ok(Authorization::Nothing),
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
        let basic = self.known().is_some_and(|known| known.challenge == Challenge::Basic);
        asks && !(basic && credential == Credential::Anonymous)
    }

    async fn learn_by_ping(&self, credential: &Credential) -> bool {
        let Some((welcome, challenge)) = ping(self).await else { return false };
        if let Some(challenge) = challenge {
            self.named(challenge);
            return true;
        }
        // Registries that anybody may look at ask nobody. As crane does, a password is tried where it may travel.
        let may = welcome && matches!(credential, Credential::Basic { .. });
        let url = self.current_base().filter(|url| may && self.shared.may_carry_credentials(url).is_ok());
        if url.is_some() {
            self.asks_for(Challenge::Basic, Whence::Guess);
        }
        url.is_some()
    }

    /// Takes a challenge that the registry named.
    pub(crate) fn named(&self, challenge: Challenge) {
        self.asks_for(challenge, Whence::Named(Moment::now()));
    }

    fn asks_for(&self, challenge: Challenge, whence: Whence) {
        let known = Known { challenge, whence };
        *self.challenge.write().unwrap_or_else(PoisonError::into_inner) = Some(known);
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
        if let Authorization::Remembered(_) = used {
            return self.doubts(used);
        }
        let Some(challenge) = Challenge::of(headers) else { return false };
        let before = scopes.clone();
        let wants_token = match &challenge {
            Challenge::Bearer(bearer) => {
                Scope::join(scopes, &bearer.scopes);
                true
            }
            Challenge::Basic => false,
        };
        self.named(challenge);
        match used {
            Authorization::Unasked | Authorization::Remembered(_) => true,
            Authorization::Nothing | Authorization::Basic(_) => wants_token,
            Authorization::Given(_) => false,
            Authorization::Token(token) => {
                self.tokens.forget(token);
                first || *scopes != before
            }
        }
    }

    /// Forgets what was remembered to let a request in, if that is what it carried; whether it is to be sent again.
    pub(crate) fn doubts(&self, used: &Authorization) -> bool {
        let Authorization::Remembered(inner) = used else { return false };
        if let Authorization::Token(token) = inner.as_ref() {
            self.tokens.forget(token);
        }
        self.forget_remembered();
        true
    }

    /// Does not count on what was remembered of being let in.
    pub(crate) fn forget_remembered(&self) {
        self.notes.refuse_tokens();
        self.forget_challenge();
    }

    fn forget_challenge(&self) {
        let mut challenge = self.challenge.write().unwrap_or_else(PoisonError::into_inner);
        challenge.take_if(|known| known.whence == Whence::Memory);
    }

    /// A repository that the blob was put into by us, other than `except`.
    pub(crate) fn seen(&self, blob: &Digest, except: &str) -> Option<String> {
        self.notes.seen(blob, except, || self.shared.memory.as_ref().map(|memory| memory.places(&self.name)))
    }

    /// What this run has learned, if that is anything new.
    pub(crate) fn lesson(&self) -> Option<Lesson> {
        let base = self.current_base().filter(|_| self.answered.load(Ordering::Relaxed))?;
        if base.scheme() == "http" && !self.name.is_loopback() {
            // Anybody on the way may have said it.
            return self.notes.is_known().then(|| Lesson::forget(self.name.clone()));
        }
        let scheme = if base.scheme() == "http" { Scheme::Http } else { Scheme::Https };
        let challenge = self.known().and_then(|Known { challenge, whence }| match whence {
            Whence::Named(at) => Some(Named { challenge, at }),
            Whence::Guess | Whence::Memory => None,
        });
        let learned = Learned {
            // For others it is beyond doubt.
            scheme: Some(scheme).filter(|_| self.name.may_be_http()),
            challenge,
            features: self.uploads.features(),
            ..Learned::default()
        };
        self.notes.lesson(&self.name, learned, self.tokens.all(), !self.guesses())
    }
}
