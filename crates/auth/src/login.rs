//! Keeping and forgetting credentials, as docker does: in a helper, or in docker's file.

use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine;
use zeroize::Zeroizing;

use crate::config_file::BASE64;
use crate::document::NewEntry;
use crate::helper::{Helper, TOKEN_USER};
use crate::update::{Change, update};
use crate::{Credential, DockerConfig, Error, HELPER_TIMEOUT, Locations, Secret, key};

/// How long other programs may be writing docker's file.
const LOCK_LIMIT: Duration = Duration::from_secs(10);

/// Where [`login`] put a credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoggedIn {
    /// Docker's file.
    pub path: PathBuf,
    /// The helper that keeps the secret, without `docker-credential-`; without one it lies in the file.
    pub helper: Option<String>,
    /// The key under `auths`.
    pub key: String,
}

/// What [`logout`] removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoggedOut {
    /// Docker's file.
    pub path: PathBuf,
    /// The helper that was told to forget the registry, without `docker-credential-`.
    pub helper: Option<String>,
    /// The keys that were under `auths`: every spelling of the registry.
    pub keys: Vec<String>,
}

/// Keeps a credential for a registry (`host`, `host:port`) in docker's file, or in the helper that the file names for it
/// (`credHelpers`, else `credsStore`). The file's other content stays as it is; logins at the same time wait for each
/// other.
///
/// With a helper the file gets an empty entry, as docker writes it, so that no older secret answers from there.
///
/// # Errors
/// [`Error::NoPlace`]; [`Error::Unstorable`] for what the file or the helper cannot hold; [`Error::Read`],
/// [`Error::Parse`], [`Error::Write`], [`Error::Locked`]; or one of the helper's errors. Then the file is as it was.
pub async fn login(
    locations: &Locations,
    registry: &str,
    credential: &Credential,
) -> Result<LoggedIn, Error> {
    let Place { path, config, normal, server } = Place::of(locations, registry)?;
    let unstorable = |problem| Error::Unstorable { server: server.clone(), problem };
    let helper = config.as_ref().and_then(|config| config.registry_helper(&normal, &server));
    if let Some((name, asked)) = helper {
        let (username, secret) = match credential {
            Credential::Basic { username, password } => (username.as_str(), password),
            Credential::IdentityToken { token, .. } => (TOKEN_USER, token),
            Credential::Anonymous => return Err(unstorable(NOTHING)),
            Credential::RegistryToken(_) => {
                return Err(unstorable("a credential helper cannot hold a registry token"));
            }
        };
        helper_of(locations, &path, name, asked).store(username, secret).await?;
        update(&path, Change::Set(&server, NewEntry::default()), LOCK_LIMIT).await?;
        return Ok(LoggedIn { helper: Some(name.to_owned()), path, key: server });
    }
    let auth;
    let entry = match credential {
        Credential::Basic { username, password } => {
            auth = encode(username, password).map_err(unstorable)?;
            NewEntry { auth: &auth, ..NewEntry::default() }
        }
        Credential::IdentityToken { username, password, token } => {
            auth = match username.as_str() {
                "" => Zeroizing::default(),
                username => encode(username, password).map_err(unstorable)?,
            };
            NewEntry { auth: &auth, identitytoken: token.expose(), ..NewEntry::default() }
        }
        Credential::RegistryToken(token) => NewEntry { registrytoken: token.expose(), ..NewEntry::default() },
        Credential::Anonymous => return Err(unstorable(NOTHING)),
    };
    update(&path, Change::Set(&server, entry), LOCK_LIMIT).await?;
    Ok(LoggedIn { path, helper: None, key: server })
}

/// Forgets a registry (`host`, `host:port`) in docker's file, in every spelling, and in the helper that the file names
/// for it. Entries of namespaces and repositories stay, and so does what podman's files have: whether something still
/// answers, a new [`Keychain`](crate::Keychain) knows.
///
/// # Errors
/// As [`login`], but for [`Error::Unstorable`].
pub async fn logout(locations: &Locations, registry: &str) -> Result<LoggedOut, Error> {
    let Place { path, config, normal, server } = Place::of(locations, registry)?;
    let Some(config) = config else {
        return Ok(LoggedOut { path, helper: None, keys: Vec::new() });
    };
    let helper = config.registry_helper(&normal, &server);
    if let Some((name, asked)) = helper {
        helper_of(locations, &path, name, asked).erase().await?;
    }
    let keys = config.spellings(&normal);
    update(&path, Change::Remove(&keys), LOCK_LIMIT).await?;
    Ok(LoggedOut { helper: helper.map(|(name, _)| name.to_owned()), path, keys })
}

const NOTHING: &str = "there is nothing to keep";

/// Where a registry's credentials belong.
struct Place {
    path: PathBuf,
    config: Option<DockerConfig>,
    /// The registry's normal key.
    normal: String,
    /// How docker writes it.
    server: String,
}

impl Place {
    fn of(locations: &Locations, registry: &str) -> Result<Self, Error> {
        let (normal, server) = (key::normalise(registry), key::server(registry));
        let Some(path) = locations.docker.clone() else { return Err(Error::NoPlace { server }) };
        Ok(Self { config: DockerConfig::load(&path)?, path, normal, server })
    }
}

fn helper_of<'a>(locations: &'a Locations, config: &'a Path, name: &'a str, server: &'a str) -> Helper<'a> {
    Helper { name, server, config, search_path: &locations.search_path, limit: HELPER_TIMEOUT }
}

/// `user:password` in base64. Docker refuses a whole file for an entry without a user.
fn encode(username: &str, password: &Secret) -> Result<Zeroizing<String>, &'static str> {
    if username.is_empty() {
        return Err("docker's file holds no password without a user name");
    }
    if username.contains(':') {
        return Err("docker's file holds no user name with a ':'");
    }
    let pair = Zeroizing::new([username, ":", password.expose()].concat());
    Ok(Zeroizing::new(BASE64.encode(pair.as_bytes())))
}
