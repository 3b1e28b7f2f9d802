//! How many requests a blob takes, and how it is cut.

use bytes::Bytes;
use oci::{Algorithm, Descriptor, MediaType};
use store::{Kind, Opened, Store};
use testkit::{Answer, Dialect, DockerRegistry, FaultRegistry, HoistServer, Relay, Request, Route};

use crate::support::{REPOSITORY, anonymous, descriptor, noise, passed, write, writer};

const MIB: usize = 1 << 20;

fn words(requests: &[Request]) -> Vec<String> {
    let word = |request: &Request| match request.query.split('=').next() {
        Some(query @ ("digest" | "mount")) => format!("{} {query}", request.method),
        _ => request.method.clone(),
    };
    requests.iter().map(word).collect()
}

/// The lengths of the bodies of the `PATCH` requests, each where the one before ended.
fn chunks(registry: &FaultRegistry) -> Vec<usize> {
    let mut end = 0;
    let mut chunks = Vec::new();
    for request in registry.requests().iter().filter(|request| request.method == "PATCH") {
        let length: usize = request.header("content-length").unwrap().parse().unwrap();
        let (first, last) = request.header("content-range").unwrap().split_once('-').unwrap();
        let [first, last] = [first, last].map(|text| text.parse::<usize>().unwrap());
        assert_eq!(last + 1 - first, length);
        if first != end {
            // A session of its own.
            assert_eq!(first, 0, "{chunks:?}");
            chunks.clear();
        }
        chunks.push(length);
        end = last + 1;
    }
    chunks
}

/// Writes as long as it is interrupted, like whoever copies.
async fn insist(store: &registry::RegistryStore, content: &[u8], attempts: usize) {
    for _ in 1..attempts {
        match write(store, content).await {
            Ok(()) => return,
            Err(error) => assert_eq!(error.kind(), Kind::Interrupted, "{error}"),
        }
    }
    write(store, content).await.unwrap();
}

#[tokio::test]
async fn small_blobs_need_one_request() {
    let server = HoistServer::start();
    let relay = Relay::to(server.address());
    let store = anonymous(&relay.address());
    // As soon as it is known that they are taken, they may be longer.
    let contents = [noise(64 << 10), Vec::new(), noise(256 << 10)];
    for content in &contents {
        write(&store, content).await.unwrap();
    }
    assert_eq!(words(&passed(&relay, 3)), ["POST digest"; 3]);
    for content in contents {
        assert!(store.contains(&descriptor(&content)).await.unwrap());
    }
}

#[tokio::test]
async fn a_registry_without_single_posts_is_asked_once() {
    let registry = DockerRegistry::plain();
    let relay = Relay::to(registry.address());
    let store = anonymous(&relay.address());
    for content in [noise(1000), noise(2000), Vec::new()] {
        write(&store, &content).await.unwrap();
    }
    let requests = passed(&relay, 6);
    assert_eq!(requests.iter().filter(|request| request.query.starts_with("digest=")).count(), 1);
    assert_eq!(words(&requests[..2]), ["POST digest", "PUT"]);
    let bytes: Vec<_> = requests.iter().filter_map(|request| request.header("content-length")).collect();
    assert_eq!(bytes, ["1000", "1000", "0", "2000", "0", "0"]);
    for content in [noise(1000), noise(2000), Vec::new()] {
        assert!(store.contains(&descriptor(&content)).await.unwrap());
    }
}

#[tokio::test]
async fn a_registry_that_refuses_single_posts_gets_sessions() {
    for status in [400, 404, 405, 411, 413, 501] {
        let registry = FaultRegistry::start();
        registry.on(Route::new("POST", "*").with_query("digest"), Answer::status(status));
        let store = anonymous(&registry.address());
        for content in [noise(1000), noise(2000)] {
            write(&store, &content).await.unwrap();
        }
        let requests = words(&registry.requests());
        assert_eq!(requests, ["POST digest", "POST", "PUT digest", "POST mount", "PUT digest"], "{status}");
    }
    let registry = FaultRegistry::start();
    registry.on(Route::any(), Answer::status(403));
    let error = write(&anonymous(&registry.address()), b"x").await.unwrap_err();
    assert_eq!((error.kind(), registry.requests().len()), (Kind::Denied, 1));
}

#[tokio::test]
async fn mounts_from_anywhere() {
    let server = HoistServer::start();
    let content = noise(300_000);
    write(&anonymous(server.address()), &content).await.unwrap();
    let relay = Relay::to(server.address());
    let client = registry::Client::new(crate::support::options(), ::auth::Keychain::default());
    let other = format!("{}/other/place", relay.address()).parse::<oci::Reference>().unwrap();
    let store = client.repository(other.repository()).for_push(None);
    let opened = store.write(&descriptor(&content), None).await.unwrap();
    assert!(matches!(opened, Opened::Mounted), "{opened:?}");
    assert_eq!(words(&passed(&relay, 1)), ["POST mount"]);

    // Where that is refused, it is a session, and after a few nobody asks again.
    let registry = DockerRegistry::plain();
    let relay = Relay::to(registry.address());
    let store = anonymous(&relay.address());
    for size in 300_000..300_005 {
        write(&store, &noise(size)).await.unwrap();
    }
    let starts = words(&passed(&relay, 10));
    let starts: Vec<_> = starts.iter().step_by(2).map(String::as_str).collect();
    assert_eq!(starts, ["POST mount", "POST mount", "POST mount", "POST", "POST"]);

    // An error costs one request.
    let registry = FaultRegistry::start();
    registry.on(Route::new("POST", "*").with_query("mount"), Answer::status(400));
    let store = anonymous(&registry.address());
    for size in [300_000, 300_001] {
        write(&store, &noise(size)).await.unwrap();
    }
    assert_eq!(words(&registry.requests()), ["POST mount", "POST", "PUT digest", "POST", "PUT digest"]);
}

