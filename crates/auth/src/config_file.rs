//! Docker's `config.json` and podman's `auth.json`, which is the same format.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::de::MapAccess;
use serde::{Deserialize, Deserializer};
use zeroize::Zeroizing;

use crate::object::{self, Members};
use crate::{Credential, Error, Secret, key};

/// Files of credentials are read into memory; beyond this something else is meant.
const MAX_BYTES: u64 = 4 << 20;

/// hoist's own helper reads these very files. Asking it would be asking ourselves, without end.
const OWN_HELPER: &str = "hoist";

/// Some tools leave out the padding.
pub(crate) const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// What a file of credentials holds, ready for questions.
pub struct DockerConfig {
    path: PathBuf,
    /// By normal key; the entries of one key in the order in which they answer.
    auths: HashMap<String, Vec<(String, Entry)>>,
    /// By normal key: the key as it is written, the helper's name.
    helpers: HashMap<String, (String, String)>,
    store: String,
    headers: Vec<(String, String)>,
}

/// The file, as docker writes it. Go reads a null as if nothing stood there.
#[derive(Default)]
struct Document {
    auths: Option<BTreeMap<String, Option<Entry>>>,
    cred_helpers: Option<BTreeMap<String, Option<String>>>,
    creds_store: Option<String>,
    http_headers: Option<BTreeMap<String, Option<String>>>,
}

impl Members for Document {
    fn member<'de, A: MapAccess<'de>>(&mut self, name: &str, map: &mut A) -> Result<bool, A::Error> {
        match name {
            "auths" => self.auths = map.next_value()?,
            "credhelpers" => self.cred_helpers = map.next_value()?,
            "credsstore" => self.creds_store = map.next_value()?,
            "httpheaders" => self.http_headers = map.next_value()?,
            _ => return Ok(false),
        }
        Ok(true)
    }
}

/// A value under `auths`.
#[derive(Default)]
struct Entry {
    /// `user:password` in base64.
    auth: Option<Secret>,
    username: Option<String>,
    password: Option<Secret>,
    identitytoken: Option<Secret>,
    registrytoken: Option<Secret>,
}

impl Members for Entry {
    fn member<'de, A: MapAccess<'de>>(&mut self, name: &str, map: &mut A) -> Result<bool, A::Error> {
        match name {
            "auth" => self.auth = map.next_value()?,
            "username" => self.username = map.next_value()?,
            "password" => self.password = map.next_value()?,
            "identitytoken" => self.identitytoken = map.next_value()?,
            "registrytoken" => self.registrytoken = map.next_value()?,
            _ => return Ok(false),
        }
        Ok(true)
    }
}

impl<'de> Deserialize<'de> for Document {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        object::read(deserializer)
    }
}

impl<'de> Deserialize<'de> for Entry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        object::read(deserializer)
    }
}

impl DockerConfig {
    /// Reads a file; `None` if there is none (or a folder in its place, as container engines leave behind that were
    /// told to mount a file that is not there; or if it lies where we may not look).
    ///
    /// # Errors
    /// [`Error::Read`] if it is there and cannot be read, [`Error::Parse`] if it is not what it should be.
    pub fn load(path: &Path) -> Result<Option<Self>, Error> {
        let bytes = content(path)?;
        bytes.map(|bytes| Self::parse(path, &bytes)).transpose()
    }

