//! `certs.d`: files for one host (docker's documentation, "Verify repository client with certificates";
//! containers-certs.d(5)).

use std::collections::HashMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rustls::pki_types::CertificateDer;
use url::Url;

use super::{Identity, TlsError, read_certificates};

/// What the folders hold, read when a host is first asked something.
#[derive(Debug, Default)]
pub(crate) struct HostFolders {
    folders: Vec<PathBuf>,
    known: Mutex<HashMap<String, Option<Arc<HostFiles>>>>,
}

/// What is kept for one host.
#[derive(Debug, Default)]
pub(crate) struct HostFiles {
    pub(crate) roots: Vec<CertificateDer<'static>>,
    pub(crate) identity: Option<Arc<Identity>>,
}

impl HostFolders {
    pub(crate) fn new(folders: Vec<PathBuf>) -> Self {
        Self { folders, known: Mutex::default() }
    }

    /// What is kept for the host of a URL.
    pub(crate) fn of(&self, url: &Url) -> Result<Option<Arc<HostFiles>>, TlsError> {
        if self.folders.is_empty() || url.scheme() != "https" {
            return Ok(None);
        }
        let authority = authority(url);
        let known = || self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = known().get(&authority) {
            return Ok(known.clone());
        }
        let names = names(url);
        let mut files = HostFiles::default();
        let mut found = false;
        for folder in &self.folders {
            for name in &names {
                found |= files.add(&folder.join(name))?;
            }
        }
        let files = found.then(|| Arc::new(files));
        known().insert(authority, files.clone());
        Ok(files)
    }
}

/// `host:port`, with the port also where it is the usual one.
pub(crate) fn authority(url: &Url) -> String {
    format!("{}:{}", url.host_str().unwrap_or_default(), url.port_or_known_default().unwrap_or_default())
}

/// The folders' names for a host: with its port, and without where the port is https's own. Docker Hub has its files
/// under the name that people know.
fn names(url: &Url) -> Vec<String> {
    let host = url.host_str().unwrap_or_default();
    let mut names = vec![authority(url)];
    if url.port().is_none() {
        names.push(host.to_owned());
        if matches!(host, "index.docker.io" | "registry-1.docker.io") {
            names.push("docker.io".to_owned());
        }
    }
    names
}

impl HostFiles {
    /// Adds what lies in a folder; whether there is one. A folder that may not be entered is passed over, as docker's are
    /// often root's alone.
    fn add(&mut self, folder: &Path) -> Result<bool, TlsError> {
        let failed = |cause| TlsError::Read { path: folder.to_owned(), cause };
        let entries = match std::fs::read_dir(folder) {
            Ok(entries) => entries,
            Err(error) => {
                return match error.kind() {
                    ErrorKind::NotFound | ErrorKind::NotADirectory | ErrorKind::PermissionDenied => Ok(false),
                    _ => Err(failed(error)),
                };
            }
        };
        let mut paths = Vec::new();
        for entry in entries {
            paths.push(entry.map_err(failed)?.path());
        }
        paths.sort();
        for path in paths {
            match path.extension().and_then(|extension| extension.to_str()) {
                Some("crt") => self.roots.extend(read_certificates(&path)?),
                Some("cert") => {
                    let key = path.with_extension("key");
                    if !key.exists() {
                        let problem = format!("the key that belongs to it is missing: {}", key.display());
                        return Err(TlsError::Content { path, problem });
                    }
                    self.identity = Some(Arc::new(Identity::read(&path, &key)?));
                }
                Some("key") if !path.with_extension("cert").exists() => {
                    let missing = path.with_extension("cert");
                    let problem = format!(
                        "the certificate that belongs to it is missing: {} (authorities end in .crt, client certificates in .cert)",
                        missing.display()
                    );
                    return Err(TlsError::Content { path, problem });
                }
                _ => {}
            }
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_of_a_host() {
        let names = |url: &str| names(&Url::parse(url).unwrap());
        assert_eq!(names("https://h:5000/v2/"), ["h:5000"]);
        assert_eq!(names("https://h/v2/"), ["h:443", "h"]);
        assert_eq!(names("https://[::1]:5000/"), ["[::1]:5000"]);
        assert_eq!(
            names("https://index.docker.io/"),
            ["index.docker.io:443", "index.docker.io", "docker.io"]
        );
    }

    #[test]
    fn no_folder_is_no_error() {
        let folders = HostFolders::new(vec![PathBuf::from("/nonexistent/certs.d")]);
        assert!(folders.of(&Url::parse("https://h/").unwrap()).unwrap().is_none());
    }
}
