//! What login and logout write, and what they leave alone.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use auth::{Credential, Error, Keychain, Locations, LoggedIn, LoggedOut, Secret, login, logout};

fn locations(home: &Path) -> Locations {
    Locations::from_lookup(|name| (name == "HOME").then(|| OsString::from(home)))
}

fn basic(user: &str, password: &str) -> Credential {
    Credential::basic(user, Secret::new(password))
}

fn file(home: &Path) -> PathBuf {
    home.join(".docker/config.json")
}

fn write(home: &Path, content: &str) {
    fs::create_dir_all(home.join(".docker")).expect("a folder");
    fs::write(file(home), content).expect("a file");
}

fn text(home: &Path) -> String {
    fs::read_to_string(file(home)).expect("docker's file")
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("a file").permissions().mode() & 0o777
}

async fn asked(home: &Path, registry: &str) -> Credential {
    let keychain = Keychain::load(&locations(home)).expect("readable files");
    keychain.credential(registry, None).await.expect("an answer")
}

#[tokio::test]
async fn a_new_file_is_docker_s() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    let kept = login(&locations(home), "ghcr.io", &basic("u", "p:w")).await.unwrap();
    assert_eq!(kept, LoggedIn { path: file(home), helper: None, key: "ghcr.io".to_owned() });
    // base64 of "u:p:w"
    assert_eq!(
        text(home),
        "{\n\t\"auths\": {\n\t\t\"ghcr.io\": {\n\t\t\t\"auth\": \"dTpwOnc=\"\n\t\t}\n\t}\n}"
    );
    assert_eq!((mode(&file(home)), mode(&home.join(".docker"))), (0o600, 0o700));
    assert_eq!(fs::read_dir(home.join(".docker")).unwrap().count(), 1, "no draft, no lock");

    for hub in ["index.docker.io", "docker.io"] {
        let kept = login(&locations(home), hub, &basic("u", hub)).await.unwrap();
        assert_eq!(kept.key, "https://index.docker.io/v1/");
        assert_eq!(asked(home, "index.docker.io").await, basic("u", hub));
    }
    let gone = logout(&locations(home), "ghcr.io").await.unwrap();
    assert_eq!(gone, LoggedOut { path: file(home), helper: None, keys: vec!["ghcr.io".to_owned()] });
    assert_eq!(asked(home, "ghcr.io").await, Credential::Anonymous);
    assert_eq!(asked(home, "docker.io").await, basic("u", "docker.io"));
}

#[tokio::test]
async fn everything_else_stays_in_its_order() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    write(
        home,
        "{\"psFormat\": \"x\", \"auths\": {\"z\": {\"auth\": \"dTpw\", \"email\": \"e\"}, \"a\": {}},\n  \
         \"later\": {\"b\": 1.10, \"a\": [ ]}, \"HttpHeaders\": {\"X\": \"1\"}}\n",
    );
    fs::set_permissions(file(home), fs::Permissions::from_mode(0o644)).unwrap();
    login(&locations(home), "h", &basic("u", "p")).await.unwrap();
    login(&locations(home), "a", &basic("u", "p")).await.unwrap();
    assert_eq!(
        text(home),
        "{\n\t\"psFormat\": \"x\",\n\t\"auths\": {\n\t\t\"z\": {\"auth\": \"dTpw\", \"email\": \"e\"},\n\t\t\"a\": \
         {\n\t\t\t\"auth\": \"dTpw\"\n\t\t},\n\t\t\"h\": {\n\t\t\t\"auth\": \"dTpw\"\n\t\t}\n\t},\n\t\"later\": \
         {\"b\": 1.10, \"a\": [ ]},\n\t\"HttpHeaders\": {\"X\": \"1\"}\n}\n"
    );
    assert_eq!(mode(&file(home)), 0o600);
}

#[tokio::test]
async fn all_kinds_are_read_back() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    let beside = |user: &str, password: &str| Credential::IdentityToken {
        username: user.to_owned(),
        password: Secret::new(password),
        token: Secret::new("t"),
    };
    for credential in [
        basic("u", ""),
        basic("ü", "p\"\\\n"),
        beside("", ""),
        beside("0000-00", ""),
        beside("u", "p"),
        Credential::RegistryToken(Secret::new("r")),
    ] {
        login(&locations(home), "h", &credential).await.unwrap();
        assert_eq!(asked(home, "h").await, credential, "{}", text(home));
    }
}

