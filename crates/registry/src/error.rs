//! What can go wrong between hoist and a registry.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::header::DATE;
use http::{HeaderMap, Method, StatusCode};
use store::Kind;
use url::Url;

use crate::host::Authorization;
use crate::rate_limit::RateLimit;
use crate::redact;
use crate::retry::{chain, is_network};
use crate::scope::Scope;
use crate::tls::TlsError;
use crate::trouble::Trouble;

/// What went wrong, with everything needed to find the cause. URLs are printed without secrets.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The registry answered with an error.
    #[error("{0}")]
    Status(Box<StatusError>),
    /// The exchange broke, or never began.
    #[error("{method} {url}: {}{}", causes(source.as_ref()), Effort(*attempts, *elapsed))]
    Network {
        /// The request's method.
        method: Method,
        /// The request's URL.
        url: String,
        /// What the network said.
        source: Box<dyn StdError + Send + Sync>,
        /// How often it was tried.
        attempts: usize,
        /// How long that took.
        elapsed: Duration,
    },
    /// The credentials for the registry could not be had.
    #[error(transparent)]
    Credentials(#[from] auth::Error),
    /// There is no token, for all requests that waited for the same one.
    #[error(transparent)]
    Token(Arc<Error>),
    /// Credentials would have to be sent in the clear.
    #[error("{url} asks for credentials over plain http, where anybody on the way can read them")]
    InTheClear {
        /// Who asks.
        url: String,
    },
    /// A registry sends us where it may not.
    #[error("{url} is not asked: {reason}")]
    Refused {
        /// Where it sends us.
        url: String,
        /// Why that is refused.
        reason: String,
    },
    /// Certificates or keys that are to be used cannot be.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The answer breaks the protocol.
    #[error("{method} {url}: {reason}")]
    Protocol {
        /// The request's method.
        method: Method,
        /// The request's URL.
        url: String,
        /// What is wrong with the answer.
        reason: String,
    },
    /// The answer is larger than hoist is willing to hold in memory.
    #[error("GET {url}: the answer has more than {limit} bytes")]
    TooLarge {
        /// The request's URL.
        url: String,
        /// The limit, in bytes.
        limit: u64,
    },
}

/// An answer that is an error.
#[derive(Debug)]
pub struct StatusError {
    /// The request's method.
    pub method: Method,
    /// The request's URL, without secrets.
    pub url: String,
    /// The answer's status.
    pub status: StatusCode,
    /// What the registry says is wrong (distribution specification, "Error Codes"); empty if it says nothing.
    pub errors: Vec<RegistryError>,
    /// Plain text of an answer that has no such list.
    pub text: String,
    /// Whether the request carried credentials.
    pub authorized: bool,
    /// What the request's token was asked for (token scopes).
    pub needed: Vec<String>,
    /// What the request's token is for, where it says so (the `access` claim of a JSON web token).
    pub granted: Option<Vec<String>>,
    /// How long the registry asks to wait.
    pub retry_after: Option<Duration>,
    /// How often the registry may be asked, where that was too often.
    pub limit: Option<RateLimit>,
    /// How far the registry's clock is from this machine's, if that is far.
    pub skew: Option<ClockSkew>,
    /// How often it was tried.
    pub attempts: usize,
    /// How long that took.
    pub elapsed: Duration,
}

/// One entry of a registry's list of errors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegistryError {
    /// The code, such as `MANIFEST_UNKNOWN`; empty where a registry has none.
    pub code: String,
    /// The code in words.
    pub message: String,
}

/// How far a registry's clock, as its `Date` header shows it, is from this machine's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockSkew {
    /// How far.
    pub by: Duration,
    /// Whether the registry's is ahead.
    pub ahead: bool,
}

impl ClockSkew {
    /// Less is no trouble: tokens are taken some minutes before and after their time.
    const HARMLESS: Duration = Duration::from_mins(3);

    /// The skew that the headers of a fresh answer show; `None` if there is none to speak of.
    pub(crate) fn of(headers: &HeaderMap) -> Option<Self> {
        let date = httpdate::parse_http_date(headers.get(DATE)?.to_str().ok()?).ok()?;
        let skew = match date.duration_since(SystemTime::now()) {
            Ok(by) => Self { by, ahead: true },
            Err(behind) => Self { by: behind.duration(), ahead: false },
        };
        (skew.by > Self::HARMLESS).then_some(skew)
    }
}

