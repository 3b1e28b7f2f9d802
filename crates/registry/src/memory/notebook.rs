//! What a run knows of a registry beyond its own conversation: what is remembered, and what is to be.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use auth::{Credential, Secret};
use oci::{Digest, RegistryName};

use super::{Features, Learned, Lesson, Moment, Places, Recollection, Scheme};
use crate::challenge::Challenge;
use crate::scope::Scope;
use crate::token::Token;

#[derive(Default)]
pub(crate) struct Notebook {
    recollection: Recollection,
    /// Whether what was remembered did not let us in: then no token of it is shown any more.
    refused: AtomicBool,
    /// What the registry turned out to be able to do.
    features: Mutex<Features>,
    /// Where earlier runs put blobs, once that is wanted.
    places: OnceLock<Places>,
    /// Where this run put blobs: the path of a repository for each.
    put: Mutex<HashMap<Digest, String>>,
    /// Who we were for which repository.
    shown: Mutex<HashMap<String, Credential>>,
}

impl Notebook {
    pub(crate) fn new(recollection: Option<Recollection>) -> Self {
        Self { recollection: recollection.unwrap_or_default(), ..Self::default() }
    }

    /// Whether anything is remembered.
    pub(crate) fn is_known(&self) -> bool {
        !self.recollection.record.is_empty()
    }

    /// The scheme that the registry spoke.
    pub(crate) fn scheme(&self) -> Option<Scheme> {
        self.recollection.record.scheme
    }

    /// What the registry asked for.
    pub(crate) fn challenge(&self) -> Option<Challenge> {
        self.recollection.record.challenge(Moment::now()).cloned()
    }

    /// A token for `scopes` that this credential was given.
    pub(crate) fn token(&self, credential: &Credential, scopes: &[Scope]) -> Option<Secret> {
        if self.refused.load(Ordering::Relaxed) { None } else { self.recollection.token(credential, scopes) }
    }

    /// Whether a token is a remembered one.
    pub(crate) fn has(&self, token: &Secret) -> bool {
        self.recollection.record.has(token)
    }

    /// Gives no remembered token any more.
    pub(crate) fn refuse_tokens(&self) {
        self.refused.store(true, Ordering::Relaxed);
    }

    /// What the registry can do, as far as that was seen in this run or lately.
    pub(crate) fn features(&self) -> Features {
        self.seen_now().or(self.recollection.record.features(Moment::now()))
    }

    /// What of it was seen in this run.
    pub(crate) fn seen_now(&self) -> Features {
        *lock(&self.features)
    }

    /// Notes what the registry can do.
    pub(crate) fn note(&self, note: impl FnOnce(&mut Features)) {
        note(&mut lock(&self.features));
    }

    /// Notes who we are for a repository.
    pub(crate) fn show(&self, repository: &str, credential: &Credential) {
        lock(&self.shown).insert(repository.to_owned(), credential.clone());
    }

    /// Notes that a blob is in a repository.
    pub(crate) fn put(&self, blob: &Digest, repository: &str) {
        lock(&self.put).insert(*blob, repository.to_owned());
    }

    /// A repository that the blob was put into, now or in an earlier run by the same user, other than `except`. `read`
    /// gets what earlier runs have kept.
    pub(crate) fn seen(
        &self,
        blob: &Digest,
        except: &str,
        read: impl FnOnce() -> Option<Places>,
    ) -> Option<String> {
        if let Some(repository) = lock(&self.put).get(blob).filter(|&repository| repository != except) {
            return Some(repository.clone());
        }
        let places = self.places.get_or_init(|| read().unwrap_or_default());
        let mut credentials: Vec<Credential> = lock(&self.shown).values().cloned().collect();
        credentials.push(Credential::Anonymous);
        places.of(blob, &self.recollection.identities(&credentials), except).map(str::to_owned)
    }

    /// What the run has learned, together with what the conversation itself taught, if that is anything new. `asked` is
    /// whether the registry was asked again what it asks for.
    pub(crate) fn lesson(
        &self,
        name: &RegistryName,
        learned: Learned,
        tokens: Vec<Token>,
        asked: bool,
    ) -> Option<Lesson> {
        let record = &self.recollection.record;
        let learned = Learned {
            scheme: learned.scheme.filter(|&scheme| record.scheme != Some(scheme)),
            features: learned.features.or(self.seen_now()).beyond(record.features(Moment::now())),
            refused: record.part(asked, self.refused.load(Ordering::Relaxed)),
            ..learned
        };
        let shown = lock(&self.shown);
        let place = |(blob, repository): (&Digest, &String)| {
            (*blob, repository.clone(), shown.get(repository).cloned().unwrap_or_default())
        };
        let places: Vec<_> = lock(&self.put).iter().map(place).collect();
        let news = learned != Learned::default() || !tokens.is_empty() || !places.is_empty();
        news.then(|| Lesson { name: name.clone(), forget: false, learned, tokens, places })
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
