//! What is said of an event in a line.

use store::Event;

use super::text;

/// crane's vocabulary, which scripts know. `typed` is the destination in full and as it was typed.
pub(super) fn copy(event: &Event<'_>, typed: &(String, String)) -> Option<String> {
    Some(match event {
        Event::BlobDone(blob) => format!("pushed blob: {}", blob.digest),
        Event::BlobMounted(blob) => format!("mounted blob: {}", blob.digest),
        Event::BlobExisted { blob, .. } => format!("existing blob: {}", blob.digest),
        Event::ManifestDone { reference, manifest } => {
            let reference = if **reference == *typed.0 { &typed.1 } else { *reference };
            format!("{reference}: digest: {} size: {}", manifest.digest, manifest.size)
        }
        Event::ManifestExisted { selector, manifest } if selector.contains(':') => {
            format!("existing manifest: {}", manifest.digest)
        }
        Event::ManifestExisted { selector, manifest } => {
            format!("existing manifest: {selector}@{}", manifest.digest)
        }
        _ => return None,
    })
}

/// What one wants to hear beside bars too.
pub(super) fn notable(event: &Event<'_>) -> Option<String> {
    Some(match event {
        Event::Planned { bytes, kept, .. } if *kept > 0 => {
            format!("resuming at {} of {}", text::size(*kept), text::size(*bytes))
        }
        Event::Uncached(text) => (*text).to_owned(),
        Event::TagSkipped(tag) => format!("Skipping {tag} due to no-clobber"),
        Event::Retried { reason, wait } => format!("retrying in {:.1} s: {reason}", wait.as_secs_f64()),
        Event::Limited { host, wait } => {
            let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            format!("{host} asks to wait {seconds} s")
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use oci::Descriptor;

    use super::*;

    #[test]
    fn lines_are_crane_s() {
        let typed = ("localhost:5000/app:latest".to_owned(), "localhost:5000/app".to_owned());
        let blob = Descriptor::of(oci::MediaType::OCI_EMPTY, oci::Algorithm::Sha256, b"{}");
        let (digest, hex) = (blob.digest, blob.digest.to_string());
        let reference = "localhost:5000/app:latest";
        for (event, line) in [
            (Event::BlobDone(&blob), format!("pushed blob: {digest}")),
            (Event::BlobMounted(&blob), format!("mounted blob: {digest}")),
            (Event::BlobExisted { blob: &blob, planned: false }, format!("existing blob: {digest}")),
            (
                Event::ManifestDone { reference, manifest: &blob },
                format!("localhost:5000/app: digest: {digest} size: 2"),
            ),
            (
                Event::ManifestExisted { selector: "v1", manifest: &blob },
                format!("existing manifest: v1@{digest}"),
            ),
            (
                Event::ManifestExisted { selector: &hex, manifest: &blob },
                format!("existing manifest: {digest}"),
            ),
        ] {
            assert_eq!(copy(&event, &typed), Some(line));
            assert_eq!(notable(&event), None);
        }
    }

    #[test]
    fn what_is_worth_a_line() {
        let (bytes, kept) = (40 << 30, 33_500_949_709);
        let wait = Duration::from_secs(30);
        for (event, line) in [
            (Event::Planned { blobs: 3, bytes, kept }, Some("resuming at 31.2 GiB of 40.0 GiB")),
            (Event::Planned { blobs: 3, bytes, kept: 0 }, None),
            (Event::Limited { host: "ghcr.io", wait }, Some("ghcr.io asks to wait 30 s")),
            (
                Event::Limited { host: "ghcr.io", wait: Duration::from_millis(1001) },
                Some("ghcr.io asks to wait 2 s"),
            ),
            (Event::Retried { reason: "it broke", wait }, Some("retrying in 30.0 s: it broke")),
        ] {
            assert_eq!(notable(&event).as_deref(), line);
        }
    }
}
