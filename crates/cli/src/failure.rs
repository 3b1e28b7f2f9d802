//! How a command ends when it does not end well: one line with the cause, and hints that mend it.

use std::error::Error;
use std::fmt;
use std::io;

use auth::Action;
use registry::Trouble;
use store::Kind;

/// What helps where credentials are missing, or are wrong.
pub(crate) const LOG_IN: &str = "log in with `hoist auth login`, `docker login` or `podman login`; `hoist auth whoami` tells what is found";

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

    fn hint_of(self, hint: Option<String>) -> Self {
        match hint {
            Some(hint) => self.hint(hint),
            None => self,
        }
    }

    /// An error of writing the command's own output.
    pub(crate) fn output(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::Closed,
            _ => Self::new(format_args!("writing the output: {error}")),
        }
    }

    /// A failure whose cause is a store's, if it is one's.
    fn of_store(error: &impl fmt::Display, store: Option<&store::Error>) -> Self {
        let failure = Self::new(error);
        let Some(store) = store else { return failure };
        let cause: &(dyn Error + 'static) = store.cause();
        let registry = cause.downcast_ref::<registry::Error>();
        if let Some(trouble) = registry.and_then(registry::Error::trouble) {
            return failure.hint(mend(&trouble));
        }
        if let Some(registry::Error::Credentials(error)) = registry {
            return failure.hint_of(mend_credentials(error));
        }
        let failure = match registry.and_then(registry::Error::answer).and_then(|answer| answer.skew) {
            // Tokens and signatures are good for a time, by a clock.
            Some(skew) if matches!(store.kind(), Kind::Unauthorized | Kind::Denied) => {
                failure.hint(format!("{skew}; one of them is wrong, and tokens are only good for a time"))
            }
            _ => failure,
        };
        if matches!(registry, Some(registry::Error::InTheClear { .. })) {
            return failure.hint(
                "where the way to the registry is safe, --plain-http lets credentials travel over plain http",
            );
        }
        match store.kind() {
            Kind::Unauthorized => failure.hint(LOG_IN),
            Kind::Denied => failure
                .hint("the registry knows who asks, but does not allow it; a private repository that is missing looks the same"),
            Kind::NotFound if failure.text().contains("/blobs/uploads/") => failure
                .hint("this registry may not make repositories by itself, as Amazon's does not: create it there first"),
            Kind::NotFound if failure.text().contains("/manifests/") => {
                failure.hint("`hoist ls REPOSITORY` shows the tags that exist")
            }
            Kind::TooManyRequests => {
                failure.hint("the registry limits how often it may be asked; logging in often raises the limit")
            }
            _ => failure,
        }
    }

    /// The failure that a store's error is.
    pub(crate) fn of(error: &store::Error) -> Self {
        Self::of_store(error, Some(error))
    }

    /// What may mend it.
    pub(crate) fn hints(&self) -> &[String] {
        match self {
            Self::Error { hints, .. } => hints,
            Self::Closed | Self::Silent => &[],
        }
    }

    fn text(&self) -> &str {
        match self {
            Self::Error { text, .. } => text,
            Self::Closed | Self::Silent => "",
        }
    }
}

/// What a person can do about a registry that cannot be reached.
fn mend(trouble: &Trouble) -> String {
    let hint = match trouble {
        Trouble::UnknownHost => "check the registry's name; a reference without a host means Docker Hub",
        Trouble::NameServer => {
            "the name server does not answer, or there is none: check /etc/resolv.conf, and the way to it"
        }
        Trouble::Refused => "nothing listens there; check the host and the port",
        Trouble::NoRoute => {
            "there is no way from this machine to that address; check network and VPN, or whether a proxy is needed \
             (HTTPS_PROXY)"
        }
        Trouble::Timeout => "nothing answers there; check the host, the port, and what stands between",
        Trouble::UnknownAuthority => {
            "give the authority's certificate with --ca-file, or put it into certs.d; --tls-skip-verify believes any"
        }
        Trouble::CertificateTime => {
            let now = jiff::Timestamp::now().strftime("%Y-%m-%d %H:%M UTC");
            return format!(
                "this machine's clock says {now}; if that is right, the registry needs a new certificate \
                 (--tls-skip-verify believes any)"
            );
        }
        Trouble::WrongName(names) if !names.is_empty() => {
            let names: Vec<&str> = names.iter().map(|name| name_of(name)).collect();
            return format!("the certificate is for {}; call the registry by that name", names.join(", "));
        }
        Trouble::WrongName(_) => {
            "the certificate is for another name; call the registry by the one that it has"
        }
        Trouble::Certificate => {
            "--tls-skip-verify believes any certificate; nobody on the way is kept out then"
        }
        Trouble::ClientCertificate => {
            "the registry wants a certificate of the client: --cert and --key, or NAME.cert and NAME.key in certs.d"
        }
        Trouble::NotTls => {
            "the server does not speak TLS there; --plain-http speaks http, --insecure finds out"
        }
        Trouble::NotHttp => "the server speaks TLS there; leave out --plain-http",
        Trouble::Proxy => "check HTTPS_PROXY and HTTP_PROXY; NO_PROXY names hosts that are asked directly",
        Trouble::ProxyCredentials => {
            "write the proxy as http://USER:PASSWORD@HOST:PORT in HTTPS_PROXY and HTTP_PROXY"
        }
        Trouble::SentAstray => "if the registry is to be trusted with that, --allow-host HOST lets it",
        _ => "`hoist doctor REGISTRY` looks closer",
    };
    hint.to_owned()
}

