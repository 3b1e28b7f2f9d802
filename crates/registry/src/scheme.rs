//! https or http, for the registries where crane allows both: found out without a request, and so without credentials.

use std::sync::Arc;
use std::time::Duration;

use oci::RegistryName;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use url::Url;

use crate::memory::Scheme;
use crate::resolve::Resolver;
use crate::shared::Shared;
use crate::tls;
use crate::transport::Lane;
use crate::trouble::Trouble;

/// How long a server may take to show which protocol it speaks.
const PATIENCE: Duration = Duration::from_secs(3);

/// What a registry on this machine speaks in all likelihood: http, which costs nothing if it is right, and one request if
/// not. To ask first costs all of them two round trips. Whoever has headers of his own for every request may have secrets in
/// them: there nothing is guessed.
pub(crate) fn guess(registry: &RegistryName, shared: &Shared) -> Option<Scheme> {
    let is_here = registry.is_loopback()
        && port(registry).is_some()
        && !through_proxy_for_http(registry, shared)
        && shared.transport.headers.is_empty();
    is_here.then_some(Scheme::Http)
}

/// `https`, unless plain http may be used and is what the server speaks.
pub(crate) async fn find(registry: &RegistryName, shared: &Shared) -> &'static str {
    if shared.options.plain_http {
        return "http";
    }
    if !shared.options.insecure && !registry.may_be_http() {
        return "https";
    }
    let by_https = Url::parse(&format!("https://{registry}/v2/"));
    if let Ok(url) = by_https
        && shared.transport.proxy(&url).is_some()
    {
        return if answers(&url, shared).await { "https" } else { "http" };
    }
    let resolver = &shared.transport.resolver;
    let (host, port) = (registry.host(), port(registry));
    match timeout(PATIENCE, speaks_tls(host, port.unwrap_or(443), resolver)).await {
        Ok(Some(true)) => "https",
        Ok(Some(false)) => "http",
        // Nobody listens on 443, or says nothing: without a port in the name, 80 may answer.
        _ if port.is_none() && is_open(host, 80, resolver).await => "http",
        // Where there is no direct way, http may have one: a proxy that is for http alone.
        _ if through_proxy_for_http(registry, shared) => "http",
        // The request itself will say what is wrong; on loopback that is likely a server meant to speak http.
        _ if port.is_some() && registry.is_loopback() => "http",
        _ => "https",
    }
}

/// Whether there is an answer by https through the proxy, which lets no greeting pass that is not meant.
async fn answers(url: &Url, shared: &Shared) -> bool {
    let Ok(client) = shared.transport.client(Lane::Api, url, None) else { return true };
    match client.get(url.clone()).timeout(PATIENCE).send().await {
        Ok(_) => true,
        // A proxy or a certificate that refuses is for the request itself to tell; what breaks off is no TLS.
        Err(error) => !matches!(Trouble::of(&error), Some(Trouble::NotTls)),
    }
}

fn through_proxy_for_http(registry: &RegistryName, shared: &Shared) -> bool {
    Url::parse(&format!("http://{registry}/v2/")).is_ok_and(|url| shared.transport.proxy(&url).is_some())
}

fn port(registry: &RegistryName) -> Option<u16> {
    registry.as_str().rsplit_once(':').and_then(|(_, port)| port.parse().ok())
}

/// Greets the server as a TLS client would and looks at the first byte of its answer. A line end behind the greeting
/// makes a plain HTTP server answer too, instead of waiting for the rest of what it takes for a request.
async fn speaks_tls(host: &str, port: u16, resolver: &Resolver) -> Option<bool> {
    let mut stream = connect(host, port, resolver).await?;
    let name = ServerName::try_from(host.to_owned()).ok()?;
    let mut greeting = Vec::new();
    let mut connection = rustls::ClientConnection::new(Arc::new(tls::probe()), name).ok()?;
    connection.write_tls(&mut greeting).ok()?;
    greeting.extend_from_slice(b"\r\n\r\n");
    stream.write_all(&greeting).await.ok()?;
    let mut first = [0];
    match stream.read(&mut first).await {
        // 20 to 23 are TLS record types: an answer or an alert.
        Ok(1) => Some(matches!(first[0], 20..=23)),
        // It hung up on the greeting, so it is not TLS.
        _ => Some(false),
    }
}

async fn is_open(host: &str, port: u16, resolver: &Resolver) -> bool {
    matches!(timeout(PATIENCE, connect(host, port, resolver)).await, Ok(Some(_)))
}

async fn connect(host: &str, port: u16, resolver: &Resolver) -> Option<TcpStream> {
    let addresses = match host.parse() {
        Ok(address) => vec![std::net::SocketAddr::new(address, port)],
        Err(_) => resolver.addresses(host, port).await.ok()?,
    };
    TcpStream::connect(addresses.as_slice()).await.ok()
}

#[cfg(test)]
mod tests {
    use auth::Keychain;
    use tokio::net::TcpListener;

    use super::*;
    use crate::Options;

    fn shared(options: Options) -> Shared {
        Shared::new(options, Keychain::default())
    }

    /// A server that answers whatever comes with `answer` and hangs up.
    async fn server(answer: &'static [u8]) -> RegistryName {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let name = RegistryName::new(&listener.local_addr().unwrap().to_string()).unwrap();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = vec![0; 4096];
            let _ = stream.read(&mut request).await;
            let _ = stream.write_all(answer).await;
        });
        name
    }

    #[tokio::test]
    async fn the_first_byte_tells() {
        for (answer, expected) in [
            (&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], "http"),
            (b"\x16\x03\x03\x00\x01\x02", "https"),
            (b"\x15\x03\x03\x00\x02\x02\x28", "https"),
            (b"", "http"),
        ] {
            let registry = server(answer).await;
            assert_eq!(find(&registry, &shared(Options::default())).await, expected, "{answer:?}");
        }
    }

    #[tokio::test]
    async fn others_are_not_even_asked() {
        let registry = RegistryName::new("registry.invalid:5000").unwrap();
        assert_eq!(find(&registry, &shared(Options::default())).await, "https");
        let plain_http = Options { plain_http: true, ..Options::default() };
        assert_eq!(find(&registry, &shared(plain_http)).await, "http");
    }
}
