//! Which credential a registry gets.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::OnceCell;

use crate::helper::{Helper, TOKEN_USER};
use crate::{Credential, DockerConfig, Error, Found, GITHUB_TOKEN, Locations, Origin, key};

/// How long a credential helper may take unless told otherwise.
pub const HELPER_TIMEOUT: Duration = Duration::from_secs(30);

/// The registry that `GITHUB_TOKEN` is for.
const GITHUB: &str = "ghcr.io";

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
    docker: Option<DockerConfig>,
    /// Podman's and the legacy one, in the order in which they are asked.
    containers: Vec<DockerConfig>,
    github: Option<Credential>,
    search_path: Vec<PathBuf>,
    answers: Mutex<HashMap<(String, String), Answer>>,
}

impl Shared {
    /// The files in the order in which they are asked.
    fn configs(&self) -> impl Iterator<Item = &DockerConfig> {
        self.docker.iter().chain(&self.containers)
    }
}

/// What a helper said for a server, as soon as it did.
type Answer = Arc<OnceCell<Result<Option<Credential>, Error>>>;

impl Keychain {
    /// Credentials of a configuration; its helpers are looked for in the folders of `search_path`.
    pub fn new(config: DockerConfig, search_path: Vec<PathBuf>) -> Self {
        Self::of(Shared { docker: Some(config), search_path, ..Shared::default() })
    }

    /// Reads all files that are there; the first that has an answer gives it. Without any, everybody is anonymous. The
    /// files are small and read at once.
    ///
    /// # Errors
    /// [`Error::Read`] and [`Error::Parse`] if one of them cannot be read or understood.
    pub fn load(locations: &Locations) -> Result<Self, Error> {
        let load = |path| DockerConfig::load(path).transpose();
        let shared = Shared {
            docker: locations.docker.as_deref().and_then(load).transpose()?,
            containers: locations
                .containers
                .iter()
                .map(PathBuf::as_path)
                .filter_map(load)
                .chain(
                    locations.legacy.as_deref().and_then(|path| DockerConfig::load_legacy(path).transpose()),
                )
                .collect::<Result<_, _>>()?,
            github: locations.github.clone(),
            search_path: locations.search_path.clone(),
            answers: Mutex::default(),
        };
        Ok(Self::of(shared))
    }

    fn of(shared: Shared) -> Self {
        Self { shared: Arc::new(shared), given: None, helper_timeout: HELPER_TIMEOUT }
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

    /// The headers that the user wants on every request to a registry (`HttpHeaders` of docker's file), without
    /// `User-Agent`. Values may be secret.
    pub fn http_headers(&self) -> &[(String, String)] {
        self.shared.docker.as_ref().map_or(&[], DockerConfig::http_headers)
    }

    /// What the files hold themselves, helpers aside: what a helper would be asked for, or a namespace or repository,
    /// and the user; `<token>` stands for an identity token, as in docker's protocol.
    pub fn users(&self) -> BTreeMap<String, String> {
        let mut users = BTreeMap::new();
        for (key, credential) in self.shared.configs().flat_map(DockerConfig::entries) {
            let username = match credential {
                Credential::Basic { username, .. } => username,
                Credential::IdentityToken { .. } => TOKEN_USER.to_owned(),
                Credential::Anonymous | Credential::RegistryToken(_) => continue,
            };
            users.entry(key::server(key)).or_insert(username);
        }
        users
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
    /// The first file with an answer gives it, and within a file the longest key (the repository, the paths above it,
    /// the registry); for one key its helper, then its entry, also where the helper is broken, as docker has it.
    /// `credsStore` is the helper of every registry that has none of its own. Where no file has an answer, `GITHUB_TOKEN` answers for `ghcr.io`.
    ///
    /// # Errors
    /// Those of [`credential`](Self::credential).
    pub async fn find(&self, registry: &str, repository: Option<&str>) -> Result<Found, Error> {
        if let Some(given) = &self.given {
            return Ok(Found { credential: given.clone(), origin: Origin::Given });
        }
        let keys = key::candidates(registry, repository);
        for config in self.shared.configs() {
            if let Some(found) = self.find_in(config, &keys, &key::server(registry)).await? {
                return Ok(found);
            }
        }
        let github = self.shared.github.clone().filter(|_| registry.eq_ignore_ascii_case(GITHUB));
        Ok(match github {
            Some(credential) => Found { credential, origin: Origin::Variable { name: GITHUB_TOKEN } },
            None => Found { credential: Credential::Anonymous, origin: Origin::Nowhere },
        })
    }

    /// What one file says, and its helpers.
    async fn find_in(
        &self,
        config: &DockerConfig,
        keys: &[String],
        server: &str,
    ) -> Result<Option<Found>, Error> {
        for (at, key) in keys.iter().enumerate() {
            let is_registry = at == keys.len() - 1;
            let helper = if is_registry { config.registry_helper(key, server) } else { config.helper(key) };
            let mut broken = None;
            if let Some((name, server)) = helper {
                match self.ask(config, name, server).await {
                    Ok(Some(credential)) => {
                        let (name, server) = (name.to_owned(), server.to_owned());
                        let origin = Origin::Helper { path: config.path().to_owned(), name, server };
                        return Ok(Some(Found { credential, origin }));
                    }
                    Ok(None) => {}
                    Err(error) => broken = Some(error),
                }
            }
            if let Some((key, credential)) = config.entry(key)? {
                let origin = Origin::File { path: config.path().to_owned(), key: key.to_owned() };
                return Ok(Some(Found { credential, origin }));
            }
            if let Some(error) = broken {
                return Err(error);
            }
        }
        Ok(None)
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
            Helper { name, server, config: config.path(), search_path, limit }.get().await
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
        Self::of(Shared::default())
    }
}
