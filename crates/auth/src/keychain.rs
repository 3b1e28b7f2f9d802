//! Which credential a registry gets.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::OnceCell;

use crate::helper::Question;
use crate::{Credential, DockerConfig, Error, Found, Locations, Origin, key};

/// How long a credential helper may take unless told otherwise.
pub const HELPER_TIMEOUT: Duration = Duration::from_secs(30);

/// Credentials by registry and repository. A clone shares what helpers answered; the default has no credentials.
///
/// A helper runs once for a registry, however many ask at the same time, and its answer is kept as long as the
/// keychain. A failure goes to all who waited for it; whoever asks later tries again.
///
/// ```
/// # async fn example() -> Result<(), auth::Error> {
/// use auth::{Credential, Keychain, Locations};
///
/// let keychain = Keychain::load(&Locations::from_lookup(|name| std::env::var_os(name)))?;
/// match keychain.credential("ghcr.io", Some("org/app")).await? {
///     Credential::Anonymous => println!("nobody logged in"),
///     known => println!("{known:?}"), // prints no secret
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Keychain {
    shared: Arc<Shared>,
    given: Option<Credential>,
    helper_timeout: Duration,
}

#[derive(Debug, Default)]
struct Shared {
    config: Option<DockerConfig>,
    search_path: Vec<PathBuf>,
    answers: Mutex<HashMap<(String, String), Answer>>,
}

/// What a helper said for a server, as soon as it did.
type Answer = Arc<OnceCell<Result<Option<Credential>, Error>>>;

impl Keychain {
    /// Credentials of a configuration; its helpers are looked for in the folders of `search_path`.
    pub fn new(config: DockerConfig, search_path: Vec<PathBuf>) -> Self {
        Self::of(Some(config), search_path)
    }

    /// Reads the first file that is there; without any, everybody is anonymous. The file is small and read at once.
    ///
    /// # Errors
    /// [`Error::Read`] and [`Error::Parse`] if that file cannot be read or understood.
    pub fn load(locations: &Locations) -> Result<Self, Error> {
        let mut config = None;
        for path in locations.files() {
            config = DockerConfig::load(path)?;
            if config.is_some() {
                break;
            }
        }
        Ok(Self::of(config, locations.search_path.clone()))
    }

    fn of(config: Option<DockerConfig>, search_path: Vec<PathBuf>) -> Self {
        Self {
            shared: Arc::new(Shared { config, search_path, answers: Mutex::default() }),
            given: None,
            helper_timeout: HELPER_TIMEOUT,
        }
    }

    /// The same, but every registry gets this credential, whatever the files say; their headers stay.
    #[must_use]
    pub fn given(mut self, credential: Credential) -> Self {
        self.given = Some(credential);
        self
    }

    /// Gives helpers another time than [`HELPER_TIMEOUT`].
    #[must_use]
    pub fn with_helper_timeout(mut self, limit: Duration) -> Self {
        self.helper_timeout = limit;
        self
    }

    /// The headers that the user wants on every request to a registry (docker's `HttpHeaders`), without `User-Agent`.
    /// Values may be secret.
    pub fn http_headers(&self) -> &[(String, String)] {
        self.shared.config.as_ref().map_or(&[], DockerConfig::http_headers)
    }

    /// The credential for `repository` on `registry` (`host`, `host:port`), or for the registry alone.
    ///
    /// # Errors
    /// [`Error::Entry`] if the entry that answers is broken, or one of the helper's errors. That a helper has nothing
    /// for the registry is no error.
    pub async fn credential(&self, registry: &str, repository: Option<&str>) -> Result<Credential, Error> {
        Ok(self.find(registry, repository).await?.credential)
    }

    /// As [`credential`](Self::credential), and who gave it.
    ///
    /// The longest key answers first (the repository, the paths above it, the registry); for one key its helper, then
    /// its entry. `credsStore` is the helper of every registry that has none of its own.
    ///
    /// # Errors
    /// Those of [`credential`](Self::credential).
    pub async fn find(&self, registry: &str, repository: Option<&str>) -> Result<Found, Error> {
        if let Some(credential) = self.given.clone() {
            return Ok(Found { credential, origin: Origin::Given });
        }
        let nobody = Found { credential: Credential::Anonymous, origin: Origin::Nowhere };
        let Some(config) = &self.shared.config else {
            return Ok(nobody);
        };
        let server = key::server(registry);
        let keys = key::candidates(registry, repository);
        let whole_registry = keys.len() - 1;
        for (at, key) in keys.iter().enumerate() {
            let helper = match config.helper(key) {
                Some(own) => Some(own).filter(|(name, _)| !name.is_empty()),
                None if at == whole_registry => config.store().map(|name| (name, server.as_str())),
                None => None,
            };
            if let Some((name, server)) = helper
                && let Some(credential) = self.ask(config, name, server).await?
            {
                let (name, server) = (name.to_owned(), server.to_owned());
                let origin = Origin::Helper { path: config.path().to_owned(), name, server };
                return Ok(Found { credential, origin });
            }
            if let Some((key, credential)) = config.entry(key)? {
                let origin = Origin::File { path: config.path().to_owned(), key: key.to_owned() };
                return Ok(Found { credential, origin });
            }
        }
        Ok(nobody)
    }

    /// What the helper says, asked by the first who comes.
    async fn ask(
        &self,
        config: &DockerConfig,
        name: &str,
        server: &str,
    ) -> Result<Option<Credential>, Error> {
        let answers = || self.shared.answers.lock().unwrap_or_else(PoisonError::into_inner);
        let question = (name.to_owned(), server.to_owned());
        let cell = Arc::clone(answers().entry(question.clone()).or_default());
        let run = || async {
            let (search_path, limit) = (&self.shared.search_path, self.helper_timeout);
            Question { name, server, config: config.path(), search_path, limit }.ask().await
        };
        let answer = cell.get_or_init(run).await.clone();
        if answer.is_err() {
            // Only this failure, not the answer of somebody who tried again in the meantime.
            let mut answers = answers();
            if answers.get(&question).is_some_and(|kept| Arc::ptr_eq(kept, &cell)) {
                answers.remove(&question);
            }
        }
        answer
    }
}

impl Default for Keychain {
    fn default() -> Self {
        Self::of(None, Vec::new())
    }
}
