//! docker-registry, the registry that most others descend from, as Debian packages it.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use rustls::ClientConfig;
use serde_json::json;
use tempfile::TempDir;

use crate::images::Graph;
use crate::listener::{self, LOOPBACK};
use crate::process::{Daemon, PATIENCE, wait_for};
use crate::{Authority, Certificate, Client, TokenServer, peers, token_server};

/// A running docker-registry (2.8) with storage of its own, where everything may be deleted.
#[derive(Debug)]
pub struct DockerRegistry {
    // Before the directory, so that the process ends before its storage goes.
    daemon: Daemon,
    directory: TempDir,
    address: String,
    access: Access,
    authority: Option<Authority>,
    tls: Option<Arc<ClientConfig>>,
}

/// A docker-registry that is about to start.
#[derive(Debug)]
#[must_use = "nothing runs yet"]
pub struct Setup {
    ip: IpAddr,
    port: u16,
    access: Access,
    tls: Option<Tls>,
}

/// What it shows, and what it asks for.
#[derive(Debug)]
struct Tls {
    authority: Authority,
    certificate: Certificate,
    /// The certificate of the tests' own client, where clients need one of the same authority.
    client: Option<Certificate>,
}

/// Whom it lets in.
#[derive(Debug)]
enum Access {
    Everybody,
    Basic { user: String, password: String },
    Bearer(TokenServer),
}

impl DockerRegistry {
    /// Plain HTTP, open to everybody.
    pub fn plain() -> Self {
        Self::setup().start()
    }

    /// Plain HTTP, one user, `WWW-Authenticate: Basic`.
    pub fn basic(user: &str, password: &str) -> Self {
        Self::setup().basic(user, password).start()
    }

    /// Plain HTTP, tokens from `tokens`, `WWW-Authenticate: Bearer`.
    pub fn bearer(tokens: TokenServer) -> Self {
        Self::setup().tokens(tokens).start()
    }

    /// HTTPS with the certificate of an authority of its own, open to everybody.
    pub fn tls() -> Self {
        Self::setup().tls(Authority::new(), &[]).start()
    }

    /// Everything else: plain HTTP on loopback, open to everybody, until told otherwise.
    pub fn setup() -> Setup {
        Setup { ip: LOOPBACK, port: 0, access: Access::Everybody, tls: None }
    }

    fn start(setup: Setup) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let config = directory.path().join("config.yml");
        fs::write(&config, setup.configuration(directory.path())).expect("a configuration");
        let Setup { access, tls, .. } = setup;
        let client = tls.as_ref().map(|tls| tls.authority.trusting(tls.client.as_ref()));
        let mut command = Command::new(peers::path("docker-registry"));
        command.arg("serve").arg(&config).env_clear().env("HOME", directory.path());
        let mut daemon = Daemon::start("docker-registry", directory.path(), &mut command);
        let address = daemon.await_log(listening);
        let authority = tls.map(|tls| tls.authority);
        let registry = Self { daemon, directory, address, access, authority, tls: client };
        let probe = Client::new(&registry.address).tls(registry.tls.clone());
        let answer = wait_for(PATIENCE, || probe.try_send("GET", "/v2/", &[], &[]).ok());
        assert!(answer.is_some(), "docker-registry does not answer\n{}", registry.log());
        registry
    }

    /// `127.0.0.1:PORT`, or the address that it was told to listen on.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Where its storage is.
    pub fn storage(&self) -> PathBuf {
        self.directory.path().join("storage")
    }

    /// What it wrote: errors, and a line for each request.
    pub fn log(&self) -> String {
        self.daemon.log()
    }

    /// The authority behind its certificate, if it speaks HTTPS.
    pub fn authority(&self) -> Option<&Authority> {
        self.authority.as_ref()
    }

    /// Where its tokens come from, if it wants tokens.
    pub fn tokens(&self) -> Option<&TokenServer> {
        match &self.access {
            Access::Bearer(tokens) => Some(tokens),
            Access::Everybody | Access::Basic { .. } => None,
        }
    }

    /// A client that may do everything in `repository`.
    pub fn client(&self, repository: &str) -> Client {
        let authorization = match &self.access {
            Access::Everybody => None,
            Access::Basic { user, password } => Some(token_server::basic(user, password)),
            Access::Bearer(tokens) => {
                Some(format!("Bearer {}", tokens.issue(&format!("repository:{repository}:pull,push,delete"))))
            }
        };
        Client::new(&self.address).authorization(authorization).tls(self.tls.clone())
    }

    /// Pushes an image.
    pub fn push(&self, graph: &Graph, repository: &str, tag: &str) {
        graph.push(&self.client(repository), repository, tag);
    }
}

