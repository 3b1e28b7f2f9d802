//! Proxies: tinyproxy for HTTP, microsocks for SOCKS5, as Debian packages them.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::process::Command;

use tempfile::TempDir;

use crate::peers;
use crate::process::{Daemon, PATIENCE, wait_for};

/// A running proxy.
#[derive(Debug)]
pub struct ForwardProxy {
    daemon: Daemon,
    // After the process that writes there.
    _directory: TempDir,
    address: String,
}

impl ForwardProxy {
    /// tinyproxy on this address, open to everybody.
    pub fn http(ip: &str) -> Self {
        Self::tinyproxy(ip, "")
    }

    /// tinyproxy, for one user.
    pub fn http_for(ip: &str, user: &str, password: &str) -> Self {
        Self::tinyproxy(ip, &format!("BasicAuth {user} {password}\n"))
    }

    /// tinyproxy that answers everybody with 403.
    pub fn http_for_nobody(ip: &str) -> Self {
        // A list of who may that has only somebody else in it.
        Self::tinyproxy(ip, "Allow 192.0.2.99\n")
    }

    fn tinyproxy(ip: &str, more: &str) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let port = free_port(ip);
        let config = directory.path().join("tinyproxy.conf");
        // A log level at which connections are written down.
        let text = format!("Listen {ip}\nPort {port}\nLogLevel Connect\nTimeout 60\nMaxClients 100\n{more}");
        fs::write(&config, text).expect("a configuration");
        let mut command = Command::new(peers::path("tinyproxy"));
        command.arg("-d").arg("-c").arg(&config);
        Self::start("tinyproxy", command, directory, ip, port)
    }

    /// microsocks on this address, open to everybody.
    pub fn socks(ip: &str) -> Self {
        Self::microsocks(ip, &[])
    }

    /// microsocks, for one user.
    pub fn socks_for(ip: &str, user: &str, password: &str) -> Self {
        Self::microsocks(ip, &["-u", user, "-P", password])
    }

    fn microsocks(ip: &str, more: &[&str]) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let port = free_port(ip);
        let mut command = Command::new(peers::path("microsocks"));
        command.args(["-i", ip, "-p", &port.to_string()]).args(more);
        Self::start("microsocks", command, directory, ip, port)
    }

    fn start(name: &str, mut command: Command, directory: TempDir, ip: &str, port: u16) -> Self {
        command.env_clear();
        let daemon = Daemon::start(name, directory.path(), &mut command);
        let proxy = Self { daemon, _directory: directory, address: format!("{ip}:{port}") };
        let answers = wait_for(PATIENCE, || TcpStream::connect(&proxy.address).ok());
        assert!(answers.is_some(), "{name} does not listen\n{}", proxy.log());
        proxy
    }

    /// `ADDRESS:PORT`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// What it wrote: a line for each connection.
    pub fn log(&self) -> String {
        self.daemon.log()
    }

    /// Where it was asked to connect to, `host:port`, and by `CONNECT` or by a request for a whole URL; in order.
    pub fn targets(&self) -> Vec<String> {
        let words = |line: &str, after: &str| {
            line.split_once(after).map(|(_, rest)| rest.split(' ').next().unwrap_or(rest).to_owned())
        };
        let log = self.log();
        let lines = log.lines();
        // `Request (file descriptor 8): CONNECT host:port HTTP/1.1`; `client[4] 10.66.0.2: connected to host:port`.
        let target = |line: &str| {
            let request =
                line.split_once("Request (file descriptor ").and_then(|(_, rest)| rest.split_once("): "));
            request.map(|(_, request)| request.to_owned()).or_else(|| words(line, ": connected to "))
        };
        lines.filter_map(target).collect()
    }
}

/// A port that nobody listens on. Somebody else may take it before the proxy does, but for a network of its own.
fn free_port(ip: &str) -> u16 {
    let listener = TcpListener::bind((ip, 0)).unwrap_or_else(|error| panic!("listening on {ip}: {error}"));
    listener.local_addr().expect("a bound socket has an address").port()
}
