//! What a command works with.

use std::ffi::OsString;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use auth::{Keychain, Locations};
use local::{Cache, Daemon};
use oci::Repository;
use registry::{Client, Options, RegistryStore};
use store::Store;
use tempfile::TempDir;

use crate::access::Access;
use crate::failure::Failure;
use crate::place::{self, Place, Source};
use crate::progress::Notes;
use crate::root::Root;
use crate::settings::Settings;
use crate::ui::Ui;

/// The settings, the output, and the client that all of a command's requests go through.
#[derive(Clone)]
pub(crate) struct Context {
    pub(crate) settings: Settings,
    pub(crate) ui: Ui,
    scratch: Scratch,
    /// Whether there are credentials at all.
    anonymous: bool,
    /// Made for the first request: what needs no registry needs no credentials either.
    client: Arc<OnceLock<Client>>,
    /// What is before the registries, if anything is.
    cache: Arc<OnceLock<Cache>>,
    /// All clients of the command, of every side.
    clients: Arc<Mutex<Vec<Client>>>,
}

impl Context {
    pub(crate) fn new(settings: Settings, ui: Ui, scratch: Scratch) -> Self {
        Self {
            settings,
            ui,
            scratch,
            anonymous: false,
            client: Arc::default(),
            cache: Arc::default(),
            clients: Arc::default(),
        }
    }

    /// The same, but for the output.
    pub(crate) fn with_ui(&self, ui: Ui) -> Self {
        Self { ui, ..self.clone() }
    }

    /// The same, but without credentials.
    pub(crate) fn anonymous(&self) -> Self {
        Self { anonymous: true, client: Arc::default(), ..self.clone() }
    }

    /// The same, but without a cache: for whoever wants to know what a registry has.
    pub(crate) fn without_cache(&self) -> Self {
        let settings = Settings { cache: None, ..self.settings.clone() };
        Self { settings, ..self.clone() }
    }

    /// The same, but with a cache in this directory.
    pub(crate) fn with_cache(&self, path: PathBuf) -> Self {
        let settings = Settings { cache: Some(path), ..self.settings.clone() };
        Self { settings, cache: Arc::default(), ..self.clone() }
    }

    /// The same, but with so many exchanges with one host at once.
    pub(crate) fn with_jobs(&self, jobs: NonZeroUsize) -> Self {
        let settings = Settings { jobs: Some(jobs), ..self.settings.clone() };
        Self { settings, client: Arc::default(), ..self.clone() }
    }

    /// The same, but for a side of a copy that has settings of its own.
    pub(crate) fn side(&self, access: &Access) -> Self {
        let access = access.or(&self.settings.access);
        if access == self.settings.access {
            return self.clone();
        }
        let settings = Settings { access, ..self.settings.clone() };
        Self { settings, client: Arc::default(), ..self.clone() }
    }

    /// The client of all the command's requests.
    pub(crate) fn client(&self) -> Result<&Client, Failure> {
        if let Some(client) = self.client.get() {
            return Ok(client);
        }
        let client = self.client_of(self.keychain()?)?;
        Ok(self.client.get_or_init(|| client))
    }

    /// Where credentials lie.
    pub(crate) fn locations() -> Locations {
        Locations::from_lookup(|name| std::env::var_os(name))
    }

    /// The user's credentials: what was typed, else those of files and helpers.
    pub(crate) fn keychain(&self) -> Result<Keychain, Failure> {
        if self.anonymous {
            return Ok(Keychain::default());
        }
        let keychain = Keychain::load(&Self::locations())?;
        Ok(match self.settings.access.credential()? {
            Some(credential) => keychain.given(credential),
            None => keychain,
        })
    }

    /// A repository to read from, with what is before it.
    pub(crate) fn source(&self, repository: &Repository) -> Result<Arc<dyn Store>, Failure> {
        let store = Arc::new(self.store(repository)?);
        Ok(match self.cache()? {
            Some(cache) => Arc::new(cache.before(store)),
            None => store,
        })
    }

    /// The cache that was asked for.
    fn cache(&self) -> Result<Option<&Cache>, Failure> {
        let settings = &self.settings;
        let Some(path) = settings.cache.as_ref().filter(|_| !settings.forgetful) else { return Ok(None) };
        if let Some(cache) = self.cache.get() {
            return Ok(Some(cache));
        }
        let cache = self.cache_in(path)?;
        Ok(Some(self.cache.get_or_init(|| cache)))
    }

