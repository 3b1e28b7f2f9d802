//! The two HTTP clients: one for questions, one for bodies.

use std::sync::OnceLock;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};
use reqwest::Client;
use rustls::ClientConfig;

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
    api: OnceLock<Client>,
    bulk: OnceLock<Client>,
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
            api: OnceLock::new(),
            bulk: OnceLock::new(),
        }
    }

    pub(crate) fn client(&self, lane: Lane) -> &Client {
        match lane {
            Lane::Api => self.api.get_or_init(|| self.build(&[b"h2", b"http/1.1"])),
            Lane::Bulk => self.bulk.get_or_init(|| self.build(&[b"http/1.1"])),
        }
    }

    fn build(&self, protocols: &[&[u8]]) -> Client {
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
        // Building fails only for a TLS backend or an agent text that it does not understand.
        builder.build().expect("the TLS configuration is rustls' own and the agent is printable")
    }
}
