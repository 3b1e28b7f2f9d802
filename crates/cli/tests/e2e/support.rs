//! What several of these tests need.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use testkit::images::{self, Graph};
use testkit::{Cli, DockerRegistry, HoistServer, Invocation, Outcome, TokenServer, peers};

pub(crate) const USER: &str = "alice";
pub(crate) const PASSWORD: &str = "correct-horse-battery-staple";

/// One of each kind of image.
pub(crate) fn kinds() -> Vec<(&'static str, Graph)> {
    vec![
        ("single", images::single()),
        ("eight", images::eight_platforms()),
        ("docker", images::docker_schema2()),
        ("docker-list", images::docker_list()),
        ("zstd", images::zstd()),
        ("artifact", images::artifact()),
        ("nested", images::nested_index()),
        ("whiteouts", images::whiteouts()),
    ]
}

/// docker-registry with tokens, for [`USER`].
pub(crate) fn bearer() -> DockerRegistry {
    DockerRegistry::bearer(TokenServer::start(USER, PASSWORD))
}

/// hoist's server with an image in it.
pub(crate) fn serving(graph: &Graph, repository: &str, tag: &str) -> HoistServer {
    let server = HoistServer::start();
    server.push(graph, repository, tag);
    server
}

/// A program that needs root; through sudo for everybody else.
pub(crate) fn as_root<'a>(
    cli: &Cli,
    program: &str,
    arguments: impl IntoIterator<Item = &'a str>,
) -> Invocation {
    let path = peers::path(program);
    if is_root() {
        return cli.command(&path, arguments);
    }
    let before = ["-n".to_owned(), path.display().to_string()];
    cli.peer("sudo", before.into_iter().chain(arguments.into_iter().map(str::to_owned)))
}

pub(crate) fn is_root() -> bool {
    fs::metadata("/proc/self").unwrap().uid() == 0
}

/// Standard error of a command that failed as all should: nothing on standard output, one line with the cause, and
/// beside it nothing but hints and notes of attempts. Its temporary folder is empty.
#[track_caller]
pub(crate) fn refused(cli: &Cli, outcome: &Outcome, cause: &str) -> String {
    assert_eq!(outcome.stdout(), "", "{outcome}");
    refused_midway(cli, outcome, cause)
}

/// The same, for an export to standard output: what it wrote is no archive, so that the reading `tar` fails too.
#[track_caller]
pub(crate) fn refused_export(cli: &Cli, outcome: &Outcome, cause: &str) -> String {
    assert_eq!(outcome.stdout, [b'!'; 100], "{outcome}");
    refused_midway(cli, outcome, cause)
}

/// The same, for a command whose result may have begun.
#[track_caller]
pub(crate) fn refused_midway(cli: &Cli, outcome: &Outcome, cause: &str) -> String {
    let text = outcome.failure(1);
    let errors: Vec<&str> = text.lines().filter(|line| line.starts_with("Error: ")).collect();
    assert_eq!(errors.len(), 1, "{outcome}");
    assert!(errors[0].contains(cause), "{cause:?} was expected of {outcome}");
    let known = |line: &str| line.starts_with("Error: ") || line.starts_with("hint: ") || is_log(line);
    assert!(text.lines().all(known), "{outcome}");
    assert_empty(&cli.tmp());
    text
}

/// Whether a line begins as crane's log lines do, with date and time.
pub(crate) fn is_log(line: &str) -> bool {
    line.get(.."2022/04/16 07:10:51 ".len()).is_some_and(|stamp| {
        stamp.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).eq("0000/00/00 00:00:00 ".chars())
    })
}

/// Log lines without date and time.
pub(crate) fn logged(text: &str) -> Vec<String> {
    text.lines()
        .map(|line| if is_log(line) { &line["2022/04/16 07:10:51 ".len()..] } else { line })
        .map(str::to_owned)
        .collect()
}

#[track_caller]
pub(crate) fn assert_empty(directory: &Path) {
    let left: Vec<_> = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(left.is_empty(), "left behind: {left:?}");
}

/// Looks until it is so.
#[track_caller]
pub(crate) fn until(what: &str, mut look: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_mins(1);
    while !look() {
        assert!(Instant::now() < deadline, "it never came to this: {what}");
        thread::sleep(Duration::from_millis(10));
    }
}

/// Bytes that hardly compress.
pub(crate) fn noise(length: usize) -> Vec<u8> {
    let mut state = 1_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[0]
    };
    std::iter::repeat_with(&mut next).take(length).collect()
}
