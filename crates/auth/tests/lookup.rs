//! Which entry of a file answers for which repository.

use std::path::{Path, PathBuf};

use auth::{Credential, DockerConfig, Error, Found, Keychain, Origin, Secret};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use proptest::prelude::*;

const FILE: &str = "/etc/creds/config.json";

fn find(config: &str, registry: &str, repository: Option<&str>) -> Result<Found, Error> {
    let config = DockerConfig::parse(Path::new(FILE), config.as_bytes())?;
    let keychain = Keychain::new(config, Vec::new());
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(keychain.find(registry, repository))
}

/// The key that answered, or `-`.
fn key(config: &str, registry: &str, repository: &str) -> String {
    let repository = Some(repository).filter(|path| !path.is_empty());
    match find(config, registry, repository).expect("an answer").origin {
        Origin::Nowhere => "-".to_owned(),
        Origin::File { path, key } => {
            assert_eq!(path, PathBuf::from(FILE));
            key
        }
        other => panic!("nobody else could have answered: {other:?}"),
    }
}

#[test]
fn the_longest_key_answers() {
    let config = r#"{"auths": {
        "reg.example:5000": {"username": "u1", "password": "p"},
        "reg.example:5000/team": {"username": "u2", "password": "p"},
        "reg.example:5000/team/app": {"username": "u3", "password": "p"},
        "reg.example:5000/team/void": {},
        "other.example/only/here": {"username": "u4", "password": "p"},
        "https://scheme.example/v2/": {"username": "u5", "password": "p"},
        "http://plain.example": {"username": "u6", "password": "p"},
        "Upper.Example": {"username": "u7", "password": "p"}
    }}"#;
    for (registry, repository, expected) in [
        ("reg.example:5000", "", "reg.example:5000"),
        ("reg.example:5000", "team", "reg.example:5000/team"),
        ("reg.example:5000", "team/app", "reg.example:5000/team/app"),
        ("reg.example:5000", "team/app/deep/er", "reg.example:5000/team/app"),
        ("reg.example:5000", "team/apple", "reg.example:5000/team"),
        ("reg.example:5000", "team/void", "reg.example:5000/team"),
        ("reg.example:5000", "teams", "reg.example:5000"),
        ("reg.example:5000", "x/team/app", "reg.example:5000"),
        ("REG.example:5000", "team", "reg.example:5000/team"),
        // docker's library would give the repository's entry to the whole host.
        ("other.example", "only/here", "other.example/only/here"),
        ("other.example", "only", "-"),
        ("other.example", "", "-"),
        ("scheme.example", "any/path", "https://scheme.example/v2/"),
        ("plain.example", "", "http://plain.example"),
        ("upper.example", "a", "Upper.Example"),
        // Another port, a name below and a name above are other registries.
        ("reg.example", "team", "-"),
        ("reg.example:50000", "team", "-"),
        ("a.reg.example:5000", "team", "-"),
        ("example", "", "-"),
    ] {
        assert_eq!(key(config, registry, repository), expected, "{registry} {repository}");
    }
}

#[test]
fn docker_hub_has_many_names() {
    for written in [
        "https://index.docker.io/v1/",
        "https://index.docker.io/v2/",
        "https://index.docker.io",
        "index.docker.io",
        "index.docker.io/v1/",
        "docker.io",
        "registry-1.docker.io",
        "https://registry-1.docker.io/",
    ] {
        let config = format!(r#"{{"auths": {{"{written}": {{"username": "u", "password": "p"}}}}}}"#);
        for asked in ["index.docker.io", "docker.io", "registry-1.docker.io"] {
            assert_eq!(key(&config, asked, "library/nginx"), written, "{asked}");
        }
        assert_eq!(key(&config, "hub.docker.com", ""), "-");
    }
    let config = r#"{"auths": {
        "docker.io/team": {"username": "u", "password": "p"},
        "docker.io": {"username": "u", "password": "p"},
        "https://index.docker.io/v1/": {"username": "u", "password": "p"}
    }}"#;
    assert_eq!(key(config, "index.docker.io", "team/app"), "docker.io/team");
    assert_eq!(key(config, "index.docker.io", "library/nginx"), "https://index.docker.io/v1/");
}

#[test]
fn of_several_spellings_docker_s_own_answers_unless_it_is_empty() {
    let both = r#"{"auths": {
        "http://h": {"username": "old", "password": "p"},
        "h": {"username": "new", "password": "p"}
    }}"#;
    assert_eq!(key(both, "h", ""), "h");
    let hollow = r#"{"auths": {"http://h": {"username": "old", "password": "p"}, "h": {}}}"#;
    assert_eq!(key(hollow, "h", ""), "http://h");
}