    /// The same store, keeping what it reads where no other cache was asked for, and nothing speaks against one.
    pub(crate) fn kept(&self, store: &Arc<dyn Store>) -> Arc<dyn Store> {
        let settings = &self.settings;
        let root = settings.root.as_ref().filter(|_| !settings.forgetful && settings.cache.is_none());
        match root.and_then(|root| self.cache_in(root.path()).ok()) {
            Some(cache) => Arc::new(cache.before(Arc::clone(store))),
            None => Arc::clone(store),
        }
    }

    /// The cache in a directory.
    pub(crate) fn cache_in(&self, path: &Path) -> Result<Cache, Failure> {
        let observer = Arc::new(Notes::new(self.ui.clone()));
        Ok(Cache::open(path, self.settings.cache_size, observer)?)
    }

    /// A repository, on the registry itself.
    pub(crate) fn store(&self, repository: &Repository) -> Result<RegistryStore, Failure> {
        Ok(self.client()?.repository(repository))
    }

    /// Takes apart what was typed.
    pub(crate) fn place(&self, typed: &str) -> Result<Place, Failure> {
        place::parse(typed, self.settings.crane)
    }

    /// Takes apart what was typed and opens it to read from.
    pub(crate) async fn open(&self, typed: &str) -> Result<Source, Failure> {
        Source::open(self.place(typed)?, self).await
    }

    /// The docker daemon of this machine, or that of `$DOCKER_HOST`.
    pub(crate) fn daemon(&self) -> Result<Daemon, Failure> {
        Daemon::at(self.settings.docker_host.as_deref()).map_err(Failure::new)
    }

    /// A temporary folder that is gone when the program ends, however it ends.
    pub(crate) fn temporary_folder(&self) -> Result<PathBuf, Failure> {
        self.scratch.folder()
    }

    /// A client with credentials of its own.
    pub(crate) fn client_of(&self, keychain: Keychain) -> Result<Client, Failure> {
        let client = Client::new(self.options()?, keychain);
        self.clients.lock().unwrap_or_else(PoisonError::into_inner).push(client.clone());
        Ok(client)
    }

    /// A client that sends each request once, and waits for nobody: what a registry says first is what is wanted.
    pub(crate) fn impatient(&self) -> Result<Client, Failure> {
        let mut options = self.options()?;
        options.retries.attempts = 1;
        options.retries.longest_wait = Duration::ZERO;
        options.memory = None;
        Ok(Client::new(options, self.keychain()?))
    }

    /// How the command's requests are made.
    fn options(&self) -> Result<Options, Failure> {
        let settings = &self.settings;
        let mut options = Options::default();
        options.insecure = settings.insecure;
        options.allowed_hosts.clone_from(&settings.allowed_hosts);
        options.tls.host_folders = host_folders(|name| std::env::var_os(name));
        settings.access.apply(&mut options)?;
        options.observer = Arc::new(Notes::new(self.ui.clone()));
        options.state = settings.root.as_ref().map(Root::uploads);
        options.stall = settings.stall.unwrap_or(options.stall);
        options.jobs = settings.jobs.map_or(options.jobs, NonZeroUsize::get);
        options.memory = settings.root.as_ref().filter(|_| !settings.forgetful).map(Root::hosts);
        Ok(options)
    }

    /// Keeps what the command has learned of registries, however it ended.
    pub(crate) fn remember(&self) {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner).iter().for_each(Client::remember);
    }
}

/// Docker's and podman's folders of certificates: the machine's, and the user's own.
fn host_folders(variable: impl Fn(&str) -> Option<OsString>) -> Vec<PathBuf> {
    let set = |name| variable(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let settings = set("XDG_CONFIG_HOME").or_else(|| set("HOME").map(|home| home.join(".config")));
    let own = settings
        .into_iter()
        .flat_map(|settings| [settings.join("docker/certs.d"), settings.join("containers/certs.d")]);
    ["/etc/docker/certs.d", "/etc/containers/certs.d"].map(PathBuf::from).into_iter().chain(own).collect()
}

/// The temporary folders of a command.
#[derive(Clone, Default)]
pub(crate) struct Scratch(Arc<Mutex<Vec<TempDir>>>);

impl Scratch {
    fn folder(&self) -> Result<PathBuf, Failure> {
        let folder = tempfile::Builder::new()
            .prefix("hoist-")
            .tempdir()
            .map_err(|error| Failure::new(format_args!("making a temporary folder: {error}")))?;
        let path = folder.path().to_owned();
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(folder);
        Ok(path)
    }

    /// Removes the folders. The last write of a thread that could not be stopped may get in between: then once more.
    pub(crate) fn remove(&self) {
        for folder in self.0.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            for _ in 0..20 {
                match std::fs::remove_dir_all(folder.path()) {
                    Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                        std::thread::sleep(Duration::from_millis(50));
                    }
                    _ => break,
                }
            }
        }
    }
}
