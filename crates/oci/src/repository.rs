//! A repository on a registry.

use std::fmt;
use std::str::FromStr;

use crate::{ReferenceError, RegistryName};

/// A registry and the path of a repository there, by crane's rules.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Repository {
    registry: RegistryName,
    path: String,
}

impl Repository {
    /// A repository at `path` of `registry`. On Docker Hub a path of one part gets `library/` in front.
    ///
    /// # Errors
    /// The place of the fault in `path`, in characters from 0, and what is wrong there.
    pub fn new(registry: RegistryName, path: &str) -> Result<Self, (usize, String)> {
        let prefix = if registry.is_docker_hub() && !path.contains('/') { "library/" } else { "" };
        check_path(path, LONGEST - prefix.len())?;
        Ok(Self { registry, path: [prefix, path].concat() })
    }

    /// The registry.
    pub fn registry(&self) -> &RegistryName {
        &self.registry
    }

    /// The path on the registry, such as `library/nginx`.
    pub fn path(&self) -> &str {
        &self.path
    }
}

/// The longest path, in characters.
const LONGEST: usize = 255;

/// crane's rule, `[a-z0-9_./-]`, 1 to 255 characters; but no part is `.` or `..`, which a URL folds away.
fn check_path(path: &str, longest: usize) -> Result<(), (usize, String)> {
    if path.is_empty() {
        return Err((0, "the repository is empty".to_owned()));
    }
    let mut at = 0;
    for part in path.split('/') {
        for character in part.chars() {
            match character {
                'a'..='z' | '0'..='9' | '_' | '.' | '-' => at += 1,
                'A'..='Z' => {
                    return Err((
                        at,
                        format!("{character:?} is upper case; repositories are written in lower case"),
                    ));
                }
                _ => return Err((at, format!("{character:?} may not stand in a repository"))),
            }
        }
        if part == "." || part == ".." {
            return Err((at - part.len(), format!("{part:?} cannot be a part of a repository")));
        }
        at += 1;
    }
    if path.len() > longest {
        let reason =
            format!("a repository has at most {longest} characters here, this one has {}", path.len());
        return Err((longest, reason));
    }
    Ok(())
}

/// Splits `host/path` at the first `/` if what stands before it names a registry: it holds a `.` or a `:`, or is
/// `localhost`. Positions in the errors count from the start of `text`.
pub(crate) fn split(text: &str) -> Result<Repository, (usize, String)> {
    if let Some((host, path)) = text.split_once('/')
        && (host.contains(['.', ':', '[']) || host == "localhost")
    {
        let registry = RegistryName::new(host)?;
        let before = host.chars().count() + 1;
        return Repository::new(registry, path).map_err(|(at, reason)| (before + at, reason));
    }
    Repository::new(RegistryName::docker_hub(), text)
}

impl FromStr for Repository {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        split(text).map_err(|(position, reason)| ReferenceError { input: text.to_owned(), position, reason })
    }
}

impl fmt::Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_prints_as_it_parses() {
        for (registry, longest) in [("ghcr.io/", 255), ("", 247), ("team/", 250)] {
            let fits = format!("{registry}{}", "a".repeat(longest));
            let repository: Repository = fits.parse().unwrap();
            assert_eq!(repository.to_string().parse().as_ref(), Ok(&repository), "{fits}");
            assert!(format!("{fits}a").parse::<Repository>().is_err(), "{registry}");
        }
    }
}
