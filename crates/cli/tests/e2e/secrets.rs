//! `-v` shows everything but what has to stay secret.

use testkit::{Cli, DockerRegistry, images};

use crate::support::{PASSWORD, USER, bearer};

/// A session with `-v`; all that it wrote.
fn session(registry: &DockerRegistry) -> String {
    registry.push(&images::eight_platforms(), "demo/web", "1");
    let cli = Cli::new();
    cli.login(registry.address(), USER, PASSWORD);
    let name = |rest: &str| format!("{}/demo/{rest}", registry.address());
    let mut all = String::new();
    for arguments in [
        &["ls", &name("web")][..],
        &["manifest", &name("web:1")],
        &["export", &name("web:1"), "out.tar"],
        &["cp", &name("web:1"), &name("copy:1")],
        &["tag", &name("web:1"), "2"],
    ] {
        let outcome = cli.hoist(["-v"].iter().chain(arguments)).run();
        outcome.success();
        assert!(outcome.stderr().contains("/v2/demo/"), "requests are shown: {outcome}");
        all.push_str(&outcome.stderr());
    }
    all
}

/// The password, also as it goes over the wire.
fn assert_hides_password(log: &str) {
    assert!(log.contains("401"), "credentials were asked for");
    for secret in [PASSWORD, "YWxpY2U6Y29ycmVjdC1ob3JzZS1iYXR0ZXJ5LXN0YXBsZQ"] {
        assert!(!log.contains(secret), "{log}");
    }
}

#[test]
fn basic() {
    assert_hides_password(&session(&DockerRegistry::basic(USER, PASSWORD)));
}

#[test]
fn tokens() {
    let registry = bearer();
    let log = session(&registry);
    assert_hides_password(&log);
    assert!(!registry.tokens().unwrap().requests().is_empty());
    // Every token is a JSON web token, whose header begins so in base64.
    assert!(!log.contains("eyJ"), "{log}");
}
