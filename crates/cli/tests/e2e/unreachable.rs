//! What a person reads when a registry cannot be reached, or does not let one in: the exact text, which says what to mend.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;

use testkit::{
    Answer, Authority, Certificate, Cli, DockerRegistry, FaultRegistry, ForwardProxy, NameServer, Network,
    Outcome, Route, TokenServer, images,
};

use crate::support::{PASSWORD, USER, is_log, refused};

/// The one line that tells the cause, and what mends it.
#[track_caller]
fn says(cli: &Cli, outcome: &Outcome, cause: &str, mend: &str) {
    let text = refused(cli, outcome, "");
    let lines: Vec<&str> = text.lines().filter(|line| !is_log(line)).collect();
    assert!(lines[0].starts_with("Error: ") && lines[0].contains(cause), "{cause}\n{text}");
    assert!(
        mend.is_empty() || lines[1..].iter().any(|line| line.starts_with("hint: ") && line.contains(mend)),
        "{mend}\n{text}"
    );
    assert!(lines[1..].iter().all(|line| line.starts_with("hint: ")), "{text}");
}

fn ls(cli: &Cli, address: &str, more: &[&str]) -> Outcome {
    cli.hoist(["ls", &format!("{address}/demo/web")]).args(more).run()
}

#[test]
fn certificates() {
    let authority = Authority::new();
    let ca = authority.file().display().to_string();
    let names = ["127.0.0.1"];
    for (certificate, more, cause, mend) in [
        (authority.server(&names), &[][..], "UnknownIssuer", "--ca-file"),
        (Certificate::self_signed(&names), &["--ca-file", &ca], "certificate", "--tls-skip-verify"),
        (authority.expired(&names), &["--ca-file", &ca], "expired", "this machine's clock says"),
        (authority.not_yet_valid(&names), &["--ca-file", &ca], "not valid yet", "this machine's clock says"),
        (
            authority.server(&["registry.example", "10.77.0.7"]),
            &["--ca-file", &ca],
            "not valid for",
            "registry.example",
        ),
    ] {
        let registry = FaultRegistry::tls_at("127.0.0.1", &certificate);
        let cli = Cli::new();
        let outcome = ls(&cli, &registry.address(), more);
        says(&cli, &outcome, cause, mend);
    }
}

