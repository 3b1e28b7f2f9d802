//! Credentials: kept, given, explained; beside crane, and for crane and skopeo.

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use serde_json::{Value, json};
use testkit::{Cli, DockerRegistry, FaultRegistry, Outcome, Running, images};

use crate::support::{PASSWORD, USER, assert_empty, bearer, logged, refused, until};

fn file(cli: &Cli) -> PathBuf {
    cli.home().join(".docker/config.json")
}

fn text(cli: &Cli) -> String {
    fs::read_to_string(file(cli)).unwrap()
}

/// crane and hoist, each in a place of its own that `prepare` made.
fn both(prepare: impl Fn(&Cli), arguments: &[&str], stdin: &str) -> [(Cli, Outcome); 2] {
    ["crane", "hoist"].map(|program| {
        let cli = Cli::new();
        prepare(&cli);
        let invocation = match program {
            "crane" => cli.peer("crane", arguments),
            _ => cli.hoist_as("crane", arguments),
        };
        let outcome = invocation.stdin(stdin).run();
        (cli, outcome)
    })
}

/// Log lines with the place of each under one name.
fn notes(cli: &Cli, outcome: &Outcome) -> Vec<String> {
    let home = cli.home().display().to_string();
    let said = logged(&outcome.stderr()).into_iter().map(|line| line.replace(&home, "HOME"));
    said.filter(|line| line.starts_with("logged ")).collect()
}

#[test]
fn get_prints_what_crane_prints() {
    let config = json!({"auths": {
        "ghcr.io": {"auth": "dTpwOnc="},
        "https://index.docker.io/v1/": {"auth": "aHViOnA8PiY="},
        "identity.example": {"auth": "MDAwMDo=", "identitytoken": "t"},
    }});
    for (arguments, stdin) in [
        (&["auth", "get", "ghcr.io"][..], ""),
        (&["auth", "get"], "ghcr.io\n"),
        (&["auth", "get"], ""),
        (&["auth", "get", "docker.io"], ""),
        (&["auth", "get", "index.docker.io"], ""),
        (&["auth", "get", "identity.example"], ""),
        (&["auth", "get", "nowhere.example"], ""),
        (&["auth", "get", "a b"], ""),
        (&["auth", "get", "a", "b"], ""),
        (&["auth"], ""),
    ] {
        let [(_, crane), (_, hoist)] = both(|cli| cli.docker_config(&config), arguments, stdin);
        assert_eq!(crane.status.code(), hoist.status.code(), "{crane}\n{hoist}");
        assert_eq!(crane.stdout(), hoist.stdout(), "{crane}\n{hoist}");
    }
    let cli = Cli::new();
    let nothing = cli.hoist(["auth", "get", "ghcr.io"]).run();
    assert_eq!(nothing.failure(1), "");
    assert_eq!(nothing.stdout(), "credentials not found in native keychain\n");
    // Podman's keys may be longer, and helpers are asked for URLs.
    cli.docker_config(&json!({"auths": {"ghcr.io/org": {"auth": "dTpw"}, "h": {"auth": "dTpw"}}}));
    for server in ["ghcr.io/org/app", "https://h/v1/", "H"] {
        let answer = cli.hoist(["auth", "get", server]).run().success();
        assert_eq!(answer, "{\"Username\":\"u\",\"Secret\":\"p\"}\n", "{server}");
    }
    cli.docker_config(&json!({"auths": {"h": {}}, "credHelpers": {"h": "absent"}}));
    let outcome = cli.hoist(["auth", "get", "h"]).run();
    refused(&cli, &outcome, "docker-credential-absent, named in ");
    assert!(
        outcome.stderr().contains("hint: install docker-credential-absent, or take its name out of the file")
    );
}

