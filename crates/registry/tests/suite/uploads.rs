//! Writing blobs.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::time::Duration;

use store::{Kind, Opened, Store};
use testkit::{Answer, DockerRegistry, FaultRegistry, Relay, Route};

use crate::raw;
use crate::support::{anonymous, descriptor, line, noise, passed, put, repository, write, writer};

#[tokio::test]
async fn the_session_s_address_is_used_as_it_is() {
    let registry = FaultRegistry::start();
    let location = "/v2/demo/web/blobs/uploads/1?_state=a%2Bb%3D&x";
    registry.on(Route::new("POST", "*"), Answer::status(202).header("Location", location));
    registry.on(Route::new("PUT", "*"), Answer::status(201));
    write(&anonymous(&registry.address()), b"content").await.unwrap();
    let last = registry.requests().pop().unwrap();
    let digest = descriptor(b"content").digest.to_string().replace(':', "%3A");
    assert_eq!(last.query, format!("_state=a%2Bb%3D&x&digest={digest}"));
    assert_eq!(last.header("content-length"), Some("7"));
}

#[tokio::test]
async fn mounts() {
    let registry = DockerRegistry::plain();
    let content = noise(100_000);
    let blob = descriptor(&content);
    write(&anonymous(registry.address()), &content).await.unwrap();
    let relay = Relay::to(registry.address());
    let origin = repository(&relay.address());
    let other = format!("{}/other/place", relay.address()).parse::<oci::Reference>().unwrap();
    let client = registry::Client::new(crate::support::options(), ::auth::Keychain::default());
    let store = client.repository(other.repository()).for_push(Some(&origin));
    assert!(matches!(store.write(&blob, Some(&origin)).await.unwrap(), Opened::Mounted));
    assert!(store.contains(&blob).await.unwrap());
    assert_eq!(passed(&relay, 2)[0].query, format!("mount={}&from=demo/web", blob.digest));
    let missing = store.write(&descriptor(b"missing"), Some(&origin)).await.unwrap();
    assert!(matches!(missing, Opened::Writer(_)), "the answer to a mount that fails is a session");
}

#[tokio::test]
async fn a_mount_that_fails_is_no_error() {
    let registry = FaultRegistry::start();
    let refusal = Answer::error(403, "DENIED", "not from there");
    registry.on(Route::new("POST", "*").times(1), refusal);
    let origin = repository(&registry.address());
    let store = anonymous(&registry.address());
    assert!(matches!(store.write(&descriptor(b"x"), Some(&origin)).await.unwrap(), Opened::Writer(_)));
}

#[tokio::test]
async fn a_dropped_writer_leaves_nothing() {
    let registry = DockerRegistry::plain();
    let store = anonymous(registry.address());
    for content in [noise(300_000), noise(10), Vec::new()] {
        let blob = descriptor(&content);
        let mut writer = writer(&store, &blob).await.unwrap();
        writer.write(content.clone().into()).await.unwrap();
        drop(writer);
        // A request of the same client, so whatever the writer had to say has been said.
        assert!(!store.contains(&blob).await.unwrap(), "{} bytes", content.len());
        write(&store, &content).await.unwrap();
        assert!(store.contains(&blob).await.unwrap());
    }
}

#[tokio::test]
async fn lengths_have_to_be_right() {
    let registry = DockerRegistry::plain();
    let store = anonymous(registry.address());
    let blob = descriptor(b"content");
    let mut short = writer(&store, &blob).await.unwrap();
    short.write("conten".into()).await.unwrap();
    let error = short.commit().await.unwrap_err();
    assert_eq!(error.kind(), Kind::Invalid);
    assert!(line(&error).ends_with(" ended after 6 of 7 bytes"), "{error}");
    let mut long = writer(&store, &blob).await.unwrap();
    let error = long.write("content!".into()).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Invalid);
    assert!(!store.contains(&blob).await.unwrap());
}

/// Answers the start of a session, and each upload with `answer` before its body was read.
fn refuses(answer: &'static str, keeps_open: bool) -> String {
    let (address, _) = raw::listen(move |mut stream| {
        loop {
            let head = raw::head(&mut stream);
            if head.starts_with("POST") {
                let start = "HTTP/1.1 202 Accepted\r\nLocation: /upload\r\nContent-Length: 0\r\n\r\n";
                stream.write_all(start.as_bytes()).unwrap();
            } else if head.starts_with("PUT") || head.starts_with("PATCH") {
                stream.write_all(answer.as_bytes()).unwrap();
                if keeps_open {
                    // Until the client hangs up; nothing is read.
                    let _ = stream.set_read_timeout(Some(Duration::from_secs(20)));
                    while stream.peek(&mut [0]).is_ok_and(|bytes| bytes > 0) {
                        std::thread::sleep(Duration::from_millis(5));
                    }
                    return;
                }
                // As servers do that want their answer read: end writing, take some more, hang up.
                stream.shutdown(Shutdown::Write).unwrap();
                let _ = stream.read(&mut vec![0; 65536]);
                return;
            } else {
                let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
                return;
            }
        }
    });
    address
}

