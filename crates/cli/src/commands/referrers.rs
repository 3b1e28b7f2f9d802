use std::num::NonZeroUsize;

use futures_util::TryStreamExt;
use oci::{Descriptor, Digest, Selector};
use registry::ReferrersSource;
use store::Store;

use crate::context::Context;
use crate::failure::Failure;
use crate::output::Output;
use crate::place::{Place, Source};

/// When something was made (image specification, "Pre-Defined Annotation Keys").
const CREATED: &str = "org.opencontainers.image.created";

/// List what refers to an image: signatures, SBOMs, attestations (+)
///
/// Each with its digest, artifact type, the size of its manifest, and when it was made if it says so. As JSON:
/// `{"subject": DIGEST, "via": "api", "tag" or "layout", "referrers": [DESCRIPTOR…]}`. With --platform, what refers to the image
/// for it.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The image or any other artifact
    #[arg(value_name = "IMAGE")]
    pub(crate) image: String,
    /// Only those of this artifact type
    #[arg(long, value_name = "TYPE")]
    pub(crate) artifact_type: Option<String>,
    /// Stop after so many
    #[arg(long, value_name = "N")]
    pub(crate) limit: Option<NonZeroUsize>,
    #[command(flatten)]
    pub(crate) output: Output,
}

pub(crate) async fn run(context: &Context, args: Args) -> Result<(), Failure> {
    let Source { store, selector, place } = context.open(&args.image).await?;
    let subject = subject(context, &*store, selector).await?;
    let limit = args.limit.map_or(usize::MAX, NonZeroUsize::get);
    let artifact_type = args.artifact_type.as_deref();
    let (mut referrers, via) = match &place {
        Place::Registry(reference) => {
            let mut via = "api";
            let mut referrers = Vec::new();
            let store = context.store(reference.repository())?;
            let mut pages = store.find_referrers(&subject, artifact_type);
            while referrers.len() < limit
                && let Some(page) = pages.try_next().await?
            {
                via = match page.source {
                    ReferrersSource::Api => "api",
                    ReferrersSource::Tag => "tag",
                };
                referrers.extend(page.descriptors);
            }
            (referrers, via)
        }
        Place::Layout(_) | Place::Archive(_) | Place::Directory(_) | Place::Daemon(_) => {
            let pages: Vec<_> = store.referrers(&subject, artifact_type).try_collect().await?;
            (pages.concat(), if matches!(place, Place::Layout(_)) { "layout" } else { "archive" })
        }
    };
    referrers.truncate(limit);
    if args.output.wants_json() {
        let document =
            serde_json::json!({"subject": subject.to_string(), "via": via, "referrers": referrers});
        return args.output.print(&context.ui, &document);
    }
    if via == "tag" {
        let tag = subject.fallback_tag();
        context.ui.log(&format!("{} keeps no list of referrers; this is that of tag {tag}", store.name()));
    }
    if referrers.is_empty() {
        context.ui.log(&format!("nothing is known that refers to {}@{subject}", store.name()));
    }
    context.ui.print(table(&referrers).as_bytes())
}

/// The digest that the others refer to.
async fn subject(context: &Context, store: &dyn Store, selector: Selector) -> Result<Digest, Failure> {
    if let Some(platform) = context.settings.platform() {
        return Ok(transfer::select(store, &selector, platform).await?.digest());
    }
    if let Selector::Digest(digest) = selector {
        return Ok(digest);
    }
    Ok(store.resolve(&selector).await?.digest)
}

/// One line each, in columns.
fn table(referrers: &[Descriptor]) -> String {
    let rows: Vec<[String; 4]> = referrers.iter().map(row).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
    let widths = [width(0), width(1), width(2)];
    let line = |[digest, artifact_type, size, created]: &[String; 4]| {
        let line = format!(
            "{digest:<0$}  {artifact_type:<1$}  {size:>2$}  {created}",
            widths[0], widths[1], widths[2]
        );
        line.trim_end().to_owned() + "\n"
    };
    rows.iter().map(line).collect()
}

fn row(referrer: &Descriptor) -> [String; 4] {
    // What others wrote must not steer the terminal, or break a line.
    let printable = |text: &str| text.chars().filter(|c| !c.is_control()).collect::<String>();
    let artifact_type = referrer.artifact_type.as_deref().filter(|text| !text.is_empty()).unwrap_or("-");
    let created = referrer.annotations.get(CREATED).map(String::as_str).unwrap_or_default();
    [
        referrer.digest.to_string(),
        printable(artifact_type),
        indicatif::HumanBytes(referrer.size).to_string(),
        printable(created),
    ]
}

#[cfg(test)]
mod tests {
    use oci::{Algorithm, MediaType};

    use super::*;

    #[test]
    fn columns() {
        let referrer = |size, artifact_type: Option<&str>, created: Option<&str>| {
            let digest = Algorithm::Sha256.digest(b"");
            let mut referrer = Descriptor::new(MediaType::OCI_MANIFEST, digest, size);
            referrer.artifact_type = artifact_type.map(str::to_owned);
            referrer.annotations.extend(created.map(|created| (CREATED.to_owned(), created.to_owned())));
            referrer
        };
        let referrers = [
            referrer(7, Some("a/b"), Some("2026-11-24T04:00:00Z")),
            referrer(4096, Some("application/x\u{1b}[2J\n"), None),
            referrer(1, None, Some("\nnow")),
        ];
        let digest = referrers[0].digest;
        let expected = [
            format!("{digest}  a/b                    7 B  2026-11-24T04:00:00Z\n"),
            format!("{digest}  application/x[2J  4.00 KiB\n"),
            format!("{digest}  -                      1 B  now\n"),
        ];
        assert_eq!(table(&referrers), expected.concat());
        assert_eq!(table(&[]), "");
    }
}
