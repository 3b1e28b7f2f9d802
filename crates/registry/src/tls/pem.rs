//! Certificates and keys in files (PEM, RFC 7468).

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// A client certificate and its key.
pub struct Identity {
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(crate) key: PrivateKeyDer<'static>,
}

/// Why a file of certificates or keys is of no use.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// It cannot be read.
    #[error("reading {}: {cause}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// It is not what it should be.
    #[error("reading {}: {problem}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The certificate and the key do not go together, or are of a kind that cannot be used.
    #[error("the client certificate cannot be used: {0}")]
    Identity(rustls::Error),
}

impl Identity {
    /// Reads a certificate, with the ones that vouch for it behind, and its key, in the clear.
    ///
    /// # Errors
    /// [`TlsError::Read`] and [`TlsError::Content`] with the file.
    pub fn read(certificate: &Path, key: &Path) -> Result<Self, TlsError> {
        let chain = read_certificates(certificate)?;
        let text = read(key)?;
        let content = |problem: &str| TlsError::Content { path: key.to_owned(), problem: problem.to_owned() };
        let key = PrivateKeyDer::from_pem_slice(&text).map_err(|error| {
            let locked = text.windows(9).any(|word| word == b"ENCRYPTED");
            content(match error {
                _ if locked => "the key is encrypted; hoist cannot ask for its passphrase",
                pem::Error::NoItemsFound => "there is no private key in it (PEM is expected)",
                _ => "it is not a private key in PEM",
            })
        })?;
        Ok(Self { chain, key })
    }
}

/// The key is not shown.
impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("certificates", &self.chain.len()).finish_non_exhaustive()
    }
}

/// Reads all certificates of a file; there has to be one.
///
/// # Errors
/// [`TlsError::Read`] and [`TlsError::Content`] with the file.
pub fn read_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let text = read(path)?;
    let content = |problem: &str| TlsError::Content { path: path.to_owned(), problem: problem.to_owned() };
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(&text)
        .collect::<Result<_, _>>()
        .map_err(|_| content("it is not a certificate in PEM"))?;
    if certificates.is_empty() {
        return Err(content("there is no certificate in it (PEM is expected)"));
    }
    Ok(certificates)
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    std::fs::read(path).map_err(|cause| TlsError::Read { path: path.to_owned(), cause })
}
