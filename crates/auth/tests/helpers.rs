//! Real helpers: shell scripts that answer, fail, hang and print garbage.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use auth::{
    Credential, DockerConfig, Error, Found, Keychain, Locations, LoggedIn, Origin, Secret, login, logout,
};
use tempfile::TempDir;

const CONFIG: &str = "/c/config.json";

/// A folder of helpers.
struct Helpers(TempDir);

impl Helpers {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Adds a helper of a shell script; `$DIR` in it is the folder.
    fn add(self, name: &str, script: &str) -> Self {
        let script = format!("#!/bin/sh\nDIR='{}'\n{script}\n", self.0.path().display());
        self.install(name, &script)
    }

    /// Adds an executable.
    fn install(self, name: &str, content: &str) -> Self {
        let draft = self.path("draft");
        fs::write(&draft, content).expect("a script");
        // Another process writes the file that is run: a test that starts its helper at this moment would inherit our
        // handle for writing, and the kernel refuses to run what is open for writing.
        let to = self.path(&format!("docker-credential-{name}"));
        let status = Command::new("install").args(["-m", "755"]).args([draft, to]).status();
        assert!(status.expect("install").success());
        self
    }

    fn keychain(&self, config: &str) -> Keychain {
        let config = DockerConfig::parse(Path::new(CONFIG), config.as_bytes()).expect("a configuration");
        Keychain::new(config, vec![PathBuf::from("/nonexistent"), self.0.path().to_owned()])
    }

    /// The lines that the helpers wrote into `log`.
    fn log(&self) -> Vec<String> {
        let log = fs::read_to_string(self.path("log")).unwrap_or_default();
        log.lines().map(str::to_owned).collect()
    }

    fn fifo(&self) -> PathBuf {
        let fifo = self.path("fifo");
        assert!(Command::new("mkfifo").arg(&fifo).status().expect("mkfifo").success());
        fifo
    }
}

fn basic(user: &str, password: &str) -> Credential {
    Credential::basic(user, Secret::new(password))
}

#[tokio::test]
async fn a_helper_is_asked_by_docker_s_protocol() {
    let helpers = Helpers::new().add(
        "echo",
        r#"printf '{"ServerURL": "ignored", "Username": "%s", "Secret": "<%s>"}' "$*" "$(cat)""#,
    );
    let keychain = helpers.keychain(
        r#"{"credsStore": "echo", "credHelpers": {"own.example/team": "echo", "docker.io/team": "echo"}}"#,
    );
    for (registry, repository, asked) in [
        ("ghcr.io", Some("org/app"), "ghcr.io"),
        ("localhost:5000", None, "localhost:5000"),
        ("index.docker.io", Some("library/nginx"), "https://index.docker.io/v1/"),
        ("own.example", Some("team/app"), "own.example/team"),
        ("own.example", Some("teams"), "own.example"),
        ("index.docker.io", Some("team/app"), "docker.io/team"),
    ] {
        let found = keychain.find(registry, repository).await.unwrap();
        let origin =
            Origin::Helper { path: CONFIG.into(), name: "echo".to_owned(), server: asked.to_owned() };
        assert_eq!(found, Found { credential: basic("get", &format!("<{asked}>")), origin }, "{registry}");
    }
}

