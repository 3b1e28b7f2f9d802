//! What came out of a validation.

use std::fmt;

use oci::{Descriptor, Digest};
use serde::Serialize;

/// What was checked, and what was found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The digest of the manifest that was asked for; none if it could not be read.
    pub digest: Option<Digest>,
    /// How many manifests were read.
    pub manifests: usize,
    /// How many different blobs were checked, configs among them.
    pub blobs: usize,
    /// Bytes of the manifests and blobs that were read.
    pub bytes: u64,
    /// Where the images are that were checked, such as `linux/arm64`; `image` where the root is one.
    pub images: Vec<String>,
    /// What was found, in the order of the graph.
    pub findings: Vec<Finding>,
}

impl Report {
    /// Whether nothing is wrong; there may be notes.
    pub fn is_valid(&self) -> bool {
        self.errors().next().is_none()
    }

    /// What is wrong.
    pub fn errors(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(|finding| finding.severity == Severity::Error)
    }

    /// What is worth to be known, but not wrong.
    pub fn notes(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(|finding| finding.severity == Severity::Note)
    }
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The content is damaged, incomplete, or against the specification.
    Error,
    /// Something that was not checked, or that many good images have.
    Note,
}

/// Something that was found. Its text is one line without control characters, whatever the content holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// Where it was found, in words: `linux/arm64: layer 3`.
    #[serde(rename = "where")]
    pub place: String,
    /// The digest of what it was found in, where that is known.
    pub digest: Option<Digest>,
    /// What was found.
    pub problem: String,
    /// Other places that have the same content, and so the same problem.
    pub also: Vec<String>,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.place)?;
        if let Some(digest) = self.digest {
            write!(f, " {digest}")?;
        }
        write!(f, ": {}", self.problem)?;
        if !self.also.is_empty() {
            write!(f, " (also {})", self.also.join(", "))?;
        }
        Ok(())
    }
}

/// A part of the graph.
#[derive(Clone, Debug)]
pub(super) struct Spot {
    /// Which manifest in the order of the walk, and which part of it.
    order: (usize, usize),
    words: String,
    digest: Option<Digest>,
}

impl Spot {
    /// The manifest that the validation begins with.
    pub(super) fn root(digest: Option<Digest>) -> Self {
        Self::new((0, 0), "", "manifest", digest)
    }

    /// A part, called `part`, of what lies at `path`.
    pub(super) fn new(order: (usize, usize), path: &str, part: &str, digest: Option<Digest>) -> Self {
        let words = if path.is_empty() { part.to_owned() } else { format!("{path}: {part}") };
        Self { order, words, digest }
    }
}

/// What has been found so far.
#[derive(Default)]
pub(super) struct Findings(Vec<((usize, usize), Finding)>);

impl Findings {
    pub(super) fn error(&mut self, spot: &Spot, problem: impl AsRef<str>) {
        self.add(Severity::Error, spot, problem.as_ref());
    }

    pub(super) fn note(&mut self, spot: &Spot, problem: impl AsRef<str>) {
        self.add(Severity::Note, spot, problem.as_ref());
    }

    /// Something that a descriptor names is not there.
    pub(super) fn missing(&mut self, spot: &Spot) {
        self.error(spot, "is missing");
    }

    /// Checks the content that a descriptor may have in itself.
    pub(super) fn embedded(&mut self, spot: &Spot, descriptor: &Descriptor) {
        if descriptor.data.is_some() && descriptor.embedded().is_none() {
            self.error(spot, "the embedded data is not what digest and size promise");
        }
    }

    fn add(&mut self, severity: Severity, spot: &Spot, problem: &str) {
        let finding = Finding {
            severity,
            place: one_line(&spot.words),
            digest: spot.digest,
            problem: one_line(problem),
            also: Vec::new(),
        };
        self.0.push((spot.order, finding));
    }

    /// All findings in the order of the graph; what is wrong with shared content is told once.
    pub(super) fn merged(mut self) -> Vec<Finding> {
        self.0.sort_by_key(|(order, _)| *order);
        let mut merged: Vec<Finding> = Vec::new();
        let mut met = std::collections::HashMap::new();
        for (_, finding) in self.0 {
            let key = (finding.severity == Severity::Error, finding.digest, finding.problem.clone());
            if let Some(first) = met.get(&key).and_then(|at: &usize| merged.get_mut(*at)) {
                first.also.push(finding.place);
            } else {
                met.insert(key, merged.len());
                merged.push(finding);
            }
        }
        merged
    }
}

/// Nothing in the content may break a line or steer the terminal.
fn one_line(text: &str) -> String {
    let escape = |c: char| if c.is_control() { c.escape_default().collect() } else { c.to_string() };
    text.chars().map(escape).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shared_content_is_told_once_and_in_order() {
        let shared = oci::Algorithm::Sha256.digest(b"shared");
        let digest = Some(shared);
        let mut findings = Findings::default();
        findings.missing(&Spot::new((2, 1), "linux/arm64", "layer 1", digest));
        findings.missing(&Spot::new(
            (2, 2),
            "linux/arm64",
            "layer 2",
            Some(oci::Algorithm::Sha256.digest(b"")),
        ));
        findings.missing(&Spot::new((1, 1), "linux/amd64", "layer 1", digest));
        findings.note(&Spot::root(None), "a\nb\u{1b}[2J");
        let texts: Vec<String> = findings.merged().iter().map(ToString::to_string).collect();
        assert_eq!(texts.len(), 3);
        assert_eq!(texts[0], "manifest: a\\nb\\u{1b}[2J");
        let first = format!("linux/amd64: layer 1 {shared}: is missing (also linux/arm64: layer 1)");
        assert_eq!(texts[1], first);
        assert!(texts[2].starts_with("linux/arm64: layer 2 sha256:e3b0"), "{}", texts[2]);
    }
}
