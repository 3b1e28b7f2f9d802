//! The binary needs nothing of the machine that it runs on.

use std::fs;

use testkit::Cli;

use crate::support::{as_root, assert_empty};

#[test]
fn tours_an_empty_root() {
    let cli = Cli::new();
    let root = cli.home().join("root");
    fs::create_dir_all(root.join("tmp")).unwrap();
    let here = cli.shell("realpath \"$(command -v hoist)\"").run().success();
    fs::copy(here.trim_end(), root.join("hoist")).unwrap();
    let tour =
        as_root(&cli, "chroot", [root.to_str().unwrap(), "/hoist", "tour"]).env("TMPDIR", "/tmp").run();
    assert!(tour.success().contains("\nidentical\n"), "{tour}");
    assert_empty(&root.join("tmp"));
}
