//! Which file is read, and what a broken one says.

use std::ffi::OsString;
use std::fs;
use std::path::Path;

use auth::{Credential, DockerConfig, Error, Found, Keychain, Locations, Origin, Secret};
use proptest::prelude::*;

const PASSWORD: &str = "hunter2";

fn login(user: &str) -> String {
    format!(r#"{{"auths": {{"h": {{"username": "{user}", "password": "{PASSWORD}"}}}}}}"#)
}

fn locations(home: &Path, more: &[(&str, &Path)]) -> Locations {
    Locations::from_lookup(|name| {
        let set = more.iter().find(|(key, _)| *key == name).map(|(_, path)| *path);
        set.or((name == "HOME").then_some(home)).map(OsString::from)
    })
}

/// The user of registry `h`, or `-`.
fn user(locations: &Locations) -> String {
    let keychain = Keychain::load(locations).expect("readable files");
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    match runtime.block_on(keychain.credential("h", None)).expect("an answer") {
        Credential::Basic { username, .. } => username,
        _ => "-".to_owned(),
    }
}

fn write(root: &Path, path: &str, content: &str) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().expect("a folder")).expect("a new folder");
    fs::write(path, content).expect("a new file");
}

#[test]
fn the_first_file_with_an_answer_gives_it() {
    let root = tempfile::tempdir().unwrap();
    let (home, docker) = (root.path().join("home"), root.path().join("docker"));
    let (runtime, explicit) = (root.path().join("run"), root.path().join("explicit.json"));
    let all: &[(&str, &Path)] =
        &[("DOCKER_CONFIG", &docker), ("REGISTRY_AUTH_FILE", &explicit), ("XDG_RUNTIME_DIR", &runtime)];
    let at = |more| user(&locations(&home, more));
    assert_eq!(at(all), "-");
    write(root.path(), "home/.dockercfg", r#"{"https://h": {"auth": "b2xkOnBhc3N3b3Jk", "email": "o@h"}}"#);
    assert_eq!(at(all), "old");
    write(root.path(), "home/.config/containers/auth.json", &login("settings"));
    assert_eq!(at(all), "settings");
    write(root.path(), "run/containers/auth.json", &login("runtime"));
    assert_eq!(at(all), "runtime");
    write(root.path(), "explicit.json", &login("explicit"));
    assert_eq!(at(all), "explicit");
    // A file at home does not hide podman's, when docker's was said to be elsewhere and is not.
    write(root.path(), "home/.docker/config.json", &login("home"));
    assert_eq!(at(all), "explicit");
    assert_eq!(at(&[]), "home");
    write(root.path(), "docker/config.json", &login("docker"));
    assert_eq!(at(all), "docker");
    // What has no answer for the registry leaves it to the next.
    for nothing in [" \n", "{}", r#"{"auths": {}}"#, r#"{"auths": {"h": {}, "g": {"auth": "dTpw"}}}"#] {
        write(root.path(), "docker/config.json", nothing);
        assert_eq!(at(all), "explicit", "{nothing}");
    }
    write(root.path(), "explicit.json", "{}");
    assert_eq!(at(all), "runtime");
    // What is there and broken is an error, whoever would have answered.
    write(root.path(), "docker/config.json", &login("docker"));
    write(root.path(), "run/containers/auth.json", "{");
    assert!(
        matches!(Keychain::load(&locations(&home, all)), Err(Error::Parse { path, .. }) if path.starts_with(&runtime))
    );
    write(root.path(), "run/containers/auth.json", "{}");
    // Container engines leave a folder where they should mount a file that is not there.
    fs::remove_file(docker.join("config.json")).unwrap();
    fs::create_dir(docker.join("config.json")).unwrap();
    assert_eq!(at(all), "settings");
    assert_eq!(user(&locations(Path::new("/dev/null"), &[])), "-", "services have such a home");
}

#[test]
fn a_file_answers_before_longer_keys_of_later_ones() {
    let root = tempfile::tempdir().unwrap();
    write(root.path(), ".docker/config.json", &login("docker"));
    let later = r#"{"auths": {"h/team": {"username": "team", "password": "p"}, "g": {"username": "g", "password": "p"}}}"#;
    write(root.path(), ".config/containers/auth.json", later);
    let keychain = Keychain::load(&locations(root.path(), &[])).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    for (registry, user, file) in
        [("h", "docker", ".docker/config.json"), ("g", "g", ".config/containers/auth.json")]
    {
        let found = runtime.block_on(keychain.find(registry, Some("team/app"))).unwrap();
        assert!(
            matches!(&found.credential, Credential::Basic { username, .. } if username == user),
            "{found:?}"
        );
        let Origin::File { path, .. } = &found.origin else { panic!("{found:?}") };
        assert_eq!(*path, root.path().join(file));
    }
    let users: Vec<_> = keychain.users().into_iter().collect();
    let pair = |key: &str, user: &str| (key.to_owned(), user.to_owned());
    assert_eq!(users, [pair("g", "g"), pair("h", "docker"), pair("h/team", "team")]);
}

#[test]
fn headers_are_docker_s_alone() {
    let root = tempfile::tempdir().unwrap();
    let podman = r#"{"HttpHeaders": {"X-From": "podman"}}"#;
    write(root.path(), ".config/containers/auth.json", podman);
    let headers = || Keychain::load(&locations(root.path(), &[])).unwrap().http_headers().to_vec();
    assert!(headers().is_empty());
    write(root.path(), ".docker/config.json", &podman.replace("podman", "docker"));
    assert_eq!(headers(), [("X-From".to_owned(), "docker".to_owned())]);
    let given = Keychain::load(&locations(root.path(), &[])).unwrap().given(Credential::Anonymous);
    assert_eq!(given.http_headers(), headers());
}

#[test]
fn github_s_variable_answers_for_its_registry_last() {
    let root = tempfile::tempdir().unwrap();
    let found = |registry: &str| {
        let token = |name: &str| (name == auth::GITHUB_TOKEN).then(|| OsString::from(PASSWORD));
        let home = |name: &str| (name == "HOME").then(|| root.path().as_os_str().to_owned());
        let locations = Locations::from_lookup(|name| token(name).or_else(|| home(name)));
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(Keychain::load(&locations).unwrap().find(registry, Some("org/app"))).unwrap()
    };
    let token = Found {
        credential: Credential::basic("unset", Secret::new(PASSWORD)),
        origin: Origin::Variable { name: "GITHUB_TOKEN" },
    };
    assert_eq!((found("ghcr.io"), found("GHCR.IO")), (token.clone(), token));
    assert_eq!(found("docker.pkg.github.com").origin, Origin::Nowhere);
    write(root.path(), ".config/containers/auth.json", &login("file").replace("\"h\"", "\"ghcr.io\""));
    assert!(matches!(found("ghcr.io").origin, Origin::File { .. }));
}

#[test]
fn what_is_given_answers_everywhere() {
    let root = tempfile::tempdir().unwrap();
    write(root.path(), ".docker/config.json", &login("file"));
    let given = Credential::basic("me", Secret::new(PASSWORD));
    let keychain = Keychain::load(&locations(root.path(), &[])).unwrap().given(given.clone());
    assert!(!format!("{keychain:?}").contains(PASSWORD));
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    for registry in ["h", "ghcr.io"] {
        let found = runtime.block_on(keychain.find(registry, Some("a"))).unwrap();
        assert_eq!(found, Found { credential: given.clone(), origin: Origin::Given });
    }
}

#[test]
fn a_file_that_cannot_be_read_names_itself() {
    let root = tempfile::tempdir().unwrap();
    let loops = root.path().join("config.json");
    std::os::unix::fs::symlink(&loops, &loops).unwrap();
    let error = Keychain::load(&locations(root.path(), &[("DOCKER_CONFIG", root.path())])).unwrap_err();
    assert!(matches!(&error, Error::Read { path, .. } if *path == loops), "{error}");
    assert!(error.to_string().starts_with(&format!("reading credentials from {}: ", loops.display())));

    let huge = root.path().join("huge.json");
    fs::File::create(&huge).unwrap().set_len(5 << 20).unwrap();
    let error = DockerConfig::load(&huge).unwrap_err();
    assert!(error.to_string().ends_with("huge.json: it is larger than 4 MiB"), "{error}");
    // The size that the file system tells is not to be trusted.
    let error = DockerConfig::load(Path::new("/dev/zero")).unwrap_err();
    assert!(error.to_string().ends_with("it is larger than 4 MiB"), "{error}");
}

#[test]
fn broken_json_is_told_by_its_place_alone() {
    for (content, line, column, problem) in [
        ("{\n  \"auths\": {\"h\": {\"password\": \"hunter2\"}},,\n}", 2, 43, "not JSON"),
        ("{\"auths\": {\"h\": {\"password\": \"hunter2", 1, 37, "ends too early"),
        ("{\n\"auths\": \"hunter2\"}", 2, 18, "type"),
        ("{\"auths\": {\"h\": {\"auth\": [\"hunter2\"]}}}", 1, 25, "type"),
        ("{\"auths\": {\"h\": \"hunter2\"}}", 1, 25, "type"),
        ("hunter2", 1, 1, "not JSON"),
        ("\"hunter2\"", 1, 9, "type"),
        ("[]", 1, 0, "type"),
        ("{\"auths\": {\"h\": [\"hunter2\"]}}", 1, 16, "type"),
        ("{} hunter2", 1, 4, "not JSON"),
        ("{\"credsStore\": {\"hunter2\": 1}}", 1, 15, "type"),
        ("{\"hunter2\": \u{1}}", 1, 13, "not JSON"),
    ] {
        let error = DockerConfig::parse(Path::new("/c/config.json"), content.as_bytes()).unwrap_err();
        let text = error.to_string();
        assert!(
            text.starts_with(&format!(
                "reading credentials from /c/config.json: line {line}, column {column}: "
            )),
            "{content}: {text}"
        );
        assert!(text.contains(problem), "{content}: {text}");
        assert!(!format!("{text} {error:?}").contains(PASSWORD), "{text} {error:?}");
    }
}

#[test]
fn names_count_in_any_case_as_for_the_other_tools() {
    let text = r#"{"AUTHS": {"h": {"Auth": "dTpw"}, "g": {"userName": "g", "PASSWORD": "p"}}, "httpheaders": {"X": "y"}}"#;
    let config = DockerConfig::parse(Path::new("/c"), text.as_bytes()).unwrap();
    assert_eq!(config.http_headers(), [("X".to_owned(), "y".to_owned())]);
    let keychain = Keychain::new(config, Vec::new());
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    for (registry, user) in [("h", "u"), ("g", "g")] {
        let credential = runtime.block_on(keychain.credential(registry, None)).unwrap();
        assert_eq!(credential, Credential::basic(user, auth::Secret::new("p")));
    }
}

#[test]
fn nothing_prints_a_password() {
    let text = r#"{
        "auths": {
            "h": {"username": "u", "password": "hunter2"},
            "https://u:hunter2@h/": {"identitytoken": "hunter2", "registrytoken": "hunter2", "auth": "hunter2"}
        },
        "HttpHeaders": {"X-Key": "hunter2"}
    }"#;
    let config = DockerConfig::parse(Path::new("/c"), text.as_bytes()).unwrap();
    let parsed = format!("{config:?} {config:#?}");
    let keychain = Keychain::new(config, Vec::new());
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let found = runtime.block_on(keychain.find("h", None)).unwrap();
    let Credential::Basic { password, .. } = &found.credential else { panic!("{found:?}") };
    assert_eq!(password.expose(), PASSWORD);
    let identity = Credential::IdentityToken {
        username: "u".to_owned(),
        password: password.clone(),
        token: password.clone(),
    };
    let tokens = [identity, Credential::RegistryToken(password.clone())];
    let shown = format!("{parsed} {keychain:?} {keychain:#?} {found:?} {:?} {tokens:?}", found.credential);
    assert!(!shown.contains(PASSWORD), "{shown}");
    assert!(shown.contains(auth::REDACTED), "{shown}");
}

proptest! {
    #[test]
    fn any_bytes_are_a_file_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = DockerConfig::parse(Path::new("/c"), &bytes);
    }

    #[test]
    fn damage_shows_no_secret(cut in 0_usize..90, at in 0_usize..90, byte: u8) {
        let mut bytes = login("u").into_bytes();
        let length = bytes.len();
        bytes[at % length] = byte;
        bytes.truncate(length - cut % length);
        if let Err(error) = DockerConfig::parse(Path::new("/c"), &bytes) {
            let text = format!("{error} {error:?}");
            prop_assert!(!text.contains("hunter") && !text.contains("unter2"), "{}", text);
        }
    }
}
