//! What is remembered of registries between runs: whether they speak https, what they ask for, access tokens until they
//! expire, what they can do, and where blobs lie. Never a password, nor what gives further tokens.
//!
//! A directory of the user's own holds two small files for each registry. The first is read when the registry is first
//! wanted, the second when blobs are to be mounted; both are written once, at the end. What is remembered is a guess at
//! what the registry would say: where it proves wrong it is forgotten, and the request begins as if it had not been.

mod directory;
mod doubt;
mod features;
mod identity;
mod moment;
mod notebook;
mod places;
mod record;

use std::io;
use std::path::{Path, PathBuf};

use auth::{Credential, Secret};
use oci::{Algorithm, Digest, RegistryName};

use crate::Options;
use crate::scope::Scope;
use crate::token::Token;
use directory::{Directory, Locked};

pub(crate) use features::Features;
pub(crate) use identity::Salt;
pub(crate) use moment::Moment;
pub(crate) use notebook::Notebook;
pub(crate) use places::{Place, Places};
pub(crate) use record::{KeptToken, Learned, Named, Record, Scheme};

/// The endings of the two files of a registry.
const RECORD: &str = ".json";
const PLACES: &str = ".blobs";

/// The file with the salt.
const SALT: &str = "salt";

/// Of how many registries something is remembered.
const MOST: usize = 256;

/// The memory of a client.
pub(crate) struct Memory {
    directory: PathBuf,
    /// Whether registries have to prove who they are. One that has not may be anybody, and is not remembered.
    proven: bool,
    /// What besides a credential is shown to registries, and what they are believed by.
    way: Vec<u8>,
}

/// What is remembered of a registry as a run begins.
#[derive(Default)]
pub(crate) struct Recollection {
    record: Record,
    salt: Option<Salt>,
}

/// What a run has learned of a registry.
pub(crate) struct Lesson {
    pub(crate) name: RegistryName,
    /// Whether the registry is to be forgotten instead.
    pub(crate) forget: bool,
    /// Without the tokens.
    pub(crate) learned: Learned,
    pub(crate) tokens: Vec<Token>,
    /// Blobs, the repositories that they were put into, and by whom.
    pub(crate) places: Vec<(Digest, String, Credential)>,
}

impl Lesson {
    /// That a registry is not to be remembered.
    pub(crate) fn forget(name: RegistryName) -> Self {
        Self { name, forget: true, learned: Learned::default(), tokens: Vec::new(), places: Vec::new() }
    }
}

impl Memory {
    /// The memory that the options ask for. `headers` are the user's own.
    pub(crate) fn new(options: &Options, headers: &[(String, String)]) -> Option<Self> {
        let directory = options.memory.clone()?;
        let mut hasher = Algorithm::Sha256.hasher();
        let mut add = |kind: &str, bytes: &[u8]| {
            hasher.update(kind.as_bytes());
            hasher.update(&(bytes.len() as u64).to_be_bytes());
            hasher.update(bytes);
        };
        options.tls.roots.iter().for_each(|root| add("root", root));
        let chain = options.tls.identity.iter().flat_map(|identity| &identity.chain);
        chain.for_each(|certificate| add("own", certificate));
        for (name, value) in headers {
            add("name", name.as_bytes());
            add("value", value.as_bytes());
        }
        let proven = !(options.insecure || options.plain_http || options.tls.skip_verify);
        Some(Self { directory, proven, way: hasher.finish().hex().into_bytes() })
    }

    /// What is remembered of a registry. Without a memory that may be trusted, nothing.
    pub(crate) fn recall(&self, name: &RegistryName) -> Recollection {
        if !self.may_keep(name) {
            return Recollection::default();
        }
        self.try_recall(name).map_err(|error| self.tell(&error)).ok().flatten().unwrap_or_default()
    }

    fn try_recall(&self, name: &RegistryName) -> io::Result<Option<Recollection>> {
        let Some(directory) = self.open()? else { return Ok(None) };
        let Some(salt) = directory.read(SALT)?.and_then(|salt| Salt::of(&salt)) else { return Ok(None) };
        let text = directory.read(&file(name, RECORD))?;
        let record = text.and_then(|text| Record::parse(&text, &self.way(&salt)));
        Ok(Some(Recollection { record: record.unwrap_or_default(), salt: Some(salt) }))
    }

    /// Where the blobs of a registry are remembered to lie.
    pub(crate) fn places(&self, name: &RegistryName) -> Places {
        if !self.may_keep(name) {
            return Places::default();
        }
        let text = self.open().and_then(|directory| match directory {
            Some(directory) => directory.read(&file(name, PLACES)),
            None => Ok(None),
        });
        let text = text.map_err(|error| self.tell(&error)).ok().flatten();
        text.map(|text| Places::parse(&text)).unwrap_or_default()
    }

