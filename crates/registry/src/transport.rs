//! The HTTP clients: for questions and for bodies, direct and through proxies, with the certificates of a host, and
//! guarded where a registry sends us.

use std::collections::{HashMap, HashSet};
use std::error::Error as StdError;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};
use oci::RegistryName;
use reqwest::{Client, ClientBuilder};
use rustls::ClientConfig;
use serde::Serialize;
use url::Url;

use crate::ahead::Ahead;
use crate::guard::{Refused, Zone};
use crate::proxies::Proxies;
use crate::resolve::{Guarded, Resolver};
use crate::tls::{self, HostFolders, Tls, TlsError};
use crate::trouble::ThroughProxy;
use crate::{AllowedHost, Error, Options, redact};

/// Which kind of exchange a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Lane {
    /// Manifests, lists, and everything else that is short. HTTP/2 where the registry speaks it.
    Api,
    /// Blobs. HTTP/1.1 only: one connection a body, because the fixed windows of a shared HTTP/2 connection slow down
    /// long links.
    Bulk,
}

/// What sets a client apart from the others.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Kind {
    lane: Lane,
    route: Route,
    trust: Trust,
    /// Without a pool.
    fresh: bool,
    /// The one origin that it serves (scheme, host and port), where connections may be opened ahead.
    origin: Option<String>,
}

/// The way to a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Route {
    /// The proxy knows it. Where it leaves looking up names to us (`socks5`), only to where a registry in this zone may
    /// send us.
    Proxied(Option<Zone>),
    /// To wherever it is.
    Direct,
    /// Only to where a registry in this zone may send us.
    Guarded(Zone),
}

/// Which certificates count.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Trust {
    /// None: it is http.
    Nothing,
    /// The same as for all.
    Usual,
    /// This authority has its own.
    Of(String),
}

/// Whose certificates are trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Trusted {
    /// Those of the system's authorities.
    System,
    /// Also those of authorities that the caller named.
    Given,
    /// Also those of the host's own authorities in `certs.d`.
    Folder,
    /// Everybody's.
    Any,
}

pub(crate) struct Transport {
    pub(crate) resolver: Resolver,
    /// The user's own for every request to a registry or its token server (docker's `HttpHeaders`); maybe secret.
    pub(crate) headers: HeaderMap,
    proxies: Proxies,
    allowed: Arc<[AllowedHost]>,
    tls: Tls,
    folders: HostFolders,
    /// The hosts of the registries that were asked for: those that see the client's certificate.
    registries: Mutex<HashSet<String>>,
    user_agent: HeaderValue,
    clients: Mutex<HashMap<Kind, Ready>>,
    /// What is trusted, and whether the client's certificate is shown: to read the system's roots takes longer than many a command.
    trusted: Mutex<HashMap<(Trust, bool), ClientConfig>>,
}

