//! Certificates: whom hoist trusts, and what it shows.

use std::fs;
use std::path::Path;

use testkit::{
    Authority, Certificate, Cli, DockerRegistry, FaultRegistry, HoistServer, Network, Setup, TokenServer,
    images,
};

use crate::support::{PASSWORD, USER, refused};

fn text(path: &Path) -> String {
    path.display().to_string()
}

/// docker-registry with an image in it.
fn filled(setup: Setup) -> DockerRegistry {
    let registry = setup.start();
    registry.push(&images::single(), "demo/web", "1");
    registry
}

fn name(address: &str) -> String {
    format!("{address}/demo/web:1")
}

#[test]
fn a_private_authority() {
    let registry = filled(DockerRegistry::setup().tls(Authority::new(), &[]));
    let cli = Cli::new();
    let (name, ca) = (name(registry.address()), registry.authority().unwrap().file());
    refused(&cli, &cli.hoist(["digest", &name]).run(), "UnknownIssuer");
    cli.hoist(["digest", "--ca-file", &text(&ca), &name]).run().success();
    cli.hoist(["digest", &name]).env("SSL_CERT_FILE", &ca).run().success();
    cli.hoist(["digest", "--tls-skip-verify", &name]).run().success();
    cli.hoist(["digest", "--insecure", &name]).run().success();
    // Besides the system's, not instead of them.
    let other = Authority::new();
    let other = other.file();
    cli.hoist(["digest", "--ca-file", &text(&ca), &name]).env("SSL_CERT_FILE", &other).run().success();
    refused(&cli, &cli.hoist(["digest", "--ca-file", &text(&other), &name]).run(), "BadSignature");
    // A switch for any certificate is none for http.
    let plain = HoistServer::start();
    let outcome = cli.hoist(["ls", "--plain-http", name.trim_end_matches(":1")]).run();
    let error = refused(&cli, &outcome, "");
    assert!(error.contains("hint: the server speaks TLS"), "{error}");
    let _ = plain;
}

#[test]
fn folders_for_hosts() {
    Network::inside(|network| {
        network.name("registry.example", &[Network::PUBLIC]);
        let registry =
            filled(DockerRegistry::setup().at(Network::PUBLIC).tls(Authority::new(), &["registry.example"]));
        let port = registry.address().rsplit_once(':').unwrap().1;
        let host = format!("registry.example:{port}");
        let ca = registry.authority().unwrap().file();
        let cli = Cli::new();
        let home = cli.home().to_owned();
        for folder in [
            Path::new("/etc/docker/certs.d"),
            Path::new("/etc/containers/certs.d"),
            &home.join(".config/docker/certs.d"),
            &home.join(".config/containers/certs.d"),
        ] {
            refused(&cli, &cli.hoist(["digest", &name(&host)]).run(), "UnknownIssuer");
            // Another port's, or what is called differently, is not for this host.
            for (directory, file) in [("registry.example:1", "ca.crt"), (host.as_str(), "ca.pem")] {
                fs::create_dir_all(folder.join(directory)).unwrap();
                fs::copy(&ca, folder.join(directory).join(file)).unwrap();
            }
            refused(&cli, &cli.hoist(["digest", &name(&host)]).run(), "UnknownIssuer");
            fs::copy(&ca, folder.join(&host).join("ca.crt")).unwrap();
            cli.hoist(["digest", &name(&host)]).run().success();
            // By its address it is another host.
            refused(&cli, &cli.hoist(["digest", &name(registry.address())]).run(), "UnknownIssuer");
            fs::remove_dir_all(folder).unwrap();
        }
    });
}

#[test]
fn a_folder_for_the_usual_port() {
    Network::inside(|network| {
        network.name("registry.example", &[Network::PUBLIC]);
        let registry = filled(
            DockerRegistry::setup()
                .at(Network::PUBLIC)
                .port(443)
                .tls(Authority::new(), &["registry.example"]),
        );
        let cli = Cli::new();
        for directory in ["registry.example", "registry.example:443"] {
            refused(&cli, &cli.hoist(["digest", &name("registry.example")]).run(), "UnknownIssuer");
            let folder = Path::new("/etc/docker/certs.d").join(directory);
            fs::create_dir_all(&folder).unwrap();
            fs::copy(registry.authority().unwrap().file(), folder.join("ca.crt")).unwrap();
            cli.hoist(["digest", &name("registry.example")]).run().success();
            fs::remove_dir_all(&folder).unwrap();
        }
    });
}