#[test]
fn everything_between() {
    Network::inside(|network| {
        let cli = Cli::new();
        let show = |what: &str, outcome: &Outcome| {
            let (cause, mend) = match what {
                "http on https port" => ("invalid HTTP version", "the server speaks TLS there"),
                "http on https port, docker" => ("400 Bad Request", "the server speaks TLS there"),
                "https on http port, docker" => ("corrupt message", "does not speak TLS there"),
                "no resolver" => ("no name server is configured", "check /etc/resolv.conf"),
                "deaf resolver" => {
                    ("looking up host \"registry.example\"", "the name server does not answer")
                }
                "unknown name" => ("no such host: \"registry.example\"", "check the registry's name"),
                "refused" => ("Connection refused", "nothing listens there"),
                "no route" => ("Network is unreachable", "no way from this machine"),
                "proxy 403 https" => ("through the proxy http://10.77.0.7:", "check HTTPS_PROXY"),
                "proxy 403 http" => ("403 Forbidden", ""),
                "proxy 407 https" => ("proxy authorization required", "http://USER:PASSWORD@HOST:PORT"),
                "proxy 407 http" => ("407 Proxy Authentication Required", "http://USER:PASSWORD@HOST:PORT"),
                "proxy absent https" | "proxy absent http" => ("Connection refused", "check HTTPS_PROXY"),
                "socks without" => ("through the proxy socks5://10.77.0.7:", "check HTTPS_PROXY"),
                "not JSON" => ("config.json: line 2, column 0: the JSON ends too early", ""),
                "not readable" => ("config.json: Permission denied", ""),
                "helper missing" => ("docker-credential-nowhere, named in", ""),
                "scope" | "scope tag" => (":pull, and repository:demo/", "log in with"),
                "429" => (
                    "slow down (the registry asks to wait 1 s) (after 10 attempts",
                    "logging in often raises",
                ),
                other => panic!("{other} is not expected to say anything"),
            };
            says(&cli, outcome, cause, mend);
        };
        let authority = Authority::new();
        let certificate = authority.server(&["127.0.0.1", "198.51.100.7"]);
        let secure = FaultRegistry::tls_at("127.0.0.1", &certificate);
        let secure_public = FaultRegistry::tls_at(Network::PUBLIC, &certificate);
        let plain = FaultRegistry::at(Network::PUBLIC);
        let ca = authority.file().display().to_string();
        show("http on https port", &ls(&cli, &secure.address(), &["--plain-http"]));
        let docker = DockerRegistry::setup().tls(Authority::new(), &[]).start();
        show("http on https port, docker", &ls(&cli, docker.address(), &["--plain-http"]));
        show(
            "https on http port, docker",
            &ls(&cli, DockerRegistry::setup().at(Network::PUBLIC).start().address(), &[]),
        );
        show("no resolver", &ls(&cli, "registry.example", &[]));
        let names = NameServer::at("127.0.0.53");
        network.name_servers(&["127.0.0.53"]);
        show("unknown name", &ls(&cli, "registry.example", &[]));
        drop(names);
        network.name_servers(&["127.0.0.54"]);
        show("deaf resolver", &ls(&cli, "registry.example", &[]));
        let free = TcpListener::bind((Network::PUBLIC, 0)).unwrap().local_addr().unwrap().to_string();
        show("refused", &ls(&cli, &free, &[]));
        show("no route", &ls(&cli, "192.0.2.1:5000", &[]));
        let nobody = ForwardProxy::http_for_nobody(Network::PRIVATE);
        let somebody = ForwardProxy::http_for(Network::PRIVATE, USER, PASSWORD);
        for (what, proxy) in [("403", nobody.address()), ("407", somebody.address()), ("absent", &free)] {
            for (kind, address, flag) in [
                ("https", secure_public.address(), ["--ca-file", &ca]),
                ("http", plain.address(), ["--plain-http", "-v=false"]),
            ] {
                let outcome = cli
                    .hoist(["ls", &format!("{address}/demo/web")])
                    .args(flag)
                    .env("HTTPS_PROXY", format!("http://{proxy}"))
                    .env("HTTP_PROXY", format!("http://{proxy}"))
                    .run();
                show(&format!("proxy {what} {kind}"), &outcome);
            }
        }
        let socks = ForwardProxy::socks_for(Network::PRIVATE, USER, PASSWORD);
        show(
            "socks without",
            &cli.hoist(["ls", &format!("{}/demo/web", plain.address()), "--plain-http"])
                .env("ALL_PROXY", format!("socks5://{}", socks.address()))
                .run(),
        );
        let config = cli.home().join(".docker/config.json");
        fs::write(&config, "{\"auths\": {\n").unwrap();
        show("not JSON", &ls(&cli, &plain.address(), &["--plain-http"]));
        fs::write(&config, "{}").unwrap();
        fs::set_permissions(&config, fs::Permissions::from_mode(0o000)).unwrap();
        show(
            "not readable",
            &cli.hoist(["ls", &format!("{}/demo/web", plain.address()), "--plain-http"])
                .without_rights()
                .run(),
        );
        fs::remove_file(&config).unwrap();
        cli.docker_config(&serde_json::json!({"credsStore": "nowhere"}));
        plain.on(
            Route::get("/v2/basic/*"),
            Answer::error(401, "UNAUTHORIZED", "log in").header("WWW-Authenticate", "Basic realm=x"),
        );
        show(
            "helper missing",
            &cli.hoist(["ls", &format!("{}/basic/web", plain.address()), "--plain-http"]).run(),
        );
        cli.docker_config(&serde_json::json!({}));
        let tokens = TokenServer::start(USER, PASSWORD).pull_only();
        let registry = DockerRegistry::bearer(tokens);
        registry.push(&images::single(), "demo/web", "1");
        cli.login(registry.address(), USER, PASSWORD);
        let name = |rest: &str| format!("{}/demo/{rest}", registry.address());
        show("scope", &cli.hoist(["cp", &name("web:1"), &name("copy:1")]).run());
        show("scope tag", &cli.hoist(["tag", &name("web:1"), "2"]).run());
        let limited = FaultRegistry::start();
        limited
            .on(Route::any(), Answer::error(429, "TOOMANYREQUESTS", "slow down").header("Retry-After", "1"));
        show("429", &ls(&cli, &limited.address(), &[]));
    });
}
