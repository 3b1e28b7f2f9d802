use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use url::{Host, Url};

use crate::guard::{AllowedHost, Zone};

/// What only one link reaches, and the metadata services elsewhere.
const LINK_LOCAL: [&str; 5] =
    ["169.254.0.0/16", "100.100.100.200/32", "192.0.0.192/32", "fe80::/10", "fd00:ec2::254/128"];

/// What is not the internet's.
const PRIVATE: [&str; 15] = [
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "224.0.0.0/4",
    "240.0.0.0/4",
    "::/127",
    "64:ff9b:1::/48",
    "fc00::/7",
    "fec0::/10",
    "ff00::/8",
];

/// Where an IPv6 address carries one of IPv4.
const CARRIERS: [&str; 4] = ["::/96", "::ffff:0:0/96", "64:ff9b::/96", "2002::/16"];

/// An address, a URL or what a user allows: an address has one zone in whatever spelling, and whoever allows a place
/// allows what a URL calls so.
pub fn guard(input: &[u8]) {
    if let Some(bytes) = input.first_chunk::<4>() {
        address(Ipv4Addr::from(*bytes).into());
        spelled(Ipv4Addr::from(*bytes));
    }
    if let Some(bytes) = input.first_chunk::<16>() {
        address(Ipv6Addr::from(*bytes).into());
    }
    let Ok(text) = std::str::from_utf8(input) else { return };
    for url in [Url::parse(text), Url::parse(&format!("https://{text}/"))].into_iter().flatten() {
        // Others are never asked.
        if matches!(url.scheme(), "http" | "https") {
            place(&url);
        }
    }
    if let Ok(allowed) = text.parse::<AllowedHost>() {
        allows(text, &allowed);
    }
}

/// One zone for an address, by the tables above.
fn address(address: IpAddr) {
    let zone = Zone::of(address);
    let within = |ranges: &[&str]| {
        ranges.iter().any(|range| range.parse::<AllowedHost>().expect("a range").has_address(address))
    };
    let by_table = if within(&LINK_LOCAL) {
        Zone::LinkLocal
    } else if within(&PRIVATE) {
        Zone::Private
    } else {
        Zone::Public
    };
    if address.is_ipv4() || by_table != Zone::Public || !within(&CARRIERS) {
        assert_eq!(zone, by_table, "{address}");
    }
    assert!(!zone.may_send_to(Zone::LinkLocal) && !Zone::Public.may_send_to(Zone::Private));
    assert_eq!(Zone::Public.may_send_to(zone), zone == Zone::Public);
}

/// All that a URL may write for an address of IPv4.
fn spelled(address: Ipv4Addr) {
    let zone = Zone::of(address.into());
    let (bits, [a, b, c, d]) = (address.to_bits(), address.octets());
    let low = bits & 0xffff;
    let dotted = address.to_string();
    let encoded: Vec<String> = dotted.bytes().map(|byte| format!("%{byte:02x}")).collect();
    let wide: String =
        dotted.chars().map(|c| char::from_u32(u32::from(c) + 0xfee0).expect("a wide form")).collect();
    let mut hosts = vec![
        format!("{bits}"),
        format!("{bits:#x}"),
        format!("0{bits:o}"),
        format!("{a}.{}", bits & 0x00ff_ffff),
        format!("{a:#X}.{b}.{low:#x}"),
        format!("0{a:o}.{b:#x}.0{c:o}.{d}."),
        dotted.replace('.', "\u{3002}"),
        format!("[{}]", address.to_ipv6_mapped()),
        format!("[::ffff:{:x}:{low:x}]", bits >> 16),
        format!("[64:ff9b::{dotted}]"),
        format!("[2002:{:x}:{low:x}::]", bits >> 16),
        format!("user:password@{dotted}"),
        encoded.concat(),
        wide,
        dotted,
    ];
    // `::` and `::1` are something else.
    hosts.extend((bits > 1).then(|| format!("[::{:x}:{low:x}]", bits >> 16)));
    for host in hosts {
        let url = Url::parse(&format!("http://{host}:5000/v2/")).expect("an address in a URL");
        assert_eq!(Zone::of_literal(&url), Some(zone), "{host}");
        assert_eq!(Zone::of_name(&url), zone, "{host}");
    }
}

/// A place that a URL names.
fn place(url: &Url) {
    let literal = Zone::of_literal(url);
    match url.host() {
        Some(Host::Ipv4(found)) => {
            assert_eq!(literal, Some(Zone::of(found.into())));
            address(found.into());
        }
        Some(Host::Ipv6(found)) => {
            assert_eq!(literal, Some(Zone::of(found.into())));
            address(found.into());
        }
        // A connection takes it for a name as well, and asks the resolver, which looks at what it dials.
        Some(Host::Domain(name)) => assert!(name.parse::<IpAddr>().is_err(), "{name}"),
        None => assert_eq!(literal, None),
    }
    assert!(literal.is_none_or(|literal| Zone::of_name(url) == literal));
    let words = Zone::of_name(url).words();
    assert!(words.starts_with("a ") && words.ends_with(" address"));
}

/// A place that a user allows.
fn allows(text: &str, allowed: &AllowedHost) {
    if let Some((network, bits)) = text.split_once('/') {
        let network: IpAddr = network.parse().expect("a range has an address");
        let bits: u32 = bits.parse().expect("a range has a length");
        assert!(allowed.has_address(network));
        let (width, of_bits): (u32, fn(u128) -> IpAddr) = match network {
            IpAddr::V4(_) => (32, |bits| Ipv4Addr::from_bits(u32::try_from(bits).expect("32 bits")).into()),
            IpAddr::V6(_) => (128, |bits| Ipv6Addr::from_bits(bits).into()),
        };
        let value = match network {
            IpAddr::V4(address) => address.to_bits().into(),
            IpAddr::V6(address) => address.to_bits(),
        };
        for bit in 0..width {
            let other = of_bits(value ^ 1 << (width - 1 - bit));
            assert_eq!(allowed.has_address(other), bit >= bits, "{text} {other}");
        }
        return;
    }
    let host = if text.parse::<Ipv6Addr>().is_ok() { format!("[{text}]") } else { text.to_owned() };
    for url in
        ["http", "https"].into_iter().filter_map(|scheme| Url::parse(&format!("{scheme}://{host}/")).ok())
    {
        assert!(allowed.has_url(&url), "{text} {url}");
    }
}
