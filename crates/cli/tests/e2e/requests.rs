//! How many requests verbs make. Fewer is the point of a client without pings.

use testkit::{Cli, DockerRegistry, Relay, images};

const TAGGED: &str = "/v2/demo/web/manifests/1";

/// The requests that passed since the last look.
struct Watch {
    relay: Relay,
    seen: usize,
}

impl Watch {
    fn next(&mut self) -> Vec<String> {
        let requests = self.relay.requests();
        let fresh = requests[self.seen..].iter();
        let fresh: Vec<String> =
            fresh.map(|request| format!("{} {}", request.method, request.path)).collect();
        self.seen = requests.len();
        fresh
    }
}

#[test]
fn nothing_is_asked_twice() {
    let registry = DockerRegistry::plain();
    registry.push(&images::eight_platforms(), "demo/web", "1");
    let mut watch = Watch { relay: Relay::to(registry.address()), seen: 0 };
    let name = |rest: &str| format!("{}/demo/{rest}", watch.relay.address());
    let [web, copy] = [name("web:1"), name("copy:1")];
    let cli = Cli::new();

    cli.hoist(["digest", &web]).run().success();
    assert_eq!(watch.next(), [format!("HEAD {TAGGED}")]);

    cli.hoist(["manifest", &web]).run().success();
    assert_eq!(watch.next(), [format!("GET {TAGGED}")]);

    cli.hoist(["ls", web.trim_end_matches(":1")]).run().success();
    assert_eq!(watch.next(), ["GET /v2/demo/web/tags/list"]);

    cli.hoist(["tag", &web, "2"]).run().success();
    assert_eq!(watch.next(), [format!("GET {TAGGED}"), "PUT /v2/demo/web/manifests/2".to_owned()]);

    cli.hoist(["cp", &web, &copy]).run().success();
    let first = watch.next();
    // Nine blobs of config and layers each, the layer that all platforms share counted once: mounted, none moved.
    let blobs = 8 * 2 + 1;
    let count = |method: &str, part: &str| {
        first.iter().filter(|line| line.starts_with(method) && line.contains(part)).count()
    };
    assert_eq!(count("POST", "/v2/demo/copy/blobs/uploads/"), blobs, "{first:#?}");
    assert_eq!(count("PUT", "/v2/demo/copy/manifests/"), 9, "{first:#?}");
    assert_eq!(count("PUT", "/blobs/uploads/") + count("PATCH", ""), 0, "{first:#?}");
    assert_eq!(first.last().unwrap(), "PUT /v2/demo/copy/manifests/1");

    cli.hoist(["cp", &web, &copy]).run().success();
    let mut second = watch.next();
    second.sort();
    assert_eq!(second.len(), 2, "{second:#?}");
    assert!(second.iter().any(|line| line.ends_with(TAGGED)), "{second:#?}");
    assert!(second.iter().any(|line| line == "HEAD /v2/demo/copy/manifests/1"), "{second:#?}");
}

#[test]
fn a_second_registry_is_asked_once_too() {
    let (source, destination) = (DockerRegistry::plain(), DockerRegistry::plain());
    source.push(&images::eight_platforms(), "demo/web", "1");
    let mut here = Watch { relay: Relay::to(source.address()), seen: 0 };
    let mut there = Watch { relay: Relay::to(destination.address()), seen: 0 };
    let [from, to] = [&here, &there].map(|watch| format!("{}/demo/web:1", watch.relay.address()));
    let cli = Cli::new();
    cli.hoist(["cp", &from, &to]).run().success();
    // The index, eight manifests, each blob once; and what the tag names, asked while the destination was.
    let first = here.next();
    let (early, rest): (Vec<_>, Vec<_>) = first.into_iter().partition(|line| line.starts_with("HEAD "));
    assert_eq!((early, rest.len()), (vec![format!("HEAD {TAGGED}")], 1 + 8 + 8 * 2 + 1));
    there.next();
    cli.hoist(["cp", &from, &to]).run().success();
    assert_eq!((here.next().len(), there.next()), (1, vec![format!("HEAD {TAGGED}")]));
}
