//! The HTTP clients: for questions and for bodies, each with the environment's proxies and without.

use std::sync::OnceLock;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};
use oci::RegistryName;
use reqwest::Client;
use rustls::ClientConfig;
use url::Url;

use crate::Options;
use crate::resolve::Resolver;
use crate::tls;

/// Which kind of exchange a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lane {
    /// Manifests, lists, and everything else that is short. HTTP/2 where the registry speaks it.
    Api,
    /// Blobs. HTTP/1.1 only: one connection a body, because the fixed windows of a shared HTTP/2 connection slow down
    /// long links.
    Bulk,
}

pub(crate) struct Transport {
    pub(crate) resolver: Resolver,
    /// The user's own for every request to a registry or its token server (docker's `HttpHeaders`); maybe secret.
    pub(crate) headers: HeaderMap,
    tls: ClientConfig,
    user_agent: String,
    /// By lane, and by whether a proxy may stand between.
    clients: [[OnceLock<Client>; 2]; 2],
}

/// Whether a URL leads to this machine itself.
pub(crate) fn is_loopback(url: &Url) -> bool {
    url.host_str().and_then(|host| RegistryName::new(host).ok()).is_some_and(|name| name.is_loopback())
}

impl Transport {
    /// `headers` are the user's own.
    pub(crate) fn new(options: &Options, headers: &[(String, String)]) -> Self {
        let headers = headers.iter().filter_map(|(name, value)| {
            let name: HeaderName = name.parse().ok()?;
            let mut value: HeaderValue = value.parse().ok()?;
            value.set_sensitive(true);
            Some((name, value))
        });
        Self {
            resolver: Resolver::default(),
            tls: tls::config(options.insecure),
            headers: headers.collect(),
            user_agent: options.user_agent.clone(),
            clients: Default::default(),
        }
    }

    /// The client for a URL. The environment's proxies (`HTTPS_PROXY` and the like) are never asked for what is on this
    /// machine, as in Go.
    pub(crate) fn client(&self, lane: Lane, url: &Url) -> &Client {
        let direct = is_loopback(url);
        let protocols: &[&[u8]] = match lane {
            Lane::Api => &[b"h2", b"http/1.1"],
            Lane::Bulk => &[b"http/1.1"],
        };
        let [api, bulk] = &self.clients;
        let [proxied, unproxied] = if lane == Lane::Api { api } else { bulk };
        let client = if direct { unproxied } else { proxied };
        client.get_or_init(|| self.build(protocols, direct))
    }

    fn build(&self, protocols: &[&[u8]], direct: bool) -> Client {
        let mut tls = self.tls.clone();
        tls.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        let mut builder = Client::builder()
            .tls_backend_preconfigured(tls)
            .dns_resolver(self.resolver.clone())
            .user_agent(&self.user_agent)
            .connect_timeout(Duration::from_secs(20))
            .pool_idle_timeout(Duration::from_mins(1))
            // Redirects are followed by hand: credentials stay with their host, and uploads are never re-sent.
            .redirect(reqwest::redirect::Policy::none())
            .referer(false);
        if protocols.len() == 1 {
            builder = builder.http1_only();
        }
        if direct {
            builder = builder.no_proxy();
        }
        // Building fails only for a TLS backend or an agent text that it does not understand.
        builder.build().expect("the TLS configuration is rustls' own and the agent is printable")
    }
}
