//! Uploads that go on where an earlier attempt ended.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use ::auth::Keychain;
use oci::Descriptor;
use registry::RegistryStore;
use store::{Kind, Store, Writer};
use tempfile::TempDir;
use testkit::{Answer, Client, Dialect, DockerRegistry, FaultRegistry, HoistServer, Relay, Route};

use crate::support::{
    REPOSITORY, Seen, anonymous, challenge, descriptor, line, noise, options, store_of, writer,
};

const SIZE: usize = 20_000_000;

/// A store of a process of its own, as far as the folder knows.
fn store_in(address: &str, folder: &Path) -> RegistryStore {
    let mut options = options();
    options.state = Some(folder.to_owned());
    store_of(address, options, Keychain::default())
}

async fn pass(writer: &mut dyn Writer, content: &[u8]) -> Result<(), store::Error> {
    for piece in content.chunks(100_000) {
        writer.write(piece.to_vec().into()).await?;
    }
    Ok(())
}

/// Writes what is missing, from where the writer wants it; tells where that was.
async fn go_on(store: &RegistryStore, content: &[u8]) -> Result<usize, store::Error> {
    let mut writer = writer(store, &descriptor(content)).await?;
    let offset = usize::try_from(writer.offset()).unwrap();
    pass(&mut *writer, &content[offset..]).await?;
    writer.commit().await?;
    Ok(offset)
}

/// Writes the beginning, and lets the writer fall. When it returns the registry has noticed.
async fn break_off(store: &RegistryStore, client: &Client, session: &str, content: &[u8], at: usize) {
    let mut writer = writer(store, &descriptor(content)).await.unwrap();
    pass(&mut *writer, &content[..at]).await.unwrap();
    drop(writer);
    settle(client, session).await;
}

/// Waits until a session has the bytes of a request that was cut.
async fn settle(client: &Client, session: &str) {
    let patience = Instant::now() + Duration::from_secs(20);
    let mut before = None;
    loop {
        let now = client.get(session).header("range").map(str::to_owned);
        if now.is_some() && now.as_deref() != Some("0-0") && now == before {
            return;
        }
        assert!(Instant::now() < patience, "the session stays at {now:?}");
        before = now;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

const SESSION: &str = "/v2/demo/web/blobs/uploads/1";

/// A registry whose first session has the beginning of a blob, and a folder that knows of it.
async fn interrupted(content: &[u8]) -> (FaultRegistry, TempDir) {
    let (registry, folder) = (FaultRegistry::start(), tempfile::tempdir().unwrap());
    let store = store_in(&registry.address(), folder.path());
    break_off(&store, &Client::new(&registry.address()), SESSION, content, 12_000_000).await;
    assert!(store.kept(&descriptor(content)).await > 10_000_000);
    (registry, folder)
}

fn has(registry: &FaultRegistry, blob: &Descriptor) -> bool {
    registry.blob(REPOSITORY, &blob.digest.to_string()).is_some()
}

#[tokio::test]
async fn after_a_cut_within_the_process() {
    let content = noise(SIZE);
    let (server, faults) = (HoistServer::start(), FaultRegistry::start());
    for address in [server.address().to_owned(), faults.address()] {
        let relay = Relay::to(&address);
        let store = anonymous(&relay.address());
        let mut writer = writer(&store, &descriptor(&content)).await.unwrap();
        relay.cut_up_after(12_000_000);
        let outcome = async {
            pass(&mut *writer, &content).await?;
            writer.commit().await
        };
        let error = outcome.await.unwrap_err();
        assert_eq!(error.kind(), Kind::Interrupted, "{error}");
        let session = relay.requests().pop().unwrap().path;
        settle(&Client::new(&address), &session).await;
        let offset = go_on(&store, &content).await.unwrap();
        assert!(offset > 10_000_000, "{offset}");
        assert!(relay.bytes_up() < 21_000_000, "{}", relay.bytes_up());
        assert!(store.contains(&descriptor(&content)).await.unwrap());
        assert_eq!(store.kept(&descriptor(&content)).await, 0);
    }
}

#[tokio::test]
async fn after_a_sudden_death() {
    let content = noise(SIZE);
    let server = HoistServer::start();
    let (folder, found) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let relay = Relay::to(server.address());
    let store = store_in(&relay.address(), folder.path());
    let mut writer = writer(&store, &descriptor(&content)).await.unwrap();
    pass(&mut *writer, &content[..12_000_000]).await.unwrap();
    // What a process that is killed now leaves behind. Whatever this one does later is not there.
    for file in fs::read_dir(folder.path()).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), found.path().join(file.file_name())).unwrap();
    }
    drop(writer);
    let session = relay.requests().pop().unwrap().path;
    settle(&server.client(), &session).await;

    let store = store_in(&relay.address(), found.path());
    let kept = store.kept(&descriptor(&content)).await;
    assert!(kept > 8_000_000, "{kept}");
    let before = relay.bytes_up();
    let offset = go_on(&store, &content).await.unwrap();
    assert_eq!(offset as u64, kept);
    // What the registry had beyond that was hashed, and not sent.
    let sent = relay.bytes_up() - before;
    assert!(sent < (SIZE - offset) as u64, "{sent} bytes from {offset}");
    assert!(store.contains(&descriptor(&content)).await.unwrap());
    assert_eq!(fs::read_dir(found.path()).unwrap().count(), 0);
}

