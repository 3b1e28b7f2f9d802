//! Every flag of every verb that works on images, on registries of both kinds: what it prints, says and ends with.
//!
//! A transcript in `tests/transcripts` has the verb's name (`edit-fs.txt` is `edit fs`) and reads as a terminal does: a command
//! behind `$ `, what it prints, behind `2> ` what it says beside it, and the exit code where it is not 0. All commands of a
//! transcript run in one directory, on one registry (`$REG`), which begins with `web:1` (one image for linux/amd64), `two:1` (an
//! index of linux/amd64 and linux/arm64), `old:1` and `new:1` (bases of these two platforms) and `note:1` (an artifact). `$NONE` is
//! a digest of nothing.
//!
//! In the text the registry is `localhost:5000`, digests have numbers in the order in which they come up, log lines have no
//! times, and those of blobs and of manifests, which come as they are done, are sorted; why a registry has something not is `UNKNOWN`, for each has
//! words of its own. Where hoist's server is to do more than docker-registry, `NAME.hoist.txt` says what. `SNAPSHOTS=overwrite` writes what was found.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::{fs, thread};

use snapbox::{Assert, Data};
use testkit::Cli;
use testkit::images::{Image, Layer, artifact, index, single};

use crate::edits::Registry;
use crate::support::is_log;

const PLATFORMS: [&str; 2] = ["linux/amd64", "linux/arm64"];

fn transcripts() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/transcripts");
    let mut paths: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| !path.to_string_lossy().ends_with(".hoist.txt"));
    paths.sort();
    assert!(paths.len() > 20, "{} transcripts", paths.len());
    paths
}

