//! Proxies, from a room where they are the only way out: whatever arrives, arrived through them.

use testkit::{Authority, Cli, DockerRegistry, ForwardProxy, HoistServer, Invocation, Network, Room, images};

use crate::support::{PASSWORD, USER, refused};

/// A command in the room, with one proxy for everything.
fn through(room: &Room, command: Invocation, proxy: &str) -> Invocation {
    room.locks_in(command.env("HTTPS_PROXY", proxy).env("HTTP_PROXY", proxy))
}

fn name(address: &str) -> String {
    format!("{address}/demo/web:1")
}

fn https(ip: &str) -> DockerRegistry {
    let registry = DockerRegistry::setup().at(ip).tls(Authority::new(), &["registry.example"]).start();
    registry.push(&images::single(), "demo/web", "1");
    registry
}

#[test]
fn the_room_has_no_other_way_out() {
    Network::inside(|network| {
        let (room, server) = (network.room(), HoistServer::at(Network::PUBLIC));
        let cli = Cli::new();
        let command = cli.hoist(["ls", "--plain-http", &format!("{}/x", server.address())]);
        refused(&cli, &room.locks_in(command).run(), "Network is unreachable");
        assert!(server.accesses().is_empty());
    });
}

/// A push and a pull, by https (`CONNECT`) and by http.
#[test]
fn http_proxy() {
    Network::inside(|network| {
        let room = network.room();
        let proxy = ForwardProxy::http(Room::DOOR);
        let url = format!("http://{}", proxy.address());
        let (secure, plain) = (https(Network::PUBLIC), HoistServer::at(Network::PUBLIC_TOO));
        let cli = Cli::new();
        let ca = secure.authority().unwrap().file().display().to_string();
        let [from, to] = [name(secure.address()), name(plain.address())];
        let run = |arguments: &[&str]| through(&room, cli.hoist(arguments), &url).run().success();
        run(&["cp", "--src-ca-file", &ca, "--dst-plain-http", &from, &to]);
        run(&[
            "cp",
            "--dst-ca-file",
            &ca,
            "--src-plain-http",
            &to,
            &format!("{}/demo/back:1", secure.address()),
        ]);
        run(&["export", "--ca-file", &ca, &format!("{}/demo/back:1", secure.address()), "out.tar"]);
        let targets = proxy.targets();
        let connect = format!("CONNECT {} ", secure.address());
        let whole = format!(" http://{}/v2/demo/web/", plain.address());
        assert!(targets.iter().any(|target| target.starts_with(&connect)), "{targets:?}");
        assert!(
            targets.iter().any(|target| target.starts_with("PUT ") && target.contains(&whole)),
            "{targets:?}"
        );
        assert!(
            targets.iter().any(|target| target.starts_with("GET ") && target.contains(&whole)),
            "{targets:?}"
        );
    });
}

/// There is no proxy for https, and no direct way.
#[test]
fn a_proxy_for_http_alone() {
    Network::inside(|network| {
        let room = network.room();
        let proxy = ForwardProxy::http(Room::DOOR);
        let plain = HoistServer::at(Network::PRIVATE);
        plain.push(&images::single(), "demo/web", "1");
        let cli = Cli::new();
        let command = cli.hoist(["ls", &format!("{}/demo/web", plain.address())]);
        let outcome = room.locks_in(command.env("HTTP_PROXY", format!("http://{}", proxy.address()))).run();
        assert_eq!(outcome.success(), "1\n");
    });
}

/// The proxy looks names up, which nobody in the room can.
#[test]
fn names_are_the_proxy_s_to_look_up() {
    Network::inside(|network| {
        network.name("registry.example", &[Network::PUBLIC]);
        let room = network.room();
        let registry = https(Network::PUBLIC);
        let ca = registry.authority().unwrap().file().display().to_string();
        let port = registry.address().rsplit_once(':').unwrap().1;
        let repository = format!("registry.example:{port}/demo/web");
        let cli = Cli::new();
        let (http, socks) = (ForwardProxy::http(Room::DOOR), ForwardProxy::socks(Room::DOOR));
        let ls = |variable: &str, proxy: &str| {
            room.locks_in(cli.hoist(["ls", "--ca-file", &ca, &repository]).env(variable, proxy)).run()
        };
        for variable in ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"] {
            assert_eq!(ls(variable, &format!("http://{}", http.address())).success(), "1\n", "{variable}");
        }
        assert_eq!(ls("HTTPS_PROXY", http.address()).success(), "1\n", "a proxy without a scheme");
        for variable in ["HTTPS_PROXY", "ALL_PROXY"] {
            assert_eq!(
                ls(variable, &format!("socks5h://{}", socks.address())).success(),
                "1\n",
                "{variable}"
            );
        }
        assert_eq!(socks.targets(), [format!("registry.example:{port}"), format!("registry.example:{port}")]);
    });
}

#[test]
fn socks_proxy() {
    Network::inside(|network| {
        let room = network.room();
        let (secure, plain) = (https(Network::PUBLIC), HoistServer::at(Network::PUBLIC_TOO));
        let ca = secure.authority().unwrap().file().display().to_string();
        for (proxy, before) in [
            (ForwardProxy::socks(Room::DOOR), "socks5://"),
            (ForwardProxy::socks_for(Room::DOOR, USER, PASSWORD), &format!("socks5://{USER}:{PASSWORD}@")),
        ] {
            let url = format!("{before}{}", proxy.address());
            let cli = Cli::new();
            let [from, to] = [name(secure.address()), name(plain.address())];
            let command = cli.hoist(["cp", "--src-ca-file", &ca, "--dst-plain-http", &from, &to]);
            room.locks_in(command.env("ALL_PROXY", &url)).run().success();
            let targets = proxy.targets();
            for address in [secure.address(), plain.address()] {
                assert!(targets.iter().any(|target| target == address), "{targets:?}");
            }
        }
    });
}

