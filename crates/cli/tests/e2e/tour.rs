//! `hoist tour`, and the promise that what it prints can be typed.

use std::fs;

use testkit::Cli;

use crate::support::{assert_empty, is_log};

/// The commands of a tour, each with the lines below it.
fn commands(text: &str) -> Vec<(String, Vec<String>)> {
    let mut commands: Vec<(String, Vec<String>)> = Vec::new();
    let mut open = false;
    for line in text.lines() {
        if let Some(command) = line.strip_prefix("$ ") {
            commands.push((command.to_owned(), Vec::new()));
            open = true;
        } else if line.is_empty() {
            open = false;
        } else if open {
            commands.last_mut().unwrap().1.push(line.to_owned());
        }
    }
    commands
}

#[test]
fn shows_the_session_and_leaves_nothing() {
    let cli = Cli::new();
    let outcome = cli.hoist(["tour"]).run();
    let text = outcome.success();
    assert_eq!(outcome.stderr(), "");
    let commands = commands(&text);
    let verbs: Vec<&str> = commands.iter().map(|(command, _)| command.split(' ').nth(1).unwrap()).collect();
    assert_eq!(verbs, ["ls", "manifest", "digest", "export", "cp", "cp", "<(hoist"]);
    let below = |number: usize| commands[number].1.join("\n");
    assert_eq!(below(0), "1.0\n1.1");
    assert_eq!(below(1).matches("\"digest\"").count(), 8);
    assert!(below(2).starts_with("sha256:"));
    for (path, expected) in [("etc/passwd", true), ("etc/motd", false), ("usr/share/doc/old.txt", false)] {
        assert_eq!(commands[3].1.iter().any(|line| line == path), expected, "{path}");
    }
    assert!(below(4).contains("mounted blob: ") && !below(4).contains("pushed blob: "), "{}", below(4));
    assert!(below(5).contains("pushed blob: ") && !below(5).contains("mounted blob: "), "{}", below(5));
    assert_eq!(below(6), "identical");
    assert!(text.contains("hoist tour --keep"));
    assert_empty(&cli.tmp());
}

#[test]
fn what_it_prints_can_be_typed() {
    let cli = Cli::new();
    let mut tour = cli.hoist(["tour", "--keep"]).start();
    let text = tour.await_stdout("Ctrl-C ends them");
    assert_eq!(fs::read_dir(cli.tmp()).unwrap().count(), 1);
    let commands = commands(&text);
    assert_eq!(commands.len(), 7, "{text}");
    for (command, shown) in commands {
        let typed = cli.shell(&command).run().success();
        // Notes are on standard error when a command is typed.
        let is_note = |line: &str| is_log(line) || line.ends_with(" more lines …");
        let shown: Vec<String> = shown.into_iter().filter(|line| !is_note(line)).collect();
        assert_eq!(typed.lines().collect::<Vec<_>>(), shown, "{command}");
    }
    // What it says is worth trying works too.
    for line in text.lines().filter_map(|line| line.strip_prefix("#   ")) {
        cli.shell(line).run().success();
    }
    tour.interrupt();
    assert_eq!(tour.wait().failure(130), "interrupted\n");
    assert_empty(&cli.tmp());
}