/// Shows a client's certificate, by flags and by files for the host.
#[test]
fn client_certificates() {
    Network::inside(|_| {
        let registry = filled(
            DockerRegistry::setup().at(Network::PUBLIC).tls(Authority::new(), &[]).client_certificates(),
        );
        let authority = registry.authority().unwrap();
        let (own, stranger) = (authority.client("alice"), Authority::new().client("mallory"));
        let cli = Cli::new();
        let name = name(registry.address());
        let digest = |own: Option<&Certificate>| {
            let command = cli.hoist(["digest", &name, "--ca-file", &text(&authority.file())]);
            match own {
                None => command.run(),
                Some(own) => {
                    command.args(["--cert", &text(&own.file()), "--key", &text(&own.key_file())]).run()
                }
            }
        };
        let error = refused(&cli, &digest(None), "");
        assert!(
            error.contains("hint: the registry wants a certificate of the client: --cert and --key"),
            "{error}"
        );
        refused(&cli, &digest(Some(&stranger)), "");
        digest(Some(&own)).success();

        let folder = Path::new("/etc/docker/certs.d").join(registry.address());
        fs::create_dir_all(&folder).unwrap();
        fs::copy(authority.file(), folder.join("ca.crt")).unwrap();
        fs::copy(own.file(), folder.join("client.cert")).unwrap();
        let half = cli.hoist(["digest", &name]).run();
        refused(&cli, &half, "client.key");
        fs::copy(own.key_file(), folder.join("client.key")).unwrap();
        cli.hoist(["digest", &name]).run().success();
        cli.hoist(["cp", &name, &format!("{}/demo/copy:1", registry.address())]).run().success();
    });
}

#[test]
fn files_that_are_not_what_they_should_be() {
    let cli = Cli::new();
    let own = Authority::new().client("alice");
    let (cert, key) = (text(&own.file()), text(&own.key_file()));
    fs::write(cli.work().join("nothing.pem"), "nothing\n").unwrap();
    fs::write(
        cli.work().join("locked.pem"),
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAA==\n-----END ENCRYPTED PRIVATE KEY-----\n",
    )
    .unwrap();
    for (arguments, cause) in [
        (&["--ca-file", "nowhere.pem"][..], "nowhere.pem"),
        (&["--ca-file", "nothing.pem"], "no certificate in it"),
        (&["--ca-file", "."], "reading .:"),
        (&["--cert", &cert], "--cert alone"),
        (&["--key", &key], "--key alone"),
        (&["--cert", &cert, "--key", &cert], "no private key in it"),
        (&["--cert", &key, "--key", &key], "no certificate in it"),
        (&["--cert", &cert, "--key", "locked.pem"], "encrypted"),
    ] {
        refused(&cli, &cli.hoist(["ls", "localhost:1/x"]).args(arguments).run(), cause);
    }
}

#[test]
fn both_sides_have_their_own() {
    Network::inside(|_| {
        let source = filled(
            DockerRegistry::setup().at(Network::PUBLIC).tls(Authority::new(), &[]).basic(USER, PASSWORD),
        );
        let setup = DockerRegistry::setup().at(Network::PRIVATE).tls(Authority::new(), &[]);
        let destination = setup.client_certificates().basic("bob", "another").start();
        let own = destination.authority().unwrap().client("bob");
        let cli = Cli::new();
        fs::write(cli.work().join("source"), PASSWORD).unwrap();
        fs::write(cli.work().join("destination"), "another\n").unwrap();
        let [from, to] = [&source, &destination].map(|registry| name(registry.address()));
        let [ours, theirs] =
            [&source, &destination].map(|registry| text(&registry.authority().unwrap().file()));
        let (cert, key) = (text(&own.file()), text(&own.key_file()));
        let flags = [
            ["--src-ca-file", &ours],
            ["--src-username", USER],
            ["--src-password-file", "source"],
            ["--dst-ca-file", &theirs],
            ["--dst-cert", &cert],
            ["--dst-key", &key],
            ["--dst-username", "bob"],
            ["--dst-password-file", "destination"],
        ];
        // All of them are needed.
        for without in 0..flags.len() {
            let some = flags.iter().enumerate().filter(|(at, _)| *at != without).flat_map(|(_, flag)| flag);
            let outcome = cli.hoist(["cp", &from, &to]).args(some).run();
            refused(&cli, &outcome, "");
        }
        cli.hoist(["cp", &from, &to]).args(flags.as_flattened()).run().success();
        let skipping = ["--src-tls-skip-verify", "--dst-tls-skip-verify"];
        let rest = flags.iter().filter(|[flag, _]| !flag.ends_with("ca-file")).flatten();
        cli.hoist(["cp", &from, &to]).args(rest).args(skipping).run().success();

        // http on one side, https on the other.
        let plain = FaultRegistry::at(Network::PUBLIC_TOO);
        plain.put("demo/web", "1", &images::single());
        let from = name(&plain.address());
        let dst = flags.iter().filter(|[flag, _]| flag.starts_with("--dst")).flatten();
        refused(&cli, &cli.hoist(["cp", &from, &to]).args(dst.clone()).run(), "");
        cli.hoist(["cp", "--src-plain-http", &from, &to]).args(dst).run().success();
    });
}

