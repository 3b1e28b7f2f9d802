//! Credential helpers: programs `docker-credential-NAME` that keep secrets elsewhere.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use serde::de::MapAccess;
use serde::{Deserialize, Deserializer, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;
use zeroize::Zeroizing;

use crate::object::{self, Members};
use crate::{Action, Credential, Error, Secret};

/// What a helper prints on standard output when it has nothing, with exit status 1 (docker's protocol).
const NOT_FOUND: &str = "credentials not found in native keychain";

/// The user that marks an identity token (docker's protocol).
pub(crate) const TOKEN_USER: &str = "<token>";

/// More than any answer has; the rest is not kept.
const MAX_ANSWER: u64 = 1 << 20;
const MAX_MESSAGE: u64 = 16 << 10;

/// How much of a helper's message goes into an error, in characters.
const SHOWN_MESSAGE: usize = 200;

/// How long a helper's standard error is read on after its end. Agents that it started (of a desktop, of GPG) may hold it open
/// for good; docker passes it on and does not notice.
const LAST_WORDS: Duration = Duration::from_millis(100);

/// What a helper prints.
#[derive(Default)]
struct Answer {
    username: Option<String>,
    secret: Option<Secret>,
}

impl Members for Answer {
    fn member<'de, A: MapAccess<'de>>(&mut self, name: &str, map: &mut A) -> Result<bool, A::Error> {
        match name {
            "username" => self.username = map.next_value()?,
            "secret" => self.secret = map.next_value()?,
            _ => return Ok(false),
        }
        Ok(true)
    }
}

impl<'de> Deserialize<'de> for Answer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        object::read(deserializer)
    }
}

/// What a helper is told to keep.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Kept<'a> {
    #[serde(rename = "ServerURL")]
    server_url: &'a str,
    username: &'a str,
    secret: &'a str,
}

/// A helper, and what it is to be asked about.
pub(crate) struct Helper<'a> {
    /// The helper, without `docker-credential-`.
    pub(crate) name: &'a str,
    /// What to ask for.
    pub(crate) server: &'a str,
    /// The file that names the helper.
    pub(crate) config: &'a Path,
    /// Where to find the helper.
    pub(crate) search_path: &'a [PathBuf],
    /// How long it may take.
    pub(crate) limit: Duration,
}

/// What a helper left behind.
struct Outcome {
    status: ExitStatus,
    answer: Zeroizing<Vec<u8>>,
    message: Vec<u8>,
}

