//! Where hoist keeps what is worth keeping between its runs: one directory, with one below it for each kind.

use std::ffi::OsString;
use std::path::PathBuf;

use oci::RegistryName;

use crate::ui::Ui;

/// The user's own root (XDG base directory specification).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Root(PathBuf);

impl Root {
    /// `$XDG_CACHE_HOME/hoist`, else `~/.cache/hoist`. A home that is not there is nobody's, as in a container of a program
    /// alone, and is not made for this.
    pub(crate) fn find() -> Option<Self> {
        Self::of(|name| std::env::var_os(name))
    }

    fn of(variable: impl Fn(&str) -> Option<OsString>) -> Option<Self> {
        // The specification has relative paths ignored.
        let set = |name| variable(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let home = set("HOME").filter(|home| home.is_dir());
        let cache = set("XDG_CACHE_HOME").or_else(|| home.map(|home| home.join(".cache")));
        cache.map(|cache| Self(cache.join("hoist")))
    }

    /// The directory itself.
    pub(crate) fn path(&self) -> &PathBuf {
        &self.0
    }

    /// What is remembered of registries.
    pub(crate) fn hosts(&self) -> PathBuf {
        self.0.join("hosts")
    }

    /// Tables of contents of layers.
    pub(crate) fn tables(&self) -> PathBuf {
        self.0.join("tables")
    }

    /// Upload sessions that are not at their end.
    pub(crate) fn uploads(&self) -> PathBuf {
        self.0.join("uploads")
    }
}

/// Forgets a registry.
pub(crate) fn forget(ui: &Ui, registry: &RegistryName) {
    let Some(hosts) = Root::find().map(|root| root.hosts()) else { return };
    if let Err(error) = ::registry::forget(&hosts, registry) {
        ui.note(&format!(
            "hint: {} may still hold tokens for {registry}, and could not be cleared: {error}",
            hosts.display()
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_lies_where_the_specification_has_it() {
        let home = tempfile::tempdir().unwrap();
        let home = home.path().to_str().unwrap();
        let own = format!("{home}/.cache/hoist");
        for (cache, home, expected) in [
            (Some("/c"), Some(home), Some("/c/hoist")),
            (Some("c"), Some(home), Some(&*own)),
            (None, Some(home), Some(&*own)),
            (Some(""), Some(""), None),
            (None, Some("/nonexistent"), None),
            (None, None, None),
        ] {
            let variable = |name: &str| if name == "HOME" { home } else { cache }.map(OsString::from);
            assert_eq!(Root::of(variable), expected.map(|path| Root(path.into())), "{cache:?} {home:?}");
        }
    }
}
