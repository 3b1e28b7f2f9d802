//! Names that registries know: what completes a reference.

use std::time::Duration;

use futures_util::{Stream, TryStreamExt};
use local::Layout;
use oci::{Reference, RegistryName, Repository, View};
use store::Store;
use tokio::runtime::Handle;
use tokio::time::{Instant, timeout_at};

use crate::context::Context;

/// As long as somebody waits for a completion.
const PATIENCE: Duration = Duration::from_secs(2);

/// Platforms that images are made for.
const PLATFORMS: [&str; 12] = [
    "all",
    "host",
    "linux/amd64",
    "linux/arm64",
    "linux/arm/v7",
    "linux/arm/v6",
    "linux/386",
    "linux/ppc64le",
    "linux/s390x",
    "linux/riscv64",
    "windows/amd64",
    "darwin/arm64",
];

/// What an argument is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    Image,
    Repository,
    Blob,
    Platform,
}

/// Asks registries, until patience ends.
pub(super) struct Names {
    context: Context,
    /// All words of the line.
    words: Vec<String>,
    runtime: Handle,
    deadline: Instant,
}

impl Names {
    pub(super) fn new(context: Context, words: Vec<String>) -> Self {
        Self { context, words, runtime: Handle::current(), deadline: Instant::now() + PATIENCE }
    }

    /// What a word may become.
    pub(super) fn complete(&self, wanted: Wanted, word: &str) -> Vec<String> {
        let mut found = self.runtime.block_on(async {
            match wanted {
                Wanted::Platform => self.platforms().await,
                _ if word.contains('@') => Vec::new(),
                _ if word.starts_with("oci:") => self.layout(word).await.unwrap_or_default(),
                _ => self.references(wanted, word).await,
            }
        });
        found.retain(|name| name.starts_with(word));
        found
    }

    /// The tags of a layout, once its directory has been typed.
    async fn layout(&self, word: &str) -> Option<Vec<String>> {
        let (typed, _) = word.rsplit_once(':')?;
        let layout = Layout::open(typed.strip_prefix("oci:")?).ok()?;
        let tags = self.all(layout.tags()).await;
        Some(tags.iter().map(|tag| format!("{typed}:{tag}")).collect())
    }

    async fn references(&self, wanted: Wanted, word: &str) -> Vec<String> {
        if let Some((repository, tag)) = tagged(word) {
            return if wanted == Wanted::Image { self.tags(repository, tag).await } else { Vec::new() };
        }
        let end = match wanted {
            Wanted::Image => ":",
            Wanted::Blob => "@",
            Wanted::Repository | Wanted::Platform => "",
        };
        let mut found = self.repositories(word).await;
        found.retain(|name| name.starts_with(word));
        // What is typed in full goes on with its tags; registries without a catalog know them too.
        if wanted == Wanted::Image && found.iter().all(|name| name == word) {
            let tags = self.tags(word, "").await;
            if !tags.is_empty() {
                return tags;
            }
        }
        found.into_iter().map(|name| name + end).collect()
    }

    /// The repositories of the registry that a word begins with, as they would be typed.
    async fn repositories(&self, word: &str) -> Vec<String> {
        let Some((host, _)) = word.split_once('/').filter(|(host, _)| is_host(host)) else {
            return Vec::new();
        };
        let (Ok(registry), Ok(client)) = (host.parse::<RegistryName>(), self.context.client()) else {
            return Vec::new();
        };
        let found = self.all(client.catalog(&registry)).await;
        found.iter().map(|repository| format!("{host}/{}", repository.path())).collect()
    }

    /// The tags of a repository, behind its name as it was typed.
    async fn tags(&self, typed: &str, begun: &str) -> Vec<String> {
        let Ok(store) =
            typed.parse::<Repository>().map_err(Into::into).and_then(|name| self.context.store(&name))
        else {
            return Vec::new();
        };
        let tags = self.all(store.tags()).await;
        let tags = tags.iter().map(oci::Tag::as_str);
        // Nobody types a digest's tag, unless they begin to.
        let meant = |tag: &&str| !tag.starts_with("sha256-") || begun.starts_with("sha");
        tags.filter(meant).map(|tag| format!("{typed}:{tag}")).collect()
    }

    /// All that comes of some pages before patience ends.
    async fn all<T, E>(&self, pages: impl Stream<Item = Result<Vec<T>, E>>) -> Vec<T> {
        let mut pages = std::pin::pin!(pages);
        let mut all = Vec::new();
        while let Ok(Ok(Some(page))) = timeout_at(self.deadline, pages.try_next()).await {
            all.extend(page);
        }
        all
    }

    /// The platforms of the image on the line, or those that there usually are.
    async fn platforms(&self) -> Vec<String> {
        let before = self.words.len().saturating_sub(1);
        let image = self.words[..before]
            .iter()
            .skip(1)
            .find(|word| !word.starts_with('-') && word.contains(['/', ':']));
        let offered = match image {
            Some(image) => timeout_at(self.deadline, self.platforms_of(image)).await.ok().flatten(),
            None => None,
        };
        match offered {
            Some(offered) if !offered.is_empty() => {
                ["all", "host"].into_iter().map(str::to_owned).chain(offered).collect()
            }
            _ => PLATFORMS.map(str::to_owned).to_vec(),
        }
    }

    async fn platforms_of(&self, image: &str) -> Option<Vec<String>> {
        let reference: Reference = image.parse().ok()?;
        let store = self.context.store(reference.repository()).ok()?;
        let manifest = store.manifest(&reference.selector()).await.ok()?;
        let View::Index(index) = manifest.view().ok()? else { return None };
        let platforms = index.manifests.into_iter().filter_map(|entry| entry.platform);
        Some(
            platforms
                .filter(|platform| platform.os != "unknown")
                .map(|platform| platform.to_string())
                .collect(),
        )
    }
}

/// Whether what stands before the first `/` names a registry.
fn is_host(text: &str) -> bool {
    text.contains(['.', ':', '[']) || text == "localhost"
}

/// A word in which a tag has begun: the repository, and the tag so far.
fn tagged(word: &str) -> Option<(&str, &str)> {
    let (repository, tag) = word.rsplit_once(':')?;
    let is_tag = !tag.contains(['/', ']']) && (repository.contains('/') || !is_host(repository));
    is_tag.then_some((repository, tag))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_a_tag_begins() {
        for (word, expected) in [
            ("nginx:", Some(("nginx", ""))),
            ("nginx:1.2", Some(("nginx", "1.2"))),
            ("localhost:50", None),
            ("localhost:5000/app", None),
            ("localhost:5000/app:1", Some(("localhost:5000/app", "1"))),
            ("[::1]:5000/a:", Some(("[::1]:5000/a", ""))),
            ("[::1", None),
            ("registry.example:44", None),
            ("nginx", None),
        ] {
            assert_eq!(tagged(word), expected, "{word}");
        }
    }
}
