//! The repositories of a registry.

use serde_json::Value;
use testkit::{Answer, Cli, DockerRegistry, FaultRegistry, HoistServer, Route, images};

use crate::crane::assert_equal;
use crate::support::{PASSWORD, USER, bearer, refused, refused_midway};

#[test]
fn as_crane() {
    let cli = Cli::new();
    let (docker, hoist) = (DockerRegistry::plain(), HoistServer::start());
    for repository in ["b", "a/c", "a"] {
        docker.push(&images::artifact(), repository, "1");
        hoist.push(&images::artifact(), repository, "1");
    }
    for address in [docker.address(), hoist.address()] {
        assert_equal(&cli, &["catalog", address]);
        assert_equal(&cli, &["catalog", "--full-ref", address]);
        assert_equal(&cli, &["catalog", "--full-ref=false", address]);
        assert_eq!(cli.hoist(["catalog", address]).run().success(), "a\na/c\nb\n");
    }
    let empty = DockerRegistry::plain();
    assert_equal(&cli, &["catalog", empty.address()]);
    for arguments in [&["catalog"][..], &["catalog", "localhost:1/x"], &["catalog", "127.0.0.1:1"]] {
        assert_equal(&cli, arguments);
    }
}

#[test]
fn as_json_and_in_part() {
    let cli = Cli::new();
    let server = HoistServer::start();
    for repository in ["a", "b", "c"] {
        server.push(&images::artifact(), repository, "1");
    }
    let address = server.address();
    let run = |arguments: &[&str]| cli.hoist(["catalog", address]).args(arguments).run().success();
    assert_eq!(run(&["--limit", "2"]), "a\nb\n");
    assert_eq!(run(&["--limit=9"]), "a\nb\nc\n");
    let json = |arguments: &[&str]| serde_json::from_str::<Value>(&run(arguments)).unwrap();
    assert_eq!(json(&["--json"]), serde_json::json!({"registry": address, "repositories": ["a", "b", "c"]}));
    let full = format!("{address}/a");
    assert_eq!(json(&["--json", "--limit", "1", "--full-ref"])["repositories"], serde_json::json!([full]));
    refused(&cli, &cli.hoist(["catalog", "--limit", "0", address]).run(), "'0' for '--limit <N>'");
}

#[test]
fn with_tokens_or_not_at_all() {
    let cli = Cli::new();
    let registry = bearer();
    registry.push(&images::artifact(), "demo/web", "1");
    let arguments = ["catalog", registry.address()];
    assert!(refused(&cli, &cli.hoist(arguments).run(), "UNAUTHORIZED").contains("hint: log in"));
    cli.login(registry.address(), USER, PASSWORD);
    assert_eq!(cli.hoist(arguments).run().success(), "demo/web\n");
}

#[test]
fn page_by_page() {
    let cli = Cli::new();
    let registry = FaultRegistry::start();
    let first = Answer::status(200).body(r#"{"repositories":["a","B"]}"#);
    registry.on(Route::any().times(1), first.header("Link", "<?last=b>; rel=\"next\""));
    registry.on(Route::any(), Answer::error(404, "NAME_UNKNOWN", "no more"));
    let outcome = cli.hoist(["catalog", &registry.address()]).run();
    refused_midway(&cli, &outcome, "listing the repositories of 127.0.0.1");
    assert_eq!(outcome.stdout(), "a\n", "what came before is there");
}