#[test]
fn who_is_not_asked_through_it() {
    Network::inside(|network| {
        network.name("registry.example", &[Network::PUBLIC]);
        let proxy = ForwardProxy::http(Network::PRIVATE);
        let url = format!("http://{}", proxy.address());
        let server = HoistServer::at(Network::PUBLIC);
        server.push(&images::single(), "demo/web", "1");
        let port = server.address().rsplit_once(':').unwrap().1;
        let cli = Cli::new();
        let ls = |host: &str, no_proxy: &str| {
            let repository = format!("{host}:{port}/demo/web");
            let before = proxy.targets().len();
            let command = cli.hoist(["ls", "--plain-http", &repository]);
            let command = command.env("HTTP_PROXY", &url).env("HTTPS_PROXY", &url);
            assert_eq!(command.env("NO_PROXY", no_proxy).run().success(), "1\n");
            proxy.targets().len() - before
        };
        let with_port = format!("registry.example:{port}");
        for (host, no_proxy) in [
            ("registry.example", "registry.example"),
            ("registry.example", "a.example, .example"),
            ("registry.example", with_port.as_str()),
            ("registry.example", "example"),
            ("registry.example", "*"),
            (Network::PUBLIC, Network::PUBLIC),
            (Network::PUBLIC, "198.51.100.0/24"),
        ] {
            assert_eq!(ls(host, no_proxy), 0, "{host} {no_proxy}");
        }
        for (host, no_proxy) in [
            ("registry.example", ""),
            ("registry.example", "registry.example:1"),
            ("registry.example", "ample,other.example,registry.example.com"),
            (Network::PUBLIC, "203.0.113.0/24"),
        ] {
            assert_eq!(ls(host, no_proxy), 1, "{host} {no_proxy}");
        }
        // What is on this machine is never asked through a proxy.
        let here = HoistServer::start();
        here.push(&images::single(), "demo/web", "1");
        let port = here.address().rsplit_once(':').unwrap().1;
        let before = proxy.targets().len();
        for host in ["127.0.0.1", "localhost"] {
            let repository = format!("{host}:{port}/demo/web");
            let command = cli.hoist(["ls", &repository]).env("ALL_PROXY", &url);
            assert_eq!(command.env("HTTP_PROXY", &url).env("HTTPS_PROXY", &url).run().success(), "1\n");
        }
        assert_eq!(proxy.targets().len(), before);
    });
}

#[test]
fn credentials_of_the_proxy() {
    Network::inside(|network| {
        let room = network.room();
        let proxy = ForwardProxy::http_for(Room::DOOR, USER, PASSWORD);
        let (secure, plain) = (https(Network::PUBLIC), HoistServer::at(Network::PUBLIC_TOO));
        plain.push(&images::single(), "demo/web", "1");
        let cli = Cli::new();
        let ca = secure.authority().unwrap().file().display().to_string();
        let by_https = ["digest", "-v", "--ca-file", &ca, &name(secure.address())];
        let by_http = ["digest", "-v", "--plain-http", &name(plain.address())];
        for arguments in [&by_https[..], &by_http] {
            let run = |proxy: &str| through(&room, cli.hoist(arguments), proxy).run();
            let right = run(&format!("http://{USER}:{PASSWORD}@{}", proxy.address()));
            right.success();
            let without = run(&format!("http://{}", proxy.address()));
            let text = without.failure(1);
            assert!(text.contains("hint: write the proxy as http://USER:PASSWORD@HOST:PORT"), "{without}");
            // To a wrong password tinyproxy says 401, as a registry does.
            let wrong = run(&format!("http://{USER}:wr0ngp4ss@{}", proxy.address()));
            let text = wrong.failure(1);
            assert_eq!(text.contains("the user or password may be wrong"), arguments == by_https, "{text}");
            for outcome in [right, wrong, without] {
                for secret in [PASSWORD, "wr0ngp4ss", "YWxpY2U6"] {
                    assert!(!outcome.stderr().contains(secret), "{outcome}");
                }
            }
        }
    });
}

/// A registry's credentials go through the proxy by http only where that was said.
#[test]
fn a_registry_with_a_password_behind_a_proxy() {
    Network::inside(|network| {
        let room = network.room();
        let proxy = ForwardProxy::http(Room::DOOR);
        let url = format!("http://{}", proxy.address());
        let setup = DockerRegistry::setup().at(Network::PUBLIC).tls(Authority::new(), &[]);
        let registry = setup.basic(USER, PASSWORD).start();
        registry.push(&images::single(), "demo/web", "1");
        let cli = Cli::new();
        cli.login(registry.address(), USER, PASSWORD);
        let ca = registry.authority().unwrap().file().display().to_string();
        let command = cli.hoist(["export", "--ca-file", &ca, &name(registry.address()), "out.tar"]);
        through(&room, command, &url).run().success();
        let insecure = cli.hoist(["digest", "--insecure", &name(registry.address())]);
        through(&room, insecure, &url).run().success();
        // A client certificate is shown to the registry, through the tunnel.
        let setup = DockerRegistry::setup().at(Network::PUBLIC_TOO).tls(Authority::new(), &[]);
        let registry = setup.client_certificates().start();
        registry.push(&images::single(), "demo/web", "1");
        let own = registry.authority().unwrap().client("alice");
        let [ca, cert, key] = [registry.authority().unwrap().file(), own.file(), own.key_file()];
        let command = cli.hoist(["digest", &name(registry.address()), "--ca-file"]).arg(ca);
        through(&room, command.arg("--cert").arg(cert).arg("--key").arg(key), &url).run().success();
    });
}
