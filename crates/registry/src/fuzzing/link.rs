use http::header::LOCATION;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use reqwest::Response;
use url::Url;

use super::printable;
use crate::exchange::redirect;
use crate::link::{as_reached, next};
use crate::redact;
use crate::upload::session;

/// The address of a page in the first line, in the others `Link` headers, each also as a `Location`: a target is a piece
/// of its header, own addresses stay what they are, and nothing leads away from TLS.
pub fn link(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let (first, others) = text.split_once('\n').unwrap_or_default();
    let here = Url::parse(first).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
    let Some(here) = here else { return };
    let values: Vec<&str> = others.split('\n').collect();
    let each: Vec<Option<&str>> = values.iter().map(|value| next([*value])).collect();
    let target = next(values.iter().copied());
    assert!(
        target.is_none() && each.iter().all(Option::is_none) || target.is_some() && each.contains(&target)
    );
    for (value, target) in values.into_iter().zip(each) {
        leads(&here, value);
        let Some(target) = target else { continue };
        assert!(value.contains(&format!("<{target}>")), "{value:?} {target:?}");
        for (value, expected) in [
            (format!("<{target}>; rel=\"next\""), target),
            (format!("<{target}>"), target),
            (format!("<{target}>; rel=prev, <x>"), "x"),
        ] {
            assert_eq!(next([value.as_str()]), Some(expected), "{value:?}");
        }
        leads(&here, target);
    }
}

/// Follows one address.
fn leads(here: &Url, target: &str) {
    if let Ok(target) = here.join(target) {
        let reached = as_reached(here, target.clone());
        assert_eq!(as_reached(here, reached.clone()), reached, "once is enough");
        assert_eq!(
            (reached.host(), reached.path(), reached.query()),
            (target.host(), target.path(), target.query())
        );
        if reached != target {
            assert_eq!((target.scheme(), reached.origin()), ("http", here.origin()));
        }
    }
    let Ok(value) = HeaderValue::from_str(target) else { return };
    let response = || {
        let mut response = http::Response::new("");
        *response.status_mut() = StatusCode::TEMPORARY_REDIRECT;
        response.headers_mut().insert(LOCATION, value.clone());
        Response::from(response)
    };
    // A body is not sent elsewhere.
    assert!(matches!(redirect(&Method::PUT, false, here, &response()), Ok(None)));
    match redirect(&Method::GET, true, here, &response()) {
        Ok(None) => assert!(value.to_str().is_err()),
        Ok(Some(target)) => assert!(matches!(target.scheme(), "http" | "https") && is_as_safe(here, &target)),
        Err(error) => printable(&error.to_string()),
    }
    match session::location(&Method::POST, here, response().headers()) {
        Ok(None) => assert!(value.to_str().is_err() || here.join(target).is_err()),
        Ok(Some(target)) => assert!(matches!(target.scheme(), "http" | "https") && is_as_safe(here, &target)),
        Err(error) => printable(&error.to_string()),
    }
    shown(here, response().headers());
}

/// Whether nothing goes in the clear that was encrypted before.
fn is_as_safe(here: &Url, target: &Url) -> bool {
    here.scheme() == "http" || target.scheme() == "https"
}

/// A log has one line for the header, and no password in it.
fn shown(here: &Url, headers: &HeaderMap) {
    let text = redact::Headers(headers).to_string();
    let location = text.strip_prefix("\nlocation: ").expect("one header");
    printable(location);
    // What the page itself was asked with, a relative address keeps.
    let mut here = here.clone();
    here.set_username("").and(here.set_password(None)).expect("it has a host");
    if let Ok(url) = here.join(location) {
        assert_eq!((url.username(), url.password()), ("", None), "{location}");
    }
}
