//! Where a registry may send us. A registry names other places: token servers, upload locations, redirects, layers kept
//! elsewhere. One that is reached at a public address has no business with what is private to us, and nobody has with
//! what answers on link-local addresses, where clouds keep the secrets of their machines.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use oci::RegistryName;
use url::{Host, Url};

/// Who can reach an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Zone {
    /// Everybody.
    Public,
    /// A network that is not the internet's, or this machine alone.
    Private,
    /// One link alone (RFC 3927, RFC 4291), or a cloud's metadata service.
    LinkLocal,
}

impl Zone {
    /// The zone of an address. What an IPv6 address carries of IPv4 counts as that (mapped, NAT64, 6to4).
    pub(crate) fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => Self::of_v4(address),
            IpAddr::V6(address) => Self::of_v6(address),
        }
    }

    fn of_v4(address: Ipv4Addr) -> Self {
        /// Metadata services outside 169.254.0.0/16: Alibaba's and Oracle's.
        const METADATA: [Ipv4Addr; 2] = [Ipv4Addr::new(100, 100, 100, 200), Ipv4Addr::new(192, 0, 0, 192)];
        let [a, b, ..] = address.octets();
        if address.is_link_local() || METADATA.contains(&address) {
            return Self::LinkLocal;
        }
        let shared = a == 100 && (64..128).contains(&b); // RFC 6598
        let protocol = a == 192 && b == 0 && address.octets()[2] == 0; // RFC 6890
        let benchmark = a == 198 && (b == 18 || b == 19); // RFC 2544
        let private = a == 0
            || address.is_private()
            || address.is_loopback()
            || shared
            || protocol
            || benchmark
            || address.is_multicast()
            || a >= 240;
        if private { Self::Private } else { Self::Public }
    }

    fn of_v6(address: Ipv6Addr) -> Self {
        /// Amazon's metadata service.
        const METADATA: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254);
        if address.is_unicast_link_local() || address == METADATA {
            return Self::LinkLocal;
        }
        if let Some(carried) = carried(address) {
            return Self::of_v4(carried);
        }
        let segments = address.segments();
        let local_nat64 = segments[..3] == [0x64, 0xff9b, 1]; // RFC 8215
        let site_local = segments[0] & 0xffc0 == 0xfec0; // deprecated by RFC 3879
        let private = address.is_loopback()
            || address.is_unspecified()
            || address.is_unique_local()
            || address.is_multicast()
            || local_nat64
            || site_local;
        if private { Self::Private } else { Self::Public }
    }

    /// The zone of a host that needs no name server: a literal address (in whatever spelling: the URL parser has read
    /// `0x7f.1` as an address), this machine's own names, the metadata services' names.
    pub(crate) fn of_literal(url: &Url) -> Option<Self> {
        const METADATA: [&str; 2] = ["metadata.google.internal", "metadata"];
        match url.host()? {
            Host::Ipv4(address) => Some(Self::of_v4(address)),
            Host::Ipv6(address) => Some(Self::of_v6(address)),
            Host::Domain(name) => {
                let name = plain(name);
                if METADATA.contains(&name.as_str()) {
                    Some(Self::LinkLocal)
                } else {
                    (name == "localhost" || name.ends_with(".localhost")).then_some(Self::Private)
                }
            }
        }
    }

    /// The zone of a host that a proxy will look up, so that its name alone can tell: names that no public name server
    /// has are private.
    pub(crate) fn of_name(url: &Url) -> Self {
        /// Top-level names that are kept for private use (RFC 6762 and its appendix G, ICANN's `internal`).
        const PRIVATE: [&str; 8] =
            ["local", "localdomain", "internal", "intranet", "private", "corp", "home", "lan"];
        let by_name = || {
            let name = plain(url.host_str().unwrap_or_default());
            let top = name.rsplit('.').next().unwrap_or_default();
            let private = PRIVATE.contains(&top) || name.ends_with(".home.arpa") || !name.contains('.');
            if private { Self::Private } else { Self::Public }
        };
        Self::of_literal(url).unwrap_or_else(by_name)
    }

    /// Whether a place in this zone may send us to one in `target`.
    pub(crate) fn may_send_to(self, target: Self) -> bool {
        target != Self::LinkLocal && target <= self
    }

    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::Public => "a public address",
            Self::Private => "a private address",
            Self::LinkLocal => "a link-local address",
        }
    }
}

