//! A hermetic place to run commands in: hoist, its peers, a shell.

use std::ffi::{OsStr, OsString};
use std::io::{Read, Write};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use std::{env, fs};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::process::{PATIENCE, wait_for};
use crate::{Outcome, lock, peers};

/// A home directory of its own, and commands that see nothing of the machine's: an environment with `HOME`, `TMPDIR`,
/// `DOCKER_CONFIG`, the XDG directories, `PATH`, `TZ=UTC` and a neutral locale, in an empty working directory.
#[derive(Debug)]
pub struct Cli {
    home: TempDir,
}

impl Cli {
    /// Makes the place.
    pub fn new() -> Self {
        let home = tempfile::tempdir().expect("a temporary directory");
        for directory in ["bin", "tmp", "run", "work", ".docker", ".config", ".cache"] {
            fs::create_dir(home.path().join(directory)).expect("a directory");
        }
        Self { home }
    }

    /// Its `HOME`. `bin` in it is the first of `PATH`: the place for credential helpers.
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// Where commands are run, unless told otherwise.
    pub fn work(&self) -> PathBuf {
        self.home().join("work")
    }

    /// Its `TMPDIR`.
    pub fn tmp(&self) -> PathBuf {
        self.home().join("tmp")
    }

    /// Writes docker's configuration file.
    pub fn docker_config(&self, config: &Value) {
        fs::write(self.home().join(".docker/config.json"), config.to_string()).expect("a configuration");
    }

    /// Writes docker's configuration file with one registry's user and password.
    pub fn login(&self, address: &str, user: &str, password: &str) {
        let auth = STANDARD.encode(format!("{user}:{password}"));
        self.docker_config(&json!({"auths": {address: {"auth": auth}}}));
    }

    /// Puts an executable script on the `PATH`.
    pub fn script(&self, name: &str, text: &str) {
        use std::os::unix::fs::PermissionsExt as _;
        let path = self.home().join("bin").join(name);
        fs::write(&path, text).expect("a script");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("an executable script");
    }

