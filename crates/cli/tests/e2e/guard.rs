//! Where a registry may send hoist, and where not: whoever it must not reach hears nothing at all.

use testkit::images::{self, Blob};
use testkit::{
    Answer, Cli, FaultRegistry, ForwardProxy, HoistServer, NameServer, Network, Outcome, Room, Route,
};

use crate::support::refused;

/// A way of being sent elsewhere.
type Way = fn(&FaultRegistry, &str, &HoistServer) -> Vec<String>;

/// Refused, with what lets it through.
#[track_caller]
fn stopped(cli: &Cli, outcome: &Outcome, target: &FaultRegistry) {
    let text = refused(cli, outcome, "may not send us there");
    assert!(text.contains("\nhint: ") && text.contains("--allow-host"), "{outcome}");
    assert_eq!(target.connections(), 0, "{outcome}");
}

fn name(registry: &FaultRegistry, rest: &str) -> String {
    format!("{}/demo/{rest}", registry.address())
}

/// A challenge names the place for tokens.
fn realm(first: &FaultRegistry, second: &str, _: &HoistServer) -> Vec<String> {
    let challenge = format!("Bearer realm=\"http://{second}/token\",service=\"x\"");
    let answer = Answer::error(401, "UNAUTHORIZED", "log in").header("WWW-Authenticate", &challenge);
    first.on(Route::any().without("authorization"), answer);
    vec!["digest".into(), name(first, "web:1")]
}

/// An upload goes on elsewhere.
fn upload(first: &FaultRegistry, second: &str, source: &HoistServer) -> Vec<String> {
    let location = format!("http://{second}/v2/demo/web/blobs/uploads/1");
    first.on(Route::new("POST", "*"), Answer::status(202).header("Location", &location));
    vec!["cp".into(), format!("{}/demo/web:1", source.address()), name(first, "new:1")]
}

/// A blob is kept elsewhere.
fn blob(first: &FaultRegistry, second: &str, _: &HoistServer) -> Vec<String> {
    let blob = Blob::new("", b"content");
    let location = format!("http://{second}/v2/demo/web/blobs/{}", blob.digest);
    first.on(Route::new("*", "/v2/*/blobs/*"), Answer::redirect(&location));
    vec!["blob".into(), name(first, &format!("web@{}", blob.digest))]
}

/// A manifest is kept elsewhere.
fn manifest(first: &FaultRegistry, second: &str, _: &HoistServer) -> Vec<String> {
    let location = format!("http://{second}/v2/demo/web/manifests/1");
    first.on(Route::new("*", "/v2/*/manifests/*"), Answer::redirect(&location));
    vec!["manifest".into(), name(first, "web:1")]
}

/// A layer is kept by its owner.
fn foreign_layer(first: &FaultRegistry, second: &str, _: &HoistServer) -> Vec<String> {
    let image = images::single();
    for blob in &image.blobs {
        first.put_blob("demo/web", &blob.digest, &blob.bytes);
    }
    let mut manifest: serde_json::Value = serde_json::from_slice(&image.manifest.bytes).unwrap();
    let layer = &mut manifest["layers"][0];
    let digest = layer["digest"].as_str().unwrap().to_owned();
    layer["mediaType"] = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip".into();
    layer["urls"] = serde_json::json!([format!("http://{second}/v2/demo/web/blobs/{digest}")]);
    first.on(
        Route::new("*", &format!("/v2/*/blobs/{digest}")),
        Answer::error(404, "BLOB_UNKNOWN", "ask its owner"),
    );
    first.put_manifest("demo/web", "1", &image.manifest.media_type, manifest.to_string().as_bytes());
    vec!["export".into(), name(first, "web:1"), "out.tar".into()]
}

const WAYS: [(&str, Way); 5] = [
    ("realm", realm),
    ("upload", upload),
    ("blob", blob),
    ("manifest", manifest),
    ("foreign layer", foreign_layer),
];

