//! Help is a result.

use testkit::Cli;

#[test]
fn every_verb_has_it() {
    let cli = Cli::new();
    let all = cli.hoist(["--help"]).run().success();
    let (_, list) = all.split_once("Commands:\n").unwrap();
    let (list, _) = list.split_once("\n\n").unwrap();
    let verbs: Vec<&str> = list
        .lines()
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    let expected = [
        "append",
        "auth",
        "blob",
        "cache",
        "cat",
        "catalog",
        "completion",
        "config",
        "copy",
        "delete",
        "diff",
        "digest",
        "doctor",
        "edit",
        "export",
        "extract",
        "files",
        "find",
        "flatten",
        "grep",
        "history",
        "index",
        "layout",
        "ls",
        "man",
        "manifest",
        "mutate",
        "pull",
        "push",
        "ratelimit",
        "rebase",
        "referrers",
        "registry",
        "tag",
        "toc",
        "tour",
        "tree",
        "validate",
        "version",
        "why",
        "help",
    ];
    assert_eq!(verbs, expected);
    for verb in expected.iter().take(expected.len() - 1).chain([&"cp"]) {
        for arguments in [[verb, "--help"], [verb, "-h"], ["help", verb]] {
            let outcome = cli.hoist(arguments).run();
            assert!(outcome.success().contains("Usage: hoist "), "{outcome}");
            assert_eq!(outcome.stderr(), "");
        }
    }
    cli.hoist(["registry", "serve", "--help"]).run().success();
    for verb in ["append", "filter", "list"] {
        assert!(cli.hoist(["index", verb, "--help"]).run().success().contains("Usage: hoist index "));
    }
    for verb in ["get", "login", "logout", "token", "whoami"] {
        assert!(cli.hoist(["auth", verb, "--help"]).run().success().contains("Usage: hoist auth "));
    }
    assert!(cli.hoist(["--version"]).run().success().starts_with("hoist "));
    let bare = cli.hoist([] as [&str; 0]).run();
    assert_eq!(bare.success(), "");
    assert!(bare.stderr().contains("Usage: hoist"), "{bare}");
}
