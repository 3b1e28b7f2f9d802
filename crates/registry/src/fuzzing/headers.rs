use std::time::{Duration, SystemTime};

use http::header::{CONTENT_RANGE, RANGE, RETRY_AFTER, WARNING};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::{lines, printable};
use crate::error::ClockSkew;
use crate::rate_limit::{self, RateLimit};
use crate::retry::{Retries, retry_after};
use crate::upload::progress;
use crate::{content_range, redact, warning};

/// Headers of an answer, one a line: what is read from them is within bounds, reads the same when it is written plainly,
/// and what is shown keeps to one line each.
pub fn headers(input: &[u8]) {
    let header = |line: &[u8]| {
        let at = line.iter().position(|byte| *byte == b':')?;
        let (name, value) = (&line[..at], line[at + 1..].trim_ascii());
        Some((HeaderName::from_bytes(name).ok()?, HeaderValue::from_bytes(value).ok()?))
    };
    let headers: HeaderMap = lines(input).filter_map(header).collect();
    let text = |name: &HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    text(&RETRY_AFTER).map(patience);
    text(&CONTENT_RANGE).map(range);
    text(&WARNING).map(warned);
    if let Some(limit) = rate_limit::parse(&headers) {
        limited(&limit);
    }
    if let Some(skew) = ClockSkew::of(&headers) {
        assert!(skew.by > Duration::from_mins(3));
        printable(&skew.to_string());
    }
    if let Some(kept) = progress::kept(&headers) {
        uploaded(kept);
    }
    shown(&headers);
    // What no HTTP library lets through is not let through here either.
    if let Ok(text) = std::str::from_utf8(input) {
        patience(text);
        range(text);
        warned(text);
    }
}

fn patience(value: &str) {
    let retries = Retries::default();
    for now in [SystemTime::UNIX_EPOCH, SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777)] {
        let Some(asked) = retry_after(value, now) else { continue };
        assert_eq!(retry_after(&asked.as_secs().to_string(), now), Some(asked));
        let wait = retries.wait(Duration::from_secs(1), Some(asked));
        assert!(wait <= retries.longest_wait && (wait >= asked || !retries.allow(Some(asked))));
    }
}

fn range(value: &str) {
    let (start, size) = (content_range::start(value), content_range::size(value));
    let digits = |number: u64| value.contains(number.to_string().as_str());
    assert!(start.is_none_or(digits) && size.is_none_or(digits), "{value:?}");
    if let (Some(start), Some(size)) = (start, size) {
        let plain = format!("bytes {start}-{start}/{size}");
        assert_eq!((content_range::start(&plain), content_range::size(&plain)), (Some(start), Some(size)));
    }
}

fn uploaded(kept: u64) {
    let told = format!("0-{}", kept.saturating_sub(1));
    let headers = HeaderMap::from_iter([(RANGE, HeaderValue::from_str(&told).expect("digits"))]);
    // A session with one byte says what one without any says.
    assert_eq!(progress::kept(&headers), Some(kept).filter(|kept| *kept != 1).or(Some(0)));
}

fn warned(value: &str) {
    let Some(text) = warning::text(value) else { return };
    printable(&text);
    assert!(text.len() < value.len());
    let quoted = text.replace('\\', "\\\\").replace('"', "\\\"");
    assert_eq!(warning::text(&format!("299 - \"{quoted}\"")), Some(text));
}

fn limited(found: &RateLimit) {
    assert!(found.limit.is_some() || found.remaining.is_some());
    if let Some(source) = &found.source {
        assert!(!source.is_empty());
        printable(source);
    }
    let number = |name, number: Option<u64>| {
        let window = found.window.map(|window| format!(";w={window}")).unwrap_or_default();
        Some((HeaderName::from_static(name), HeaderValue::from_str(&format!("{}{window}", number?)).ok()?))
    };
    let plain = [number("ratelimit-limit", found.limit), number("ratelimit-remaining", found.remaining)];
    let again = rate_limit::parse(&plain.into_iter().flatten().collect());
    assert_eq!(again, Some(RateLimit { source: None, ..found.clone() }));
}

fn shown(headers: &HeaderMap) {
    let text = redact::Headers(headers).to_string();
    let mut lines = text.split('\n').skip(1);
    for (name, value) in headers {
        let line = lines.next().expect("a line for every header");
        printable(line);
        let shown =
            line.strip_prefix(name.as_str()).and_then(|rest| rest.strip_prefix(": ")).expect("its name");
        if name.as_str().starts_with("x-") || name == http::header::AUTHORIZATION {
            assert_eq!(shown, "<redacted>");
        }
        assert!(value.to_str().is_ok() || shown == "<redacted>");
    }
    assert_eq!(lines.next(), None);
}