impl fmt::Display for ClockSkew {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let side = if self.ahead { "ahead of" } else { "behind" };
        write!(f, "the registry's clock is {} {side} this machine's", Rough(self.by))
    }
}

/// A duration as a person says it.
struct Rough(Duration);

impl fmt::Display for Rough {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_secs() {
            seconds @ 0..120 => write!(f, "{seconds} s"),
            seconds @ 120..7200 => write!(f, "{} min", seconds / 60),
            seconds @ 7200..172_800 => write!(f, "{} h", seconds / 3600),
            seconds => write!(f, "{} days", seconds / 86400),
        }
    }
}

/// A limit as far as it is known, behind the line that it explains.
struct Limit<'a>(&'a RateLimit);

impl fmt::Display for Limit<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(limit) = self.0.limit else { return Ok(()) };
        write!(f, " (the limit is {limit} requests")?;
        if let Some(window) = self.0.window {
            write!(f, " in {}", Rough(Duration::from_secs(window)))?;
        }
        if let Some(remaining) = self.0.remaining {
            write!(f, ", {remaining} left")?;
        }
        f.write_str(")")
    }
}

/// How hard it was tried; prints nothing for a single attempt.
struct Effort(usize, Duration);

impl fmt::Display for Effort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 > 1 {
            write!(f, " (after {} attempts in {:.1} s)", self.0, self.1.as_secs_f64())?;
        }
        Ok(())
    }
}

impl fmt::Display for StatusError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: ", self.method, self.url)?;
        if self.errors.is_empty() {
            write!(f, "unexpected status code {}", self.status)?;
            if self.method == Method::HEAD {
                f.write_str(" (HEAD responses have no body, use GET for details)")?;
            } else if !self.text.is_empty() {
                write!(f, ": {}", self.text)?;
            }
        }
        for (at, error) in self.errors.iter().enumerate() {
            let separator = if at == 0 { "" } else { "; " };
            let colon = if error.code.is_empty() || error.message.is_empty() { "" } else { ": " };
            write!(f, "{separator}{}{colon}{}", error.code, error.message)?;
        }
        if let Some(limit) = &self.limit {
            write!(f, "{}", Limit(limit))?;
        }
        if let Some(wait) = self.retry_after {
            write!(f, " (the registry asks to wait {})", Rough(wait))?;
        }
        if let Some(granted) = self.lacking() {
            let granted = if granted.is_empty() { "nothing".to_owned() } else { granted.join(" ") };
            write!(f, "; the token is good for {granted}, and {} is needed", self.needed.join(" "))?;
        }
        Effort(self.attempts, self.elapsed).fmt(f)
    }
}

impl StatusError {
    /// What the token is for, if that is less than what is needed.
    fn lacking(&self) -> Option<&[String]> {
        let granted = self.granted.as_deref()?;
        let scopes = |texts: &[String]| Scope::parse_list(&texts.join(" "));
        (!Scope::covers(&scopes(granted), &scopes(&self.needed))).then_some(granted)
    }

    fn has(&self, code: &str) -> bool {
        self.errors.iter().any(|error| error.code == code)
    }

    pub(crate) fn kind(&self) -> Kind {
        match self.status.as_u16() {
            // An upload session that the registry has lost: a new one may fare better.
            _ if self.has("BLOB_UPLOAD_UNKNOWN") || self.has("BLOB_UPLOAD_INVALID") => Kind::Interrupted,
            401 => Kind::Unauthorized,
            403 => Kind::Denied,
            404 => Kind::NotFound,
            429 => Kind::TooManyRequests,
            405 | 415 | 501 => Kind::Unsupported,
            400 if self.has("UNSUPPORTED") => Kind::Unsupported,
            400 if self.has("DIGEST_INVALID") || self.has("SIZE_INVALID") || self.has("MANIFEST_INVALID") => {
                Kind::Invalid
            }
            _ if crate::retry::is_passing(self.status) => Kind::Interrupted,
            _ => Kind::Other,
        }
    }
}