#[tokio::test]
async fn large_blobs_come_in_chunks() {
    let piece = Bytes::from(noise(MIB));
    let mut hasher = Algorithm::Sha256.hasher();
    for _ in 0..257 {
        hasher.update(&piece);
    }
    let blob = Descriptor::new(MediaType::OCTET_STREAM, hasher.finish(), 257 << 20);
    let (docker, server) = (DockerRegistry::plain(), HoistServer::start());
    for address in [docker.address(), server.address()] {
        let relay = Relay::to(address);
        let store = anonymous(&relay.address());
        let mut writer = writer(&store, &blob).await.unwrap();
        for _ in 0..257 {
            writer.write(piece.clone()).await.unwrap();
        }
        writer.commit().await.unwrap();
        let requests = passed(&relay, 7);
        assert_eq!(words(&requests)[1..6], ["PATCH"; 5]);
        let lengths: Vec<_> =
            requests.iter().filter_map(|request| request.header("content-length")).collect();
        assert_eq!(lengths, ["0", "67108864", "67108864", "67108864", "67108864", "1048576", "0"]);
        assert!(store.contains(&blob).await.unwrap());
    }
}

#[tokio::test]
async fn bodies_that_are_too_large_are_cut() {
    let registry = FaultRegistry::start();
    registry.speak(Dialect::BodiesUpTo(2_000_000));
    let store = anonymous(&registry.address());
    let content = noise(9_000_000);
    // 9 MB, 4 MiB, 1 MiB.
    insist(&store, &content, 3).await;
    assert_eq!(chunks(&registry), [vec![MIB; 8], vec![9_000_000 - 8 * MIB]].concat());
    assert_eq!(registry.blob(REPOSITORY, &descriptor(&content).digest.to_string()).unwrap(), content);
    // What was learned holds for the next one.
    let before = registry.requests().len();
    write(&store, &noise(2_500_000)).await.unwrap();
    assert_eq!(words(&registry.requests()[before..]), ["POST", "PATCH", "PATCH", "PATCH", "PUT digest"]);
    // Sessions that came to nothing are given back.
    assert_eq!(registry.count("DELETE", "*"), 2);

    let registry = FaultRegistry::start();
    registry.speak(Dialect::BodiesUpTo(500_000));
    let store = anonymous(&registry.address());
    let error = loop {
        let error = write(&store, &noise(1_500_000)).await.unwrap_err();
        if error.kind() != Kind::Interrupted {
            break error;
        }
    };
    assert!(error.to_string().contains("413"), "{error}");
}

#[tokio::test]
async fn chunks_are_as_long_as_is_asked_for() {
    let registry = FaultRegistry::start();
    registry.speak(Dialect::ChunksFrom(1_500_000));
    registry.on(Route::new("PUT", "*").longer_than(2_000_000), Answer::status(413));
    let store = anonymous(&registry.address());
    let content = noise(3_500_000);
    insist(&store, &content, 2).await;
    assert_eq!(chunks(&registry), [1_500_000, 1_500_000, 500_000]);
    assert_eq!(registry.blob(REPOSITORY, &descriptor(&content).digest.to_string()).unwrap(), content);
}

#[tokio::test]
async fn wrong_bytes_never_end_a_blob() {
    let (docker, server) = (DockerRegistry::plain(), HoistServer::start());
    for address in [docker.address(), server.address()] {
        for size in [10, 3_000_000] {
            let relay = Relay::to(address);
            let store = anonymous(&relay.address());
            let content = noise(size);
            let blob = descriptor(&content);
            let mut wrong = content.clone();
            wrong[size / 2] ^= 1;
            let mut writer = writer(&store, &blob).await.unwrap();
            for piece in wrong.chunks(100_000) {
                writer.write(piece.to_vec().into()).await.unwrap();
            }
            let error = writer.commit().await.unwrap_err();
            assert_eq!(error.kind(), Kind::Invalid);
            assert!(error.to_string().contains("digest mismatch"), "{error}");
            assert!(relay.bytes_up() < size as u64 + 10_000, "the last piece was held back");
            assert!(!store.contains(&blob).await.unwrap());
            assert_eq!(store.kept(&blob).await, 0);
        }
    }
}

/// docker-registry forgets a session whose request broke off, so nothing comes of a line that breaks sooner than a blob
/// ends, unless the requests end sooner still.
#[tokio::test]
async fn a_line_that_breaks_all_the_time_gets_short_requests() {
    let registry = DockerRegistry::plain();
    let relay = Relay::to(registry.address());
    relay.cut_each_after(4 << 20);
    let store = anonymous(&relay.address());
    let content = noise(24 * MIB);
    insist(&store, &content, 4).await;
    assert!(store.contains(&descriptor(&content)).await.unwrap());
    let patches = relay.requests().iter().filter(|request| request.method == "PATCH").count();
    assert!((6..=24).contains(&patches), "{patches}");
    // The others need not find out.
    let content = noise(10 * MIB);
    write(&store, &content).await.unwrap();
}

/// A proxy that takes no more than nginx does if nobody tells it otherwise.
#[tokio::test]
async fn the_smallest_limit_is_found_within_the_attempts_of_a_copy() {
    let registry = FaultRegistry::start();
    for method in ["PUT", "PATCH"] {
        registry.on(Route::new(method, "*").longer_than(1 << 20), Answer::status(413));
    }
    let store = anonymous(&registry.address());
    let content = noise(66 * MIB);
    insist(&store, &content, 4).await;
    assert_eq!(registry.blob(REPOSITORY, &descriptor(&content).digest.to_string()).unwrap(), content);
}
