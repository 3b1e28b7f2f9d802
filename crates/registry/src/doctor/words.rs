//! Findings in words.

use std::fmt;

use super::address::Connections;
use super::finding::{Facts, Probe};
use crate::Trusted;

impl fmt::Display for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Scheme => "scheme",
            Self::Proxy => "proxy",
            Self::Address => "address",
            Self::Connection => "connection",
            Self::Tls => "TLS",
            Self::Api => "/v2/",
            Self::Clock => "clock",
            Self::Challenge => "challenge",
            Self::Credentials => "credentials",
            Self::Login => "login",
            Self::Catalog => "catalog",
            Self::Tags => "tags",
            Self::Manifest => "manifest",
            Self::Head => "HEAD",
            Self::Blob => "blob",
            Self::Referrers => "referrers",
            Self::Limit => "limit",
            Self::PushToken => "push token",
            Self::Upload => "upload",
            Self::Chunks => "chunks",
            Self::Cancel => "cancel",
            Self::Mount => "mount",
            Self::Delete => "delete",
        })
    }
}

impl fmt::Display for Facts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Scheme { scheme, reason } => write!(f, "{scheme}: {reason}"),
            Self::Proxy { proxy } => f.write_str(proxy.as_deref().unwrap_or("none")),
            Self::Addresses { addresses } => f.write_str(&join(addresses, ", ")),
            Self::Connections(connections) => connections.fmt(f),
            Self::Tls { version, certificate, trusted } => {
                f.write_str(version)?;
                if let Some(certificate) = certificate {
                    write!(f, ", {certificate}")?;
                }
                f.write_str(match trusted {
                    Trusted::System => "",
                    Trusted::Given => "; authorities of your own are trusted too",
                    Trusted::Folder => "; authorities of certs.d are trusted too",
                    Trusted::Any => "; any certificate is believed",
                })
            }
            Self::Api { status, server } => {
                write!(f, "{}", Status(*status))?;
                server.iter().try_for_each(|server| write!(f, ", from {server}"))
            }
            Self::Clock { ahead: 0 } => f.write_str("as this machine's, within 3 min"),
            Self::Clock { ahead } => {
                let side = if *ahead > 0 { "ahead of" } else { "behind" };
                write!(f, "{} min {side} this machine's", ahead.unsigned_abs() / 60)
            }
            Self::Challenge { scheme: "none", .. } => f.write_str("none: nobody is asked who they are"),
            Self::Challenge { scheme: "basic", .. } => {
                f.write_str("Basic: user and password with each request")
            }
            Self::Challenge { realm, service, .. } => {
                write!(f, "Bearer: tokens of {}", realm.as_deref().unwrap_or_default())?;
                service.iter().try_for_each(|service| write!(f, " for {service}"))
            }
            Self::Credentials { kind, username, source } => {
                let Some(source) = source else { return f.write_str("none") };
                let who = username.as_deref().unwrap_or(kind);
                write!(f, "{who}, from {source}")
            }
            Self::LoggedIn {} => f.write_str("user and password are taken"),
            Self::Token { asked, granted, expires_in } => {
                f.write_str("a token")?;
                match granted.as_deref() {
                    Some([]) | None if asked.is_empty() => {}
                    Some([]) => f.write_str(" for nothing")?,
                    Some(granted) => write!(f, " for {}", granted.join(" "))?,
                    None => write!(f, ", asked for {}", asked.join(" "))?,
                }
                expires_in.iter().try_for_each(|seconds| write!(f, ", good for {seconds} s"))
            }
            Self::Page { count } => match count {
                1 => f.write_str("1"),
                1000.. => write!(f, "{count}, and maybe more"),
                _ => write!(f, "{count}"),
            },
            Self::Manifest { reference, media_type, digest, size } => {
                let at = if *reference == digest.to_string() { "" } else { reference };
                let space = if at.is_empty() { "" } else { ": " };
                write!(f, "{at}{space}{digest}, {media_type}, {size} bytes")
            }
            Self::Head { digest: Some(_) } => f.write_str("with the digest"),
            Self::Head { digest: None } => f.write_str("without the digest"),
            Self::Blob { digest, status, elsewhere } => {
                let part = if *status == 206 { "a part of" } else { "the whole of" };
                write!(f, "{} for {part} {digest}", Status(*status))?;
                elsewhere.iter().try_for_each(|host| write!(f, ", from {host}"))
            }
            Self::Referrers { via: "api", count } => write!(f, "listed by the registry: {count}"),
            Self::Referrers { count, .. } => write!(f, "by the fallback tag: {count}"),
            Self::Limit { limit, remaining, window } => {
                match (remaining, limit) {
                    (Some(remaining), Some(limit)) => write!(f, "{remaining} of {limit} left")?,
                    (Some(remaining), None) => write!(f, "{remaining} left")?,
                    (None, limit) => write!(f, "{} at most", limit.unwrap_or_default())?,
                }
                window.iter().try_for_each(|seconds| write!(f, " in {seconds} s"))
            }
            Self::Upload { elsewhere, least_chunk } => {
                f.write_str("a session is opened")?;
                elsewhere.iter().try_for_each(|host| write!(f, ", the bytes go to {host}"))?;
                least_chunk.iter().try_for_each(|least| write!(f, ", in pieces of {least} bytes at least"))
            }
            Self::Chunks { sent, kept } => {
                write!(f, "a piece of {sent} bytes is taken")?;
                kept.iter().try_for_each(|kept| write!(f, ", the session has {kept}"))
            }
            Self::Cancelled {} => f.write_str("the session is given up"),
            Self::Mount { mounted: true } => f.write_str("a blob of the registry is mounted"),
            Self::Mount { mounted: false } => f.write_str("the registry wants the bytes anew"),
            Self::Delete { status } => write!(f, "{} for what does not exist", Status(*status)),
        }
    }
}

impl fmt::Display for Connections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verb = if self.open.len() == 1 { "answers" } else { "answer" };
        write!(f, "{} {verb}", join(&self.open, ", "))?;
        self.closed.iter().try_for_each(|closed| write!(f, "; {}: {}", closed.address, closed.reason))
    }
}

/// A status with its words.
struct Status(u16);

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = http::StatusCode::from_u16(self.0).ok().and_then(|status| status.canonical_reason());
        write!(f, "{}", self.0)?;
        words.iter().try_for_each(|words| write!(f, " {words}"))
    }
}

fn join(items: &[impl ToString], with: &str) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join(with)
}