#[test]
fn entries_become_credentials() {
    let basic = |user: &str, password: &str| Credential::basic(user, Secret::new(password));
    let beside = |user: &str, password: &str| Credential::IdentityToken {
        username: user.to_owned(),
        password: Secret::new(password),
        token: Secret::new("refresh"),
    };
    let identity = |user: &str| beside(user, "");
    for (entry, expected) in [
        // base64 of "user:pa:ss"
        (r#"{"auth": "dXNlcjpwYTpzcw=="}"#, basic("user", "pa:ss")),
        (r#"{"auth": "dXNlcjpwYTpzcw"}"#, basic("user", "pa:ss")),
        (r#"{"auth": "dXNlcjpw\nYTpzcw==\n"}"#, basic("user", "pa:ss")),
        // "user:pw\0\0"
        (r#"{"auth": "dXNlcjpwdwAA"}"#, basic("user", "pw")),
        // ":" and nothing at all
        (r#"{"auth": "Og=="}"#, Credential::Anonymous),
        (r#"{"auth": ""}"#, Credential::Anonymous),
        (r#"{"auth": null, "username": null}"#, Credential::Anonymous),
        ("{}", Credential::Anonymous),
        ("null", Credential::Anonymous),
        (r#"{"username": "u", "password": "p"}"#, basic("u", "p")),
        (r#"{"username": "u"}"#, basic("u", "")),
        (r#"{"auth": "dXNlcjpwYTpzcw==", "username": "u", "password": "p"}"#, basic("user", "pa:ss")),
        (r#"{"auth": "MDAwMDo=", "identitytoken": "refresh"}"#, identity("0000")),
        (r#"{"identitytoken": "refresh", "username": "u"}"#, identity("u")),
        (r#"{"auth": "dXNlcjpwYTpzcw==", "identitytoken": "refresh"}"#, beside("user", "pa:ss")),
        (r#"{"identitytoken": "refresh", "auth": "not base64"}"#, identity("")),
        (
            r#"{"identitytoken": "refresh", "registrytoken": "bearer"}"#,
            Credential::RegistryToken(Secret::new("bearer")),
        ),
        (r#"{"identitytoken": "", "username": "u", "password": "p", "email": 7}"#, basic("u", "p")),
    ] {
        let config = format!(r#"{{"auths": {{"h": {entry}}}}}"#);
        assert_eq!(find(&config, "h", None).unwrap().credential, expected, "{entry}");
    }
}

#[test]
fn a_broken_entry_is_an_error_of_its_own_registry_only() {
    for auth in ["not base64: hunter2", "aHVudGVyMg==", "/////w=="] {
        let config = format!(
            r#"{{"auths": {{"h": {{"auth": "{auth}"}}, "ok": {{"username": "u", "password": "p"}}}}}}"#
        );
        let error = find(&config, "h", None).unwrap_err();
        assert!(matches!(&error, Error::Entry { key, .. } if key == "h"), "{error}");
        let text = format!("{error} {error:?}");
        assert!(text.contains(FILE) && !text.contains("hunter2") && !text.contains(auth), "{text}");
        assert_eq!(key(&config, "ok", ""), "ok");
    }
}

#[test]
fn headers_go_along_but_for_the_user_agent() {
    let text = r#"{"HttpHeaders": {"X-Team": "blue", "USER-agent": "mine", "X-Empty": null}}"#;
    let keychain = Keychain::new(DockerConfig::parse(Path::new(FILE), text.as_bytes()).unwrap(), Vec::new());
    let expected = [("X-Empty", ""), ("X-Team", "blue")].map(|(k, v)| (k.to_owned(), v.to_owned()));
    assert_eq!(keychain.http_headers(), expected);
    assert!(Keychain::default().http_headers().is_empty());
}

proptest! {
    #[test]
    fn base64_gives_back_user_and_password(user in "[^:]{0,20}", password in "[^\0]{1,40}", pad: bool) {
        let pair = format!("{user}:{password}");
        let auth = if pad { STANDARD.encode(&pair) } else { STANDARD_NO_PAD.encode(&pair) };
        let config = format!(r#"{{"auths": {{"h": {{"auth": "{auth}"}}}}}}"#);
        prop_assert_eq!(
            find(&config, "h", None).unwrap().credential,
            Credential::basic(user, Secret::new(password))
        );
    }
}
