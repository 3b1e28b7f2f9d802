//! The manual pages.

use std::collections::BTreeSet;
use std::fs;

use testkit::Cli;

#[test]
fn every_verb_has_a_page_that_man_can_read() {
    let cli = Cli::new();
    assert_eq!(cli.hoist(["man", "--dir", "share/man1"]).run().success(), "");
    let folder = cli.work().join("share/man1");
    let written: BTreeSet<String> = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    let help = cli.hoist(["--help"]).run().success();
    let (_, list) = help.split_once("Commands:\n").unwrap();
    let (list, _) = list.split_once("\n\n").unwrap();
    let verbs = list.lines().filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    let verbs = verbs.filter_map(|line| line.split_whitespace().next()).filter(|verb| *verb != "help");
    let mut expected: BTreeSet<String> = verbs.map(|verb| format!("hoist-{verb}.1")).collect();
    expected.extend(["hoist.1", "hoist-registry-serve.1"].map(str::to_owned));
    assert!(expected.len() > 15 && expected.is_subset(&written), "{expected:?}\n{written:?}");
    for name in &written {
        let path = folder.join(name);
        let path = path.to_str().unwrap();
        let read = cli.peer("man", ["--warnings", "-E", "UTF-8", "-l", "-Tutf8", "-Z", path]).run();
        read.success();
        // A machine without local macros says so, which is not about the page.
        let about_us = |line: &&str| !line.ends_with("can't find macro file 'man.local'");
        assert_eq!(read.stderr().lines().filter(about_us).collect::<Vec<_>>(), [""; 0], "{name}");
        let shown =
            cli.peer("man", ["-l", "-E", "UTF-8", "-Tutf8", path]).env("MANPAGER", "cat").run().success();
        assert!(shown.contains("hoist 0.") && !shown.contains("BOOL"), "{shown}");
    }
    assert_eq!(cli.hoist(["man"]).run().stdout, fs::read(folder.join("hoist.1")).unwrap());
    // Once more, over what is there; and where nothing can be written.
    cli.hoist(["man", "--dir", "share/man1"]).run().success();
    assert_eq!(fs::read_dir(&folder).unwrap().count(), written.len());
    fs::write(cli.work().join("file"), "").unwrap();
    let outcome = cli.hoist(["man", "--dir", "file"]).run();
    assert!(outcome.failure(1).starts_with("Error: writing file: "), "{outcome}");
}

#[test]
fn help_shows_switches_as_switches() {
    let cli = Cli::new();
    for arguments in
        [&["--help"][..], &["ls", "--help"], &["help", "ls"], &["ls", "-h"], &["ls", "--insecure", "--help"]]
    {
        let help = cli.hoist(arguments).run().success();
        assert!(help.contains("--insecure") && !help.contains("BOOL"), "{help}");
    }
    assert!(cli.hoist(["--help"]).run().success().contains("`--insecure=false`"));
}
