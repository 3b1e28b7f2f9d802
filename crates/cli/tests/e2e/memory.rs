//! What is remembered of registries from one command to the next.

use std::fs;
use std::path::{Path, PathBuf};

use testkit::images;
use testkit::{Cli, DockerRegistry, FaultRegistry, Network, Relay, TokenServer};

use crate::support::{PASSWORD, USER, as_root, bearer, refused};

const REPOSITORIES: [&str; 2] = ["demo/web", "demo/api"];

/// A registry that wants tokens, a relay that counts, and a user who is logged in.
struct Place {
    cli: Cli,
    registry: DockerRegistry,
    relay: Relay,
}

impl Place {
    fn new() -> Self {
        let registry = bearer();
        for repository in REPOSITORIES {
            registry.push(&images::single(), repository, "1");
        }
        let (cli, relay) = (Cli::new(), Relay::to(registry.address()));
        cli.login(&relay.address(), USER, PASSWORD);
        Self { cli, registry, relay }
    }

    fn image(&self, repository: &str) -> String {
        format!("{}/{repository}:1", self.relay.address())
    }

    /// `hoist digest` with these arguments; how many requests to the registry and to the token server it took.
    #[track_caller]
    fn digest(&self, arguments: &[&str]) -> (usize, usize) {
        let tokens = || self.registry.tokens().unwrap().requests().len();
        let before = (self.relay.requests().len(), tokens());
        let image = self.image("demo/web");
        let digest = self.cli.hoist(["digest", &image]).args(arguments).run().success();
        assert_eq!(digest.trim_end(), images::single().manifest.digest);
        (self.relay.requests().len() - before.0, tokens() - before.1)
    }

    /// Where it is kept.
    fn directory(&self) -> PathBuf {
        self.cli.home().join(".cache/hoist/hosts")
    }

    fn file(&self) -> PathBuf {
        self.directory().join(format!("{}.json", self.relay.address()))
    }
}

/// All files of a directory in one text.
fn text(directory: &Path) -> String {
    let file = |path: PathBuf| {
        let content = String::from_utf8_lossy(&fs::read(&path).unwrap()).into_owned();
        [path.display().to_string(), content].join("\n")
    };
    let files = fs::read_dir(directory).unwrap().map(|entry| file(entry.unwrap().path()));
    files.collect::<Vec<_>>().join("\n")
}

#[test]
fn the_second_digest_is_one_request() {
    let place = Place::new();
    assert_eq!(place.digest(&[]), (2, 1));
    let connections = place.relay.connections();
    for _ in 0..3 {
        assert_eq!(place.digest(&[]), (1, 0));
    }
    assert_eq!(place.relay.connections() - connections, 3);
    let kept = text(&place.directory());
    assert!(kept.contains("eyJ") && !kept.contains(PASSWORD), "{kept}");
    // A command that fails has learned as much.
    let lost = place.image("demo/api").replace(":1", ":2");
    refused(&place.cli, &place.cli.hoist(["digest", &lost]).run(), "MANIFEST_UNKNOWN");
    let before = place.relay.requests().len();
    place.cli.hoist(["digest", &place.image("demo/api")]).run().success();
    assert_eq!(place.relay.requests().len() - before, 1);
}

#[test]
fn nothing_of_it_is_in_a_log() {
    let place = Place::new();
    let mut log = String::new();
    for _ in 0..2 {
        log += &place.cli.hoist(["-v", "digest", &place.image("demo/web")]).run().stderr();
    }
    assert!(log.contains("--> HEAD") && !log.contains("eyJ") && !log.contains(PASSWORD), "{log}");
}

#[test]
fn no_cache_neither_reads_nor_writes() {
    let place = Place::new();
    assert_eq!(place.digest(&["--no-cache"]), (2, 1));
    assert!(!place.directory().exists());
    assert_eq!(place.digest(&[]), (2, 1));
    let kept = text(&place.directory());
    assert_eq!(place.digest(&["--no-cache"]), (2, 1));
    assert_eq!(text(&place.directory()), kept);
    assert_eq!(place.digest(&["--no-cache=false"]), (1, 0));
}

#[test]
fn logging_in_and_out_forgets() {
    let place = Place::new();
    let address = place.relay.address();
    for arguments in [&["logout", &address][..], &["login", &address, "-u", USER, "-p", PASSWORD]] {
        place.cli.login(&address, USER, PASSWORD);
        place.digest(&[]);
        assert!(text(&place.directory()).contains(&address));
        place.cli.hoist(["auth"].iter().chain(arguments)).run().success();
        assert!(!text(&place.directory()).contains(&address), "{}", text(&place.directory()));
    }
}

#[test]
fn a_changed_password_is_somebody_else() {
    let place = Place::new();
    place.digest(&[]);
    place.cli.login(&place.relay.address(), USER, "other");
    let outcome = place.cli.hoist(["digest", &place.image("demo/web")]).run();
    refused(&place.cli, &outcome, "wrong user name or password");
    place.cli.login(&place.relay.address(), USER, PASSWORD);
    assert_eq!(place.digest(&[]), (1, 0));
}

