//! How credential files name registries, and which names answer for a repository.

/// Docker Hub, as references name it.
pub(crate) const DOCKER_HUB: &str = "index.docker.io";

/// Docker Hub, as `docker login` names it in its file and towards helpers.
pub(crate) const DOCKER_HUB_SERVER: &str = "https://index.docker.io/v1/";

/// One spelling for the many of a key: no scheme, no API root, the host in lower case, Docker Hub under one name.
///
/// A key with a scheme stands for the whole host, whatever its path (docker writes `https://index.docker.io/v1/`);
/// a path behind a bare host is a namespace or a repository (podman).
pub(crate) fn normalise(key: &str) -> String {
    if let Some(rest) = strip_scheme(key) {
        return host(rest.split(['/', '?', '#']).next().unwrap_or(rest));
    }
    let trimmed = key.trim_end_matches('/');
    let Some((authority, path)) = trimmed.split_once('/') else {
        return host(trimmed);
    };
    // With its slash at the end it is the root of an API that lost its scheme; a namespace is never written so.
    if trimmed.len() < key.len() && matches!(path, "v1" | "v2") {
        return host(authority);
    }
    format!("{}/{path}", host(authority))
}

/// The normal keys that may answer, the longest first: the repository, the paths above it, the registry.
pub(crate) fn candidates(registry: &str, repository: Option<&str>) -> Vec<String> {
    let registry = host(registry);
    let mut keys = Vec::new();
    let mut path = repository;
    while let Some(here) = path {
        keys.push(format!("{registry}/{here}"));
        path = here.rsplit_once('/').map(|(parent, _)| parent);
    }
    keys.push(registry);
    keys
}

/// What a helper for the whole registry is asked for.
pub(crate) fn server(registry: &str) -> String {
    if host(registry) == DOCKER_HUB { DOCKER_HUB_SERVER.to_owned() } else { registry.to_owned() }
}

fn strip_scheme(key: &str) -> Option<&str> {
    let (scheme, rest) = key.split_once("://")?;
    (scheme.eq_ignore_ascii_case("https") || scheme.eq_ignore_ascii_case("http")).then_some(rest)
}

fn host(authority: &str) -> String {
    let lower = authority.to_ascii_lowercase();
    match lower.as_str() {
        "docker.io" | "registry-1.docker.io" => DOCKER_HUB.to_owned(),
        _ => lower,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn spellings() {
        for (key, normal) in [
            ("https://index.docker.io/v1/", "index.docker.io"),
            ("index.docker.io/v1/", "index.docker.io"),
            ("docker.io", "index.docker.io"),
            ("registry-1.docker.io", "index.docker.io"),
            ("https://registry-1.docker.io/v2/", "index.docker.io"),
            ("docker.io/library/nginx", "index.docker.io/library/nginx"),
            ("ghcr.io", "ghcr.io"),
            ("ghcr.io/", "ghcr.io"),
            ("GHCR.io/Org", "ghcr.io/Org"),
            ("https://ghcr.io", "ghcr.io"),
            ("HTTPS://ghcr.io/v2/", "ghcr.io"),
            ("http://localhost:5000", "localhost:5000"),
            ("https://host/v2/?x=/y", "host"),
            ("https://host/team/app", "host"),
            ("host/team/app/", "host/team/app"),
            ("host/v2", "host/v2"),
            ("host/v2/", "host"),
            ("host/v2/app", "host/v2/app"),
            ("[::1]:5000/v2/", "[::1]:5000"),
            ("ftp://host/x", "ftp://host/x"),
            ("", ""),
            ("/", ""),
        ] {
            assert_eq!(normalise(key), normal, "{key}");
        }
    }

    #[test]
    fn the_longest_answers_first() {
        assert_eq!(
            candidates("Docker.io", Some("library/nginx")),
            ["index.docker.io/library/nginx", "index.docker.io/library", "index.docker.io"]
        );
        assert_eq!(candidates("h:1", Some("a")), ["h:1/a", "h:1"]);
        assert_eq!(candidates("h:1", None), ["h:1"]);
    }

    #[test]
    fn helpers_know_docker_hub_by_its_url() {
        assert_eq!(server("index.docker.io"), DOCKER_HUB_SERVER);
        assert_eq!(server("docker.io"), DOCKER_HUB_SERVER);
        assert_eq!(server("ghcr.io"), "ghcr.io");
    }

    proptest! {
        #[test]
        fn normal_keys_stay(key in "(?i:https?://)?[a-zA-Z0-9.:/?#\\[\\]é-]{0,40}") {
            let once = normalise(&key);
            prop_assert_eq!(normalise(&once), once);
        }

        #[test]
        fn every_spelling_of_a_registry_is_its_last_candidate(
            registry in "[a-zA-Z0-9.-]{1,20}(:[0-9]{1,5})?",
            repository in proptest::option::of("[a-z0-9_.-]{1,6}(/[a-z0-9_.-]{1,6}){0,4}"),
        ) {
            let keys = candidates(&registry, repository.as_deref());
            let last = keys.last().unwrap();
            for spelling in [
                registry.clone(),
                format!("{registry}/"),
                format!("{registry}/v1/"),
                format!("http://{registry}"),
                format!("https://{registry}/v2/"),
                format!("https://{registry}/any/path"),
            ] {
                prop_assert_eq!(&normalise(&spelling), last);
            }
            if let Some(repository) = &repository {
                prop_assert_eq!(&normalise(&format!("{registry}/{repository}")), &keys[0]);
            }
            // Each is the part of the one before it in front of a slash, so no neighbour ("host/team2") ever answers.
            for pair in keys.windows(2) {
                prop_assert_eq!(pair[0].rsplit_once('/').map(|(parent, _)| parent), Some(pair[1].as_str()));
            }
        }
    }
}
