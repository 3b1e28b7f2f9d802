//! Blobs whose bytes do not come as they should.

use futures_util::TryStreamExt;
use store::{Kind, Store};
use testkit::{Answer, DockerRegistry, FaultRegistry, Relay, Route};

use crate::support::{anonymous, line, noise, passed, put, read, write};

/// Ranges that were asked for, in order.
fn ranges(requests: &[testkit::Request]) -> Vec<Option<&str>> {
    requests.iter().map(|request| request.header("range")).collect()
}

#[tokio::test]
async fn a_cut_body_goes_on_where_it_was_cut() {
    let registry = DockerRegistry::plain();
    let content = noise(3_000_000);
    write(&anonymous(registry.address()), &content).await.unwrap();
    let relay = Relay::to(registry.address());
    let store = anonymous(&relay.address());
    relay.cut_down_after(1_000_000);
    assert_eq!(read(&store, &crate::support::descriptor(&content)).await.unwrap(), content);
    let requests = passed(&relay, 2);
    let range = requests[1].header("range").unwrap();
    let start: u64 = range.strip_prefix("bytes=").unwrap().strip_suffix("-2999999").unwrap().parse().unwrap();
    assert!((900_000..1_000_000).contains(&start), "{range}");
    assert!(relay.bytes_down() < 3_010_000, "no byte comes twice");
}

#[tokio::test]
async fn faults_on_the_way() {
    let content = noise(500_000);
    let tail = Some("bytes=100000-499999");
    for (fault, expected) in [
        (Answer::stored().cut_after(100_000), vec![None, tail]),
        (Answer::stored().silent_after(100_000), vec![None, tail]),
        (Answer::stored().silent_after(0), vec![None, None]),
        (Answer::stored().no_length().cut_after(100_000), vec![None, tail]),
    ] {
        for knows_ranges in [true, false] {
            let registry = FaultRegistry::start();
            let blob = put(&registry, &content);
            registry.on(Route::get("*").times(1), fault.clone());
            if !knows_ranges {
                registry.on(Route::any(), Answer::stored().ignore_ranges());
            }
            let store = anonymous(&registry.address());
            assert!(read(&store, &blob).await.unwrap() == content, "{fault:?}");
            assert_eq!(ranges(&registry.requests()), expected, "{fault:?}");
        }
    }
}

#[tokio::test]
async fn every_piece_may_break() {
    let registry = FaultRegistry::start();
    let content = noise(500_000);
    let blob = put(&registry, &content);
    registry.on(Route::any().times(4), Answer::stored().cut_after(100_000));
    assert!(read(&anonymous(&registry.address()), &blob).await.unwrap() == content);
    assert_eq!(registry.requests().len(), 5, "progress renews the patience");
}

#[tokio::test]
async fn a_body_that_never_goes_on_is_given_up() {
    let registry = FaultRegistry::start();
    let blob = put(&registry, &noise(500_000));
    registry.on(Route::get("*").times(1), Answer::stored().cut_after(100_000));
    registry.on(Route::any(), Answer::stored().cut_after(0));
    let error = read(&anonymous(&registry.address()), &blob).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Interrupted);
    let line = line(&error);
    assert!(line.contains("the body broke off after 100000 of 500000 bytes: "), "{line}");
    assert!(line.contains("(after 3 attempts in 0."), "{line}");
    assert_eq!(line.matches("broke off").count(), 1, "{line}");
    assert!(!line.contains("error decoding"), "{line}");
}

#[tokio::test]
async fn parts_are_exactly_what_was_asked_for() {
    let content = noise(500_000);
    for knows_ranges in [true, false] {
        let registry = FaultRegistry::start();
        let blob = put(&registry, &content);
        if !knows_ranges {
            registry.on(Route::any(), Answer::stored().ignore_ranges());
        }
        let store = anonymous(&registry.address());
        for range in [0..1, 0..499_999, 7..300_001, 100..100, 499_999..500_000] {
            let asked = range.start as u64..range.end as u64;
            let pieces: Vec<_> = store.read(&blob, asked).await.unwrap().try_collect().await.unwrap();
            assert!(pieces.concat() == content[range.clone()], "{range:?} {knows_ranges}");
        }
    }
}