/// The address, once the log has it. The system chose the port, so nobody else can have it.
fn listening(log: &str) -> Option<String> {
    let (_, rest) = log.split_once("listening on ")?;
    let end = rest.find(|character: char| !(character.is_ascii_hexdigit() || ".:[]".contains(character)))?;
    Some(rest[..end].to_owned())
}

impl Setup {
    /// Listens on this address.
    pub fn at(mut self, ip: &str) -> Self {
        self.ip = listener::ip(ip);
        self
    }

    /// Listens on this port rather than on a free one.
    pub fn port(mut self, port: u16) -> Self {
        self.port = port;
        self
    }

    /// One user, `WWW-Authenticate: Basic`.
    pub fn basic(mut self, user: &str, password: &str) -> Self {
        self.access = Access::Basic { user: user.to_owned(), password: password.to_owned() };
        self
    }

    /// Tokens from `tokens`, `WWW-Authenticate: Bearer`.
    pub fn tokens(mut self, tokens: TokenServer) -> Self {
        self.access = Access::Bearer(tokens);
        self
    }

    /// HTTPS, with a certificate of `authority` for the address it listens on, `localhost` and `names`. To be called
    /// after [`at`](Self::at).
    pub fn tls(mut self, authority: Authority, names: &[&str]) -> Self {
        let ip = self.ip.to_string();
        let certificate = authority.server(&[&["localhost", &ip], names].concat());
        self.tls = Some(Tls { authority, certificate, client: None });
        self
    }

    /// Lets only clients in that have a certificate of the same authority. To be called after [`tls`](Self::tls).
    pub fn client_certificates(mut self) -> Self {
        let tls = self.tls.as_mut().expect("client certificates are for TLS");
        tls.client = Some(tls.authority.client("hoist tests"));
        self
    }

    /// Starts it.
    pub fn start(self) -> DockerRegistry {
        DockerRegistry::start(self)
    }

    /// The configuration. It is JSON, which is YAML too.
    fn configuration(&self, directory: &Path) -> String {
        let mut config = json!({
            "version": 0.1,
            "log": {"level": "info"},
            "storage": {
                "filesystem": {"rootdirectory": directory.join("storage")},
                "delete": {"enabled": true},
            },
            "http": {"addr": SocketAddr::new(self.ip, self.port).to_string(), "secret": "shared by one"},
        });
        if let Some(Tls { authority, certificate, client }) = &self.tls {
            let path = |name, from: &Path| {
                let path = directory.join(name);
                fs::copy(from, &path).expect("a certificate file");
                path
            };
            let mut tls = json!({
                "certificate": path("server.pem", &certificate.file()),
                "key": path("server.key", &certificate.key_file()),
            });
            if client.is_some() {
                tls["clientcas"] = json!([authority.file()]);
            }
            config["http"]["tls"] = tls;
        }
        match &self.access {
            Access::Everybody => {}
            Access::Basic { user, password } => {
                let path = directory.join("htpasswd");
                fs::write(&path, htpasswd(user, password)).expect("a password file");
                config["auth"] = json!({"htpasswd": {"realm": "hoist tests", "path": path}});
            }
            Access::Bearer(tokens) => {
                let path = directory.join("tokens.pem");
                fs::write(&path, tokens.certificate()).expect("a certificate file");
                config["auth"] = json!({"token": {
                    "realm": tokens.realm(), "service": TokenServer::SERVICE,
                    "issuer": TokenServer::ISSUER, "rootcertbundle": path,
                }});
            }
        }
        config.to_string()
    }
}

/// A line of a password file, hashed with bcrypt, the only hash that docker-registry takes.
fn htpasswd(user: &str, password: &str) -> Vec<u8> {
    let output = Command::new(peers::path("htpasswd"))
        .args(["-Bbn", user, password])
        .stdin(Stdio::null())
        .output()
        .expect("htpasswd starts");
    assert!(output.status.success(), "htpasswd: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}