    /// Writes what a run has learned. What cannot be written is lost, and nobody is the worse for it.
    pub(crate) fn keep(&self, lessons: Vec<Lesson>) {
        let lessons: Vec<Lesson> = lessons.into_iter().filter(|lesson| self.may_keep(&lesson.name)).collect();
        if !lessons.is_empty()
            && let Err(error) = self.try_keep(lessons)
        {
            self.tell(&error);
        }
    }

    fn try_keep(&self, lessons: Vec<Lesson>) -> io::Result<()> {
        let directory = Directory::create(&self.directory)?;
        let locked = directory.lock()?;
        let salt = salt(&locked)?;
        for lesson in lessons {
            self.keep_lesson(&locked, &salt, lesson)?;
        }
        locked.prune(RECORD, MOST)?;
        locked.prune(PLACES, MOST)
    }

    fn keep_lesson(&self, locked: &Locked<'_>, salt: &Salt, lesson: Lesson) -> io::Result<()> {
        let (record_file, places_file) = (file(&lesson.name, RECORD), file(&lesson.name, PLACES));
        if lesson.forget {
            return locked.remove(&record_file).and_then(|()| locked.remove(&places_file));
        }
        let way = self.way(salt);
        let tokens = lesson.tokens.iter().filter_map(|token| token.kept(salt)).collect();
        let learned = Learned { tokens, ..lesson.learned };
        let old = locked.read(&record_file)?.and_then(|text| Record::parse(&text, &way));
        let new = old.clone().unwrap_or_else(|| Record::new(way)).merge(learned, Moment::now());
        if old.as_ref() != Some(&new) {
            locked.replace(&record_file, &new.text())?;
        }
        if lesson.places.is_empty() {
            return Ok(());
        }
        let places = lesson.places.into_iter().map(|(digest, repository, credential)| Place {
            identity: salt.identity(&credential),
            digest: digest.to_string(),
            repository,
        });
        let old = locked.read(&places_file)?.map(|text| Places::parse(&text)).unwrap_or_default();
        locked.replace(&places_file, &old.merge(places.collect()).text())
    }

    fn open(&self) -> io::Result<Option<Directory>> {
        match Directory::open(&self.directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            outcome => outcome.map(Some),
        }
    }

    /// Who answers on this machine itself is known without proof.
    fn may_keep(&self, name: &RegistryName) -> bool {
        self.proven || name.is_loopback()
    }

    fn way(&self, salt: &Salt) -> String {
        salt.name(&[b"way", &self.way])
    }

    fn tell(&self, error: &io::Error) {
        tracing::debug!(target: "hoist::memory", "nothing is remembered in {}: {error}", self.directory.display());
    }
}

impl Recollection {
    /// A token that was given to this credential.
    fn token(&self, credential: &Credential, scopes: &[Scope]) -> Option<Secret> {
        self.record.token(&self.salt.as_ref()?.identity(credential), scopes, Moment::now()).cloned()
    }

    /// What places call these credentials.
    fn identities(&self, credentials: &[Credential]) -> Vec<String> {
        let salt = self.salt.iter();
        salt.flat_map(|salt| credentials.iter().map(|credential| salt.identity(credential))).collect()
    }
}

/// Forgets all that is remembered of a registry in a directory ([`Options::memory`]), whoever it was learned for.
///
/// # Errors
/// If something is there that cannot be removed.
pub fn forget(directory: &Path, registry: &RegistryName) -> io::Result<()> {
    let directory = match Directory::open(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        outcome => outcome?,
    };
    let locked = directory.lock()?;
    locked.remove(&file(registry, RECORD))?;
    locked.remove(&file(registry, PLACES))
}

/// Forgets all that is remembered of all registries in a directory ([`Options::memory`]).
///
/// # Errors
/// If something is there that cannot be removed.
pub fn forget_all(directory: &Path) -> io::Result<()> {
    let directory = match Directory::open(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        outcome => outcome?,
    };
    let locked = directory.lock()?;
    locked.prune(RECORD, 0)?;
    locked.prune(PLACES, 0)?;
    locked.remove(directory::DRAFT)?;
    locked.remove(SALT)
}

/// The salt of a directory, or a new one.
fn salt(locked: &Locked<'_>) -> io::Result<Salt> {
    if let Some(salt) = locked.read(SALT)?.and_then(|salt| Salt::of(&salt)) {
        return Ok(salt);
    }
    let salt = Salt::random().ok_or_else(|| io::Error::other("there are no random numbers"))?;
    locked.replace(SALT, salt.as_bytes())?;
    Ok(salt)
}

fn file(registry: &RegistryName, ending: &str) -> String {
    registry.as_str().to_ascii_lowercase() + ending
}