#[tokio::test]
async fn wrong_content_never_passes() {
    let content = noise(500_000);
    for (fault, reason) in [
        (Answer::stored().corrupt(), "digest mismatch"),
        (Answer::status(200).body(noise(500_001)), "sends 500001 bytes, the descriptor says 500000"),
        (Answer::status(200).body(noise(500_001)).no_length(), "more than the 500000 bytes"),
        (Answer::status(200).body("short"), "sends 5 bytes, the descriptor says 500000"),
        (Answer::status(204), "unexpected status code 204"),
        (Answer::stored().claim_length(400_000), "sends 400000 bytes"),
        (Answer::status(206).body("xx"), "asked for bytes from 0"),
    ] {
        let registry = FaultRegistry::start();
        let blob = put(&registry, &content);
        registry.on(Route::any(), fault.clone());
        let store = anonymous(&registry.address());
        let mut passed = 0;
        let outcome = async {
            let mut stream = store::verified(store.read(&blob, 0..blob.size).await?, &blob);
            while let Some(bytes) = stream.try_next().await? {
                passed += bytes.len();
            }
            Ok::<_, store::Error>(())
        };
        let error = outcome.await.unwrap_err();
        assert!(line(&error).contains(reason), "{fault:?}: {error}");
        assert!(passed < 500_000, "the last piece was handed on");
    }
}

#[tokio::test]
async fn a_signed_address_is_good_for_all_parts_until_it_is_over() {
    for over in [false, true] {
        let (registry, bucket) = (FaultRegistry::start(), FaultRegistry::start());
        let content = noise(500_000);
        let blob = put(&bucket, &content);
        for turn in 1..=2 {
            let signed = format!("http://{}/v2/demo/web/blobs/{}?sig={turn}", bucket.address(), blob.digest);
            registry.on(Route::get("/v2/*/blobs/*").times(1), Answer::redirect(&signed));
        }
        bucket.on(Route::get("*").times(1), Answer::stored().cut_after(100_000));
        if over {
            bucket.on(Route::get("*").times(1), Answer::status(403));
        }
        let store = anonymous(&registry.address());
        assert!(read(&store, &blob).await.unwrap() == content);
        let part: Vec<_> = store.read(&blob, 5..9).await.unwrap().try_collect().await.unwrap();
        assert_eq!(part.concat(), content[5..9]);
        let queries: Vec<String> = bucket.requests().into_iter().map(|request| request.query).collect();
        let (rest, part) = (Some("bytes=100000-499999"), Some("bytes=5-8"));
        if over {
            assert_eq!(queries, ["sig=1", "sig=1", "sig=2", "sig=2"]);
            assert_eq!(ranges(&bucket.requests()), [None, rest, rest, part]);
        } else {
            assert_eq!(queries, ["sig=1"; 3]);
            assert_eq!(ranges(&bucket.requests()), [None, rest, part]);
        }
        assert_eq!(registry.requests().len(), if over { 2 } else { 1 });
    }
}

#[tokio::test]
async fn a_range_that_cannot_be_had() {
    let registry = FaultRegistry::start();
    let blob = put(&registry, &noise(500_000));
    registry.on(Route::get("*").times(1), Answer::stored().cut_after(100_000));
    registry.on(Route::any(), Answer::status(416));
    let error = read(&anonymous(&registry.address()), &blob).await.unwrap_err();
    assert!(line(&error).contains("broke off after 100000 of 500000"), "{error}");
    let part = anonymous(&registry.address()).read(&blob, 5..9).await.err().unwrap();
    assert!(line(&part).contains("416 Range Not Satisfiable"), "{part}");
}