#[tokio::test]
async fn what_cannot_be_kept_changes_nothing() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    for (credential, problem) in [
        (basic("", "hunter2"), "without a user name"),
        (basic("a:b", "hunter2"), "with a ':'"),
        (Credential::Anonymous, "nothing to keep"),
    ] {
        let error = login(&locations(home), "h", &credential).await.unwrap_err();
        assert!(matches!(error, Error::Unstorable { .. }), "{error:?}");
        let shown = format!("{error} {error:?}");
        assert!(shown.contains(problem) && !shown.contains("hunter2"), "{shown}");
        assert!(!file(home).exists());
    }
    let nowhere = Locations::default();
    assert!(matches!(login(&nowhere, "h", &basic("u", "p")).await, Err(Error::NoPlace { .. })));
    assert!(matches!(logout(&nowhere, "h").await, Err(Error::NoPlace { .. })));
    for broken in ["{", "[]", "{\"auths\": [1]}", "{\"auths\": {\"h\": \"hunter2\"}}"] {
        write(home, broken);
        let error = login(&locations(home), "h", &basic("u", "p")).await.unwrap_err();
        assert!(matches!(error, Error::Parse { .. }), "{broken}: {error}");
        assert_eq!(text(home), broken);
    }
}

#[tokio::test]
async fn logout_takes_every_spelling_and_nothing_else() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    let gone = logout(&locations(home), "h").await.unwrap();
    assert_eq!(gone, LoggedOut { path: file(home), helper: None, keys: Vec::new() });
    assert!(!file(home).exists(), "nothing is made to remove something");
    write(
        home,
        r#"{"auths": {"https://h/v2/": {"auth": "dTpw"}, "h/team": {"auth": "dTpw"}, "H": {"auth": "dTpw"},
            "h:1": {"auth": "dTpw"}, "http://h": {}, "h": {"auth": "dTpw"}}}"#,
    );
    let mut gone = logout(&locations(home), "h").await.unwrap();
    gone.keys.sort();
    assert_eq!(gone.keys, ["H", "h", "http://h", "https://h/v2/"]);
    assert_eq!(
        text(home),
        "{\n\t\"auths\": {\n\t\t\"h/team\": {\"auth\": \"dTpw\"},\n\t\t\"h:1\": {\"auth\": \"dTpw\"}\n\t}\n}"
    );
    // Nothing to do is nothing written.
    let before = fs::metadata(file(home)).unwrap();
    logout(&locations(home), "h").await.unwrap();
    assert_eq!(fs::metadata(file(home)).unwrap().ino(), before.ino());
}

#[tokio::test]
async fn a_link_stays_and_its_target_changes() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    fs::create_dir_all(home.join(".docker")).unwrap();
    symlink("../dotfiles/link.json", file(home)).unwrap();
    fs::create_dir(home.join("dotfiles")).unwrap();
    symlink("real.json", home.join("dotfiles/link.json")).unwrap();
    // The target need not be there yet.
    for password in ["p", "q"] {
        login(&locations(home), "h", &basic("u", password)).await.unwrap();
        assert_eq!(asked(home, "h").await, basic("u", password));
        let real = home.join("dotfiles/real.json");
        assert!(fs::symlink_metadata(&real).unwrap().is_file());
        assert!(fs::symlink_metadata(file(home)).unwrap().is_symlink());
        assert_eq!(mode(&real), 0o600);
    }
    fs::remove_file(file(home)).unwrap();
    symlink("config.json", file(home)).unwrap();
    let error = login(&locations(home), "h", &basic("u", "p")).await.unwrap_err();
    assert!(matches!(error, Error::Read { .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn logins_at_once_lose_nothing() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().to_owned();
    let logins = (0..40).map(|number| {
        let path = path.clone();
        tokio::spawn(async move {
            let registry = format!("h{number}");
            login(&locations(&path), &registry, &basic("u", &registry)).await.unwrap();
            if number % 4 == 0 {
                logout(&locations(&path), &registry).await.unwrap();
            }
        })
    });
    for outcome in logins.collect::<Vec<_>>() {
        outcome.await.unwrap();
    }
    for number in 0..40 {
        let registry = format!("h{number}");
        let expected = if number % 4 == 0 { Credential::Anonymous } else { basic("u", &registry) };
        assert_eq!(asked(&path, &registry).await, expected, "{registry}");
    }
    assert_eq!(fs::read_dir(path.join(".docker")).unwrap().count(), 1);
}

#[tokio::test]
async fn a_write_that_fails_leaves_the_old_file() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    write(home, "{\"auths\": {}}");
    // A folder in the place of the lock stands in for a disk that takes nothing; root may write anywhere.
    fs::create_dir(home.join(".docker/config.json.lock")).unwrap();
    let error = login(&locations(home), "h", &basic("u", "hunter2")).await.unwrap_err();
    assert!(matches!(&error, Error::Write { path, .. } if *path == file(home)), "{error:?}");
    assert!(error.to_string().starts_with("writing credentials to "), "{error}");
    assert_eq!(text(home), "{\"auths\": {}}");
    fs::remove_dir(home.join(".docker/config.json.lock")).unwrap();
    fs::remove_dir_all(home.join(".docker")).unwrap();
    fs::write(home.join(".docker"), "").unwrap();
    let error = login(&locations(home), "h", &basic("u", "p")).await.unwrap_err();
    assert!(matches!(error, Error::Write { .. }), "{error:?}");
}
