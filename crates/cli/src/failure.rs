//! How a command ends when it does not end well: one line with the cause, and hints that mend it.

use std::fmt;
use std::io;

use store::Kind;

/// Why a command ended.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Something went wrong.
    Error {
        /// The cause, in one line.
        text: String,
        /// What may mend it.
        hints: Vec<String>,
    },
    /// Whoever read the output has seen enough. No failure at all.
    Closed,
    /// All that there is to say has been said as the result.
    Silent,
}

impl Failure {
    pub(crate) fn new(text: impl fmt::Display) -> Self {
        // Causes from elsewhere may come in several lines.
        let text = text.to_string().lines().map(str::trim).collect::<Vec<_>>().join(" ");
        Self::Error { text, hints: Vec::new() }
    }

    #[must_use]
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        if let Self::Error { hints, .. } = &mut self {
            hints.push(hint.into());
        }
        self
    }

    /// An error of writing the command's own output.
    pub(crate) fn output(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::Closed,
            _ => Self::new(format_args!("writing the output: {error}")),
        }
    }

    fn of_kind(text: &impl fmt::Display, kind: Option<Kind>) -> Self {
        let failure = Self::new(text);
        let text = text.to_string();
        match kind {
            Some(Kind::Unauthorized) => failure.hint(
                "log in with `hoist auth login`, `docker login` or `podman login`; `hoist auth whoami` says what is there",
            ),
            Some(Kind::Denied) => failure
                .hint("the registry knows who asks, but does not allow it; a private repository that is missing looks the same"),
            Some(Kind::NotFound) if text.contains("/manifests/") => {
                failure.hint("`hoist ls REPOSITORY` shows the tags that exist")
            }
            Some(Kind::TooManyRequests) => {
                failure.hint("the registry limits how often it may be asked; logging in often raises the limit")
            }
            Some(Kind::Unreachable) => match unreachable_hint(&text) {
                Some(hint) => failure.hint(hint),
                None => failure,
            },
            _ => failure,
        }
    }
}

fn unreachable_hint(text: &str) -> Option<&'static str> {
    [
        ("no such host", "check the registry's name; a reference without a host means Docker Hub"),
        ("refused", "nothing listens there; check the host and the port"),
        ("ertificate", "if you trust this registry all the same, --insecure accepts any certificate"),
        ("corrupt message", "the server does not speak TLS; --insecure allows plain http"),
    ]
    .into_iter()
    .find_map(|(sign, hint)| text.contains(sign).then_some(hint))
}

impl From<store::Error> for Failure {
    fn from(error: store::Error) -> Self {
        Self::of_kind(&error, Some(error.kind()))
    }
}

impl From<transfer::Error> for Failure {
    fn from(error: transfer::Error) -> Self {
        let failure = Self::of_kind(&error, error.kind());
        match &error {
            transfer::Error::NoChild { offered, .. } if !offered.is_empty() => {
                let offered: Vec<String> = offered.iter().map(ToString::to_string).collect();
                failure.hint(format!("it has {}", offered.join(", ")))
            }
            _ => failure,
        }
    }
}

impl From<image::Error> for Failure {
    fn from(error: image::Error) -> Self {
        if error.is_closed() {
            return Self::Closed;
        }
        Self::of_kind(&error, error.kind())
    }
}

impl From<oci::ReferenceError> for Failure {
    fn from(error: oci::ReferenceError) -> Self {
        Self::new(error)
    }
}

impl From<auth::Error> for Failure {
    fn from(error: auth::Error) -> Self {
        Self::new(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_are_one_line() {
        let Failure::Error { text, hints } = Failure::new("a\n  b").hint("c") else { panic!() };
        assert_eq!((text.as_str(), hints.as_slice()), ("a b", &["c".to_owned()][..]));
    }

    #[test]
    fn a_closed_output_is_no_error() {
        assert!(matches!(Failure::output(&io::ErrorKind::BrokenPipe.into()), Failure::Closed));
        assert!(matches!(Failure::output(&io::ErrorKind::StorageFull.into()), Failure::Error { .. }));
    }
}