    /// As [`load`](Self::load), for `~/.dockercfg`, where docker before 1.7 kept credentials: what is under `auths`
    /// elsewhere is the whole file there.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn load_legacy(path: &Path) -> Result<Option<Self>, Error> {
        let bytes = content(path)?.filter(|bytes| !bytes.trim_ascii().is_empty());
        let auths =
            bytes.map(|bytes| serde_json::from_slice(&bytes).map_err(|error| unparsable(path, &error)));
        Ok(auths.transpose()?.map(|auths| Self::of(path, Document { auths, ..Document::default() })))
    }

    /// Takes the content of a file; `path` is for messages and for [`Origin`](crate::Origin). Content of white space
    /// is an empty configuration, as for docker.
    ///
    /// # Errors
    /// [`Error::Parse`] with line and column, and nothing of the content.
    pub fn parse(path: &Path, bytes: &[u8]) -> Result<Self, Error> {
        let document = if bytes.trim_ascii().is_empty() {
            Document::default()
        } else {
            serde_json::from_slice(bytes).map_err(|error| unparsable(path, &error))?
        };
        Ok(Self::of(path, document))
    }

    fn of(path: &Path, document: Document) -> Self {
        let mut auths: HashMap<String, Vec<(String, Entry)>> = HashMap::new();
        for (written, entry) in document.auths.unwrap_or_default() {
            let normal = key::normalise(&written);
            let entries = auths.entry(normal.clone()).or_default();
            // Of several spellings the one that docker itself writes answers first.
            let at = if written == key::server(&normal) { 0 } else { entries.len() };
            entries.insert(at, (written, entry.unwrap_or_default()));
        }
        let mut helpers = HashMap::new();
        for (written, name) in document.cred_helpers.unwrap_or_default() {
            let normal = key::normalise(&written);
            if written == key::server(&normal) || !helpers.contains_key(&normal) {
                helpers.insert(normal, (written, name.unwrap_or_default()));
            }
        }
        let headers = document.http_headers.unwrap_or_default();
        Self {
            path: path.to_owned(),
            auths,
            helpers,
            store: document.creds_store.unwrap_or_default(),
            headers: headers
                .into_iter()
                .filter(|(name, _)| !name.eq_ignore_ascii_case("user-agent"))
                .map(|(name, value)| (name, value.unwrap_or_default()))
                .collect(),
        }
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The headers that the user wants on every request (`HttpHeaders`), without `User-Agent`. Values may be secret.
    pub fn http_headers(&self) -> &[(String, String)] {
        &self.headers
    }

    /// The helper (`credHelpers`) of a namespace or repository, a normal key, and what to ask it for: the key as it is
    /// written.
    pub(crate) fn helper(&self, key: &str) -> Option<(&str, &str)> {
        let (written, name) = self.helpers.get(key)?;
        is_helper(name).then_some((name, written))
    }

    /// The helper of a whole registry, a normal key: its own, or that of all who have none (`credsStore`), which is
    /// asked for `server`. An own one without a name means that `auths` shall answer in place of `credsStore`.
    pub(crate) fn registry_helper<'a>(&'a self, key: &str, server: &'a str) -> Option<(&'a str, &'a str)> {
        if self.helpers.contains_key(key) {
            return self.helper(key);
        }
        is_helper(&self.store).then_some((&self.store, server))
    }

    /// How a normal key is written under `auths`.
    pub(crate) fn spellings(&self, key: &str) -> Vec<String> {
        self.auths.get(key).into_iter().flatten().map(|(written, _)| written.clone()).collect()
    }

    /// The keys that have a credential under `auths`, normal ones, each with it. Broken entries are left out.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (&str, Credential)> {
        self.auths.keys().filter_map(|key| Some((key.as_str(), self.entry(key).ok()??.1)))
    }

    /// The credential under `auths` of a normal key, with the key as it is written. An entry without content is as
    /// none: docker leaves those behind as a list of what lies in the helper.
    pub(crate) fn entry(&self, key: &str) -> Result<Option<(&str, Credential)>, Error> {
        for (written, entry) in self.auths.get(key).into_iter().flatten() {
            let credential = entry.credential().map_err(|problem| Error::Entry {
                path: self.path.clone(),
                key: written.clone(),
                problem,
            })?;
            if let Some(credential) = credential {
                return Ok(Some((written, credential)));
            }
        }
        Ok(None)
    }
}

/// Headers may be secret too, and keys hold user information where somebody wrote it there: only numbers are shown.
impl fmt::Debug for DockerConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DockerConfig")
            .field("path", &self.path)
            .field("auths", &self.auths.len())
            .field("helpers", &self.helpers.len())
            .field("store", &self.store)
            .field("headers", &self.headers.len())
            .finish()
    }
}

