//! The host part of a reference.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A registry's authority as a reference names it: `host`, `host:port` or `[ipv6]:port`. Docker Hub is always
/// `index.docker.io`, as in crane's output.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RegistryName(String);

/// Where images come from when a reference names no registry.
const DOCKER_HUB: &str = "index.docker.io";

impl RegistryName {
    /// Docker Hub.
    pub fn docker_hub() -> Self {
        Self(DOCKER_HUB.to_owned())
    }

    /// Checks an authority: a host name, an IPv4 address or a bracketed IPv6 address, and an optional port.
    /// `docker.io` and `registry-1.docker.io` are Docker Hub.
    ///
    /// # Errors
    /// The place of the fault in `text`, in characters from 0, and what is wrong there.
    pub fn new(text: &str) -> Result<Self, (usize, String)> {
        if matches!(text, "docker.io" | "registry-1.docker.io" | DOCKER_HUB) {
            return Ok(Self::docker_hub());
        }
        let (host, port) = split_port(text)?;
        if host.is_empty() {
            return Err((0, "the registry's host is empty".to_owned()));
        }
        if let Some(inner) = host.strip_prefix('[') {
            let inner = inner.strip_suffix(']').unwrap_or(inner);
            if inner.parse::<Ipv6Addr>().is_err() {
                return Err((1, format!("{inner:?} is not an IPv6 address")));
            }
        } else if let Some((at, character)) = host
            .chars()
            .enumerate()
            .find(|(_, c)| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_')))
        {
            return Err((at, format!("{character:?} may not stand in a registry's host")));
        }
        let labels = host.strip_suffix('.').unwrap_or(host);
        if !host.starts_with('[') && labels.split('.').any(str::is_empty) {
            return Err((0, format!("{host:?} cannot be a registry's host: a part between dots is empty")));
        }
        if let Some(port) = port {
            let at = host.chars().count() + 1;
            if port.is_empty() {
                return Err((at - 1, "the port behind ':' is missing".to_owned()));
            }
            if !port.bytes().all(|b| b.is_ascii_digit()) || port.parse::<u16>().is_err() {
                return Err((at, format!("{port:?} is not a port (0 to 65535)")));
            }
        }
        Ok(Self(text.to_owned()))
    }

    /// The authority as it was given.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The host, without port and brackets.
    pub fn host(&self) -> &str {
        match self.0.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((address, _)) => address,
            None => self.0.split(':').next().unwrap_or(&self.0),
        }
    }

    /// Whether this is Docker Hub.
    pub fn is_docker_hub(&self) -> bool {
        self.0 == DOCKER_HUB
    }

    /// Whether the host is this machine itself: a loopback address, `localhost` or a name below it (RFC 6761).
    pub fn is_loopback(&self) -> bool {
        let host = self.host();
        let name = host.trim_end_matches('.').to_ascii_lowercase();
        name == "localhost"
            || name.ends_with(".localhost")
            || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
    }

    /// Whether plain http may be tried when https does not answer, by crane's rule: loopback and private IPv4
    /// addresses (RFC 1918), `*.localhost`, and `localhost` with a port (bare `localhost` means https).
    pub fn may_be_http(&self) -> bool {
        let bare_localhost = self.0.eq_ignore_ascii_case("localhost");
        (self.is_loopback() && !bare_localhost)
            || self.host().parse::<Ipv4Addr>().is_ok_and(|address| address.is_private())
    }
}

/// Splits at the colon of a port, which is not one of those inside brackets.
fn split_port(text: &str) -> Result<(&str, Option<&str>), (usize, String)> {
    if text.starts_with('[') {
        let end = text.find(']').ok_or_else(|| (0, "'[' has no ']' behind it".to_owned()))?;
        let (host, rest) = text.split_at(end + 1);
        return match rest.strip_prefix(':') {
            Some(port) => Ok((host, Some(port))),
            None if rest.is_empty() => Ok((host, None)),
            None => Err((host.chars().count(), "only ':' and a port may follow ']'".to_owned())),
        };
    }
    Ok(text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port))))
}

impl fmt::Display for RegistryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::str::FromStr for RegistryName {
    type Err = crate::ReferenceError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::new(text).map_err(|(position, reason)| crate::ReferenceError {
            input: text.to_owned(),
            position,
            reason,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schemes_by_crane_s_rule() {
        let http = |text: &str| RegistryName::new(text).unwrap().may_be_http();
        for yes in
            ["localhost:5000", "127.0.0.1", "127.0.0.1:1", "10.0.0.1:5000", "192.168.1.9", "172.16.0.1"]
        {
            assert!(http(yes), "{yes}");
        }
        for yes in ["reg.localhost", "[::1]:5000", "[::1]"] {
            assert!(http(yes), "{yes}");
        }
        for no in
            ["localhost", "ghcr.io", "127.0.0.1.nip.io", "172.32.0.1", "registry.local", "[fd00::1]:5000"]
        {
            assert!(!http(no), "{no}");
        }
    }

    #[test]
    fn hosts() {
        let host = |text: &str| RegistryName::new(text).unwrap().host().to_owned();
        assert_eq!(host("[::1]:5000"), "::1");
        assert_eq!(host("ghcr.io:443"), "ghcr.io");
        assert_eq!(host("docker.io"), "index.docker.io");
    }

    #[test]
    fn faults_point_at_their_place() {
        let at = |text: &str| RegistryName::new(text).unwrap_err().0;
        assert_eq!(at(":5000"), 0);
        assert_eq!(at("host:"), 4);
        assert_eq!(at("host:99999"), 5);
        assert_eq!(at("ho st:5000"), 2);
        assert_eq!(at("user@host:5000"), 4);
        assert_eq!(at(".."), 0);
        assert_eq!(at("a..b:1"), 0);
        assert_eq!(at("[::1"), 0);
        assert_eq!(at("[::1]x"), 5);
        assert_eq!(at("[\u{4e79e}\u{5e78a}]a"), 4);
        assert_eq!(at("[zz]:1"), 1);
    }
}