/// The IPv4 address within an IPv6 address: mapped (RFC 4291), compatible (deprecated; `::` and `::1` are none), behind
/// NAT64's well-known prefix (RFC 6052), or 6to4 (RFC 3056).
fn carried(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let bits = address.to_bits();
    // The cuts keep what they say they keep.
    #[expect(clippy::cast_possible_truncation, reason = "32 of the 128 bits are meant")]
    let (low, after_prefix) = (bits as u32, (bits >> 80) as u32);
    let carries = match bits >> 32 {
        0 => low > 1,
        0xffff => true,
        prefix => prefix == 0x0064_ff9b << 64,
    };
    if carries {
        return Some(Ipv4Addr::from_bits(low));
    }
    (bits >> 112 == 0x2002).then(|| Ipv4Addr::from_bits(after_prefix))
}

fn plain(name: &str) -> String {
    name.trim_end_matches('.').to_ascii_lowercase()
}

fn plain_host<S: AsRef<str>>(host: Host<S>) -> String {
    match host {
        Host::Domain(name) => plain(name.as_ref()),
        Host::Ipv4(address) => address.to_string(),
        Host::Ipv6(address) => address.to_string(),
    }
}

/// A place that registries may send us to, wherever it is (`--allow-host`): `host`, `host:port`, an address, or a range
/// of addresses such as `10.0.0.0/8`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AllowedHost(Allowed);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Allowed {
    Name { host: String, port: Option<u16> },
    Range { network: IpAddr, bits: u8 },
}

impl AllowedHost {
    /// Whether a URL leads there by its own words.
    pub(crate) fn has_url(&self, url: &Url) -> bool {
        match (&self.0, url.host()) {
            (Allowed::Name { host, port }, Some(found)) => {
                plain_host(found) == *host
                    && port.is_none_or(|port| url.port_or_known_default() == Some(port))
            }
            (Allowed::Range { .. }, Some(Host::Ipv4(address))) => self.has_address(address.into()),
            (Allowed::Range { .. }, Some(Host::Ipv6(address))) => self.has_address(address.into()),
            _ => false,
        }
    }

    /// Whether an address is in the range.
    pub(crate) fn has_address(&self, address: IpAddr) -> bool {
        let Allowed::Range { network, bits } = &self.0 else { return false };
        let shared = |a: u128, b: u128, width: u8| {
            let shift = u32::from(width.saturating_sub(*bits));
            *bits == 0 || a.checked_shr(shift) == b.checked_shr(shift)
        };
        match (network, address) {
            (IpAddr::V4(a), IpAddr::V4(b)) => shared(a.to_bits().into(), b.to_bits().into(), 32),
            (IpAddr::V6(a), IpAddr::V6(b)) => shared(a.to_bits(), b.to_bits(), 128),
            _ => false,
        }
    }
}

impl FromStr for AllowedHost {
    type Err = String;

    /// The error says what is wrong with the text.
    fn from_str(text: &str) -> Result<Self, String> {
        if let Some((network, bits)) = text.split_once('/') {
            let network: IpAddr =
                network.parse().map_err(|_| format!("{network:?} is not an address of a range"))?;
            let width = if network.is_ipv4() { 32 } else { 128 };
            let bits = bits.parse().ok().filter(|bits| *bits <= width);
            let bits = bits.ok_or_else(|| format!("the range's length is not a number up to {width}"))?;
            return Ok(Self(Allowed::Range { network, bits }));
        }
        if let Ok(IpAddr::V6(address)) = text.parse() {
            return Ok(Self(Allowed::Name { host: address.to_string(), port: None }));
        }
        RegistryName::new(text).map_err(|(_, reason)| reason)?;
        let with_port = text.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse().ok()?)));
        let (host, port) = with_port.map_or((text, None), |(host, port)| (host, Some(port)));
        // As URLs have it, where `0x7f.1` is an address, and a registry's other names are not its first.
        let host = Host::parse(host).map_err(|error| format!("{host:?} cannot be a host: {error}"))?;
        Ok(Self(Allowed::Name { host: plain_host(host), port }))
    }
}

