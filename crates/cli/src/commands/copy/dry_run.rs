//! What a copy would do.

use indicatif::HumanBytes;
use oci::Descriptor;
use serde::Serialize;
use transfer::Preview;

use crate::failure::Failure;
use crate::output::Output;
use crate::ui::Ui;

#[derive(Serialize)]
struct Document<'a> {
    destination: &'a str,
    root: &'a Descriptor,
    existed: bool,
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

/// Prints the plan: a line for each blob, and what they are together.
pub(super) fn print(ui: &Ui, output: &Output, destination: &str, preview: &Preview) -> Result<(), Failure> {
    let Preview { root, existed, blobs, bytes, kept, existing, manifests } = preview;
    if output.wants_json() {
        let steps = blobs
            .iter()
            .map(|step| Step { blob: &step.blob, mount: step.origin.as_ref().map(ToString::to_string) });
        return output.print(
            ui,
            &Document {
                destination,
                root,
                existed: *existed,
                blobs: steps.collect(),
                bytes: *bytes,
                kept: *kept,
                existing,
                manifests: *manifests,
                requests: preview.requests(),
            },
        );
    }
    if *existed {
        return ui.println(&format!("{destination} is {} already", root.digest));
    }
    for step in blobs {
        let verb = if step.origin.is_some() { "mount" } else { "move" };
        let size = HumanBytes(step.blob.size).to_string();
        ui.println(&format!("{verb:<5} {size:>11}  {}", step.blob.digest))?;
    }
    let there: u64 = existing.iter().map(|blob| blob.size).sum();
    let kept = if *kept > 0 {
        format!("; {} are there from an earlier attempt", HumanBytes(*kept))
    } else {
        String::new()
    };
    ui.println(&format!(
        "{} blobs, {}; {} blobs, {} are there; {manifests} manifests; about {} requests{kept}",
        blobs.len(),
        HumanBytes(*bytes),
        existing.len(),
        HumanBytes(there),
        preview.requests()
    ))
}
