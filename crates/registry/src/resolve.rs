//! Host names, resolved in Rust: the binary carries its own resolver, so it needs nothing of the machine's C library.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, OnceLock};

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{LookupIpStrategy, ResolverConfig};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use crate::AllowedHost;
use crate::guard::{Refused, Zone};
use crate::trouble::{LookupFailed, UnknownHost};

/// Asks the machine's hosts file and name servers. `localhost` and the names below it are loopback addresses without
/// asking anybody (RFC 6761).
#[derive(Clone, Default)]
pub(crate) struct Resolver {
    /// Made with the first name that needs it: reading the configuration costs time that most commands do not need.
    system: Arc<OnceLock<Option<System>>>,
}

/// What the machine knows: its hosts file, and name servers if it has any.
struct System {
    resolver: TokioResolver,
    has_servers: bool,
}

impl Resolver {
    /// The addresses of `host`, with `port`.
    pub(crate) async fn addresses(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        let name = host.trim_end_matches('.').to_ascii_lowercase();
        if name == "localhost" || name.ends_with(".localhost") {
            return Ok(vec![(Ipv4Addr::LOCALHOST, port).into(), (Ipv6Addr::LOCALHOST, port).into()]);
        }
        // A SOCKS proxy that wants addresses has even those looked up.
        if let Ok(address) = host.parse() {
            return Ok(vec![SocketAddr::new(address, port)]);
        }
        let failed = |reason: String| io::Error::new(io::ErrorKind::NotFound, LookupFailed(reason));
        let alone = || failed(format!("no name server is configured, so {host:?} cannot be looked up"));
        let system = self.system.get_or_init(system).as_ref().ok_or_else(alone)?;
        let found = system.resolver.lookup_ip(host).await.map_err(|error| {
            if !system.has_servers {
                alone()
            } else if error.is_no_records_found() {
                io::Error::new(io::ErrorKind::NotFound, UnknownHost(host.to_owned()))
            } else {
                failed(format!("looking up host {host:?}: {error}"))
            }
        })?;
        Ok(found.iter().map(|address| SocketAddr::new(address, port)).collect())
    }
}

fn system() -> Option<System> {
    let configured = TokioResolver::builder_tokio();
    let has_servers = configured.is_ok();
    // The hosts file counts on a machine without name servers too.
    let mut builder = configured.unwrap_or_else(|_| {
        TokioResolver::builder_with_config(ResolverConfig::default(), TokioRuntimeProvider::default())
    });
    builder.options_mut().ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
    builder.build().ok().map(|resolver| System { resolver, has_servers })
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let resolver = self.clone();
        Box::pin(async move {
            // The port of the URL replaces this one.
            let addresses = resolver.addresses(name.as_str(), 0).await?;
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}

/// Finds only addresses that a registry may send us to: the check is on what is dialled, so that no name server can
/// answer one thing to the check and another to the connection.
#[derive(Clone)]
pub(crate) struct Guarded {
    pub(crate) resolver: Resolver,
    /// Where the registry was reached.
    pub(crate) from: Zone,
    pub(crate) allowed: Arc<[AllowedHost]>,
    /// Hosts of the user's own choice: the proxies on the way.
    pub(crate) own: Arc<[String]>,
}

impl Resolve for Guarded {
    fn resolve(&self, name: Name) -> Resolving {
        let Self { resolver, from, allowed, own } = self.clone();
        Box::pin(async move {
            let found = resolver.addresses(name.as_str(), 0).await?;
            if own.iter().any(|own| own.eq_ignore_ascii_case(name.as_str())) {
                return Ok(Box::new(found.into_iter()) as Addrs);
            }
            let refused = |address: &SocketAddr| {
                let to = Zone::of(address.ip());
                let allowed = allowed.iter().any(|allowed| allowed.has_address(address.ip()));
                (!allowed && !from.may_send_to(to)).then_some(to)
            };
            let may: Vec<SocketAddr> =
                found.iter().copied().filter(|address| refused(address).is_none()).collect();
            match found.iter().find_map(refused).filter(|_| may.is_empty()) {
                Some(to) => {
                    Err(io::Error::other(Refused { host: name.as_str().to_owned(), from, to }).into())
                }
                None => Ok(Box::new(may.into_iter()) as Addrs),
            }
        })
    }
}
