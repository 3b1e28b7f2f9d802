//! A server's certificate, for people (RFC 5280).

use std::fmt;
use std::net::IpAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use rustls::pki_types::CertificateDer;
use serde::Serialize;
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate, X509Name};

use crate::redact::printable;

/// What a certificate says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Certificate {
    /// The name of the authority that issued it.
    pub issuer: String,
    /// The names and addresses that it is for.
    pub names: Vec<String>,
    /// How many days it is good from now on; negative if it has ended.
    #[serde(rename = "daysLeft")]
    pub days_left: i64,
}

impl Certificate {
    /// Reads a certificate; `None` if it is none.
    pub(super) fn read(certificate: &CertificateDer<'_>) -> Option<Self> {
        let (_, read) = X509Certificate::from_der(certificate).ok()?;
        let names = read.subject_alternative_name().ok().flatten();
        let names = names.iter().flat_map(|names| &names.value.general_names).filter_map(name).collect();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs());
        let left = read.validity().not_after.timestamp() - i64::try_from(now).unwrap_or(i64::MAX);
        Some(Self { issuer: common_name(read.issuer()), names, days_left: left.div_euclid(86400) })
    }
}

impl fmt::Display for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "certificate by {:?} for {}, ", self.issuer, self.names.join(", "))?;
        match self.days_left {
            days @ 0.. => write!(f, "good for {days} days"),
            days => write!(f, "ended {} days ago", days.unsigned_abs()),
        }
    }
}

fn name(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some(printable(name)),
        GeneralName::IPAddress(bytes) => {
            let address = <[u8; 4]>::try_from(*bytes).map(IpAddr::from);
            let address = address.or_else(|_| <[u8; 16]>::try_from(*bytes).map(IpAddr::from));
            address.ok().map(|address| address.to_string())
        }
        _ => None,
    }
}

/// The common name, or all of a name that has none.
fn common_name(name: &X509Name<'_>) -> String {
    let common = name.iter_common_name().next().and_then(|name| name.as_str().ok());
    printable(&common.map_or_else(|| name.to_string(), str::to_owned))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_certificate() {
        for bytes in [&b""[..], b"\x30\x82\xff\xff", b"-----BEGIN CERTIFICATE-----"] {
            assert_eq!(Certificate::read(&CertificateDer::from(bytes)), None);
        }
    }

    #[test]
    fn ends() {
        let certificate = |days_left| {
            let certificate = Certificate { issuer: "CA".into(), names: vec!["h".into()], days_left };
            certificate.to_string()
        };
        assert_eq!(certificate(0), "certificate by \"CA\" for h, good for 0 days");
        assert_eq!(certificate(-3), "certificate by \"CA\" for h, ended 3 days ago");
    }
}