#[tokio::test]
async fn a_refusal_in_the_middle_gives_its_reason() {
    for keeps_open in [false, true] {
        for (answer, kind, reason) in [
            (
                "HTTP/1.1 413 Payload Too Large\r\nContent-Length: 66\r\n\r\n\
                 {\"errors\":[{\"code\":\"SIZE_INVALID\",\"message\":\"more than we take\"}]}\n",
                // In smaller pieces it may be taken.
                Kind::Interrupted,
                "SIZE_INVALID: more than we take",
            ),
            ("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n", Kind::Denied, "403 Forbidden"),
            (
                "HTTP/1.1 429 Slow Down\r\nContent-Length: 0\r\n\r\n",
                Kind::Interrupted,
                "429 Too Many Requests",
            ),
        ] {
            let store = anonymous(&refuses(answer, keeps_open));
            let mut error = write(&store, &vec![7; 30_000_000]).await.unwrap_err();
            // Where the server hangs up while bytes are on their way, its reset may overtake its answer (RFC 9112,
            // section 9.6). Then it is worth another attempt, and that one has the answer.
            for _ in 0..60 {
                if line(&error).contains(reason) {
                    break;
                }
                assert!(!keeps_open && error.kind() == Kind::Interrupted, "{error}");
                error = write(&store, &vec![7; 30_000_000]).await.unwrap_err();
            }
            assert!(line(&error).contains(reason), "{keeps_open} {error}");
            assert_eq!(error.kind(), kind, "{error}");
        }
    }
}

#[tokio::test]
async fn a_registry_that_takes_nothing_is_given_up() {
    let (address, _) = raw::listen(|mut stream| {
        loop {
            let head = raw::head(&mut stream);
            if head.starts_with("PUT") {
                // Silent until the client hangs up.
                std::thread::sleep(Duration::from_secs(20));
                return;
            }
            if !head.starts_with("POST") {
                let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
                return;
            }
            stream.write_all(b"HTTP/1.1 202 Accepted\r\nLocation: /u\r\nContent-Length: 0\r\n\r\n").unwrap();
        }
    });
    let error = write(&anonymous(&address), &vec![7; 30_000_000]).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Interrupted);
    assert!(line(&error).contains("the registry took nothing for 0.3 s"), "{error}");
}

#[tokio::test]
async fn a_cut_upload_may_be_tried_again() {
    let registry = DockerRegistry::plain();
    let relay = Relay::to(registry.address());
    let store = anonymous(&relay.address());
    let content = noise(3_000_000);
    // The session's start is short.
    let mut writer = writer(&store, &descriptor(&content)).await.unwrap();
    relay.cut_up_after(1_000_000);
    let outcome = async {
        for piece in content.chunks(100_000) {
            writer.write(piece.to_vec().into()).await?;
        }
        writer.commit().await
    };
    let error = outcome.await.unwrap_err();
    assert_eq!(error.kind(), Kind::Interrupted, "{error}");
    line(&error);
    write(&store, &content).await.unwrap();
}

#[tokio::test]
async fn faults_of_sessions() {
    for (fault, kind) in [
        (Answer::error(404, "BLOB_UPLOAD_UNKNOWN", "gone"), Kind::Interrupted),
        (Answer::error(400, "DIGEST_INVALID", "wrong"), Kind::Invalid),
        (Answer::status(503), Kind::Interrupted),
        (Answer::status(416), Kind::Interrupted),
    ] {
        let registry = FaultRegistry::start();
        registry.on(Route::new("PUT", "*").times(1), fault.clone());
        let store = anonymous(&registry.address());
        let error = write(&store, &noise(300_000)).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        write(&store, &noise(300_000)).await.unwrap();
    }
    let registry = FaultRegistry::start();
    registry.on(Route::new("POST", "*"), Answer::stored().without_header("Location"));
    let error = write(&anonymous(&registry.address()), &noise(300_000)).await.unwrap_err();
    assert!(line(&error).contains("no Location"), "{error}");
    let registry = FaultRegistry::start();
    registry.on(Route::new("POST", "*"), Answer::status(202).header("Location", "file:///etc/passwd"));
    let error = write(&anonymous(&registry.address()), b"x").await.unwrap_err();
    assert!(line(&error).contains("refused"), "{error}");
}

#[tokio::test]
async fn connections_that_end_while_idle_do_no_harm() {
    // Each answer promises a connection that lasts, and then it ends.
    let (address, _) = raw::listen(|mut stream| {
        let head = raw::head(&mut stream);
        let answer: &[u8] = match head.split(' ').next() {
            Some("POST") => b"HTTP/1.1 202 Accepted\r\nLocation: /u\r\nContent-Length: 0\r\n\r\n",
            Some("PUT") => {
                let _ = stream.read_exact(&mut [0; 1000]);
                b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n"
            }
            _ => b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n",
        };
        let _ = stream.write_all(answer);
    });
    let store = anonymous(&address);
    for _ in 0..20 {
        match write(&store, &noise(1000)).await {
            Ok(()) => {}
            // The bytes were on their way already: whoever copies begins anew.
            Err(error) => assert_eq!(error.kind(), Kind::Interrupted, "{error}"),
        }
    }
}

#[tokio::test]
async fn what_is_there_is_found() {
    let registry = FaultRegistry::start();
    let blob = put(&registry, b"content");
    let store = anonymous(&registry.address());
    assert!(store.contains(&blob).await.unwrap());
    assert!(!store.contains(&descriptor(b"other")).await.unwrap());
    assert_eq!(store.resolve_blob(&blob.digest).await.unwrap().size, 7);
}
