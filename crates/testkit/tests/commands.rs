//! Commands in their hermetic place, and images as other tools see them.

#![expect(clippy::unwrap_used, reason = "a test that cannot read its own files fails")]

use std::fs;
use std::path::Path;
use std::time::Duration;

use testkit::{Cli, images};

#[test]
fn commands_see_nothing_of_the_machine() {
    let cli = Cli::new();
    let seen = cli.command(Path::new("/usr/bin/env"), [""; 0]).env("MORE", "yes").run().success();
    let mut names: Vec<&str> = seen.lines().filter_map(|line| line.split('=').next()).collect();
    names.sort_unstable();
    let expected = [
        "DOCKER_CONFIG",
        "HOME",
        "LC_ALL",
        "MORE",
        "PATH",
        "TMPDIR",
        "TZ",
        "XDG_CACHE_HOME",
        "XDG_CONFIG_HOME",
        "XDG_RUNTIME_DIR",
    ];
    assert_eq!(names, expected);
    let home = cli.home().to_path_buf();
    assert!(seen.contains(&format!("HOME={}", home.display())));
    drop(cli);
    assert!(!home.exists());
}

#[test]
fn input_output_and_status_arrive() {
    let cli = Cli::new();
    cli.script("helper", "#!/bin/sh\ncat; echo complaint >&2; exit 3\n");
    let outcome = cli.peer("bash", ["-c", "helper"]).stdin("typed").run();
    assert_eq!(outcome.failure(3), "complaint\n");
    assert_eq!(outcome.stdout(), "typed");
}

#[test]
fn a_running_command_takes_signals() {
    let cli = Cli::new();
    let script = "trap 'echo interrupted; exit 130' INT; echo ready; while :; do sleep 0.01; done";
    let mut running = cli.peer("bash", ["-c", script]).start();
    running.await_stdout("ready\n");
    running.interrupt();
    let outcome = running.wait();
    assert_eq!((outcome.status.code(), outcome.stdout()), (Some(130), "ready\ninterrupted\n".to_owned()));
}

#[test]
#[should_panic(expected = "runs after")]
fn a_command_that_does_not_end_fails_the_test() {
    let _ = Cli::new().peer("sleep", ["600"]).patience(Duration::from_millis(50)).run();
}

#[test]
#[should_panic(expected = "run scripts/test")]
fn a_missing_program_fails_the_test() {
    let _ = testkit::peers::path("no-such-program");
}

#[test]
fn umoci_unpacks_whiteouts_as_expected() {
    let cli = Cli::new();
    let layout = cli.work().join("layout");
    images::whiteouts().write_layout(&layout, "1.0");
    images::single().write_layout(&layout, "2.0");
    let image = format!("{}:1.0", layout.display());
    let raw = ["raw", "unpack", "--rootless", "--image", &image, "bundle"];
    cli.peer("umoci", raw).run().success();
    let bundle = cli.work().join("bundle");
    let mut found = paths(&bundle, &bundle);
    found.sort();
    assert_eq!(found, images::WHITEOUTS_LEAVE);
    assert_eq!(fs::read_to_string(bundle.join("kept/hard")).unwrap(), "content");
    assert_eq!(fs::read_to_string(bundle.join("kept/soft")).unwrap(), "third");
    assert_eq!(fs::read_to_string(bundle.join("replaced")).unwrap(), "again a file");
    let listing = cli.peer("umoci", ["ls", "--layout", "layout"]).run().success();
    assert_eq!(listing, "1.0\n2.0\n");
}

fn paths(root: &Path, directory: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        found.push(path.strip_prefix(root).unwrap().to_str().unwrap().to_owned());
        if path.is_dir() && !path.is_symlink() {
            found.extend(paths(root, &path));
        }
    }
    found
}
