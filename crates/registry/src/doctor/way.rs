//! The way to a registry: https or http, proxy, addresses, connections, TLS.

use std::net::SocketAddr;
use std::time::Instant;

use http::Method;
use url::Url;

use super::address::{self, Address};
use super::finding::{Facts, Oddity, Outcome, Probe};
use super::handshake::shake;
use super::{Chart, failed};
use crate::error::Error;
use crate::host::Host;
use crate::tls;
use crate::transport::{Trusted, is_loopback};

/// A certificate that is good for fewer days is worth a word.
const SOON: i64 = 7;

/// `None` if the registry is not reached.
pub(super) async fn examine(host: &Host, url: &Url, chart: &mut Chart<'_>) -> Option<()> {
    chart.note(Probe::Scheme, true, scheme(host, url));
    let proxy = host.shared.transport.proxy(url);
    let proxied = proxy.is_some();
    chart.note(Probe::Proxy, true, Outcome::Good(Facts::Proxy { proxy }));
    if proxied {
        for probe in [Probe::Address, Probe::Connection, Probe::Tls] {
            chart.note(probe, true, Outcome::Skipped("that is the proxy's"));
        }
        return Some(());
    }
    let addresses = addresses(host, url, chart).await?;
    let address = connection(url, &addresses, chart).await?;
    chart.note(Probe::Tls, true, handshake(host, url, address).await).then_some(())
}

fn scheme(host: &Host, url: &Url) -> Outcome {
    let options = &host.shared.options;
    let (scheme, reason) = match url.scheme() {
        "http" if options.plain_http => ("http", "that was asked for"),
        "http" => ("http", "no TLS is spoken there, and here it may be so"),
        _ if options.insecure || host.name().may_be_http() => ("https", "TLS is spoken there"),
        _ => ("https", "for this name it has to be"),
    };
    let facts = Facts::Scheme { scheme, reason };
    if scheme == "http" && !is_loopback(url) {
        Outcome::Odd(facts, Oddity::InTheClear)
    } else {
        Outcome::Good(facts)
    }
}

async fn addresses(host: &Host, url: &Url, chart: &mut Chart<'_>) -> Option<Vec<SocketAddr>> {
    let started = Instant::now();
    let port = url.port_or_known_default().unwrap_or_default();
    match host.shared.transport.resolver.addresses(host.name().host(), port).await {
        Ok(found) => {
            let addresses = found.iter().map(|address| Address::of(address.ip())).collect();
            chart.note(Probe::Address, true, Outcome::Good(Facts::Addresses { addresses }));
            Some(found)
        }
        Err(error) => {
            let error = Error::network(&Method::GET, url, error, (1, started.elapsed()));
            chart.note(Probe::Address, true, failed(error));
            None
        }
    }
}

/// An address that answers.
async fn connection(url: &Url, addresses: &[SocketAddr], chart: &mut Chart<'_>) -> Option<SocketAddr> {
    let started = Instant::now();
    match address::connect(addresses).await {
        Ok(connections) => {
            let address = connections.open.first().copied();
            // `localhost` is two addresses, and most servers listen on one.
            let missing = connections.closed.iter().any(|closed| !closed.address.ip().is_loopback());
            let facts = Facts::Connections(connections);
            let outcome =
                if missing { Outcome::Odd(facts, Oddity::SomeAddresses) } else { Outcome::Good(facts) };
            chart.note(Probe::Connection, true, outcome);
            address
        }
        Err(error) => {
            let error = Error::network(&Method::GET, url, error, (1, started.elapsed()));
            chart.note(Probe::Connection, true, failed(error));
            None
        }
    }
}

async fn handshake(host: &Host, url: &Url, address: SocketAddr) -> Outcome {
    if url.scheme() == "http" {
        return Outcome::Skipped("it is http");
    }
    let transport = &host.shared.transport;
    let (config, trusted) =
        match transport.tls_config(url).and_then(|config| Ok((config, transport.trusted(url)?))) {
            Ok(settings) => settings,
            Err(error) => return failed(error.into()),
        };
    let (started, name) = (Instant::now(), host.name().host());
    match shake(address, name, config).await {
        Ok(shown) => {
            let soon = shown.certificate.as_ref().is_some_and(|certificate| certificate.days_left < SOON);
            let facts = Facts::Tls { version: shown.version, certificate: shown.certificate, trusted };
            match trusted {
                Trusted::Any => Outcome::Odd(facts, Oddity::AnyCertificate),
                _ if soon => Outcome::Odd(facts, Oddity::EndsSoon),
                _ => Outcome::Good(facts),
            }
        }
        Err(error) => {
            let error = Error::network(&Method::GET, url, error, (1, started.elapsed()));
            // What is refused can still be looked at: this greeting believes it and says no more.
            let shown = shake(address, name, tls::probe()).await.ok();
            let facts = shown.map(|shown| Facts::Tls {
                version: shown.version,
                certificate: shown.certificate,
                trusted,
            });
            Outcome::Failed(facts, error.doing("examining the registry"))
        }
    }
}