/// The causes in one line. An outer error often repeats its cause's text, or says no more than that there is one.
fn causes(error: &(dyn StdError + 'static)) -> String {
    /// What the HTTP library's layers put around the cause that counts.
    const EMPTY: [&str; 7] = [
        "error sending request",
        "error decoding response body",
        "client error (Connect)",
        "client error (SendRequest)",
        "dns error",
        "error resolving DNS",
        "tcp connect error",
    ];
    let mut parts: Vec<String> = Vec::new();
    for cause in chain(error) {
        let mut text = cause.to_string();
        // The HTTP library keeps no more of a proxy's answer.
        if text == "tunnel error: unsuccessful" {
            "it opens no way there: the user or password may be wrong, or the place forbidden"
                .clone_into(&mut text);
        }
        let known = parts.last().is_some_and(|last| last.contains(&text));
        if !known && !EMPTY.contains(&text.as_str()) {
            parts.push(text);
        }
    }
    if parts.is_empty() { error.to_string() } else { parts.join(": ") }
}

impl Error {
    /// A failed exchange.
    pub(crate) fn network(
        method: &Method,
        url: &Url,
        source: impl Into<Box<dyn StdError + Send + Sync>>,
        (attempts, elapsed): (usize, Duration),
    ) -> Self {
        Self::Network {
            method: method.clone(),
            url: redact::url(url),
            source: source.into(),
            attempts,
            elapsed,
        }
    }

    /// An answer that breaks the protocol.
    pub(crate) fn protocol(method: &Method, url: &Url, reason: impl Into<String>) -> Self {
        Self::Protocol { method: method.clone(), url: redact::url(url), reason: reason.into() }
    }

    /// Says what the refused request carried, and what it needed.
    pub(crate) fn under(mut self, authorization: &Authorization, scopes: &[Scope]) -> Self {
        if let Self::Status(error) = &mut self {
            error.granted = authorization.granted();
            error.needed = scopes.iter().map(Scope::to_string).collect();
        }
        self
    }

    /// What kept the exchange from coming to an answer, as far as a person can mend it.
    pub fn trouble(&self) -> Option<Trouble> {
        match self {
            Self::Network { url, source, .. } => {
                let parse = |cause: &hyper::Error| cause.is_parse();
                let garbled = || chain(source.as_ref()).filter_map(|cause| cause.downcast_ref()).any(parse);
                let not_http = || (url.starts_with("http://") && garbled()).then_some(Trouble::NotHttp);
                Trouble::of(source.as_ref()).or_else(not_http)
            }
            // What Go's server and nginx say to http on a port of https.
            Self::Status(error)
                if error.status == StatusCode::BAD_REQUEST && error.text.contains("HTTPS") =>
            {
                Some(Trouble::NotHttp)
            }
            Self::Status(error) if error.status == StatusCode::PROXY_AUTHENTICATION_REQUIRED => {
                Some(Trouble::ProxyCredentials)
            }
            Self::Token(error) => error.trouble(),
            Self::Refused { .. } => Some(Trouble::SentAstray),
            _ => None,
        }
    }

    /// The answer that is an error, if there was one.
    pub fn answer(&self) -> Option<&StatusError> {
        match self {
            Self::Status(error) => Some(error),
            Self::Token(error) => error.answer(),
            _ => None,
        }
    }

    /// The status, if the registry answered.
    pub fn status(&self) -> Option<StatusCode> {
        match self {
            Self::Status(error) => Some(error.status),
            Self::Token(error) => error.status(),
            _ => None,
        }
    }

    /// What a caller can act on.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Status(error) => error.kind(),
            Self::Token(error) => error.kind(),
            Self::Network { source, .. }
                if matches!(self.trouble(), None | Some(Trouble::Timeout)) && is_network(source.as_ref()) =>
            {
                Kind::Interrupted
            }
            Self::Network { .. } | Self::Refused { .. } | Self::Tls(_) => Kind::Unreachable,
            Self::Credentials(_) | Self::InTheClear { .. } => Kind::Unauthorized,
            Self::Protocol { .. } => Kind::Other,
            Self::TooLarge { .. } => Kind::Invalid,
        }
    }

    /// Says what was being done.
    pub(crate) fn doing(self, doing: impl Into<String>) -> store::Error {
        store::Error::new(self.kind(), doing, self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(method: Method, status: u16, body: &str) -> StatusError {
        let (errors, text) = crate::explain::explain(body.as_bytes());
        StatusError {
            method,
            url: "http://h/v2/nope/manifests/latest".into(),
            status: StatusCode::from_u16(status).unwrap(),
            errors,
            text,
            authorized: false,
            needed: Vec::new(),
            granted: None,
            retry_after: None,
            limit: None,
            skew: None,
            attempts: 1,
            elapsed: Duration::ZERO,
        }
    }

    #[test]
    fn answers_in_words() {
        let unknown = r#"{"errors":[{"code":"NAME_UNKNOWN","message":"Unknown name","detail":{}}]}"#;
        for (error, expected) in [
            (status(Method::GET, 404, unknown), "NAME_UNKNOWN: Unknown name"),
            (status(Method::GET, 400, r#"{"errors":[{"message":"no\nway"},{}]}"#), "no way"),
            (status(Method::GET, 500, "<html>\noops"), "unexpected status code 500 Internal Server Error"),
            (
                status(Method::GET, 502, "\n bad\u{1b}[1m gateway\n"),
                "unexpected status code 502 Bad Gateway: bad[1m gateway",
            ),
            (
                status(Method::HEAD, 404, ""),
                "unexpected status code 404 Not Found (HEAD responses have no body, use GET for details)",
            ),
        ] {
            let method = error.method.clone();
            assert_eq!(error.to_string(), format!("{method} http://h/v2/nope/manifests/latest: {expected}"));
        }
        let tried =
            StatusError { attempts: 3, elapsed: Duration::from_millis(4210), ..status(Method::GET, 503, "") };
        assert!(tried.to_string().ends_with("503 Service Unavailable (after 3 attempts in 4.2 s)"));
        let patient =
            StatusError { retry_after: Some(Duration::from_secs(90)), ..status(Method::GET, 429, "") };
        assert!(patient.to_string().ends_with("429 Too Many Requests (the registry asks to wait 90 s)"));
    }

    #[test]
    fn scopes_that_lack() {
        let needed = vec!["repository:a:pull,push".to_owned()];
        let refused = |granted: &[&str]| {
            let granted = Some(granted.iter().map(|&scope| scope.to_owned()).collect());
            let error = StatusError { needed: needed.clone(), granted, ..status(Method::POST, 401, "") };
            error.to_string()
        };
        let lacking = refused(&["repository:a:pull"]);
        let words = "; the token is good for repository:a:pull, and repository:a:pull,push is needed";
        assert!(lacking.ends_with(words), "{lacking}");
        assert!(refused(&[]).contains("good for nothing"));
        assert!(!refused(&["repository:a:pull,push,delete"]).contains("token"));
    }

    #[test]
    fn clocks() {
        let skew = |seconds: u64, ahead: bool| {
            let by = Duration::from_secs(seconds);
            let now = SystemTime::now();
            let date = httpdate::fmt_http_date(if ahead { now + by } else { now - by });
            ClockSkew::of(&HeaderMap::from_iter([(DATE, date.parse().unwrap())]))
        };
        assert_eq!(skew(60, true), None);
        assert_eq!(skew(60, false), None);
        assert!(skew(4000, true).unwrap().to_string().contains("66 min ahead"));
        assert!(skew(90_000, false).unwrap().to_string().contains("25 h behind"));
    }

    #[test]
    fn kinds() {
        let digest = r#"{"errors":[{"code":"DIGEST_INVALID"}]}"#;
        assert_eq!(status(Method::PUT, 400, digest).kind(), Kind::Invalid);
        let lost = r#"{"errors":[{"code":"BLOB_UPLOAD_UNKNOWN"}]}"#;
        assert_eq!(status(Method::PUT, 404, lost).kind(), Kind::Interrupted);
        assert_eq!(status(Method::PUT, 400, "").kind(), Kind::Other);
        assert_eq!(status(Method::GET, 503, "").kind(), Kind::Interrupted);
        assert_eq!(status(Method::GET, 403, "").kind(), Kind::Denied);
    }
}