#[test]
fn login_and_logout_do_what_crane_does() {
    for (arguments, stdin) in [
        (&["auth", "login", "ghcr.io", "-u", "u", "-p", "p:w"][..], ""),
        (&["auth", "login", "docker.io", "-u", "u", "--password-stdin"], "pw\r\n"),
        (&["auth", "login", "localhost:5000", "--username=u", "--password-stdin"], "two\nlines\n\n"),
        (&["auth", "login", "ghcr.io", "-u", "u"], ""),
        (&["auth", "login", "ghcr.io"], ""),
        (&["auth", "login"], ""),
        (&["auth", "logout", "ghcr.io"], ""),
        (&["auth", "logout", "docker.io"], ""),
        (&["auth", "logout"], ""),
    ] {
        let config = json!({"auths": {"old.example": {"auth": "dTpw"}, "ghcr.io": {"auth": "dTpw"}}});
        let [(crane_cli, crane), (cli, hoist)] = both(|cli| cli.docker_config(&config), arguments, stdin);
        assert_eq!(crane.status.code(), hoist.status.code(), "{crane}\n{hoist}");
        assert_eq!((crane.stdout(), hoist.stdout()), (String::new(), String::new()), "{hoist}");
        assert_eq!(notes(&crane_cli, &crane), notes(&cli, &hoist));
        let parsed = |text: String| serde_json::from_str::<Value>(&text).unwrap();
        assert_eq!(parsed(text(&crane_cli)), parsed(text(&cli)), "{arguments:?}");
        if !hoist.status.success() {
            let cause = if arguments.len() > 2 { "username and password required" } else { "" };
            refused(&cli, &hoist, cause);
        }
    }
}

#[test]
fn crane_reads_what_hoist_writes() {
    let cli = Cli::new();
    let session = [
        (&["auth", "login", "https://ghcr.io/", "-u", "u", "--password-stdin"][..], "ghcr.io", true),
        (&["auth", "login", "docker.io", "-u", "u", "--password-stdin"], "index.docker.io", true),
        (&["auth", "logout", "GHCR.io/"], "ghcr.io", false),
        (&["auth", "logout", "https://index.docker.io/v1/"], "index.docker.io", false),
    ];
    for (arguments, registry, there) in session {
        let outcome = cli.hoist(arguments).stdin("s3cret\n").run();
        assert_eq!(outcome.success(), "");
        let unencrypted = outcome.stderr().contains("hint: the password lies unencrypted in ");
        assert_eq!(unencrypted, there, "{outcome}");
        assert!(!outcome.stderr().contains("s3cret"), "{outcome}");
        let read = cli.peer("crane", ["auth", "get", registry]).run();
        assert_eq!(read.status.success(), there, "{read}");
        assert_eq!(read.stdout().contains("s3cret"), there, "{read}");
    }
    let text = refused(&cli, &cli.hoist(["auth", "login", "h", "-p", "p"]).run(), "username required");
    assert!(text.contains("hint: give -u USER"), "{text}");
    refused(&cli, &cli.hoist(["auth", "login", "a b", "-u", "u", "-p", "p"]).run(), "names no registry");
    fs::write(file(&cli), "{").unwrap();
    refused(&cli, &cli.hoist(["auth", "login", "h", "-u", "u", "-p", "p"]).run(), "line 1, column 1");
    assert_eq!(fs::read_to_string(file(&cli)).unwrap(), "{");
}