impl Helper<'_> {
    /// What it has for the server; `None` if it has nothing.
    pub(crate) async fn get(&self) -> Result<Option<Credential>, Error> {
        let Outcome { status, answer, message } = self.run(Action::Get, self.server.as_bytes()).await?;
        if status.success() {
            let failed = |problem: &str| self.failed(Action::Get, problem.to_owned(), &message);
            return credential(&answer).map_err(failed);
        }
        if is_not_found(&answer) {
            return Ok(None);
        }
        // Docker's own helpers complain on standard output. What may be an answer is not repeated.
        let on_output = first_line(&message).is_empty() && !answer.contains(&b'{');
        let complaint = if on_output { &*answer } else { &message };
        Err(self.failed(Action::Get, format!("it failed with {status}"), complaint))
    }

    /// Has it keep a user and a secret.
    pub(crate) async fn store(&self, username: &str, secret: &Secret) -> Result<(), Error> {
        let kept = Kept { server_url: self.server, username, secret: secret.expose() };
        // Room for all at once: a buffer that grows leaves copies of the secret behind. An escape has six letters.
        let length = 64 + 6 * (self.server.len() + username.len() + secret.expose().len());
        let mut document = Zeroizing::new(Vec::with_capacity(length));
        serde_json::to_writer(&mut *document, &kept).map_err(|_| Error::Unstorable {
            server: self.server.to_owned(),
            problem: "they cannot be written as JSON",
        })?;
        let Outcome { status, answer, message } = self.run(Action::Store, &document).await?;
        if status.success() {
            return Ok(());
        }
        // Helpers complain on standard output. What they were given to keep is not repeated.
        let complaint = [&message, &*answer].into_iter().find(|text| {
            let hidden = !secret.expose().is_empty() && first_line(text).contains(secret.expose());
            !first_line(text).is_empty() && !hidden
        });
        let complaint = complaint.map_or(&[][..], Vec::as_slice);
        Err(self.failed(Action::Store, format!("it failed with {status}"), complaint))
    }

    /// Has it forget what it has for the server; that it has nothing is as good.
    pub(crate) async fn erase(&self) -> Result<(), Error> {
        let Outcome { status, answer, message } = self.run(Action::Erase, self.server.as_bytes()).await?;
        if status.success() || is_not_found(&answer) {
            return Ok(());
        }
        let complaint = if first_line(&message).is_empty() { &*answer } else { &message };
        Err(self.failed(Action::Erase, format!("it failed with {status}"), complaint))
    }

    /// Runs the helper. It is killed when its time is over and when the future is dropped.
    async fn run(&self, action: Action, question: &[u8]) -> Result<Outcome, Error> {
        let program = find(self.name, self.search_path).ok_or_else(|| Error::HelperMissing {
            name: self.name.to_owned(),
            action,
            server: self.server.to_owned(),
            path: self.config.to_owned(),
        })?;
        let not_started = |error| self.failed(action, format!("it cannot be started: {error}"), &[]);
        let mut child = Command::new(program)
            .arg(action.word())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(not_started)?;
        let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let mut answer = Zeroizing::new(Vec::with_capacity(8 << 10));
        let mut message = Vec::new();
        let talk = async {
            let question = async {
                // A helper may answer without reading; then it is no loss.
                if let Some(mut stdin) = stdin {
                    let _ = stdin.write_all(question).await;
                }
            };
            let mut work =
                pin!(async { tokio::join!(child.wait(), question, keep(stdout, MAX_ANSWER, &mut answer)).0 });
            let mut complaints = pin!(keep(stderr, MAX_MESSAGE, &mut message));
            tokio::select! {
                status = &mut work => {
                    let _ = tokio::time::timeout(LAST_WORDS, complaints).await;
                    status
                }
                () = &mut complaints => work.await,
            }
        };
        let Ok(status) = tokio::time::timeout(self.limit, talk).await else {
            return Err(Error::HelperTimeout {
                name: self.name.to_owned(),
                action,
                server: self.server.to_owned(),
                limit: self.limit,
                message: first_line(&message),
            });
        };
        let status = status
            .map_err(|error| self.failed(action, format!("its end is not known: {error}"), &message))?;
        Ok(Outcome { status, answer, message })
    }

    fn failed(&self, action: Action, problem: String, message: &[u8]) -> Error {
        Error::HelperFailed {
            name: self.name.to_owned(),
            action,
            server: self.server.to_owned(),
            problem,
            message: first_line(message),
        }
    }
}

fn is_not_found(answer: &[u8]) -> bool {
    answer.trim_ascii() == NOT_FOUND.as_bytes()
}

/// The first executable of that name. A name with a slash would be a path out of these folders, and is not found.
fn find(name: &str, search_path: &[PathBuf]) -> Option<PathBuf> {
    if name.contains('/') {
        return None;
    }
    let file = format!("docker-credential-{name}");
    search_path.iter().map(|folder| folder.join(&file)).find(|program| {
        program.metadata().is_ok_and(|it| it.is_file() && it.permissions().mode() & 0o111 != 0)
    })
}

/// Keeps up to `limit` bytes and lets the rest pass, so that the writer is never stopped. A read error is an end.
async fn keep(reader: Option<impl AsyncRead + Unpin>, limit: u64, into: &mut Vec<u8>) {
    if let Some(mut reader) = reader
        && (&mut reader).take(limit).read_to_end(into).await.is_ok()
    {
        let _ = tokio::io::copy(&mut reader, &mut tokio::io::sink()).await;
    }
}

fn credential(answer: &[u8]) -> Result<Option<Credential>, &'static str> {
    // The parser's own words would quote the answer.
    let answer: Answer =
        serde_json::from_slice(answer).map_err(|_| "its answer is not the JSON of a credential")?;
    let username = answer.username.unwrap_or_default();
    let secret = answer.secret.unwrap_or_default();
    Ok(match (username.as_str(), secret.expose()) {
        ("" | TOKEN_USER, "") => None,
        (TOKEN_USER, _) => Some(Credential::identity_token(secret)),
        _ => Some(Credential::Basic { username, password: secret }),
    })
}

/// The first line with content, without what a terminal would obey.
fn first_line(message: &[u8]) -> String {
    let text = String::from_utf8_lossy(message);
    let line = text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
    line.chars().filter(|c| !c.is_control()).take(SHOWN_MESSAGE).collect()
}