#[test]
fn passwords_and_tokens_over_tls() {
    Network::inside(|_| {
        let authority = Authority::new();
        let certificate = authority.server(&[Network::PUBLIC]);
        let tokens = TokenServer::tls_at(Network::PUBLIC, &certificate, USER, PASSWORD);
        for setup in [DockerRegistry::setup().basic(USER, PASSWORD), DockerRegistry::setup().tokens(tokens)] {
            let registry = filled(setup.at(Network::PUBLIC).tls(Authority::new(), &[]));
            let cli = Cli::new();
            let bundle = [registry.authority().unwrap().file(), authority.file()];
            let bundle = bundle.map(|file| fs::read_to_string(file).unwrap()).concat();
            fs::write(cli.work().join("ca.pem"), bundle).unwrap();
            let (from, to) = (name(registry.address()), format!("{}/demo/copy:1", registry.address()));
            let flags = ["--ca-file", "ca.pem", "--username", USER, "--password-stdin"];
            cli.hoist(["cp", &from, &to]).args(flags).stdin(format!("{PASSWORD}\n")).run().success();
            let wrong = cli.hoist(["cp", &from, &to]).args(flags).stdin("wrong\n").run();
            let error = refused(&cli, &wrong, "");
            assert!(error.to_lowercase().contains("unauthorized"), "{error}");
            assert!(error.contains("hint: log in"), "{error}");
            cli.login(registry.address(), USER, PASSWORD);
            cli.hoist(["digest", &to, "--ca-file", "ca.pem"]).run().success();
        }
    });
}

#[test]
fn http_2_for_questions_and_http_1_for_blobs() {
    let registry = filled(DockerRegistry::setup().tls(Authority::new(), &[]));
    let cli = Cli::new();
    let name = name(registry.address());
    cli.hoist(["export", &name, "out.tar", "--tls-skip-verify"]).run().success();
    crate::support::until("the registry's log has the requests", || {
        registry.log().matches("/blobs/sha256").count() >= 3
    });
    let log = registry.log();
    let lines = |path: &str| {
        let ours = log.lines().filter(|line| line.contains("hoist/") && line.contains("\" 200 "));
        ours.filter(|line| line.contains(path)).collect::<Vec<_>>()
    };
    let (manifests, blobs) = (lines("/manifests/1"), lines("/blobs/sha256"));
    assert!(!manifests.is_empty() && manifests.iter().all(|line| line.contains("HTTP/2.0")), "{log}");
    assert!(!blobs.is_empty() && blobs.iter().all(|line| line.contains("HTTP/1.1")), "{log}");
}

#[test]
fn ipv6() {
    Network::inside(|_| {
        for ip in [Network::PUBLIC_6, "::1"] {
            let server = HoistServer::at(ip);
            server.push(&images::single(), "demo/web", "1");
            let cli = Cli::new();
            let name = |rest: &str| format!("{}/demo/{rest}", server.address());
            assert!(name("").starts_with(&format!("[{ip}]:")));
            assert_eq!(cli.hoist(["ls", "--plain-http", &name("web")]).run().success(), "1\n");
            cli.hoist(["cp", "--plain-http", &name("web:1"), &name("copy:2")]).run().success();
            assert_eq!(cli.hoist(["ls", "--plain-http", &name("copy")]).run().success(), "2\n");

            let registry =
                filled(DockerRegistry::setup().at(ip).tls(Authority::new(), &[]).basic(USER, PASSWORD));
            let ca = text(&registry.authority().unwrap().file());
            cli.login(registry.address(), USER, PASSWORD);
            let repository = format!("{}/demo/web", registry.address());
            assert_eq!(cli.hoist(["ls", "--ca-file", &ca, &repository]).run().success(), "1\n");
            let folder = Path::new("/etc/containers/certs.d").join(registry.address());
            fs::create_dir_all(&folder).unwrap();
            fs::copy(&ca, folder.join("ca.crt")).unwrap();
            assert_eq!(cli.hoist(["ls", &repository]).run().success(), "1\n");
        }
    });
}
