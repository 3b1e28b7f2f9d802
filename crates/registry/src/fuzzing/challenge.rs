use http::header::WWW_AUTHENTICATE;
use http::{HeaderMap, HeaderValue};
use url::Url;

use super::{lines, printable};
use crate::challenge::{Bearer, Challenge, Parsed, parse};
use crate::redact;
use crate::scope::Scope;

/// `WWW-Authenticate`, one header a line: whatever is understood is made of the text, is the same when it is written as
/// RFC 9110 has it, and a token comes before a password.
pub fn challenge(input: &[u8]) {
    if let Ok(text) = std::str::from_utf8(input) {
        parsed(text);
    }
    let values = lines(input).filter_map(|line| HeaderValue::from_bytes(line).ok());
    let headers: HeaderMap = values.map(|value| (WWW_AUTHENTICATE, value)).collect();
    let texts = headers.get_all(WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok());
    let all: Vec<Parsed> = texts.flat_map(parsed).collect();
    let offers = |scheme: &str, parameter: Option<&str>| {
        all.iter().any(|(offered, parameters)| {
            let has = |name: &str| parameters.iter().any(|(known, _)| known.eq_ignore_ascii_case(name));
            offered.eq_ignore_ascii_case(scheme) && parameter.is_none_or(has)
        })
    };
    match Challenge::of(&headers) {
        None => assert!(!offers("basic", None) && !offers("bearer", Some("realm"))),
        Some(Challenge::Basic) => assert!(offers("basic", None) && !offers("bearer", Some("realm"))),
        Some(Challenge::Bearer(bearer)) => {
            assert!(offers("bearer", Some("realm")));
            asked(&bearer);
        }
    }
}

/// Reads one value, and checks what was read.
fn parsed(text: &str) -> Vec<Parsed> {
    let all = parse(text);
    let token = |text: &str| {
        !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
    };
    let mut length = 0;
    for (scheme, parameters) in &all {
        assert!(token(scheme), "{scheme:?}");
        length += scheme.len();
        for (name, value) in parameters {
            assert!(token(name), "{name:?}");
            length += name.len() + value.len();
        }
    }
    assert!(length <= text.len());
    assert_eq!(parse(&written(&all)), all);
    all
}

/// Challenges as RFC 9110, section 11.6.1, writes them, with every value quoted.
fn written(all: &[Parsed]) -> String {
    let quoted = |value: &str| value.replace('\\', "\\\\").replace('"', "\\\"");
    let challenge = |(scheme, parameters): &Parsed| {
        let parameters = parameters.iter().map(|(name, value)| format!("{name}=\"{}\"", quoted(value)));
        format!("{scheme} {}", parameters.collect::<Vec<_>>().join(", "))
    };
    all.iter().map(challenge).collect::<Vec<_>>().join(", ")
}

/// What a token is asked for.
fn asked(bearer: &Bearer) {
    let scopes = &bearer.scopes;
    let printed: Vec<String> = scopes.iter().map(Scope::to_string).collect();
    let again = Scope::parse_list(&printed.join(" "));
    assert_eq!(&again, scopes);
    assert!(Scope::covers(scopes, &again));
    let mut joined = Vec::new();
    Scope::join(&mut joined, scopes);
    assert!(Scope::covers(&joined, scopes) && joined.len() <= scopes.len());
    let once = joined.clone();
    Scope::join(&mut joined, scopes);
    assert_eq!(joined, once);
    if let Ok(realm) = Url::parse(&bearer.realm) {
        printable(&redact::url(&realm));
    }
}