#[test]
fn every_command_does_what_its_transcript_says() {
    let paths = transcripts();
    let wrong: Vec<String> = thread::scope(|scope| {
        let all = [0, 1].map(|half| {
            let part = paths.iter().skip(half).step_by(2);
            scope.spawn(|| part.flat_map(|path| check(path)).collect::<Vec<_>>())
        });
        all.into_iter().flat_map(|part| part.join().unwrap()).collect()
    });
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_flag_has_a_transcript() {
    let cli = Cli::new();
    let mut missing = Vec::new();
    for path in transcripts() {
        let text = fs::read_to_string(&path).unwrap();
        let used: BTreeSet<&str> = commands(&text).flat_map(str::split_whitespace).filter_map(long).collect();
        let verb = path.file_stem().unwrap().to_str().unwrap().replace('-', " ");
        let help = cli.hoist(verb.split(' ').chain(["--help"])).run().success();
        let own = help.split("Options of all verbs:").next().unwrap();
        let flags = own.lines().filter_map(|line| line.trim().split(", ").find_map(long));
        // Of one side alone: tests of TLS and of credentials.
        let flags = flags
            .filter(|flag| !flag.starts_with("--src-") && !flag.starts_with("--dst-") && *flag != "--help");
        missing.extend(flags.filter(|flag| !used.contains(flag)).map(|flag| format!("{verb} {flag}")));
    }
    assert!(missing.is_empty(), "no transcript shows {missing:#?}");
}

/// The long flag that a word begins with.
fn long(word: &str) -> Option<&str> {
    let end = word.find(|c: char| !c.is_ascii_alphanumeric() && !"-_".contains(c)).unwrap_or(word.len());
    Some(&word[..end]).filter(|flag| flag.starts_with("--") && flag.len() > 2)
}

/// The command lines of a transcript.
fn commands(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter_map(|line| line.strip_prefix("$ "))
}

/// Runs a transcript on both kinds of registries; gives what is not as it says.
fn check(path: &Path) -> Vec<String> {
    let own = path.with_extension("hoist.txt");
    let own = if own.exists() { &own } else { path };
    let kinds = [(Registry::docker(), path, "docker-registry"), (Registry::hoist(), own, "hoist's server")];
    let wrong = kinds.into_iter().map(|(registry, path, on)| {
        let expected = fs::read_to_string(path).unwrap();
        fill(&registry);
        let cli = Cli::new();
        let mut seen = Vec::new();
        let steps = commands(&expected).map(|line| {
            let text = run(&cli, &registry, line, &seen).replace(registry.address(), "localhost:5000");
            format!("$ {line}\n{}", numbered(&text, &mut seen))
        });
        let compared = Assert::new().action_env("SNAPSHOTS").try_eq(
            Some(&format!("{} on {on}", path.display())),
            Data::text(steps.collect::<String>()),
            Data::read_from(path, None),
        );
        compared.err().map(|error| error.to_string())
    });
    wrong.flatten().collect()
}

/// What a transcript begins with.
fn fill(registry: &Registry) {
    let base = |version: &str| {
        index(PLATFORMS.map(|platform| {
            let layer = Layer::new().directory("etc").file("etc/version", format!("{version}\n"));
            Image::new([layer]).platform(platform).build()
        }))
    };
    let two = PLATFORMS.map(|platform| {
        let layers =
            ["etc", "app"].map(|name| Layer::new().directory(name).file(&format!("{name}/text"), platform));
        Image::new(layers).platform(platform).entrypoint(&["/app/run"]).build()
    });
    registry.push(&single(), "web", "1");
    registry.push(&index(two), "two", "1");
    registry.push(&base("1"), "old", "1");
    registry.push(&base("2"), "new", "1");
    registry.push(&artifact(), "note", "1");
}

/// What a command prints, says and ends with.
fn run(cli: &Cli, registry: &Registry, command: &str, seen: &[String]) -> String {
    let (repositories, none) = (registry.name(""), format!("sha256:{:064}", 0));
    let outcome = cli.shell(command).env("REG", repositories.trim_end_matches('/')).env("NONE", &none).run();
    let mut text = outcome.stdout();
    if !text.is_empty() && !text.ends_with('\n') {
        text.push_str("␀\n");
    }
    let mut said: Vec<String> =
        outcome.stderr().lines().map(|line| format!("2> {}\n", plain(line))).collect();
    for any in said.chunk_by_mut(|before, after| kind(before).is_some() && kind(after).is_some()) {
        // What is named last has no digest in its name. A digest that holds the registry's port is another in each run, and has
        // none of its like beside it.
        let number = |line: &str| seen.iter().position(|digest| line.contains(digest)).unwrap_or(seen.len());
        any.sort_by_key(|line| (kind(line), !line.contains("@sha256:"), number(line), line.clone()));
    }
    text.extend(said);
    match outcome.status.code() {
        Some(0) => {}
        code => {
            text.extend(["exit code ", &code.expect("an exit code").to_string(), "\n"].map(str::to_owned));
        }
    }
    text
}

/// A line without its time, and without a registry's own words.
fn plain(line: &str) -> String {
    let line = if is_log(line) {
        format!("TIME {}", &line["2022/04/16 07:10:51 ".len()..])
    } else {
        line.to_owned()
    };
    let unknown = ["MANIFEST_UNKNOWN: ", "NAME_UNKNOWN: ", "BLOB_UNKNOWN: "];
    match unknown.iter().find_map(|code| line.find(code)) {
        Some(at) => format!("{}UNKNOWN", &line[..at]),
        None => line,
    }
}

/// What a log line tells of, where such come in any order.
fn kind(said: &str) -> Option<usize> {
    let kinds = [" blob: sha256:", "existing manifest: ", ": digest: sha256:"];
    kinds.into_iter().position(|kind| said.starts_with("2> TIME ") && said.contains(kind))
}

/// The text with a number for each digest; `seen` are those that have one.
fn numbered(text: &str, seen: &mut Vec<String>) -> String {
    let mut parts = text.split("sha256:");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |done, part| match part.split_at_checked(64) {
        Some((digest, rest)) if digest.bytes().all(|byte| byte.is_ascii_hexdigit()) => {
            let number = seen.iter().position(|known| known == digest).unwrap_or_else(|| {
                seen.push(digest.to_owned());
                seen.len() - 1
            });
            format!("{done}sha256:{number}{rest}")
        }
        _ => format!("{done}sha256:{part}"),
    })
}