/// What a process leaves that is killed: the folder as it is in the midst of an upload.
#[tokio::test]
async fn an_upload_that_is_killed_early() {
    let content = noise(SIZE);
    for (sent, found) in
        [(500_000, 0..1), (3_000_000, 1_000_000..3_000_001), (9_000_000, 4_500_000..9_000_001)]
    {
        let (registry, folder, left) =
            (FaultRegistry::start(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let store = store_in(&registry.address(), folder.path());
        let mut begun = writer(&store, &descriptor(&content)).await.unwrap();
        pass(&mut *begun, &content[..sent]).await.unwrap();
        for entry in fs::read_dir(folder.path()).unwrap().map(Result::unwrap) {
            fs::copy(entry.path(), left.path().join(entry.file_name())).unwrap();
        }
        drop(begun);
        settle(&Client::new(&registry.address()), SESSION).await;
        let offset = go_on(&store_in(&registry.address(), left.path()), &content).await.unwrap();
        assert!(found.contains(&offset), "{offset} of {sent}");
        assert!(has(&registry, &descriptor(&content)));
    }
}

#[tokio::test]
async fn nothing_is_asked_to_know_what_is_kept() {
    let content = noise(SIZE);
    let (registry, folder) = interrupted(&content).await;
    let before = registry.requests().len();
    let store = store_in(&registry.address(), folder.path());
    assert!(store.kept(&descriptor(&content)).await > 10_000_000);
    assert_eq!(store.kept(&descriptor(b"other")).await, 0);
    assert_eq!(registry.requests().len(), before);
    // Another user's session is not ours.
    let mut options = options();
    options.state = Some(folder.path().to_owned());
    let other =
        store_of(&registry.address(), options, crate::support::login(&registry.address(), "user", "x"));
    assert_eq!(other.kept(&descriptor(&content)).await, 0);
}

#[tokio::test]
async fn docker_registry_begins_again_and_it_is_told() {
    // Behind the cut comes more than buffers on the way can hold, so that the writer hears of it.
    let content = noise(2 * SIZE);
    let registry = DockerRegistry::plain();
    let relay = Relay::to(registry.address());
    let mut options = options();
    let seen = Seen::observe(&mut options);
    let store = store_of(&relay.address(), options, Keychain::default());
    let mut writer = writer(&store, &descriptor(&content)).await.unwrap();
    relay.cut_up_after(12_000_000);
    pass(&mut *writer, &content).await.unwrap_err();
    drop(writer);
    // It notices the cut sooner or later; a session that it still believes in has too little.
    assert_eq!(go_on(&store, &content).await.unwrap(), 0);
    let events = seen.events();
    assert!(events.iter().any(|event| event.contains("begins again")), "{events:?}");
}

#[tokio::test]
async fn sessions_that_are_gone() {
    let content = noise(SIZE);
    for answer in [
        Answer::error(404, "BLOB_UPLOAD_UNKNOWN", "gone"),
        Answer::status(404),
        // An address that was signed for a short time.
        Answer::error(403, "DENIED", "expired"),
        Answer::status(405),
        Answer::status(204).header("Range", "5-9"),
        Answer::status(204).header("Range", "0-99999999"),
        Answer::status(204).header("Range", "0-9"),
        Answer::status(204),
    ] {
        let (registry, folder) = interrupted(&content).await;
        registry.on(Route::get(SESSION), answer.clone());
        let mut options = options();
        options.state = Some(folder.path().to_owned());
        let seen = Seen::observe(&mut options);
        let store = store_of(&registry.address(), options, Keychain::default());
        assert_eq!(go_on(&store, &content).await.unwrap(), 0, "{answer:?}");
        assert!(seen.events()[0].contains("begins again"), "{:?}", seen.events());
        assert!(has(&registry, &descriptor(&content)));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}

#[tokio::test]
async fn sessions_that_take_nothing_more() {
    let content = noise(SIZE);
    for (answer, offset) in [
        (Answer::error(404, "BLOB_UPLOAD_UNKNOWN", "gone"), 0),
        (Answer::status(403), 0),
        (Answer::error(400, "DIGEST_INVALID", "wrong"), 0),
        (Answer::status(416), 10_000_000),
        (Answer::status(503), 10_000_000),
    ] {
        let (registry, folder) = interrupted(&content).await;
        registry.on(Route::new("PATCH", "*").times(1), answer.clone());
        let store = store_in(&registry.address(), folder.path());
        let error = go_on(&store, &content).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Interrupted, "{error}");
        assert!(!has(&registry, &descriptor(&content)));
        let found = go_on(&store, &content).await.unwrap();
        assert!(if offset == 0 { found == 0 } else { found > offset }, "{answer:?} {found}");
        assert!(has(&registry, &descriptor(&content)));
    }
}

#[tokio::test]
async fn all_bytes_are_there_but_the_end() {
    let content = noise(SIZE);
    let (registry, folder) = interrupted(&content).await;
    registry.on(Route::new("PUT", "*").times(1), Answer::status(503));
    let store = store_in(&registry.address(), folder.path());
    go_on(&store, &content).await.unwrap_err();
    let before = registry.requests().len();
    let store = store_in(&registry.address(), folder.path());
    assert_eq!(go_on(&store, &content).await.unwrap(), SIZE);
    let words: Vec<_> = registry.requests()[before..].iter().map(|request| request.method.clone()).collect();
    assert_eq!(words, ["GET", "PUT"]);
    assert!(has(&registry, &descriptor(&content)));
}

#[tokio::test]
async fn wrong_bytes_after_right_ones() {
    let content = noise(SIZE);
    let blob = descriptor(&content);
    let (registry, folder) = interrupted(&content).await;
    let store = store_in(&registry.address(), folder.path());
    let mut writer = writer(&store, &blob).await.unwrap();
    let mut wrong = content[usize::try_from(writer.offset()).unwrap()..].to_vec();
    wrong[100] ^= 1;
    pass(&mut *writer, &wrong).await.unwrap();
    let error = writer.commit().await.unwrap_err();
    assert_eq!(error.kind(), Kind::Invalid);
    assert!(line(&error).contains("digest mismatch"), "{error}");
    assert!(!has(&registry, &blob));
    assert_eq!(registry.count("PUT", "/v2/*/blobs/uploads/1"), 1, "that which was cut");
    assert_eq!(registry.count("DELETE", SESSION), 1);
    assert_eq!(store.kept(&blob).await, 0);
    assert_eq!(go_on(&store, &content).await.unwrap(), 0);
}

#[tokio::test]
async fn two_processes_have_a_session_each() {
    let content = noise(SIZE);
    let blob = descriptor(&content);
    let (registry, folder) = interrupted(&content).await;
    let [one, other] = [0, 1].map(|_| store_in(&registry.address(), folder.path()));
    let first = writer(&one, &blob).await.unwrap();
    assert!(first.offset() > 10_000_000);
    assert_eq!(other.kept(&blob).await, 0);
    assert_eq!(go_on(&other, &content).await.unwrap(), 0);
    drop(first);
    assert!(go_on(&one, &content).await.unwrap() > 10_000_000);
}

#[tokio::test]
async fn what_is_abandoned_is_not_kept() {
    let content = noise(SIZE);
    let (registry, folder) = interrupted(&content).await;
    let store = store_in(&registry.address(), folder.path());
    writer(&store, &descriptor(&content)).await.unwrap().abandon().await;
    assert_eq!(registry.count("DELETE", SESSION), 1);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    assert_eq!(go_on(&store, &content).await.unwrap(), 0);
}

#[tokio::test]
async fn torn_entries_do_no_harm() {
    let content = noise(SIZE);
    // Of an entry that was noted several times only the last note can be torn, unless all are.
    for all in [true, false] {
        let (registry, folder) = interrupted(&content).await;
        for file in fs::read_dir(folder.path()).unwrap() {
            let file = fs::File::options().write(true).open(file.unwrap().path()).unwrap();
            let length = file.metadata().unwrap().len();
            file.set_len(if all { 50 } else { length - 5 }).unwrap();
        }
        let store = store_in(&registry.address(), folder.path());
        let kept = store.kept(&descriptor(&content)).await;
        let offset = go_on(&store, &content).await.unwrap();
        if all {
            assert_eq!((kept, offset), (0, 0));
        } else {
            assert!(kept > 0 && offset > 4_000_000, "{kept} {offset}");
        }
        assert!(has(&registry, &descriptor(&content)));
    }
}

#[tokio::test]
async fn a_token_that_ends_on_the_way() {
    let content = noise(SIZE);
    let registry = FaultRegistry::start();
    // In chunks of 1 MiB; a later one is refused, as if its token had ended.
    registry.on(Route::any().longer_than(5_000_000), Answer::status(413));
    let realm = format!("Bearer realm=\"http://{}/token\",service=\"s\"", registry.address());
    registry.on(Route::new("PATCH", "*").after(8).times(1), challenge(&realm));
    registry.speak(Dialect::Tokens(
        vec![r#"Bearer realm="{realm}",service="s""#],
        r#"{"token":"t0ken","expires_in":3600}"#,
    ));
    let store = anonymous(&registry.address());
    // A manifest that is not there: from here on it is known what is asked for.
    store.contains(&descriptor(b"x")).await.unwrap();
    for _ in 0..2 {
        assert_eq!(go_on(&store, &content).await.unwrap_err().kind(), Kind::Interrupted);
    }
    let tokens = registry.count("GET", "/token");
    assert_eq!(go_on(&store, &content).await.unwrap_err().kind(), Kind::Interrupted);
    let offset = go_on(&store, &content).await.unwrap();
    assert!(offset > 7_000_000, "{offset}");
    assert_eq!(registry.count("GET", "/token"), tokens + 1);
    assert!(has(&registry, &descriptor(&content)));
}
