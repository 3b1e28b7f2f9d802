//! Where credentials lie on this machine.

use std::env;
use std::ffi::OsString;
use std::path::PathBuf;

/// Where to look for credentials and helpers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Locations {
    /// Docker's `config.json`.
    pub docker: Option<PathBuf>,
    /// Podman's `auth.json`, in the order of containers-auth.json(5); looked at where docker's file is absent.
    pub containers: Vec<PathBuf>,
    /// The folders to find `docker-credential-NAME` in.
    pub search_path: Vec<PathBuf>,
}

impl Locations {
    /// What the environment says, read through `lookup` (a variable that is empty counts as not set):
    /// `DOCKER_CONFIG`, else `HOME`; `REGISTRY_AUTH_FILE`, `XDG_RUNTIME_DIR`, `XDG_CONFIG_HOME`, else `HOME`;
    /// `PATH`.
    ///
    /// ```
    /// let locations = auth::Locations::from_lookup(|name| std::env::var_os(name));
    /// ```
    pub fn from_lookup(lookup: impl Fn(&str) -> Option<OsString>) -> Self {
        let set = |name: &str| lookup(name).filter(|value| !value.is_empty());
        let folder = |name: &str| set(name).map(PathBuf::from);
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
            // A helper is never run from the current folder, whatever that happens to be.
            search_path: set("PATH")
                .map(|path| env::split_paths(&path).filter(|folder| folder.is_absolute()).collect())
                .unwrap_or_default(),
        }
    }

    /// The files in the order in which they are looked at; the first that is there is read, alone.
    pub(crate) fn files(&self) -> impl Iterator<Item = &PathBuf> {
        self.docker.iter().chain(&self.containers)
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
        assert_eq!(files(&[("HOME", "/h")]), ["/h/.docker/config.json", "/h/.config/containers/auth.json"]);
        assert_eq!(
            files(&[
                ("HOME", "/h"),
                ("DOCKER_CONFIG", "/d"),
                ("REGISTRY_AUTH_FILE", "/r.json"),
                ("XDG_RUNTIME_DIR", "/run/user/1"),
                ("XDG_CONFIG_HOME", "/c"),
            ]),
            ["/d/config.json", "/r.json", "/run/user/1/containers/auth.json", "/c/containers/auth.json"]
        );
        assert_eq!(
            files(&[("HOME", "/h"), ("DOCKER_CONFIG", ""), ("REGISTRY_AUTH_FILE", "")]),
            ["/h/.docker/config.json", "/h/.config/containers/auth.json"]
        );
    }

    #[test]
    fn helpers_come_from_absolute_folders_only() {
        let found = locations(&[("PATH", "/a::.:bin:/b")]);
        assert_eq!(found.search_path, [PathBuf::from("/a"), PathBuf::from("/b")]);
    }
}
