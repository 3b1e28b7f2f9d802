//! Which requests a rule is for.

use crate::wire::Request;

/// Which requests a rule is for, and how often.
#[derive(Clone, Debug)]
pub struct Route {
    method: String,
    pattern: String,
    with: Vec<(String, Option<String>)>,
    without: Vec<(String, Option<String>)>,
    query: Option<String>,
    longer_than: Option<u64>,
    skip: usize,
    times: usize,
    every: usize,
    met: usize,
}

impl Route {
    /// A method, or `*` for any; a path, where each `*` stands for any text.
    pub fn new(method: &str, pattern: &str) -> Self {
        Self {
            method: method.to_owned(),
            pattern: pattern.to_owned(),
            with: Vec::new(),
            without: Vec::new(),
            query: None,
            longer_than: None,
            skip: 0,
            times: usize::MAX,
            every: 1,
            met: 0,
        }
    }

    /// `GET` of a path.
    pub fn get(pattern: &str) -> Self {
        Self::new("GET", pattern)
    }

    /// Any request.
    pub fn any() -> Self {
        Self::new("*", "*")
    }

    /// Only the first `times` requests, after those that are skipped.
    #[must_use]
    pub fn times(mut self, times: usize) -> Self {
        self.times = times;
        self
    }

    /// Not the first `requests`.
    #[must_use]
    pub fn after(mut self, requests: usize) -> Self {
        self.skip = requests;
        self
    }

    /// Only one of so many requests, the last of them.
    #[must_use]
    pub fn every(mut self, requests: usize) -> Self {
        self.every = requests;
        self
    }

    /// Only with this header.
    #[must_use]
    pub fn with(mut self, name: &str) -> Self {
        self.with.push((name.to_owned(), None));
        self
    }

    /// Only with this parameter in the query.
    #[must_use]
    pub fn with_query(mut self, name: &str) -> Self {
        self.query = Some(name.to_owned());
        self
    }

    /// Only with a body that is announced as longer than so many bytes.
    #[must_use]
    pub fn longer_than(mut self, bytes: u64) -> Self {
        self.longer_than = Some(bytes);
        self
    }

    /// Only without this header.
    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        self.without.push((name.to_owned(), None));
        self
    }

    /// Only without this value of this header.
    #[must_use]
    pub fn without_value(mut self, name: &str, value: &str) -> Self {
        self.without.push((name.to_owned(), Some(value.to_owned())));
        self
    }

    /// Whether the request is of this kind, however often it came.
    pub(super) fn fits(&self, request: &Request) -> bool {
        let has = |(name, value): &(String, Option<String>)| match (request.header(name), value) {
            (Some(found), Some(value)) => found == value,
            (found, None) => found.is_some(),
            (None, Some(_)) => false,
        };
        let length = request.header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
        (self.method == "*" || self.method == request.method)
            && matches(&self.pattern, &request.path)
            && self.query.as_ref().is_none_or(|name| !request.parameters(name).is_empty())
            && self.longer_than.is_none_or(|limit| length > limit)
            && self.with.iter().all(has)
            && !self.without.iter().any(has)
    }

    /// Whether this rule answers the request; counts it.
    pub(super) fn catches(&mut self, request: &Request) -> bool {
        if self.times == 0 || !self.fits(request) {
            return false;
        }
        if self.skip > 0 {
            self.skip -= 1;
            return false;
        }
        self.met += 1;
        if !self.met.is_multiple_of(self.every) {
            return false;
        }
        self.times -= 1;
        true
    }
}

/// Whether `text` is like `pattern`, where each `*` stands for any text.
fn matches(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((before, after)) => text.strip_prefix(before).is_some_and(|rest| {
            rest.char_indices().map(|(at, _)| &rest[at..]).chain([""]).any(|tail| matches(after, tail))
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        for (pattern, text, expected) in [
            ("*", "", true),
            ("/v2/*/blobs/*", "/v2/a/b/blobs/sha256:1", true),
            ("/v2/*/blobs/*", "/v2/a/b/manifests/1", false),
            ("/v2/", "/v2/a", false),
            ("/v2/a*", "/v2/a", true),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn counts_what_it_catches() {
        let request = |header: &str| Request {
            method: "GET".into(),
            path: "/v2/".into(),
            query: String::new(),
            headers: vec![(header.into(), "x".into())],
        };
        let mut route = Route::get("/v2/*").without_value("authorization", "x").after(1).times(2);
        assert!(!route.catches(&request("Authorization")));
        let caught: Vec<bool> = (0..4).map(|_| route.catches(&request("accept"))).collect();
        assert_eq!(caught, [false, true, true, false]);
        let mut third = Route::any().every(3);
        let caught: Vec<bool> = (0..6).map(|_| third.catches(&request("accept"))).collect();
        assert_eq!(caught, [false, false, true, false, false, true]);
    }
}