#[test]
fn logout_says_who_answers_all_the_same() {
    let cli = Cli::new();
    cli.login("h", USER, PASSWORD);
    fs::create_dir(cli.home().join("run/containers")).unwrap();
    let podman = cli.home().join("run/containers/auth.json");
    fs::write(&podman, r#"{"auths": {"h": {"auth": "cG9kOnA="}}}"#).unwrap();
    let outcome = cli.hoist(["auth", "logout", "h"]).run();
    outcome.success();
    let hint = format!("hint: h still gets pod, from the entry \"h\" in {}\n", podman.display());
    assert!(outcome.stderr().ends_with(&hint), "{outcome}");
    let outcome = cli.hoist(["auth", "logout", "ghcr.io"]).env("GITHUB_TOKEN", "s3cret").run();
    assert!(outcome.stderr().ends_with("hint: ghcr.io still gets unset, from the variable GITHUB_TOKEN\n"));
}

#[test]
fn login_asks_the_registry_if_told_to() {
    let plain = DockerRegistry::plain();
    for registry in [DockerRegistry::basic(USER, PASSWORD), bearer()] {
        registry.push(&images::single(), "demo/web", "1");
        let cli = Cli::new();
        let login = |password: &str, check: &str| {
            let arguments =
                ["-v", "auth", "login", check, registry.address(), "-u", USER, "--password-stdin"];
            cli.hoist(arguments).stdin(password).run()
        };
        let wrong = login("wr0ng", "--check");
        let text = wrong.failure(1);
        assert!(
            text.contains("hint: the registry does not take this user and password; nothing was kept"),
            "{text}"
        );
        assert!(!file(&cli).exists(), "nothing was kept");
        let right = login(PASSWORD, "--check");
        assert!(right.success().is_empty() && right.stderr().contains("logged in via "), "{right}");
        for log in [text, right.stderr()] {
            assert!(log.contains("--> GET ") && log.contains("401"), "requests are shown: {log}");
            let encoded = "YWxpY2U6Y29ycmVjdC1ob3JzZS1iYXR0ZXJ5LXN0YXBsZQ";
            for secret in [PASSWORD, encoded, "wr0ng", "YWxpY2U6d3IwbmcK", "YWxpY2U6d3Iwbm", "eyJ"] {
                assert!(!log.contains(secret), "{secret}: {log}");
            }
        }
        let name = format!("{}/demo/web:1", registry.address());
        cli.hoist(["digest", &name]).run().success();
        cli.peer("crane", ["digest", &name]).run().success();
        // Unasked, anything is kept.
        login("wr0ng", "--check=false").success();
        cli.hoist(["digest", &name]).run().failure(1);
    }
    let cli = Cli::new();
    let open = cli.hoist(["auth", "login", "--check", plain.address(), "-u", USER, "-p", PASSWORD]).run();
    open.success();
    assert!(open.stderr().contains("lets everybody in, so it did not look at the password"), "{open}");
}

#[test]
fn tokens_have_crane_s_shape() {
    let registry = bearer();
    registry.push(&images::single(), "demo/web", "1");
    let cli = Cli::new();
    cli.login(registry.address(), USER, PASSWORD);
    let web = format!("{}/demo/web", registry.address());
    let mounts = [
        format!("{}/aa", registry.address()),
        format!("{}/bb,{}/cc", registry.address(), registry.address()),
    ];
    for arguments in [
        &["auth", "token", &web][..],
        &["auth", "token", &web, "--push"],
        &["auth", "token", "-m", &mounts[0], "--mount", &mounts[1], &web],
        &["auth", "token", "-H", &web],
    ] {
        let asked = |outcome: Outcome| {
            let out = outcome.success();
            let request = registry.tokens().unwrap().requests().pop().unwrap();
            let mut scopes = request.parameters("scope");
            // Actions have no order.
            for scope in &mut scopes {
                *scope = scope.replace("push,pull", "pull,push");
            }
            (out, scopes)
        };
        let (crane, crane_scopes) = asked(cli.peer("crane", arguments).run());
        let (hoist, scopes) = asked(cli.hoist(arguments).run());
        assert_eq!(scopes, crane_scopes);
        // Two tokens are never equal, but they are of one kind.
        let shape = |text: &str| {
            let mut parts: Vec<String> = text.split('"').map(str::to_owned).collect();
            for part in &mut parts {
                if let Some(at) = part.find("eyJ") {
                    part.replace_range(at.., "TOKEN");
                }
            }
            parts
        };
        assert_eq!(shape(&hoist), shape(&crane));
    }
    let log = cli.hoist(["-v", "auth", "token", &web]).run();
    log.success();
    assert!(log.stderr().contains("(for a token)") && !log.stderr().contains("eyJ"), "{log}");
    assert!(!log.stderr().contains(PASSWORD), "{log}");
    // It is good for what it says.
    let header = cli.hoist(["auth", "token", "-H", &web]).run().success();
    let url = format!("http://{web}/tags/list").replace("/demo/", "/v2/demo/");
    let tags = Cli::new().peer("curl", ["-sf", "-H", &header, &url]).run().success();
    assert!(tags.contains("\"tags\":[\"1\"]"), "{tags}");
    let elsewhere = cli.hoist(["auth", "token", &web, "-m", "nginx"]).run();
    refused(&cli, &elsewhere, "index.docker.io/library/nginx is not on ");
}

#[test]
fn registries_without_tokens() {
    let registries = [DockerRegistry::plain(), DockerRegistry::basic(USER, PASSWORD)];
    for (registry, cause) in registries.iter().zip(["asks for no token", "gives no tokens"]) {
        let name = format!("{}/demo/web", registry.address());
        let [(_, crane), (cli, hoist)] = both(|_| {}, &["auth", "token", &name], "");
        crane.failure(1);
        refused(&cli, &hoist, cause);
    }
}

#[test]
fn whoami_tells_who_without_the_secret() {
    let cli = Cli::new();
    let whoami =
        |server: &str| cli.hoist(["auth", "whoami", server]).env("GITHUB_TOKEN", "s3cret").run().success();
    let docker = file(&cli).display().to_string();
    let podman = cli.home().join(".config/containers/auth.json");
    let anonymous = whoami("quay.io/org/app");
    let lines: Vec<&str> = anonymous.lines().collect();
    assert_eq!(lines[0], "anonymous: nothing has credentials for quay.io/org/app");
    assert_eq!(lines[1], format!("looked at {docker} (not there)"));
    assert_eq!(lines.len(), 5, "{anonymous}");
    fs::create_dir(podman.parent().unwrap()).unwrap();
    fs::write(&podman, r#"{"auths": {"quay.io/org": {"auth": "cG9kOnMzY3JldA=="}}}"#).unwrap();
    cli.script(
        "docker-credential-it",
        r#"#!/bin/sh
echo '{"Username": "helped", "Secret": "s3cret"}'"#,
    );
    cli.docker_config(&json!({
        "auths": {
            "basic.example": {"auth": "dTpzM2NyZXQ="},
            "identity.example": {"auth": "MDAwMDo=", "identitytoken": "s3cret"},
            "registry.example": {"registrytoken": "s3cret"},
        },
        "credHelpers": {"help.example": "it"},
    }));
    for (server, expected) in [
        ("basic.example", format!("u, from the entry \"basic.example\" in {docker}")),
        ("https://basic.example/", format!("u, from the entry \"basic.example\" in {docker}")),
        (
            "identity.example",
            format!("an identity token of 0000, from the entry \"identity.example\" in {docker}"),
        ),
        ("registry.example", format!("a registry token, from the entry \"registry.example\" in {docker}")),
        (
            "help.example/a",
            format!("helped, from docker-credential-it, asked for \"help.example\" as {docker} says"),
        ),
        ("quay.io/org/app", format!("pod, from the entry \"quay.io/org\" in {}", podman.display())),
        ("ghcr.io", "unset, from the variable GITHUB_TOKEN".to_owned()),
    ] {
        assert_eq!(whoami(server), expected + "\n", "{server}");
    }
    let document = |server: &str| -> Value {
        let text =
            cli.hoist(["auth", "whoami", "--json", server]).env("GITHUB_TOKEN", "s3cret").run().success();
        assert!(!text.contains("s3cret"), "{text}");
        serde_json::from_str(&text).unwrap()
    };
    let basic = document("basic.example");
    assert_eq!((&basic["kind"], &basic["username"]), (&json!("basic"), &json!("u")));
    assert_eq!(basic["source"], json!({"kind": "file", "path": docker, "key": "basic.example"}));
    assert_eq!(basic["files"][0], json!({"path": docker, "exists": true}));
    let nobody = document("nowhere.example");
    assert_eq!((&nobody["kind"], &nobody["source"]), (&json!("anonymous"), &Value::Null));
    assert_eq!(document("ghcr.io")["source"], json!({"kind": "variable", "name": "GITHUB_TOKEN"}));
}

#[test]
fn hoist_is_a_credential_helper() {
    let registry = DockerRegistry::basic(USER, PASSWORD);
    registry.push(&images::single(), "demo/web", "1");
    let cli = Cli::new();
    let helper =
        |action: &str, stdin: &str| cli.hoist_as("docker-credential-hoist", [action]).stdin(stdin).run();
    assert!(helper("version", "").success().starts_with("docker-credential-hoist "));
    symlink(cli.home().join("links/docker-credential-hoist"), cli.home().join("bin/docker-credential-hoist"))
        .unwrap();
    // Podman's file has it; docker's and skopeo's way there is the helper.
    fs::create_dir(cli.home().join(".config/containers")).unwrap();
    cli.login(registry.address(), USER, PASSWORD);
    fs::rename(file(&cli), cli.home().join(".config/containers/auth.json")).unwrap();
    let name = format!("{}/demo/web:1", registry.address());
    for config in [json!({"credHelpers": {registry.address(): "hoist"}}), json!({"credsStore": "hoist"})] {
        cli.docker_config(&config);
        cli.peer("crane", ["digest", &name]).run().success();
        cli.hoist(["digest", &name]).run().success();
        let answer = helper("get", registry.address());
        assert_eq!(answer.success(), format!("{{\"Username\":\"{USER}\",\"Secret\":\"{PASSWORD}\"}}\n"));
    }
    let nothing = helper("get", "https://nowhere.example/v1/");
    assert_eq!(nothing.failure(1), "");
    assert_eq!(nothing.stdout(), "credentials not found in native keychain\n");
    let list: Value = serde_json::from_str(&helper("list", "").success()).unwrap();
    assert_eq!(list, json!({registry.address(): USER}));
    for action in ["store", "erase"] {
        let refusal = helper(action, "{}");
        assert_eq!(refusal.failure(1), "");
        assert!(refusal.stdout().contains("`hoist auth login` writes there"), "{refusal}");
    }
    assert_eq!(helper("", "").failure(1), "");
    // skopeo asks podman's file first: it has to need the helper.
    fs::remove_file(cli.home().join(".config/containers/auth.json")).unwrap();
    let inspect = || {
        let policy = cli.home().join(".config/containers/policy.json");
        fs::write(policy, r#"{"default": [{"type": "insecureAcceptAnything"}]}"#).unwrap();
        cli.peer("skopeo", ["inspect", "--tls-verify=false", "--raw", &format!("docker://{name}")]).run()
    };
    assert!(!inspect().status.success(), "without credentials nobody gets in");
    let auth = "YWxpY2U6Y29ycmVjdC1ob3JzZS1iYXR0ZXJ5LXN0YXBsZQ==";
    cli.docker_config(&json!({
        "credHelpers": {registry.address(): "hoist"},
        "auths": {format!("http://{}/v2/", registry.address()): {"auth": auth}},
    }));
    inspect().success();
    cli.peer("crane", ["digest", &name]).run().success();
}

#[test]
fn logins_at_once_lose_nothing() {
    let cli = Cli::new();
    cli.docker_config(&json!({"psFormat": "x", "auths": {}}));
    let login = |number: usize| {
        cli.hoist(["auth", "login", &format!("h{number}.example"), "-u", "u", "-p", "p"]).start()
    };
    let running: Vec<Running> = (0..12).map(login).collect();
    for running in running {
        running.wait().success();
    }
    let config: Value = serde_json::from_str(&text(&cli)).unwrap();
    assert_eq!(config["auths"].as_object().unwrap().len(), 12, "{config}");
    assert_eq!(config.as_object().unwrap().keys().collect::<Vec<_>>(), ["psFormat", "auths"]);
    assert_eq!(fs::read_dir(cli.home().join(".docker")).unwrap().count(), 1);
}

#[test]
fn a_login_that_ends_early_leaves_the_old_file() {
    let cli = Cli::new();
    cli.docker_config(&json!({"auths": {"old.example": {"auth": "dTpw"}}}));
    let before = text(&cli);
    let lock = File::create(cli.home().join(".docker/config.json.lock")).unwrap();
    lock.lock().unwrap();
    let waiting = || {
        let running = cli.hoist(["auth", "login", "new.example", "-u", "u", "-p", "p"]).start();
        let files = format!("/proc/{}/fd", running.id());
        until("it waits for the lock", || {
            let mut open =
                fs::read_dir(&files).unwrap().filter_map(|file| fs::read_link(file.ok()?.path()).ok());
            open.any(|path| path.ends_with("config.json.lock"))
        });
        running
    };
    let running = waiting();
    running.terminate();
    assert_eq!(running.wait().failure(143), "terminated\n");
    // Killed, it cannot clean up; there is nothing to clean.
    drop(waiting());
    assert_eq!(text(&cli), before);
    assert_eq!(fs::read_dir(cli.home().join(".docker")).unwrap().count(), 2, "the file and our lock");
    drop(lock);
    cli.hoist(["auth", "login", "new.example", "-u", "u", "-p", "p"]).run().success();
    assert_eq!(fs::read_dir(cli.home().join(".docker")).unwrap().count(), 1);
}

#[test]
fn on_a_terminal_it_asks() {
    let cli = Cli::new();
    let outcome = cli
        .shell(
            r#": > log
            says() { until grep -q "$1" log; do sleep 0.01; done; }
            { says Username:; echo alice; says Password:; echo s3cret; says 'logged in'; } |
            script -qfec 'hoist auth login localhost:5000' log"#,
        )
        .run();
    outcome.success();
    let shown = fs::read_to_string(cli.work().join("log")).unwrap();
    assert!(!shown.contains("s3cret"), "{shown}");
    let answer = cli.hoist(["auth", "get", "localhost:5000"]).run().success();
    assert_eq!(answer, "{\"Username\":\"alice\",\"Secret\":\"s3cret\"}\n");
}

#[test]
fn nothing_is_asked_of_the_registry_unless_told_to() {
    let registry = FaultRegistry::start();
    let cli = Cli::new();
    let address = registry.address();
    cli.hoist(["auth", "login", &address, "-u", "u", "-p", "p"]).run().success();
    cli.hoist(["auth", "whoami", &address]).run().success();
    cli.hoist(["auth", "get", &address]).run().success();
    cli.hoist(["auth", "logout", &address]).run().success();
    assert!(registry.requests().is_empty());
    assert_empty(&cli.tmp());
}
