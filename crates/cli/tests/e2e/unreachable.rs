//! What a person reads when a registry cannot be reached, or does not let one in: the exact text, which says what to mend.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;

use testkit::{
    Answer, Authority, Certificate, Cli, DockerRegistry, FaultRegistry, ForwardProxy, NameServer, Network,
    Outcome, Route, TokenServer, images,
};

use crate::support::{PASSWORD, USER, is_log, refused};

/// All of standard error, as it is but for `known` texts, which stand for others.
#[track_caller]
fn says(cli: &Cli, outcome: &Outcome, known: &[(&str, &str)], expected: &str) {
    let mut text = refused(cli, outcome, "");
    let home = cli.home().display().to_string();
    for (from, to) in known.iter().chain(&[(home.as_str(), "HOME")]) {
        text = text.replace(from, to);
    }
    let lines = text.lines().map(|line| if is_log(line) { &line[20..] } else { line });
    let text: String = lines.map(|line| format!("{line}\n")).collect();
    assert!(text == expected, "--- expected\n{expected}--- was\n{text}");
}

fn ls(cli: &Cli, address: &str, more: &[&str]) -> Outcome {
    cli.hoist(["ls", &format!("{address}/demo/web")]).args(more).run()
}

#[test]
fn certificates() {
    let authority = Authority::new();
    let ca = authority.file().display().to_string();
    let names = ["127.0.0.1"];
    for (certificate, more, expected) in [
        (authority.server(&names), &[][..], "UNKNOWN"),
        (Certificate::self_signed(&names), &["--ca-file", &ca], "SELF"),
        (authority.expired(&names), &["--ca-file", &ca], "EXPIRED"),
        (authority.not_yet_valid(&names), &["--ca-file", &ca], "EARLY"),
        (authority.server(&["registry.example", "10.77.0.7"]), &["--ca-file", &ca], "NAME"),
    ] {
        let registry = FaultRegistry::tls_at("127.0.0.1", &certificate);
        let cli = Cli::new();
        let outcome = ls(&cli, &registry.address(), more);
        println!("{expected}\n{outcome}");
    }
}

#[test]
fn look() {
    Network::inside(|network| {
        let cli = Cli::new();
        let show = |what: &str, outcome: &Outcome| println!("### {what}\n{outcome}");
        let authority = Authority::new();
        let certificate = authority.server(&["127.0.0.1", "198.51.100.7"]);
        let secure = FaultRegistry::tls_at("127.0.0.1", &certificate);
        let secure_public = FaultRegistry::tls_at(Network::PUBLIC, &certificate);
        let plain = FaultRegistry::at(Network::PUBLIC);
        let ca = authority.file().display().to_string();
        show("http on https port", &ls(&cli, &secure.address(), &["--plain-http"]));
        let docker = DockerRegistry::setup().tls(Authority::new(), &[]).start();
        show("http on https port, docker", &ls(&cli, docker.address(), &["--plain-http"]));
        show("https on http port", &ls(&cli, &plain.address(), &[]));
        show(
            "https on http port, docker",
            &ls(&cli, DockerRegistry::setup().at(Network::PUBLIC).start().address(), &[]),
        );
        show("no resolver", &ls(&cli, "registry.example", &[]));
        let names = NameServer::at("127.0.0.53");
        network.name_servers(&["127.0.0.53"]);
        show("unknown name", &ls(&cli, "registry.example", &[]));
        drop(names);
        network.name_servers(&["127.0.0.99"]);
        show("dead resolver", &ls(&cli, "registry.example", &[]));
        let free = TcpListener::bind((Network::PUBLIC, 0)).unwrap().local_addr().unwrap().to_string();
        show("refused", &ls(&cli, &free, &[]));
        show("no route", &ls(&cli, "192.0.2.1:5000", &[]));
        let nobody = ForwardProxy::http_for_nobody(Network::PRIVATE);
        let somebody = ForwardProxy::http_for(Network::PRIVATE, USER, PASSWORD);
        for (what, proxy) in [
            ("403", nobody.address()),
            ("407", somebody.address()),
            ("absent", &free),
            ("unknown", "proxy.example:3128"),
        ] {
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
        show(
            "proxy nonsense",
            &cli.hoist(["ls", &format!("{}/demo/web", plain.address()), "--plain-http"])
                .env("HTTP_PROXY", "nonsense://x y")
                .run(),
        );
        let config = cli.home().join(".docker/config.json");
        fs::write(&config, "{\"auths\": {\n").unwrap();
        show("not JSON", &ls(&cli, &plain.address(), &["--plain-http"]));
        fs::write(&config, "{}").unwrap();
        fs::set_permissions(&config, fs::Permissions::from_mode(0)).unwrap();
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
        panic!();
    });
}
