//! What of URLs and headers may be shown. Query values can be credentials (signed URLs, upload states), so only those
//! that are known to be harmless are printed. So can the name of an upload session.

use std::fmt;

use http::HeaderMap;
use url::Url;

/// Query parameters whose values are printed; the same as crane's.
const HARMLESS: [&str; 7] = ["scope", "service", "mount", "from", "digest", "n", "last"];

/// Headers whose values are printed. Others may be of the user's own configuration, and secret.
const PLAIN: [&str; 22] = [
    "accept",
    "accept-ranges",
    "connection",
    "content-length",
    "content-range",
    "content-type",
    "date",
    "docker-content-digest",
    "docker-distribution-api-version",
    "etag",
    "host",
    "link",
    "oci-filters-applied",
    "oci-subject",
    "range",
    "ratelimit-limit",
    "ratelimit-remaining",
    "retry-after",
    "server",
    "user-agent",
    "warning",
    "www-authenticate",
];

/// Behind this, a path names an upload session.
const UPLOADS: &str = "/blobs/uploads/";

/// A URL without user information and with the values of unknown query parameters replaced.
pub(crate) fn url(url: &Url) -> String {
    let mut shown = url.clone();
    // Both fail only for URLs that cannot hold user information, which then need no cleaning.
    let _ = shown.set_username("");
    let _ = shown.set_password(None);
    shown.set_fragment(None);
    shown.set_path(&path(url.path()));
    if url.query().is_some() {
        shown.set_query(None);
        let pairs: Vec<String> = url
            .query_pairs()
            .map(|(key, value)| {
                let harmless = HARMLESS.contains(&key.as_ref());
                let pair = format!("{key}={}", if harmless { value.as_ref() } else { "REDACTED" });
                // What was encoded may be a line end, or steer the terminal.
                printable(&pair)
            })
            .collect();
        return format!("{shown}?{}", pairs.join("&"));
    }
    shown.into()
}

/// A path without the name of an upload session.
fn path(path: &str) -> String {
    match path.split_once(UPLOADS) {
        Some((repository, session)) if !session.is_empty() => format!("{repository}{UPLOADS}REDACTED"),
        _ => path.to_owned(),
    }
}

/// A text without control characters.
pub(crate) fn printable(text: &str) -> String {
    text.chars().filter(|character| !character.is_control()).collect()
}

/// Headers for a log, one `name: value` a line.
pub(crate) struct Headers<'a>(pub(crate) &'a HeaderMap);

impl fmt::Display for Headers<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, value) in self.0 {
            write!(f, "\n{name}: ")?;
            match value.to_str() {
                Ok(text) if PLAIN.contains(&name.as_str()) => f.write_str(text)?,
                Ok(text) if name == http::header::LOCATION => f.write_str(&location(text))?,
                _ => f.write_str("<redacted>")?,
            }
        }
        Ok(())
    }
}

/// A `Location`, which may be relative: then it is shown without its query, and without what stands before a host in
/// `//user:password@host/path`.
fn location(text: &str) -> String {
    if let Ok(absolute) = Url::parse(text) {
        return url(&absolute);
    }
    let place = text.split(['?', '#']).next().unwrap_or_default();
    path(place.rsplit('@').next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_harmless_values_are_shown() {
        let shown = |text: &str| url(&Url::parse(text).unwrap());
        assert_eq!(
            shown("https://u:p@h/x?scope=repository:a:pull&X-Amz-Signature=abc&n=2"),
            "https://h/x?scope=repository:a:pull&X-Amz-Signature=REDACTED&n=2"
        );
        assert_eq!(shown("http://h/v2/?_state=s3cret"), "http://h/v2/?_state=REDACTED");
        assert_eq!(shown("http://h/v2/"), "http://h/v2/");
        assert_eq!(shown("http://h/v2/a/blobs/uploads/?mount=x"), "http://h/v2/a/blobs/uploads/?mount=x");
        assert_eq!(shown("http://h/v2/a/blobs/uploads/s3cret"), "http://h/v2/a/blobs/uploads/REDACTED");
        assert_eq!(shown("http://h/?last=a%0Ab%1B[31m&n%0A=1#top"), "http://h/?last=ab[31m&n=REDACTED");
    }

    #[test]
    fn headers_are_shown_by_name() {
        let mut headers = HeaderMap::new();
        headers.insert("authorization", "Bearer s3cret".parse().unwrap());
        headers.insert("x-team-key", "s3cret".parse().unwrap());
        headers.insert("location", "/v2/a/blobs/uploads/s3cret?_state=s3cret".parse().unwrap());
        headers.insert("content-type", "text/plain".parse().unwrap());
        let shown = Headers(&headers).to_string();
        assert!(!shown.contains("s3cret"), "{shown}");
        assert!(shown.contains("content-type: text/plain"), "{shown}");
        assert!(shown.contains("location: /v2/a/blobs/uploads/REDACTED"), "{shown}");
    }

    #[test]
    fn where_a_location_leads_is_shown_and_no_more() {
        for (text, shown) in [
            ("/v2/a/blobs/uploads/1?_state=s3cret", "/v2/a/blobs/uploads/REDACTED"),
            ("//user:s3cret@h/x?y#z", "h/x"),
            ("\\\\user:s3cret@h", "h"),
            ("https://user:s3cret@h/x?sig=s3cret&n=1", "https://h/x?sig=REDACTED&n=1"),
            ("x#s3cret", "x"),
        ] {
            assert_eq!(location(text), shown);
        }
    }
}
