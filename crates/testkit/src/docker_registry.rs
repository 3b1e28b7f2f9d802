//! docker-registry, the registry that most others descend from, as Debian packages it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::json;
use tempfile::TempDir;

use crate::images::Graph;
use crate::process::{Daemon, PATIENCE, wait_for};
use crate::{Authority, Client, TokenServer, peers, token_server};

/// A running docker-registry (2.8) with storage of its own, where everything may be deleted.
#[derive(Debug)]
pub struct DockerRegistry {
    // Before the directory, so that the process ends before its storage goes.
    daemon: Daemon,
    directory: TempDir,
    address: String,
    access: Access,
    authority: Option<Authority>,
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
        Self::start(Access::Everybody, None)
    }

    /// Plain HTTP, one user, `WWW-Authenticate: Basic`.
    pub fn basic(user: &str, password: &str) -> Self {
        Self::start(Access::Basic { user: user.to_owned(), password: password.to_owned() }, None)
    }

    /// Plain HTTP, tokens from `tokens`, `WWW-Authenticate: Bearer`.
    pub fn bearer(tokens: TokenServer) -> Self {
        Self::start(Access::Bearer(tokens), None)
    }

    /// HTTPS with the certificate of an authority of its own, open to everybody.
    pub fn tls() -> Self {
        Self::start(Access::Everybody, Some(Authority::new()))
    }

    fn start(access: Access, authority: Option<Authority>) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let config = directory.path().join("config.yml");
        fs::write(&config, configuration(directory.path(), &access, authority.as_ref()))
            .expect("a configuration");
        let mut command = Command::new(peers::path("docker-registry"));
        command.arg("serve").arg(&config).env_clear().env("HOME", directory.path());
        let mut daemon = Daemon::start("docker-registry", directory.path(), &mut command);
        let address = daemon.await_log(listening);
        let registry = Self { daemon, directory, address, access, authority };
        let probe = Client::new(&registry.address).tls(registry.authority.as_ref().map(Authority::client));
        let answer = wait_for(PATIENCE, || probe.try_send("GET", "/v2/", &[], &[]).ok());
        assert!(answer.is_some(), "docker-registry does not answer\n{}", registry.log());
        registry
    }

    /// `127.0.0.1:PORT`.
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
        let tls = self.authority.as_ref().map(Authority::client);
        Client::new(&self.address).authorization(authorization).tls(tls)
    }

    /// Pushes an image.
    pub fn push(&self, graph: &Graph, repository: &str, tag: &str) {
        graph.push(&self.client(repository), repository, tag);
    }
}

/// The address, once the log has it. The system chose the port, so nobody else can have it.
fn listening(log: &str) -> Option<String> {
    let (_, rest) = log.split_once("listening on ")?;
    let end = rest.find(|character: char| !(character.is_ascii_digit() || ".:".contains(character)))?;
    Some(rest[..end].to_owned())
}

/// The configuration. It is JSON, which is YAML too.
fn configuration(directory: &Path, access: &Access, authority: Option<&Authority>) -> String {
    let mut config = json!({
        "version": 0.1,
        "log": {"level": "info"},
        "storage": {
            "filesystem": {"rootdirectory": directory.join("storage")},
            "delete": {"enabled": true},
        },
        "http": {"addr": "127.0.0.1:0", "secret": "shared by one"},
    });
    if let Some(authority) = authority {
        let (certificate, key) = authority.server_files();
        config["http"]["tls"] = json!({"certificate": certificate, "key": key});
    }
    match access {
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
