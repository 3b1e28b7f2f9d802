//! How often a registry may be asked, as its headers say it (draft-ietf-httpapi-ratelimit-headers-00, as Docker Hub
//! speaks it): `RateLimit-Limit: 100;w=21600`.

use std::fmt;
use std::time::Duration;

use http::HeaderMap;

use crate::error::Rough;

/// A limit of requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// So many requests.
    pub limit: u64,
    /// In so much time, if that is said.
    pub window: Option<Duration>,
    /// So many of them are left, if that is said.
    pub remaining: Option<u64>,
}

impl RateLimit {
    /// The limit that an answer's headers tell; `None` if they tell none.
    pub(crate) fn of(headers: &HeaderMap) -> Option<Self> {
        let value = |name| headers.get(name)?.to_str().ok();
        let (limit, window) = parse(value("ratelimit-limit")?)?;
        let remaining = value("ratelimit-remaining").and_then(parse).map(|(remaining, _)| remaining);
        Some(Self { limit, window, remaining })
    }
}

/// `100;w=21600`.
fn parse(value: &str) -> Option<(u64, Option<Duration>)> {
    // Several limits are separated by commas; the first is the one that is met.
    let mut parts = value.split(',').next()?.split(';').map(str::trim);
    let amount = parts.next()?.parse().ok()?;
    let window = parts.find_map(|part| part.strip_prefix("w=")?.parse().ok());
    Some((amount, window.map(Duration::from_secs)))
}

impl fmt::Display for RateLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the limit is {} requests", self.limit)?;
        if let Some(window) = self.window {
            write!(f, " in {}", Rough(window))?;
        }
        if let Some(remaining) = self.remaining {
            write!(f, ", {remaining} left")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits() {
        for (limit, remaining, expected) in [
            ("100;w=21600", Some("0;w=21600"), Some("the limit is 100 requests in 6 h, 0 left")),
            ("60", None, Some("the limit is 60 requests")),
            ("10, 10;w=1, 50;w=60", Some("3"), Some("the limit is 10 requests, 3 left")),
            ("many", Some("0"), None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert("ratelimit-limit", limit.parse().unwrap());
            if let Some(remaining) = remaining {
                headers.insert("ratelimit-remaining", remaining.parse().unwrap());
            }
            assert_eq!(
                RateLimit::of(&headers).map(|limit| limit.to_string()).as_deref(),
                expected,
                "{limit}"
            );
        }
    }
}
