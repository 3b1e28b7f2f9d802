//! A real Docker daemon with a containerd.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::geteuid;
use tempfile::TempDir;

use crate::cli::{Cli, Invocation};
use crate::peers;

/// `scripts/docker start`, with room of its own; needs root, or sudo without a password.
#[derive(Debug)]
pub struct Docker {
    directory: TempDir,
    cli: Cli,
}

impl Docker {
    /// Starts both daemons.
    pub fn start() -> Self {
        let docker = Self { directory: tempfile::tempdir().expect("a temporary directory"), cli: Cli::new() };
        let output =
            as_root(&script()).arg("start").arg(docker.room()).output().expect("scripts/docker starts");
        assert!(output.status.success(), "scripts/docker: {}", String::from_utf8_lossy(&output.stderr));
        // Whoever runs the test talks to it too.
        let opened = as_root(Path::new("chmod")).arg("0666").arg(docker.socket()).status();
        assert!(opened.expect("chmod starts").success(), "the socket cannot be opened to all");
        docker
    }

    /// `docker`, talking to this daemon.
    pub fn docker(&self, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Invocation {
        self.invocation("docker", ["--host", &self.host()], arguments)
    }

    /// The daemon's address, as `DOCKER_HOST` has it.
    pub fn host(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    fn socket(&self) -> PathBuf {
        self.room().join("docker.sock")
    }

    /// `ctr`, talking to this containerd.
    pub fn ctr(&self, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Invocation {
        let socket = self.room().join("containerd.sock");
        self.invocation("ctr", ["--address".as_ref(), socket.as_os_str()], arguments)
    }

    fn invocation(
        &self,
        program: &str,
        before: impl IntoIterator<Item = impl AsRef<OsStr>>,
        arguments: impl IntoIterator<Item = impl AsRef<OsStr>>,
    ) -> Invocation {
        let program = as_root(&peers::path(program));
        let mut invocation = self.cli.command(Path::new(program.get_program()), program.get_args());
        for argument in before {
            invocation = invocation.arg(argument);
        }
        for argument in arguments {
            invocation = invocation.arg(argument);
        }
        invocation
    }

    /// A directory below the temporary one, which root may own and remove.
    fn room(&self) -> PathBuf {
        self.directory.path().join("room")
    }
}

impl Drop for Docker {
    fn drop(&mut self) {
        let _ = as_root(&script()).arg("stop").arg(self.room()).status();
        let _ = as_root(Path::new("rm")).arg("-rf").arg(self.room()).status();
    }
}

fn script() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../scripts/docker"))
}

fn as_root(program: &Path) -> Command {
    if geteuid().is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("sudo");
    command.arg("-n").arg(program);
    command
}
