//! Host names, resolved in Rust: the binary carries its own resolver, so it needs nothing of the machine's C library.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, OnceLock};

use hickory_resolver::TokioResolver;
use hickory_resolver::config::LookupIpStrategy;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// Asks the machine's hosts file and name servers. `localhost` and the names below it are loopback addresses without
/// asking anybody (RFC 6761).
#[derive(Clone, Default)]
pub(crate) struct Resolver {
    /// Made with the first name that needs it: reading the configuration costs time that most commands do not need.
    system: Arc<OnceLock<Option<TokioResolver>>>,
}

impl Resolver {
    /// The addresses of `host`, with `port`.
    pub(crate) async fn addresses(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        let name = host.trim_end_matches('.').to_ascii_lowercase();
        if name == "localhost" || name.ends_with(".localhost") {
            return Ok(vec![(Ipv4Addr::LOCALHOST, port).into(), (Ipv6Addr::LOCALHOST, port).into()]);
        }
        let system = self.system.get_or_init(system).as_ref().ok_or_else(|| {
            io::Error::other(format!("no name server is configured, so {host:?} cannot be looked up"))
        })?;
        let found = system.lookup_ip(host).await.map_err(|error| {
            let text = if error.is_no_records_found() {
                format!("no such host: {host:?} is unknown to the name server")
            } else {
                format!("looking up host {host:?}: {error}")
            };
            io::Error::new(io::ErrorKind::NotFound, text)
        })?;
        Ok(found.iter().map(|address| SocketAddr::new(address, port)).collect())
    }
}

fn system() -> Option<TokioResolver> {
    let mut builder = TokioResolver::builder_tokio().ok()?;
    builder.options_mut().ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
    builder.build().ok()
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
