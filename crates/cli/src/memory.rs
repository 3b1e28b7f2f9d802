//! Where registries are remembered between runs.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use oci::RegistryName;
use rustix::process::geteuid;

use crate::ui::Ui;

/// The directory.
pub(crate) fn directory() -> Option<PathBuf> {
    directories(|name| std::env::var_os(name)).into_iter().next()
}

/// Forgets a registry, wherever it may be remembered: a session without a runtime directory uses another place.
pub(crate) fn forget(ui: &Ui, registry: &RegistryName) {
    for directory in directories(|name| std::env::var_os(name)) {
        if let Err(error) = registry::forget(&directory, registry) {
            ui.note(&format!(
                "hint: {} may still hold tokens for {registry}, and could not be cleared: {error}",
                directory.display()
            ));
        }
    }
}

/// The user's runtime directory, which ends with the session, before the cache. What is not ours (`sudo` leaves the
/// variables of another user) is passed over.
fn directories(variable: impl Fn(&str) -> Option<OsString>) -> Vec<PathBuf> {
    let set = |name| variable(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let runtime = set("XDG_RUNTIME_DIR").filter(|path| is_ours(path)).map(|path| path.join("hoist"));
    let home = set("HOME").filter(|home| home.is_dir());
    let cache = set("XDG_CACHE_HOME").or_else(|| home.map(|home| home.join(".cache")));
    runtime.into_iter().chain(cache.map(|cache| cache.join("hoist/hosts"))).collect()
}

fn is_ours(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|found| found.is_dir() && found.uid() == geteuid().as_raw())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_runtime_directory_before_the_cache() {
        let ours = tempfile::tempdir().unwrap();
        let runtime = ours.path().to_str().unwrap();
        let home = tempfile::tempdir().unwrap();
        let home = home.path().to_str().unwrap();
        let cache = format!("{home}/.cache/hoist/hosts");
        for (variables, expected) in [
            (
                &[("XDG_RUNTIME_DIR", runtime), ("HOME", home)][..],
                vec![format!("{runtime}/hoist"), cache.clone()],
            ),
            (
                &[("XDG_CACHE_HOME", "/c"), ("HOME", home), ("XDG_RUNTIME_DIR", "/nonexistent")],
                vec!["/c/hoist/hosts".to_owned()],
            ),
            (&[("XDG_CACHE_HOME", "relative"), ("HOME", home)], vec![cache.clone()]),
            (&[("HOME", "")], Vec::new()),
            (&[("HOME", "/nonexistent")], Vec::new()),
        ] {
            let found = directories(|name| {
                variables.iter().find(|(known, _)| *known == name).map(|(_, value)| value.into())
            });
            assert_eq!(found, expected.iter().map(PathBuf::from).collect::<Vec<_>>(), "{variables:?}");
        }
    }
}
