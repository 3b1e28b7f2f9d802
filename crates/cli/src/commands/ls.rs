use std::num::NonZeroUsize;
use std::str::FromStr;

use clap::ValueEnum;
use futures_util::TryStreamExt;
use globset::{GlobBuilder, GlobMatcher};
use oci::Tag;

use crate::context::Context;
use crate::failure::Failure;
use crate::output::Output;
use crate::place;
use crate::versions::{Range, Version};

/// List the tags in a repository
///
/// In the registry's order, page by page, unless they are sorted. --filter and --semver choose, then --sort orders, then
/// --limit cuts.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The repository, such as `nginx` or `ghcr.io/org/app`
    #[arg(value_name = "REPO")]
    pub(crate) repository: String,
    /// Print full references, not tags alone
    #[arg(long)]
    pub(crate) full_ref: bool,
    /// Leave out tags that stand for digests (`sha256-…`: signatures and the like)
    #[arg(short = 'O', long)]
    pub(crate) omit_digest_tags: bool,
    /// Only tags that match this pattern (`*`, `?`, `[a-z]`, `{a,b}`), or with `!` in front those that do not; of
    /// several, all have to hold (+)
    #[arg(long, value_name = "GLOB")]
    filter: Vec<Pattern>,
    /// Only tags that are versions in this range, such as `>=1.24, <2` or `1.25`; `1.25.3-alpine` counts as 1.25.3 (+)
    #[arg(long, value_name = "RANGE")]
    semver: Option<Range>,
    /// Sort by version or by name; with `-` in front the last comes first. What is no version comes behind (+)
    #[arg(long, value_name = "ORDER", allow_hyphen_values = true)]
    sort: Option<Sort>,
    /// Stop after so many; unless they are sorted, no more pages are asked for than it takes (+)
    #[arg(long, value_name = "N")]
    limit: Option<NonZeroUsize>,
    #[command(flatten)]
    pub(crate) output: Output,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Sort {
    Semver,
    Name,
    #[value(name = "-semver")]
    SemverDown,
    #[value(name = "-name")]
    NameDown,
}

pub(crate) async fn run(context: &Context, args: Args) -> Result<(), Failure> {
    let place = place::parse_repository(&args.repository, context.settings.crane)?;
    let shown = |tag: &Tag| {
        if args.full_ref { place.named(&tag.clone().into()) } else { tag.to_string() }
    };
    let limit = args.limit.map_or(usize::MAX, NonZeroUsize::get);
    let store = place::store(&place, context).await?;
    let mut pages = store.tags();
    let mut listed = 0;
    let mut all = Vec::new();
    // Page by page: the first tags of a large repository are there at once. Whoever wants them sorted wants them all.
    while (listed < limit || args.sort.is_some())
        && let Some(page) = pages.try_next().await?
    {
        let mut tags: Vec<Tag> = page.into_iter().filter(|tag| wanted(&args, tag.as_str())).collect();
        if args.sort.is_some() || args.output.wants_json() {
            listed += tags.len();
            all.extend(tags);
            continue;
        }
        tags.truncate(limit - listed);
        listed += tags.len();
        context.ui.print(tags.iter().map(|tag| shown(tag) + "\n").collect::<String>().as_bytes())?;
    }
    if let Some(sort) = args.sort {
        sort.apply(&mut all);
    }
    all.truncate(limit);
    if args.output.wants_json() {
        let tags: Vec<String> = all.iter().map(shown).collect();
        let document = serde_json::json!({"repository": place.repository(), "tags": tags});
        return args.output.print(&context.ui, &document);
    }
    context.ui.print(all.iter().map(|tag| shown(tag) + "\n").collect::<String>().as_bytes())
}

fn wanted(args: &Args, tag: &str) -> bool {
    !(args.omit_digest_tags && tag.starts_with("sha256-"))
        && args.filter.iter().all(|pattern| pattern.takes(tag))
        && args.semver.as_ref().is_none_or(|range| range.takes(tag))
}

impl Sort {
    fn apply(self, tags: &mut [Tag]) {
        match self {
            Self::Name => tags.sort_unstable(),
            Self::NameDown => tags.sort_unstable_by(|one, other| other.cmp(one)),
            Self::Semver => tags.sort_by_cached_key(|tag| {
                let version = Version::of(tag.as_str());
                (version.is_none(), version, tag.clone())
            }),
            Self::SemverDown => tags.sort_by_cached_key(|tag| {
                let version = Version::of(tag.as_str());
                // What is no version stays behind, and in its own order.
                let name = version.is_none().then(|| tag.clone());
                (version.is_none(), std::cmp::Reverse((version, name.is_none().then(|| tag.clone()))), name)
            }),
        }
    }
}

/// `--filter`.
#[derive(Clone, Debug)]
struct Pattern {
    glob: GlobMatcher,
    negated: bool,
}

impl Pattern {
    fn takes(&self, tag: &str) -> bool {
        self.glob.is_match(tag) != self.negated
    }
}

impl FromStr for Pattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (pattern, negated) = match text.strip_prefix('!') {
            Some(pattern) => (pattern, true),
            None => (text, false),
        };
        let glob = GlobBuilder::new(pattern).backslash_escape(true).build();
        let glob = glob.map_err(|error| error.kind().to_string())?.compile_matcher();
        Ok(Self { glob, negated })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sorted(sort: Sort) -> String {
        let tags = ["stable", "1.9", "1.10", "1.10-alpine", "latest", "v2", "1.10-rc1"];
        let mut tags: Vec<Tag> = tags.iter().map(|tag| Tag::new(tag).unwrap()).collect();
        sort.apply(&mut tags);
        tags.iter().map(Tag::as_str).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn sorts() {
        assert_eq!(sorted(Sort::Name), "1.10 1.10-alpine 1.10-rc1 1.9 latest stable v2");
        assert_eq!(sorted(Sort::NameDown), "v2 stable latest 1.9 1.10-rc1 1.10-alpine 1.10");
        assert_eq!(sorted(Sort::Semver), "1.9 1.10-rc1 1.10-alpine 1.10 v2 latest stable");
        assert_eq!(sorted(Sort::SemverDown), "v2 1.10 1.10-alpine 1.10-rc1 1.9 latest stable");
    }

    #[test]
    fn patterns() {
        for (pattern, tag, taken) in [
            ("1.2*", "1.25", true),
            ("1.2*", "v1.25", false),
            ("*-{alpine,slim}", "1-slim", true),
            ("1.2[0-4]", "1.25", false),
            ("!*-*", "1.25", true),
            ("!*-*", "1.25-alpine", false),
        ] {
            assert_eq!(pattern.parse::<Pattern>().unwrap().takes(tag), taken, "{pattern} {tag}");
        }
        assert!("a[".parse::<Pattern>().is_err());
    }
}
