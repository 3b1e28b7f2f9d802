//! Keys and certificates: an authority for TLS on loopback, and a signer of tokens.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, IsCa, Issuer, KeyPair, KeyUsagePurpose, SigningKey,
};
use rustls::crypto::ring;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tempfile::TempDir;

/// A certificate authority that nobody trusts, and the certificate that it gave to `localhost` and `127.0.0.1`.
#[derive(Debug)]
pub struct Authority {
    directory: TempDir,
    root: Certificate,
    server: Certificate,
    key: KeyPair,
}

impl Authority {
    /// Makes an authority, and a certificate for a server on this machine.
    pub fn new() -> Self {
        let authority_key = generate();
        let mut parameters = CertificateParams::new([]).expect("no names");
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        parameters.distinguished_name.push(rcgen::DnType::CommonName, "hoist test authority");
        let root = parameters.self_signed(&authority_key).expect("an authority's certificate");
        let issuer = Issuer::new(parameters, authority_key);

        let key = generate();
        let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        let mut parameters = CertificateParams::new(names).expect("two good names");
        parameters.use_authority_key_identifier_extension = true;
        let server = parameters.signed_by(&key, &issuer).expect("a server's certificate");

        let directory = tempfile::tempdir().expect("a temporary directory");
        let files =
            [("ca.pem", root.pem()), ("server.pem", server.pem()), ("server.key", key.serialize_pem())];
        for (name, text) in files {
            std::fs::write(directory.path().join(name), text).expect("a certificate file");
        }
        Self { directory, root, server, key }
    }

    /// The authority's certificate, PEM: for `SSL_CERT_FILE` and the like.
    pub fn file(&self) -> PathBuf {
        self.directory.path().join("ca.pem")
    }

    /// The server's certificate and its key, PEM.
    pub(crate) fn server_files(&self) -> (PathBuf, PathBuf) {
        let path: &Path = self.directory.path();
        (path.join("server.pem"), path.join("server.key"))
    }

    /// What a client needs to trust this authority and no other.
    pub(crate) fn client(&self) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.root.der().clone()).expect("our own root");
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let builder = builder.with_safe_default_protocol_versions().expect("ring has the default versions");
        Arc::new(builder.with_root_certificates(roots).with_no_client_auth())
    }

    /// What a server needs to be `localhost`.
    pub(crate) fn server(&self) -> Arc<ServerConfig> {
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.key.serialize_der()));
        let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let builder = builder.with_safe_default_protocol_versions().expect("ring has the default versions");
        let builder = builder.with_no_client_auth();
        Arc::new(builder.with_single_cert(vec![self.server.der().clone()], key).expect("our own certificate"))
    }
}

impl Default for Authority {
    fn default() -> Self {
        Self::new()
    }
}

/// Signs as JSON web tokens want it (ES256), with a certificate that vouches for the key.
#[derive(Debug)]
pub(crate) struct Signer {
    key: KeyPair,
    certificate: Certificate,
}

impl Signer {
    pub(crate) fn new() -> Self {
        let key = generate();
        let certificate = CertificateParams::new([]).and_then(|parameters| parameters.self_signed(&key));
        Self { key, certificate: certificate.expect("a self-signed certificate") }
    }

    /// The certificate, PEM.
    pub(crate) fn pem(&self) -> String {
        self.certificate.pem()
    }

    /// The certificate, DER.
    pub(crate) fn der(&self) -> &[u8] {
        self.certificate.der()
    }

    /// The two numbers of a P-256 signature, 32 bytes each (RFC 7518, section 3.4).
    pub(crate) fn sign(&self, message: &[u8]) -> Vec<u8> {
        raw_signature(&self.key.sign(message).expect("signing with our own key"))
    }
}

fn generate() -> KeyPair {
    KeyPair::generate().expect("a new key")
}

/// From DER, `SEQUENCE { INTEGER r, INTEGER s }`, to `r || s`.
fn raw_signature(der: &[u8]) -> Vec<u8> {
    let mut raw = Vec::with_capacity(64);
    // P-256 signatures are at most 72 bytes: every length is one byte.
    let mut rest = &der[2..];
    while let [2, length, tail @ ..] = rest {
        let (integer, tail) = tail.split_at(usize::from(*length));
        // Integers have a leading zero when they would look negative, and fewer bytes when they begin with zeros.
        let digits = &integer[integer.iter().take_while(|byte| **byte == 0).count()..];
        raw.resize(raw.len() + 32 - digits.len(), 0);
        raw.extend_from_slice(digits);
        rest = tail;
    }
    raw
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_have_a_fixed_width() {
        let (short, high) = (vec![7_u8; 30], [vec![0], vec![0x80; 32]].concat());
        let body = [vec![2, 30], short, vec![2, 33], high].concat();
        let der = [vec![0x30, u8::try_from(body.len()).unwrap()], body].concat();
        let expected = [vec![0; 2], vec![7; 30], vec![0x80; 32]].concat();
        assert_eq!(raw_signature(&der), expected);
    }
}