/// What a person can do about files and helpers that should give credentials.
fn mend_credentials(error: &auth::Error) -> Option<String> {
    Some(match error {
        auth::Error::Read { .. } => "let whoever runs hoist read that file, or move it away".to_owned(),
        auth::Error::Parse { .. } => "mend that file, or move it away and log in again".to_owned(),
        auth::Error::Entry { .. } => "`hoist auth login` writes the entry anew".to_owned(),
        auth::Error::HelperMissing { name, .. } => {
            format!("install docker-credential-{name}, or take its name out of the file and log in again")
        }
        auth::Error::HelperTimeout { name, action: Action::Get, server, .. }
        | auth::Error::HelperFailed { name, action: Action::Get, server, .. } => {
            format!("see what it does alone: `echo {server} | docker-credential-{name} get`")
        }
        _ => return None,
    })
}

/// A name as rustls shows it: `DnsName("h")`, `IpAddress(10.0.0.1)`, or plain.
fn name_of(shown: &str) -> &str {
    let inner = shown.split_once('(').map_or(shown, |(_, rest)| rest.trim_end_matches(')'));
    inner.trim_matches('"')
}

impl From<store::Error> for Failure {
    fn from(error: store::Error) -> Self {
        Self::of(&error)
    }
}

impl From<transfer::Error> for Failure {
    fn from(error: transfer::Error) -> Self {
        let failure = Self::of_store(&error, error.store());
        match &error {
            transfer::Error::NoChild { offered, .. } if !offered.is_empty() => {
                let offered: Vec<String> = offered.iter().map(ToString::to_string).collect();
                failure.hint(format!("it has {}", offered.join(", ")))
            }
            transfer::Error::SharedManifest { reference, .. }
            | transfer::Error::UnknownTags { reference, .. } => {
                let why = if reference.contains('@') { "" } else { "this registry deletes by digest only; " };
                failure.hint(format!("{why}--force-digest deletes the manifest with all its tags"))
            }
            transfer::Error::ReplacesIndex { .. } => failure.hint(
                "the tag has other platforms too: choose another tag, change all with `--platform all`, or mean it with --replace-index",
            ),
            _ => failure,
        }
    }
}

/// Whether a copy failed because nobody reads any more what it writes.
pub(crate) fn is_closed(error: &transfer::Error) -> bool {
    let transfer::Error::Destination(error) = error else { return false };
    let mut cause: Option<&(dyn Error + 'static)> = Some(error.cause());
    while let Some(error) = cause {
        if error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe) {
            return true;
        }
        cause = error.source();
    }
    false
}

impl From<image::Error> for Failure {
    fn from(error: image::Error) -> Self {
        if error.is_closed() {
            return Self::Closed;
        }
        if let image::Error::Select(error) = error {
            return error.into();
        }
        let failure = Self::of_store(&error, error.store());
        match error {
            image::Error::Index { .. } => failure.hint("--no-index reads the layer itself"),
            image::Error::Layer { source: layer::Error::TooMany { .. }, .. } => {
                failure.hint("--max-entries allows more; each takes 250 to 400 bytes of memory")
            }
            _ => failure,
        }
    }
}

impl From<layer::FindError> for Failure {
    fn from(error: layer::FindError) -> Self {
        Self::new(error)
    }
}

impl From<image::inside::PatternError> for Failure {
    fn from(error: image::inside::PatternError) -> Self {
        Self::new(error).hint("--fixed-strings takes it as it stands")
    }
}

impl From<oci::ReferenceError> for Failure {
    fn from(error: oci::ReferenceError) -> Self {
        Self::new(error)
    }
}

impl From<local::ArchiveNameError> for Failure {
    fn from(error: local::ArchiveNameError) -> Self {
        Self::new(error)
    }
}

impl From<hoist::PlaceError> for Failure {
    fn from(error: hoist::PlaceError) -> Self {
        let failure = Self::new(&error);
        match error {
            hoist::PlaceError::DaemonDigest(_) => failure.hint("it knows images by name and tag"),
            _ => failure,
        }
    }
}

impl From<auth::Error> for Failure {
    fn from(error: auth::Error) -> Self {
        let hint = mend_credentials(&error);
        Self::new(error).hint_of(hint)
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

    #[test]
    fn broken_credentials_come_with_their_mend() {
        let helper = |action| auth::Error::HelperFailed {
            name: "desk".into(),
            action,
            server: "h".into(),
            problem: "it failed".into(),
            message: String::new(),
        };
        let hints = |error: auth::Error| match Failure::from(error) {
            Failure::Error { hints, .. } => hints,
            other => panic!("{other:?}"),
        };
        assert_eq!(
            hints(helper(Action::Get)),
            ["see what it does alone: `echo h | docker-credential-desk get`"]
        );
        assert!(hints(helper(Action::Erase)).is_empty());
        let parse = auth::Error::Parse { path: "/c".into(), line: 1, column: 1, problem: "this is not JSON" };
        assert_eq!(hints(parse), ["mend that file, or move it away and log in again"]);
    }
}
