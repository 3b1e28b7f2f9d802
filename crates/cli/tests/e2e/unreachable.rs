//! What a person reads when a registry cannot be reached, or does not let one in: the exact text, which says what to mend.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;

use testkit::{
    Answer, Authority, Certificate, Cli, DockerRegistry, FaultRegistry, ForwardProxy, NameServer, Network,
    Outcome, Route, TokenServer, images,
};

use crate::support::{PASSWORD, USER, is_log, refused};

/// All of standard error, as it is but for `known` texts, which stand for others.
#[track_caller]
fn says(cli: &Cli, outcome: &Outcome, known: &[(&str, &str)], expected: &str) {
    let mut text = refused(cli, outcome, "");
    let home = cli.home().display().to_string();
    for (from, to) in known.iter().chain(&[(home.as_str(), "HOME")]) {
        text = text.replace(from, to);
    }
    let lines = text.lines().map(|line| if is_log(line) { &line[20..] } else { line });
    let text: String = lines.map(|line| format!("{line}\n")).collect();
    assert!(text == expected, "--- expected\n{expected}--- was\n{text}");
}

fn ls(cli: &Cli, address: &str, more: &[&str]) -> Outcome {
    cli.hoist(["ls", &format!("{address}/demo/web")]).args(more).run()
}

#[test]
fn certificates() {
    let authority = Authority::new();
    let ca = authority.file().display().to_string();
    let names = ["127.0.0.1"];
    for (certificate, more, expected) in [
        (authority.server(&names), &[][..], "UNKNOWN"),
        (Certificate::self_signed(&names), &["--ca-file", &ca], "SELF"),
        (authority.expired(&names), &["--ca-file", &ca], "EXPIRED"),
        (authority.not_yet_valid(&names), &["--ca-file", &ca], "EARLY"),
        (authority.server(&["registry.example", "10.77.0.7"]), &["--ca-file", &ca], "NAME"),
    ] {
        let registry = FaultRegistry::tls_at("127.0.0.1", &certificate);
        let cli = Cli::new();
        let outcome = ls(&cli, &registry.address(), more);
        println!("{expected}\n{outcome}");
    }
}
