//! Why a registry could not be reached, as far as a person can mend it.

use std::error::Error as StdError;
use std::io;

use rustls::CertificateError;

use crate::guard::Refused;
use crate::retry::chain;

/// Why an exchange never came to an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Trouble {
    /// No name server knows the host.
    UnknownHost,
    /// No name server answers, or it has no answer, or there is none.
    NameServer,
    /// Nothing listens there.
    Refused,
    /// There is no way from this machine to that network or host.
    NoRoute,
    /// No connection came about in time.
    Timeout,
    /// The certificate is of an authority that is not trusted.
    UnknownAuthority,
    /// The certificate has ended, or has not begun, by this machine's clock.
    CertificateTime,
    /// The certificate is for other names; those that it has.
    WrongName(Vec<String>),
    /// The certificate is wrong in another way.
    Certificate,
    /// The server wants a certificate of the client, or another one.
    ClientCertificate,
    /// The server does not speak TLS.
    NotTls,
    /// The server speaks TLS, and http was spoken to it.
    NotHttp,
    /// The proxy between did not let it through.
    Proxy,
    /// The proxy between wants credentials, or others.
    ProxyCredentials,
    /// A registry sends us where it may not.
    SentAstray,
}

impl Trouble {
    /// What is behind a failed exchange, if it is one of these.
    pub fn of(error: &(dyn StdError + 'static)) -> Option<Self> {
        let mut by_proxy = false;
        for cause in causes(error) {
            if let Some(refused) = cause.downcast_ref::<rustls::Error>() {
                return Some(Self::of_tls(refused));
            }
            if cause.is::<Refused>() {
                return Some(Self::SentAstray);
            }
            if cause.is::<ThroughProxy>() {
                by_proxy = true;
            }
            // An alert after the handshake, where TLS 1.3 refuses clients; HTTP/2 keeps nothing of it but the words.
            let text = cause.to_string();
            if text.ends_with("received fatal alert: CertificateRequired")
                || text.ends_with("received fatal alert: UnknownCA")
                || text.ends_with("received fatal alert: BadCertificate")
            {
                return Some(Self::ClientCertificate);
            }
            // The type of what a tunnel through a proxy meets cannot be named from here.
            if by_proxy && text.contains("proxy authorization required") {
                return Some(Self::ProxyCredentials);
            }
            if cause.is::<UnknownHost>() {
                return Some(if by_proxy { Self::Proxy } else { Self::UnknownHost });
            }
            if cause.is::<LookupFailed>() {
                return Some(if by_proxy { Self::Proxy } else { Self::NameServer });
            }
            let kind = cause.downcast_ref::<io::Error>().map(io::Error::kind);
            match kind {
                Some(io::ErrorKind::ConnectionRefused) if !by_proxy => return Some(Self::Refused),
                Some(io::ErrorKind::TimedOut) if !by_proxy => return Some(Self::Timeout),
                Some(io::ErrorKind::NetworkUnreachable | io::ErrorKind::HostUnreachable) if !by_proxy => {
                    return Some(Self::NoRoute);
                }
                _ => {}
            }
            if let Some(error) = cause.downcast_ref::<reqwest::Error>()
                && error.is_timeout()
                && error.is_connect()
                && !by_proxy
            {
                return Some(Self::Timeout);
            }
        }
        by_proxy.then_some(Self::Proxy)
    }

    fn of_tls(error: &rustls::Error) -> Self {
        use CertificateError::{
            BadSignature, Expired, ExpiredContext, NotValidForName, NotValidForNameContext, NotValidYet,
            NotValidYetContext, UnknownIssuer,
        };
        use rustls::AlertDescription as Alert;
        match error {
            rustls::Error::InvalidCertificate(problem) => match problem {
                Expired | ExpiredContext { .. } | NotValidYet | NotValidYetContext { .. } => {
                    Self::CertificateTime
                }
                NotValidForNameContext { presented, .. } => Self::WrongName(presented.clone()),
                NotValidForName => Self::WrongName(Vec::new()),
                // An authority of the same name with another key.
                UnknownIssuer | BadSignature => Self::UnknownAuthority,
                _ => Self::Certificate,
            },
            rustls::Error::InvalidMessage(_) => Self::NotTls,
            rustls::Error::AlertReceived(
                Alert::CertificateRequired
                | Alert::BadCertificate
                | Alert::UnknownCA
                | Alert::CertificateUnknown
                | Alert::CertificateExpired
                | Alert::UnsupportedCertificate
                | Alert::AccessDenied,
            ) => Self::ClientCertificate,
            _ => Self::Certificate,
        }
    }
}

/// All causes, also those inside an [`io::Error`], which its own `source` leaves out, however often it is wrapped.
fn causes<'a>(error: &'a (dyn StdError + 'static)) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    chain(error).flat_map(|cause| {
        std::iter::successors(Some(cause), |&cause| {
            let inner = cause.downcast_ref::<io::Error>().and_then(io::Error::get_ref)?;
            Some(inner as &(dyn StdError + 'static))
        })
    })
}

/// A name that no name server knows.
#[derive(Debug, thiserror::Error)]
#[error("no such host: {0:?} is unknown to the name server")]
pub(crate) struct UnknownHost(pub(crate) String);

/// A name that could not be looked up at all.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct LookupFailed(pub(crate) String);

/// An exchange that broke between us and a proxy, or behind it.
#[derive(Debug, thiserror::Error)]
#[error("through the proxy {proxy}")]
pub(crate) struct ThroughProxy {
    pub(crate) proxy: String,
    pub(crate) source: reqwest::Error,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_by_their_kind() {
        let failed = || LookupFailed("looking up host \"h\": request timed out".to_owned());
        for (error, expected) in [
            (io::ErrorKind::ConnectionRefused.into(), Some(Trouble::Refused)),
            (io::ErrorKind::NetworkUnreachable.into(), Some(Trouble::NoRoute)),
            (io::ErrorKind::HostUnreachable.into(), Some(Trouble::NoRoute)),
            (
                io::Error::new(io::ErrorKind::NotFound, UnknownHost("h".to_owned())),
                Some(Trouble::UnknownHost),
            ),
            (io::Error::new(io::ErrorKind::NotFound, failed()), Some(Trouble::NameServer)),
            (io::Error::other(io::Error::other(failed())), Some(Trouble::NameServer)),
            (io::ErrorKind::InvalidData.into(), None),
        ] {
            assert_eq!(Trouble::of(&error), expected, "{error}");
        }
    }
}