#[tokio::test]
async fn answers_become_credentials() {
    for (answer, expected) in [
        (r#"{"Username":"u","Secret":"hunter2"}"#, basic("u", "hunter2")),
        (r#"{"username":"u","secret":"p","Extra":{}}"#, basic("u", "p")),
        (r#"{"Username":"<token>","Secret":"refresh"}"#, Credential::identity_token(Secret::new("refresh"))),
        (r#"{"Username":"","Secret":"p"}"#, basic("", "p")),
        (r#"{"Username":"","Secret":""}"#, Credential::Anonymous),
        (r#"{"Username":"<token>","Secret":""}"#, Credential::Anonymous),
        ("{}", Credential::Anonymous),
    ] {
        // The question is not read: an answer counts all the same.
        let helpers = Helpers::new().add("fixed", &format!("exec <&-; echo '{answer}'"));
        let keychain = helpers.keychain(r#"{"credsStore": "fixed"}"#);
        assert_eq!(keychain.credential("h", None).await.unwrap(), expected, "{answer}");
        let shown = format!("{keychain:?} {:?}", keychain.find("h", None).await);
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}

#[tokio::test]
async fn a_helper_without_an_answer_leaves_it_to_the_file() {
    let helpers = Helpers::new()
        .add("none", r#"cat >> "$DIR/log"; echo credentials not found in native keychain; exit 1"#);
    let keychain = helpers.keychain(
        r#"{"credsStore": "none", "auths": {"filed": {"username": "u", "password": "p"}, "hollow": {}}}"#,
    );
    assert_eq!(keychain.credential("filed", Some("a")).await.unwrap(), basic("u", "p"));
    assert_eq!(keychain.credential("hollow", Some("a")).await.unwrap(), Credential::Anonymous);
    let unknown = keychain.find("unknown", None).await.unwrap();
    assert_eq!(unknown, Found { credential: Credential::Anonymous, origin: Origin::Nowhere });
    assert_eq!(helpers.log().concat(), "filedhollowunknown");
}

#[tokio::test]
async fn the_most_specific_answers_and_a_helper_before_its_entry() {
    let helpers = Helpers::new()
        .add("own", r#"echo '{"Username":"own","Secret":"p"}'"#)
        .add("all", r#"echo '{"Username":"all","Secret":"p"}'"#);
    let keychain = helpers.keychain(
        r#"{"credsStore": "all", "credHelpers": {"https://h": "own", "bare": ""}, "auths": {
            "h": {"username": "file", "password": "p"},
            "h/team": {"username": "team", "password": "p"},
            "bare": {"username": "file", "password": "p"},
            "x": {"username": "file", "password": "p"}
        }}"#,
    );
    for (registry, repository, user) in [
        ("h", None, "own"),
        ("h", Some("app"), "own"),
        ("h", Some("team/app"), "team"),
        // An empty helper turns the common one off.
        ("bare", Some("app"), "file"),
        ("x", Some("app"), "all"),
    ] {
        let credential = keychain.credential(registry, repository).await.unwrap();
        assert_eq!(credential, basic(user, "p"), "{registry} {repository:?}");
    }
}

#[tokio::test]
async fn a_broken_helper_is_an_error_that_hides_its_answer() {
    let helpers = Helpers::new()
        .add("fails", r"echo hunter2; printf '\n\033[31mno agent\033[0m\nmore\n' >&2; exit 7")
        .add("quiet", r#"echo '{"Username": "u", "Secret": "hunter2"}'; exit 1"#)
        .add("locked", "echo 'pass not initialized'; exit 1")
        .add("garbage", "echo hunter2")
        .add("typed", r#"echo '{"Username": "u", "Secret": ["hunter2"]}'"#)
        .add("empty", "true")
        .add("killed", "kill -9 $$")
        .add("flood", "head -c 3000000 /dev/zero; head -c 3000000 /dev/zero >&2");
    fs::write(helpers.path("docker-credential-plain"), "not executable").unwrap();
    let missing = "docker-credential-absent, named in /c/config.json, is not on the search path";
    for (name, expected) in [
        ("absent", missing.to_owned()),
        ("plain", missing.replace("absent", "plain")),
        ("../fails", missing.replace("absent", "../fails")),
        (
            "fails",
            "asking docker-credential-fails for credentials of h: it failed with exit status: 7 \
             (it says: [31mno agent[0m)"
                .to_owned(),
        ),
        ("quiet", "it failed with exit status: 1".to_owned()),
        ("locked", "it failed with exit status: 1 (it says: pass not initialized)".to_owned()),
        ("garbage", "its answer is not the JSON of a credential".to_owned()),
        ("typed", "its answer is not the JSON of a credential".to_owned()),
        ("empty", "its answer is not the JSON of a credential".to_owned()),
        ("killed", "it failed with signal: 9 (SIGKILL)".to_owned()),
        ("flood", "its answer is not the JSON of a credential".to_owned()),
    ] {
        let keychain = helpers.keychain(&format!(r#"{{"credsStore": "{name}", "auths": {{"h": {{}}}}}}"#));
        let error = keychain.credential("h", None).await.unwrap_err();
        assert!(error.to_string().ends_with(&expected), "{name}: {error}");
        let shown = format!("{error} {error:?} {keychain:?}");
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}

#[tokio::test]
async fn the_file_s_own_entry_answers_where_its_helper_is_broken() {
    let helpers = Helpers::new().add("fails", "exit 7");
    // A file that came from another machine names that machine's helper.
    for helper in [
        r#""credsStore": "desktop""#,
        r#""credsStore": "fails""#,
        r#""credHelpers": {"h": "desktop", "h/team": "fails"}"#,
    ] {
        let keychain = helpers.keychain(&format!(
            r#"{{{helper}, "auths": {{"h": {{"auth": "dTpw"}}, "h/team": {{"auth": "dTpw"}}}}}}"#
        ));
        for repository in [None, Some("team/app")] {
            let found = keychain.find("h", repository).await.unwrap();
            assert_eq!(found.credential, basic("u", "p"), "{helper}");
            assert!(matches!(found.origin, Origin::File { .. }), "{helper}: {:?}", found.origin);
        }
    }
}

#[tokio::test]
async fn a_helper_that_cannot_start_says_why() {
    let helpers = Helpers::new().install("odd", "#!/nonexistent/interpreter\n");
    let error = helpers.keychain(r#"{"credsStore": "odd"}"#).credential("h", None).await.unwrap_err();
    assert!(matches!(error, Error::HelperFailed { .. }), "{error}");
    assert!(error.to_string().contains("it cannot be started: "), "{error}");
}

#[tokio::test]
async fn a_helper_has_a_time_limit() {
    let helpers = Helpers::new().add("hangs", "exec sleep 60");
    let limit = Duration::from_millis(50);
    let keychain = helpers.keychain(r#"{"credsStore": "hangs"}"#).with_helper_timeout(limit);
    let error = keychain.credential("h", None).await.unwrap_err();
    assert!(matches!(error, Error::HelperTimeout { limit: had, .. } if had == limit), "{error}");
    assert_eq!(
        error.to_string(),
        "asking docker-credential-hangs for credentials of h: no answer within 50ms"
    );
}

#[tokio::test]
async fn an_agent_left_behind_is_not_waited_for() {
    let helpers = Helpers::new().add(
        "agent",
        r#"(read -r line < "$DIR/fifo") > "$DIR/log" &
        echo '{"Username":"u","Secret":"p"}'"#,
    );
    let fifo = helpers.fifo();
    let keychain =
        helpers.keychain(r#"{"credsStore": "agent"}"#).with_helper_timeout(Duration::from_secs(10));
    let answer = keychain.credential("h", None).await;
    fs::write(fifo, "end\n").unwrap();
    assert_eq!(answer.unwrap(), basic("u", "p"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_helper_dies_with_its_question() {
    let helpers = Helpers::new().add("hangs", r#"exec 3> "$DIR/fifo"; echo >&3; exec sleep 60"#);
    let fifo = helpers.fifo();
    let keychain = helpers.keychain(r#"{"credsStore": "hangs"}"#);
    let asking = tokio::spawn(async move { keychain.credential("h", None).await });
    let begun = Instant::now();
    tokio::task::spawn_blocking(move || {
        let mut alive = File::open(fifo).unwrap();
        alive.read_exact(&mut [0]).unwrap();
        asking.abort();
        // The end comes when the last process that holds the fifo is gone.
        assert_eq!(alive.read_to_end(&mut Vec::new()).unwrap(), 0);
    })
    .await
    .unwrap();
    assert!(begun.elapsed() < Duration::from_secs(50), "the helper ran to its end");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_questions_are_one_call() {
    let helpers = Helpers::new().add(
        "counts",
        r#"server=$(cat); echo "$server" >> "$DIR/log"; echo '{"Username":"u","Secret":"p"}'"#,
    );
    let keychain = helpers.keychain(r#"{"credsStore": "counts"}"#);
    let ask = |registry: &'static str, number: usize| {
        let keychain = keychain.clone();
        tokio::spawn(async move { keychain.credential(registry, Some(&format!("team/app{number}"))).await })
    };
    let questions: Vec<_> =
        (0..50).map(|number| ask(if number % 5 == 0 { "docker.io" } else { "h" }, number)).collect();
    for question in questions {
        assert_eq!(question.await.unwrap().unwrap(), basic("u", "p"));
    }
    keychain.credential("h", None).await.unwrap();
    keychain.credential("index.docker.io", None).await.unwrap();
    let mut log = helpers.log();
    log.sort();
    assert_eq!(log, ["h", "https://index.docker.io/v1/"]);
}

#[tokio::test]
async fn a_failure_goes_to_all_who_wait_and_is_not_kept() {
    let helpers = Helpers::new().add(
        "waits",
        r#"echo call >> "$DIR/log"; read -r line < "$DIR/fifo"; [ "$line" = good ] || exit 1
        echo '{"Username":"u","Secret":"p"}'"#,
    );
    let fifo = helpers.fifo();
    let release = |line: &'static str| {
        let fifo = fifo.clone();
        thread::spawn(move || {
            let mut fifo = File::options().write(true).open(fifo).unwrap();
            fifo.write_all(line.as_bytes()).unwrap();
        });
    };
    let keychain = helpers.keychain(r#"{"credsStore": "waits"}"#);
    let started = Arc::new(AtomicUsize::new(0));
    let questions: Vec<_> = (0..50)
        .map(|_| {
            let (keychain, started) = (keychain.clone(), Arc::clone(&started));
            tokio::spawn(async move {
                started.fetch_add(1, Ordering::Relaxed);
                keychain.credential("h", None).await
            })
        })
        .collect();
    // On one thread, who has started has come to wait by the time that we go on.
    while started.load(Ordering::Relaxed) < 50 {
        tokio::task::yield_now().await;
    }
    release("bad\n");
    for question in questions {
        assert!(matches!(question.await.unwrap(), Err(Error::HelperFailed { .. })));
    }
    assert_eq!(helpers.log().len(), 1);
    release("good\n");
    assert_eq!(keychain.credential("h", None).await.unwrap(), basic("u", "p"));
    assert_eq!(keychain.credential("h", None).await.unwrap(), basic("u", "p"));
    assert_eq!(helpers.log().len(), 2);
}

/// A helper that keeps what it is told in a file, and says what it was asked.
const KEEPS: &str = r#"input=$(cat); echo "$1 $input" >> "$DIR/log"
case $1 in
    store) echo "$input" > "$DIR/kept" ;;
    erase) [ -e "$DIR/kept" ] || { echo credentials not found in native keychain; exit 1; }; rm "$DIR/kept" ;;
    get) cat "$DIR/kept" 2> /dev/null || { echo credentials not found in native keychain; exit 1; } ;;
esac"#;

/// Docker's file in the folder of the helpers, which are on the search path.
fn locations(helpers: &Helpers, config: &str) -> Locations {
    let path = helpers.path("config.json");
    fs::write(&path, config).expect("a configuration");
    Locations { docker: Some(path), search_path: vec![helpers.0.path().to_owned()], ..Locations::default() }
}

#[tokio::test]
async fn login_and_logout_go_through_the_helper() {
    let helpers = Helpers::new().add("keeps", KEEPS);
    for (config, registry, asked) in [
        (r#"{"credsStore": "keeps", "auths": {"h": {"auth": "dTpw"}}}"#, "h", "h"),
        (r#"{"credsStore": "absent", "credHelpers": {"h": "keeps"}}"#, "h", "h"),
        (r#"{"credsStore": "keeps"}"#, "docker.io", "https://index.docker.io/v1/"),
    ] {
        let locations = locations(&helpers, config);
        let path = helpers.path("config.json");
        let kept = login(&locations, registry, &basic("u", "p\"ü")).await.unwrap();
        let (helper, key) = (Some("keeps".to_owned()), asked.to_owned());
        assert_eq!(kept, LoggedIn { path: path.clone(), helper: helper.clone(), key });
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains(&format!("\"{asked}\": {{}}")) && !text.contains("dTpw"), "{text}");
        let keychain = Keychain::load(&locations).unwrap();
        assert_eq!(keychain.credential(registry, None).await.unwrap(), basic("u", "p\"ü"));
        let token = Credential::identity_token(Secret::new("t"));
        login(&locations, registry, &token).await.unwrap();
        let keychain = Keychain::load(&locations).unwrap();
        assert_eq!(keychain.credential(registry, None).await.unwrap(), token);
        for _ in 0..2 {
            let gone = logout(&locations, registry).await.unwrap();
            assert_eq!(gone.helper, helper, "what it has not it has forgotten");
        }
        let file: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        assert_eq!(file["auths"].get(asked), None, "{file}");
        let log = helpers.log();
        let erase = format!("erase {asked}");
        let store = format!(r#"store {{"ServerURL":"{asked}","Username":"u","Secret":"p\"ü"}}"#);
        assert!(log.contains(&store) && log.contains(&erase), "{log:?}");
    }
    let token = Credential::RegistryToken(Secret::new("t"));
    let refused = login(&locations(&helpers, r#"{"credsStore": "keeps"}"#), "h", &token).await.unwrap_err();
    assert!(matches!(refused, Error::Unstorable { .. }), "{refused}");
}

#[tokio::test]
async fn a_helper_that_does_not_keep_leaves_the_file_alone() {
    let helpers = Helpers::new()
        .add("stdout", "cat > /dev/null; echo 'no D-Bus here'; exit 1")
        .add("stderr", "cat > /dev/null; echo hunter2; echo 'no agent' >&2; exit 2")
        .add("echoes", "cat; exit 1");
    for (name, says) in
        [("stdout", " (it says: no D-Bus here)"), ("stderr", " (it says: no agent)"), ("echoes", "")]
    {
        let config = format!(r#"{{"credsStore": "{name}", "auths": {{"h": {{"auth": "dTpw"}}}}}}"#);
        let locations = locations(&helpers, &config);
        let error = login(&locations, "h", &basic("u", "hunter2")).await.unwrap_err();
        let text = error.to_string();
        let begins =
            format!("keeping credentials of h in docker-credential-{name}: it failed with exit status: ");
        assert!(text.starts_with(&begins) && text.ends_with(says), "{text}");
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
        if name != "echoes" {
            let text = logout(&locations, "h").await.unwrap_err().to_string();
            assert!(text.starts_with("erasing credentials of h") && text.ends_with(says), "{text}");
        }
        assert_eq!(fs::read_to_string(helpers.path("config.json")).unwrap(), config);
    }
    let absent = locations(&helpers, r#"{"credsStore": "absent"}"#);
    let text = login(&absent, "h", &basic("u", "p")).await.unwrap_err().to_string();
    assert!(text.starts_with("keeping credentials of h: docker-credential-absent, named in "), "{text}");
}

#[tokio::test]
async fn hoist_s_own_helper_is_never_asked() {
    let helpers = Helpers::new().add("hoist", r#"echo asked >> "$DIR/log"; exit 1"#);
    for config in [r#"{"credsStore": "hoist"}"#, r#"{"credHelpers": {"h": "hoist", "h/team": "hoist"}}"#] {
        let locations = locations(&helpers, config);
        let kept = login(&locations, "h", &basic("u", "p")).await.unwrap();
        assert_eq!(kept.helper, None);
        let keychain = Keychain::load(&locations).unwrap();
        assert_eq!(keychain.credential("h", Some("team/app")).await.unwrap(), basic("u", "p"));
        assert_eq!(logout(&locations, "h").await.unwrap().keys, ["h"]);
        assert!(helpers.log().is_empty());
    }
}

#[test]
fn a_keychain_goes_between_threads() {
    fn check<T: Clone + Send + Sync + 'static>(_: &T) {}
    fn check_future<T: Send>(_: &T) {}
    let keychain = Keychain::default();
    check(&keychain);
    check_future(&keychain.credential("h", None));
}
