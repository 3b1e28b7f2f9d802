//! A server in a process of its own: started, watched, ended.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// How long a server may take to be ready, and a command to end: far more than a busy machine needs.
pub(crate) const PATIENCE: Duration = Duration::from_mins(2);

/// Between two looks at something that is being waited for.
const PAUSE: Duration = Duration::from_millis(10);

/// Looks until there is something to see; `None` when patience ends.
pub(crate) fn wait_for<T>(patience: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(seen) = look() {
            return Some(seen);
        }
        if Instant::now() >= deadline {
            return None;
        }
        thread::sleep(PAUSE);
    }
}

/// A child process that ends with this value, and what it wrote.
#[derive(Debug)]
pub(crate) struct Daemon {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Daemon {
    /// Starts the command; what it writes goes into `directory`.
    pub(crate) fn start(name: &str, directory: &Path, command: &mut Command) -> Self {
        let log = directory.join(format!("{name}.log"));
        let file = File::create(&log).expect("a log file");
        let errors = file.try_clone().expect("a second handle of the log file");
        let child = command.stdin(Stdio::null()).stdout(file).stderr(errors).spawn();
        let child = child.unwrap_or_else(|error| panic!("starting {name}: {error}"));
        Self { name: name.to_owned(), child, log }
    }

    /// What it wrote until now.
    pub(crate) fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// Looks at the log until `ready` finds what it wants there.
    pub(crate) fn await_log<T>(&mut self, ready: impl Fn(&str) -> Option<T>) -> T {
        let found = wait_for(PATIENCE, || {
            let ended = self.child.try_wait().ok().flatten();
            match (ready(&self.log()), ended) {
                (Some(found), _) => Some(Ok(found)),
                (None, Some(status)) => Some(Err(format!("ended: {status}"))),
                (None, None) => None,
            }
        });
        match found.unwrap_or_else(|| Err(format!("is not ready after {PATIENCE:?}"))) {
            Ok(found) => found,
            Err(what) => panic!("{} {what}\n{}", self.name, self.log()),
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            report(&self.name, &self.log());
        }
    }
}

/// Shows what a server had to complain about beside the failure of the test that used it.
#[expect(clippy::print_stderr, reason = "the test harness shows it with the failure")]
fn report(name: &str, log: &str) {
    const LINES: usize = 40;
    let is_news = |line: &&str| !line.contains("level=info") && !line.contains(" HTTP/1.1\" ");
    let lines: Vec<&str> = log.lines().filter(is_news).collect();
    eprintln!("--- {name}, last lines of its log\n{}", lines[lines.len().saturating_sub(LINES)..].join("\n"));
}
