//! A network of its own, with addresses that no test machine has: in a user, network and mount namespace, without root.

use std::any::type_name;
use std::ffi::OsString;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::cli::Invocation;
use crate::peers;

/// Set in the test that runs inside, to the test's name.
const INSIDE: &str = "HOIST_TEST_NETWORK";

/// What every network begins with, but for the machine's own names.
const HOSTS: &str = "127.0.0.1 localhost\n::1 localhost\n";

/// The network that a test runs in. Its addresses are all this machine's own: whatever listens on them is reached as if
/// it were elsewhere, and there is nothing else to reach.
///
/// `/etc` is a copy that the test may change: `hosts` and `resolv.conf`, `docker/certs.d`, `containers`.
#[derive(Debug)]
pub struct Network {
    directory: TempDir,
}

impl Network {
    /// Public, as far as anybody can tell (RFC 5737).
    pub const PUBLIC: &str = "198.51.100.7";
    /// Another of the same kind.
    pub const PUBLIC_TOO: &str = "203.0.113.9";
    /// Private (RFC 1918).
    pub const PRIVATE: &str = "10.77.0.7";
    /// Another, of another range.
    pub const PRIVATE_TOO: &str = "192.168.77.7";
    /// Shared by a carrier's customers (RFC 6598).
    pub const CARRIER: &str = "100.64.77.7";
    /// Link-local (RFC 3927), where clouds answer whoever asks for credentials.
    pub const METADATA: &str = "169.254.169.254";
    /// Public, IPv6 (RFC 3849).
    pub const PUBLIC_6: &str = "2001:db8::7";
    /// Private, IPv6 (RFC 4193).
    pub const PRIVATE_6: &str = "fd77::7";

    /// Runs the rest of a test in such a network. To be called once, by the test function itself: the test's program is
    /// started again inside, for this test alone, and has to pass there.
    ///
    /// # Panics
    /// Also when there can be no such network here: a test never passes without what it needs.
    pub fn inside<F: FnOnce(&Self)>(body: F) {
        let name = test_name::<F>();
        if std::env::var(INSIDE).is_ok_and(|inside| inside == name) {
            body(&Self::set_up());
            return;
        }
        let program = std::env::current_exe().expect("a test's program has a path");
        let output = Command::new(peers::path("unshare"))
            .args(["--map-root-user", "--net", "--mount", "--"])
            .arg(program)
            .args([name, "--exact", "--nocapture", "--test-threads=1"])
            .env(INSIDE, name)
            .stdin(Stdio::null())
            .output()
            .expect("unshare starts");
        let [out, err] = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes));
        assert!(
            !err.starts_with("unshare: "),
            "this machine allows no network of its own, which this test needs (user namespaces): {err}"
        );
        assert!(
            output.status.success() && out.contains("test result: ok. 1 passed"),
            "{name}, in a network of its own: {}\n{out}\n{err}",
            output.status
        );
    }

    fn set_up() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        replace_etc(&directory.path().join("etc"));
        run(&["ip", "link", "set", "lo", "up"]);
        for address in [
            Self::PUBLIC,
            Self::PUBLIC_TOO,
            Self::PRIVATE,
            Self::PRIVATE_TOO,
            Self::CARRIER,
            Self::METADATA,
            Self::PUBLIC_6,
            Self::PRIVATE_6,
        ] {
            // Without the search for somebody else who has it, which would take a second.
            run(&["ip", "address", "add", address, "dev", "lo", "nodad"]);
        }
        Self { directory }
    }

    /// Gives a name in the hosts file addresses, beside those that it has.
    pub fn name(&self, name: &str, addresses: &[&str]) {
        let mut hosts = fs::read_to_string("/etc/hosts").expect("a hosts file");
        for address in addresses {
            hosts += &[address, " ", name, "\n"].concat();
        }
        fs::write("/etc/hosts", hosts).expect("a hosts file");
    }

    /// Names the name servers.
    pub fn name_servers(&self, addresses: &[&str]) {
        let lines: Vec<String> = addresses.iter().map(|address| format!("nameserver {address}\n")).collect();
        fs::write("/etc/resolv.conf", lines.concat()).expect("a resolver's configuration");
    }

    /// Makes a room that has one way out: the addresses of this network cannot be reached from there, but for
    /// [`Room::DOOR`].
    pub fn room(&self) -> Room {
        Room::new(self.directory.path())
    }
}

