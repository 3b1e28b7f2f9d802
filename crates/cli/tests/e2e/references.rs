//! What is typed wrong, and places that are not there.

use std::net::TcpListener;

use testkit::Cli;

use crate::support::{refused, refused_export};

#[test]
fn what_is_no_reference() {
    let cli = Cli::new();
    for (reference, reason) in [
        ("", "is empty"),
        ("Demo/web", "lower case (at character 1)"),
        ("a b", "at character 2"),
        ("demo:a:b", "at character 5"),
        ("demo:", "at character 6"),
        ("demo@sha256:12", "64 hexadecimal"),
        ("demo@md5:12", "at character"),
        ("localhost:99999/web", "not a port"),
        ("localhost:5000/../b", "at character"),
        ("localhost:5000/web:..", "cannot be a tag"),
        ("demo:\u{e9}", "at character 6"),
    ] {
        for verb in ["manifest", "digest", "config", "blob"] {
            let text = refused(&cli, &cli.hoist([verb, reference]).run(), reason);
            assert!(text.starts_with(&format!("Error: could not parse reference: {reference}: ")), "{text}");
        }
        refused(&cli, &cli.hoist(["export", reference, "out.tar"]).run(), reason);
        refused_export(&cli, &cli.hoist(["export", reference]).run(), reason);
        refused(&cli, &cli.hoist(["cp", reference, "localhost:1/x"]).run(), "could not parse reference");
        refused(&cli, &cli.hoist(["cp", "localhost:1/x", reference]).run(), "could not parse reference");
        refused(&cli, &cli.hoist(["tag", reference, "v1"]).run(), "could not parse reference");
    }
    refused(&cli, &cli.hoist(["ls", "localhost:1/x:tag"]).run(), "could not parse");
    refused(&cli, &cli.hoist(["tag", "localhost:1/x", "a/b"]).run(), "could not parse tag: a/b");
    refused(&cli, &cli.hoist(["blob", "localhost:1/x:tag"]).run(), "named by its digest");
    refused(&cli, &cli.hoist(["digest", "--platform", "linux", "localhost:1/x"]).run(), "platform");
    refused(&cli, &cli.hoist(["cp", "-a", "localhost:1/x:1", "localhost:1/y"]).run(), "--all-tags");
}

#[test]
fn places_that_are_not_there() {
    let cli = Cli::new();
    // A port that was free a moment ago refuses.
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let refusing = format!("{free}/demo/web");
    let unknown = "no-such-host.invalid/demo/web";
    for verb in ["manifest", "digest", "config", "ls"] {
        let text = refused(&cli, &cli.hoist([verb, &refusing]).run(), "refused");
        assert!(text.contains("hint: nothing listens there"), "{text}");
        refused(&cli, &cli.hoist([verb, unknown]).run(), "no-such-host.invalid");
    }
    refused_export(&cli, &cli.hoist(["export", &refusing]).run(), "refused");
    let copied = cli.hoist(["cp", &refusing, "localhost:1/x"]).run();
    refused(&cli, &copied, "refused");
}
