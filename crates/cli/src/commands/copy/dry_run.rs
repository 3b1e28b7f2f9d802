//! What a copy would do.

use indicatif::HumanBytes;
use oci::{Descriptor, Tag};
use serde::Serialize;
use transfer::{Preview, TagsPreview, Todo};

use crate::failure::Failure;
use crate::output::Output;
use crate::ui::Ui;

/// The plan of one image.
#[derive(Serialize)]
struct Image<'a> {
    destination: &'a str,
    root: &'a Descriptor,
    existed: bool,
    #[serde(flatten)]
    work: Work<'a>,
}

/// The plan of a repository.
#[derive(Serialize)]
struct Repository<'a> {
    destination: &'a str,
    tags: Vec<Named<'a>>,
    existed: Vec<Named<'a>>,
    skipped: Vec<&'a str>,
    #[serde(flatten)]
    work: Work<'a>,
}

#[derive(Serialize)]
struct Named<'a> {
    tag: &'a str,
    root: &'a Descriptor,
}

/// What is to be done.
#[derive(Serialize)]
struct Work<'a> {
    blobs: Vec<Step<'a>>,
    bytes: u64,
    kept: u64,
    existing: &'a [Descriptor],
    manifests: usize,
    requests: usize,
}

#[derive(Serialize)]
struct Step<'a> {
    #[serde(flatten)]
    blob: &'a Descriptor,
    #[serde(skip_serializing_if = "Option::is_none")]
    mount: Option<String>,
}

/// Prints the plan of one image: a line for each blob, and what they are together.
pub(super) fn print(ui: &Ui, output: &Output, destination: &str, preview: &Preview) -> Result<(), Failure> {
    let Preview { root, existed, todo } = preview;
    let (existed, work) = (*existed, Work::of(todo));
    if output.wants_json() {
        return output.print(ui, &Image { destination, root, existed, work });
    }
    if existed {
        return ui.println(&format!("{destination} is {} already", root.digest));
    }
    work.print(ui, "")
}

/// Prints the plan of a repository.
pub(super) fn print_tags(
    ui: &Ui,
    output: &Output,
    destination: &str,
    preview: &TagsPreview,
) -> Result<(), Failure> {
    let TagsPreview { tags, existed, skipped, todo } = preview;
    let work = Work::of(todo);
    if output.wants_json() {
        let (tags, existed) = (named(tags), named(existed));
        let skipped = skipped.iter().map(Tag::as_str).collect();
        return output.print(ui, &Repository { destination, tags, existed, skipped, work });
    }
    let (tags, existed, skipped) = (tags.len(), existed.len(), skipped.len());
    work.print(ui, &format!("{tags} tags, {existed} are there, {skipped} skipped: "))
}

fn named(tags: &[(Tag, Descriptor)]) -> Vec<Named<'_>> {
    tags.iter().map(|(tag, root)| Named { tag: tag.as_str(), root }).collect()
}

impl<'a> Work<'a> {
    fn of(todo: &'a Todo) -> Self {
        let requests = todo.requests();
        let Todo { blobs, bytes, kept, existing, manifests } = todo;
        let steps = blobs
            .iter()
            .map(|step| Step { blob: &step.blob, mount: step.origin.as_ref().map(ToString::to_string) });
        let (bytes, kept, manifests) = (*bytes, *kept, *manifests);
        Self { blobs: steps.collect(), bytes, kept, existing, manifests, requests }
    }

    fn print(&self, ui: &Ui, what: &str) -> Result<(), Failure> {
        for step in &self.blobs {
            let verb = if step.mount.is_some() { "mount" } else { "move" };
            let size = HumanBytes(step.blob.size).to_string();
            ui.println(&format!("{verb:<5} {size:>11}  {}", step.blob.digest))?;
        }
        let there: u64 = self.existing.iter().map(|blob| blob.size).sum();
        let kept = if self.kept > 0 {
            format!("; {} are there from an earlier attempt", HumanBytes(self.kept))
        } else {
            String::new()
        };
        ui.println(&format!(
            "{what}{} blobs, {}; {} blobs, {} are there; {} manifests; about {} requests{kept}",
            self.blobs.len(),
            HumanBytes(self.bytes),
            self.existing.len(),
            HumanBytes(there),
            self.manifests,
            self.requests
        ))
    }
}