/// A client, and what it takes connections from before it opens any.
#[derive(Clone)]
struct Ready {
    client: Client,
    ahead: Ahead,
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
        let skip_verify = options.insecure || options.tls.skip_verify;
        Self {
            resolver: Resolver::default(),
            headers: headers.collect(),
            proxies: Proxies::of_environment(),
            allowed: options.allowed_hosts.clone().into(),
            tls: Tls { skip_verify, ..options.tls.clone() },
            folders: HostFolders::new(options.tls.host_folders.clone()),
            registries: Mutex::default(),
            user_agent: options.user_agent.parse().unwrap_or_else(|_| HeaderValue::from_static("hoist")),
            clients: Mutex::default(),
            trusted: Mutex::default(),
        }
    }

    /// Makes a host one of those that see the client's certificate.
    pub(crate) fn add_registry(&self, name: &RegistryName) {
        lock(&self.registries).insert(name.host().to_ascii_lowercase());
    }

    /// The proxy between us and a URL, without its credentials.
    pub(crate) fn proxy(&self, url: &Url) -> Option<String> {
        self.proxies.of(url)
    }

    /// A failed exchange, with the proxy if that is where it failed. The error names no URL, as that may be signed.
    pub(crate) fn explain(&self, url: &Url, error: reqwest::Error) -> Box<dyn StdError + Send + Sync> {
        let source = error.without_url();
        match self.proxy(url).filter(|_| source.is_connect()) {
            Some(proxy) => ThroughProxy { proxy, source }.into(),
            None => source.into(),
        }
    }

    /// Where an answer came from: by the address, or by the name where a proxy hides that.
    pub(crate) fn reached(&self, url: &Url, address: Option<SocketAddr>) -> Zone {
        match address.filter(|_| self.proxy(url).is_none()) {
            Some(address) => Zone::of(address.ip()),
            None => Zone::of_name(url),
        }
    }

    /// The client for a URL; `sent_from` is the zone of the registry that sends us there, if it is not the registry
    /// itself.
    pub(crate) fn client(&self, lane: Lane, url: &Url, sent_from: Option<Zone>) -> Result<Client, Error> {
        self.client_of(lane, url, sent_from, false)
    }

    /// What is trusted and shown where a URL leads.
    pub(crate) fn tls_config(&self, url: &Url) -> Result<ClientConfig, TlsError> {
        self.tls(&self.trust(url)?, url)
    }

    /// Whose certificates are trusted where a URL leads, besides the system's.
    pub(crate) fn trusted(&self, url: &Url) -> Result<Trusted, TlsError> {
        Ok(if self.tls.skip_verify {
            Trusted::Any
        } else if self.folders.of(url)?.is_some_and(|files| !files.roots.is_empty()) {
            Trusted::Folder
        } else if self.tls.roots.is_empty() {
            Trusted::System
        } else {
            Trusted::Given
        })
    }

    /// A client that takes no connection that was used before, however many are idle.
    pub(crate) fn fresh(&self, lane: Lane, url: &Url, sent_from: Option<Zone>) -> Result<Client, Error> {
        self.client_of(lane, url, sent_from, true)
    }

    /// Either of the two.
    pub(crate) fn client_of(
        &self,
        lane: Lane,
        url: &Url,
        sent_from: Option<Zone>,
        fresh: bool,
    ) -> Result<Client, Error> {
        let kind = self.kind(lane, url, sent_from, fresh)?;
        Ok(self.ready(&kind, url)?.client)
    }

    /// Opens connections for blobs, of the registry itself at `url`; the future ends a while after.
    pub(crate) fn open_ahead(
        &self,
        url: &Url,
        count: usize,
    ) -> Result<impl Future<Output = ()> + Send + use<>, Error> {
        let kind = self.kind(Lane::Bulk, url, None, false)?;
        let ahead = self.ready(&kind, url)?.ahead;
        let keeper = self.builder(&kind, url)?.connector_layer(ahead.keeping());
        Ok(ahead.open(built(keeper), url.clone(), count))
    }

    fn kind(&self, lane: Lane, url: &Url, sent_from: Option<Zone>, fresh: bool) -> Result<Kind, Error> {
        let route = self
            .route(url, sent_from)
            .map_err(|refused| Error::Refused { url: redact::url(url), reason: refused.to_string() })?;
        let trust = self.trust(url)?;
        // Without TLS all speak HTTP/1.1, and one takes the connection that another has left.
        let lane = if trust == Trust::Nothing { Lane::Api } else { lane };
        let origin = (sent_from.is_none() && !fresh).then(|| url.origin().ascii_serialization());
        Ok(Kind { lane, route, trust, fresh, origin })
    }

    fn ready(&self, kind: &Kind, url: &Url) -> Result<Ready, Error> {
        if let Some(ready) = lock(&self.clients).get(kind) {
            return Ok(ready.clone());
        }
        let ahead = Ahead::default();
        let mut builder = self.builder(kind, url)?;
        if kind.origin.is_some() {
            builder = builder.connector_layer(ahead.taking());
        }
        let ready = Ready { client: built(builder), ahead };
        Ok(lock(&self.clients).entry(kind.clone()).or_insert(ready).clone())
    }

    fn route(&self, url: &Url, sent_from: Option<Zone>) -> Result<Route, Refused> {
        let proxied = self.proxy(url).is_some();
        let direct = if proxied { Route::Proxied(None) } else { Route::Direct };
        let Some(from) = sent_from else { return Ok(direct) };
        if self.allowed.iter().any(|allowed| allowed.has_url(url)) {
            return Ok(direct);
        }
        let told = if proxied { Some(Zone::of_name(url)) } else { Zone::of_literal(url) };
        if let Some(to) = told.filter(|&to| !from.may_send_to(to)) {
            return Err(Refused { host: url.host_str().unwrap_or_default().to_owned(), from, to });
        }
        Ok(if proxied { Route::Proxied(Some(from)) } else { Route::Guarded(from) })
    }

    fn trust(&self, url: &Url) -> Result<Trust, TlsError> {
        // A proxy may itself be reached by https.
        if url.scheme() != "https" && self.proxy(url).is_none() {
            return Ok(Trust::Nothing);
        }
        let own = self.folders.of(url)?.is_some() || (self.tls.identity.is_some() && self.is_registry(url));
        Ok(if own { Trust::Of(tls::authority(url)) } else { Trust::Usual })
    }

    fn is_registry(&self, url: &Url) -> bool {
        let host = url.host_str().unwrap_or_default();
        lock(&self.registries).contains(host.trim_start_matches('[').trim_end_matches(']'))
    }

    /// Whether the client's certificate is shown there: never by a client that serves others too.
    fn shows_identity(&self, trust: &Trust, url: &Url) -> bool {
        matches!(trust, Trust::Of(_)) && self.tls.identity.is_some() && self.is_registry(url)
    }

    fn tls(&self, trust: &Trust, url: &Url) -> Result<ClientConfig, TlsError> {
        if *trust == Trust::Nothing {
            // Reading the system's roots takes longer than many a command.
            return Ok(tls::probe());
        }
        let files = self.folders.of(url)?;
        let mut roots = self.tls.roots.clone();
        let mut identity = self.tls.identity.clone().filter(|_| self.shows_identity(trust, url));
        if let Some(files) = files {
            roots.extend(files.roots.iter().cloned());
            identity = identity.or_else(|| files.identity.clone());
        }
        tls::config(self.tls.skip_verify, roots, identity.as_deref())
    }

    fn builder(&self, kind: &Kind, url: &Url) -> Result<ClientBuilder, TlsError> {
        let key = (kind.trust.clone(), self.shows_identity(&kind.trust, url));
        let known = lock(&self.trusted).get(&key).cloned();
        let mut tls = if let Some(tls) = known {
            tls
        } else {
            let tls = self.tls(&kind.trust, url)?;
            lock(&self.trusted).entry(key).or_insert(tls).clone()
        };
        let protocols: &[&[u8]] = match kind.lane {
            Lane::Api => &[b"h2", b"http/1.1"],
            Lane::Bulk => &[b"http/1.1"],
        };
        tls.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        let mut builder = Client::builder()
            .tls_backend_preconfigured(tls)
            .user_agent(self.user_agent.clone())
            .connect_timeout(Duration::from_secs(20))
            .pool_idle_timeout(Duration::from_mins(1))
            // Redirects are followed by hand: credentials stay with their host, and uploads are never re-sent.
            .redirect(reqwest::redirect::Policy::none())
            .referer(false);
        let guarded = |from, own: Vec<String>| {
            let (resolver, allowed) = (self.resolver.clone(), Arc::clone(&self.allowed));
            Guarded { resolver, from, allowed, own: own.into() }
        };
        builder = match kind.route {
            Route::Guarded(from) => builder.no_proxy().dns_resolver(guarded(from, Vec::new())),
            Route::Proxied(Some(from)) => builder.dns_resolver(guarded(from, self.proxies.hosts())),
            Route::Direct => builder.no_proxy().dns_resolver(self.resolver.clone()),
            Route::Proxied(None) => builder.dns_resolver(self.resolver.clone()),
        };
        if kind.fresh {
            builder = builder.pool_max_idle_per_host(0);
        }
        if kind.lane == Lane::Bulk {
            builder = builder.http1_only();
        }
        Ok(builder)
    }
}

fn built(builder: ClientBuilder) -> Client {
    // Building fails only for a TLS backend that it does not understand.
    builder.build().expect("the TLS configuration is rustls's")
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
