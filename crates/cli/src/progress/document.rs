//! What `--progress json` says, one object a line: `docs/progress.md` promises these fields.

use std::time::Duration;

use oci::Digest;
use serde::Serialize;
use store::Event;

use super::tally::{Flow, Summary};

/// Of the objects. Fields and events may come; none goes or changes its meaning within a version.
const VERSION: u32 = 1;

/// One object.
#[derive(Serialize)]
struct Line<'a> {
    v: u32,
    time: String,
    #[serde(flatten)]
    document: &'a Document<'a>,
}

/// One object's own part.
#[derive(Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(crate) enum Document<'a> {
    Planned { blobs: usize, bytes: u64, kept: u64 },
    Resuming { kept: u64, bytes: u64 },
    Started { digest: Digest, size: u64, kept: u64 },
    Cached { digest: Digest, size: u64 },
    Advanced { digest: Digest, size: u64, at: u64, bytes: u64 },
    Done { digest: Digest, size: u64 },
    Mounted { digest: Digest, size: u64 },
    Existed { digest: Digest, size: u64 },
    Manifest { name: &'a str, digest: Digest, size: u64, existed: bool },
    Skipped { tag: &'a str },
    Retried { reason: &'a str, wait: f64 },
    Limited { host: &'a str, wait: f64 },
    Warned { message: &'a str },
    Note { message: &'a str },
    Error { message: &'a str, hints: &'a [String] },
    Summary(Sum<'a>),
}

/// The end of a transfer.
#[derive(Serialize)]
pub(crate) struct Sum<'a> {
    complete: bool,
    seconds: f64,
    #[serde(flatten)]
    summary: &'a Summary,
}

impl<'a> Document<'a> {
    /// What is said of an event, of most in one object.
    pub(super) fn all(event: &Event<'a>) -> Vec<Self> {
        let resuming = match *event {
            Event::Planned { bytes, kept, .. } if kept > 0 => Some(Self::Resuming { kept, bytes }),
            _ => None,
        };
        Self::of(event).into_iter().chain(resuming).collect()
    }

    /// What happened; `None` for what is told together with more of its kind.
    fn of(event: &Event<'a>) -> Option<Self> {
        Some(match *event {
            Event::Planned { blobs, bytes, kept } => Self::Planned { blobs, bytes, kept },
            Event::BlobStarted { blob, kept } => Self::Started { digest: blob.digest, size: blob.size, kept },
            Event::BlobCached(blob) => Self::Cached { digest: blob.digest, size: blob.size },
            Event::BlobDone(blob) => Self::Done { digest: blob.digest, size: blob.size },
            Event::BlobMounted(blob) => Self::Mounted { digest: blob.digest, size: blob.size },
            Event::BlobExisted { blob, .. } => Self::Existed { digest: blob.digest, size: blob.size },
            Event::ManifestDone { reference: name, manifest } => {
                Self::Manifest { name, digest: manifest.digest, size: manifest.size, existed: false }
            }
            Event::ManifestExisted { selector: name, manifest } => {
                Self::Manifest { name, digest: manifest.digest, size: manifest.size, existed: true }
            }
            Event::TagSkipped(tag) => Self::Skipped { tag: tag.as_str() },
            Event::Retried { reason, wait } => Self::Retried { reason, wait: seconds(wait) },
            Event::Limited { host, wait } => Self::Limited { host, wait: seconds(wait) },
            Event::Uncached(message) => Self::Note { message },
            _ => return None,
        })
    }

    /// How far a blob is, after so many more bytes.
    pub(super) fn advanced(flow: &Flow, bytes: u64) -> Self {
        Self::Advanced { digest: flow.digest, size: flow.size, at: flow.at, bytes }
    }

    /// `complete`: all that was asked for has been done.
    pub(super) fn summary(summary: &'a Summary, complete: bool, took: Duration) -> Self {
        Self::Summary(Sum { complete, seconds: seconds(took), summary })
    }

    /// The object as a line of its own, of now.
    pub(crate) fn line(&self) -> String {
        let time = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string();
        let line = Line { v: VERSION, time, document: self };
        // Strings and numbers in a struct always have a JSON form.
        serde_json::to_string(&line).unwrap_or_default()
    }
}

/// To the millisecond.
fn seconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 1000.0).round() / 1000.0
}

#[cfg(test)]
mod tests {
    use oci::Descriptor;
    use serde_json::{Value, json};

    use super::*;

    fn parsed(document: &Document<'_>) -> Value {
        let mut value: Value = serde_json::from_str(&document.line()).unwrap();
        let time = value.as_object_mut().unwrap().remove("time").unwrap();
        let time = time.as_str().unwrap();
        assert!(time.parse::<jiff::Timestamp>().is_ok() && time.len() == "2026-11-24T12:00:00.000Z".len());
        value
    }

    #[test]
    fn events_are_objects() {
        let blob = Descriptor::of(oci::MediaType::OCI_EMPTY, oci::Algorithm::Sha256, b"{}");
        let digest = blob.digest.to_string();
        let tag = oci::Tag::new("1.0").unwrap();
        let wait = Duration::from_millis(1500);
        for (event, expected) in [
            (
                Event::Planned { blobs: 1, bytes: 2, kept: 1 },
                json!({"v": 1, "event": "planned", "blobs": 1, "bytes": 2, "kept": 1}),
            ),
            (
                Event::BlobStarted { blob: &blob, kept: 1 },
                json!({"v": 1, "event": "started", "digest": digest, "size": 2, "kept": 1}),
            ),
            (Event::BlobDone(&blob), json!({"v": 1, "event": "done", "digest": digest, "size": 2})),
            (Event::BlobMounted(&blob), json!({"v": 1, "event": "mounted", "digest": digest, "size": 2})),
            (
                Event::BlobExisted { blob: &blob, planned: true },
                json!({"v": 1, "event": "existed", "digest": digest, "size": 2}),
            ),
            (
                Event::ManifestExisted { selector: "1.0", manifest: &blob },
                json!({"v": 1, "event": "manifest", "name": "1.0", "digest": digest, "size": 2, "existed": true}),
            ),
            (Event::TagSkipped(&tag), json!({"v": 1, "event": "skipped", "tag": "1.0"})),
            (
                Event::Retried { reason: "it broke", wait },
                json!({"v": 1, "event": "retried", "reason": "it broke", "wait": 1.5}),
            ),
            (
                Event::Limited { host: "ghcr.io", wait },
                json!({"v": 1, "event": "limited", "host": "ghcr.io", "wait": 1.5}),
            ),
        ] {
            assert_eq!(parsed(&Document::of(&event).unwrap()), expected);
        }
        assert!(Document::of(&Event::BlobAdvanced(&blob, 1)).is_none());
    }

    #[test]
    fn a_summary_is_one_object() {
        let sum = Summary::default();
        let value = parsed(&Document::summary(&sum, true, Duration::from_micros(1_234_567)));
        assert_eq!(
            value,
            json!({
                "v": 1, "event": "summary", "complete": true, "seconds": 1.235,
                "bytes": {"moved": 0, "retried": 0, "resumed": 0, "cached": 0, "mounted": 0, "existed": 0},
                "blobs": {"moved": 0, "mounted": 0, "existed": 0},
                "manifests": {"written": 0, "existed": 0}, "tags_skipped": 0,
            })
        );
    }
}
