//! How a command ended.

use std::process::ExitStatus;

/// A command's exit status and output. Look at it: a command that failed unseen proves nothing.
#[derive(Clone, Debug)]
#[must_use = "a command may have failed"]
pub struct Outcome {
    pub(crate) command: String,
    /// How the process ended.
    pub status: ExitStatus,
    /// Standard output.
    pub stdout: Vec<u8>,
    /// Standard error.
    pub stderr: Vec<u8>,
}

impl Outcome {
    /// Standard output as text.
    pub fn stdout(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// Standard error as text.
    pub fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.stderr).into_owned()
    }

    /// Standard output of a command that exited with 0; panics with all that is known otherwise.
    #[track_caller]
    pub fn success(&self) -> String {
        self.exited(0);
        self.stdout()
    }

    /// Standard error of a command that exited with `code`; panics with all that is known otherwise.
    #[track_caller]
    pub fn failure(&self, code: i32) -> String {
        assert_ne!(code, 0, "0 is no failure");
        self.exited(code);
        self.stderr()
    }

    #[track_caller]
    fn exited(&self, code: i32) {
        assert!(self.status.code() == Some(code), "exit code {code} was expected of {self}");
    }
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (out, err) = (self.stdout(), self.stderr());
        write!(f, "`{}`: {}\n--- stdout\n{out}\n--- stderr\n{err}", self.command, self.status)
    }
}