#[test]
fn what_belongs_to_another_user_is_left_alone() {
    let place = Place::new();
    place.digest(&[]);
    for path in [place.file(), place.directory()] {
        let path = path.to_str().unwrap();
        as_root(&place.cli, "chown", ["65534", path]).run().success();
        assert_eq!(place.digest(&[]), (2, 1));
        let ours = fs::metadata(place.cli.home()).unwrap();
        let ours = std::os::unix::fs::MetadataExt::uid(&ours).to_string();
        as_root(&place.cli, "chown", [ours.as_str(), path]).run().success();
        assert_eq!(place.digest(&[]), (1, 0));
    }
}

#[test]
fn commands_that_end_together_lose_nothing() {
    let place = Place::new();
    for _ in 0..5 {
        let _ = fs::remove_dir_all(place.directory());
        let running = REPOSITORIES.map(|name| place.cli.hoist(["digest", &place.image(name)]).start());
        for command in running {
            command.wait().success();
        }
        let before = place.relay.requests().len();
        for repository in REPOSITORIES {
            place.cli.hoist(["digest", &place.image(repository)]).run().success();
        }
        assert_eq!(place.relay.requests().len() - before, 2);
    }
}

#[test]
fn an_expired_token_is_asked_for_again() {
    let tokens = TokenServer::start(USER, PASSWORD);
    tokens.set_expires_in(std::time::Duration::from_secs(1));
    let registry = DockerRegistry::bearer(tokens);
    registry.push(&images::single(), "demo/web", "1");
    let (cli, relay) = (Cli::new(), Relay::to(registry.address()));
    cli.login(&relay.address(), USER, PASSWORD);
    let place = Place { cli, registry, relay };
    for count in 1..=2 {
        place.digest(&[]);
        assert_eq!(place.registry.tokens().unwrap().requests().len(), count);
        std::thread::sleep(std::time::Duration::from_millis(1100));
    }
}

#[test]
fn a_copy_mounts_what_an_earlier_one_brought() {
    let (source, destination) = (FaultRegistry::start(), DockerRegistry::plain());
    source.put("demo/web", "1", &images::single());
    let (cli, relay) = (Cli::new(), Relay::to(destination.address()));
    let from = format!("{}/demo/web:1", source.address());
    let copy = |repository: &str, arguments: &[&str]| {
        let to = format!("{}/{repository}:1", relay.address());
        let before = source.count("GET", "/v2/demo/web/blobs/*");
        let said = cli.hoist(["cp", &from, &to]).args(arguments).run();
        said.success();
        source.count("GET", "/v2/demo/web/blobs/*") - before
    };
    let blobs = images::single().blobs.len();
    assert_eq!(copy("demo/one", &[]), blobs);
    assert_eq!(copy("demo/two", &[]), 0, "all are mounted");
    assert_eq!(copy("demo/three", &["--no-cache"]), blobs);
    // Where the blobs were is not where they are: then they are brought.
    let kept = cli.home().join(".cache/hoist/hosts").join(format!("{}.blobs", relay.address()));
    let places = fs::read_to_string(&kept).unwrap();
    assert!(places.contains("demo/two"), "{places}");
    fs::write(&kept, places.replace("demo/two", "demo/none")).unwrap();
    assert_eq!(copy("demo/four", &[]), blobs);
}

#[test]
fn http_beyond_this_machine_is_not_remembered() {
    Network::inside(|_| {
        let (cli, registry) = (Cli::new(), FaultRegistry::at(Network::PRIVATE));
        registry.put("demo/web", "1", &images::single());
        let image = format!("{}/demo/web:1", registry.address());
        for _ in 0..2 {
            cli.hoist(["digest", &image]).run().success();
        }
        assert!(!cli.home().join(".cache/hoist/hosts").exists());
        // Nor is anything that comes without proof.
        let (certificate, local) = (testkit::Authority::new(), FaultRegistry::start());
        let secure =
            FaultRegistry::tls_at(Network::PRIVATE_TOO, &certificate.server(&[Network::PRIVATE_TOO]));
        for registry in [&secure, &local] {
            registry.put("demo/web", "1", &images::single());
        }
        let image = format!("{}/demo/web:1", secure.address());
        cli.hoist(["digest", "--insecure", &image]).run().success();
        cli.hoist(["digest", "--tls-skip-verify", &image]).run().success();
        assert!(!cli.home().join(".cache/hoist/hosts").exists());
        // With proof it is, and so is this machine itself.
        cli.hoist(["digest", &image, "--ca-file"]).arg(certificate.file()).run().success();
        cli.hoist(["digest", &format!("{}/demo/web:1", local.address())]).run().success();
        let kept = text(&cli.home().join(".cache/hoist/hosts"));
        assert!(kept.contains(&secure.address()) && kept.contains(&local.address()), "{kept}");
    });
}