/// Why a place is not asked.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{host} is {}, and a registry at {} may not send us there", to.words(), from.words())]
pub(crate) struct Refused {
    pub(crate) host: String,
    pub(crate) from: Zone,
    pub(crate) to: Zone,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn zones_of_addresses() {
        for (zone, addresses) in [
            (
                Zone::Public,
                &["1.1.1.1", "198.51.100.7", "172.32.0.1", "100.128.0.1", "2001:db8::7", "2606:4700::1"][..],
            ),
            (
                Zone::Private,
                &[
                    "10.0.0.1",
                    "172.16.0.1",
                    "192.168.1.1",
                    "127.0.0.1",
                    "0.0.0.0",
                    "100.64.0.1",
                    "198.18.0.1",
                    "224.0.0.1",
                    "255.255.255.255",
                    "::1",
                    "::",
                    "fd77::7",
                    "fec0::1",
                    "::ffff:10.0.0.1",
                    "::ffff:127.0.0.1",
                    "::10.0.0.1",
                    "64:ff9b::a00:1",
                    "64:ff9b:1::1",
                    "2002:a00:1::1",
                    "ff02::1",
                ],
            ),
            (
                Zone::LinkLocal,
                &[
                    "169.254.169.254",
                    "fe80::1",
                    "fd00:ec2::254",
                    "::ffff:169.254.169.254",
                    "64:ff9b::a9fe:a9fe",
                    "100.100.100.200",
                ],
            ),
        ] {
            for address in addresses {
                assert_eq!(Zone::of(address.parse().unwrap()), zone, "{address}");
            }
        }
    }

    #[test]
    fn zones_of_hosts() {
        let url = |host: &str| Url::parse(&format!("http://{host}/x")).unwrap();
        let zone = |host: &str| Zone::of_literal(&url(host));
        for odd in [
            "0x7f000001",
            "2130706433",
            "127.1",
            "0177.0.0.1",
            "[::ffff:7f00:1]",
            "LOCALHOST",
            "a.localhost.",
        ] {
            assert_eq!(zone(odd), Some(Zone::Private), "{odd}");
        }
        for name in ["metadata.google.internal", "metadata.google.internal.", "169.254.169.254", "0xa9fea9fe"]
        {
            assert_eq!(zone(name), Some(Zone::LinkLocal), "{name}");
        }
        for name in ["registry", "nas.lan", "x.corp", "a.b.internal"] {
            assert_eq!((zone(name), Zone::of_name(&url(name))), (None, Zone::Private), "{name}");
        }
        assert_eq!(zone("registry.example.com"), None);
        assert_eq!(Zone::of_name(&url("registry.example.com")), Zone::Public);
        assert_eq!(Zone::of_name(&url("127.1")), Zone::Private);
        assert_eq!(zone("8.8.8.8"), Some(Zone::Public));
    }

    #[test]
    fn who_may_send_where() {
        use Zone::{LinkLocal, Private, Public};
        for (from, to, may) in [
            (Public, Public, true),
            (Public, Private, false),
            (Public, LinkLocal, false),
            (Private, Public, true),
            (Private, Private, true),
            (Private, LinkLocal, false),
            (LinkLocal, LinkLocal, false),
            (LinkLocal, Private, true),
        ] {
            assert_eq!(from.may_send_to(to), may, "{from:?} to {to:?}");
        }
    }

    #[test]
    fn allowed_hosts() {
        let allowed = |text: &str, url: &str| {
            let allowed: AllowedHost = text.parse().unwrap();
            let url = Url::parse(url).unwrap();
            let address = match url.host() {
                Some(Host::Ipv4(address)) => Some(address.into()),
                Some(Host::Ipv6(address)) => Some(address.into()),
                _ => None,
            };
            allowed.has_url(&url) || address.is_some_and(|address| allowed.has_address(address))
        };
        for (text, url) in [
            ("Storage.Corp", "https://storage.corp./x"),
            ("storage.corp:9000", "http://storage.corp:9000/x"),
            ("storage.corp:443", "https://storage.corp/x"),
            ("10.0.0.5", "http://0x0a000005/"),
            ("0x0a000005:80", "http://10.0.0.5/"),
            ("registry-1.docker.io", "https://registry-1.docker.io/x"),
            ("[fd00::5]:80", "http://[fd00::5]/"),
            ("fd00::5", "http://[fd00::5]:8080/"),
            ("10.0.0.0/8", "http://10.9.9.9/"),
            ("0.0.0.0/0", "http://169.254.169.254/"),
            ("fd00::/8", "http://[fd12::1]/"),
        ] {
            assert!(allowed(text, url), "{text} {url}");
        }
        for (text, url) in [
            ("storage.corp", "https://other.corp/"),
            ("storage.corp:9000", "http://storage.corp/"),
            ("10.0.0.0/8", "http://11.0.0.1/"),
            ("10.0.0.0/8", "http://storage.corp/"),
        ] {
            assert!(!allowed(text, url), "{text} {url}");
        }
        for bad in ["", "a b", "10.0.0.0/33", "x/8", "fd00::/129", "h:99999"] {
            assert!(bad.parse::<AllowedHost>().is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn mapped_addresses_are_what_they_carry(bits in any::<u32>()) {
            let address = Ipv4Addr::from_bits(bits);
            prop_assert_eq!(Zone::of(address.to_ipv6_mapped().into()), Zone::of(address.into()));
        }
    }
}
