//! Where credentials lie on this machine.

use std::env;
use std::ffi::OsString;
use std::path::PathBuf;

use crate::{Credential, Secret};

/// The variable that holds a token for GitHub's registry, as workflows there have it.
pub const GITHUB_TOKEN: &str = "GITHUB_TOKEN";

/// Where to look for credentials and helpers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Locations {
    /// Docker's `config.json`.
    pub docker: Option<PathBuf>,
    /// Podman's `auth.json`, in the order of containers-auth.json(5); asked where docker's file has no answer.
    pub containers: Vec<PathBuf>,
    /// The file of docker before 1.7, which podman reads last of all.
    pub legacy: Option<PathBuf>,
    /// What answers for `ghcr.io` when no file does ([`GITHUB_TOKEN`]).
    pub github: Option<Credential>,
    /// The folders to find `docker-credential-NAME` in.
    pub search_path: Vec<PathBuf>,
}

impl Locations {
    /// What the environment says, read through `lookup` (a variable that is empty counts as not set):
    /// `DOCKER_CONFIG`, else `HOME`; `REGISTRY_AUTH_FILE`, `XDG_RUNTIME_DIR`, `XDG_CONFIG_HOME`, else `HOME`;
    /// `GITHUB_TOKEN`, with `GITHUB_ACTOR`; `PATH`.
    ///
    /// ```
    /// let locations = auth::Locations::from_lookup(|name| std::env::var_os(name));
    /// ```
    pub fn from_lookup(lookup: impl Fn(&str) -> Option<OsString>) -> Self {
        let set = |name: &str| lookup(name).filter(|value| !value.is_empty());
        let folder = |name: &str| set(name).map(PathBuf::from);
        let text = |name: &str| set(name).and_then(|value| value.into_string().ok());
        let home = |below: &str| folder("HOME").map(|home| home.join(below));
        let docker = folder("DOCKER_CONFIG").or_else(|| home(".docker"));
        let runtime = folder("XDG_RUNTIME_DIR");
        let settings = folder("XDG_CONFIG_HOME").or_else(|| home(".config"));
        Self {
            docker: docker.map(|folder| folder.join("config.json")),
            containers: folder("REGISTRY_AUTH_FILE")
                .into_iter()
                .chain(
                    [runtime, settings]
                        .into_iter()
                        .flatten()
                        .map(|folder| folder.join("containers/auth.json")),
                )
                .collect(),
            legacy: home(".dockercfg"),
            github: text(GITHUB_TOKEN).map(|token| {
                let actor = text("GITHUB_ACTOR").unwrap_or_else(|| "unset".to_owned());
                Credential::basic(actor, Secret::new(token))
            }),
            // A helper is never run from the current folder, whatever that happens to be.
            search_path: set("PATH")
                .map(|path| env::split_paths(&path).filter(|folder| folder.is_absolute()).collect())
                .unwrap_or_default(),
        }
    }

    /// The files in the order in which they are asked.
    pub fn files(&self) -> impl Iterator<Item = &PathBuf> {
        self.docker.iter().chain(&self.containers).chain(&self.legacy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn locations(variables: &[(&str, &str)]) -> Locations {
        Locations::from_lookup(|name| {
            variables.iter().find(|(key, _)| *key == name).map(|(_, value)| OsString::from(value))
        })
    }

    fn files(variables: &[(&str, &str)]) -> Vec<String> {
        locations(variables).files().map(|path| path.display().to_string()).collect()
    }

    #[test]
    fn files_in_order() {
        assert!(files(&[]).is_empty());
        assert_eq!(
            files(&[("HOME", "/h")]),
            ["/h/.docker/config.json", "/h/.config/containers/auth.json", "/h/.dockercfg"]
        );
        assert_eq!(
            files(&[
                ("HOME", "/h"),
                ("DOCKER_CONFIG", "/d"),
                ("REGISTRY_AUTH_FILE", "/r.json"),
                ("XDG_RUNTIME_DIR", "/run/user/1"),
                ("XDG_CONFIG_HOME", "/c"),
            ]),
            [
                "/d/config.json",
                "/r.json",
                "/run/user/1/containers/auth.json",
                "/c/containers/auth.json",
                "/h/.dockercfg"
            ]
        );
        assert_eq!(
            files(&[("HOME", "/h"), ("DOCKER_CONFIG", ""), ("REGISTRY_AUTH_FILE", "")]),
            ["/h/.docker/config.json", "/h/.config/containers/auth.json", "/h/.dockercfg"]
        );
    }

    #[test]
    fn github_s_token_is_not_printed() {
        let github = |variables: &[(&str, &str)]| locations(variables).github;
        assert_eq!(github(&[("GITHUB_ACTOR", "octocat"), ("GITHUB_TOKEN", "")]), None);
        let basic = |user: &str| Some(Credential::basic(user, Secret::new("hunter2")));
        assert_eq!(github(&[("GITHUB_TOKEN", "hunter2")]), basic("unset"));
        let both = [("GITHUB_TOKEN", "hunter2"), ("GITHUB_ACTOR", "octocat")];
        assert_eq!(github(&both), basic("octocat"));
        let shown = format!("{:?}", locations(&both));
        assert!(shown.contains("octocat") && !shown.contains("hunter2"), "{shown}");
    }

    #[test]
    fn helpers_come_from_absolute_folders_only() {
        let found = locations(&[("PATH", "/a::.:bin:/b")]);
        assert_eq!(found.search_path, [PathBuf::from("/a"), PathBuf::from("/b")]);
    }
}