impl Entry {
    /// The strongest of what is set, in docker's order.
    fn credential(&self) -> Result<Option<Credential>, &'static str> {
        let set = |secret: &Option<Secret>| secret.clone().filter(|secret| !secret.expose().is_empty());
        if let Some(token) = set(&self.registrytoken) {
            return Ok(Some(Credential::RegistryToken(token)));
        }
        if let Some(token) = set(&self.identitytoken) {
            // Token servers want the token, so nobody minds if what stands beside it cannot be read.
            let (username, password) = self.pair().unwrap_or_default();
            return Ok(Some(Credential::IdentityToken { username, password, token }));
        }
        let (username, password) = self.pair()?;
        let empty = username.is_empty() && password.expose().is_empty();
        Ok((!empty).then_some(Credential::Basic { username, password }))
    }

    /// User and password.
    fn pair(&self) -> Result<(String, Secret), &'static str> {
        match self.auth.as_ref().filter(|auth| !auth.expose().is_empty()) {
            Some(auth) => decode(auth),
            None => {
                Ok((self.username.clone().unwrap_or_default(), self.password.clone().unwrap_or_default()))
            }
        }
    }
}

/// Takes `user:password` out of its base64.
fn decode(auth: &Secret) -> Result<(String, Secret), &'static str> {
    let text = auth.expose();
    let mut compact = Zeroizing::new(String::with_capacity(text.len()));
    compact.extend(text.chars().filter(|c| !c.is_ascii_whitespace()));
    let bytes = BASE64.decode(compact.as_bytes()).map_err(|_| "\"auth\" is not base64")?;
    let bytes = Zeroizing::new(bytes);
    let pair = std::str::from_utf8(&bytes).map_err(|_| "\"auth\" is not UTF-8 inside its base64")?;
    let (username, password) =
        pair.split_once(':').ok_or("\"auth\" has no ':' between user and password inside its base64")?;
    // Old versions of docker filled up with zeros.
    Ok((username.to_owned(), Secret::new(password.trim_matches('\0'))))
}

/// What a file holds; `None` if there is none.
fn content(path: &Path) -> Result<Option<Zeroizing<Vec<u8>>>, Error> {
    let failed = |cause| Error::Read { path: path.to_owned(), cause: Arc::new(cause) };
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => return Ok(None),
        Ok(_) => {}
        Err(error) => {
            return match error.kind() {
                ErrorKind::NotFound | ErrorKind::NotADirectory | ErrorKind::PermissionDenied => Ok(None),
                _ => Err(failed(error)),
            };
        }
    }
    read(path).map(Some).map_err(failed)
}

fn is_helper(name: &str) -> bool {
    !matches!(name, "" | OWN_HELPER)
}

/// Reads a file of credentials.
pub(crate) fn read(path: &Path) -> io::Result<Zeroizing<Vec<u8>>> {
    let file = File::open(path)?;
    // Room for all at once: a buffer that grows leaves copies of the secrets behind.
    let expected = file.metadata()?.len().min(MAX_BYTES);
    let mut bytes = Zeroizing::new(Vec::with_capacity(usize::try_from(expected).unwrap_or(0) + 1));
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length > MAX_BYTES) {
        return Err(io::Error::new(ErrorKind::FileTooLarge, "it is larger than 4 MiB"));
    }
    Ok(bytes)
}

/// The parser's own words quote the content, so only its position and kind are kept.
pub(crate) fn unparsable(path: &Path, error: &serde_json::Error) -> Error {
    use serde_json::error::Category;
    let problem = match error.classify() {
        Category::Eof => "the JSON ends too early",
        Category::Data => "this value is not of the type that belongs here",
        Category::Syntax | Category::Io => "this is not JSON",
    };
    Error::Parse { path: path.to_owned(), line: error.line(), column: error.column(), problem }
}