    /// `hoist`, with these arguments.
    pub fn hoist(&self, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Invocation {
        self.command(&hoist(), arguments)
    }

    /// `hoist`, called through a link of this name.
    pub fn hoist_as(&self, name: &str, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Invocation {
        let links = self.home().join("links");
        let link = links.join(name);
        if !link.exists() {
            fs::create_dir_all(&links).expect("a directory");
            symlink(hoist(), &link).expect("a link");
        }
        self.command(&link, arguments)
    }

    /// Another program: a peer by its name.
    pub fn peer(&self, name: &str, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Invocation {
        self.command(&peers::path(name), arguments)
    }

    /// A line of bash, where `hoist` is hoist, and a pipe fails when any part of it does.
    pub fn shell(&self, line: &str) -> Invocation {
        let name = self.home().join("bin/hoist");
        if !name.exists() {
            symlink(hoist(), &name).expect("a link");
        }
        self.command(Path::new("/bin/bash"), ["-o", "pipefail", "-c", line])
    }

    /// A program by its path.
    pub fn command(
        &self,
        program: &Path,
        arguments: impl IntoIterator<Item = impl AsRef<OsStr>>,
    ) -> Invocation {
        let home = self.home();
        let mut path = home.join("bin").into_os_string();
        path.push(":/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin");
        let mut command = Command::new(program);
        command
            .args(arguments)
            .current_dir(home.join("work"))
            .env_clear()
            .env("HOME", home)
            .env("PATH", path)
            .env("TMPDIR", home.join("tmp"))
            .env("DOCKER_CONFIG", home.join(".docker"))
            .env("XDG_CONFIG_HOME", home.join(".config"))
            .env("XDG_CACHE_HOME", home.join(".cache"))
            .env("XDG_RUNTIME_DIR", home.join("run"))
            .env("TZ", "UTC")
            .env("LC_ALL", "C.UTF-8");
        Invocation { command, stdin: Vec::new(), patience: PATIENCE }
    }
}

impl Default for Cli {
    fn default() -> Self {
        Self::new()
    }
}

/// The binary under test: `HOIST`, else the one that cargo built beside the tests.
fn hoist() -> PathBuf {
    let beside = || {
        // The test is TARGET/TRIPLE/PROFILE/deps/NAME.
        let test = env::current_exe().ok()?;
        Some(test.parent()?.parent()?.join("hoist"))
    };
    env::var_os("HOIST")
        .map(PathBuf::from)
        .or_else(beside)
        .filter(|path| path.is_file())
        .expect("hoist's binary is missing: run scripts/test")
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// A command that is about to run.
#[derive(Debug)]
#[must_use = "nothing runs yet"]
pub struct Invocation {
    command: Command,
    stdin: Vec<u8>,
    patience: Duration,
}

impl Invocation {
    /// One more argument.
    pub fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.command.arg(argument);
        self
    }

    /// More arguments.
    pub fn args(mut self, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        self.command.args(arguments);
        self
    }

    /// One more variable.
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// What it reads from standard input, which is empty otherwise.
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = bytes.into();
        self
    }

    /// Where it runs.
    pub fn directory(mut self, path: impl AsRef<Path>) -> Self {
        self.command.current_dir(path);
        self
    }

    /// Where it will run.
    pub(crate) fn current_directory(&self) -> PathBuf {
        self.command.get_current_dir().map(Path::to_path_buf).unwrap_or_default()
    }

    /// The same, run by another program, which gets `words` before the command.
    pub(crate) fn through(self, program: &Path, words: Vec<OsString>) -> Self {
        let mut command = Command::new(program);
        command.args(words).arg(self.command.get_program()).args(self.command.get_args());
        command.current_dir(self.current_directory()).env_clear();
        let variables = self.command.get_envs().filter_map(|(name, value)| Some((name, value?)));
        command.envs(variables);
        Self { command, ..self }
    }

    /// The same, by root that has nothing but its files: not the right to read what nobody may read. Others have none.
    pub fn without_rights(self) -> Self {
        let words = ["--bounding-set=-all", "--inh-caps=-all", "--"].map(OsString::from).to_vec();
        if is_root() { self.through(&peers::path("setpriv"), words) } else { self }
    }

    /// How long it may run before the test fails; two minutes unless told otherwise.
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Runs it to its end.
    pub fn run(self) -> Outcome {
        self.start().wait()
    }

    /// Starts it.
    pub fn start(mut self) -> Running {
        let shown = [self.command.get_program()].into_iter().chain(self.command.get_args());
        let shown = shown.collect::<Vec<_>>().join(OsStr::new(" "));
        self.command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child =
            self.command.spawn().unwrap_or_else(|error| panic!("starting {}: {error}", shown.display()));
        if let Some(mut stdin) = child.stdin.take() {
            // A command that ends without reading its input is its own affair.
            thread::spawn(move || stdin.write_all(&self.stdin));
        }
        let stdout = Capture::of(child.stdout.take().expect("a pipe"));
        let stderr = Capture::of(child.stderr.take().expect("a pipe"));
        Running { child, command: shown, patience: self.patience, stdout, stderr }
    }
}

/// A command that runs; it is killed when this value goes.
#[derive(Debug)]
pub struct Running {
    child: Child,
    command: OsString,
    patience: Duration,
    stdout: Capture,
    stderr: Capture,
}

impl Running {
    /// Its process number.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits until standard output has `text`; gives what there is by then.
    #[track_caller]
    pub fn await_stdout(&mut self, text: &str) -> String {
        let found = wait_for(self.patience, || Some(self.stdout.text()).filter(|all| all.contains(text)));
        found.unwrap_or_else(|| self.never_wrote(text))
    }

    /// Waits until standard error has `text`; gives what there is by then.
    #[track_caller]
    pub fn await_stderr(&mut self, text: &str) -> String {
        let found = wait_for(self.patience, || Some(self.stderr.text()).filter(|all| all.contains(text)));
        found.unwrap_or_else(|| self.never_wrote(text))
    }

    #[track_caller]
    fn never_wrote(&self, text: &str) -> ! {
        let (command, out, err) = (self.command.display(), self.stdout.text(), self.stderr.text());
        panic!("`{command}` did not write {text:?}\n--- stdout\n{out}\n--- stderr\n{err}")
    }

    /// Sends SIGINT, as Ctrl-C does.
    pub fn interrupt(&self) {
        self.signal(Signal::INT);
    }

    /// Sends SIGTERM.
    pub fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("a process to signal");
    }

    /// Waits for its end; panics when patience ends first.
    #[track_caller]
    pub fn wait(mut self) -> Outcome {
        let status = wait_for(self.patience, || self.child.try_wait().expect("our own child"));
        let command = self.command.display().to_string();
        let Some(status) = status else {
            let _ = self.child.kill();
            let (out, err) = (self.stdout.text(), self.stderr.text());
            panic!("`{command}` runs after {:?}\n--- stdout\n{out}\n--- stderr\n{err}", self.patience)
        };
        Outcome { command, status, stdout: self.stdout.finish(), stderr: self.stderr.finish() }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What came out of a pipe until now.
#[derive(Debug)]
struct Capture {
    bytes: Arc<Mutex<Vec<u8>>>,
    reading: Option<JoinHandle<()>>,
}

impl Capture {
    fn of(mut pipe: impl Read + Send + 'static) -> Self {
        let bytes = Arc::<Mutex<Vec<u8>>>::default();
        let reading = thread::spawn({
            let bytes = Arc::clone(&bytes);
            move || {
                let mut buffer = vec![0; 64 << 10];
                while let Ok(read @ 1..) = pipe.read(&mut buffer) {
                    lock(&bytes).extend_from_slice(&buffer[..read]);
                }
            }
        });
        Self { bytes, reading: Some(reading) }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&lock(&self.bytes)).into_owned()
    }

    /// All of it, once the pipe has ended.
    fn finish(&mut self) -> Vec<u8> {
        if let Some(reading) = self.reading.take() {
            let _ = reading.join();
        }
        std::mem::take(&mut lock(&self.bytes))
    }
}
