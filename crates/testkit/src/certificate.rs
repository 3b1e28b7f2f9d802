//! Keys and certificates: an authority with certificates good and bad, and a signer of tokens.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SigningKey, date_time_ymd,
};
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tempfile::TempDir;

/// A certificate authority that nobody trusts.
#[derive(Debug)]
pub struct Authority {
    directory: TempDir,
    root: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// Makes an authority.
    pub fn new() -> Self {
        let key = generate();
        let mut parameters = CertificateParams::new([]).expect("no names");
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        parameters.distinguished_name.push(DnType::CommonName, "hoist test authority");
        let root = parameters.self_signed(&key).expect("an authority's certificate");
        let directory = tempfile::tempdir().expect("a temporary directory");
        std::fs::write(directory.path().join("ca.pem"), root.pem()).expect("a certificate file");
        Self { directory, root: root.der().clone(), issuer: Issuer::new(parameters, key) }
    }

    /// The authority's certificate, PEM: for `SSL_CERT_FILE` and the like.
    pub fn file(&self) -> PathBuf {
        self.directory.path().join("ca.pem")
    }

    /// A certificate for a server of these names and addresses.
    pub fn server(&self, names: &[&str]) -> Certificate {
        self.sign(server_parameters(names))
    }

    /// A certificate for a server that was good until the end of 2001.
    pub fn expired(&self, names: &[&str]) -> Certificate {
        let mut parameters = server_parameters(names);
        (parameters.not_before, parameters.not_after) =
            (date_time_ymd(2001, 1, 1), date_time_ymd(2002, 1, 1));
        self.sign(parameters)
    }

    /// A certificate for a server that is good from 2999 on.
    pub fn not_yet_valid(&self, names: &[&str]) -> Certificate {
        let mut parameters = server_parameters(names);
        (parameters.not_before, parameters.not_after) =
            (date_time_ymd(2999, 1, 1), date_time_ymd(3000, 1, 1));
        self.sign(parameters)
    }

    /// A certificate for a client.
    pub fn client(&self, name: &str) -> Certificate {
        let mut parameters = CertificateParams::new([]).expect("no names");
        parameters.distinguished_name.push(DnType::CommonName, name);
        parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.sign(parameters)
    }

    fn sign(&self, mut parameters: CertificateParams) -> Certificate {
        parameters.use_authority_key_identifier_extension = true;
        let key = generate();
        let certificate = parameters.signed_by(&key, &self.issuer).expect("a certificate");
        Certificate::new(&certificate, &key)
    }

    /// What a client needs to trust this authority and no other, with a certificate of its own where that is asked for.
    pub(crate) fn trusting(&self, own: Option<&Certificate>) -> Arc<ClientConfig> {
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let builder = builder.with_safe_default_protocol_versions().expect("ring has the default versions");
        let mut roots = RootCertStore::empty();
        roots.add(self.root.clone()).expect("our own root");
        let builder = builder.with_root_certificates(roots);
        Arc::new(match own {
            None => builder.with_no_client_auth(),
            Some(own) => builder
                .with_client_auth_cert(vec![own.chain.clone()], own.key())
                .expect("our own certificate"),
        })
    }
}

impl Default for Authority {
    fn default() -> Self {
        Self::new()
    }
}

/// A certificate and its key.
#[derive(Debug)]
pub struct Certificate {
    directory: TempDir,
    chain: CertificateDer<'static>,
    key: Vec<u8>,
}

impl Certificate {
    /// A server's certificate that vouches for itself.
    pub fn self_signed(names: &[&str]) -> Self {
        let key = generate();
        let certificate = server_parameters(names).self_signed(&key).expect("a self-signed certificate");
        Self::new(&certificate, &key)
    }

    fn new(certificate: &rcgen::Certificate, key: &KeyPair) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        for (name, text) in [("certificate.pem", certificate.pem()), ("key.pem", key.serialize_pem())] {
            std::fs::write(directory.path().join(name), text).expect("a certificate file");
        }
        Self { directory, chain: certificate.der().clone(), key: key.serialize_der() }
    }

    /// The certificate, PEM.
    pub fn file(&self) -> PathBuf {
        self.path().join("certificate.pem")
    }

    /// The key, PEM.
    pub fn key_file(&self) -> PathBuf {
        self.path().join("key.pem")
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    fn key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.key.clone()))
    }

    /// What a server needs to show this certificate.
    pub(crate) fn serving(&self) -> Arc<ServerConfig> {
        let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let builder = builder.with_safe_default_protocol_versions().expect("ring has the default versions");
        let builder = builder.with_no_client_auth();
        let certificates = vec![self.chain.clone()];
        Arc::new(builder.with_single_cert(certificates, self.key()).expect("our own certificate"))
    }
}

fn server_parameters(names: &[&str]) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut parameters = CertificateParams::new(names).expect("good names");
    parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    parameters
}

/// Signs as JSON web tokens want it (ES256), with a certificate that vouches for the key.
#[derive(Debug)]
pub(crate) struct Signer {
    key: KeyPair,
    certificate: rcgen::Certificate,
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