/// Sends hoist from one address by `way` to whatever `written` is. The second registry, on `to`, has what is looked for.
struct Sending {
    cli: Cli,
    first: FaultRegistry,
    second: FaultRegistry,
    _source: HoistServer,
    arguments: Vec<String>,
}

impl Sending {
    fn new(way: Way, from: &str, to: &str, written: &str) -> Self {
        let (cli, source) = (Cli::new(), HoistServer::start());
        let (first, second) = (FaultRegistry::at(from), FaultRegistry::at(to));
        let image = images::single();
        source.push(&image, "demo/web", "1");
        for registry in [&first, &second] {
            registry.put("demo/web", "1", &image);
        }
        second.put_blob("demo/web", &Blob::new("", b"content").digest, b"content");
        second.on(Route::get("/token*"), Answer::status(200).body(r#"{"token":"t0ken"}"#));
        second.on(Route::new("PUT", "*"), Answer::status(201));
        second.on(
            Route::new("PATCH", "*"),
            Answer::status(202).header("Location", "/v2/demo/web/blobs/uploads/1"),
        );
        let port = second.address().rsplit_once(':').unwrap().1.to_owned();
        let arguments = way(&first, &format!("{written}:{port}"), &source);
        Self { cli, first, second, _source: source, arguments }
    }

    fn port(&self) -> String {
        self.second.address().rsplit_once(':').unwrap().1.to_owned()
    }

    fn run(&self, more: &[&str]) -> Outcome {
        self.cli.hoist(["--plain-http"].iter().chain(more)).args(&self.arguments).run()
    }

    #[track_caller]
    fn is_stopped(&self) {
        stopped(&self.cli, &self.run(&[]), &self.second);
        assert!(!self.first.requests().is_empty(), "the first was asked");
    }

    /// Whatever comes of it there: a refusal is no part of it.
    #[track_caller]
    fn arrives(&self, more: &[&str]) {
        let outcome = self.run(more);
        outcome.success();
        assert!(!self.second.requests().is_empty(), "{outcome}");
    }
}

/// An address as it is written into a URL.
fn written(address: &str) -> String {
    if address.contains(':') { format!("[{address}]") } else { address.to_owned() }
}

#[test]
fn from_outside_to_inside() {
    Network::inside(|_| {
        let inside = [
            Network::PRIVATE,
            Network::PRIVATE_TOO,
            Network::CARRIER,
            Network::PRIVATE_6,
            Network::METADATA,
            "127.0.0.1",
            "::1",
        ];
        for (_, way) in WAYS {
            for to in inside {
                Sending::new(way, Network::PUBLIC, to, &written(to)).is_stopped();
            }
            Sending::new(way, Network::PUBLIC_6, Network::PRIVATE_6, &written(Network::PRIVATE_6))
                .is_stopped();
            // Seen as what it is, though written as IPv6.
            Sending::new(way, Network::PUBLIC, Network::PRIVATE, "[::ffff:10.77.0.7]").is_stopped();
        }
    });
}

#[test]
fn from_inside() {
    Network::inside(|_| {
        for (_, way) in WAYS {
            for (from, to) in [
                (Network::PRIVATE, Network::PRIVATE_TOO),
                (Network::PRIVATE, Network::PUBLIC),
                (Network::PUBLIC, Network::PUBLIC_TOO),
                ("127.0.0.1", Network::PRIVATE),
            ] {
                Sending::new(way, from, to, to).arrives(&[]);
            }
            for from in [Network::PRIVATE, "127.0.0.1", Network::PRIVATE_6] {
                Sending::new(way, from, Network::METADATA, Network::METADATA).is_stopped();
            }
        }
    });
}

#[test]
fn however_it_is_written() {
    Network::inside(|_| {
        for spelling in
            ["0x7f000001", "2130706433", "127.1", "017700000001", "0x7f.1", "localhost", "a.localhost"]
        {
            for way in [realm, blob] as [Way; 2] {
                Sending::new(way, Network::PUBLIC, "127.0.0.1", spelling).is_stopped();
            }
        }
        for spelling in ["0xa9fea9fe", "2852039166", "[::ffff:a9fe:a9fe]"] {
            Sending::new(realm, Network::PRIVATE, Network::METADATA, spelling).is_stopped();
        }
    });
}

#[test]
fn by_name() {
    Network::inside(|network| {
        network.name("inside.example", &[Network::PRIVATE]);
        network.name("cloud.example", &[Network::METADATA]);
        network.name("outside.example", &[Network::PUBLIC_TOO]);
        network.name("both.example", &[Network::PUBLIC_TOO, Network::PRIVATE]);
        network.name("both-too.example", &[Network::PRIVATE, Network::PUBLIC_TOO]);
        for (_, way) in WAYS {
            Sending::new(way, Network::PUBLIC, Network::PRIVATE, "inside.example").is_stopped();
            Sending::new(way, Network::PRIVATE, Network::METADATA, "cloud.example").is_stopped();
            Sending::new(way, Network::PRIVATE, Network::PRIVATE, "inside.example").arrives(&[]);
            Sending::new(way, Network::PUBLIC, Network::PUBLIC_TOO, "outside.example").arrives(&[]);
        }
        // Of two addresses only the public one may be tried; nothing listens there.
        for name in ["both.example", "both-too.example"] {
            let sending = Sending::new(blob, Network::PUBLIC, Network::PRIVATE, name);
            refused(&sending.cli, &sending.run(&[]), "");
            assert_eq!(sending.second.connections(), 0);
            Sending::new(blob, Network::PUBLIC, Network::PUBLIC_TOO, name).arrives(&[]);
        }
    });
}

#[test]
fn a_name_that_changes_its_mind() {
    Network::inside(|network| {
        let names = NameServer::at("127.0.0.53");
        network.name_servers(&["127.0.0.53"]);
        let public: &[&str] = &[Network::PUBLIC_TOO];
        let private: &[&str] = &[Network::PRIVATE];
        for answers in [&[private][..], &[public, private]] {
            names.name("rebound.example", answers);
            for (_, way) in WAYS {
                let sending = Sending::new(way, Network::PUBLIC, Network::PRIVATE, "rebound.example");
                refused(&sending.cli, &sending.run(&[]), "");
                assert_eq!(sending.second.connections(), 0);
            }
        }
        assert!(names.asked().contains(&"rebound.example 1".to_owned()), "{:?}", names.asked());
    });
}

#[test]
fn over_several_places() {
    Network::inside(|_| {
        // From a private registry to a public place, and from there back inside.
        let between = FaultRegistry::at(Network::PUBLIC);
        let way = |first: &FaultRegistry, _: &str, _: &HoistServer| {
            vec!["manifest".to_owned(), name(first, "web:1")]
        };
        let sending = Sending::new(way, Network::PRIVATE, Network::PRIVATE_TOO, "");
        let path = "/v2/demo/web/manifests/1";
        sending.first.on(Route::any(), Answer::redirect(&format!("http://{}{path}", between.address())));
        between.on(Route::any(), Answer::redirect(&format!("http://{}{path}", sending.second.address())));
        sending.is_stopped();
        assert_eq!(between.requests().len(), 1);
    });
}

#[test]
fn unless_it_is_allowed() {
    Network::inside(|network| {
        network.name("inside.example", &[Network::PRIVATE]);
        for (_, way) in WAYS {
            let sending = || Sending::new(way, Network::PUBLIC, Network::PRIVATE, Network::PRIVATE);
            sending().arrives(&["--allow-host", Network::PRIVATE]);
            sending().arrives(&["--allow-host=192.168.0.0/16", "--allow-host=10.0.0.0/8"]);
            let with_port = sending();
            with_port.arrives(&["--allow-host", &format!("{}:{}", Network::PRIVATE, with_port.port())]);
            // What is allowed is that and no more.
            for other in ["10.77.0.8", "10.78.0.0/16", "10.77.0.7:1", "inside.example"] {
                let sending = sending();
                stopped(&sending.cli, &sending.run(&["--allow-host", other]), &sending.second);
            }
            let by_name = || Sending::new(way, Network::PUBLIC, Network::PRIVATE, "inside.example");
            by_name().arrives(&["--allow-host=inside.example"]);
            by_name().arrives(&["--allow-host=10.77.0.0/24"]);
        }
        let metadata = Sending::new(realm, Network::PRIVATE, Network::METADATA, Network::METADATA);
        metadata.arrives(&["--allow-host", Network::METADATA]);
    });
}

#[test]
fn what_is_allowed_has_to_be_a_place() {
    let cli = Cli::new();
    for text in ["10.0.0.0/40", "x/8", "a b", ""] {
        let outcome = cli.hoist(["ls", "localhost:1/x", "--allow-host", text]).run();
        assert_eq!(outcome.stdout(), "", "{outcome}");
        assert_ne!(outcome.status.code(), Some(0), "{outcome}");
        assert!(outcome.stderr().contains("--allow-host"), "{outcome}");
    }
}

#[test]
fn behind_a_proxy() {
    Network::inside(|network| {
        let room = network.room();
        let proxy = ForwardProxy::http(Room::DOOR);
        let url = format!("http://{}", proxy.address());
        network.name("host.corp", &[Network::PRIVATE]);
        network.name("intranet", &[Network::PRIVATE]);
        let run = |sending: &Sending, more: &[&str]| {
            let command = sending.cli.hoist(["--plain-http"].iter().chain(more)).args(&sending.arguments);
            room.locks_in(command.env("HTTP_PROXY", &url).env("HTTPS_PROXY", &url)).run()
        };
        // What is sent to is the proxy's to resolve: addresses and names tell what can be told.
        let ways = [("realm", realm as Way), ("blob", blob), ("manifest", manifest)];
        for (_, way) in ways {
            for written in [Network::PRIVATE, "[::ffff:10.77.0.7]", "0xa4d0007", "host.corp", "intranet"] {
                let sending = Sending::new(way, Network::PUBLIC, Network::PRIVATE, written);
                stopped(&sending.cli, &run(&sending, &[]), &sending.second);
                assert_eq!(sending.first.requests().len(), 1, "{written}");
            }
            let sending = Sending::new(way, Network::PUBLIC, Network::METADATA, Network::METADATA);
            stopped(&sending.cli, &run(&sending, &[]), &sending.second);
            let sending = Sending::new(way, Network::PUBLIC, Network::PRIVATE, "host.corp");
            let _ = run(&sending, &["--allow-host=host.corp"]);
            assert!(!sending.second.requests().is_empty(), "the way is open");
            let sending = Sending::new(way, Network::PUBLIC, Network::PUBLIC_TOO, Network::PUBLIC_TOO);
            let _ = run(&sending, &[]);
            assert!(!sending.second.requests().is_empty(), "the way is open");
        }
    });
}

/// A SOCKS proxy that is given addresses (`socks5://`) leaves looking up names to hoist, which sees where they lead.
#[test]
fn behind_a_socks_proxy() {
    Network::inside(|network| {
        let proxy = ForwardProxy::socks(Network::PUBLIC_TOO);
        network.name("inside.example", &[Network::PRIVATE]);
        for written in [Network::PRIVATE, "inside.example"] {
            let sending = Sending::new(blob, Network::PUBLIC, Network::PRIVATE, written);
            let command = sending.cli.hoist(["--plain-http"]).args(&sending.arguments);
            let outcome = command.env("ALL_PROXY", format!("socks5://{}", proxy.address())).run();
            stopped(&sending.cli, &outcome, &sending.second);
            assert!(
                proxy.targets().iter().any(|target| target.starts_with(Network::PUBLIC)),
                "{}",
                proxy.log()
            );
        }
    });
}
