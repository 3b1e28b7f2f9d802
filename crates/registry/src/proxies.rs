//! The environment's proxies: `HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY`, `NO_PROXY`, in capitals or not.

use http::Uri;
use hyper_util::client::proxy::matcher::Matcher;
use url::Url;

use crate::transport::is_loopback;

/// Which URLs are asked through a proxy. What is on this machine never is, as in Go.
pub(crate) struct Proxies {
    matcher: Matcher,
    /// `host:port` of `NO_PROXY`, which the matcher does not know.
    direct: Vec<String>,
    /// Whether `NO_PROXY` is for all, addresses too, which the matcher leaves out.
    never: bool,
}

impl Proxies {
    pub(crate) fn of_environment() -> Self {
        let no_proxy = ["no_proxy", "NO_PROXY"].iter().find_map(|name| std::env::var(name).ok());
        Self::new(Matcher::from_env(), &no_proxy.unwrap_or_default())
    }

    fn new(matcher: Matcher, no_proxy: &str) -> Self {
        let no_proxy = no_proxy.to_ascii_lowercase();
        let entries = || no_proxy.split(',').map(str::trim);
        let direct = entries().filter(|entry| entry.contains(':')).map(str::to_owned).collect();
        Self { matcher, direct, never: entries().any(|entry| entry == "*") }
    }

    /// The proxy of a URL, without its credentials.
    pub(crate) fn of(&self, url: &Url) -> Option<String> {
        if self.never || is_loopback(url) || self.is_direct(url) {
            return None;
        }
        let uri: Uri = url.as_str().parse().ok()?;
        let proxy = self.matcher.intercept(&uri)?;
        let proxy = proxy.uri();
        Some(format!("{}://{}", proxy.scheme_str().unwrap_or("http"), host_and_port(proxy)))
    }

    /// The hosts of the proxies themselves.
    pub(crate) fn hosts(&self) -> Vec<String> {
        let urls = ["http://registry.invalid", "https://registry.invalid"].map(Uri::from_static);
        let proxies = urls.iter().filter_map(|url| self.matcher.intercept(url));
        proxies.map(|proxy| proxy.uri().host().unwrap_or_default().to_owned()).collect()
    }

    fn is_direct(&self, url: &Url) -> bool {
        let (Some(host), Some(port)) = (url.host_str(), url.port_or_known_default()) else { return false };
        self.direct.iter().any(|entry| {
            let Some((name, of)) = entry.rsplit_once(':') else { return false };
            let below = name.strip_prefix('.').or_else(|| name.strip_prefix("*.")).unwrap_or(name);
            of.parse() == Ok(port)
                && (host == below || host.strip_suffix(below).is_some_and(|rest| rest.ends_with('.')))
        })
    }
}

fn host_and_port(uri: &Uri) -> String {
    let host = uri.host().unwrap_or_default();
    uri.port_u16().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxies(no_proxy: &str) -> Proxies {
        let matcher =
            Matcher::builder().https("http://u:s3cret@proxy.corp:3128").no(no_proxy.to_owned()).build();
        Proxies::new(matcher, no_proxy)
    }

    #[test]
    fn who_is_asked_through_a_proxy() {
        let of = |no_proxy: &str, url: &str| proxies(no_proxy).of(&Url::parse(url).unwrap());
        assert_eq!(of("", "https://ghcr.io/v2/").as_deref(), Some("http://proxy.corp:3128"));
        assert_eq!(of("", "http://ghcr.io/v2/"), None, "there is none for http");
        for direct in
            ["https://localhost:5000/", "https://127.0.0.9/", "https://[::1]/", "https://a.localhost/"]
        {
            assert_eq!(of("", direct), None, "{direct}");
        }
        for (no_proxy, url) in [
            ("ghcr.io", "https://ghcr.io/"),
            ("ghcr.io:443", "https://ghcr.io/"),
            ("corp:5000", "https://r.corp:5000/"),
            (".corp", "https://r.corp/"),
            ("10.0.0.0/8", "https://10.1.1.1/"),
            ("*", "https://ghcr.io/"),
            ("*", "https://10.1.1.1/"),
            ("other.example, *", "https://[fd00::1]:5000/"),
        ] {
            assert_eq!(of(no_proxy, url), None, "{no_proxy} {url}");
        }
        for (no_proxy, url) in [("ghcr.io:5000", "https://ghcr.io/"), ("orp:443", "https://r.corp/")] {
            assert!(of(no_proxy, url).is_some(), "{no_proxy} {url}");
        }
    }
}