/// A place behind a wall, with names of its own: none. What runs there reaches [`DOOR`](Self::DOOR) and nothing else.
#[derive(Debug)]
pub struct Room {
    keeper: Child,
}

impl Room {
    /// The address on the other side of the door: the place for a proxy.
    pub const DOOR: &str = "10.66.0.1";

    fn new(directory: &Path) -> Self {
        let hosts = directory.join("room-hosts");
        fs::write(&hosts, HOSTS).expect("a hosts file");
        // It lives until its standard input ends.
        let script = r#"mount --bind "$0" /etc/hosts && ip link set lo up && echo ready && exec cat"#;
        let mut keeper = Command::new(peers::path("unshare"))
            .args(["--net", "--mount", "--", "sh", "-c", script])
            .arg(&hosts)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("unshare starts");
        let mut line = String::new();
        let output = keeper.stdout.take().expect("a pipe");
        BufReader::new(output).read_line(&mut line).expect("a line");
        assert_eq!(line, "ready\n", "the room could not be made");
        let room = Self { keeper };
        let id = room.keeper.id().to_string();
        run(&["ip", "link", "add", "door", "type", "veth", "peer", "name", "out", "netns", &id]);
        run(&["ip", "address", "add", &format!("{}/24", Self::DOOR), "dev", "door"]);
        run(&["ip", "link", "set", "door", "up"]);
        let enter = ["nsenter", "--target", &id, "--net"];
        run(&[&enter[..], &["ip", "address", "add", "10.66.0.2/24", "dev", "out"]].concat());
        run(&[&enter[..], &["ip", "link", "set", "out", "up"]].concat());
        room
    }

    /// A command that will run in the room.
    pub fn locks_in(&self, command: Invocation) -> Invocation {
        let id = self.keeper.id().to_string();
        let before = ["--target", &id, "--net", "--mount", "--"];
        let mut words: Vec<OsString> = before.map(OsString::from).to_vec();
        // Another mount namespace begins in its root directory.
        words.extend(["env".into(), "--chdir".into(), command.current_directory().into_os_string()]);
        command.through(&peers::path("nsenter"), words)
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        let _ = self.keeper.kill();
        let _ = self.keeper.wait();
    }
}

/// The test that a closure stands in, as the test harness knows it: its path without the crate.
fn test_name<F>() -> &'static str {
    let path = type_name::<F>();
    let (_, rest) = path.split_once("::").expect("a closure has a path");
    rest.split("::{{closure}}").next().unwrap_or(rest)
}

/// Puts a new `/etc` before the machine's: links to what was there, and files of its own where tests need others.
fn replace_etc(old: &Path) {
    fs::create_dir(old).expect("a directory");
    let old = old.to_str().expect("a temporary directory has a plain name");
    run(&["mount", "--rbind", "/etc", old]);
    run(&["mount", "-t", "tmpfs", "etc", "/etc"]);
    for entry in fs::read_dir(old).expect("the machine's /etc") {
        let name = entry.expect("an entry").file_name();
        if !["hosts", "resolv.conf", "docker", "containers"].iter().any(|own| name == *own) {
            symlink(Path::new(old).join(&name), Path::new("/etc").join(&name)).expect("a link");
        }
    }
    fs::write("/etc/hosts", HOSTS).expect("a hosts file");
    fs::write("/etc/resolv.conf", "").expect("a resolver's configuration");
}

/// Runs a program that has to succeed.
fn run(words: &[&str]) {
    let output = Command::new(peers::path(words[0])).args(&words[1..]).stdin(Stdio::null()).output();
    let output = output.unwrap_or_else(|error| panic!("starting {}: {error}", words[0]));
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {text}", words.join(" "));
}
